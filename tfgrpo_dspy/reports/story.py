"""What is told of a run, in the terminal and in its report alike: one value, and its figures as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfgrpo_dspy.records.rollouts import GroupCounts, count_groups
from tfgrpo_dspy.reports.counts import operation_counts, reward_estimate
from tfgrpo_dspy.text import counted, one_line

if TYPE_CHECKING:
    from tfgrpo_dspy.library.library import Experience
    from tfgrpo_dspy.lm.usage import Usage
    from tfgrpo_dspy.records.evaluation import Comparison, Evaluation
    from tfgrpo_dspy.records.events import RunStarted
    from tfgrpo_dspy.records.result import CompileResult, StepRecord
    from tfgrpo_dspy.statistics.estimates import Estimate

STEP_COLUMNS = ("step", "mean reward [95% interval]", "informative", "operations", "failed", "lost", "entries")
_TOOK_EFFECT = {"add": "added", "modify": "modified", "delete": "deleted", "keep": "kept"}
EVALUATION_COLUMNS = ("program", "mean reward [95% interval]", "questions", "failed", "lost")


@dataclass(frozen=True, slots=True)
class Story:
    """One compile, as far as it got."""

    program: str
    """Its reference."""
    trainset: str
    metric: str
    started: RunStarted
    result: CompileResult
    seconds: float
    stopped: str = ""
    """Why the run ended before its last step; empty if it did not."""
    gain: Comparison | None = None
    """Bare against learned program on held-out questions, if they were evaluated."""
    recorded: str = ""
    """Where the MLflow run is; empty if there is none."""

    @property
    def simulated(self) -> bool:
        """Whether any LM was the embedded one."""
        return is_simulated(self.started.lms)

    @property
    def tolerance(self) -> float:
        """Rewards that differ by no more count as equal."""
        return self.started.settings.tolerance

    @property
    def nothing_was_scored(self) -> bool:
        """Whether no rollout of any finished step took place."""
        return not any(group.scored for record in self.result.steps for group in record.groups)

    @property
    def first_loss(self) -> str:
        """Why the first lost rollout was lost; empty if none was."""
        return next((r.error for s in self.result.steps for g in s.groups for r in g.lost), "")

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must not overlook."""
        failed = self._failure_of_all
        told = (failed or why_little_was_learnable(self.counts()), self.pruning, self.choice)
        return tuple(remark for remark in told if remark)

    @property
    def pruning(self) -> str:
        """What was taken out because of its measured effect; empty if nothing was."""
        pruned = [change for record in self.result.steps for change in record.pruned]
        said = "; ".join(f"{change.id} ({change.reason})" for change in pruned)
        return f"{counted(len(pruned), 'experience')} taken out as harmful: {said}" if pruned else ""

    @property
    def _failure_of_all(self) -> str:
        scored = [r for s in self.result.steps for g in s.groups for r in g.scored]
        first = next((r.policy_failure for r in scored if r.policy_failure is not None), None)
        if first is None or any(r.policy_failure is None for r in scored):
            return ""
        return f"The program failed in every rollout, so there was nothing to learn from; first: {one_line(first)}"

    @property
    def choice(self) -> str:
        """Which library was kept, if there were validation examples to choose by; empty if not."""
        best, initial = self.result.best_step, self.result.initial_validation
        if best is None or initial is None:
            return ""
        before = f"{estimate_text(initial.mean, questions=True)} before the first step"
        if best == 0:
            return f"No step did better on the validation examples ({before}), so the initial library was kept."
        return f"The library after step {best} did best on the validation examples ({before}) and was kept."

    def steps_table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Columns and rows, one row per step."""
        rows = [step_row(record, self.tolerance) for record in self.result.steps]
        if self.result.initial_validation is None:
            return STEP_COLUMNS, rows
        judged = [estimate_text(s.validation.mean) if s.validation else "" for s in self.result.steps]
        return (*STEP_COLUMNS, "validation"), [(*row, text) for row, text in zip(rows, judged, strict=True)]

    def counts(self) -> GroupCounts:
        """How the groups of all steps turned out."""
        return count_groups([g for s in self.result.steps for g in s.groups], self.tolerance)


def is_simulated(lms: Mapping[str, str]) -> bool:
    """Whether any of the LMs is the embedded simulation, told by its name."""
    return any("simulated" in name.lower() for name in lms.values())


def step_row(record: StepRecord, tolerance: float) -> tuple[str, ...]:
    """The cells of `STEP_COLUMNS`."""
    lost = sum(len(group.lost) for group in record.groups)
    informative = count_groups(record.groups, tolerance).informative
    return (
        str(record.step),
        estimate_text(reward_estimate(record.groups), questions=True),
        f"{informative} of {len(record.groups)} groups",
        ", ".join(f"{n} {_TOOK_EFFECT.get(kind, kind)}" for kind, n in operation_counts(record).items() if n) or "none",
        str(sum(rollout.policy_failure is not None for group in record.groups for rollout in group.scored)),
        str(lost),
        str(len(record.library)),
    )


def evaluation_row(name: str, evaluation: Evaluation) -> tuple[str, ...]:
    """The cells of `EVALUATION_COLUMNS`."""
    return (
        name,
        estimate_text(evaluation.mean),
        f"{evaluation.mean.n} x {evaluation.k}",
        str(evaluation.policy_failures),
        lost_text(evaluation.lost) or "0",
    )


def estimate_text(estimate: Estimate | None, *, questions: bool = False) -> str:
    """`0.62 [0.51, 0.73]`, with `n=20` behind it where no other column says so."""
    if estimate is None:
        return "none"
    n = f" n={estimate.n}" if questions else ""
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]{n}"


def gain_text(gain: Comparison) -> str:
    """The paired difference in one sentence, which says so when nothing can be said."""
    d = gain.difference
    p = "p < 0.0001" if d.p_value < 1e-4 else f"p = {d.p_value:.4f}"  # noqa: PLR2004 - four decimals
    interval = f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}], {p}, paired over {d.n} questions"
    verdicts = {
        "better": "better",
        "worse": "worse",
        "not distinguishable": "not distinguishable (more questions would narrow the interval)",
    }
    return f"{interval}: {verdicts[gain.verdict]}"


def why_little_was_learnable(counts: GroupCounts) -> str:
    """Said when no group was informative, or fewer than one in ten; empty otherwise."""
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
    return (
        f"{few if counts.informative else 'No group was informative'} ({listed}): within a group rewards must differ, "
        f"or there is nothing to compare. {_advice(counts)}"
    )


def _advice(counts: GroupCounts) -> str:
    if counts.too_few > sum(counts) / 2:
        return "Use --group-size 2 or more, and look at what was lost."
    if counts.all_right >= counts.all_wrong:
        return "These examples teach this LM nothing new; take harder ones."
    return (
        "These examples are beyond this LM (or the metric never accepts its answers); "
        "take easier ones, a larger --group-size or a graded metric."
    )


def lost_text(lost: Mapping[str, int]) -> str:
    """`3 infrastructure, 1 metric`; empty for none."""
    return ", ".join(f"{n} {cause}" for cause, n in sorted(lost.items()) if n)


def lost_by_cause(records: Sequence[StepRecord]) -> Counter[str]:
    """Lost rollouts of training."""
    return Counter(rollout.cause for record in records for group in record.groups for rollout in group.lost)


def usage_text(usage: Usage) -> str:
    """Calls, tokens and cost; what is unknown is said to be."""
    cached = f" ({usage.cached_calls:,} from the cache)" if usage.cached_calls else ""
    tokens = f"{usage.prompt_tokens:,} + {usage.completion_tokens:,} tokens"
    if (share := usage.cached_share) is not None:
        tokens += f" ({share:.0%} of the input from the provider's prompt cache)"
    return f"{usage.lm_calls:,} LM calls{cached}, {tokens}, {cost_text(usage.cost_usd)}"


def cost_text(cost: float | None) -> str:
    """A cost in US dollars."""
    return "cost unknown" if cost is None else f"${cost:.4f}"


def origin_text(experience: Experience) -> str:
    """Where an experience came from, in one line."""
    origin = experience.provenance
    came = {"updater": "learned", "person": "written by a person", "import": "imported"}[origin.author]
    steps = [f"in step {origin.created_step}"] if origin.created_step is not None else []
    steps += [f"changed in step {origin.modified_step}"] if origin.modified_step is not None else []
    marks = (["pinned"] if experience.pinned else []) + ([f"only for {experience.scope}"] if experience.scope else [])
    shown = [s.example for s in origin.sources[:6]]
    more = f" and {len(origin.sources) - len(shown)} more" if len(origin.sources) > len(shown) else ""
    groups = [f"from {', '.join(shown)}{more}"] if shown else []
    told = ", ".join([" ".join([came, *steps[:1]]), *steps[1:], *groups, *marks])
    return f"{told}: {origin.reason}" if origin.reason else told
