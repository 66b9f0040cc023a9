"""Search services over loopback, and an index of one's own."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from programs.web_tools import (
    DuckDuckGo,
    Hit,
    LocalIndex,
    PageLoader,
    SearchUnavailable,
    Serper,
    Tavily,
    provider_of,
)
from programs.web_tools.errors import WebError
from tests.programs.web_tools.sites import answer, document, loader_for, serving
from tfgrpo_dspy.errors import SettingsError

KEY = "sk-a-very-secret-key"
SERPER = {"organic": [{"title": "T", "link": "http://a.example/", "snippet": "S"}, {"title": "no link"}]}
TAVILY = {"results": [{"title": "T", "url": "http://a.example/", "content": "S"}, {"url": "http://b.example/"}]}


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.setenv("SERPER_API_KEY", KEY)
    monkeypatch.setenv("TAVILY_API_KEY", KEY)


def as_json(value: object, **more: str) -> bytes:
    return answer(json.dumps(value), "application/json", **more)


@pytest.mark.parametrize(
    ("service", "reply", "header"),
    [(Serper, SERPER, f"X-API-KEY: {KEY}"), (Tavily, TAVILY, f"Authorization: Bearer {KEY}")],
)
def test_a_service_is_asked_with_the_key_and_answers_with_hits(service, reply, header):
    with serving({"/s": as_json(reply)}) as site:
        hits = service(site.url("/s")).search("who", 2)
    assert hits[0] == Hit("T", "http://a.example/", "S")
    assert header.lower() in site.heads[0].lower()
    assert KEY not in repr(vars(service()))


def test_at_most_n_hits_are_given():
    with serving({"/s": as_json(TAVILY)}) as site:
        assert len(Tavily(site.url("/s")).search("who", 1)) == 1


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Unavailable", "500 Broken"])
def test_a_busy_service_is_asked_three_times(status):
    pauses: list[float] = []
    with serving({"/s": as_json({}, status=status, Retry_After="3")}) as site:
        with pytest.raises(SearchUnavailable, match=f"after 3 tries .status {status[:3]}"):
            Serper(site.url("/s"), pause=pauses.append).search("who", 3)
        assert (len(site.asked), pauses) == (3, [3.0, 3.0])


@pytest.mark.parametrize(
    ("reply", "error", "said"),
    [
        (as_json({}, status="401 No"), SearchUnavailable, "refused the key"),
        (as_json({}, status="402 Pay"), SearchUnavailable, "refused the key"),
        (as_json({}, status="400 Bad"), WebError, "in other words"),
        (answer("no json", "text/html"), SearchUnavailable, "unknown form"),
        (as_json([1]), SearchUnavailable, "unknown form"),
        (as_json({"organic": 3}), SearchUnavailable, "unknown form"),
        (b"", SearchUnavailable, "did not answer"),
    ],
)
def test_what_went_wrong_is_told_without_the_key(reply, error, said):
    with serving({"/s": reply}) as site, pytest.raises(error, match=said) as raised:
        Serper(site.url("/s"), pause=lambda _: None).search("who", 3)
    assert KEY not in str(raised.value)


def test_a_redirect_does_not_carry_the_key_away():
    with serving({"/s": as_json(SERPER)}) as thief:
        moved = answer("", status="307 Moved", Location=thief.url("/s"))
        with serving({"/s": moved}) as site, pytest.raises(WebError):
            Serper(site.url("/s")).search("who", 3)
        assert thief.asked == []


def test_a_missing_key_is_said_before_and_at_the_search(monkeypatch):
    monkeypatch.delenv("SERPER_API_KEY")
    with pytest.raises(SettingsError, match="set SERPER_API_KEY"):
        provider_of("serper", PageLoader())
    with pytest.raises(SearchUnavailable, match="set SERPER_API_KEY"):
        Serper().search("who", 3)


def test_a_provider_is_named_by_a_word(tmp_path):
    (tmp_path / "a.txt").write_text("words")
    loader = PageLoader()
    kinds = [type(provider_of(spec, loader)) for spec in ("serper", "tavily", "ddgs", "local", f"local:{tmp_path}")]
    assert kinds == [Serper, Tavily, DuckDuckGo, LocalIndex, LocalIndex]
    for spec, said in [("google", "choose serper"), ("local:nowhere", "no folder nowhere"), ("serper:x", "choose")]:
        with pytest.raises(SettingsError, match=said):
            provider_of(spec, loader)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".hidden.txt").write_text("x")
    with pytest.raises(SettingsError, match="holds no html, txt, md or pdf"):
        LocalIndex(tmp_path / "empty")


DOCUMENTS = (
    document("http://h/a", "The library opens at nine.\nIt closes at six on Fridays.", "Opening hours"),
    document("http://h/b", "Prices of tea and coffee. The tea is 2 euros.", "Cafeteria"),
    document("http://h/c", "图书馆九点开门 星期五六点关门", "开放时间"),
)


@pytest.mark.parametrize(
    ("query", "url"), [("when does the library close on Fridays", "a"), ("TEA price", "b"), ("图书馆几点关门", "c")]
)
def test_the_best_document_comes_first(query, url):
    hits = LocalIndex(DOCUMENTS).search(query, 3)
    assert hits[0].url == f"http://h/{url}"


def test_a_snippet_shows_the_line_that_fits():
    assert LocalIndex(DOCUMENTS).search("Fridays", 1)[0].snippet == "It closes at six on Fridays."


@pytest.mark.parametrize("query", ["zebra", "", "?!", "   "])
def test_nothing_fits(query):
    assert LocalIndex(DOCUMENTS).search(query, 3) == []
    assert LocalIndex([document("http://h/e", "")]).search("x", 3) == []
    assert LocalIndex([]).search("x", 3) == []


@given(st.text(max_size=60), st.integers(1, 9))
def test_any_query_gets_distinct_hits(query, n):
    hits = LocalIndex(DOCUMENTS).search(query, n)
    assert len({hit.url for hit in hits}) == len(hits) <= min(n, 3)


def test_copies_share_an_index_and_pickles_make_it_again():
    index = LocalIndex(DOCUMENTS)
    assert copy.deepcopy(index) is index
    assert pickle.loads(pickle.dumps(index)).search("tea", 1) == index.search("tea", 1)


def test_a_site_is_crawled_within_its_host_and_limit():
    def linked(text: str, *links: str) -> bytes:
        return answer(f"<p>{text} page of words</p>" + "".join(f'<a href="{link}">x</a>' for link in links))

    with serving({"/": answer("<p>elsewhere</p>")}) as other:
        pages = {
            "/": linked("first", "/a", "/b", "/missing", other.url(), "/a#part"),
            "/a": linked("second", "/", "/c"),
            "/b": answer("", status="302 Found", Location="/a"),
            "/c": linked("third"),
        }
        with serving(pages) as site:
            index = LocalIndex(site.url(), loader=loader_for(site, other))
            assert {hit.url for hit in index.search("page words", 9)} == {site.url(p) for p in ("/", "/a", "/c")}
            small = LocalIndex(site.url(), loader=loader_for(site), max_pages=1)
            assert [hit.url for hit in small.search("words", 9)] == [site.url()]
        assert other.asked == []


def test_a_site_that_cannot_be_crawled_is_no_empty_result():
    with serving({}) as site, pytest.raises(SearchUnavailable, match="cannot be crawled"):
        LocalIndex(site.url(), loader=loader_for(site)).search("x", 3)


def test_links_out_of_a_folder_are_not_indexed(tmp_path):
    (tmp_path / "secret.txt").write_text("treasure")
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "a.txt").write_text("public")
    (folder / "b.txt").symlink_to(tmp_path / "secret.txt")
    assert LocalIndex(Path("pages")).search("treasure", 3) == []


def test_ddgs_failures_are_the_services(monkeypatch):
    import ddgs
    from ddgs.exceptions import DDGSException, RatelimitException

    class Engine:
        reply: object = None

        def text(self, query: str, max_results: int) -> list[dict[str, str]]:
            if isinstance(self.reply, Exception):
                raise self.reply
            return self.reply

    monkeypatch.setattr(ddgs, "DDGS", Engine)  # it has no endpoint of its own that could be served here
    Engine.reply = [{"title": "T", "href": "http://a.example/", "body": "S"}]
    assert DuckDuckGo().search("who", 3) == [Hit("T", "http://a.example/", "S")]
    Engine.reply = DDGSException("No results found.")
    assert DuckDuckGo().search("who", 3) == []
    Engine.reply = RatelimitException("202")
    with pytest.raises(SearchUnavailable, match="Ratelimit"):
        DuckDuckGo().search("who", 3)
