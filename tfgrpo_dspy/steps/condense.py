"""Fitting a library into `max_library_tokens`: the updater condenses it, and what still exceeds the bound is trimmed.

Condensing merges entries that say nearly the same, found without a model, and says the others in fewer words. Nothing
is cut silently: every change has its reason, and they are a commit of their own.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import dspy

from tfgrpo_dspy.library.apply import Limits
from tfgrpo_dspy.library.draft import Draft
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Delete, Modify
from tfgrpo_dspy.library.section import render_lines, tokens_of, told_pinned
from tfgrpo_dspy.lm.budget import UPDATE
from tfgrpo_dspy.records.failures import Failure
from tfgrpo_dspy.records.updates import Update
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.signatures import CondenseLibrary
from tfgrpo_dspy.steps.briefing import Briefing
from tfgrpo_dspy.steps.lessons import faults_in, told
from tfgrpo_dspy.steps.reflection import Unusable
from tfgrpo_dspy.text import quarter_tokens

_SHOWN_TOKENS = 60_000
"""Estimated tokens of entries that are shown to be condensed at most, the longest ones first (ours)."""


def fit(draft: Draft, briefing: Briefing, workers: Workers) -> tuple[Draft, Update]:
    """The draft within `max_library_tokens`, and what the LM said to that; as it is if it fits."""
    settings, step = briefing.settings, briefing.step
    most, count = settings.max_library_tokens, settings.count_tokens
    if most is None or tokens_of(draft.now, count) <= most:
        return draft, Update()
    from tfgrpo_dspy.credit.trim import trim

    ask = partial(_condense, draft.now, briefing.asking(kind=UPDATE))
    asked = workers.task(f"condensation s{step}", Update, ask, reads=[render_lines(draft.now)])
    made = workers.results([asked])[0]
    asked_for = [operation for operations in made.rounds for operation in operations]
    condensed = draft.then(asked_for, "condense", step=step, limits=Limits(max_words=settings.max_words))
    if tokens_of(condensed.now, count) < tokens_of(draft.now, count):
        draft = condensed
    gone = trim(draft.now, most, count=count, effects=briefing.effects)
    return draft.then(gone, "trim", step=step, limits=Limits()), made


def _condense(library: ExperienceLibrary, briefing: Briefing) -> Update:
    """Ask the LM to merge what says nearly the same and to say the rest in fewer words."""
    from tfgrpo_dspy.credit.trim import alike_pairs

    settings, pairs = briefing.settings, alike_pairs(library)
    now = tokens_of(library, settings.count_tokens)
    bounds = f"at most {settings.max_library_tokens} tokens in all (now {now}); each at most {settings.max_words} words"
    limits = "; ".join(filter(None, [bounds, told_pinned(library)]))

    def inputs_within(tokens: int) -> dict[str, str]:
        shown = _longest(library, tokens)
        alike = [f"[{a}] and [{b}]" for a, b in pairs if a in shown and b in shown]
        return {
            "objective": briefing.objective,
            "experiences": render_lines(shown),
            "alike": "\n".join(alike) or "(none found)",
            "limits": limits,
        }

    def misfits(reply: dspy.Prediction) -> dict[str, str]:
        said = told(faults_in(reply.operations.operations, library, most=settings.max_words))
        return {"operations": said} if said else {}

    try:
        answer = briefing.reflection.ask_within(_SHOWN_TOKENS, CondenseLibrary, inputs_within, misfits)
    except Unusable as error:
        failure = Failure("update", f"s{briefing.step}", str(error), "entries were taken out instead", error.cause)
        return Update(failures=(failure,), usage=error.usage)
    operations = answer.fields["operations"].operations
    left_out = faults_in(operations, library, most=settings.max_words)
    asked = tuple(o for o in operations if isinstance(o, Modify | Delete) and o not in left_out)
    return Update((asked,), usage=answer.usage)


def _longest(library: ExperienceLibrary, tokens: int) -> ExperienceLibrary:
    """The longest entries that fit into estimated tokens, in library order."""
    left, kept = 4 * tokens, set()
    for entry in sorted(library, key=lambda e: -len(e.text)):
        left -= quarter_tokens(entry.text)
        if left < 0:
            break
        kept.add(entry.id)
    return replace(library, experiences=tuple(e for e in library if e.id in kept))
