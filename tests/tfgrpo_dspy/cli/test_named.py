"""A folder of somebody else's runs none of its code, whichever command opens it."""

from __future__ import annotations

import json
import pickle
import shlex
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import cloudpickle
import pytest

from tests.tfgrpo_dspy.command_line import SOLVER, problems, run

COMPILE = (
    *("compile", SOLVER, "train.jsonl", "--metric", "number", "--lm", "simulated", "--no-tracking"),
    *("--epochs", "1", "--limit", "3", "--group-size", "3"),
)
EVIL = "open('it_ran', 'w').close()\n\n\ndef solver():\n    pass\n\n\ndef metric(*a):\n    return 1\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run as it was made elsewhere."""
    made = tmp_path_factory.mktemp("elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        problems(6, 6)
        assert run(*COMPILE).exit_code == 0
    return made / "out"


@pytest.fixture
def theirs(folder) -> Path:
    """The same, downloaded: its recipe names code that lies beside it."""
    problems(6, 6)
    out = Path("theirs")
    shutil.copytree(folder, out)
    Path("evil.py").write_text(EVIL, encoding="utf-8")
    return out


def says(out: Path, **named: object) -> None:
    """Let the recipe name this."""
    recipe = out / "recipe.yaml"
    lines = [line for line in recipe.read_text().splitlines() if line.partition(":")[0] not in named]
    recipe.write_text("\n".join([*lines, *(f"{name}: {json.dumps(value)}" for name, value in named.items())]) + "\n")


def evaluated(out: Path, *more: str):
    return run("evaluate", out / "program.json", "test.jsonl", "--limit", "2", "-k", "1", *more)


@pytest.mark.parametrize(
    "named",
    [
        {"program": "evil.py:solver"},
        {"program": "evil:solver"},
        {"program": "shutil:rmtree", "program_options": ["--path", "x"]},
        {"metric": "evil.py:metric"},
        {"api_base": "http://127.0.0.1:9/v1", "lm": "openai/m"},
        {"lm_option": ["base_url=http://127.0.0.1:9/v1"], "lm": "openai/m"},
    ],
)
def test_what_a_folder_names_and_nobody_else_did_is_refused_with_the_command_that_names_it(theirs, named):
    says(theirs, **named)
    result = evaluated(theirs)
    assert result.exit_code == 2, result.output
    said = " ".join(result.stderr.split())
    assert "that you have not named here before" in said
    assert "name it yourself: tfgrpo evaluate" in said
    assert not Path("it_ran").exists()


def test_the_command_that_is_given_names_it_from_then_on(theirs):
    said = " ".join(evaluated(theirs).stderr.split())
    command = shlex.split(said.partition("name it yourself: ")[2])
    assert command[:2] == ["tfgrpo", "evaluate"]
    assert run(*command[1:], "--limit", "2", "-k", "1").exit_code == 0
    assert evaluated(theirs).exit_code == 0


def test_what_was_named_here_is_not_asked_for_again_wherever_the_folder_is(theirs):
    assert run(*COMPILE, "--out", "ours").exit_code == 0
    assert evaluated(Path("ours")).exit_code == 0
    Path("ours").rename("renamed")
    assert evaluated(Path("renamed")).exit_code == 0


def test_what_was_named_in_one_directory_is_not_known_in_another(theirs, tmp_path, monkeypatch):
    assert run(*COMPILE, "--out", "ours").exit_code == 0
    (tmp_path / "downloads").mkdir()
    monkeypatch.chdir(tmp_path / "downloads")
    problems(6, 6)
    assert evaluated(tmp_path / "ours").exit_code == 2


def test_where_no_note_can_be_kept_the_folder_is_refused_and_nothing_breaks(theirs, monkeypatch):
    Path("a_file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(Path("a_file").resolve()))
    assert run(*COMPILE, "--out", "ours").exit_code == 0
    assert evaluated(Path("ours")).exit_code == 2


def test_scores_are_not_sent_to_a_store_that_a_folder_names(theirs):
    assert run(*COMPILE, "--out", "ours").exit_code == 0
    Path("ours/mlflow.json").write_text(json.dumps({"run_id": "0" * 32, "tracking_uri": "http://127.0.0.1:9"}))
    result = evaluated(Path("ours"))
    assert result.exit_code == 0, result.output
    assert "no run of yours here was recorded in" in " ".join(result.output.split())


OPENING = [
    ("view", "theirs", "--no-browser"),
    ("log", "theirs"),
    ("log", "theirs", "--check"),
    ("log", "theirs", "--export", "records.jsonl"),
    ("show-rollout", "theirs", "s1/e0/r0"),
    ("library", "show", "theirs/library.json"),
    ("library", "log", "theirs/library.json"),
    ("library", "diff", "theirs/library.json", "theirs/library.json"),
    ("library", "blame", "theirs/library.json"),
    ("library", "merge", "theirs/library.json", "theirs/library.json", "--out", "both.json"),
    ("library", "export", "theirs/library.json", "--format", "markdown", "--out", "library.md"),
    ("attach", SOLVER, "theirs/library.json", "--out", "attached.json"),
]


@pytest.mark.parametrize("command", OPENING, ids=lambda command: " ".join(command[:2]))
def test_opening_a_folder_imports_and_unpickles_nothing_of_it(theirs, command, monkeypatch):
    says(theirs, program="evil.py:solver", metric="evil:metric")
    (theirs / "evil.py").write_text(EVIL, encoding="utf-8")

    def unpickled(*_, **__):
        raise AssertionError("something was unpickled")

    for module in (pickle, cloudpickle):
        for name in ("load", "loads"):
            monkeypatch.setattr(module, name, unpickled)
    result = run(*command)
    assert result.exit_code in {0, 2}, result.output
    assert not isinstance(result.exception, AssertionError)
    assert not Path("it_ran").exists()
    assert not (theirs / "it_ran").exists()


def test_a_store_whose_schema_was_tampered_with_runs_nothing_of_it(theirs):
    """SQLite keeps views and triggers in the file itself."""
    with closing(sqlite3.connect(theirs / "log/run.db")) as connection, connection:
        connection.execute("ALTER TABLE records RENAME TO hidden")
        connection.execute(
            "CREATE VIEW records AS SELECT id, kind, name, writefile('it_ran', 'x') AS value, checksum FROM hidden"
        )
    result = run("log", "theirs")
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert not Path("it_ran").exists()
