"""The tables of a story: its steps, what was ruled, what failed, what it took; and how programs did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tfgrpo_dspy.library.operations import operation_id
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.looks.look import Table
from tfgrpo_dspy.records.evaluation import Evaluation
from tfgrpo_dspy.records.failures import Failure
from tfgrpo_dspy.records.result import StepRecord, operations_text
from tfgrpo_dspy.records.rollouts import count_groups, example_of, reward_estimate
from tfgrpo_dspy.records.wording import about, cost_text, elsewhere_text, estimate_text, interval_text, lost_text
from tfgrpo_dspy.text import counted, one_line


def evaluations_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """How programs did, a row each; all of the same k."""
    k, rows = next(iter(evaluations.values())).k, []
    for name, made in evaluations.items():
        passed, full = "none", made.full_marks
        if full is not None and any(len(rewards) >= k for rewards in made.rewards):
            passed = f"{made.pass_at(k).value:.3f}" + ("" if full == 1 else f" at {full:g}")
        questions, lost = f"{made.mean.n} x {made.k}", lost_text(made.lost) or "0"
        rows.append((name, estimate_text(made.mean), passed, questions, str(made.policy_failures), lost))
    columns = ("program", f"Mean@{k} [95% interval]", f"Pass@{k}", "questions", "failed", "lost")
    return Table(columns, tuple(rows))


def steps_table(steps: Sequence[StepRecord], tolerance: float) -> Table:
    """A row per step; with its epoch and its validation where these tell something."""
    columns = ["step", "mean reward [95% interval]", "informative", "operations", "failed", "lost", "entries", "time"]
    columns += ["epoch"] if any(record.step != record.epoch for record in steps) else []
    columns += ["validation"] if any(record.validation is not None for record in steps) else []
    rows = []
    for record in steps:
        groups, judged = record.groups, record.validation
        lost = sum(judged.lost.values()) if judged is not None else 0
        cells = {
            "step": str(record.step),
            "mean reward [95% interval]": estimate_text(reward_estimate(groups), questions=True),
            "informative": f"{count_groups(groups, tolerance).informative} of {len(groups)}",
            "operations": operations_text(record) or "none",
            "failed": str(sum(rollout.policy_failure is not None for group in groups for rollout in group.scored)),
            "lost": str(sum(len(group.lost) for group in groups)),
            "entries": str(len(record.library)),
            "time": f"{record.seconds:.0f} s",
            "epoch": str(record.epoch),
            "validation": "" if judged is None else f"{estimate_text(judged.mean)}{f', {lost} lost' if lost else ''}",
        }
        rows.append(tuple(cells[column] for column in columns))
    return Table(tuple(columns), tuple(rows), ("step", "failed", "lost", "entries", "time", "epoch"))


def gate_table(steps: Sequence[StepRecord]) -> Table:
    """What was measured of each update and of its parts."""
    rows = tuple(
        (
            str(step.step),
            str(trial.operations),
            interval_text(trial.difference) if trial.difference else "",
            str(trial.difference.n) if trial.difference else "0",
            "" if trial.surely_above is None else f"{trial.surely_above:+.3f} of {-trial.margin:+g}",
            str(trial.rollouts),
            str(trial.looks),
            trial.verdict,
        )
        for step in steps
        for trial in step.trials
    )
    measured = ("difference [95% interval]", "problems", "surely above", "rollouts", "looks")
    return Table(("step", "operations", *measured, "verdict"), rows)


def flags_table(steps: Sequence[StepRecord]) -> Table:
    """Answers, names and numbers of training problems in what was written."""
    rows = tuple((str(step.step), flag.id, flag.kind, flag.why) for step in steps for flag in step.flags)
    return Table(("step", "experience", "sign", "why"), rows)


def overruled_table(steps: Sequence[StepRecord]) -> Table:
    """What of the updates did not take effect, and what checks of the run itself deleted or rewrote besides them."""
    refused = [
        (
            str(step.step),
            refusal.operation.op,
            operation_id(refusal.operation) or "",
            f"refused: {refusal.reason}",
            getattr(refusal.operation, "text", ""),
        )
        for step in steps
        for refusal in step.refusals
    ]
    further = [
        (str(step.step), c.kind, c.id or "", f"{c.by}: {c.reason}", c.after or str(c.before))
        for step in steps
        for c in step.changes
        if c.by not in ("update", "person")
    ]
    return Table(("step", "operation", "id", "why", "text"), (*refused, *further))


def fates_text(steps: Sequence[StepRecord]) -> str:
    """What became of all candidates, in a sentence; empty if there were none."""
    counts = sum((step.fate_counts for step in steps), Counter[str]())
    said = ", ".join(f"{n} {became}" for became, n in counts.most_common())
    return f"Of {counted(sum(counts.values()), 'candidate experience')}: {said}." if counts else ""


def fates_table(steps: Sequence[StepRecord]) -> Table:
    """The candidates, each with what became of it and why."""
    rows = tuple(
        (str(step.step), example_of(fate.group), fate.became, fate.id or "", fate.text, one_line(fate.why))
        for step in steps
        for fate in step.fates
    )
    return Table(("step", "from", "became", "id", "candidate", "why"), rows)


def failures_table(failures: Iterable[Failure]) -> Table:
    """What could not be done, and what was done instead."""
    rows = tuple((f.stage, f.where, one_line(f.reason), one_line(f.remedy)) for f in failures)
    return Table(("stage", "where", "reason", "remedy"), rows)


def cost_table(usages: Mapping[str, Usage]) -> Table:
    """What was used, a row each; what made no call is left out."""
    columns = ("", "LM calls", "from DSPy's cache", "tokens in", "cached there", "tokens out", "cost")
    rows = []
    for name, used in usages.items():
        numbers = (f"{used.lm_calls:,}", f"{used.cached_calls:,}", f"{about(used)}{used.prompt_tokens:,}")
        share = "" if used.cached_share is None else f"{used.cached_share:.0%}"
        said = f"{name}{elsewhere_text(used)}"
        rows.append(
            (said, *numbers, share, f"{about(used)}{used.completion_tokens:,}", cost_text(used).removeprefix("cost "))
        )
    asked = (used.lm_calls + used.calls_elsewhere for used in usages.values())
    return Table(columns, tuple(row for row, calls in zip(rows, asked, strict=True) if calls), columns[1:])
