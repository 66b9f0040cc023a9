"""Texts of rollouts on disk: equal to what was taken, pickled as plain values, kept in memory when the disk is full."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.group import Lost, Scored
from tfgrpo_dspy.spill import Spill
from tfgrpo_dspy.usage import Usage

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


def test_a_full_disk_leaves_the_rollout_in_memory(monkeypatch):
    spill, rollout = Spill(), scored()

    def full(data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spill._file, "write", full)
    assert spill.take(rollout) is rollout


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
