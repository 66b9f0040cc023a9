"""What the groups of a step will still need of a budget, by what the pool announces; nothing else tells the account."""

from __future__ import annotations

from tfgrpo_dspy.lm.meter import Meter
from tfgrpo_dspy.records.advantages import Extraction, Summary
from tfgrpo_dspy.records.events import Event, GroupFinished, ReflectionFinished
from tfgrpo_dspy.records.rollouts import group_of
from tfgrpo_dspy.settings import Settings


class Dues:
    """Hears what happens at once, in the thread in which it does; thread-safe, as the meter is.

    Args:
        meter: Of the run, which keeps what groups are owed from their first rollout on.
        settings: They decide which groups are reflected on.
    """

    def __init__(self, meter: Meter, settings: Settings) -> None:
        self._meter, self._settings = meter, settings

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case GroupFinished(group=group) if not group.may_teach(self._settings):
                self._meter.forgiven(group.name)
            case ReflectionFinished(made=Summary() as made):
                name = group_of(made.rollout)
                self._meter.paid(name)
                if not made.was_tried:  # what is left of the budget goes to groups that are whole
                    self._meter.forgiven(name)
            case ReflectionFinished(made=Extraction() as made):
                self._meter.forgiven(made.advantage.group if made.advantage is not None else made.failures[0].where)
