"""Which examples later epochs roll out: most often those whose groups still differ (ours). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tfgrpo_dspy.records.rollouts import Group
from tfgrpo_dspy.rollouts.sampling import Query


@dataclass(frozen=True, slots=True)
class Curriculum:
    """An example whose last group had a contrast is due in every epoch, another one in every second.

    All right or all wrong, such a group has nothing to compare; it is looked at again because the library changes.
    """

    tolerance: float
    """Rewards that differ by no more count as equal."""
    uniform: frozenset[int] = frozenset()
    """Positions of the examples whose last group had no contrast."""

    def after(self, groups: Sequence[Group]) -> Curriculum:
        """The rule once these groups are whole."""
        differed = {_position(group): group.is_informative(self.tolerance) for group in groups if group.scored}
        alike = {position for position, did in differed.items() if not did}
        return replace(self, uniform=(self.uniform - differed.keys()) | alike)

    def due(self, queries: Sequence[Query], epoch: int) -> list[Query]:
        """Those of the queries that an epoch, from 1, rolls out; all of them if none were due."""
        return [q for q in queries if q.position not in self.uniform or (q.position + epoch) % 2] or list(queries)


def _position(group: Group) -> int:
    return int(group.name.rpartition("/e")[2])
