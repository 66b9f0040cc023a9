"""Observers listen and never steer: what one raises is kept and said."""

from __future__ import annotations

import pytest

from tfgrpo_dspy.records.events import RunFinished, StepStarted
from tfgrpo_dspy.runtime.announcer import Announcer

EVENT = StepStarted(1, 1, 1, 1)


def test_every_observer_gets_every_event_in_order():
    seen: list = []
    announce = Announcer([lambda e: seen.append(("first", e)), lambda e: seen.append(("second", e))])
    announce(EVENT)
    announce(EVENT)
    assert seen == [("first", EVENT), ("second", EVENT)] * 2
    assert announce.unrecorded == ()


def test_an_observer_that_raises_is_noted_once_and_the_others_still_listen(caplog):
    seen: list = []

    def broken(event):
        raise OSError("the disk is full")

    announce = Announcer([broken, seen.append])
    for _ in range(3):
        announce(EVENT)
    assert len(seen) == 3
    assert announce.unrecorded == ("broken failed at StepStarted: OSError: the disk is full",)
    assert caplog.text.count("the disk is full") == 1


def test_two_observers_of_one_name_are_both_noted():
    def of(reason):
        def broken(event):
            raise OSError(reason)

        return broken

    announce = Announcer([of("full"), of("gone")])
    announce(EVENT)
    assert len(announce.unrecorded) == 2


def test_what_an_observer_says_it_could_not_record_is_said_too():
    class Buffering:
        unrecorded = ("3 events wait in a file",)

        def __call__(self, event):
            pass

    assert Announcer([Buffering()]).unrecorded == ("3 events wait in a file",)


def test_an_interrupt_is_no_failure_of_the_observer():
    def interrupted(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Announcer([interrupted])(EVENT)


def test_run_finished_is_an_event_like_others():
    assert RunFinished.__dataclass_params__.frozen
