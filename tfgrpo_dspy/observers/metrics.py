"""The numbers that are recorded of a step; MLflow and W&B take what is before the last `/` for a section of charts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, get_args

from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.effects import Verdict
from tfgrpo_dspy.records.rollouts import Group, count_groups, reward_estimate
from tfgrpo_dspy.statistics.estimates import Difference, Estimate, full_marks

if TYPE_CHECKING:
    from tfgrpo_dspy.records.evaluation import Evaluation
    from tfgrpo_dspy.records.result import CompileResult, StepRecord
    from tfgrpo_dspy.settings import Settings

LAST_OF_STEP = "time/epoch"
"""Written last of a step's: a run that has it has recorded the step."""

_EQUAL = 1e-9
"""Of full marks, what a sum of parts may lack."""

_NOT_IN_NAMES = re.compile(r"[^\w./ -]")
"""What MLflow takes in no name of a metric."""

_HEADLINE = {
    "mean_reward": "reward/mean",
    "mean_validation": "validation/mean",
    "share_informative": "groups/informative_share",
}


def pass_at_g(groups: Sequence[Group]) -> float | None:
    """Share of queries with a right rollout among their G, lost groups left out.

    None if that leaves none, or where rewards are below 0, so that nothing says which are right.
    """
    best = [max(g.rewards) for g in groups if g.rewards]
    full = full_marks(reward for g in groups for reward in g.rewards)
    return sum(r >= full - _EQUAL for r in best) / len(best) if best and full is not None else None


def mean_parts(groups: Sequence[Group]) -> dict[str, float]:
    """What a composite reward was made of: the mean of each part over the rollouts that have it."""
    values: dict[str, list[float]] = {}
    for name, value in (part for g in groups for r in g.scored for part in r.parts):
        values.setdefault(_NOT_IN_NAMES.sub("_", name), []).append(value)
    return {name: sum(found) / len(found) for name, found in values.items()}


def step_metrics(record: StepRecord, settings: Settings) -> dict[str, float]:
    """All metrics of a step. What is unknown, e.g. a price, is left out, never 0."""
    usage = record.usage + record.validation.usage if record.validation else record.usage
    known = _outcomes(record, settings.tolerance)
    counts: dict[str, float] = {}
    if scored := [r for g in record.groups for r in g.scored]:
        counts["tools/calls_per_rollout"] = sum(r.tool_calls for r in scored) / len(scored)
    failed = sum(r.policy_failure is not None for r in scored)
    effects: dict[str, float] = {}
    if record.effects:
        said = Counter(effect.verdict for effect in record.effects)
        ended = {verdict.replace(" ", "_"): said[verdict] for verdict in get_args(Verdict)}
        effects = {"measured": len(record.effects), **ended, "by_trial": len(record.by_trial)}
    return {
        # The same numbers once more: the UI sorts sections by name, and what matters most should come first.
        **{f"brief/{name}": known[key] for name, key in _HEADLINE.items() if key in known},
        "brief/size_of_library": len(record.library),
        **known,
        "rollouts/ok": len(scored) - failed,
        "rollouts/policy_failed": failed,
        "rollouts/lost": sum(len(g.lost) for g in record.groups),
        **counts,
        **_section("reward_parts", mean_parts(record.groups)),
        "library/entries": len(record.library),
        "library/tokens": record.library.tokens,
        **_section("operations", record.operation_counts),
        **_section("candidates", {became.replace(" ", "_"): n for became, n in record.fate_counts.items()}),
        **_section("effects", effects),
        **_section("usage", usage_numbers(usage)),
        **_section("usage_policy", usage_numbers(record.policy_usage)),
        **_section("usage_reflection", usage_numbers(record.reflection_usage)),
        "reflection/failures": len(record.failures),
        **_section("gate", _gate(record)),
        **_section("flags", Counter(_NOT_IN_NAMES.sub("_", flag.kind.replace(" ", "_")) for flag in record.flags)),
        "time/step_seconds": record.seconds,
        LAST_OF_STEP: record.epoch,
    }


def _outcomes(record: StepRecord, tolerance: float) -> dict[str, float]:
    """Rewards, validation, and how the groups turned out."""
    groups, passed, judged = record.groups, pass_at_g(record.groups), record.validation
    counts = count_groups(groups, tolerance)
    return {
        **estimate_metrics("reward/mean", reward_estimate(groups)),
        **({} if passed is None else {"reward/pass_at_g": passed}),
        **estimate_metrics("validation/mean", judged.mean if judged else None),
        **({"validation/lost": sum(judged.lost.values())} if judged else {}),
        **_section("groups", counts._asdict()),
        **({"groups/informative_share": counts.informative / len(groups)} if groups else {}),
    }


def _gate(record: StepRecord) -> dict[str, float]:
    """What the gate measured of a step's update as a whole, which is its first trial."""
    refused = sum(refusal.reason.startswith("the gate refused it") for refusal in record.refusals)
    if not (record.trials or refused or record.gate_usage.lm_calls):
        return {}
    whole = record.trials[0].difference if record.trials else None
    return {
        "trials": len(record.trials),
        "rollouts": sum(trial.rollouts for trial in record.trials),
        "refused": refused,
        **usage_numbers(record.gate_usage),
        **estimate_metrics("difference", whole),
    }


def initial_metrics(validation: Evaluation) -> dict[str, float]:
    """The starting point of the validation curves."""
    return {"brief/mean_validation": validation.mean.value, **estimate_metrics("validation/mean", validation.mean)}


def final_metrics(result: CompileResult) -> dict[str, float]:
    """Totals of a run."""
    numbers = {**usage_numbers(result.usage), "seconds": sum(s.seconds for s in result.steps)}
    sent, failed = result.traffic, sum(result.traffic.failures.values())
    passed = {"sent": sent.calls, "repeated": sent.retries, "hedges": sent.hedges, "failed": failed}
    made = {**_section("total", numbers), "total/unused_insights": len(result.unused), **_section("requests", passed)}
    gain = result.gain.difference if result.gain is not None else None
    return {**made, **heldout_metrics({}, gain)}


def heldout_metrics(evaluations: Mapping[str, Evaluation], gain: Difference | None) -> dict[str, float]:
    """Scores on held-out questions by program (`bare`, `learned`), and the paired gain; the most important in brief."""
    numbers: dict[str, float] = {}
    for name, made in evaluations.items():
        numbers |= {f"brief/heldout_{name}": made.mean.value, **estimate_metrics(f"heldout/{name}", made.mean)}
        numbers |= {f"heldout/{name}_lost": sum(made.lost.values()), f"heldout/{name}_failed": made.policy_failures}
        numbers["heldout/n"] = made.mean.n
    if gain is not None:
        numbers |= {"brief/heldout_gain": gain.value, "heldout/p": gain.p_value, "heldout/n": gain.n}
        numbers |= estimate_metrics("heldout/gain", gain)
    return numbers


def usage_numbers(usage: Usage) -> dict[str, float]:
    """A usage by name, without what is unknown of its cost and of the provider's prompt cache.

    Calls whose tokens are estimates, and those outside DSPy, are counted where there are any.
    """
    numbers: dict[str, float] = {
        "lm_calls": usage.lm_calls,
        "cached_calls": usage.cached_calls,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
    }
    if usage.cached_tokens is not None and usage.cached_share is not None:
        numbers |= {"cached_tokens": usage.cached_tokens, "cached_token_share": usage.cached_share}
    if usage.is_estimate:
        numbers["estimated_calls"] = usage.estimated_calls
    if usage.calls_elsewhere:
        numbers["calls_elsewhere"] = usage.calls_elsewhere
    return numbers if usage.cost_usd is None else {**numbers, "cost_usd": usage.cost_usd}


def estimate_metrics(name: str, estimate: Estimate | Difference | None) -> dict[str, float]:
    """A value with its interval as `<name>`, `<name>_low` and `<name>_high`; the UI knows no error bars."""
    if estimate is None:
        return {}
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _section(name: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{name}/{key}": value for key, value in values.items()}
