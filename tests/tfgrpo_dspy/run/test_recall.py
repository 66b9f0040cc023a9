"""A run's store tells the run once more, without its program, its LMs or MLflow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dspy
import pytest

from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script
from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.errors import DataError
from tfgrpo_dspy.records.events import EpochFinished, Event, RunFinished, RunStarted, StepFinished
from tfgrpo_dspy.run.recall import recall
from tfgrpo_dspy.runtime.store import Store
from tfgrpo_dspy.runtime.stored import reading


class Heard(list[Event]):
    """Notes what a store is to tell again."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted | StepFinished | EpochFinished | RunFinished):
            self.append(event)


def compiled(heard: Heard) -> None:
    with dspy.context(lm=Engine(script()).lm()):
        TrainingFreeGRPO(
            exact, epochs=2, batch_size=2, group_size=3, log_dir="log", observers=[heard], display_progress=False
        ).compile(dspy.ChainOfThought("question -> answer"), examples(4), valset=examples(2))


def test_the_events_of_a_run_are_told_again_as_they_were():
    heard = Heard()
    compiled(heard)
    with reading("log") as stored:
        told = list(recall(stored))
        events = [past.event for past in told]
        assert [type(event) for event in events] == [type(event) for event in heard]
        assert [past.at for past in told] == sorted(past.at for past in told)
        for was, now in zip(heard, events, strict=True):
            if isinstance(was, StepFinished):
                assert now.record == replace(was.record, seconds=round(was.record.seconds, 3))
            if isinstance(was, EpochFinished):
                assert now == was
        assert replace(events[-1].result, steps=()) == replace(heard[-1].result, steps=())
        start, began = events[0], heard[0]
        assert start.settings.as_params() == began.settings.as_params()
        assert [dict(example) for example in start.trainset] == [dict(example) for example in began.trainset]
        assert start.trainset[0].inputs().keys() == began.trainset[0].inputs().keys()
        assert (start.lms, start.steps, start.token) == (began.lms, began.steps, began.token)
        assert type(start.student).__qualname__ == "ChainOfThought"


def test_a_run_that_did_not_come_to_its_end_is_told_as_far_as_it_got():
    heard = Heard()
    compiled(heard)
    with Store("log", {}, accept_changes=True) as store:  # as a process leaves it that is killed
        store.set_fact("outcome", None)
        store._connection.execute("DELETE FROM records WHERE kind = 'step' AND name = '4'")
    with reading("log") as stored:
        *_, last = recall(stored)
        assert last.event.result.ended.sentence == "Interrupted after step 3 of 4"
        assert last.event.result.library == heard[-1].result.steps[2].library


def test_a_store_that_does_not_say_what_its_run_set_out_to_do_is_refused_in_a_sentence():
    with Store("log", {"epochs": 1}):
        pass
    assert Path("log/run.db").is_file()
    with reading("log") as stored, pytest.raises(DataError, match="does not say what its run set out to do"):
        next(recall(stored))
