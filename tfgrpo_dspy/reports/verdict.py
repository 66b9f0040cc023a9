"""Whether a run helped, in words: better only where that was shown."""

from __future__ import annotations

from tfgrpo_dspy.records.result import CompileResult
from tfgrpo_dspy.records.wording import interval_text
from tfgrpo_dspy.statistics.estimates import paired_difference
from tfgrpo_dspy.text import counted

_NOT_MEASURED = "Not measured, as nothing was held out. `--test FILE`, or tfgrpo evaluate on other examples, tells."


def verdict_of(result: CompileResult) -> str:
    """One paragraph: better, worse, not distinguishable, or not measured; and on what."""
    if (gain := result.gain) is not None:
        if gain.difference is None:
            return f"The student was returned as it was: {gain.withheld}."
        on = f"{interval_text(gain.difference)} on fresh rollouts of {gain.difference.n} problems, paired"
        if gain.withheld:
            return f"Not shown to be better ({on}), so the student was returned as it was: {gain.withheld}."
        return f"Better: {on}."
    if not any(change.kind != "keep" for step in result.steps for change in step.changes):
        return "The library did not change, so nothing can be better or worse than before."
    return _of_validation(result) or _of_gate(result) or _NOT_MEASURED


def _of_validation(result: CompileResult) -> str:
    initial, best = result.initial_validation, result.best_step
    judged = next((step.validation for step in result.steps if step.step == best), None)
    if initial is None or judged is None:
        return ""
    if len(result.steps) > 1:
        return (
            f"Not measured: the {judged.mean.n} validation examples chose among the steps, so that they flatter what "
            "they chose. `require_gain` puts half of them aside to judge; `--test FILE` takes others."
        )
    d = paired_difference(initial.rewards, judged.rewards)
    return f"On the validation examples: {interval_text(d)}, paired over {d.n}: {d.verdict}."


def _of_gate(result: CompileResult) -> str:
    trials = [trial for step in result.steps for trial in step.trials]
    passed = sum(trial.verdict == "passed" for trial in trials)
    if not trials:
        return ""
    if not passed:
        return "No update was shown to be no worse, so none was applied."
    return f"Each of the {counted(passed, 'change')} that entered was shown on held-out problems to be no worse."
