"""Runs `tfgrpo` inside the test's process, and leaves that process as it was."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from typer.testing import CliRunner, Result

from programs.demo_world import write_problems
from tfgrpo_dspy.cli.app import app
from tfgrpo_dspy.errors import DataError
from tfgrpo_dspy.runtime.stored import reading

ROOT = Path(__file__).parents[2]
KEY = "sk-a-very-secret-key"
SOLVER = "programs.demo_world:solver"
LOGGERS = ("tfgrpo_dspy", "dspy", "LiteLLM", "huggingface_hub")
STUDENTS = """
import dspy

solver = dspy.ChainOfThought("question -> answer")


class Contextual(dspy.Module):
    def __init__(self):
        super().__init__()
        self.solve = dspy.Predict("context, question -> answer")

    def forward(self, context, question):
        return self.solve(context=context, question=question)


def needs_more(size):
    return solver


def makes_a_number():
    return 3


three = 3


def raises(example, prediction, trace=None):
    raise RuntimeError("the metric broke")


def not_a_number(example, prediction, trace=None):
    return float("nan")


def a_word(example, prediction, trace=None):
    return "good"


def only_one(example):
    return 1
"""


def run(*arguments: str | Path, env: Mapping[str, str] | None = None, typed: str | None = None) -> Result:
    """`tfgrpo` with these arguments, and what a person types; its output, errors and exit code."""
    path, loggers = list(sys.path), [logging.getLogger(name) for name in LOGGERS]
    before = [(list(logger.handlers), logger.propagate, logger.level) for logger in loggers]
    try:
        given = [str(a) for a in arguments]
        return CliRunner().invoke(app, given, input=typed, env=dict(env or {}), prog_name="tfgrpo")
    finally:
        sys.path[:] = path
        for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
            logger.handlers[:], logger.propagate = handlers, propagate
            logger.setLevel(level)


def said(*arguments: str | Path) -> str:
    """What `tfgrpo library` says."""
    result = run("library", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def problems(train: int = 8, test: int = 8) -> None:
    """`train.jsonl`, `test.jsonl` and `students.py` in the current folder."""
    write_problems(Path(), train=train, test=test)
    Path("students.py").write_text(STUDENTS, encoding="utf-8")


def the_error(result: Result) -> str:
    """The only error of a run, which is one sentence on one line and no traceback."""
    assert "Traceback" not in result.output, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.output
    assert result.stderr.rstrip().endswith(lines[0]), "the error is the last thing to be said"
    return lines[0].removeprefix("Error: ")


def files_with(text: str, folder: Path = Path()) -> list[Path]:
    """Files below a folder that hold the text."""
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def process_environment(**more: str) -> dict[str, str]:
    """The environment for `tfgrpo` as a process of its own."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def started(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    """`tfgrpo` as a process of its own, which heeds signals even if the tests were started to ignore them."""
    main = (
        "import signal as s; s.signal(s.SIGINT, s.default_int_handler)\n"
        "for one in (s.SIGTERM, s.SIGHUP): s.signal(one, s.SIG_DFL)\n"
        "from tfgrpo_dspy.cli import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", main, *map(str, arguments)],
        env=process_environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def results_in(folder: str) -> list[str]:
    """Names of what the tasks of the run in a folder returned, as far as it is there."""
    with contextlib.suppress(DataError), reading(folder) as stored:
        return stored.names()
    return []
