"""Measured effects on disk, and `tfgrpo library show --effects`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tfgrpo_dspy.command_line import SOLVER, problems, run, the_error
from tfgrpo_dspy import ExperienceLibrary, Modify, write_library
from tfgrpo_dspy.credit.file import dump_effects, effects_path, load_effects, parse_effects, save_effects
from tfgrpo_dspy.errors import LibraryFormatError
from tfgrpo_dspy.records.effects import Effect

LIBRARY = ExperienceLibrary.from_texts(["When adding, guess [bold]it[/bold].", "When adding, carry the ten.", "Check."])
EFFECTS = (
    Effect("G0", LIBRARY["G0"].text, -0.25, -0.375, -0.125, 70, 30),
    Effect("G1", LIBRARY["G1"].text, 0.25, 0.125, 0.375, 66, 34),
)


def test_what_is_written_is_read_and_every_effect_has_a_line():
    text = dump_effects(EFFECTS)
    assert parse_effects(text) == EFFECTS
    assert sum('"G0"' in line or '"G1"' in line for line in text.splitlines()) == 2
    assert (json.loads(text)["format"], json.loads(text)["version"]) == ("tfgrpo-effects", 1)
    assert parse_effects(dump_effects(())) == ()


def test_effects_belong_to_texts(tmp_path):
    path = tmp_path / "library.json"
    save_effects(EFFECTS, path)
    assert load_effects(path, LIBRARY) == {"G0": EFFECTS[0], "G1": EFFECTS[1]}
    changed = LIBRARY.apply([Modify(id="G0", text="When adding, add.")]).library
    assert load_effects(path, changed) == {"G1": EFFECTS[1]}
    save_effects((), path)
    assert not effects_path(path).exists()
    assert load_effects(path, LIBRARY) == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "tfgrpo-effects", "version": 2, "effects": []}', "{"])
def test_what_is_no_file_of_effects_is_refused_with_its_name(text):
    with pytest.raises(LibraryFormatError, match=r"there\.json"):
        parse_effects(text, source="there.json")


def test_show_tells_what_each_was_measured_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_library(LIBRARY, "library.json")
    assert "no effects were measured" in the_error(run("library", "show", "library.json", "--effects"))
    save_effects(EFFECTS, Path("library.json"))
    for place in ("library.json", "."):
        result = run("library", "show", place, "--effects")
        assert result.exit_code == 0, result.output
        shown = " ".join(result.stdout.split())
        assert "effect -0.250 [-0.375, -0.125], 70 rollouts with it, 30 without" in shown
        assert "effect not measured" in shown
    assert "effect" not in run("library", "show", "library.json").stdout


def test_compile_measures_prunes_and_leaves_the_effects(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problems()
    result = run(
        "compile",
        SOLVER,
        "train.jsonl",
        *("--lm", "simulated", "--metric", "number", "--epochs", "2", "--no-tracking", "--out", "made"),
        *("--dropout", "0.3", "--prune", "harmful"),
    )
    assert result.exit_code == 0, result.output
    measured = parse_effects(effects_path("made/library.json").read_text(encoding="utf-8"))
    assert measured
    assert all(effect.n_with > effect.n_without > 0 for effect in measured)
    assert "## Measured effects" in Path("made/report.md").read_text(encoding="utf-8")
    assert "rollouts with it" in run("library", "show", "made", "--effects").stdout.replace("\n", " ")
