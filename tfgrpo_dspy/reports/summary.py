"""A run in Markdown, from its events alone: the page that MLflow shows first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tfgrpo_dspy.library.file import to_markdown
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.events import RunFinished
from tfgrpo_dspy.records.result import CompileResult, StepRecord
from tfgrpo_dspy.records.rollouts import count_groups
from tfgrpo_dspy.reports.counts import operation_counts, reward_estimate
from tfgrpo_dspy.statistics.estimates import Estimate
from tfgrpo_dspy.text import counted, one_line

if TYPE_CHECKING:
    pass


SIMULATED_NOTE = (
    "**Simulated LM.** These answers come from a behavioural simulation: they show that the machinery works, "
    "never how good a real model would be."
)

_COLUMNS = ("step", "epoch", "reward", "informative", "lost", "operations", "entries")


def summarise(event: RunFinished, *, title: str, lms: Mapping[str, str], simulated: bool, tolerance: float) -> str:
    """A run in Markdown: outcome, steps, cost, what went wrong, and the library it returned."""
    result = event.result
    sections = (
        f"# {title}",
        SIMULATED_NOTE if simulated else "",
        _outcome(event),
        ", ".join(f"{role}: `{name}`" for role, name in lms.items()),
        _steps(result, tolerance),
        _validation(result),
        _gain(result),
        _cost(result.usage),
        _failures(result),
        to_markdown(result.library).replace("# Experience library", "## Library returned", 1),
    )
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


def _outcome(event: RunFinished) -> str:
    steps = len(event.result.steps)
    if event.error is None:
        return f"Complete: {counted(steps, 'step')}."
    error = f"{type(event.error).__name__}: {event.error}"
    return f"**Stopped** after {counted(steps, 'finished step')}: {one_line(error)}"


def _steps(result: CompileResult, tolerance: float) -> str:
    if not result.steps:
        return ""
    rows = [_step(record, tolerance) for record in result.steps]
    note = (
        "Reward: mean over queries of the rollouts, which read the library *before* the step, with its 95% interval. "
        "Informative: groups whose rewards differ. Lost: rollouts that did not happen."
    )
    return "## Steps\n\n" + "\n".join(_markdown_table(_COLUMNS, rows)) + f"\n\n{note}"


def _step(record: StepRecord, tolerance: float) -> Sequence[str]:
    counts = operation_counts(record)
    return (
        str(record.step),
        str(record.epoch),
        format_estimate(reward_estimate(record.groups)),
        f"{count_groups(record.groups, tolerance).informative} of {len(record.groups)}",
        str(sum(len(g.lost) for g in record.groups)),
        ", ".join(f"{number} {kind}" for kind, number in counts.items() if number) or "none",
        str(len(record.library)),
    )


def _validation(result: CompileResult) -> str:
    judged = [("before the first step", result.initial_validation)]
    judged += [(f"after step {s.step}", s.validation) for s in result.steps]
    lines = [f"- {when}: {format_estimate(v.mean)}" for when, v in judged if v is not None]
    if not lines:
        return ""
    kept = "" if result.best_step is None else f"\n\nReturned: the library {judged[result.best_step][0]}."
    return "## Validation\n\n" + "\n".join(lines) + kept


def _gain(result: CompileResult) -> str:
    if result.gain is None:
        return ""
    d = result.gain.difference
    figures = "" if d is None else f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}] on {d.n} problems: {d.verdict}. "
    returned = f"The initial library was returned: {result.gain.withheld}." if result.gain.withheld else ""
    return f"## Gain on fresh rollouts\n\n{figures}{returned}"


def _cost(usage: Usage) -> str:
    cost = "cost unknown" if usage.cost_usd is None else f"{usage.cost_usd:.4f} US dollars"
    share = usage.cached_share
    cached = "" if share is None else f" ({share:.0%} of them from the provider's prompt cache)"
    tokens = f"{usage.prompt_tokens} prompt{cached} and {usage.completion_tokens} completion tokens"
    return f"## Cost\n\n{usage.lm_calls} LM calls, {usage.cached_calls} of them from the cache; {tokens}; {cost}."


def _failures(result: CompileResult) -> str:
    failures = [*(f for s in result.steps for f in s.failures), *result.unused]
    if not failures:
        return ""
    lines = [f"- {f.stage} of `{f.where}`: {one_line(f.reason)}; {one_line(f.remedy)}" for f in failures]
    return "## What could not be done\n\n" + "\n".join(lines)


def format_estimate(estimate: Estimate | None) -> str:
    """`0.62 [0.51, 0.73], n = 20`."""
    if estimate is None:
        return "none"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}], n = {estimate.n}"


def _markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
