"""After the last step: what is still on trial is rolled out again where it should show, and nothing is learned."""

from __future__ import annotations

from dataclasses import replace

from tfgrpo_dspy.gates.enact import enact
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.records.advantages import Contrast
from tfgrpo_dspy.rollouts.sampling import Query
from tfgrpo_dspy.run.batches import Step
from tfgrpo_dspy.run.run import Run
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.steps.optimisation import propose
from tfgrpo_dspy.steps.rollout import roll_out

LEAST = 0.15
"""How much an example must tell of some entry, against one that the entry was learned from, to be rolled out again."""


def settle(run: Run, library: ExperienceLibrary, workers: Workers) -> None:
    """Roll out the examples that tell something of entries in doubt; these stay, or go, by what is then known.

    It takes rollouts of a part of the trainset and no reflection; it is left out once a limit has ended the run.
    """
    rounds = run.settings.settling_rounds
    for number in range(1, rounds + 1):
        doubtful = frozenset() if run.trials is None else run.trials.doubtful(library, LEAST)
        queries = tuple(Query(i, example) for i, example in enumerate(run.trainset) if f"e{i}" in doubtful)
        if not queries or run.meter.stopped_by is not None:
            return
        step = Step(run.settings.epochs, len(run.records) + 1, queries, ends_epoch=False)
        library = _measured(run, step, library, workers, trial_ends=number == rounds)


def _measured(
    run: Run, step: Step, library: ExperienceLibrary, workers: Workers, *, trial_ends: bool
) -> ExperienceLibrary:
    """A step that learns nothing: the library without what its rollouts speak against."""
    run.start(step)
    sampling = replace(run.sampling(step, library), is_learned_from=False)
    groups = workers.results(roll_out(run.policy(library), step.queries, run.metric, workers, sampling))
    contrasts = [Contrast(group) for group in groups]
    briefing = replace(run.weigh(contrasts, run.briefing(step, library)), trial_ends=trial_ends)
    proposal = propose((), briefing, workers)
    enacted = enact(run.review, run.gate, run.hearing(proposal, (), briefing, workers), run.known)
    run.record(step, contrasts, (), proposal, enacted, workers)
    return enacted.library
