"""Before a run: everything that can be checked before a call is paid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dspy

from tfgrpo_dspy.lm.metering import find_prices
from tfgrpo_dspy.program.checks import (
    check_examples,
    check_room,
    check_sampling,
    lms_of,
    reflection_of,
    say_elsewhere,
    say_temperatures,
)
from tfgrpo_dspy.program.instructions import check_conditioned, detach
from tfgrpo_dspy.run.gain import check_gain, held_out, powers
from tfgrpo_dspy.run.identity import identity_of_run
from tfgrpo_dspy.run.run import Run
from tfgrpo_dspy.run.setup import Setup
from tfgrpo_dspy.runtime.announcer import Announcer
from tfgrpo_dspy.runtime.store import Store
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.steps.objective import with_learning
from tfgrpo_dspy.steps.reflection import Reflection
from tfgrpo_dspy.text import shorten

if TYPE_CHECKING:
    from tfgrpo_dspy.rollouts.past import PastRollouts

_OBJECTIVE_TOKENS = 600


def prepare(
    setup: Setup,
    student: dspy.Module,
    trainset: Sequence[dspy.Example],
    valset: Sequence[dspy.Example] | None,
    settings: Settings,
    past: PastRollouts | None = None,
) -> Run:
    """Check everything that can be checked before a call is paid.

    Raises:
        SettingsError, DataError, ProgramError: Something cannot be used.
    """
    conditioned = check_conditioned(student, settings.conditioned)
    reflection_lm = reflection_of(student, setup.reflection_lm)
    check_sampling(student, settings.temperature)
    say_temperatures(student, settings.temperature)
    say_elsewhere(student, settings.budget.caps if settings.budget is not None else ())
    train = check_examples(trainset, "trainset")
    val = check_examples(valset, "valset") if valset is not None else None
    if past is not None:
        past.check(train)
    check_gain(settings.require_gain, setup.gate, val)
    bare = detach(student)
    for listener in (listeners := setup.listeners):
        if callable(check := getattr(listener, "check", None)):
            check()  # whether it could record
    store = Store()
    if setup.log_dir is not None:
        lms = {"policy": lms_of(bare), "reflection": [reflection_lm]}
        identity = identity_of_run(setup, settings, bare, (train, val, past and past.attempts), lms)
        store = Store(setup.log_dir, identity, restart=setup.restart, accept_changes=setup.accept_changes)
    held = held_out(settings, setup.gate, val)
    objective, reflection = _objective(settings, bare, conditioned), Reflection(reflection_lm, settings.retries)
    run = Run(settings, bare, train, held.valset, setup.metric, objective, reflection, Announcer(listeners), store)
    run.judging, run.gate, run.review, run.past = held.judging, held.gate, setup.review, past
    powers(held.gate)
    if past is None:
        policy = run.policy(settings.library)
        check_room(policy, train, "trainset")
        check_room(policy, held.valset or (), "valset")
    run.meter.spending.carry(setup.spent)
    find_prices(lms_of(student, reflection_lm), run.meter)
    return run


def _objective(settings: Settings, student: dspy.Module, conditioned: Sequence[str]) -> str:
    """What the student is meant to do well: as it was given, else its own instructions."""
    said = [p.signature.instructions for name, p in student.named_predictors() if name in conditioned]
    objective = settings.objective or shorten("\n".join(dict.fromkeys(said)), _OBJECTIVE_TOKENS)
    return with_learning(objective, settings.learning_objective)
