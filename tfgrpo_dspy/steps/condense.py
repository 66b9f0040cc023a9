"""Fitting a library into `max_library_tokens`: the updater condenses it, and what still exceeds the bound is trimmed.

Condensing merges entries that say nearly the same, found without a model, and says the others in fewer words. Nothing
is cut silently: every change has its reason, and they are a commit of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from tfgrpo_dspy.credit.trim import alike_pairs, trim
from tfgrpo_dspy.library.apply import Limits
from tfgrpo_dspy.library.library import Applied, Change, ExperienceLibrary
from tfgrpo_dspy.library.operations import Delete, Modify, Operation
from tfgrpo_dspy.library.section import render_lines
from tfgrpo_dspy.library.tokens import tokens_of
from tfgrpo_dspy.lm.meter import UPDATE
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.advantages import were_tried
from tfgrpo_dspy.records.events import FailureRecorded
from tfgrpo_dspy.records.failures import Failure
from tfgrpo_dspy.runtime.journal import fingerprint
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.signatures import CondenseLibrary
from tfgrpo_dspy.steps.briefing import Briefing
from tfgrpo_dspy.steps.reflection import Reflection, Unusable
from tfgrpo_dspy.text import quarter_tokens

_SHOWN_TOKENS = 60_000
"""Estimated tokens of entries that are shown to be condensed at most, the longest ones first (ours)."""


@dataclass(frozen=True, slots=True)
class Condensation:
    """What the LM would say in fewer words."""

    operations: tuple[Operation, ...] = ()
    failures: tuple[Failure, ...] = ()
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Fitted:
    """A library within its bound."""

    library: ExperienceLibrary
    changes: tuple[Change, ...] = ()
    failures: tuple[Failure, ...] = ()
    usage: Usage = Usage()


def fit(library: ExperienceLibrary, briefing: Briefing, reflection: Reflection, workers: Workers) -> Fitted:
    """The library within `max_library_tokens`, and what had to change; as it is if it fits.

    Args:
        library: After the update of a step.
        briefing: Of the step; its effects decide what goes first.
        reflection: The LM that condenses.
        workers: The run's pool.
    """
    settings = briefing.settings
    most, count = settings.max_library_tokens, settings.count_tokens
    if most is None or tokens_of(library, count) <= most:
        return Fitted(library)
    task = partial(_condense, library, briefing, reflection)
    name = f"condensation s{briefing.step} {fingerprint(render_lines(library))}"
    once = partial(workers.memory.once, name, Condensation, task, keep=lambda made: were_tried(made.failures))
    made: Condensation = workers.results([workers.submit(once)])[0]
    for failure in made.failures:
        workers.announce(FailureRecorded(briefing.step, failure))
    condensed = _applied(library, made.operations, briefing)
    trimmed = trim(condensed.library, most, step=briefing.step, count=count, effects=briefing.effects)
    return Fitted(trimmed.library, condensed.changes + trimmed.changes, made.failures, made.usage)


def condense(
    library: ExperienceLibrary, objective: str, limits: str, reflection: Reflection, *, max_tokens: int = _SHOWN_TOKENS
) -> tuple[tuple[Operation, ...], Usage]:
    """Ask the LM to merge what says nearly the same and to say the rest in fewer words.

    Args:
        library: To be condensed.
        objective: What it is meant to help with.
        limits: What it has to fit into, in words.
        reflection: The LM.
        max_tokens: Estimated tokens of entries to show at most, of the longest.

    Raises:
        Unusable: It gave no usable reply.
    """
    pairs = alike_pairs(library)

    def inputs_within(tokens: int) -> dict[str, str]:
        shown = _longest(library, tokens)
        alike = [f"[{a}] and [{b}]" for a, b in pairs if a in shown and b in shown]
        return {
            "objective": objective,
            "experiences": render_lines(shown),
            "alike": "\n".join(alike) or "(none found)",
            "limits": limits,
        }

    answer = replace(reflection, role=UPDATE).ask_within(max_tokens, CondenseLibrary, inputs_within)
    asked: list[Operation] = answer.fields["operations"]
    return tuple(o for o in asked if isinstance(o, Modify | Delete)), answer.usage


def _condense(library: ExperienceLibrary, briefing: Briefing, reflection: Reflection) -> Condensation:
    settings = briefing.settings
    now = tokens_of(library, settings.count_tokens)
    limits = f"at most {settings.max_library_tokens} tokens in all (now {now}); each at most {settings.max_words} words"
    pinned = [e.id for e in library if e.pinned]
    limits += f"; pinned, not to be changed: {', '.join(pinned)}" if pinned else ""
    try:
        operations, usage = condense(library, briefing.objective, limits, reflection)
    except Unusable as error:
        remedy = "entries were taken out instead"
        failure = Failure("update", f"s{briefing.step}", str(error), remedy, error.is_error)
        return Condensation(failures=(failure,), usage=error.usage)
    return Condensation(operations, usage=usage)


def _applied(library: ExperienceLibrary, operations: tuple[Operation, ...], briefing: Briefing) -> Applied:
    """The condensed library; as it was if it became no shorter."""
    settings = briefing.settings
    made = library.apply(operations, step=briefing.step, limits=Limits(max_words=settings.max_words))
    is_shorter = tokens_of(made.library, settings.count_tokens) < tokens_of(library, settings.count_tokens)
    return made if is_shorter else Applied(library, (), ())


def _longest(library: ExperienceLibrary, tokens: int) -> ExperienceLibrary:
    """The longest entries that fit into estimated tokens, in library order."""
    left, kept = 4 * tokens, set()
    for entry in sorted(library, key=lambda e: -len(e.text)):
        left -= quarter_tokens(entry.text)
        if left < 0:
            break
        kept.add(entry.id)
    return replace(library, experiences=tuple(e for e in library if e.id in kept))
