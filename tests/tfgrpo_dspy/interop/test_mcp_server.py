"""`tfgrpo mcp` as an agent uses it, over standard input and output, and the review of what the agent proposed."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.tfgrpo_dspy.command_line import run
from tfgrpo_dspy import ExperienceLibrary, SettingsError, load_history
from tfgrpo_dspy.cli import serving
from tfgrpo_dspy.errors import DataError, MissingExtraError
from tfgrpo_dspy.history.proposals import decided, proposals_path, propose, read_proposals
from tfgrpo_dspy.library.file import load_library, save_library
from tfgrpo_dspy.library.operations import Add, Modify
from tfgrpo_dspy.library.section import CLOSING, OPENING, PREAMBLE
from tfgrpo_dspy.text import estimate_tokens

LIBRARY = ExperienceLibrary.from_texts(["When trains meet, add their speeds.", "When a garden is fenced, count posts."])

FRAME = estimate_tokens(f"{OPENING}\n{PREAMBLE}\n{CLOSING}")
MAIN = "from tfgrpo_dspy.cli import main; main()"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "library.json"
    save_library(LIBRARY, path)
    return path


def asked(file, *calls):
    """The text, and whether it is an error, of each call of a tool on a server of one's own."""
    mcp = pytest.importorskip("mcp", reason="mcp is not installed")

    async def ask():
        command = mcp.StdioServerParameters(command=sys.executable, args=["-c", MAIN, "mcp", str(file)])
        async with mcp.Client(command) as client:
            listed = sorted(tool.name for tool in (await client.list_tools()).tools)
            assert listed == ["propose", "read", "search"]
            made = [await client.call_tool(name, arguments) for name, arguments in calls]
        return [(result.content[0].text, bool(result.is_error)) for result in made]

    return asyncio.run(ask())


def test_an_agent_searches_reads_and_proposes_and_the_library_stays_as_it_is(file):
    before = file.read_bytes()
    lesson = {"text": "When a tank leaks, subtract the leak.", "reason": "I forgot it twice."}
    found, all_of_it, one, none, proposed, again, long = asked(
        file,
        ("search", {"task": "Two trains meet.", "tokens": FRAME + 12}),
        ("read", {}),
        ("read", {"id": "G1"}),
        ("read", {"id": "G7"}),
        ("propose", lesson),
        ("propose", lesson),
        ("propose", {"text": "word " * 40, "reason": "", "id": "G0"}),
    )
    assert "[G0]" in found[0]
    assert "[G1]" not in found[0]
    assert all_of_it[0].splitlines() == [f"[{e.id}] {e.text}" for e in LIBRARY]
    assert one[0].endswith("written by a person")
    assert none == ("Error executing tool read: there is no G7; the ids are G0, G1", True)
    assert proposed == ("proposed; it enters the library if a person accepts it", False)
    assert again[1]
    assert "proposed already" in again[0]
    assert long[1]
    assert "40 words" in long[0]
    assert file.read_bytes() == before
    assert [p.operation.text for p in read_proposals(file)] == [lesson["text"]]


def test_a_person_decides_and_what_is_accepted_is_a_commit(file):
    for text in ("When a tank leaks, subtract the leak.", "Always guess.", "Check the units."):
        propose(LIBRARY, Add(text=text, reason="seen"), "my-agent", file)
    done = run("library", "review", str(file), typed="a\nr\nno good\ne\nCheck the units twice.\n")
    assert done.exit_code == 0, done.output
    assert [e.text for e in load_library(file)][2:] == [
        "When a tank leaks, subtract the leak.",
        "Check the units twice.",
    ]
    commit = load_history(file.with_name("library.history.jsonl")).commits[-1]
    assert commit.author == "person"
    assert load_library(file)["G2"].provenance.reason == "seen (proposed by my-agent)"
    assert [refusal.reason for refusal in commit.refusals] == ["a person refused it: no good"]
    assert not proposals_path(file).exists()
    assert "nothing is proposed" in run("library", "review", str(file)).output


def test_a_review_that_is_broken_off_decides_nothing(file):
    propose(LIBRARY, Modify(id="G0", text="When trains meet, add speeds."), "", file)
    done = run("library", "review", str(file), typed="q\n")
    assert done.exit_code == 4
    assert len(read_proposals(file)) == 1
    assert load_library(file) == LIBRARY


def test_what_is_proposed_during_a_review_stays(file):
    propose(LIBRARY, Add(text="First."), "", file)
    reviewed = read_proposals(file)
    propose(LIBRARY, Add(text="Second."), "", file)
    decided(reviewed, file)
    assert [p.operation.text for p in read_proposals(file)] == ["Second."]


def test_proposals_are_bounded_and_a_damaged_line_is_named(file, monkeypatch):
    monkeypatch.setattr("tfgrpo_dspy.history.proposals._MOST", 1)
    propose(LIBRARY, Add(text="First."), "", file)
    with pytest.raises(SettingsError, match="1 proposals wait"):
        propose(LIBRARY, Add(text="Second."), "", file)
    proposals_path(file).write_text("{}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"library\.proposals\.jsonl holds a line"):
        read_proposals(file)


def test_without_the_package_the_extra_is_named(file, monkeypatch):
    monkeypatch.setattr(serving, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tfgrpo-dspy\[mcp\]'"):
        serving.mcp(file)
