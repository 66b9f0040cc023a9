"""Adaptive groups: what is rolled out depends on rewards alone, and what counts rollouts counts the real ones."""

from __future__ import annotations

import io

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.tfgrpo_dspy.scripted import Engine, exact, examples, guess, script
from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.lm.budget import Budget
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.observers.metrics import step_metrics
from tfgrpo_dspy.observers.progress import ProgressBar
from tfgrpo_dspy.records.events import GroupFinished, RolloutFinished
from tfgrpo_dspy.records.rollouts import Group, Lost, Scored, reward_estimate
from tfgrpo_dspy.rollouts.adaptive import Stopping
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.statistics.estimates import mean_at_k

QA = "question -> answer"


def group(*rewards: float | None, step: int = 1, cause: str = "infrastructure") -> Group:
    rollouts = tuple(
        Lost(f"s{step}/e0/r{i}", cause, "lost", Usage(), 0.0)
        if reward is None
        else Scored(f"s{step}/e0/r{i}", reward, "", "", "", 0, Usage(), 0.0)
        for i, reward in enumerate(rewards)
    )
    return Group(f"s{step}/e0", dspy.Example(question="q"), rollouts, 2)


RULE = Stopping(2, 1e-9)


# The rule.


def test_a_contrast_ends_a_group_and_equal_rewards_do_not():
    assert RULE.is_enough(group(0, 1))
    assert not RULE.is_enough(group(1, 1))
    assert not RULE.is_enough(group(0.5, 0.5, 0.5))
    assert not RULE.is_enough(group(1, None)), "one rollout is no group"


def test_a_group_is_hopeless_when_it_starts_as_its_examples_last_group_ended():
    again = RULE.after([group(1, 1, 1, 1, 1)])
    assert again.is_enough(group(1, 1, step=2))
    assert not again.is_enough(group(0, 0, step=2)), "the library changed something"
    assert not again.is_enough(group(1, None, step=2)), "too little was seen"
    assert again.is_enough(group(1, None, 1, step=2))


def test_it_stays_hopeless_until_something_changes():
    later = RULE.after([group(0, 0, 0, 0, 0)]).after([group(0, 0, step=2)])
    assert later.is_enough(group(0, 0, step=3))
    assert not later.after([group(0, 1, step=3)]).is_enough(group(0, 0, step=4))


def test_nothing_is_made_after_the_budget_and_nothing_is_learned_from_it():
    assert RULE.is_enough(group(1, None, cause="budget"))
    assert not RULE.after([group(1, 1, None, cause="budget")]).is_enough(group(1, 1, step=2))


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=9))
def test_whoever_follows_the_rule_ends_with_the_first_contrast(rewards):
    made = next((n for n in range(2, len(rewards)) if RULE.is_enough(group(*rewards[:n]))), len(rewards))
    assert len(set(rewards[: made - 1])) == 1 or made == 2
    assert made == len(rewards) or len(set(rewards[:made])) > 1


# The setting.


@pytest.mark.parametrize(
    ("least", "message"),
    [
        (1, "whole number >= 2"),
        (5, "`min_group_size` must be below `group_size=5`"),
        (6, "below"),
        (2.0, "whole number"),
    ],
)
def test_a_least_size_that_means_nothing_is_refused(least, message):
    with pytest.raises(SettingsError, match=message):
        Settings(min_group_size=least)


class Majority:
    def score_group(self, example, predictions):
        return [1.0 for _ in predictions]


def test_a_metric_of_whole_groups_cannot_decide_when_they_are_whole():
    with pytest.raises(SettingsError, match="this metric scores whole groups"):
        TrainingFreeGRPO(Majority(), min_group_size=2)


# Whole runs.


def solved_or_guessed(asked):
    """Even questions are answered at random, odd ones always right."""
    return {"answer": "1"} if int(asked.field("question").strip("q?")) % 2 else guess(asked)


def learned(engine: Engine, observers=(), **settings) -> dspy.Module:
    given = {"epochs": 3, "group_size": 5, "min_group_size": 2, "num_threads": 4, "display_progress": False, **settings}
    with dspy.context(lm=engine.lm()):
        return TrainingFreeGRPO(exact, observers=observers, **given).compile(dspy.Predict(QA), examples(8))


def test_groups_stop_at_a_contrast_and_the_solved_ones_cost_little_from_the_second_epoch_on():
    engine = Engine(script(policy=solved_or_guessed))
    steps = learned(engine).detailed_results.steps
    for record in steps:
        for whole in record.groups:
            rewards = whole.rewards
            assert [r.name for r in whole.rollouts] == [f"{whole.name}/r{i}" for i in range(len(rewards))]
            assert len(rewards) == 2 or len(set(rewards[:-1])) == 1, "it went on after a contrast"
            if int(whole.name.rpartition("e")[2]) % 2:
                assert len(rewards) == (5 if record.step == 1 else 2)
    rolled = sum(len(g.rollouts) for record in steps for g in record.groups)
    assert engine.roles["policy"] == rolled < 3 * 8 * 5
    summaries = sum(len(g.rollouts) for record in steps for g in record.groups if g.is_informative(1e-9))
    assert engine.roles["summary"] == summaries


def test_the_same_seed_learns_the_same_library_whatever_the_timing_and_over_a_resumed_run(tmp_path):
    one, many = (learned(Engine(script()), num_threads=threads) for threads in (1, 8))
    learned(Engine(script()), log_dir=tmp_path, budget=Budget(max_lm_calls=25))
    resumed = learned(Engine(script()), log_dir=tmp_path)
    texts = {dump_library(program.experience_library) for program in (one, many, resumed)}
    assert len(texts) == 1
    rolled = [[len(g.rollouts) for s in p.detailed_results.steps for g in s.groups] for p in (one, many, resumed)]
    assert rolled[0] == rolled[1] == rolled[2]


def test_events_metrics_and_progress_count_what_was_rolled_out():
    seen: list = []
    program = learned(Engine(script(policy=solved_or_guessed)), [seen.append])
    rolled = sum(len(g.rollouts) for s in program.detailed_results.steps for g in s.groups)
    assert sum(isinstance(event, RolloutFinished) for event in seen) == rolled
    assert sum(isinstance(event, GroupFinished) for event in seen) == 3 * 8
    counted = [step_metrics(s, Settings(min_group_size=2))["rollouts/ok"] for s in program.detailed_results.steps]
    assert sum(counted) == rolled
    drawn = Console(file=io.StringIO(), force_terminal=True, width=220, color_system=None)
    bar, shown = ProgressBar(drawn), []
    for event in seen:
        bar(event)
        shown += [(task.total, task.completed) for task in bar._bars.tasks] if isinstance(event, GroupFinished) else []
    sizes = [sum(len(g.rollouts) for g in s.groups) for s in program.detailed_results.steps]
    assert shown[7::8] == [(size, size) for size in sizes]
    assert "at most 120 rollouts" in drawn.file.getvalue()


def test_the_mean_reward_is_that_of_rollouts_that_no_reward_called_for():
    stopped = [group(1, 1, 1, 0), group(0, 1), group(1, 1, 0)]
    assert reward_estimate(stopped) == mean_at_k([(1, 1), (0, 1), (1, 1)])


def test_a_forecast_takes_groups_to_be_as_large_as_the_pilots():
    engine = Engine(script())
    with dspy.context(lm=engine.lm()):
        whole, small = (
            TrainingFreeGRPO(exact, min_group_size=least, num_threads=4).forecast(dspy.Predict(QA), examples(8))
            for least in (None, 2)
        )
    assert small.stages["rollouts"].calls.expected < whole.stages["rollouts"].calls.expected
    assert any("adaptive groups" in note for note in small.notes)
