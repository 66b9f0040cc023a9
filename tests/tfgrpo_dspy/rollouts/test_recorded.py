from __future__ import annotations

from pathlib import Path

import pytest

from tfgrpo_dspy.errors import DataError
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.rollouts import Lost, Made, Scored, Unscored
from tfgrpo_dspy.rewards.reward import Reward
from tfgrpo_dspy.rollouts.failures import Loss
from tfgrpo_dspy.rollouts.group_scoring import Verdict
from tfgrpo_dspy.rollouts.recorded import journal_in, lms_of, other_purposes, recorded_rollouts
from tfgrpo_dspy.runtime.journal import Journal

IDENTITY = {"lms": {"policy": ["simulated/frozen-lm"]}}


def scored(name: str, reward: float = 1.0) -> Scored:
    return Scored(name, reward, "well done", "Step 1: self\n  out answer: 4", "answer: 4", 0, Usage(1), 0.1)


def keep(folder: Path, values: dict[str, tuple[object, object]]) -> None:
    with Journal(folder, IDENTITY) as journal:
        for name, (kind, value) in values.items():
            journal.once(name, kind, lambda value=value: value)


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


def test_rollouts_that_were_scored_together_have_their_rewards(tmp_path):
    waiting = {n: Unscored(n, {"answer": "4"}, "", "answer: 4", 0, Usage(1), 0.1) for n in ("s1/e0/r0", "s1/e0/r1")}
    verdict = Verdict((Reward(1.0, "yes"), Reward(0.0, "no")), None, Usage(), 0.0)
    lines: dict[str, tuple[object, object]] = {f"training seed 0: {n} 0a": (Made, u) for n, u in waiting.items()}
    keep(tmp_path, {**lines, "training seed 0: s1/e0 0a 0b rewards": (Verdict, verdict)})
    assert [each.rollout.reward for each in recorded_rollouts(tmp_path)] == [1.0, 0.0]


def test_a_group_whose_metric_broke_is_lost_and_one_without_verdict_unscored(tmp_path):
    unscored = Unscored("s1/e0/r0", {}, "", "", 0, Usage(1), 0.1)
    other = Unscored("s1/e1/r0", {}, "", "", 0, Usage(1), 0.1)
    verdict = Verdict((), Loss("metric", "boom"), Usage(), 0.0)
    keep(
        tmp_path,
        {
            "training seed 0: s1/e0/r0 0a": (Made, unscored),
            "training seed 0: s1/e1/r0 0a": (Made, other),
            "training seed 0: s1/e0 0a 0b rewards": (Verdict, verdict),
        },
    )
    assert [type(each.rollout) for each in recorded_rollouts(tmp_path)] == [Lost, Unscored]


def test_a_torn_last_line_is_passed_over(tmp_path):
    keep(tmp_path, {"training seed 0: s1/e0/r0 0a": (Made, scored("s1/e0/r0"))})
    with journal_in(tmp_path).open("a") as file:
        file.write('{"name": "training seed 0: s1/e0/r1 0a", "value": {"na')
    assert [each.name for each in recorded_rollouts(tmp_path)] == ["s1/e0/r0"]


def test_a_folder_without_a_journal_is_refused(tmp_path):
    with pytest.raises(DataError, match="no journal of a run"):
        recorded_rollouts(tmp_path)
