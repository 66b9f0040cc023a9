"""A comparison under each ability of the embedded LM: what it can learn from decides which methods fare well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import dspy

from evals.harness.tasks import TASKS, Task
from evals.reports.grid import Grid
from evals.reports.markdown import grid_blocks
from evals.reports.report import SIMULATED
from evals.scoring.table import Line, Table
from tfgrpo_dspy import SettingsError
from tfgrpo_dspy.simulated import Learns, simulated_lm

PAGE = "abilities.md"
ABILITIES: Mapping[Learns, str] = {
    "contrast": "contrast: better attempts beside worse ones",
    "answer": "answer: a failure beside the expected answer",
    "both": "both",
}
"""What the embedded LM can learn from, in words."""


@dataclass(frozen=True, slots=True)
class LearningLM:
    """The embedded LM of one ability, by seed."""

    learns: Learns

    def __call__(self, seed: int) -> dspy.BaseLM:
        """Some optimizers sample by asking the same again, so no seed is sent and no cache answers."""
        return simulated_lm(seed=seed, fixed_seed=False, cache=False, learns=self.learns)


def under(task: Task, ability: Learns) -> Task:
    """The task with the embedded LM of that ability.

    Raises:
        SettingsError: It is not one of this package's own, whose LM is the embedded one.
    """
    if task.name not in TASKS:
        raise SettingsError(f"--abilities are of the embedded LM alone; name one of its tasks: {', '.join(TASKS)}")
    return replace(
        task,
        name=f"{task.name}-{ability}",
        title=f"{task.title}, an LM that learns from {ABILITIES[ability]}",
        lm=LearningLM(ability),
        model=f"simulated, learns from {ability}",
    )


def headline_of(tables: Mapping[Learns, Table]) -> str:
    """What decides how optimizers fare, by the one whose score it moves most, and who leads under each ability."""
    led = {ability: _leading(table) for ability, table in tables.items()}
    told = "; ".join(f"{ability}: {_scored(line)}" for ability, line in led.items() if line is not None)
    means: dict[str, list[float]] = {}
    for line in (line for table in tables.values() for line in table.lines if line.mean is not None):
        means.setdefault(line.optimizer, []).append(_mean(line))
    name = max(means, key=lambda name: max(means[name]) - min(means[name]), default="none")
    span = means.get(name, [0.0])
    return (
        f"What the LM can learn from decides how optimizers fare here: {name} comes to {min(span):.3f} under one "
        f"ability and {max(span):.3f} under another. The highest scores are {told}."
    )


def grid_of(tables: Mapping[Learns, Table]) -> Grid:
    """Mean@k and verdict of every optimizer under every ability; the best mean over the abilities comes first."""
    lines = {ability: {line.optimizer: line for line in table.lines} for ability, table in tables.items()}
    names = dict.fromkeys(name for of_ability in lines.values() for name in of_ability)
    ranked = sorted(names, key=lambda name: -sum(_mean(of.get(name)) for of in lines.values()))
    rows = tuple((name, *(_cell(of.get(name)) for of in lines.values())) for name in ranked)
    first = next(iter(tables.values()))
    note = (
        f"Mean@{first.k} on {first.questions} questions, {len(first.seeds)} training seeds; + better and - worse than "
        "the bare program after Holm's correction within a column. The order is that of the means over the columns; "
        "it ranks no methods."
    )
    return Grid("Mean score by what the LM can learn from (simulated)", ("optimizer", *tables), rows, note)


def page_of(title: str, tables: Mapping[Learns, Table]) -> str:
    """The page about all of them, in Markdown."""
    head = (f"# {title}", f"**{SIMULATED}**", f"## {headline_of(tables)}")
    return "\n\n".join([*head, *grid_blocks(grid_of(tables))]) + "\n"


def _leading(table: Table) -> Line | None:
    return max((line for line in table.lines if line.mean is not None), key=_mean, default=None)


def _scored(line: Line) -> str:
    return f"{line.label} {_mean(line):.3f}"


def _mean(line: Line | None) -> float:
    return line.mean.value if line is not None and line.mean is not None else 0.0


def _cell(line: Line | None) -> str:
    if line is None or line.mean is None:
        return "failed"
    sign = {"better": " +", "worse": " -"}.get(line.verdict, "")
    return f"{line.mean.value:.3f}{sign}"
