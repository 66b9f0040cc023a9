"""Measured effects of a library's entries, from groups of which some rollouts read an entry and some did not; pure.

Who read what was decided by chance inside each group, so the difference is what the entry does to the reward, next to
others that are on trial as well, at no further LM call. Nobody needs to cite anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, sqrt
from typing import NamedTuple

from tfgrpo_dspy.credit.likeness import Reach
from tfgrpo_dspy.credit.verdicts import odds_of_helping, verdict_of
from tfgrpo_dspy.library.experience import Experience
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.records.rollouts import Group, example_of
from tfgrpo_dspy.statistics.pooled import pooled
from tfgrpo_dspy.statistics.within import Split, Within, within_groups


class Measured(NamedTuple):
    """An entry and what was seen of it."""

    entry: Experience
    against: str | None
    """What those read instead that did not read it."""
    splits: Sequence[Split]
    """Its groups, all with a weight of 1."""
    reach: Reach


def split_of(group: Group, id: str) -> Split | None:
    """A group's scored rollouts by whether they read an entry; None if all of them did, or none."""
    has = tuple(id not in rollout.withheld for rollout in group.scored)
    return Split(example_of(group.name), group.rewards, has) if len(set(has)) > 1 else None


def spread_of(groups: Sequence[Sequence[float]]) -> float:
    """Standard deviation of the rewards of one question, pooled over groups; 0 if no group has two."""
    told = [(fsum(rewards) / len(rewards), rewards) for rewards in groups if len(rewards) > 1]
    freedom = sum(len(rewards) - 1 for _, rewards in told)
    return sqrt(fsum((r - mean) ** 2 for mean, rewards in told for r in rewards) / freedom) if freedom else 0.0


def effects_of(measured: Sequence[Measured], spread: float) -> tuple[Effect, ...]:
    """The effect of each entry of which a group tells anything, in the given order.

    All are seen together: each is shrunken towards the mean of all. `spread` is that of `spread_of`.
    """
    found = [(m, where, overall) for m in measured if (seen := _within(m)) is not None for where, overall in [seen]]
    if not found:
        return ()
    prior = odds_of_helping([where for m, where, _ in found if not m.reach.is_general], spread)
    common = pooled([where.value for _, where, _ in found], [where.error for _, where, _ in found])
    return tuple(
        Effect(
            m.entry.id,
            m.entry.text,
            *(where.value, where.low, where.high),
            *(overall.value, overall.low, overall.high),
            shrunken=common.shrunken(where.value, where.error),
            n_with=overall.n_with,
            n_without=overall.n_without,
            verdict=verdict_of(where, overall, spread, prior=None if m.reach.is_general else prior),
            against=m.against,
            prior=0.0 if m.reach.is_general else prior,
        )
        for m, where, overall in found
    )


def _within(measured: Measured) -> tuple[Within, Within] | None:
    """The effect where the entry applies and over all questions; the second for both where no group tells the first."""
    overall = within_groups(measured.splits)
    if overall is None:
        return None
    weighted = (s._replace(weight=measured.reach.where.get(s.question, 0.0)) for s in measured.splits)
    return within_groups([s for s in weighted if s.weight]) or overall, overall
