"""The libraries that come with the package: what they are, and the commands that the docs show on them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.tfgrpo_dspy.command_line import ROOT, run, the_error
from tfgrpo_dspy.history.file import load_tracked
from tfgrpo_dspy.records.wording import is_simulated

EXAMPLES = ROOT / "tfgrpo_dspy" / "examples"
NAMES = sorted(path.name for path in EXAMPLES.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_a_library_with_its_whole_history_and_says_that_it_is_simulated(name):
    tracked = load_tracked(EXAMPLES / name / "library.json")
    assert tracked.difference == ""
    assert tracked.history.library == tracked.library
    assert {commit.author for commit in tracked.history} == {"updater", "person"}
    assert is_simulated(tracked.library.learned_with)
    assert "simulated" in tracked.library.domain


def test_the_commands_of_the_page_run_as_they_stand_on_a_copy():
    page = (ROOT / "docs/libraries.md").read_text(encoding="utf-8")
    block = re.search(r"^```sh\n(tfgrpo library example .*?)^```$", page, re.MULTILINE | re.DOTALL)
    for line in block[1].splitlines():
        done = run(*shlex.split(line, comments=True)[1:])
        assert done.exit_code == 0, f"{line}: {done.output}"
    assert (Path("word-problems") / "library.history.jsonl").is_file()
    assert "is there already" in the_error(run("library", "example", "word-problems"))
    assert "there are no-labels, word-problems" in the_error(run("library", "example", "else"))


@pytest.mark.parametrize("name", NAMES)
def test_the_page_counts_what_an_example_holds(name):
    library = load_tracked(EXAMPLES / name / "library.json").library
    assert f"- `{name}` ({len(library)} experiences" in (ROOT / "docs/libraries.md").read_text(encoding="utf-8")
