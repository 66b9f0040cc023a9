"""What optimizers are compared on: a task names its student, metric, data and language model, each per seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dspy

from programs.demo_world import make_solver
from tfgrpo_dspy import SettingsError
from tfgrpo_dspy.kit import load_plugin, plugins
from tfgrpo_dspy.rewards import Metric, exact, number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm

Examples = tuple[dspy.Example, ...]


@dataclass(frozen=True, slots=True)
class Data:
    """The examples of one seed."""

    train: Examples
    test: Examples
    """Held out; the same questions under every seed, so that seeds and questions are crossed (see `scoring`)."""
    val: Examples = ()
    """Empty for none: an optimizer that needs some then takes its own share of the trainset."""

    def first(self, train: int | None = None, test: int | None = None) -> Data:
        """Only so many of each; None for all."""
        return replace(self, train=self.train[:train], test=self.test[:test])


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One experiment's fixed side: everything but the optimizer and the seed.

    Another model or another program is another task, made by `dataclasses.replace(task, lm=..., model=...)`: a line of
    a table is a (model, program, optimizer) triple.
    """

    name: str
    """What the command line calls it."""
    title: str
    """What a report calls it."""
    student: Callable[[], dspy.Module]
    """Makes the program as it is before any optimizer."""
    metric: Metric
    data: Callable[[int], Data]
    """By seed."""
    lm: Callable[[int], dspy.BaseLM]
    """By seed."""
    model: str
    """The LM as a table names it; no credential."""
    program: str
    """The student as a table names it."""
    k: int = 5
    """Rollouts per test question, >= 1."""
    calls: int | None = None
    """LM calls that an optimizer may take to learn; None leaves each its own settings."""
    simulated: bool = False
    """Whether the LM is the embedded one, so that every figure must be labelled so."""


_DEMO_TRAIN, _DEMO_TEST = 60, 60


def _demo_data(seed: int) -> Data:
    return Data(tuple(demo_examples(_DEMO_TRAIN, seed, "train")), tuple(demo_examples(_DEMO_TEST, 0, "test")))


def _demo_lm(seed: int) -> dspy.BaseLM:
    # Some optimizers sample by asking the same again, so no seed is sent and no cache answers.
    return simulated_lm(seed=seed, fixed_seed=False, cache=False)


_AGENT_TRAIN, _AGENT_TEST = 24, 30
"""Few enough that a comparison with real tools ends within minutes."""


def _math_agent() -> dspy.Module:
    from programs.math_world import make_agent

    return make_agent()


def _math_agent_data(seed: int) -> Data:
    from programs.math_world import math_examples

    return Data(tuple(math_examples(_AGENT_TRAIN, seed)), tuple(math_examples(_AGENT_TEST, 0, "test")))


def _web_agent() -> dspy.Module:
    from programs.web_world import make_agent  # needs the extra `web`

    return make_agent()


def _web_agent_data(seed: int) -> Data:
    from programs.web_world import web_examples

    return Data(tuple(web_examples(_AGENT_TRAIN, seed)), tuple(web_examples(_AGENT_TEST, 0, "test")))


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="demo",
            title="Demo world",
            student=make_solver,
            metric=number,
            data=_demo_data,
            lm=_demo_lm,
            model="simulated",
            program="chain of thought",
            simulated=True,
            calls=1_600,  # what the paper's settings take on 60 problems
        ),
        Task(
            name="demo-math-agent",
            title="Demo world of a math agent with a Python sandbox",
            student=_math_agent,
            metric=number,
            data=_math_agent_data,
            lm=_demo_lm,
            model="simulated",
            program="ReAct with run_python",
            k=3,
            simulated=True,
        ),
        Task(
            name="demo-web-agent",
            title="Demo world of a web agent on a site of its own",
            student=_web_agent,
            metric=exact,
            data=_web_agent_data,
            lm=_demo_lm,
            model="simulated",
            program="ReAct with web_search, open_page and find_in_page",
            k=3,
            simulated=True,
        ),
    )
}
"""Name to task."""


def find_task(name: str) -> Task:
    """The task of that name.

    Raises:
        SettingsError: There is none; the message lists them.
    """
    if name in TASKS:
        return TASKS[name]
    brought = plugins("tasks")
    if name not in brought:
        raise SettingsError(f"there is no task {name!r}; there are: {', '.join([*TASKS, *brought])}")
    made = load_plugin("tasks", name)
    made = made() if callable(made) else made
    return replace(task_of(name, made, f"{name!r}, a task of another distribution,"), name=name)


def task_of(name: str, made: object, called: str) -> Task:
    """The task that somebody's own is, or that its fields make; its data may be two lists, to learn from and test on.

    Raises:
        SettingsError: It is neither; the message calls it as it is called.
    """
    if isinstance(made, Task):
        return made
    if not isinstance(made, Mapping):
        raise SettingsError(
            f"{called} is of type {type(made).__name__}; it must be a Task, its fields as a mapping, or a function "
            "that returns one of these"
        )
    try:
        task = Task(**{"name": name, "title": name, **made})
    except TypeError as error:
        raise SettingsError(f"{called.rstrip(',')}: {error}; see docs/extending.md") from error
    return replace(task, data=partial(_data_of, task.data))


def _data_of(make: Callable[[int], Any], seed: int) -> Data:
    made = make(seed)
    return made if isinstance(made, Data) else Data(*map(tuple, made))
