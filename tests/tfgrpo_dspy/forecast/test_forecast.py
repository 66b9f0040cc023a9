"""The forecast: its arithmetic on hand-made pilots, and its figures against runs that were then made."""

from __future__ import annotations

from dataclasses import replace

import dspy
import pytest

from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script
from tfgrpo_dspy import SettingsError, TrainingFreeGRPO
from tfgrpo_dspy.errors import BudgetError, DataError, TooManyErrors
from tfgrpo_dspy.forecast.forecast import STAGES, Amount, Pilot, PilotGroup, Plan
from tfgrpo_dspy.forecast.scaling import scale
from tfgrpo_dspy.lm.budget import Budget
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.student import make_solver

FLAT = PilotGroup(Amount(4, 400, 40), 4, False, seconds=(2.0, 2.0, 2.0, 3.0))
TELLING = replace(FLAT, is_informative=True, summaries=Amount(4, 800, 80), extraction=Amount(1, 300, 30))
PILOT = Pilot((TELLING, FLAT), Amount(1, 100, 20), 30, 1, reflecting=6.0)
ONE_STEP = Plan(steps=(10,), epochs=1, threads=4, reused=2)


def demo(seed: int, count: int = 48, **settings):
    optimizer = TrainingFreeGRPO(number, seed=seed, display_progress=False, **{"num_threads": 8, **settings})
    return optimizer, make_solver(), demo_examples(count, seed)


def scripted(engine: Engine, *, lm=None, count=6, pilot=2, valset=None, metric=exact, price=None, **settings):
    given = {"epochs": 2, "group_size": 3, "num_threads": 2, "display_progress": False, **settings}
    with dspy.context(lm=lm or engine.lm()):
        optimizer = TrainingFreeGRPO(metric, **given)
        return optimizer.forecast(
            dspy.Predict("question -> answer"), examples(count), valset=valset, pilot=pilot, price_per_million=price
        )


# --- arithmetic ---


def test_one_step_is_the_pilot_scaled():
    made = scale(PILOT, ONE_STEP)
    informative = 10 * (1 + 0.5) / (2 + 1)  # the mean of Jeffreys' posterior
    assert made.stages["rollouts"].calls.expected == 40
    assert made.stages["rollouts"].prompt_tokens.expected == 4000
    assert made.stages["rollouts"].completion_tokens.expected == 400
    assert made.stages["summaries"].calls.expected == pytest.approx(4 * informative)
    assert made.stages["summaries"].prompt_tokens.expected == pytest.approx(800 * informative)
    assert made.stages["extractions"].prompt_tokens.expected == pytest.approx(300 * informative)
    assert made.stages["update"].calls.expected == 1
    assert made.stages["update"].prompt_tokens.expected == pytest.approx(50 + 50 * informative)
    assert "validation" not in made.stages
    assert made.stages["pilot"].calls.expected == 1, "its update sees fewer groups than the run's"


def test_the_total_is_the_sum_of_the_stages_and_not_everything_is_low_at_once():
    made = scale(PILOT, replace(ONE_STEP, steps=(10, 10, 10), epochs=3, validation=5, gate=(8, 80), gain=20))
    assert made.stages.keys() == {"pilot", *STAGES}
    for figure in ("calls", "prompt_tokens", "completion_tokens"):
        parts = [getattr(stage, figure) for stage in made.stages.values()]
        total = getattr(made.total, figure)
        assert total.expected == pytest.approx(sum(part.expected for part in parts))
        assert total.low >= sum(part.low for part in parts) - 1e-6
        assert total.high <= sum(part.high for part in parts) + 1e-6


def test_a_growing_library_lengthens_later_prompts_and_its_bound_holds():
    plan = replace(ONE_STEP, steps=(10, 10), epochs=2)
    free, bounded = scale(PILOT, plan), scale(PILOT, replace(plan, room=0.0))
    assert bounded.stages["rollouts"].prompt_tokens.expected == 8000
    grown = 30 * 1.5 * 5**0.6  # the pilot's one entry, shrunk to 1.5, five times the advantages
    assert free.stages["rollouts"].prompt_tokens.expected == pytest.approx(8000 + 40 * grown)
    assert free.stages["rollouts"].prompt_tokens.high > free.stages["rollouts"].prompt_tokens.expected
    half = scale(PILOT, replace(plan, readers=0.5))
    assert half.stages["rollouts"].prompt_tokens.expected == pytest.approx(8000 + 20 * grown)


def test_a_library_that_outgrows_its_bound_is_condensed_once_a_step():
    plan = replace(ONE_STEP, steps=(10, 10), epochs=2, room=1.0)
    without, condensing = scale(PILOT, plan), scale(PILOT, replace(plan, condenses=True))
    assert condensing.stages["update"].calls.expected == without.stages["update"].calls.expected + 2


def test_an_update_of_many_questions_asks_more_of_them_of_more_advantages():
    made = scale(replace(PILOT, update=Amount(5, 500, 100)), ONE_STEP)
    assert made.stages["update"].calls.expected == pytest.approx(1 + 4 * 5)


def test_validation_is_before_the_first_step_and_after_each():
    plan = replace(ONE_STEP, steps=(10, 10), epochs=2, validation=7)
    made = scale(replace(PILOT, validation=(Amount(2, 50, 5), Amount(2, 50, 5))), plan)
    assert made.stages["validation"].calls.expected == 2 * 7 * 3


def test_adaptive_groups_are_as_large_as_the_pilots():
    small = replace(FLAT, rollouts=Amount(2, 200, 20), size=2, seconds=(2.0, 2.0))
    made = scale(replace(PILOT, groups=(TELLING, small)), ONE_STEP)
    assert made.stages["rollouts"].calls.expected == 30
    assert made.stages["rollouts"].calls.high > 30
    assert "adaptive groups" in " ".join(made.notes)


def test_time_follows_latency_and_threads():
    one, many = (scale(PILOT, replace(ONE_STEP, threads=n)).seconds for n in (1, 1000))
    chain = 3 + 6
    busy = 40 * 2.25 + 5 * (4 + 1) * 6 / 3
    assert one.expected == pytest.approx(busy + chain / 2)
    assert many.expected == pytest.approx(chain + busy / 2000)
    cached = tuple(replace(group, seconds=()) for group in PILOT.groups)
    assert scale(replace(PILOT, groups=cached), ONE_STEP).seconds is None


def test_an_unknown_price_is_unknown_and_a_known_one_is_applied():
    assert scale(PILOT, ONE_STEP).total.cost_usd is None
    assert scale(PILOT, ONE_STEP).stages["rollouts"].cost_usd is None
    half = scale(PILOT, replace(ONE_STEP, prices={"rollouts": (1.0, 2.0)}))
    assert half.stages["rollouts"].cost_usd.expected == pytest.approx((4000 + 2 * 400) / 1e6)
    assert half.total.cost_usd is None, "part of a cost is no cost"
    made = scale(PILOT, replace(ONE_STEP, prices=dict.fromkeys(STAGES, (1.0, 2.0))))
    total = made.total.prompt_tokens.expected + 2 * made.total.completion_tokens.expected
    assert made.total.cost_usd.expected == pytest.approx(total / 1e6)


def test_more_pilots_and_less_spread_narrow_the_range():
    def width(groups):
        total = scale(replace(PILOT, groups=groups), ONE_STEP).total.calls
        return total.high - total.low

    assert width((TELLING, FLAT) * 20) < width((TELLING, FLAT) * 2)
    assert width((TELLING,)) > width((TELLING,) * 4), "one group has no spread, which is not to be sure"
    unequal = replace(FLAT, rollouts=Amount(12, 1200, 120))
    assert width((TELLING, unequal) * 4) > width((TELLING, FLAT) * 4)


def test_a_pilot_without_an_informative_group_says_that_it_guesses():
    made = scale(Pilot((FLAT, FLAT)), ONE_STEP)
    assert "guessed" in " ".join(made.notes)
    assert made.stages["summaries"].calls.low <= 1
    assert made.stages["summaries"].calls.high > 4


@pytest.mark.parametrize(("pilot", "plan"), [(Pilot(()), ONE_STEP), (PILOT, replace(ONE_STEP, steps=()))])
def test_nothing_cannot_be_scaled(pilot, plan):
    with pytest.raises(DataError, match="at least one"):
        scale(pilot, plan)


# --- against runs ---


@pytest.mark.slow
def test_the_range_covers_what_the_demo_then_takes():
    covered = 0
    for seed in range(5):
        dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
        with dspy.context(lm=simulated_lm(seed)):
            # of equal prompts at once, two would be paid
            optimizer, student, trainset = demo(seed, count=12, epochs=2, num_threads=1)
            made = optimizer.forecast(student, trainset, pilot=4)
            took = optimizer.compile(student, trainset).detailed_results.usage
        covered += made.total.calls.covers(made.spent.lm_calls + took.lm_calls - took.cached_calls)
        tokens = took.prompt_tokens + took.completion_tokens + made.spent.tokens
        low, high = (
            getattr(made.total.prompt_tokens, end) + getattr(made.total.completion_tokens, end)
            for end in ("low", "high")
        )
        covered += low <= tokens <= high
    assert covered >= 2 * 4, "about nine in ten"


def test_the_pilot_is_not_paid_twice():
    first, second = Engine(script()), Engine(script())
    trainset, student = examples(6), dspy.Predict("question -> answer")
    optimizer = TrainingFreeGRPO(exact, epochs=1, group_size=3, num_threads=1, display_progress=False)
    with dspy.context(lm=second.lm("scripted/without", cache=True)):
        optimizer.compile(student, trainset)
    with dspy.context(lm=first.lm(cache=True)):
        made = optimizer.forecast(student, trainset, pilot=2)
        assert first.calls == made.spent.lm_calls
        optimizer.compile(student, trainset)
    assert second.calls <= first.calls <= second.calls + made.stages["pilot"].calls.expected


def test_a_pilot_of_the_whole_step_is_used_in_full():
    engine = Engine(script())
    optimizer = TrainingFreeGRPO(exact, epochs=1, group_size=3, num_threads=1, display_progress=False)
    with dspy.context(lm=engine.lm(cache=True)):
        made = optimizer.forecast(dspy.Predict("question -> answer"), examples(3), pilot=9)
        calls = engine.calls
        optimizer.compile(dspy.Predict("question -> answer"), examples(3))
    assert engine.calls == calls
    assert "pilot" not in made.stages


def test_a_second_forecast_is_free_and_says_the_same_but_for_the_time():
    with dspy.context(lm=simulated_lm(0)):
        optimizer, student, trainset = demo(0)
        first, second = (optimizer.forecast(student, trainset) for _ in range(2))
    assert second.spent.lm_calls == 0
    assert second.total.prompt_tokens == first.total.prompt_tokens
    assert second.total.calls == first.total.calls
    assert first.seconds is not None
    assert second.seconds is None
    assert "nothing is known of the time" in " ".join(second.notes)


def test_batches_and_a_valset_use_the_runs_own_rollouts():
    engine = Engine(script())
    optimizer = TrainingFreeGRPO(exact, epochs=2, batch_size=3, group_size=3, num_threads=1, display_progress=False)
    student, trainset, valset = dspy.Predict("question -> answer"), examples(6), examples(4)
    with dspy.context(lm=engine.lm(cache=True)):
        made = optimizer.forecast(student, trainset, valset=valset, pilot=3)
        paid = engine.calls
        result = optimizer.compile(student, trainset, valset=valset).detailed_results
    assert result.usage.cached_calls >= paid
    assert len(made.pilot.validation) == 3
    assert made.stages["validation"].calls.expected == 4 * 5
    assert made.plan.steps == (3, 3, 3, 3)


def test_a_pilot_larger_than_the_first_batch_draws_from_the_others():
    made = scripted(Engine(script()), batch_size=1, pilot=4, lm=None)
    assert len(made.pilot.groups) == 4


def test_a_cache_that_is_off_is_said_and_paid():
    made = scripted(Engine(script()))
    assert made.stages["pilot"].calls.expected == sum((g.took for g in made.pilot.groups), made.pilot.update).calls
    assert "the run pays for them again" in " ".join(made.notes)


def test_the_student_the_optimizer_and_the_disk_stay_as_they_were(tmp_path):
    log = tmp_path / "log"
    seen = []
    engine = Engine(script())
    scripted(engine, log_dir=log, observers=[seen.append])
    assert not log.exists()
    assert seen == []


def test_a_given_price_is_used_and_none_is_unknown():
    assert scripted(Engine(script())).total.cost_usd is None
    made = scripted(Engine(script()), price={"scripted/model": (1.0, 1.0)})
    tokens = made.total.prompt_tokens.expected + made.total.completion_tokens.expected
    assert made.total.cost_usd.expected == pytest.approx(tokens / 1e6)
    budget = Budget(max_cost_usd=5, price_per_million=(1.0, 1.0))
    assert scripted(Engine(script()), budget=budget).total.cost_usd == made.total.cost_usd


def test_a_simulated_lm_is_said_to_be_one():
    with dspy.context(lm=simulated_lm(0)):
        optimizer, student, trainset = demo(0, 4)
        assert optimizer.forecast(student, trainset, pilot=1).simulated
    assert not scripted(Engine(script())).simulated


@pytest.mark.parametrize("pilot", [0, -1, 2.5, True])
def test_a_pilot_is_at_least_one_example(pilot):
    engine = Engine(script())
    with pytest.raises(SettingsError, match="pilot"):
        scripted(engine, pilot=pilot)
    assert engine.calls == 0


def test_the_budget_holds_for_the_pilot():
    engine = Engine(script())
    with pytest.raises(BudgetError, match="pilot"):
        scripted(engine, budget=Budget(max_lm_calls=2))
    assert engine.calls <= 2


def test_a_pilot_that_is_lost_is_an_error():
    def broken(example, prediction, trace=None):
        raise RuntimeError("the metric broke")

    with pytest.raises(TooManyErrors, match="the metric broke"):
        scripted(Engine(script()), metric=broken, max_errors=100)
