"""From a server's log to the shortest time in which its requests could have been made, and to what a schedule gets."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.speed.endpoint import Served


@dataclass
class GroupServed:
    """Service times of one group's requests, in seconds."""

    rollouts: list[float] = field(default_factory=list)
    summaries: list[float] = field(default_factory=list)
    extractions: list[float] = field(default_factory=list)

    @property
    def total(self) -> float:
        """All of them, one after the other."""
        return sum(self.rollouts) + sum(self.summaries) + sum(self.extractions)

    @property
    def chain(self) -> float:
        """Less than any chain rollout -> summary -> extraction can take.

        Every rollout is followed by some summary and every summary preceded by some rollout; which belongs to which
        is not in the log, so the shortest is taken.
        """
        if not self.summaries:
            return max(self.rollouts, default=0.0)
        first = max(self.rollouts) + min(self.summaries)
        second = min(self.rollouts) + max(self.summaries)
        return max(first, second) + sum(self.extractions)


@dataclass
class StepServed:
    """Service times of one step's requests, in seconds."""

    groups: dict[str, GroupServed]
    updates: list[float]
    revisions: list[float] = field(default_factory=list)
    """Of lessons; which group's is not in the log."""
    seconds: float = 0.0
    """From its first request to its last reply."""
    update_alone: float = 0.0
    """Of these, those after the last reply that was not the update's."""

    @property
    def calls(self) -> int:
        """How many requests."""
        groups = self.groups.values()
        return (
            len(self.updates)
            + len(self.revisions)
            + sum(len(g.rollouts) + len(g.summaries) + len(g.extractions) for g in groups)
        )

    @property
    def work(self) -> float:
        """Total service time without the update."""
        return sum(group.total for group in self.groups.values()) + sum(self.revisions)

    @property
    def chain(self) -> float:
        """The longest chain of requests that wait for each other, without the update."""
        return max((group.chain for group in self.groups.values()), default=0.0)

    def bound(self, concurrency: int) -> float:
        """No schedule is shorter, even one that knows all service times beforehand and waits for no group to decide."""
        return max((self.work + sum(self.updates)) / concurrency, self.chain, max(self.updates, default=0.0))

    def scheduled(self, concurrency: int) -> float:
        """What an ideal executor takes that does not know the service times: no call ever waits but for a free slot.

        The update's questions start when all else is there, and none of them waits for another one.
        """
        update = _makespan([GroupServed([seconds]) for seconds in self.updates], concurrency)
        return _makespan(list(self.groups.values()), concurrency) + update


def steps_of(log: Sequence[Served]) -> list[StepServed]:
    """The log by step: the rollouts of the next one wait until all is answered."""
    return [_step(requests) for requests in _split(log)]


def _split(log: Sequence[Served]) -> Iterator[list[Served]]:
    """Requests in order of arrival, cut where a rollout finds nothing in flight."""
    present: list[Served] = []
    last = 0.0
    for served in log:
        if served.kind == "rollout" and present and served.start > last:
            yield present
            present = []
        present.append(served)
        last = max(last, served.end)
    yield present


def _step(requests: Sequence[Served]) -> StepServed:
    groups: defaultdict[str, GroupServed] = defaultdict(GroupServed)
    apart: dict[str, list[float]] = {"update": [], "revision": []}
    for served in requests:
        if served.kind in apart:
            apart[served.kind].append(served.seconds)
        else:
            group = groups[served.task]
            kinds = {"rollout": group.rollouts, "summary": group.summaries, "extraction": group.extractions}
            kinds[served.kind].append(served.seconds)
    ends = [served.end for served in requests]
    last = max(served.end for served in requests if served.kind != "update")
    return StepServed(dict(groups), apart["update"], apart["revision"], max(ends) - requests[0].start, max(ends) - last)


def _makespan(groups: Sequence[GroupServed], concurrency: int) -> float:
    """List scheduling: what is ready goes to the next free slot, in the order in which it became ready."""
    stages = [[list(s) for s in (g.rollouts, g.summaries, g.extractions) if s] for g in groups]
    open_calls = [len(s[0]) for s in stages]
    ready = deque((seconds, i) for i, s in enumerate(stages) for seconds in s[0])
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < concurrency:
            seconds, i = ready.popleft()
            heapq.heappush(running, (now + seconds, i))
        now, i = heapq.heappop(running)
        open_calls[i] -= 1
        if open_calls[i] == 0 and len(stages[i]) > 1:
            stages[i].pop(0)
            open_calls[i] = len(stages[i][0])
            ready.extend((seconds, i) for seconds in stages[i][0])
    return now
