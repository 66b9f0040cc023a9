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


def test_a_lone_surrogate_survives_and_can_be_written_as_utf8() -> None:
    library = ExperienceLibrary((Experience("G0", "broken \ud83d emoji"),), next_id=1)
    text = dump_library(library)
    text.encode("utf-8")
    assert parse_library(text) == library


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


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "library.json"
    path.write_text(dump_library(LIBRARY), encoding="utf-8-sig")
    assert load_library(path) == LIBRARY


def test_a_library_written_by_hand_may_leave_out_what_has_a_default() -> None:
    text = '{"format": "tfgrpo-library", "version": 1, "next_id": 1, "experiences": [{"id": "G0", "text": "Check."}]}'
    assert parse_library(text) == ExperienceLibrary.from_texts(["Check."])


def changed(**fields: Any) -> str:
    return json.dumps(json.loads(dump_library(LIBRARY)) | fields)


def with_entry(**fields: Any) -> str:
    document = json.loads(dump_library(LIBRARY))
    document["experiences"][1] |= fields
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lib.json: the file is empty"),
        (" \n", "lib.json: the file is empty"),
        (dump_library(LIBRARY)[:60], "lib.json: no valid JSON at line 4, column "),
        ("[" * 100_000, "lib.json: this JSON cannot be a library"),
        ("[1, 2]", 'lib.json: this JSON is no experience library; one is an object that starts with "format"'),
        ('{"agent": {}}', "lib.json: this JSON is no experience library"),
        (changed(version=2), "lib.json: version is 2, this package reads version 1; a newer"),
        (changed(version=True), "lib.json: version is True"),
        (changed(next_id=4), "lib.json: next_id is 4 but there is a G4; .* must be at least 5"),
        (changed(next_id=-1), "lib.json: next_id must be 0 or more, got a number"),
        (changed(next_id="6"), "lib.json: next_id must be a whole number, got a string"),
        (changed(experiences=None), "lib.json: experiences must be a list, got null"),
        (changed(experiences=["text"]), r"lib.json: experiences\[0\] must be an object, got a string"),
        (changed(learned_with=[7]), r"lib.json: learned_with\[0\] must be a string, got a number"),
        (changed(extra=1), "lib.json: extra is no field of a version 1 library; take it out"),
        (with_entry(text=3), r"lib.json: experiences\[1\].text must be a string, got a number"),
        (with_entry(pinned=1), r"lib.json: experiences\[1\].pinned must be true or false, got a number"),
        (with_entry(id="G1"), r"lib.json: experiences\[1\].id is G1, as is experiences\[0\].id; ids are unique"),
        (with_entry(id="G01"), r"lib.json: experiences\[1\].id: 'G01' is no experience id"),
        (
            with_entry(provenance={"author": "nobody"}),
            r"lib.json: experiences\[1\].provenance.author must be 'updater', 'person' or 'import', got a string",
        ),
        (
            with_entry(provenance={"sources": [{"rollouts": []}]}),
            r"lib.json: experiences\[1\].provenance.sources\[0\].example is missing",
        ),
    ],
)
def test_a_damaged_or_foreign_file_is_named_with_its_field(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "lib.json"
    path.write_text(text)
    with pytest.raises(LibraryFormatError, match=f"^{message}"):
        load_library(path)


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lib.json"
    path.write_bytes(b'{"format": "\xff"}')
    with pytest.raises(LibraryFormatError, match=r"^lib.json: byte 12 is not UTF-8"):
        load_library(path)


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
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
