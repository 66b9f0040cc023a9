"""Step 3, optimisation: all semantic advantages of a batch become operations on the library (paper, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from tfgrpo_dspy.library.apply import Limits
from tfgrpo_dspy.library.draft import Draft
from tfgrpo_dspy.library.operations import Add
from tfgrpo_dspy.records.advantages import SemanticAdvantage, by_label
from tfgrpo_dspy.records.updates import Proposal, Update
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.steps.batch import experiences_about, told_in_full, update_at_once
from tfgrpo_dspy.steps.briefing import Briefing
from tfgrpo_dspy.steps.condense import fit
from tfgrpo_dspy.steps.placing import place_each


def propose(advantages: Sequence[SemanticAdvantage], briefing: Briefing, workers: Workers) -> Proposal:
    """All that would change the library in a step, as one proposal that can be ruled on.

    The LM turns the batch's semantic advantages into operations; what is on trial and has its verdict stays or goes;
    and what then exceeds `max_library_tokens` is condensed and trimmed. A failed update carries its advantages to the
    next step.
    """
    library, settings, step = briefing.library, briefing.settings, briefing.step
    labelled = by_label(advantages)
    sources = {label: advantage.source for label, advantage in labelled.items()}
    update = _ask(advantages, briefing, workers)
    if briefing.is_last:
        update = _all_used(update, {advantage.group: label for label, advantage in labelled.items()})
    draft = Draft(library, library)
    if settings.trials:
        from tfgrpo_dspy.credit.rulings import verdicts_on, within_verdicts

        for operations in update.rounds:
            allowed, refused = within_verdicts(operations, briefing.effects, briefing.dismissed)
            draft = draft.then(allowed, "update", step=step, limits=settings.limits, sources=sources)
            draft = replace(draft, refusals=(*draft.refusals, *refused))
        ruled = verdicts_on(draft.now, briefing.effects, trial_ends=briefing.trial_ends)
        draft = draft.then(ruled, "trial", step=step, limits=Limits(max_words=None))
    else:
        for operations in update.rounds:
            draft = draft.then(operations, "update", step=step, limits=settings.limits, sources=sources)
    draft, condensation = fit(draft, briefing, workers)
    net = draft.net(sources)
    return Proposal(
        library,
        step,
        net.operations,
        sources,
        net.by,
        settings.limits,
        briefing.learned,
        net.refusals,
        carried=update.undecided,
        decided=update.decided,
        failures=(*update.failures, *condensation.failures),
        usage=update.usage + condensation.usage,
    )


def _ask(advantages: Sequence[SemanticAdvantage], briefing: Briefing, workers: Workers) -> Update:
    """What M(p_update, E, A_text of the batch) would do to the library; without any advantage nothing is asked."""
    if briefing.settings.update == "each":
        return place_each(advantages, briefing, workers)
    if not any(a.experiences for a in advantages) and not (advantages and briefing.library.experiences):
        return Update()
    make = partial(update_at_once, advantages, briefing)
    shown, effects = experiences_about(briefing, advantages), briefing.effects_of(briefing.library)
    reads = (shown, effects, *map(told_in_full, advantages))
    return workers.results([workers.task(f"update s{briefing.step}", Update, make, reads=reads)])[0]


def _all_used(update: Update, labels: Mapping[str, str]) -> Update:
    """What the last step makes of candidates about which nothing could be had: they are added, unless repeated."""
    if not update.undecided:
        return update
    reason = "Nothing could be had about it, and no step is left."
    added = tuple(
        Add(text=text, reason=reason, sources=(labels[advantage.group],))
        for advantage in update.undecided
        for text in advantage.experiences
    )
    failures = tuple(replace(failure, remedy="its candidates were added as they are") for failure in update.failures)
    return replace(update, rounds=(*update.rounds, added), undecided=(), failures=failures)
