"""A program on disk: its state without keys and endpoints, and reading it back."""

from __future__ import annotations

import json
from pathlib import Path

import dspy
import pytest

from tfgrpo_dspy import ExperienceLibrary, ProgramError, attach
from tfgrpo_dspy.program.saved import load_state, save_program, saved_library

LIBRARY = ExperienceLibrary.from_texts(["Read {this} twice: $\\frac{1}{2}$, “so”."])


def test_a_saved_program_is_what_dspy_saves():
    program = attach(dspy.ChainOfThought("question -> answer"), LIBRARY)
    program.save("theirs.json")
    save_program(program, Path("ours.json"))
    assert json.loads(Path("ours.json").read_text("utf-8")) == json.loads(Path("theirs.json").read_text("utf-8"))


def test_the_lms_of_a_program_are_saved_without_keys_and_endpoints():
    program = dspy.ChainOfThought("question -> answer")
    secrets = {"api_key": "sk-abcdefgh", "api_base": "http://anna:sesame@h/v1", "headers": {"x": "hush-hush"}}
    program.predict.lm = dspy.LM("openai/x", temperature=0.3, **secrets)
    save_program(program, Path("program.json"))
    text = Path("program.json").read_text("utf-8")
    assert not any(secret in text for secret in ("sk-abcdefgh", "sesame", "hush-hush"))
    loaded = load_state(program, Path("program.json"))
    assert (loaded.predict.lm.model, loaded.predict.lm.kwargs["temperature"]) == ("openai/x", 0.3)


def test_a_state_is_loaded_into_a_copy():
    program = dspy.ChainOfThought("question -> answer")
    save_program(attach(program, LIBRARY), Path("program.json"))
    loaded = load_state(program, Path("program.json"))
    assert "Read {this} twice" in loaded.predict.signature.instructions
    assert "Read {this} twice" not in program.predict.signature.instructions
    assert [e.text for e in saved_library(Path("program.json")) or ()] == [e.text for e in LIBRARY]


def test_a_state_of_another_shape_is_refused():
    Path("program.json").write_text('{"predict": {"demos": 3}, "metadata": {}}', encoding="utf-8")
    with pytest.raises(ProgramError, match="cannot be loaded into this program"):
        load_state(dspy.ChainOfThought("question -> answer"), Path("program.json"))
