"""Step 3, optimisation: all semantic advantages of a batch become operations on the library (paper, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import dspy

from tfgrpo_dspy.credit.prune import prune
from tfgrpo_dspy.library.draft import Draft
from tfgrpo_dspy.library.operations import Add, Modify, Operation, settle_scope
from tfgrpo_dspy.library.tokens import tokens_of
from tfgrpo_dspy.lm.budget import UPDATE
from tfgrpo_dspy.records.advantages import SemanticAdvantage
from tfgrpo_dspy.records.failures import Failure
from tfgrpo_dspy.records.updates import Proposal, Update
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.signatures import UpdateLibrary, with_effects, with_scopes
from tfgrpo_dspy.steps.briefing import Briefing
from tfgrpo_dspy.steps.condense import fit
from tfgrpo_dspy.steps.reflection import Reflection, Unusable
from tfgrpo_dspy.text import count_words, neutralise, one_line, shorten

_UPDATE_TOKENS = 60_000
"""Estimated tokens of advantages that an update is shown at most; beyond, comparisons lose their middle (ours)."""


def propose(
    advantages: Sequence[SemanticAdvantage], briefing: Briefing, reflection: Reflection, workers: Workers
) -> Proposal:
    """All that would change the library in a step, as one proposal that can be ruled on.

    The LM turns the batch's semantic advantages into operations; what was measured to be harmful is pruned; and what
    then exceeds `max_library_tokens` is condensed and trimmed. A failed update carries its advantages to the next step.

    Args:
        advantages: Of the batch, those carried from the step before first.
        briefing: What the prompts are told; its effects decide what is pruned and trimmed.
        reflection: The LM that answers them.
        workers: The run's pool.
    """
    library, settings, step = briefing.library, briefing.settings, briefing.step
    sources = {f"A{i}": advantage.source for i, advantage in enumerate(advantages)}
    update = _decide(advantages, briefing, reflection, workers)
    draft = Draft(library, library)
    draft = draft.then(update.operations, "update", step=step, limits=settings.limits, sources=sources)
    if settings.prune is not None:
        harmful = prune(draft.now, briefing.effects, briefing.share)
        draft = draft.then(harmful, "prune", step=step, limits=settings.limits)
    draft, condensation = fit(draft, briefing, reflection, workers)
    net = draft.net({source: label for label, source in reversed(sources.items())})
    return Proposal(
        library,
        step,
        net.operations,
        sources,
        net.by,
        settings.limits,
        briefing.learned,
        net.refusals,
        carried=tuple(advantages) if update.failures else (),
        failures=(*update.failures, *condensation.failures),
        usage=update.usage + condensation.usage,
    )


def _decide(
    advantages: Sequence[SemanticAdvantage], briefing: Briefing, reflection: Reflection, workers: Workers
) -> Update:
    """What the LM would do to the library; without any advantage nothing is asked."""
    if not any(a.experiences for a in advantages) and not (advantages and briefing.library.experiences):
        return Update()
    make = partial(_write_update, advantages, briefing, reflection)
    reads = (_experiences(advantages, briefing), render_effects(briefing), *map(repr, advantages))
    return workers.results([workers.task(f"update s{briefing.step}", Update, make, reads=reads)])[0]


def _write_update(advantages: Sequence[SemanticAdvantage], briefing: Briefing, reflection: Reflection) -> Update:
    """One reply for the whole batch. One with over-long texts is asked for again; what stays over-long is refused."""
    labelled = {f"A{i}": advantage for i, advantage in enumerate(advantages)}
    shown = {
        "objective": briefing.objective,
        "experiences": _experiences(advantages, briefing),
        "limits": describe_limits(briefing),
    }
    signature: Any = with_scopes(UpdateLibrary, briefing.readers) if briefing.readers else UpdateLibrary
    if effects := render_effects(briefing):
        shown["effects"], signature = effects, with_effects(signature)

    def inputs_within(tokens: int) -> dict[str, str]:
        return {**shown, "advantages": render_advantages(labelled, tokens // len(labelled))}

    def find_problems(reply: dspy.Prediction) -> list[str]:
        return _misfits(reply["operations"], briefing.settings)

    if all(advantage.group.partition("/")[0] != f"s{briefing.step}" for advantage in advantages):
        reflection = reflection.again(briefing.step)  # all are carried: the prompt may be that of the failed update
    try:
        answer = replace(reflection, kind=UPDATE).ask_within(_UPDATE_TOKENS, signature, inputs_within, find_problems)
    except Unusable as error:
        remedy = "its advantages are carried to the next step"
        failure = Failure("update", f"s{briefing.step}", str(error), remedy, error.is_error)
        return Update((), (failure,), error.usage)
    operations: list[Operation] = answer.fields["operations"]
    settled = (settle_scope(operation, briefing.readers) for operation in operations)
    return Update(tuple(_citing(operation, tuple(labelled)) for operation in settled), (), answer.usage)


def _citing(operation: Operation, labels: tuple[str, ...]) -> Operation:
    """The operation; one that cites no label of the batch rests on all of them."""
    known = any(label in labels for label in operation.sources)
    return operation if known else operation.model_copy(update={"sources": labels})


def _experiences(advantages: Sequence[SemanticAdvantage], briefing: Briefing) -> str:
    return briefing.experiences_about(*(text for a in advantages for text in (a.task, *a.experiences)))


def render_advantages(labelled: Mapping[str, SemanticAdvantage], tokens: int) -> str:
    """The batch's advantages as the updater reads them, each within about the given estimated tokens."""
    return "\n\n".join(
        "\n".join(
            [
                f"{label} (task: {one_line(shorten(advantage.task, 60))})",
                f"Why some won: {shorten(neutralise(advantage.comparison), tokens)}",
                "Candidates:",
                *([f"- {text}" for text in advantage.experiences] or ["(none)"]),
            ]
        )
        for label, advantage in labelled.items()
    )


def render_effects(briefing: Briefing) -> str:
    """The measured effects of the library's entries, one a line; empty for none."""
    return "\n".join(f"[{effect.id}] {effect.to_text()}" for effect in briefing.effects)


def describe_limits(briefing: Briefing) -> str:
    """The bounds of the library in words, with how much of them is used."""
    settings, library = briefing.settings, briefing.library
    said = [f"each text at most {settings.max_words} words"]
    if settings.max_experiences is not None:
        said.append(f"at most {settings.max_experiences} entries (now {len(library)})")
    if settings.max_library_tokens is not None:
        said.append(f"at most {settings.max_library_tokens} tokens (now {tokens_of(library, settings.count_tokens)})")
    pinned = [e.id for e in library if e.pinned]
    return "; ".join([*said, *([f"pinned, not to be changed: {', '.join(pinned)}"] if pinned else [])])


def _misfits(operations: Sequence[Operation], settings: Settings) -> list[str]:
    return [
        f"operations[{i}].text has {words} words, at most {settings.max_words} are allowed: {shorten(o.text, 60)}"
        for i, o in enumerate(operations)
        if isinstance(o, Add | Modify) and (words := count_words(o.text)) > settings.max_words
    ]
