"""Figures of a run as words: an estimate, a difference, a use of LMs, where an experience came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tfgrpo_dspy.library.experience import Experience
from tfgrpo_dspy.lm.usage import Traffic, Usage
from tfgrpo_dspy.statistics.estimates import Difference, Estimate
from tfgrpo_dspy.text import counted

_SOURCES_SHOWN = 6


def is_simulated(lms: Iterable[str]) -> bool:
    """Whether any of the LMs is the embedded simulation, told by its name."""
    return any("simulated" in name.lower() for name in lms)


def estimate_text(estimate: Estimate | None, *, questions: bool = False) -> str:
    """`0.62 [0.51, 0.73]`, with `n=20` behind it where nothing else says so."""
    if estimate is None:
        return "none"
    n = f" n={estimate.n}" if questions else ""
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]{n}"


def interval_text(difference: Difference) -> str:
    """`+0.05 [+0.01, +0.09]`."""
    return f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def gain_text(d: Difference) -> str:
    """A paired difference in one sentence, which says so when nothing can be said."""
    p = "p < 0.0001" if d.p_value < 1e-4 else f"p = {d.p_value:.4f}"  # noqa: PLR2004 - four decimals
    advice = " (more questions would narrow the interval)" if d.verdict == "not distinguishable" else ""
    return f"{interval_text(d)}, {p}, paired over {d.n} questions: {d.verdict}{advice}"


def lost_text(lost: Mapping[str, int]) -> str:
    """`3 infrastructure, 1 metric`; empty for none."""
    return ", ".join(f"{n} {cause}" for cause, n in sorted(lost.items()) if n)


def cost_text(usage: Usage) -> str:
    """A cost in US dollars; `about` where the endpoint did not report the tokens."""
    return "cost unknown" if usage.cost_usd is None else f"{about(usage)}${usage.cost_usd:.4f}"


def usage_text(usage: Usage) -> str:
    """`129,096 tokens, $0.0203`."""
    counted_here = f"{about(usage)}{usage.prompt_tokens + usage.completion_tokens:,} tokens, {cost_text(usage)}"
    return f"{counted_here}{elsewhere_text(usage)}"


def elsewhere_text(usage: Usage) -> str:
    """`, 60 calls outside DSPy not counted`; empty for none."""
    return f", {counted(usage.calls_elsewhere, 'call')} outside DSPy not counted" if usage.calls_elsewhere else ""


def about(usage: Usage) -> str:
    """What stands before numbers that are estimated, because the endpoint did not report its tokens."""
    return "about " if usage.is_estimate else ""


def traffic_text(traffic: Traffic) -> str:
    """What was sent more than once, and what failed; empty where every request was answered at once."""
    said = [f"{counted(traffic.retries, 'request')} repeated"] if traffic.retries else []
    said += [f"{traffic.hedges} sent twice because they were slow"] if traffic.hedges else []
    said += [f"failed: {lost_text(traffic.failures)}"] if traffic.failures else []
    return f"{counted(traffic.calls, 'request')} at the endpoints, {'; '.join(said)}" if said else ""


def origin_text(experience: Experience) -> str:
    """Where an experience came from, in one line."""
    origin = experience.provenance
    came = {"updater": "learned", "person": "written by a person", "import": "imported"}[origin.author]
    told = [f"{came} in step {origin.created_step}" if origin.created_step is not None else came]
    told += [f"changed in step {origin.modified_step}"] if origin.modified_step is not None else []
    if shown := [s.example for s in origin.sources[:_SOURCES_SHOWN]]:
        more = len(origin.sources) - len(shown)
        told.append(f"from {', '.join(shown)}{f' and {more} more' if more else ''}")
    told += experience.marks
    return f"{', '.join(told)}: {origin.reason}" if origin.reason else ", ".join(told)
