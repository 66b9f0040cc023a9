"""Evaluation: k fresh rollouts a question, losses apart from wrong answers, and an honest comparison."""

from __future__ import annotations

import threading

import dspy
import pytest
from dspy import lm15

from tests.tfgrpo_dspy.scripted import Asked, Engine, exact, examples, script
from tfgrpo_dspy import DataError, ProgramError, SettingsError, TooManyErrors, TrainingFreeGRPO, compare, evaluate
from tfgrpo_dspy.errors import RequestError
from tfgrpo_dspy.lm.scope import scope_here
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.statistics.estimates import mean_at_k, pass_at_k

QA = "question -> answer"


def evaluated(engine: Engine, *, count=4, lm=None, program=None, devset=None, metric=exact, **arguments):
    given = {"k": 3, "display_progress": False, "num_threads": 1, **arguments}
    with dspy.context(lm=lm or engine.lm()):
        return evaluate(program or dspy.Predict(QA), devset or examples(count), metric, **given)


def test_every_question_is_answered_k_times_and_estimated_over_questions():
    engine = Engine(script())
    made = evaluated(engine, count=6, k=4)
    assert engine.calls == 24
    assert [len(row) for row in made.rewards] == [4] * 6
    assert [group.example.question for group in made.groups] == [f"q{i}?" for i in range(6)]
    assert made.mean == mean_at_k(made.rewards)
    assert made.pass_at(2) == pass_at_k(made.rewards, 2)
    assert made.usage == Usage(24, 0, 240, 120, None)
    assert (made.k, made.policy_failures, made.tool_calls, dict(made.lost)) == (4, 0, 0.0, {})
    assert made.seconds > 0


@pytest.mark.parametrize("k", [0, 5, -1])
def test_pass_at_more_than_was_rolled_out_is_refused(k):
    made = evaluated(Engine(script()), k=4)
    with pytest.raises(SettingsError, match=r"pass_at\(k\) needs 1 <= k <= 4"):
        made.pass_at(k)


def test_on_a_scale_to_100_an_answer_that_scores_30_does_not_pass():
    made = evaluated(Engine(lambda asked: {"answer": "7"}), metric=lambda e, p, t=None: 30.0, k=4)
    assert (made.full_marks, made.pass_at(4).value, made.pass_at(4, threshold=30).value) == (100.0, 0.0, 1.0)


def test_where_rewards_are_negative_pass_at_k_needs_a_threshold():
    made = evaluated(Engine(lambda asked: {"answer": "7"}), metric=lambda e, p, t=None: -1.0, k=2)
    assert made.pass_at(2, threshold=-1).value == 1.0
    with pytest.raises(SettingsError, match=r"give pass_at\(k, threshold=\.\.\.\)"):
        made.pass_at(2)


def test_failures_that_score_better_than_answers_are_told(caplog):
    def sometimes(asked: Asked):
        return {"answer": "1"} if "q0?" in asked.user else {"other": "x"}

    evaluated(Engine(sometimes), metric=lambda e, p, t=None: -3.0, k=1)
    assert "failure_score=0, more than the metric gave to some answers (-3)" in caplog.text


def test_losses_are_counted_by_cause_and_are_no_wrong_answers():
    def flaky(asked: Asked):
        return lm15.ServerError("busy") if "q0?" in asked.user else {"answer": "1"}

    def moody(example, prediction, trace=None):
        return 1 / 0 if example.question == "q1?" else exact(example, prediction)

    made = evaluated(Engine(flaky), metric=moody)
    assert dict(made.lost) == {"infrastructure": 3, "metric": 3}
    assert made.rewards == ((), (), (1.0,) * 3, (1.0,) * 3)
    assert made.mean.value == 1.0
    assert made.mean.n == 2


def test_policy_failures_are_scored_with_the_failure_score_and_counted():
    made = evaluated(
        Engine(script(policy="no fields")), program=dspy.Predict("question -> answer: int"), failure_score=-1.0
    )
    assert made.policy_failures == 12
    assert made.mean.value == -1.0
    assert not made.lost


def test_too_many_losses_stop_it_with_the_causes():
    with pytest.raises(TooManyErrors, match=r"max_errors=2 examples.*devset.*x rollout lost \(infrastructure\).*busy"):
        evaluated(Engine(lambda asked: lm15.ServerError("busy")), max_errors=2)


def test_when_every_rollout_was_lost_it_says_so():
    with pytest.raises((DataError, TooManyErrors), match=r"busy|no scored rollout"):
        evaluated(Engine(lambda asked: lm15.ServerError("busy")), count=1)


def test_a_wrong_key_ends_it_at_the_first_answer_with_the_providers_words():
    engine = Engine(lambda asked: lm15.AuthError("wrong key"))
    with pytest.raises(RequestError, match="wrong key"):
        evaluated(engine, count=50)
    assert engine.calls == 1


def test_rollouts_are_fresh_apart_from_training_from_validation_and_from_other_evaluations():
    drawn, reply = [], script()

    def noted(asked):
        if (draw := scope_here().draw) is not None:
            drawn.append(draw.name)
        return reply(asked)

    engine = Engine(noted)
    with dspy.context(lm=engine.lm()):
        optimizer = TrainingFreeGRPO(exact, epochs=2, display_progress=False)
        program = optimizer.compile(dspy.Predict(QA), examples(4), valset=examples(4))
    for seed in (None, None, 0, 1):
        evaluated(engine, program=program, seed=seed)
    rollouts = 2 * 4 * 5 + 3 * 4 + 4 * 4 * 3
    assert len(drawn) == len(set(drawn)) == rollouts


def test_an_evaluation_is_not_answered_by_the_cache_but_its_own_repetition_with_the_same_seed_is():
    engine = Engine(script())
    lm = engine.lm(cache=True)
    first = evaluated(engine, lm=lm, seed=7)
    evaluated(engine, lm=lm)
    evaluated(engine, lm=lm)
    assert engine.calls == 36
    again = evaluated(engine, lm=lm, seed=7, num_threads=4)
    assert engine.calls == 36
    assert again.rewards == first.rewards
    taken = first.usage
    assert again.usage == Usage(
        12, 12, spared_prompt_tokens=taken.prompt_tokens, spared_completion_tokens=taken.completion_tokens
    )


def test_the_program_is_not_changed():
    program = dspy.ChainOfThought(QA)
    before = program.dump_state()
    evaluated(Engine(script()), program=program)
    assert program.dump_state() == before


def test_threads_do_not_change_the_outcome():
    rewards = {evaluated(Engine(script()), count=8, seed=1, num_threads=n).rewards for n in (1, 8)}
    assert len(rewards) == 1


def test_it_is_run_in_threads_of_its_own_with_the_callers_context():
    threads = set()

    def metric(example, prediction, trace=None):
        threads.add(threading.get_ident())
        return dspy.settings.max_errors == 55

    with dspy.context(max_errors=55):
        assert evaluated(Engine(script()), metric=metric).mean.value == 1.0
    assert threading.get_ident() not in threads


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"k": 0}, SettingsError, "k, the rollouts per question, must be a whole number >= 1"),
        ({"tracking": print}, SettingsError, "`tracking` of `evaluate` must be `True`, an experiment's name or an"),
        ({"k": "5"}, SettingsError, "k, the rollouts per question, must be a whole number >= 1"),
        ({"k": 2.5}, SettingsError, "k, the rollouts per question, must be a whole number >= 1"),
        ({"temperature": 0}, SettingsError, "`temperature` must be a number > 0"),
        ({"temperature": "hot"}, SettingsError, "`temperature` must be a number > 0"),
        ({"num_threads": 0}, SettingsError, "num_threads"),
        ({"metric": None}, SettingsError, "metric must be a function"),
        ({"devset": [{}]}, DataError, r"devset\[0\] is a dict"),
        ({"program": print}, ProgramError, "the program must be a dspy.Module instance"),
        ({"program": dspy.Predict}, ProgramError, "got the class Predict: call it"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_before_any_call(arguments, error, sentence):
    engine = Engine(script())
    with pytest.raises(error, match=sentence):
        evaluated(engine, **arguments)
    assert engine.calls == 0


def test_an_empty_devset_and_a_missing_lm_are_refused():
    with pytest.raises(DataError, match="the devset is empty"):
        evaluate(dspy.Predict(QA), [], exact)
    with pytest.raises(SettingsError, match="no LM is configured"):
        evaluate(dspy.Predict(QA), examples(1), exact)


# --- compare ---


def right_with(probability: float):
    return Engine(lambda asked: {"answer": "1" if asked.draw().random() < probability else "0"})


def test_the_same_program_twice_is_not_distinguishable():
    engine = right_with(0.5)
    comparison = compare(evaluated(engine, count=30, seed=1), evaluated(engine, count=30, seed=2))
    assert comparison.verdict == "not distinguishable"
    assert comparison.difference.low <= 0 <= comparison.difference.high


def test_a_clear_gain_and_a_clear_loss_are_called_so():
    weak, strong = evaluated(right_with(0.2), count=30), evaluated(right_with(0.9), count=30, k=5)
    assert compare(weak, strong).verdict == "better"
    assert compare(strong, weak).verdict == "worse"
    assert compare(weak, strong).difference.value == pytest.approx(-compare(strong, weak).difference.value)


@pytest.mark.parametrize("other", [examples(5), examples(4)[::-1], examples(4, answer="2")])
def test_evaluations_of_different_devsets_are_not_compared(other):
    engine = right_with(0.5)
    with pytest.raises(DataError, match="same devset, in the same order"):
        compare(evaluated(engine), evaluated(engine, devset=other))
