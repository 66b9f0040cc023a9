"""`tfgrpo list`: what can be compared."""

from __future__ import annotations

from typing import Literal

from evals.harness.tasks import TASKS
from evals.paper.tables import TABLES
from optimizers.registry import LINE_UP
from tfgrpo_dspy.cli import section, table_of
from tfgrpo_dspy.kit import plugins


def show_lists() -> None:
    """Print the tasks, the paper's tables and the line-up."""
    tasks = [(task.name, task.title) for task in TASKS.values()]
    optimizers = [(entry.name, entry.description) for entry in LINE_UP.values()]
    section("Tasks", table_of(("name", "task"), [*tasks, *_brought("tasks")]))
    section("Tables of the paper", table_of(("name", "table"), TABLES.items()))
    section("Optimizers", table_of(("name", "what it learns"), [*optimizers, *_brought("optimizers")]))


def _brought(kind: Literal["optimizers", "tasks"]) -> list[tuple[str, str]]:
    """What other distributions bring, without loading any of it."""
    return [(name, f"of {point.dist.name if point.dist else point.value}") for name, point in plugins(kind).items()]
