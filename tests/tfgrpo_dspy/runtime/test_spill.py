"""What rollouts said, on disk: equal to what was taken, pickled as plain values, in memory when the disk is full."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tfgrpo_dspy.made_events import MadeRun
from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.result import StepRecord
from tfgrpo_dspy.records.rollouts import Lost, Scored
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.runtime.spill import Spill
from tfgrpo_dspy.simulated import demo_examples, simulated_lm

texts = st.text(st.characters(exclude_categories=()), max_size=40)


def scored(
    trajectory: str = "Step 1", feedback: str = "", answer: str = "answer: 4", *, name: str = "s1/e0/r0"
) -> Scored:
    return Scored(name, 1.0, feedback, trajectory, answer, 2, Usage(1, 0, 9, 3, None), 0.5)


@given(texts, texts, texts)
def test_a_spilled_rollout_equals_the_one_that_was_taken_surrogates_and_all(trajectory, feedback, answer):
    rollout = scored(trajectory, feedback, answer)
    spilled = Spill().take(rollout)
    assert isinstance(spilled, Scored)
    assert spilled == rollout
    assert rollout == spilled
    assert hash(spilled) == hash(rollout)
    assert (spilled.trajectory, spilled.feedback, spilled.answer) == (trajectory, feedback, answer)


def test_it_differs_from_a_rollout_that_said_something_else():
    spill = Spill()
    assert spill.take(scored("a")) != spill.take(scored("b"))
    assert spill.take(scored("a")) != "a"


def test_it_can_be_pickled_copied_and_replaced_without_its_file():
    rollout = scored("x" * 100)
    spilled = Spill().take(rollout)
    for made in (pickle.loads(pickle.dumps(spilled)), copy.deepcopy(spilled), replace(spilled, reward=1.0)):
        assert type(made) is Scored
        assert made == rollout


def test_many_threads_write_and_read_one_file():
    spill = Spill()
    rollouts = [scored(f"{i}" * 5000, f"f{i}", f"a{i}", name=f"s1/e{i}/r0") for i in range(400)]
    with ThreadPoolExecutor(8) as pool:
        spilled = list(pool.map(spill.take, rollouts))
        assert list(pool.map(lambda r: r.trajectory, spilled)) == [r.trajectory for r in rollouts]
    assert spilled == rollouts


def test_a_lost_rollout_stays_as_it_is():
    lost = Lost("s1/e0/r0", "infrastructure", "reset", Usage(), 0.1)
    assert Spill().take(lost) is lost


@pytest.fixture
def full_disk(monkeypatch):
    spill = Spill()

    def full(data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spill._file, "write", full)
    return spill


def test_a_full_disk_leaves_the_rollout_in_memory(full_disk):
    rollout = scored()
    assert full_disk.take(rollout) is rollout


def step_of(spill: Spill, trajectory: str = "Step 1") -> StepRecord:
    """A step with scored and lost rollouts, advantages and a validation, their texts on disk already."""
    [record] = MadeRun(steps=1).records
    groups = tuple(
        replace(
            g, rollouts=tuple(spill.take(replace(r, trajectory=trajectory) if r in g.scored else r) for r in g.rollouts)
        )
        for g in record.groups
    )
    return replace(record, groups=groups)


def test_a_spilled_step_equals_the_one_that_was_taken():
    spill = Spill()
    record = step_of(spill)
    assert record.advantages
    assert record.validation is not None
    spilled = spill.take_step(record)
    assert spilled is not record
    assert spilled == record
    assert record == spilled
    assert spilled != replace(record, groups=record.groups[1:])
    assert spilled.usage == record.usage


def test_its_examples_are_those_of_the_trainset():
    spill = Spill()
    record = step_of(spill)
    spilled = spill.take_step(record)
    assert all(a.example is b.example for a, b in zip(spilled.groups, record.groups, strict=True))


def test_texts_that_are_on_disk_are_not_written_again():
    spill = Spill()
    record = step_of(spill, trajectory="x" * 100_000)
    before = spill._file.seek(0, 2)
    spilled = spill.take_step(record)
    assert spill._file.seek(0, 2) - before < 100_000
    assert spilled.groups[0].scored[0].trajectory == "x" * 100_000


def test_a_step_can_be_pickled_copied_and_replaced_without_its_file():
    spill = Spill()
    record = step_of(spill)
    spilled = spill.take_step(record)
    for made in (pickle.loads(pickle.dumps(spilled)), copy.deepcopy(spilled), replace(spilled, step=record.step)):
        assert type(made) is StepRecord
        assert made == record


def test_a_full_disk_leaves_the_step_in_memory(full_disk):
    record = step_of(Spill())
    assert full_disk.take_step(record) is record


def in_memory() -> list[Scored]:
    gc.collect()
    return [value for value in gc.get_objects() if isinstance(value, Scored)]


def test_the_rollouts_of_finished_steps_are_not_kept_in_memory():
    others = in_memory()
    with dspy.context(lm=simulated_lm(seed=0, cache=False)):
        optimizer = TrainingFreeGRPO(number, epochs=1, batch_size=4, group_size=3, num_threads=4)
        program = optimizer.compile(dspy.ChainOfThought("question -> answer"), demo_examples(12, 0, "train"))
    assert [rollout.name for rollout in in_memory() if not any(rollout is other for other in others)] == []
    groups = [group for step in program.detailed_results.steps for group in step.groups]
    assert [len(group.scored) for group in groups] == [3] * 12
    assert all("answer" in rollout.trajectory for group in groups for rollout in group.scored)


def test_the_file_goes_with_the_last_rollout_that_refers_to_it():
    spill = Spill()
    spilled = spill.take(scored())
    file = spill._file
    alive = weakref.ref(spill)
    del spill
    gc.collect()
    assert alive() is not None
    assert spilled.trajectory == "Step 1"
    del spilled
    gc.collect()
    assert alive() is None
    assert file.closed
