"""Past rollouts are learned from as fresh ones are, and no rollout is paid for."""

from __future__ import annotations

import json

import dspy
import pytest

from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script
from tfgrpo_dspy import DataError, MetricError, PastRollouts, SettingsError, TrainingFreeGRPO

ROWS = [
    {"inputs": {"question": "1+1"}, "outputs": {"answer": "2"}, "reward": 1, "labels": {"answer": "2"}},
    {"inputs": {"question": "2+2"}, "outputs": {"answer": "4"}, "reward": 1.0},
    {"inputs": {"question": "1+1"}, "outputs": "3", "reward": False, "feedback": "too much", "trajectory": "counted"},
]


def compiled(past, rows=None, **settings):
    engine = Engine(script())
    with dspy.context(lm=engine.lm()):
        optimizer = TrainingFreeGRPO(exact, display_progress=False, **settings)
        return engine, optimizer.compile(dspy.Predict("question -> answer"), rows or past.examples, rollouts=past)


def test_attempts_at_the_same_inputs_are_a_group_in_order():
    past = PastRollouts.of(ROWS)
    assert [example.question for example in past.examples] == ["1+1", "2+2"]
    assert [[one.reward for one in group] for group in past.attempts] == [[1.0, 0.0], [1.0]]
    assert past.attempts[0][1].feedback == "too much"
    assert past.attempts[0][1].trajectory == "counted"
    assert past.attempts[0][1].answer == "answer: 3"
    assert past.examples[0].labels().answer == "2"


def test_a_run_over_past_rollouts_learns_and_makes_no_rollout():
    engine, program = compiled(PastRollouts.of(ROWS))
    (step,) = program.detailed_results.steps
    assert len(program.experience_library) == 1
    assert [len(group.rollouts) for group in step.groups] == [2, 1]
    assert step.policy_usage.lm_calls == 0
    assert engine.calls == 4  # two summaries, a comparison, an update


def test_the_trainset_may_be_a_part_of_the_past_with_labels_of_its_own():
    rows = [dspy.Example(question="1+1", answer="two").with_inputs("question")]
    _, program = compiled(PastRollouts.of(ROWS), rows)
    (step,) = program.detailed_results.steps
    assert step.groups[0].example.answer == "two"


def test_what_has_no_past_is_named_before_anything_is_asked():
    with pytest.raises(DataError, match=r"trainset\[0\] has no past rollouts"):
        compiled(PastRollouts.of(ROWS), examples(1))


def test_the_same_rollouts_are_not_learned_from_twice():
    with pytest.raises(SettingsError, match="in one epoch; leave out epochs=2"):
        compiled(PastRollouts.of(ROWS), epochs=2)


def test_a_metric_scores_what_has_no_reward():
    rows = [{key: value for key, value in row.items() if key != "reward"} for row in ROWS[::2]]
    past = PastRollouts.of(rows, exact)
    assert [one.reward for one in past.attempts[0]] == [1.0, 0.0]
    with pytest.raises(MetricError):
        PastRollouts.of(rows, lambda example, prediction, trace=None: prediction.nothing)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({}, r"rollouts\[0\]: `inputs` must be an object"),
        ({"inputs": {}}, "`inputs` must be an object"),
        ({"inputs": "1+1", "outputs": "2"}, "'inputs' must be an object of field names to values, got str"),
        ({"inputs": {"q": 1}}, "it has no `outputs`; its columns are inputs"),
        ({"inputs": {"q": 1}, "outputs": "2"}, "it has no `reward`; add one, or pass a metric"),
        (
            {"inputs": {"q": 1}, "outputs": "2", "reward": "good"},
            "`reward` must be a finite number or a bool, got 'good'",
        ),
        ({"inputs": {"q": 1}, "outputs": "2", "reward": float("nan")}, "got nan"),
        ({"inputs": {"q": 1}, "outputs": "2", "reward": 1, "labels": 7}, "'labels' must be an object"),
    ],
)
def test_what_cannot_be_read_is_said_with_row_and_field(row, said):
    with pytest.raises(DataError, match=said):
        PastRollouts.of([row])


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv"])
def test_files_say_the_same_as_rows(tmp_path, suffix):
    path = tmp_path / f"past.{suffix}"
    if suffix == "csv":
        lines = ["inputs,outputs,reward"]
        lines += ['"{""question"": ""1+1""}",' + f"{answer},{reward}" for answer, reward in ((2, 1), (3, 0))]
        path.write_text("\n".join(lines), encoding="utf-8")
    else:
        text = json.dumps(ROWS) if suffix == "json" else "\n".join(map(json.dumps, ROWS))
        path.write_text(text, encoding="utf-8")
    past = PastRollouts.read(path)
    assert [one.reward for one in past.attempts[0]] == [1.0, 0.0]
    assert [one.answer for one in past.attempts[0]] == ["answer: 2", "answer: 3"]


def test_a_line_that_is_wrong_is_named(tmp_path):
    path = tmp_path / "past.jsonl"
    path.write_text(f"{json.dumps(ROWS[0])}\n{json.dumps({'inputs': {'q': 1}})}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"past\.jsonl, line 2"):
        PastRollouts.read(path)
