"""Group metrics: the rollouts of a group are made first and scored together, once."""

from __future__ import annotations

import threading

import cloudpickle
import dspy
import pytest
from dspy import lm15
from pydantic import BaseModel

from tests.tfgrpo_dspy.loopback import PATIENCE
from tests.tfgrpo_dspy.scripted import Engine, examples
from tfgrpo_dspy import Budget, GroupMetric, MajorityVote, SettingsError, TrainingFreeGRPO, evaluate
from tfgrpo_dspy.errors import RequestError
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.records.events import GroupFinished, RolloutFinished
from tfgrpo_dspy.records.rollouts import Group, Lost, Scored, Unscored
from tfgrpo_dspy.rewards.reward import check_metric
from tfgrpo_dspy.rollouts.sampling import Query, Sampling
from tfgrpo_dspy.rollouts.task import RolloutTask
from tfgrpo_dspy.runtime.store import Store
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.steps.rollout import roll_out

QA = "question -> answer: str"
IDENTITY = {"settings": 1}


class Ranks:
    """Rewards by position, and a record of what was shown."""

    def __init__(self, returned=None):
        self.shown: list[list[dict]] = []
        self._returned = returned

    def score_group(self, example, predictions):
        self.shown.append([dict(p.items()) for p in predictions])
        return self._returned if self._returned is not None else [float(i) for i in range(len(predictions))]


class Asking:
    """Asks the language model once for a group."""

    def score_group(self, example, predictions):
        reply = dspy.Predict("attempts -> verdict")(attempts=str(len(predictions)))
        return [dspy.Prediction(score=i, feedback=reply.verdict) for i in range(len(predictions))]


def answering(text="1"):
    return Engine(lambda asked: dict.fromkeys(asked.outputs, text))


def groups_of(program, lm, metric, *, size=3, count=2, announce=lambda e: None, store=None, **more) -> list[Group]:
    sampling = Sampling("training seed 0", 1, size, 0.7, 0.0, **more)
    with dspy.context(lm=lm), Workers(4, announce, store) as workers:
        queries = [Query(i, example) for i, example in enumerate(examples(count))]
        return workers.results(roll_out(program, queries, metric, workers, sampling))


def test_a_group_metric_is_a_metric_wherever_one_is_taken():
    metric = Ranks()
    assert isinstance(metric, GroupMetric)
    assert check_metric(metric) is metric
    assert TrainingFreeGRPO(metric).setup.metric is metric


def test_its_class_in_place_of_an_object_is_refused():
    with pytest.raises(SettingsError, match=r"make an object of it: MajorityVote\(\.\.\.\)"):
        check_metric(MajorityVote)


def test_each_group_is_scored_once_when_it_is_complete():
    metric, events = Ranks(), []
    groups = groups_of(dspy.Predict(QA), answering().lm(), metric, announce=events.append)
    assert [group.rewards for group in groups] == [(0.0, 1.0, 2.0)] * 2
    assert metric.shown == [[{"answer": "1"}] * 3] * 2
    assert [e.rollout for e in events if isinstance(e, RolloutFinished)] != []
    assert sum(isinstance(e, GroupFinished) for e in events) == 2
    assert all(isinstance(e.rollout, Scored) for e in events if isinstance(e, RolloutFinished))
    assert groups[0].scored[0].answer == "answer: 1"


def test_feedback_and_parts_of_a_group_metric_are_kept():
    metric = Ranks([dspy.Prediction(score=1, feedback="so", parts={"votes": 2}), 0.5, False])
    [group] = groups_of(dspy.Predict(QA), answering().lm(), metric, count=1)
    assert (group.scored[0].feedback, group.scored[0].parts) == ("so", (("votes", 2.0),))
    assert group.rewards == (1.0, 0.5, 0.0)


def test_lost_and_failed_rollouts_are_left_out():
    class Sometimes(dspy.Module):
        def __init__(self):
            super().__init__()
            self.solve, self.calls = dspy.Predict(QA), iter([ConnectionError("away"), ValueError("no answer"), None])

        def forward(self, question):
            if error := next(self.calls):
                raise error
            return self.solve(question=question)

    metric = Ranks()
    [group] = groups_of(Sometimes(), answering().lm(), metric, count=1)
    assert [len(shown) for shown in metric.shown] == [1]
    assert len(group.lost) == 1
    assert [r.policy_failure is not None for r in group.scored].count(True) == 1


def test_a_group_all_of_which_was_lost_is_not_scored():
    metric = Ranks()
    [group] = groups_of(dspy.Predict(QA), Engine(lambda asked: lm15.TransportError("down")).lm(), metric, count=1)
    assert metric.shown == []
    assert len(group.lost) == 3


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ([1.0], "one reward for each of the 3 predictions, in order; it returned 1"),
        (1.0, "it returned float"),
        ([1.0, None, 0.0], "a finite number"),
        ([1.0, float("nan"), 0.0], "a finite number"),
    ],
)
def test_a_group_metric_that_fails_loses_the_rollouts_of_its_group(returned, said):
    [group] = groups_of(dspy.Predict(QA), answering().lm(), Ranks(returned), count=1)
    assert [r.cause for r in group.lost] == ["metric"] * 3
    assert said in group.lost[0].error


def test_what_the_metric_asks_of_an_lm_is_counted_and_no_part_of_a_trajectory():
    [group] = groups_of(dspy.Predict(QA), answering("fine").lm(), Asking(), count=1)
    assert [r.usage.lm_calls for r in group.scored] == [2, 1, 1]
    assert all("verdict" not in r.trajectory for r in group.scored)
    assert group.scored[0].feedback == "fine"


def test_a_wrong_key_of_the_metric_s_lm_stops_the_run():
    def refuse(asked):
        return {"answer": "1"} if "answer" in asked.outputs else lm15.AuthError("wrong key")

    with pytest.raises(RequestError):
        groups_of(dspy.Predict(QA), Engine(refuse).lm(), Asking())


def test_a_group_metric_that_takes_too_long_loses_its_group():
    never = threading.Event()

    class Slow(Ranks):
        def score_group(self, example, predictions):
            never.wait(PATIENCE)
            return super().score_group(example, predictions)

    [group] = groups_of(dspy.Predict(QA), answering().lm(), Slow(), count=1, timeout=0.3)
    never.set()
    assert [r.cause for r in group.lost] == ["infrastructure"] * 3


class Point(BaseModel):
    x: int


class Odd:
    def __str__(self):
        return "odd"


def test_predictions_are_shown_as_json_values_whether_a_store_is_kept_or_not(tmp_path):
    class Typed(dspy.Module):
        def forward(self, question):
            return dspy.Prediction(point=Point(x=1), parts=(1, 2), odd=Odd(), trajectory={"long": "log"})

    seen = []
    for store in (None, Store(tmp_path, IDENTITY)):
        metric = Ranks()
        if store is None:
            groups_of(Typed(), answering().lm(), metric, count=1, size=1)
        else:
            with store:
                groups_of(Typed(), answering().lm(), metric, count=1, size=1, store=store)
        seen += metric.shown
    assert seen == [[{"point": {"x": 1}, "parts": [1, 2], "odd": "odd"}]] * 2


def test_the_store_gives_back_rollouts_and_rewards_without_asking_again(tmp_path):
    first, second = Ranks(), Ranks()
    engine = answering()
    for metric in (first, second):
        with Store(tmp_path, IDENTITY) as store:
            groups = groups_of(dspy.Predict(QA), engine.lm(), metric, store=store)
            assert [group.rewards for group in groups] == [(0.0, 1.0, 2.0)] * 2
    assert (len(first.shown), second.shown, engine.calls) == (2, [], 6)


def test_a_run_killed_between_rollouts_and_their_scoring_goes_on_with_the_same_rollouts(tmp_path):
    class Dies(Ranks):
        def score_group(self, example, predictions):
            raise KeyboardInterrupt

    engine, metric = answering(), Ranks()
    with pytest.raises(KeyboardInterrupt), Store(tmp_path, IDENTITY) as store:
        groups_of(dspy.Predict(QA), engine.lm(), Dies(), count=1, store=store)
    with Store(tmp_path, IDENTITY) as store:
        [group] = groups_of(dspy.Predict(QA), engine.lm(), metric, count=1, store=store)
    assert (group.rewards, engine.calls) == ((0.0, 1.0, 2.0), 3)


def test_a_rollout_that_waits_for_its_group_travels_to_another_process_and_back():
    task = RolloutTask.of(dspy.Predict(QA), MajorityVote(), Sampling("training seed 0", 1, 2, 0.7, 0.0))
    there = cloudpickle.loads(cloudpickle.dumps(task))
    with dspy.context(lm=answering().lm()):
        made = there(examples(1)[0], "s1/e0/r0")
    assert isinstance(made, Unscored)
    assert cloudpickle.loads(cloudpickle.dumps(made)).outputs == {"answer": "1"}


def test_a_program_is_evaluated_by_a_group_metric():
    with dspy.context(lm=answering().lm()):
        result = evaluate(dspy.Predict(QA), examples(3), MajorityVote(), k=2, display_progress=False)
    assert (result.mean.value, result.mean.n) == (1.0, 3)


def test_a_budget_that_ends_before_the_scoring_leaves_the_group_unscored():
    with dspy.context(lm=answering("fine").lm()):
        budget = Budget(max_lm_calls=5)  # four rollouts, and the scoring of one group
        made = evaluate(dspy.Predict(QA), examples(2), Asking(), k=2, budget=budget, num_threads=1, seed=0)
    assert "max_lm_calls=5" in made.stopped_by
    assert (made.mean.n, dict(made.lost)) == (1, {"budget": 2})


def test_a_run_learns_from_a_group_metric_and_is_taken_up_the_same(tmp_path):
    def learn(folder):
        with dspy.context(lm=simulated_lm(seed=0, cache=False)):
            optimizer = TrainingFreeGRPO(
                MajorityVote(), epochs=1, use_ground_truth=False, log_dir=folder, num_threads=4, display_progress=False
            )
            return optimizer.compile(dspy.ChainOfThought("question -> answer"), demo_examples(8, 0, "train"))

    first, again, apart = learn(tmp_path / "a"), learn(tmp_path / "a"), learn(tmp_path / "b")
    assert len(first.experience_library) > 0
    assert again.detailed_results.traffic.calls == 0
    assert len({dump_library(p.experience_library) for p in (first, again, apart)}) == 1
    assert not any(isinstance(r, Lost) for g in first.detailed_results.steps[0].groups for r in g.rollouts)
