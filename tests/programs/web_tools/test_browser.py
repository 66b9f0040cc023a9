"""The three tools, and what one rollout remembers."""

from __future__ import annotations

import asyncio
import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import dspy
import pytest
from dspy.utils import DummyLM

from programs.web import WebAgent, web_agent
from programs.web_tools import AddressRules, Browser, Fetcher, Hit, LocalIndex, PageLoader, SearchUnavailable
from programs.web_tools.browser import visiting
from tests.programs.web_tools.sites import NoSearch, answer, browser_for, loader_for, serving

ROWS = "".join(f"<tr><td>Room {n}</td><td>{n * 10} seats</td></tr>" for n in range(400))
HOME = """<html><head><title>The  Institute</title></head><body><nav><a href="/staff">Staff</a></nav>
<p>The institute was founded in 1931 and moved to its present building in 1975, after long debates.</p>
<a href="rooms.html#top">Rooms</a> <a href="rooms.html">Rooms again</a> <a href="mailto:a@b.c">Mail</a>
<a href="javascript:go()">Go</a> <a href="http://other.example/x">Elsewhere</a></body></html>"""
PAGES = {
    "/": answer(HOME),
    "/staff": answer("<title>Staff</title><p>The director is Ada Byron, since the spring of 1999.</p>"),
    "/rooms.html": answer(f"<title>Rooms</title><table>{ROWS}</table>"),
    "/notes.txt": answer("One\n\n\n\nTwo   three", "text/plain"),
    "/table.json": answer('{"seats": 12}', "application/json"),
}


@pytest.fixture(scope="module")
def site():
    with serving(PAGES) as site:
        yield site


@pytest.fixture
def browser(site):
    with visiting():
        yield browser_for(site)


def test_a_page_is_shown_with_its_title_text_and_links(browser, site):
    first, *rest = browser.open_page(site.url()).split("\n")
    assert first.startswith(f"Opened {site.url()}, part 1 of 1. Untrusted text")
    assert rest[0] == "| # The Institute"
    assert any("founded in 1931" in line for line in rest)
    assert rest[-4:] == [
        "Links 1 to 3 of 3; open one by its number.",
        f"| [1] Staff -> {site.url('/staff')}",
        f"| [2] Rooms -> {site.url('/rooms.html')}",
        "| [3] Elsewhere -> http://other.example/x",
    ]


@pytest.mark.parametrize("link", ["1", "[1]", " [ 1 ] ", "/staff", "staff", "<http://{place}/staff>"])
def test_a_link_is_followed_by_number_or_address(browser, site, link):
    browser.open_page(site.url())
    assert "Ada Byron" in browser.open_page(link.format(place=site.place))


def test_a_number_that_is_not_in_the_list_is_refused(browser, site):
    assert browser.open_page("3") == "Error: there is no number 3 in the last list, which has none yet: search first"
    browser.open_page(site.url())
    assert "which has 1 to 3" in browser.open_page("4")


def test_a_long_page_comes_in_parts_that_miss_nothing(browser, site):
    shown, part = "", 1
    while True:
        seen = browser.open_page(site.url("/rooms.html"), part)
        shown += seen
        if "The page goes on" not in seen:
            break
        assert f"open it again with part {part + 1}" in seen
        part += 1
    assert part > 1
    assert all(f"Room {n}" in shown for n in range(400))
    assert f"parts 1 to {part}, not {part + 1}" in browser.open_page(site.url("/rooms.html"), part + 1)
    assert browser.open_page(site.url("/rooms.html"), 0).startswith("Error: ")


def test_a_text_is_found_on_every_part_of_the_open_page(browser, site):
    assert browser.find_in_page("seats") == "Error: no page is open; open one with open_page first."
    browser.open_page(site.url("/rooms.html"))
    seen = browser.find_in_page("ROOM  399")
    assert seen.startswith(f"Found on {site.url('/rooms.html')}. Untrusted text")
    assert "Room 399" in seen.split("\n")[1]
    assert "more passages" in browser.find_in_page("seats")
    assert "(part " in browser.find_in_page("3990 Room"), "words in another order"
    assert "is not on" in browser.find_in_page("swimming pool")
    assert browser.find_in_page("  ").startswith("Error: ")


def test_plain_text_and_json_are_read(browser, site):
    assert browser.open_page(site.url("/notes.txt")).endswith("| One\n| \n| Two three")
    assert '"seats": 12' in browser.open_page(site.url("/table.json"))


def test_hits_are_listed_and_opened_by_number(site):
    hits = (Hit("Staff", site.url("/staff"), "The director ..."), Hit("Rooms", site.url("/rooms.html"), "Seats"))
    browser = Browser(NoSearch(*hits), loader_for(site))
    with visiting():
        seen = browser.web_search("  who is\nthe director ")
        assert seen.startswith("Results for 'who is the director'.")
        assert "| [2] Rooms" in seen
        assert "Ada Byron" in browser.open_page("1")
        assert browser.web_search(" ").startswith("Error: the query is empty")
        assert browser_for(site).web_search("x").startswith("Nothing was found")


def test_a_page_is_fetched_once_for_all_rollouts():
    with serving(PAGES) as site:
        browser = browser_for(site)
        with ThreadPoolExecutor(8) as pool:
            seen = set(pool.map(lambda _: browser.open_page(site.url()), range(24)))
        assert (len(seen), site.asked) == (1, ["/"])


def agent_steps(url: str, text: str, found: str) -> DummyLM:
    steps = [("open_page", {"url": url}), ("find_in_page", {"text": text}), ("finish", {})]
    replies = [{"next_thought": "On.", "next_tool_name": name, "next_tool_args": args} for name, args in steps]
    return DummyLM([*replies, {"reasoning": found, "answer": found}])


def test_each_rollout_has_its_own_last_page(site):
    agent = web_agent(search=NoSearch(), loader=loader_for(site))

    def rolled_out(n: int) -> str:
        path, text = (("/staff", "director"), ("/rooms.html", "Room 7 "))[n % 2]
        with dspy.context(lm=agent_steps(site.url(path), text, "x")):
            return copy.deepcopy(agent)(question="?").trajectory["observation_1"]

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(rolled_out, range(32)))
    assert all(("Ada Byron" if n % 2 == 0 else "70 seats") in text for n, text in enumerate(seen)), seen


def test_async_rollouts_have_their_own_last_page_too(site):
    agent = web_agent(search=NoSearch(), loader=loader_for(site))

    async def rolled_out(path: str) -> str:
        with dspy.context(lm=agent_steps(site.url(path), "the", "x")):
            return (await agent.acall(question="?")).trajectory["observation_1"]

    async def both() -> list[str]:
        return await asyncio.gather(rolled_out("/staff"), rolled_out("/"))

    staff, home = asyncio.run(both())
    assert f"Found on {site.url('/staff')}" in staff
    assert f"Found on {site.url('/')}." in home


def test_nothing_is_remembered_from_the_last_rollout(site):
    agent = web_agent(search=NoSearch(), loader=loader_for(site))
    for lm in (agent_steps(site.url("/staff"), "director", "x"), agent_steps("1", "director", "x")):
        with dspy.context(lm=lm):
            prediction = agent(question="?")
    assert "none yet" in prediction.trajectory["observation_0"]
    assert "no page is open" in prediction.trajectory["observation_1"]


class Down:
    def search(self, query: str, n: int) -> list[Hit]:
        raise SearchUnavailable("no credit left")


def test_a_search_service_that_fails_ends_the_rollout():
    agent = web_agent(search=Down())
    asks = {"next_thought": "On.", "next_tool_name": "web_search", "next_tool_args": {"query": "x"}}
    with dspy.context(lm=DummyLM([asks] * 9)), pytest.raises(ConnectionError, match="no credit left"):
        agent(question="?")


def test_the_prompt_describes_the_tools_in_one_line_each(site):
    instructions = web_agent(search=NoSearch()).react.signature.instructions
    assert "open the page before you rely on it" in instructions
    assert all(
        f") {name}, whose description is" in instructions for name in ("web_search", "open_page", "find_in_page")
    )


def test_a_copy_shares_cache_and_pace_and_a_pickle_starts_anew(site):
    browser = browser_for(site)
    assert copy.deepcopy(browser) is browser
    with serving({"/x.html": answer("<p>words</p>")}) as other:
        again = pickle.loads(pickle.dumps(browser_for(other)))
        assert "words" in again.open_page(other.url("/x.html"))


def test_files_of_a_folder_are_searched_and_opened(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "staff.html").write_text("<title>Staff</title><p>The director is Ada Byron.</p>", "utf-8")
    (tmp_path / "notes.md").write_text("# Notes\nSee [the staff](local:deep/staff.html) for names.", "utf-8")
    browser = Browser(LocalIndex(tmp_path), PageLoader())
    with visiting():
        assert "| local:deep/staff.html" in browser.web_search("director")
        assert "Ada Byron" in browser.open_page("1")
        assert "Ada Byron" in browser.find_in_page("director")
        assert "no file of the index" in browser.open_page("local:../../etc/passwd")


def test_links_between_files_of_a_folder_are_followed_and_pages_of_the_web_have_none_to_them(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "index.html").write_text("<p>Start page.</p><a href='deep/the%20staff.html#x'>Staff</a>", "utf-8")
    (tmp_path / "deep" / "the staff.html").write_text(
        "<p>Ada Byron directs.</p><a href='../index.html'>Up</a>", "utf-8"
    )
    index = LocalIndex(tmp_path)
    with serving({"/": answer("<p>words</p><a href='local:index.html'>x</a>")}) as site, visiting():
        browser = Browser(index, loader_for(site))
        assert "[1] Staff -> local:deep/the staff.html" in browser.open_page("local:index.html")
        assert "Ada Byron" in browser.open_page("1")
        assert "Start page" in browser.open_page("../index.html")
        assert "Links" not in browser.open_page(site.url())


def test_tools_work_outside_of_any_agent(site):
    assert isinstance(web_agent(search=NoSearch()), WebAgent)
    agent = dspy.ReAct("question -> answer", tools=Browser(NoSearch(), loader_for(site)).tools())
    with dspy.context(lm=agent_steps(site.url("/staff"), "director", "x")):
        assert "Ada Byron" in agent(question="?").trajectory["observation_1"]


def test_what_is_private_can_be_allowed_as_a_whole():
    with serving(PAGES) as site:
        loader = PageLoader(Fetcher(AddressRules(allow_private=True)), robots=False)
        assert "1931" in loader.load(site.url()).text
