from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.errors import LibraryFormatError
from tfgrpo_dspy.library.file import (
    dump_library,
    load_library,
    parse_library,
    save_library,
    to_markdown,
    to_text,
    unescape_markdown,
    write_atomically,
)
from tfgrpo_dspy.library.library import Experience, ExperienceLibrary, Provenance, Source
from tfgrpo_dspy.text import one_line

steps = st.none() | st.integers(1, 99)
sources = st.builds(Source, st.text(max_size=5), st.lists(st.text(max_size=5), max_size=2).map(tuple))
provenances = st.builds(
    Provenance,
    st.sampled_from(["updater", "person", "import"]),
    steps,
    steps,
    st.text(max_size=9),
    st.lists(sources, max_size=2).map(tuple),
)
experiences = st.builds(
    lambda number, **rest: Experience(f"G{number}", **rest),
    st.integers(0, 30),
    text=st.text(),
    pinned=st.booleans(),
    scope=st.none() | st.text(max_size=5),
    provenance=provenances,
)
libraries = st.builds(
    ExperienceLibrary,
    st.lists(experiences, max_size=4, unique_by=lambda e: e.id).map(tuple),
    st.integers(31, 99),
    st.lists(st.text(max_size=5), max_size=2).map(tuple),
)

LIBRARY = ExperienceLibrary(
    (
        Experience("G1", "When rates add up, add the work per hour."),
        Experience(
            "G4",
            "Größen prüfen: \\frac{1}{2} bleibt.",
            pinned=True,
            scope="extract.predict",
            provenance=Provenance("updater", 1, 3, "merged", (Source("e2", ("s1/e2/r0", "s1/e2/r1")),)),
        ),
    ),
    next_id=6,
    learned_with=("openai/some-model",),
)


@given(libraries)
def test_a_library_survives_its_file_exactly(library: ExperienceLibrary) -> None:
    assert parse_library(dump_library(library)) == library


def test_a_lone_surrogate_is_written_as_the_sign_of_what_could_not_be_read() -> None:
    library = ExperienceLibrary((Experience("G0", "broken \ud83d emoji"),), next_id=1)
    text = dump_library(library)
    text.encode("utf-8")
    assert parse_library(text)["G0"].text == "broken \ufffd emoji"


def test_the_text_is_made_for_people_and_git() -> None:
    text = dump_library(LIBRARY)
    assert text.startswith('{\n  "format": "tfgrpo-library",\n  "version": 1,\n  "next_id": 6,\n')
    assert text.endswith("}\n")
    assert '"text": "Größen prüfen: \\\\frac{1}{2} bleibt."' in text
    assert text == dump_library(parse_library(text))


def test_save_and_load_go_through_a_file_and_leave_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "library.json"
    save_library(LIBRARY, path)
    assert load_library(path) == LIBRARY
    assert [p.name for p in path.parent.iterdir()] == ["library.json"]


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "library.json"
    save_library(LIBRARY, path)

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        save_library(ExperienceLibrary(), path)
    assert load_library(path) == LIBRARY
    assert [p.name for p in tmp_path.iterdir()] == ["library.json"]


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    save_library(LIBRARY, tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert load_library(tmp_path / "real.json") == LIBRARY


def test_a_file_that_is_written_again_keeps_its_mode_and_a_read_only_one_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "AGENTS.md"
    path.write_text("ours\n", encoding="utf-8")
    path.chmod(0o640)
    write_atomically("mine\n", path)
    assert path.stat().st_mode & 0o777 == 0o640
    monkeypatch.setattr("tfgrpo_dspy.library.file.os.access", lambda *_: False)
    with pytest.raises(PermissionError, match="read-only"):
        write_atomically("other\n", path)
    assert path.read_text(encoding="utf-8") == "mine\n"
    assert [one.name for one in tmp_path.iterdir()] == ["AGENTS.md"]


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "library.json"
    path.write_text(dump_library(LIBRARY), encoding="utf-8-sig")
    assert load_library(path) == LIBRARY


def test_a_library_written_by_hand_may_leave_out_what_has_a_default() -> None:
    text = '{"format": "tfgrpo-library", "version": 1, "next_id": 1, "experiences": [{"id": "G0", "text": "Check."}]}'
    assert parse_library(text) == ExperienceLibrary.from_texts(["Check."])


OPTIONAL = {
    "bare": {},
    "learned": {
        "learned_with": ["lm"],
        "learned_under": {"student": "Solver", "metric": "exact", "objective": "Be right."},
    },
    "named": {"domain": "math"},
    "all": {"learned_with": ["lm"], "domain": "math", "learned_under": {"student": "Solver"}},
}


def document(**fields: Any) -> dict[str, Any]:
    """A library of two entries without any block that a file may leave out, and these fields."""
    entries = [{"id": "G1", "text": "Draw."}, {"id": "G4", "text": "Check.", "provenance": {"author": "updater"}}]
    return {"format": "tfgrpo-library", "version": 1, "next_id": 6, "experiences": entries, **fields}


def with_entry(**fields: Any) -> dict[str, Any]:
    first, second = document()["experiences"]
    return {"experiences": [first, second | fields]}


def without_text() -> dict[str, Any]:
    return {"experiences": [{"id": "G1"}]}


FAULTS = [
    ({"format": "other"}, 'this JSON is no experience library; one is an object that starts with "format"'),
    ({"version": 2}, "version is 2, this package reads version 1; a newer"),
    ({"version": True}, "version is True"),
    ({"next_id": 4}, "next_id is 4 but there is a G4; .* must be at least 5"),
    ({"next_id": -1}, "next_id must be 0 or more, got -1"),
    ({"next_id": "6"}, "next_id must be a whole number, got '6'"),
    ({"next_id": 6.5}, "next_id must be a whole number, got 6.5"),
    ({"experiences": None}, "experiences must be a list, got null"),
    ({"experiences": ["text"]}, r"experiences\[0\] must be an object, got 'text'"),
    (without_text(), r"experiences\[0\].text of G1 is missing"),
    ({"learned_with": [7]}, r"learned_with\[0\] must be a string, got 7"),
    ({"learned_with": "lm"}, "learned_with must be a list, got 'lm'"),
    ({"learned_under": "a solver"}, "learned_under must be an object, got 'a solver'"),
    ({"learned_under": {"student": 3}}, "learned_under.student must be a string, got 3"),
    ({"learned_under": {"model": "x"}}, "learned_under.model is no field of a version 1 library; take it out"),
    ({"domain": ["math"]}, "domain must be a string, got a list"),
    ({"domain": "two\nlines"}, "the domain 'two.nlines' must be a few words on one line"),
    ({"extra": 1}, "extra is no field of a version 1 library; take it out"),
    (with_entry(text=3), r"experiences\[1\].text of G4 must be a string, got 3"),
    (with_entry(pinned=1), r"experiences\[1\].pinned of G4 must be true or false, got 1"),
    (with_entry(scope={}), r"experiences\[1\].scope of G4 must be a string, got an object"),
    (with_entry(pined=True), r"experiences\[1\].pined of G4 is no field of a version 1 library; take it out"),
    (with_entry(id="G1"), r"experiences\[1\].id is G1, as is experiences\[0\].id; ids are unique"),
    (with_entry(id="G01"), r"experiences\[1\].id: 'G01' is no experience id"),
    (with_entry(id=4), r"experiences\[1\].id must be a string, got 4"),
    (
        with_entry(provenance={"author": "nobody"}),
        r"experiences\[1\].provenance.author of G4 must be 'updater', 'person' or 'import', got 'nobody'",
    ),
    (with_entry(provenance=[]), r"experiences\[1\].provenance of G4 must be an object, got a list"),
    (
        with_entry(provenance={"created_step": True}),
        r"experiences\[1\].provenance.created_step of G4 must be a whole number, got true",
    ),
    (
        with_entry(provenance={"sources": [{"rollouts": []}]}),
        r"experiences\[1\].provenance.sources\[0\].example of G4 is missing",
    ),
]


@pytest.mark.parametrize("blocks", OPTIONAL)
@pytest.mark.parametrize(("fault", "sentence"), FAULTS)
def test_a_fault_is_told_by_file_and_field_whatever_else_the_file_holds(
    fault: dict[str, Any], sentence: str, blocks: str
) -> None:
    with pytest.raises(LibraryFormatError, match=f"^lib.json: {sentence}"):
        parse_library(json.dumps(document(**(OPTIONAL[blocks] | fault))), source="lib.json")


@pytest.mark.parametrize("blocks", OPTIONAL)
def test_a_file_without_a_fault_is_read_whatever_else_it_holds(blocks: str) -> None:
    assert [e.id for e in parse_library(json.dumps(document(**OPTIONAL[blocks])))] == ["G1", "G4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lib.json: the file is empty"),
        (" \n", "lib.json: the file is empty"),
        (dump_library(LIBRARY)[:60], "lib.json: no valid JSON at line 4, column "),
        ('{"format":\n "öäü" x}', "lib.json: no valid JSON at line 2, column 8 "),
        ('{"text": "\\ud83d"}', "lib.json: no valid JSON at line 1, column "),
        ("[" * 100_000, "lib.json: no valid JSON at line 1, column .*recursion"),
        ('{"next_id": ' + "9" * 5_000 + "}", "lib.json: no valid JSON at line 1, column .*number"),
        ("[1, 2]", "lib.json: this JSON is no experience library"),
        ('{"agent": {}}', "lib.json: this JSON is no experience library"),
    ],
)
def test_what_is_no_library_at_all_is_told_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "lib.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LibraryFormatError, match=f"^{message}"):
        load_library(path)


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lib.json"
    path.write_bytes(b'{"format": "\xff"}')
    with pytest.raises(LibraryFormatError, match=r"^lib.json: byte 12 is not UTF-8"):
        load_library(path)


@given(st.text(st.characters()) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_no_text_raises_anything_but_a_library_format_error(text: str) -> None:
    with pytest.raises(LibraryFormatError):
        parse_library(text)


def test_markdown_shows_figures_and_one_experience_per_line() -> None:
    lines = to_markdown(LIBRARY).splitlines()
    assert lines[0] == "# Experience library"
    assert lines[2] == f"2 experiences, about {LIBRARY.tokens} tokens, learned with openai/some-model."
    assert lines[4:] == [
        "- **G1** When rates add up, add the work per hour.",
        "- **G4** Größen prüfen: \\frac{1}{2} bleibt.",
    ]


def test_markdown_that_would_act_is_escaped_and_words_stay_readable() -> None:
    library = ExperienceLibrary.from_texts(["Use page_index * 2 <b>, ![x](http://y), _so_ and $a^2$"])
    shown = to_markdown(library).splitlines()[-1]
    assert shown == "- **G0** Use page_index \\* 2 \\<b>, ![x\\](http://y), \\_so\\_ and $a^2$"


@given(st.text(alphabet=st.sampled_from("\\*_`<&~[](){}!a1 ") | st.characters(exclude_categories=["Cs"])))
def test_escaped_markdown_reads_back_exactly(text: str) -> None:
    library = ExperienceLibrary((Experience("G0", text),), next_id=1)
    shown = to_markdown(library).split("\n")[4].removeprefix("- **G0** ")
    assert unescape_markdown(shown) == one_line(text)


def test_an_empty_library_has_a_heading_and_no_lines() -> None:
    assert to_markdown(ExperienceLibrary()) == "# Experience library\n\n0 experiences, about 0 tokens.\n"
    assert to_text(ExperienceLibrary()) == ""


def test_text_is_what_the_policy_reads() -> None:
    assert to_text(ExperienceLibrary.from_texts(["a", "b"])) == "[G0] a\n[G1] b\n"
