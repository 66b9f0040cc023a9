"""Why there was little to learn, in words, with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from tfgrpo_dspy.records.result import StepRecord
from tfgrpo_dspy.records.rollouts import GroupCounts, count_groups
from tfgrpo_dspy.text import one_line

OUTCOMES = {
    "informative": "informative: rewards differ",
    "all_right": "all rollouts right",
    "all_wrong": "all rollouts wrong",
    "otherwise_equal": "rewards otherwise equal",
    "too_few": "fewer than two rollouts",
}
"""How a group turned out, in words."""
_NEARLY_ALL = 0.9


def why_little_was_learnable(steps: Sequence[StepRecord], tolerance: float) -> str:
    """Said when the program never worked, or fewer than one group in ten was informative; empty otherwise."""
    groups = [group for step in steps for group in step.groups]
    scored = [rollout for group in groups for rollout in group.scored]
    failures = [rollout.policy_failure for rollout in scored if rollout.policy_failure is not None]
    if failures and len(failures) == len(scored):
        return (
            f"The program failed in every rollout, so there was nothing to learn from; first: {one_line(failures[0])}"
        )
    same = [len(group.scored) > 1 and len({r.trajectory for r in group.scored}) == 1 for group in groups]
    return _of_groups(count_groups(groups, tolerance), sum(same))


def _of_groups(counts: GroupCounts, of_one_answer: int) -> str:
    """What the groups say, of which some are the same text in every rollout, call by call, word for word."""
    total = sum(counts)
    if counts.informative * 10 >= total:
        return ""
    few = f"Only {counts.informative} of {total} groups were informative"
    others = {name: n for name, n in counts._asdict().items() if n and name != "informative"}
    listed = ", ".join(f"{n} with {OUTCOMES[name]}" for name, n in others.items())
    if counts.too_few > total / 2:
        advice = "Use a group size of 2 or more, and look at what was lost."
    elif counts.all_right >= counts.all_wrong:
        advice = "These examples teach this LM nothing new; take harder ones."
    else:
        advice = (
            "These examples are beyond this LM (or the metric never accepts its answers); take easier ones, a larger "
            "group size or a graded metric."
        )
    if of_one_answer > _NEARLY_ALL * (total - counts.too_few):
        advice += (
            f" In {of_one_answer} of them all rollouts are one answer, word for word: unless answers are so short that "
            "this is natural, they are no draws. Look for what answers alike: a cache in front of the endpoint, a "
            "server that ignores temperature and seed, or a program with a temperature of 0 or an LM that it asks in "
            "threads of its own."
        )
    return (
        f"{few if counts.informative else 'No group was informative'} ({listed}): within a group rewards must differ, "
        f"or there is nothing to compare. {advice}"
    )
