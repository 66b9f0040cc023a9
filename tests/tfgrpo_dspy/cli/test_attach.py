from __future__ import annotations

from pathlib import Path

import dspy
import pytest

from programs.demo_world import solver
from tests.tfgrpo_dspy.command_line import SOLVER, run, the_error
from tfgrpo_dspy import library_of, read_library
from tfgrpo_dspy.cli.references import load_program

YOUTU = Path(__file__).parents[3] / "../shared/data/youtu"


def write(name: str, *texts: str) -> str:
    Path(name).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return name


def test_libraries_are_plugged_into_a_program_in_order():
    math, style = write("math.txt", "Draw a figure.", "Convert units."), write("style.txt", "Answer in one line.")
    done = run("attach", SOLVER, math, "--also", style, "--out", "program.json", "--save-library", "both.json")
    assert done.exit_code == 0, done.output
    assert "3 experiences" in done.stdout
    assert "style:G0" in done.stdout
    program = solver.deepcopy()
    program.load("program.json")
    assert [(e.id, e.text) for e in library_of(program)] == [
        ("G0", "Draw a figure."),
        ("G1", "Convert units."),
        ("G2", "Answer in one line."),
    ]
    assert [e.provenance.origin for e in read_library("both.json")] == ["math:G0", "math:G1", "style:G0"]


def test_what_a_budget_leaves_out_is_said():
    done = run("attach", SOLVER, write("math.txt", "Draw.", "Convert units."), "--max-tokens", "4", "--out", "p.json")
    assert done.exit_code == 0, done.output
    assert "1 left out, beyond 4 tokens: math:G1" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["missing.txt", "--out", "p.json"], "there is no file missing.txt"),
        (["math.txt", "--out", "p.txt"], "a program is written as .json"),
        (["math.txt", "--out", "p.json", "--conditioned", "nobody"], "conditioned names 'nobody'"),
        (["math.txt", "--out", "p.json", "--depth", "3"], "has the option --depth"),
    ],
)
def test_what_cannot_be_attached_is_said_in_one_sentence(arguments, expected):
    write("math.txt", "Draw a figure.")
    done = run("attach", SOLVER, *arguments)
    assert done.exit_code == 2
    assert expected in the_error(done)
    assert not Path("p.json").exists()


def test_an_imported_library_may_be_given_its_domain():
    assert run("library", "import", write("m.txt", "Draw."), "m.json", "--domain", "math").exit_code == 0
    assert read_library("m.json").domain == "math"
    assert "1 experience on math" in run("library", "show", "m.json").stdout


@pytest.mark.skipif(not YOUTU.exists(), reason="the released libraries are not here")
@pytest.mark.parametrize(("domain", "entries"), [("math", 27), ("web", 46)])
def test_the_released_libraries_plug_into_our_agents(domain, entries):
    agent = f"programs.{domain}:react"
    done = run("attach", agent, YOUTU / f"{domain}_practice_agent.yaml", "--out", "program.json")
    assert done.exit_code == 0, done.output
    assert f"{entries} experiences" in done.stdout
    program: dspy.Module = load_program(agent)
    program.load("program.json")
    assert len(library_of(program)) == entries
