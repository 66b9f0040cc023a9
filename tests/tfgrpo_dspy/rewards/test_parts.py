"""The parts of a composite reward: from the metric to the store, the tables and the metrics of a step."""

from __future__ import annotations

import dspy
import pytest

from tests.tfgrpo_dspy.scripted import Engine, examples
from tfgrpo_dspy.errors import MetricError
from tfgrpo_dspy.observers.metrics import mean_parts
from tfgrpo_dspy.observers.mlflow.tables import rollouts_table
from tfgrpo_dspy.records.rollouts import Group, Rollout
from tfgrpo_dspy.rewards.reward import Reward, score
from tfgrpo_dspy.rollouts.sampling import Query, Sampling
from tfgrpo_dspy.runtime.store import Store
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.steps.rollout import roll_out

PREDICTION = dspy.Prediction(answer="1")


def composite(example, prediction, trace=None):
    return dspy.Prediction(score=0.75, feedback="fine", parts={"accuracy": True, "brevity": 0.5})


def group(metric=composite, store=None) -> Group:
    lm = Engine(lambda asked: {"answer": "1"}).lm()
    with dspy.context(lm=lm), Workers(2, store=store) as workers:
        sampling = Sampling("training seed 0", 1, 2, 0.7, 0.0)
        queries = [Query(0, examples(1)[0])]
        return workers.results(roll_out(dspy.Predict("question -> answer"), queries, metric, workers, sampling))[0]


def test_parts_are_numbers_by_name():
    assert score(composite, examples(1)[0], PREDICTION) == Reward(0.75, "fine", (("accuracy", 1.0), ("brevity", 0.5)))


@pytest.mark.parametrize("parts", [[("accuracy", 1)], {"accuracy": "high"}, {"accuracy": None}, {"a": float("inf")}])
def test_parts_that_are_no_numbers_are_a_metric_s_mistake(parts):
    with pytest.raises(MetricError):
        score(lambda e, p, t=None: dspy.Prediction(score=1, parts=parts), examples(1)[0], PREDICTION)


def test_the_store_gives_the_parts_back(tmp_path):
    made = []
    for _ in range(2):
        with Store(tmp_path, {"settings": 1}) as store:
            made.append(group(store=store))
    assert [r.parts for g in made for r in g.scored] == [(("accuracy", 1.0), ("brevity", 0.5))] * 4
    assert made[0].rollouts == made[1].rollouts
    assert isinstance(made[0].rollouts[0], Rollout)


def test_records_show_the_mean_of_each_part_and_every_rollout_s():
    made = group()
    assert mean_parts([made]) == {"accuracy": 1.0, "brevity": 0.5}
    assert rollouts_table([made], str)["parts"] == ["accuracy 1, brevity 0.5"] * 2


def test_a_metric_without_parts_adds_nothing_to_the_records():
    made = group(lambda e, p, t=None: 1)
    assert mean_parts([made]) == {}
    assert "parts" not in rollouts_table([made], str)


def test_a_part_s_name_is_one_that_mlflow_takes():
    made = group(lambda e, p, t=None: dspy.Prediction(score=1, parts={"a=b,c": 1}))
    assert mean_parts([made]) == {"a_b_c": 1.0}
