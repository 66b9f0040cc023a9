from __future__ import annotations

from pathlib import Path

import pytest

from tfgrpo_dspy.errors import DataError
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.rollouts import Lost, Made, Rollout, Scored, Unscored
from tfgrpo_dspy.rollouts.recorded import lms_of, other_purposes, recorded_rollouts
from tfgrpo_dspy.runtime.store import Store

IDENTITY = {"lms": {"policy": ["simulated/frozen-lm"]}}


def scored(name: str, reward: float = 1.0) -> Scored:
    return Scored(name, reward, "well done", "Step 1: self\n  out answer: 4", "answer: 4", 0, Usage(1), 0.1)


def keep(folder: Path, values: dict[str, tuple[object, object]]) -> None:
    with Store(folder, IDENTITY) as store:
        for name, (kind, value) in values.items():
            store.keep(name, kind, value)
        store.settle()


def test_rollouts_are_read_by_step_example_and_index(tmp_path):
    names = ["s2/e0/r0", "s1/e10/r0", "s1/e2/r1", "s1/e2/r0"]
    keep(tmp_path / "log", {f"training seed 0: {n} 0af1": (Made, scored(n)) for n in names})
    found = recorded_rollouts(tmp_path)
    assert [each.name for each in found] == ["s1/e2/r0", "s1/e2/r1", "s1/e10/r0", "s2/e0/r0"]
    assert found[0].rollout == scored("s1/e2/r0")
    assert (found[2].group, found[2].example, found[2].step) == ("s1/e10", "e10", 1)
    assert [each.name for each in recorded_rollouts(tmp_path / "log", ["s1/e2"])] == ["s1/e2/r0", "s1/e2/r1"]
    assert lms_of(tmp_path) == {"policy": "simulated/frozen-lm"}


def test_what_rollouts_were_made_for_keeps_them_apart(tmp_path):
    lost = Lost("s1/e0/r0", "infrastructure", "TimeoutError", Usage(), 1.0)
    keep(
        tmp_path,
        {
            "training seed 0: s1/e0/r0 0a": (Made, scored("s1/e0/r0")),
            "validation seed 0: s1/e0/r0 0a": (Made, lost),
            "update s1 0a": (str, "no rollout"),
        },
    )
    assert [each.rollout for each in recorded_rollouts(tmp_path, purpose="validation")] == [lost]
    assert other_purposes(tmp_path) == {"training": 1, "validation": 1}


def test_rollouts_that_were_scored_together_have_their_rewards_and_others_none(tmp_path):
    waiting = {n: Unscored(n, {"answer": "4"}, "", "answer: 4", 0, Usage(1), 0.1) for n in ("s1/e0/r0", "s1/e1/r0")}
    lines: dict[str, tuple[object, object]] = {f"training seed 0: {n} 0a": (Made, u) for n, u in waiting.items()}
    keep(tmp_path, {**lines, "training seed 0: s1/e0/r0 0a 0b scored": (Rollout, scored("s1/e0/r0", 0.5))})
    assert [getattr(each.rollout, "reward", None) for each in recorded_rollouts(tmp_path)] == [0.5, None]


def test_a_list_of_rollouts_reads_no_text_until_it_is_looked_at(tmp_path):
    keep(tmp_path, {"training seed 0: s1/e0/r0 0a": (Made, scored("s1/e0/r0"))})
    [each] = recorded_rollouts(tmp_path)
    assert type(each.rollout) is not Scored
    assert each.rollout.answer == "answer: 4"


def test_a_run_that_goes_on_can_be_read(tmp_path):
    with Store(tmp_path, IDENTITY) as store:
        store.keep("training seed 0: s1/e0/r0 0a", Made, scored("s1/e0/r0"))
        assert [each.name for each in recorded_rollouts(tmp_path)] == ["s1/e0/r0"]


def test_a_folder_without_a_store_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no run\.db of a run"):
        recorded_rollouts(tmp_path)
