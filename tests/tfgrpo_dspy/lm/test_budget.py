"""Budgets: the account by itself, and whole runs that must not spend more than they may."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import dspy
import pytest

from tests.tfgrpo_dspy.lm.test_over_http import OK, failing, lm, stub
from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script
from tfgrpo_dspy import TrainingFreeGRPO, evaluate
from tfgrpo_dspy.errors import BudgetError, SettingsError
from tfgrpo_dspy.lm.account import Claim, Spending
from tfgrpo_dspy.lm.budget import Budget, OutOfBudget, Spent
from tfgrpo_dspy.records.rollouts import Lost

QA = "question -> answer"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


# The value.


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "needs at least one of `max_cost_usd`, `max_tokens`, `max_lm_calls`, `max_seconds`"),
        ({"max_lm_calls": 0}, "`max_lm_calls` must be a whole number >= 1"),
        ({"max_lm_calls": 1.5}, "`max_lm_calls` must be a whole number >= 1"),
        ({"max_tokens": True}, "`max_tokens` must be a whole number >= 1"),
        ({"max_cost_usd": -1}, "`max_cost_usd` must be a number > 0"),
        ({"max_seconds": float("inf")}, "`max_seconds` must be a number > 0"),
        ({"max_cost_usd": 1, "price_per_million": (1,)}, r"`price_per_million` must be `\(input, output\)`"),
        ({"max_cost_usd": 1, "price_per_million": {"m": (1, -2)}}, "`price_per_million` must be"),
        ({"max_lm_calls": 1, "price_per_million": (1, 2)}, "does nothing without `max_cost_usd`"),
    ],
)
def test_a_budget_that_cannot_be_kept_or_caps_nothing_is_refused(values, message):
    with pytest.raises(SettingsError, match=message):
        Budget(**values)


def test_a_price_may_be_given_for_all_models_or_by_name():
    assert Budget(max_cost_usd=1, price_per_million=(1, 2)).price_of("any") == (1, 2)
    assert Budget(max_cost_usd=1, price_per_million={"a": (1, 2)}).price_of("b") is None


# The account.


def test_the_last_call_that_fits_is_made_and_the_next_is_not():
    spending = Spending(Budget(max_lm_calls=2))
    first, _ = spending.reserve(Claim("m")), spending.reserve(Claim("m"))
    with pytest.raises(OutOfBudget, match="max_lm_calls=2: 2 calls were made"):
        spending.reserve(Claim("m"))
    spending.settle(first)
    with pytest.raises(OutOfBudget):
        spending.reserve(Claim("m"))
    assert spending.refusal is not None


def test_a_call_that_was_not_made_after_all_gives_its_place_back():
    spending = Spending(Budget(max_lm_calls=1))
    spending.release(spending.reserve(Claim("m")))
    spending.settle(spending.reserve(Claim("m")))
    assert spending.spent.lm_calls == 1


def test_settling_twice_counts_once():
    spending = Spending(None)
    reservation = spending.reserve(Claim("m"))
    spending.settle(reservation, prompt_tokens=3)
    spending.settle(reservation, prompt_tokens=3)
    spending.charge(reservation)
    assert (spending.spent.lm_calls, spending.spent.tokens) == (1, 3)


def test_what_an_earlier_part_of_the_run_spent_counts():
    spending = Spending(Budget(max_lm_calls=5))
    spending.carry(Spent(lm_calls=4))
    spending.reserve(Claim("m"))
    with pytest.raises(OutOfBudget, match="5 calls"):
        spending.reserve(Claim("m"))


def test_of_many_threads_no_more_calls_pass_than_allowed():
    spending, passed = Spending(Budget(max_lm_calls=200)), []

    def call(i: int) -> None:
        try:
            reservation = spending.reserve(Claim("m"))
        except OutOfBudget:
            return
        passed.append(i)
        spending.settle(reservation)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(call, range(1000)))
    assert len(passed) == 200


def test_the_policy_leaves_calls_for_the_reflection_and_reflection_one_for_the_update():
    spending = Spending(Budget(max_lm_calls=30))
    for _ in range(25):
        spending.settle(spending.reserve(Claim("m", kept=5)))
    with pytest.raises(OutOfBudget, match="5 are kept for reflection"):
        spending.reserve(Claim("m", kept=5))
    for _ in range(4):
        spending.settle(spending.reserve(Claim("m", kept=1)))
    with pytest.raises(OutOfBudget):
        spending.reserve(Claim("m", kept=1))
    spending.reserve(Claim("m"))


def test_what_is_kept_never_starves_the_policy():
    spending = Spending(Budget(max_lm_calls=9))
    for _ in range(4):
        spending.settle(spending.reserve(Claim("m", kept=1000)))
    with pytest.raises(OutOfBudget):
        spending.reserve(Claim("m", kept=1000))


def test_tokens_are_reserved_by_the_longest_reply_so_far_and_the_length_of_the_prompt():
    spending = Spending(Budget(max_tokens=1000))
    spending.settle(spending.reserve(Claim("m", 50)), prompt_tokens=100, completion_tokens=300)
    reservation = spending.reserve(Claim("m", 50))
    assert reservation.tokens == 100 + 300
    assert spending.reserve(Claim("m", 10, max_completion_tokens=80)).tokens == 20 + 80


def test_a_call_that_may_yet_fit_waits_for_those_in_flight():
    spending, woken = Spending(Budget(max_tokens=1000)), []
    spending.settle(spending.reserve(Claim("m", 100)), prompt_tokens=100, completion_tokens=300)
    flying = spending.reserve(Claim("m", 100))
    assert spending.reserve(Claim("m", 100)) is None
    assert spending.reserve_or_wake(Claim("m", 100), "me", lambda: woken.append("me")) is None
    spending.settle(flying, prompt_tokens=100, completion_tokens=10)
    assert woken == ["me"]
    assert spending.reserve_or_wake(Claim("m", 100), "me", lambda: woken.append("me")) is not None
    assert spending.in_flight == 1


def test_a_wait_that_can_never_end_is_none_but_an_error_that_says_why():
    spending = Spending(Budget(max_tokens=1000))
    spending.settle(spending.reserve(Claim("m", 100)), prompt_tokens=100, completion_tokens=300)
    for owner in ("one", "two"):
        assert spending.reserve_or_wake(Claim("m", 1, max_completion_tokens=99), owner, lambda: None) is not None
    assert spending.reserve_or_wake(Claim("m", 150), "one", lambda: None) is None, "two may yet leave enough"
    with pytest.raises(OutOfBudget, match="whoever makes the calls in flight waits for one like this"):
        spending.reserve_or_wake(Claim("m", 150), "two", lambda: None)


def test_a_stop_ends_every_wait():
    spending, woken = Spending(Budget(max_tokens=1000)), []
    spending.settle(spending.reserve(Claim("m", 100)), prompt_tokens=100, completion_tokens=300)
    spending.reserve_or_wake(Claim("m", 100), "other", lambda: None)
    assert spending.reserve_or_wake(Claim("m", 100), "me", lambda: woken.append("me")) is None
    spending.stop("interrupted")
    assert woken == ["me"]
    with pytest.raises(OutOfBudget, match="interrupted"):
        spending.reserve_or_wake(Claim("m", 100), "me", lambda: None)


def test_a_call_that_cannot_fit_is_refused_once_nothing_is_in_flight():
    spending = Spending(Budget(max_tokens=500))
    spending.settle(spending.reserve(Claim("m", 100)), prompt_tokens=100, completion_tokens=300)
    with pytest.raises(OutOfBudget, match="max_tokens=500: 400 tokens were used, the next call may need 400"):
        spending.reserve(Claim("m", 100))


def test_money_is_reserved_at_the_price_given_or_else_by_the_dearest_call_so_far():
    priced = Spending(Budget(max_cost_usd=1.0, price_per_million=(1_000, 10_000)))
    priced.settle(priced.reserve(Claim("m", 100)), prompt_tokens=100, completion_tokens=20, cost_usd=0.3)
    assert priced.reserve(Claim("m", 100)).cost_usd == pytest.approx(0.1 + 0.2)
    reported = Spending(Budget(max_cost_usd=1.0))
    reported.settle(reported.reserve(Claim("m")), prompt_tokens=1, cost_usd=0.6)
    with pytest.raises(OutOfBudget, match=r"max_cost_usd=1: \$0.6000 was spent, the next call may cost \$0.6000"):
        reported.reserve(Claim("m"))


def test_a_call_that_is_expected_to_end_too_late_is_not_started():
    clock = Clock()
    spending = Spending(Budget(max_seconds=10), clock=clock)
    spending.settle(spending.reserve(Claim("m")), seconds=2.0)
    clock.now = 7.5
    spending.reserve(Claim("m"))
    clock.now = 8.5
    with pytest.raises(OutOfBudget, match=r"max_seconds=10: 8.5 s have passed"):
        spending.reserve(Claim("m"))


def test_a_given_up_call_is_charged_what_was_set_aside_for_it():
    spending = Spending(Budget(max_tokens=10_000))
    spending.settle(spending.reserve(Claim("m", 10)), prompt_tokens=10, completion_tokens=90)
    spending.charge(spending.reserve(Claim("m", 10)))
    assert spending.spent.tokens == 200


def test_told_to_stop_nothing_passes_whatever_the_budget():
    spending = Spending(None)
    spending.stop("interrupted")
    with pytest.raises(OutOfBudget, match="interrupted"):
        spending.reserve(Claim("m"))


# Whole runs.


def compiled(model: dspy.BaseLM, budget: Budget, *, count: int = 10, **settings) -> dspy.Module:
    given = {"epochs": 3, "group_size": 3, "num_threads": 4, "display_progress": False, **settings}
    with dspy.context(lm=model):
        return TrainingFreeGRPO(exact, budget=budget, **given).compile(dspy.Predict(QA), examples(count))


@pytest.mark.parametrize("cap", [1, 7, 40, 200])
def test_a_run_never_makes_a_call_more_than_it_may_and_ends_in_good_order(cap):
    engine = Engine(script())
    program = compiled(engine.lm(seed=None), Budget(max_lm_calls=cap), count=40)
    result = program.detailed_results
    assert engine.calls <= cap
    assert result.stopped_by.startswith(f"max_lm_calls={cap}: ")
    assert "not done: " in result.stopped_by
    assert result.traffic.calls == engine.calls
    assert program.experience_library is result.library


def test_retries_at_the_endpoint_count_as_calls():
    with stub(lambda n: failing(500, "no") if n % 2 else (200, OK, {})) as server:
        with dspy.context(lm=lm(server.api_base, num_retries=3)):
            budget = Budget(max_lm_calls=9)
            made = evaluate(dspy.Predict(QA), examples(20), exact, k=1, num_threads=4, budget=budget)
        assert server.requests == made.traffic.calls == 9
        assert made.traffic.retries >= 3


@pytest.mark.parametrize("update", ["each", "batch"])
def test_what_was_rolled_out_is_learned_from_before_the_budget_ends(update):
    engine = Engine(script())
    program = compiled(engine.lm(), Budget(max_lm_calls=60), count=40, update=update)
    (step,) = program.detailed_results.steps
    most = 1 if update == "batch" else len(step.advantages)  # what says the same is asked about once
    assert 1 <= engine.roles["update"] <= most
    assert len(program.detailed_results.library) >= 4
    assert engine.calls <= 60


def test_rollouts_that_were_not_made_are_neither_scored_nor_errors():
    engine = Engine(script())
    result = compiled(engine.lm(), Budget(max_lm_calls=20), max_errors=0).detailed_results
    (step,) = result.steps
    lost = [r for group in step.groups for r in group.rollouts if isinstance(r, Lost)]
    assert lost
    assert {r.cause for r in lost} == {"budget"}
    assert f"{len(lost)} rollouts of step 1" in result.stopped_by
    assert "2 more of 3 steps" in result.stopped_by


class Stubborn(dspy.Module):
    """Swallows every exception, even those that are none of its business."""

    def __init__(self, swallowed: type[BaseException]) -> None:
        super().__init__()
        self.ask, self.swallowed = dspy.Predict(QA), swallowed

    def forward(self, question):
        try:
            return self.ask(question=question)
        except self.swallowed:
            return dspy.Prediction(answer="1")


@pytest.mark.parametrize("swallowed", [Exception, BaseException])
def test_a_program_cannot_mistake_the_end_of_the_budget_for_a_failure_of_its_own(swallowed):
    engine = Engine(script())
    with dspy.context(lm=engine.lm()):
        made = evaluate(
            Stubborn(swallowed),
            examples(10),
            exact,
            k=1,
            num_threads=1,
            budget=Budget(max_lm_calls=4),
            display_progress=False,
        )
    assert sum(len(group.scored) for group in made.groups) == engine.calls == 4
    assert made.lost == {"budget": 6}
    assert "not done: 6 rollouts" in made.stopped_by


def test_an_evaluation_that_may_not_make_a_single_rollout_says_so():
    engine = Engine(script())
    with dspy.context(lm=engine.lm(max_tokens=10)), pytest.raises(BudgetError, match="max_seconds"):
        evaluate(dspy.Predict(QA), examples(2), exact, k=1, budget=Budget(max_seconds=1e-9), display_progress=False)


def test_answers_from_the_cache_count_for_nothing_so_a_raised_budget_continues():
    engine = Engine(script())
    model = engine.lm(cache=True)
    first = compiled(model, Budget(max_lm_calls=20)).detailed_results
    made = engine.calls
    again = compiled(model, Budget(max_lm_calls=20)).detailed_results
    assert engine.calls == made + again.traffic.calls
    assert len(first.library) < len(compiled(model, Budget(max_lm_calls=1000)).detailed_results.library)


def test_a_token_cap_is_kept():
    engine = Engine(script())  # each call takes 10 + 5 tokens
    result = compiled(engine.lm(), Budget(max_tokens=300)).detailed_results
    assert result.stopped_by.startswith("max_tokens=300: ")
    assert engine.calls * 15 <= 300
    assert result.usage.prompt_tokens + result.usage.completion_tokens <= 300


def test_a_cap_in_dollars_is_kept_at_the_price_given():
    engine = Engine(script())
    price = (1_000.0, 2_000.0)  # a call costs 10 * 0.001 + 5 * 0.002 = $0.02
    result = compiled(engine.lm(), Budget(max_cost_usd=0.5, price_per_million=price)).detailed_results
    assert result.stopped_by.startswith("max_cost_usd=0.5: ")
    assert engine.calls * 0.02 <= 0.5


def test_a_cap_in_dollars_without_a_price_is_an_error_before_the_first_call():
    engine = Engine(script())
    with pytest.raises(SettingsError, match=r"price of scripted/model is unknown; .*price_per_million=\(0.4, 1.6"):
        compiled(engine.lm(), Budget(max_cost_usd=1.0))
    with stub(lambda n: (200, OK, {})) as server:
        with pytest.raises(SettingsError, match="price of openai/x is unknown"):
            compiled(lm(server.api_base), Budget(max_cost_usd=1.0))
        assert server.requests == 0
    assert engine.calls == 0


def test_the_price_of_a_known_model_is_found():
    with stub(lambda n: (200, {**OK, "model": "gpt-4o-mini"}, {})) as server:
        known = dspy.LM("openai/gpt-4o-mini", api_base=server.api_base, api_key="x", cache=False)
        result = compiled(known, Budget(max_cost_usd=1e-4)).detailed_results
    assert result.stopped_by.startswith("max_cost_usd=0.0001: ")
    assert result.usage.cost_usd <= 1e-4


class Silent(dspy.BaseLM):
    """An LM of the old kind, which reports no cost."""

    def forward(self, prompt=None, messages=None, **kwargs):
        from dspy.clients.call_result import attributes

        return attributes({"model": "silent", "usage": {}, "choices": [OK["choices"][0]]})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_cost_that_turns_out_unknown_with_the_first_call_stops_the_run():
    with pytest.raises(SettingsError, match="price of silent is unknown"):
        compiled(Silent("silent"), Budget(max_cost_usd=1.0))


class Judge(dspy.Module):
    """Asks an LM of its own besides."""

    def __init__(self, own: dspy.BaseLM) -> None:
        super().__init__()
        self.ask, self.own = dspy.Predict(QA), [own]

    def forward(self, question):
        with dspy.context(lm=self.own[0]):
            return self.ask(question=question)


def test_calls_of_an_lm_that_the_program_brings_itself_count_too():
    engine = Engine(script())
    with dspy.context(lm=Engine(script()).lm()):
        made = evaluate(
            Judge(engine.lm()),
            examples(10),
            exact,
            k=1,
            num_threads=3,
            budget=Budget(max_lm_calls=5),
            display_progress=False,
        )
    assert engine.calls == made.traffic.calls == 5
    assert made.lost == {"budget": 5}
