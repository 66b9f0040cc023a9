"""Before a run: everything that can be checked before a call is paid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dspy

from tfgrpo_dspy.announcer import Announcer, observers_of
from tfgrpo_dspy.checks import check_examples, check_lms, check_sampling, lms_of
from tfgrpo_dspy.conditioning import check_conditioned, detach
from tfgrpo_dspy.gain import check_gain
from tfgrpo_dspy.identity import described, identity_of
from tfgrpo_dspy.journal import Journal, Memory, NoMemory
from tfgrpo_dspy.prices import find_prices
from tfgrpo_dspy.reflection import Reflection
from tfgrpo_dspy.rendering import shorten
from tfgrpo_dspy.run import Run
from tfgrpo_dspy.settings import Settings

if TYPE_CHECKING:
    from tfgrpo_dspy.teleprompter import TrainingFreeGRPO

_OBJECTIVE_TOKENS = 600


def prepare(
    optimizer: TrainingFreeGRPO,
    student: dspy.Module,
    trainset: Sequence[dspy.Example],
    valset: Sequence[dspy.Example] | None,
    settings: Settings,
) -> Run:
    """Check everything that can be checked before a call is paid.

    Raises:
        SettingsError, DataError, ProgramError: Something cannot be used.
    """
    conditioned = check_conditioned(student, settings.conditioned)
    reflection_lm = check_lms(student, optimizer.reflection_lm)
    check_sampling(student, settings.temperature)
    train = check_examples(trainset, "trainset")
    val = check_examples(valset, "valset") if valset is not None else None
    check_gain(settings.require_gain, optimizer.gate, val)
    bare = detach(student)
    objective = settings.objective or _instructions(bare, conditioned)
    reflection = Reflection(reflection_lm, settings.retries)
    announcer = Announcer(observers_of(optimizer))
    memory: Memory = NoMemory()
    if optimizer.log_dir is not None:
        lms = {"policy": lms_of(bare), "reflection": [reflection_lm]}
        identity = identity_of(settings, bare, optimizer.metric, train, val, lms)
        if optimizer.review is not None:
            identity["review"] = True
        if optimizer.gate is not None:
            identity["gate"] = described(optimizer.gate)
        memory = Journal(optimizer.log_dir, identity, restart=optimizer.restart)
    run = Run(settings, bare, train, val, optimizer.metric, objective, reflection, announcer, memory, optimizer.gate)
    run.meter.spending.carry(optimizer.spent)
    find_prices(lms_of(student, reflection_lm), run.meter)
    return run


def _instructions(student: dspy.Module, conditioned: Sequence[str]) -> str:
    said = [p.signature.instructions for name, p in student.named_predictors() if name in conditioned]
    return shorten("\n".join(dict.fromkeys(said)), _OBJECTIVE_TOKENS)
