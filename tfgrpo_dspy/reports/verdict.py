"""Whether a run helped, in words: better only where that was shown; and what its gate and its screen found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tfgrpo_dspy.reports import story as told
from tfgrpo_dspy.statistics.estimates import Difference, paired_difference
from tfgrpo_dspy.text import counted

if TYPE_CHECKING:
    from tfgrpo_dspy.records.result import CompileResult, StepRecord
    from tfgrpo_dspy.reports.story import Story

_NOT_MEASURED = "Not measured, as nothing was held out. `--test FILE`, or tfgrpo evaluate on other examples, tells."
GATE_COLUMNS = ("step", "operations", "difference [95% interval]", "problems", "evidence", "verdict")
FLAG_COLUMNS = ("step", "experience", "sign", "why")


def verdict_of(story: Story) -> str:
    """One paragraph: better, worse, not distinguishable, or not measured; and on what."""
    result = story.result
    if story.gain is not None:
        return f"On held-out questions: {told.gain_text(story.gain)}."
    if result.gain is not None:
        return _of_required(result)
    if not any(change.kind != "keep" for step in result.steps for change in step.changes):
        return "The library did not change, so nothing can be better or worse than before."
    return _of_validation(result) or _of_gate(result) or _NOT_MEASURED


def _of_required(result: CompileResult) -> str:
    gain = result.gain
    if gain is None or gain.difference is None:
        return f"The student was returned as it was: {gain.withheld if gain else ''}."
    on = f"{interval(gain.difference)} on fresh rollouts of {gain.difference.n} problems, paired"
    if gain.withheld:
        return f"Not shown to be better ({on}: {gain.difference.verdict}), so the student was returned as it was."
    return f"Better: {on}."


def _of_validation(result: CompileResult) -> str:
    initial, best = result.initial_validation, result.best_step
    judged = next((step.validation for step in result.steps if step.step == best), None)
    if initial is None or judged is None:
        return ""
    difference = paired_difference(initial.rewards, judged.rewards)
    chosen = "; these examples chose the step as well, which flatters it" if len(result.steps) > 1 else ""
    return (
        f"On the validation examples: {interval(difference)}, paired over {difference.n}: {difference.verdict}{chosen}."
    )


def _of_gate(result: CompileResult) -> str:
    trials = [trial for step in result.steps if step.ruling is not None for trial in step.ruling.trials]
    passed = sum(trial.verdict == "passed" for trial in trials)
    if not trials:
        return ""
    if not passed:
        return "No update was shown to be no worse, so none was applied."
    return f"Each of the {counted(passed, 'change')} that entered was shown on held-out problems to be no worse."


def interval(difference: Difference) -> str:
    """`+0.05 [+0.01, +0.09]`."""
    return f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def gate_rows(result: CompileResult) -> list[tuple[str, ...]]:
    """The cells of `GATE_COLUMNS`, a row per trial."""
    return [row for step in result.steps for row in _trials(step)]


def _trials(step: StepRecord) -> Iterator[tuple[str, ...]]:
    for trial in step.ruling.trials if step.ruling is not None else ():
        d = trial.difference
        yield (
            str(step.step),
            str(trial.operations),
            interval(d) if d else "",
            str(d.n) if d else "0",
            f"{trial.evidence:.2g} of {trial.threshold:g}",
            trial.verdict,
        )


def flag_rows(result: CompileResult) -> list[tuple[str, ...]]:
    """The cells of `FLAG_COLUMNS`, a row per sign of harm."""
    return [(str(s.step), flag.id or "", flag.kind, flag.why) for s in result.steps for flag in s.flags]
