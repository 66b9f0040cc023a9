"""What is run: command lines of `tfgrpo` over each kind of machinery that keeps something, and what has to come out."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from programs.demo_world import write_problems
from programs.math_world import math_examples

THREADS = 4
TRACKED = "mlruns/mlflow.db"
"""Where the command line records, if nothing else is said."""
LEARNED = ("library.json", "library.history.jsonl", "library.md", "program.json")
"""Files of a run that say nothing of when and how often it was started."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command that is given again until it has finished."""

    name: str
    arguments: Sequence[str]
    """Of `tfgrpo`, in a folder of `write_data`, without those that name the LM."""
    calls_per_task: int = 2
    """The most calls that are paid again when a task that is kept as a whole is lost: one, and where a reply was odd a
    second one that asks for it again."""
    is_comparison: bool = False
    is_tracked: bool = False
    """Whether MLflow records it, in a store that is new."""

    def command(self, url: str) -> list[str]:
        """All arguments, for an endpoint."""
        lm = ("--lm", "openai/simulated", "--api-base", url, "--lm-option", "seed=1", "--lm-option", "cache=false")
        return [*self.arguments, *lm, "--tracking" if self.is_tracked else "--no-tracking", "--out", "out"]

    @property
    def stores(self) -> str:
        """Where its stores are, as a pattern."""
        return "out/rows/*/log/run.db" if self.is_comparison else "out/log/run.db"

    def outcome(self, folder: Path) -> Mapping[str, str]:
        """Name to content of what has to be the same however often the run was disturbed."""
        if not self.is_comparison:
            kept = {name: (folder / "out" / name).read_text(encoding="utf-8") for name in LEARNED}
            return kept | ({"MLflow": _recorded(folder / TRACKED)} if self.is_tracked else {})
        rows = sorted((folder / "out/rows").iterdir())
        kept = {f"{row.name}/{path.name}": path for row in rows for path in row.glob("[lp]*.json")}
        texts = {name: path.read_text(encoding="utf-8") for name, path in kept.items()}
        return texts | {f"{row.name}/rewards": _rewards(row / "rollouts.jsonl") for row in rows}


def _rewards(path: Path) -> str:
    """What was scored, without how long it took."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return json.dumps([[line["rewards"], line["answers"], line["lost"]] for line in lines])


def _recorded(store: Path) -> str:
    """State and rewards of the runs in an MLflow store."""
    asked = (
        "SELECT status, step, round(value, 9) FROM runs LEFT JOIN metrics ON metrics.run_uuid = runs.run_uuid "
        "AND key = 'reward/mean' ORDER BY step"
    )
    with closing(sqlite3.connect(store)) as connection:
        return str(connection.execute(asked).fetchall())


def _compile(name: str, *more: str, program: str = "programs.demo_world:solver", **about: int) -> Scenario:
    given = ("compile", program, "train.jsonl", "--metric", "number", "--group-size", "3", "--seed", "0")
    return Scenario(name, (*given, "--num-threads", str(THREADS), *more), **about)


AGENT_CALLS = 8
"""Of a rollout of the agent, its last answer included, and of a turn that is asked again."""
SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        _compile("plain", "--epochs", "3"),
        _compile("gate", "--epochs", "2", "--gate", "val.jsonl", "--valset", "val.jsonl"),
        _compile("trials", "--epochs", "3", "--trials", "--group-size", "4"),
        _compile("retrieval", "--epochs", "3", "--batch-size", "3", "--retrieval", "2"),
        _compile("review", "--epochs", "2", "--review-file", "review.json"),
        _compile(
            "agents", "--epochs", "2", "--inputs", "problem", program="agent.py:agent", calls_per_task=AGENT_CALLS
        ),
        _compile("tracked", "--epochs", "2", is_tracked=True),
        Scenario(
            "compare",
            (
                *("compare", "programs.demo_world:solver", "train.jsonl", "--test", "test.jsonl", "--metric", "number"),
                *("--optimizers", "none,tfgrpo", "--seeds", "1", "-k", "3", "--budget", "80"),
                *("--threads", str(THREADS)),
            ),
            is_comparison=True,
        ),
    )
}
"""By name."""

_AGENT = "from programs.math_world import make_agent\n\nagent = make_agent()\n"


def write_data(scenario: Scenario, folder: Path) -> None:
    """What the command reads."""
    write_problems(folder, train=6, test=12)
    (folder / "val.jsonl").write_text("".join((folder / "test.jsonl").read_text().splitlines(keepends=True)[:3]))
    if scenario.name == "agents":
        rows = [dict(example.toDict()) for example in math_examples(4, 0)]
        (folder / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        (folder / "agent.py").write_text(_AGENT)


def decide(folder: Path) -> None:
    """Give every operation that waits for a review its verdict, the same for the same operation."""
    path = folder / "review.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    for place, operation in enumerate(document["operations"]):
        refused = place % 3 == 2
        operation |= {"verdict": "refuse", "reason": "not here"} if refused else {"verdict": "accept"}
    path.write_text(json.dumps(document), encoding="utf-8")


def run_command(arguments: Sequence[str], folder: str) -> None:
    """`tfgrpo` with these arguments, in a folder: what a child process does."""
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored
    written = os.open("said.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
    sys.path.insert(0, folder)
    os.environ |= {"OPENAI_API_KEY": "x", "COLUMNS": "200"}
    sys.argv = ["tfgrpo", *arguments]
    from tfgrpo_dspy.cli import main

    main()
