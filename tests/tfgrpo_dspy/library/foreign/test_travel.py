"""A library travels to other tools and back: ids and texts as they were, and nothing else of a file touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tfgrpo_dspy.command_line import run, the_error
from tfgrpo_dspy import Experience, ExperienceLibrary, LibraryFormatError, read_library, write_library
from tfgrpo_dspy.text import one_line

texts = st.text(min_size=1).map(one_line).filter(bool)
scopes = st.sampled_from([None, None, "extract.predict", "plan"])
libraries = st.dictionaries(st.integers(0, 40), st.tuples(texts, scopes), min_size=1, max_size=6).map(
    lambda found: ExperienceLibrary(tuple(Experience(f"G{i}", t, scope=s) for i, (t, s) in found.items()), next_id=41)
)
LIBRARY = ExperienceLibrary(
    (
        Experience("G0", "When a price falls twice, multiply <both> factors. [link](x) *now*"),
        Experience("G3", "When you extract, keep units.", scope="extract.predict"),
    ),
    next_id=5,
    domain="house style",
)
FORMATS = [("AGENTS.md", None, False), ("skill", "skill", True), ("a.txt", "ace", True), ("a.json", "ace-json", True)]
FORMATS += [("agent.yaml", None, False), ("a.md", None, False), ("b.txt", None, False)]


def told(library: ExperienceLibrary, *, scopes: bool) -> dict[str, tuple[str, str | None]]:
    return {e.id: (e.text, e.scope if scopes else None) for e in library}


@settings(max_examples=30)
@given(library=libraries)
@pytest.mark.parametrize(("name", "format", "scopes"), FORMATS, ids=lambda value: str(value))
def test_what_is_written_for_another_tool_reads_back(library, name, format, scopes, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "travel" / name
    write_library(library, path, format)
    back = read_library(path)
    assert told(back, scopes=scopes) == told(library, scopes=scopes)
    assert {e.provenance.author for e in back} == {"import"}


@settings(max_examples=30)
@given(
    before=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r\ufeff")),
    library=libraries,
)
def test_a_section_leaves_the_rest_of_a_file_as_it_is_and_is_written_once(before, library, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "CLAUDE.md"
    path.write_bytes(before.encode())
    write_library(ExperienceLibrary.from_texts(["an earlier one"]), path)
    write_library(library, path)
    once = path.read_bytes()
    write_library(library, path)
    assert path.read_bytes() == once
    assert once.decode().startswith(before)
    assert once.decode().count("experience-library: begin") == 1 + before.count("experience-library: begin")
    assert "an earlier one" not in once.decode()


def test_a_section_is_replaced_where_it_stands(tmp_path):
    path = tmp_path / "AGENTS.md"
    write_library(LIBRARY, path)
    path.write_text(f"# Ours\n\nRun make.\n\n{path.read_text()}\n## After\n\nStays.\n", encoding="utf-8")
    write_library(ExperienceLibrary.from_texts(["Only one."]), path)
    text = path.read_text()
    assert text.startswith("# Ours\n\nRun make.\n\n<!-- experience-library: begin")
    assert text.endswith("\n## After\n\nStays.\n")
    assert "- **G0** Only one.\n<!-- experience-library: end -->" in text


BEGIN, END = "<!-- experience-library: begin (x) -->\n", "<!-- experience-library: end -->\n"
OLD = f"{BEGIN}- **G0** old\n{END}"


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (f"# Ours\r\n\r\n{OLD}after\r\n".replace("\n", "\r\n").replace("\r\r", "\r"), ["# Ours\r\n", "after\r\n"]),
        (f"{OLD}mid\n{OLD}after\n", ["mid\n", "after\n"]),
        (f"{END}mid\n{BEGIN}after\n", [END, f"mid\n{BEGIN}", "after\n"]),
        (f"{BEGIN}ours\n{OLD}after\n", [f"{BEGIN}ours\n", "after\n"]),
        (f"As:\n```\n{OLD}```\nafter\n", [f"As:\n```\n{OLD}```\nafter\n"]),
        (f"~~~\n{OLD}~~~\n{OLD}after\n", [f"~~~\n{OLD}~~~\n", "after\n"]),
        (f"  {OLD}".replace(END, f"  {END}"), []),
        (f"before\n{OLD.rstrip()}", ["before\n"]),
        ("```\nnever closed\n", ["```\nnever closed\n"]),
    ],
    ids=[
        "CRLF",
        "twice",
        "reversed",
        "a beginning alone",
        "in a fence",
        "in a fence and after",
        "indented",
        "last",
        "open",
    ],
)
def test_markers_as_people_leave_them_cost_nothing_of_theirs(before, kept, tmp_path):
    path = tmp_path / "AGENTS.md"
    path.write_bytes(before.encode())
    write_library(LIBRARY, path)
    once = path.read_bytes()
    write_library(LIBRARY, path)
    text = once.decode()
    assert path.read_bytes() == once
    assert all(part in text for part in kept)
    assert text.count("**G0** old") == "".join(kept).count("**G0** old")
    assert [e.text for e in read_library(path)] == [e.text for e in LIBRARY]
    assert text.count("\r\n") in {0, text.count("\n")}


def test_a_skill_has_what_general_readers_need_in_front(tmp_path):
    folder = tmp_path / "skills" / "style"
    write_library(LIBRARY, folder)
    text = (folder / "SKILL.md").read_text()
    _, head, body = text.split("---\n", 2)
    about = yaml.safe_load(head)
    assert about["name"] == "house-style-experiences"
    assert about["description"].startswith(
        "What earlier attempts at tasks of the kind house style taught: 2 experiences."
    )
    assert "**G0**" in body
    assert "**G3**" not in body
    assert "[references/scope-0.md](references/scope-0.md): 1 experience, only for extract.predict" in body
    assert "G3" in (folder / "references/scope-0.md").read_text()
    assert read_library(folder / "SKILL.md") == read_library(folder)


def test_a_skill_written_again_leaves_no_reference_of_the_earlier_library(tmp_path):
    many = ExperienceLibrary.from_texts([f"When {i}, {'do ' * 40}" for i in range(400)])
    write_library(many, tmp_path / "skill")
    (tmp_path / "skill/references/mine.md").write_text("- mine", encoding="utf-8")
    assert (tmp_path / "skill/references/further.md").is_file()
    assert len(read_library(tmp_path / "skill")) == 400
    write_library(LIBRARY, tmp_path / "skill")
    names = sorted(path.name for path in (tmp_path / "skill/references").iterdir())
    assert names == ["mine.md", "scope-0.md"]


@pytest.mark.parametrize(
    ("document", "texts", "reason"),
    [
        (
            {"skills": {"s-1": {"section": "units", "content": "Keep\nunits.", "helpful": 3, "harmful": 1}}},
            ["Keep units."],
            "imported from ACE playbook, section units, s-1, helpful 3, harmful 1",
        ),
        ({"bullets": [{"id": "b-7", "text": "Check."}]}, ["Check."], "imported from ACE playbook, b-7"),
        (
            {"skills": {"s-1": {"content": "Kept."}, "s-2": {"content": "Deleted there.", "status": "invalid"}}},
            ["Kept."],
            "imported from ACE playbook, s-1",
        ),
        ({"bullets": {"b-1": "Plain.", "b-2": "Second."}}, ["Plain.", "Second."], "imported from ACE playbook, b-1"),
    ],
)
def test_playbooks_and_skillbooks_as_json_are_read(document, texts, reason, tmp_path):
    (tmp_path / "p.json").write_text(json.dumps(document), encoding="utf-8")
    library = read_library(tmp_path / "p.json")
    assert [e.text for e in library] == texts
    assert library.experiences[0].provenance.reason == reason


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("1. first\n2) second\n\n* third\n", ["first", "second", "third"]),
        ("[G0] 1. numbered\n", ["1. numbered"]),
        ("## A\n[b-1] do:\n```\n## step\nx\n```\n## B\n[b-2] y\n", ["do: ``` ## step x ```", "y"]),
        ("## A\n[b-1] never closed:\n```\n[b-2] y\n", ["never closed: ```", "y"]),
    ],
)
def test_lists_and_code_are_read_as_they_are_meant(text, texts, tmp_path):
    (tmp_path / "p.txt").write_text(text, encoding="utf-8")
    assert [e.text for e in read_library(tmp_path / "p.txt")] == texts


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"skills": {"s-1": {"section": "x"}}}', "a.json: bullet s-1 has no text in `content`"),
        ("a.json", '{"skills": {}}', "a.json: no bullet with a text"),
        ("SKILL.md", "---\nname: x\n---\nDo it.\n", r"no `- \*\*G0\*\* text` line"),
    ],
)
def test_what_holds_no_experience_is_said(name, text, message, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(LibraryFormatError, match=message):
        read_library(tmp_path / name)


def test_the_command_line_exports_and_imports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_library(LIBRARY, "library.json")
    for arguments, made in (
        (("AGENTS.md",), "AGENTS.md"),
        (("skills/style",), "skills/style/SKILL.md"),
        (("p.txt", "--as", "ace"), "p.txt"),
        (("agent.yaml",), "agent.yaml"),
    ):
        assert run("library", "export", "library.json", *arguments).exit_code == 0
        assert Path(made).is_file()
        assert run("library", "import", arguments[0], "back.json").exit_code == 0
        assert [e.text for e in read_library("back.json")] == [e.text for e in LIBRARY]
    assert "docx" in run("library", "export", "library.json", "p.txt", "--as", "docx").output
    assert "no format is written by that name" in the_error(run("library", "export", "library.json", "p.rst"))
