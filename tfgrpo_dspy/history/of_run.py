"""The history of a run, from its records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from tfgrpo_dspy.history.commits import Note, Scores, digest_of
from tfgrpo_dspy.history.history import History, rollback
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.records.advantages import evidence_of
from tfgrpo_dspy.records.effects import Effect

if TYPE_CHECKING:
    from tfgrpo_dspy.records.result import CompileResult, StepRecord


def history_of(result: CompileResult, base: History | None = None) -> History:
    """The history of a run's library: one commit per step, and one more if an earlier step's library was kept.

    Args:
        result: `program.detailed_results` of a compiled program.
        base: The history of the library that the run started from; it is gone on with if it ends in that library.
    """
    history = begin(result.initial_library, base)
    for record in result.steps:
        history = add_step(history, record)
    return choose(history, result)


def begin(library: ExperienceLibrary, base: History | None = None) -> History:
    """The history of a library to start from: what is known of it, or one commit that brings it in; none if empty."""
    if base is not None and digest_of(base.library) == digest_of(library):
        return base
    if library.next_id == 0:
        return History()
    return History().record(library, Note(author="import", reason="the library at the start of this history"))


def add_step(history: History, record: StepRecord) -> History:
    """The history with the commit of one step; a step that changed nothing has one too, for its scores."""
    cited = {source for change in record.changes if change.kind != "keep" for source in change.sources}
    rewards = [reward for group in record.groups for reward in group.fair_rewards]
    judged = record.validation.mean if record.validation is not None else None
    scores = Scores(
        training=sum(rewards) / len(rewards) if rewards else None,
        training_n=len(rewards) or None,
        validation=judged.value if judged else None,
        validation_n=judged.n if judged else None,
        effects=_rounded(record.effects),
    )
    note = Note(
        author="updater",
        step=record.step,
        refusals=record.refusals,
        scores=scores,
        evidence=evidence_of(a for a in record.advantages if a.source in cited),
    )
    return history.record(record.library, note, record.changes)


def choose(history: History, result: CompileResult) -> History:
    """The history with a commit that goes back to the library that did best on the valset, if it is not the last."""
    if result.gain is not None and result.gain.withheld and not _is_library(history, result.library):
        return rollback(history, 0, Note(author="gate", reason=f"back to the start: {result.gain.withheld}"))
    best = result.best_step
    if best is None or _is_library(history, result.library):
        return history
    mean = (result.steps[best - 1].validation if best else result.initial_validation).mean  # type: ignore[union-attr]
    where = f"step {best}" if best else "the start"
    scores = Scores(validation=mean.value, validation_n=mean.n, effects=_rounded(result.effects))
    reason = f"back to {where}, whose library did best on the valset"
    return rollback(history, best, Note(author="gate", reason=reason, scores=scores))


def _is_library(history: History, library: ExperienceLibrary) -> bool:
    return replace(library, next_id=history.library.next_id) == history.library


def _rounded(effects: Iterable[Effect]) -> tuple[Effect, ...]:
    """To digits that do not depend on the machine, as a commit's id is made of them."""
    return tuple(replace(e, **{name: round(getattr(e, name), 6) for name in _MEASURED}) for e in effects)


_MEASURED = ("value", "low", "high", "overall", "overall_low", "overall_high", "shrunken")
