"""The policy of a run: the student reading a library, all of it or what it retrieves."""

from __future__ import annotations

from collections.abc import Sequence

import dspy

from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.retrieval import Cues, Worth, cues_of
from tfgrpo_dspy.program.attach import attach
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.settings import Settings


def as_policy(
    student: dspy.Module,
    library: ExperienceLibrary,
    settings: Settings,
    trainset: Sequence[dspy.Example],
    effects: Sequence[Effect] = (),
) -> dspy.Module:
    """The student reading a library as the settings of a run say.

    Args:
        student: Without any library.
        library: The library E.
        settings: Of the run.
        trainset: What the run learns from; experiences are found by the tasks that they were learned from.
        effects: Measured; what is likelier to hurt than to help has to fit a query better to be retrieved.
    """
    if settings.retrieval is None:
        return attach(student, library, conditioned=settings.conditioned)
    from tfgrpo_dspy.program.retrieving import Retrieving

    cues = run_cues(library, settings, trainset)
    worth = worth_of(effects)
    return Retrieving(student, library, settings.retrieval, conditioned=settings.conditioned, cues=cues, worth=worth)


def worth_of(effects: Sequence[Effect]) -> Worth:
    """What experiences are worth to retrieval: (twice the chance that each helps)^2, and 1 where it is even or better.

    On `benchmarks/retrieval.py` this lost least where all entries help, and gained nearly as much as the chance itself
    where a third of them mislead (ours).
    """
    return {e.id: (2 * e.chance_of_helping) ** 2 for e in effects if e.chance_of_helping < 0.5}  # noqa: PLR2004 - even


def run_cues(library: ExperienceLibrary, settings: Settings, trainset: Sequence[dspy.Example]) -> Cues:
    """The tasks of a run that its experiences were learned from."""
    return cues_of(library, tasks_of(trainset), settings.library)


def tasks_of(trainset: Sequence[dspy.Example]) -> dict[str, str]:
    """Name of each example (`e12`) to its inputs as text."""
    from tfgrpo_dspy.program.retrieving import query_of

    return {f"e{i}": query_of(dict(example.inputs())) for i, example in enumerate(trainset)}
