"""Whether a run helped, in words: better only where that was shown; and why there was little to learn."""

from __future__ import annotations

from collections.abc import Sequence

from tfgrpo_dspy.records.evaluation import Gain
from tfgrpo_dspy.records.result import CompileResult, StepRecord
from tfgrpo_dspy.records.rollouts import GroupCounts, count_groups
from tfgrpo_dspy.records.wording import interval_text
from tfgrpo_dspy.statistics.estimates import paired_difference
from tfgrpo_dspy.text import counted, one_line

_NOT_MEASURED = "Not measured, as nothing was held out. `--test FILE`, or tfgrpo evaluate on other examples, tells."


def verdict_of(result: CompileResult) -> str:
    """One paragraph: better, worse, not distinguishable, or not measured; and on what."""
    if result.gain is not None:
        return _of_required(result.gain)
    if not any(change.kind != "keep" for step in result.steps for change in step.changes):
        return "The library did not change, so nothing can be better or worse than before."
    return _of_validation(result) or _of_gate(result) or _NOT_MEASURED


def _of_required(gain: Gain) -> str:
    if gain.difference is None:
        return f"The student was returned as it was: {gain.withheld}."
    on = f"{interval_text(gain.difference)} on fresh rollouts of {gain.difference.n} problems, paired"
    if gain.withheld:
        return f"Not shown to be better ({on}: {gain.difference.verdict}), so the student was returned as it was."
    return f"Better: {on}."


def _of_validation(result: CompileResult) -> str:
    initial, best = result.initial_validation, result.best_step
    judged = next((step.validation for step in result.steps if step.step == best), None)
    if initial is None or judged is None:
        return ""
    d = paired_difference(initial.rewards, judged.rewards)
    chosen = "; these examples chose the step as well, which flatters it" if len(result.steps) > 1 else ""
    return f"On the validation examples: {interval_text(d)}, paired over {d.n}: {d.verdict}{chosen}."


def _of_gate(result: CompileResult) -> str:
    trials = [trial for step in result.steps for trial in step.trials]
    passed = sum(trial.verdict == "passed" for trial in trials)
    if not trials:
        return ""
    if not passed:
        return "No update was shown to be no worse, so none was applied."
    return f"Each of the {counted(passed, 'change')} that entered was shown on held-out problems to be no worse."


def why_little_was_learnable(steps: Sequence[StepRecord], tolerance: float) -> str:
    """Said when the program never worked, or fewer than one group in ten was informative; empty otherwise."""
    groups = [group for step in steps for group in step.groups]
    scored = [rollout for group in groups for rollout in group.scored]
    failures = [rollout.policy_failure for rollout in scored if rollout.policy_failure is not None]
    if failures and len(failures) == len(scored):
        return (
            f"The program failed in every rollout, so there was nothing to learn from; first: {one_line(failures[0])}"
        )
    return _of_groups(count_groups(groups, tolerance))


def _of_groups(counts: GroupCounts) -> str:
    total = sum(counts)
    if counts.informative * 10 >= total:
        return ""
    few = f"Only {counts.informative} of {total} groups were informative"
    kinds = {
        "all rollouts right": counts.all_right,
        "all rollouts wrong": counts.all_wrong,
        "rewards otherwise equal": counts.otherwise_equal,
        "fewer than two rollouts": counts.too_few,
    }
    listed = ", ".join(f"{n} with {kind}" for kind, n in kinds.items() if n)
    if counts.too_few > total / 2:
        advice = "Use a group size of 2 or more, and look at what was lost."
    elif counts.all_right >= counts.all_wrong:
        advice = "These examples teach this LM nothing new; take harder ones."
    else:
        advice = (
            "These examples are beyond this LM (or the metric never accepts its answers); take easier ones, a larger "
            "group size or a graded metric."
        )
    return (
        f"{few if counts.informative else 'No group was informative'} ({listed}): within a group rewards must differ, "
        f"or there is nothing to compare. {advice}"
    )
