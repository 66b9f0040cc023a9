"""Options of the user's own program on our command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dspy
import pytest

from tests.tfgrpo_dspy.command_line import problems, run, the_error
from tfgrpo_dspy.cli.options.common import CompileOptions
from tfgrpo_dspy.cli.options.program import arguments_of
from tfgrpo_dspy.cli.options.recipe import read_recipe
from tfgrpo_dspy.cli.references import load_program
from tfgrpo_dspy.errors import ProgramError, SettingsError

SIMULATED = ("--lm", "simulated", "--no-tracking", "--epochs", "1", "--group-size", "2", "--metric", "number")
FACTORY = """
import dspy

def solver(*, style: str = "plain", turns: int = 3, careful: bool = True, hosts: list[str] = (), other: object = None):
    '''A solver.

    Args:
        style: How it answers.
    '''
    program = dspy.ChainOfThought("question -> answer")
    program.made_with = (style, turns, careful, list(hosts))
    return program


def needing(size: int):
    return dspy.ChainOfThought("question -> answer")
"""


@pytest.fixture(autouse=True)
def inputs():
    problems()
    Path("made.py").write_text(FACTORY, encoding="utf-8")


def make(
    where: str = "",
    count: int | None = None,
    share: float = 0.5,
    safe: bool = True,
    names: Sequence[str] = (),
    inner: dict[str, int] | None = None,
    **more: object,
) -> dspy.Module:
    """Make nothing.

    Args:
        where: A place. With more to say.
        count: Of things.
    """


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ("", {}),
        ("--where x", {"where": "x"}),
        ("--where=x --count 3", {"where": "x", "count": 3}),
        ("--share -1.5", {"share": -1.5}),
        ("--no-safe", {"safe": False}),
        ("--safe", {"safe": True}),
        ("--names a --names b", {"names": ["a", "b"]}),
        ("--where a --where b", {"where": "b"}),
    ],
)
def test_words_become_arguments_of_the_declared_type(given, arguments):
    assert arguments_of(make, given.split(), "m:make") == arguments


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--were x", "neither tfgrpo nor m:make has the option --were x"),
        ("--count many", "argument --count: invalid int value: 'many'"),
        ("--where", "argument --where: expected one argument"),
        ("--inner 3", "has the option --inner 3"),
        ("--more 3", "has the option --more 3"),
        ("--wher x", "has the option --wher x"),
        ("stray", "has the option stray"),
        ("--api-key sk-12345678", "--api-key looks like a secret"),
        ("--auth-token=sk-12345678", "--auth-token looks like a secret"),
    ],
)
def test_what_cannot_be_an_argument_is_refused_and_what_can_is_listed(given, said):
    with pytest.raises(SettingsError) as raised:
        arguments_of(make, given.split(), "m:make")
    assert said in str(raised.value)
    assert "12345678" not in str(raised.value)
    if "secret" not in said:
        assert "m:make takes --where TEXT (A place. With more to say), --count INT (Of things)" in str(raised.value)


def test_options_reach_the_function_and_are_kept_for_evaluation():
    options = ("--style", "terse", "--no-careful", "--hosts", "a", "--hosts", "b")
    result = run("compile", "made.py:solver", "train.jsonl", *options, "--limit", "4", *SIMULATED)
    assert result.exit_code == 0, result.output
    assert "made.py:solver --style terse --no-careful" in result.stdout
    kept = read_recipe(Path("out/recipe.yaml"), CompileOptions.repeated()).written
    assert kept["program_options"] == list(options)
    program = load_program(kept["program"], kept["program_options"])
    assert program.made_with == ("terse", 3, False, ["a", "b"])


def test_evaluation_takes_the_options_of_the_run_and_more():
    run("compile", "made.py:needing", "train.jsonl", "--size", "3", "--limit", "4", *SIMULATED)
    result = run("evaluate", "out/program.json", "test.jsonl", "-k", "2", "--lm", "simulated")
    assert result.exit_code == 0, result.output
    result = run("evaluate", "out/program.json", "test.jsonl", "--size", "big", "--lm", "simulated")
    assert "invalid int value: 'big'" in the_error(result)


def test_a_run_is_not_taken_up_with_other_options():
    def compiled(style: str):
        return run("compile", "made.py:solver", "train.jsonl", "--style", style, "--limit", "4", *SIMULATED)

    assert compiled("terse").exit_code == 0
    assert compiled("terse").exit_code == 0
    assert "student was" in the_error(compiled("florid"))


def test_a_function_that_needs_an_argument_says_how_to_give_it():
    with pytest.raises(ProgramError, match="needs the arguments size; give them as options, --size"):
        load_program("made.py:needing")


@pytest.mark.parametrize("reference", ["students.py:solver", "students.py:Contextual"])
def test_a_program_that_is_not_made_by_a_function_takes_none(reference):
    result = run("compile", reference, "train.jsonl", "--epoch", "3", *SIMULATED)
    assert f"neither tfgrpo nor {reference} has the option --epoch" in the_error(result)
    assert the_error(result).endswith("did you mean --epochs?")
    assert result.exit_code == 2


def test_options_of_the_program_follow_its_name():
    result = run("compile", "--style", "terse", "made.py:solver", "train.jsonl", *SIMULATED)
    assert result.exit_code == 2
    assert "follow PROGRAM and TRAINSET" in " ".join(result.stderr.replace("│", " ").split())
