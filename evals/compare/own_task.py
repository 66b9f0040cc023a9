"""A comparison on a task of one's own: a program, a metric and files, or a `Task` that a file or module has."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import dspy

from evals.compare.options import CompareOptions
from evals.harness.tasks import Data, Examples, Task, task_of
from tfgrpo_dspy import SettingsError
from tfgrpo_dspy.cli import examples_for, load_attribute, load_metric, load_program, make_lm
from tfgrpo_dspy.kit import copy_program

_SIMULATED = "simulated"
_K = 5


def task_of_files(options: CompareOptions) -> Task:
    """The task that a program, examples to learn from and held-out ones make.

    Raises:
        SettingsError: Something is not named that a comparison needs.
        DataError, ProgramError: Something that is named cannot be used.
    """
    for name, given, why in (
        ("TRAINSET", options.trainset, "examples to learn from"),
        ("--test FILE", options.test, "held-out examples, the same for every optimizer and seed"),
        ("--lm MODEL", options.lm, "the language model that answers, e.g. openai/gpt-4.1-mini"),
    ):
        if given is None:
            raise SettingsError(f"a comparison on a program of yours needs {name}: {why}")
    program = load_program(str(options.program))
    train, test = (tuple(examples_for(program, str(source), options)) for source in (options.trainset, options.test))
    val = tuple(examples_for(program, options.valset, options)) if options.valset is not None else ()
    name = re.sub(r"[^\w.-]+", "-", f"{options.program}-{Path(str(options.trainset)).stem}").strip("-.")
    return Task(
        name=name,
        title=f"{options.program} on {options.test}",
        student=partial(copy_program, program),
        metric=load_metric(options.metric),
        data=_Shuffled(train, test, val),
        lm=_NamedLM(str(options.lm), options.api_base, tuple(options.lm_option or ())),
        model=str(options.lm),
        program=type(program).__name__,
        k=_K,
        simulated=_SIMULATED in str(options.lm).lower(),  # behind an endpoint too
    )


def task_at(reference: str) -> Task:
    """The task at `file.py:name` or `package.module:name`: a `Task`, its fields as a mapping, or what makes one.

    Raises:
        SettingsError: It is none of these.
    """
    found = load_attribute(reference, "task", SettingsError)
    made = found() if callable(found) and not isinstance(found, dspy.Module) else found
    name = re.sub(r"[^\w.-]+", "-", reference).strip("-.")
    task = task_of(name, made, f"{reference!r}")
    return task if isinstance(made, Task) else replace(task, name=name)


@dataclass(frozen=True, slots=True)
class _Shuffled:
    """The same examples under every seed, to learn from in an order of the seed's own."""

    train: Examples
    test: Examples
    val: Examples

    def __call__(self, seed: int) -> Data:
        """The examples of a seed."""
        order = random.Random(f"order of the training examples, seed {seed}")
        return Data(tuple(order.sample(self.train, len(self.train))), self.test, self.val)


@dataclass(frozen=True, slots=True)
class _NamedLM:
    """The LM that the command line names, by seed."""

    model: str
    api_base: str | None
    more: tuple[str, ...]

    def __call__(self, seed: int) -> dspy.BaseLM:
        """Without DSPy's cache, as some optimizers sample by asking the same again."""
        own = ("cache=false", *(("fixed_seed=false",) if self.model == _SIMULATED else ()))
        named = {pair.partition("=")[0].strip() for pair in self.more}
        more = [*self.more, *(pair for pair in own if pair.partition("=")[0] not in named)]
        return make_lm(self.model, api_base=self.api_base, seed=seed, more=more)
