"""Metered LMs: DSPy's own contract kept, requests counted, slow ones given up or repeated."""

from __future__ import annotations

import asyncio
import threading

import dspy
import pytest
from dspy.utils import DummyLM
from dspy.utils.exceptions import LMServerError, LMTimeoutError

from tests.tfgrpo_dspy.lm.test_over_http import OK, failing, lm, stub
from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script
from tfgrpo_dspy import evaluate
from tfgrpo_dspy.lm import pacing
from tfgrpo_dspy.lm.budget import Budget, OutOfBudget
from tfgrpo_dspy.lm.meter import EXTRACTION, SUMMARY, EmptyReply, Meter
from tfgrpo_dspy.lm.metered import Metered, TooLongReply, copy_lm, metering, share_lm
from tfgrpo_dspy.records.rollouts import Lost

QA = "question -> answer"


def metered(model: dspy.BaseLM, meter: Meter | None = None, **settings) -> tuple[dspy.BaseLM, Meter]:
    meter = meter or Meter(**settings)
    with meter.active():
        return copy_lm(model), meter


def ask(model: dspy.BaseLM, question: str = "q?"):
    with dspy.context(lm=model):
        return dspy.Predict(QA)(question=question)


# The contract.


def test_a_copy_is_metered_and_the_original_is_not():
    original = Engine(script()).lm()
    copied, meter = metered(original)
    ask(copied)
    assert meter.traffic.calls == 1
    assert isinstance(copied, Metered)
    assert isinstance(copied, dspy.LM)
    assert not isinstance(original, Metered)
    assert copied.dump_state() == original.dump_state() if hasattr(original._engine_spec, "dump_state") else True
    assert isinstance(copied.copy(temperature=1.0), Metered)


def test_without_a_run_a_copy_is_a_plain_one():
    assert not isinstance(copy_lm(Engine(script()).lm()), Metered)


def test_history_usage_and_callbacks_are_those_of_dspy():
    seen = []

    class Callback(dspy.utils.callback.BaseCallback):
        def on_lm_start(self, call_id, instance, inputs):
            seen.append(("start", type(instance).__name__, sorted(inputs)))

        def on_lm_end(self, call_id, outputs, exception=None):
            seen.append(("end", outputs is not None, exception))

    plain, copied = Engine(script()).lm(), metered(Engine(script()).lm())[0]
    told = []
    for model in (plain, copied):
        seen.clear()
        with dspy.track_usage() as tracker, dspy.context(callbacks=[Callback()]):
            ask(model)
        entry = {k: v for k, v in model.history[-1].items() if k not in {"timestamp", "uuid", "response"}}
        told.append((list(seen), tracker.get_total_tokens(), entry))
    assert told[0] == told[1]


def test_metered_and_plain_lms_answer_each_other_from_the_cache():
    engine = Engine(script())
    plain = engine.lm(cache=True)
    copied, meter = metered(plain)
    first = ask(plain)
    assert ask(copied).answer == first.answer
    assert (engine.calls, meter.traffic.calls) == (1, 0)
    ask(copied, "another?")
    ask(plain, "another?")
    assert engine.calls == 2


def test_the_timeout_does_not_change_what_is_found_in_the_cache():
    with stub(lambda n: (200, OK, {})) as server:
        model = lm(server.api_base, cache=True)
        ask(metered(model, call_timeout=5.0)[0])
        ask(metered(model, call_timeout=7.0)[0])
        ask(model)
        assert server.requests == 1


def test_a_dummy_lm_works_and_counts():
    copied, meter = metered(DummyLM([{"answer": "a"}, {"answer": "b"}]))
    assert [ask(copied).answer, ask(copied).answer] == ["a", "b"]
    assert meter.traffic.calls == 2


class Old(dspy.BaseLM):
    def forward(self, prompt=None, messages=None, **kwargs):
        from dspy.clients.call_result import attributes

        return attributes({"model": "old", "usage": OK["usage"], "choices": OK["choices"]})


class OwnWay(Old):
    def __call__(self, *args, **kwargs):
        return super().__call__(*args, **kwargs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", [Old, OwnWay])
def test_lms_of_the_old_kind_and_with_calls_of_their_own_are_counted(kind):
    copied, meter = metered(kind("old"), budget=Budget(max_lm_calls=2))
    for _ in range(2):
        assert ask(copied).answer == "1"
    with pytest.raises(OutOfBudget):
        ask(copied)
    assert meter.spending.spent.lm_calls <= 2


def test_coroutines_are_metered_too():
    engine = Engine(script())
    copied, meter = metered(engine.lm(), budget=Budget(max_lm_calls=3), most=2)

    async def several(count: int) -> list:
        with dspy.context(lm=copied):
            return await asyncio.gather(*(dspy.Predict(QA).acall(question=f"{i}?") for i in range(count)))

    assert len(asyncio.run(several(3))) == 3
    with pytest.raises(OutOfBudget):
        asyncio.run(several(1))
    assert engine.calls == meter.traffic.calls == 3


def test_coroutines_try_again_after_failures_that_may_pass():
    with stub(lambda n: failing(500, "no") if n == 1 else (200, OK, {})) as server:
        copied, meter = metered(lm(server.api_base, num_retries=1))

        async def one():
            with dspy.context(lm=copied):
                return await dspy.Predict(QA).acall(question="q?")

        assert asyncio.run(one()).answer == "1"
        assert meter.traffic.failures == {"LMServerError 500": 1}


def test_the_calls_of_a_role_share_a_copy_unless_its_history_must_tell_them_apart():
    model, own_way = Engine(script()).lm(), OwnWay("old")
    assert not isinstance(share_lm(model, SUMMARY), Metered), "no run is under way"
    meter = Meter()
    with meter.active():
        shared = share_lm(model, SUMMARY)
        assert share_lm(model, SUMMARY) is shared
        assert share_lm(model, EXTRACTION) is not shared
        assert share_lm(own_way, SUMMARY) is not share_lm(own_way, SUMMARY)
    assert isinstance(shared, Metered)
    with Meter().active():
        assert share_lm(model, SUMMARY) is not shared


# Retries.


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_an_lm_is_asked_as_often_as_it_says_and_every_attempt_is_counted(retries):
    with stub(lambda n: failing(503, "no", **{"Retry-After": "0.01"})) as server:
        copied, meter = metered(lm(server.api_base, num_retries=retries))
        with pytest.raises(LMServerError):
            ask(copied)
        assert server.requests == meter.traffic.calls == retries + 1
        assert meter.traffic.retries == retries


def test_what_will_not_pass_is_not_tried_again():
    with stub(lambda n: failing(400, "bad")) as server:
        copied, _ = metered(lm(server.api_base, num_retries=3))
        with pytest.raises(dspy.utils.exceptions.LMError):
            ask(copied)
        assert server.requests == 1


def test_an_endpoint_that_asks_for_an_hour_is_not_waited_for():
    with stub(lambda n: failing(429, "later", **{"Retry-After": "3600"})) as server:
        copied, _ = metered(lm(server.api_base, num_retries=3))
        with pytest.raises(dspy.utils.exceptions.LMRateLimitError, match="later"):
            ask(copied)
        assert server.requests == 1


def test_waits_grow_are_jittered_by_the_seed_and_obey_the_endpoint():
    model, error = Engine(script()).lm(), LMServerError("no")
    waits = [Meter(seed=1).wait(model, error, attempt) for attempt in range(6)]
    assert waits == [Meter(seed=1).wait(model, error, attempt) for attempt in range(6)]
    assert waits != [Meter(seed=2).wait(model, error, attempt) for attempt in range(6)]
    assert all(0.125 * 4**i <= wait <= 0.25 * 4**i for i, wait in enumerate(waits[:4]))
    assert max(waits) <= 30
    assert Meter().wait(model, LMServerError("no", retry_after=1.5), 0) == 1.5


def test_told_to_stop_a_run_does_not_sit_out_its_waits():
    meter = Meter()
    meter.stop("interrupted")
    meter.pause(3600)


# Replies that are none.


def replying(content: str, reason: str = "stop", tokens: int = 3) -> dict:
    choice = {**OK["choices"][0], "finish_reason": reason, "message": {"role": "assistant", "content": content}}
    return {**OK, "choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 0}}


def test_an_empty_reply_is_asked_for_again_and_kept_out_of_the_cache():
    with stub(lambda n: (200, replying("") if n == 1 else OK, {})) as server:
        copied, meter = metered(lm(server.api_base, num_retries=1, cache=True))
        assert ask(copied).answer == "1"
        assert ask(copied).answer == "1"
        assert server.requests == 2
        assert meter.traffic.failures == {"EmptyReply": 1}
        assert meter.spending.spent.tokens == 10 + 10


def test_an_endpoint_that_stays_empty_is_an_infrastructure_failure():
    with stub(lambda n: (200, replying(""), {})) as server, pytest.raises(EmptyReply, match="without content"):
        ask(metered(lm(server.api_base, num_retries=1))[0])


def test_a_reply_cut_before_its_bound_is_asked_for_again_and_one_that_used_it_up_is_the_policys():
    cut = replying(OK["choices"][0]["message"]["content"], "length", 50)
    with stub(lambda n: (200, cut if n == 1 else OK, {})) as server:
        ask(metered(lm(server.api_base, num_retries=1, max_tokens=100))[0])
        assert server.requests == 2
    with stub(lambda n: (200, cut, {})) as server:
        assert ask(metered(lm(server.api_base, num_retries=1, max_tokens=50))[0]).answer == "1"
        assert server.requests == 1


def test_a_runaway_reply_without_a_bound_is_the_policys_own():
    runaway = replying(OK["choices"][0]["message"]["content"], "length", 9000)
    with stub(lambda n: (200, runaway, {})) as server:
        ask(metered(lm(server.api_base, num_retries=1))[0])
        assert server.requests == 1


def test_half_a_summary_is_none_even_if_it_used_its_bound_up():
    cut = replying(OK["choices"][0]["message"]["content"], "length", 50)
    with stub(lambda n: (200, cut, {})) as server, Meter().active():
        copied = copy_lm(lm(server.api_base, max_tokens=50), SUMMARY)
        with pytest.raises(TooLongReply, match="more briefly"):
            ask(copied)


# Calls that take too long.


class Gate:
    """An endpoint whose n-th request waits until it is let go."""

    def __init__(self, *held: int) -> None:
        self.held, self.open, self.requests = held, threading.Event(), 0
        self.lock = threading.Lock()

    def __call__(self, asked):
        with self.lock:
            self.requests += 1
            number = self.requests
        if number in self.held:
            self.open.wait(20)
            return {"answer": "late"}
        return {"answer": "prompt"}


def learned(meter: Meter, seconds: float = 0.001) -> Meter:
    """The meter after enough answers of that latency."""
    for _ in range(20):
        meter.latencies.add(("scripted/model", "policy"), seconds)
        meter.latencies.add(("openai/x", "policy"), seconds)
    meter._sent = 1000
    return meter


def test_a_hanging_endpoint_is_given_up_after_the_timeout_that_was_set():
    gate = Gate(1)
    engine = Engine(script(policy=gate))
    copied, meter = metered(engine.lm(num_retries=1), call_timeout=0.05)
    assert ask(copied).answer == "prompt"
    assert meter.traffic.failures == {"timeout": 1}
    gate.open.set()


def test_a_call_begun_before_anything_was_known_is_given_up_once_it_is_known_to_hang(monkeypatch):
    monkeypatch.setattr(pacing, "_STEPS", (0.1,))
    gate, meter = threading.Event(), Meter()

    def hang(n: int):
        learned(meter)
        gate.wait(20)
        return 200, OK, {}

    with stub(hang) as server:
        copied, _ = metered(lm(server.api_base), meter)
        with pytest.raises(LMTimeoutError, match=r"no answer within 0.6 s; the request was given up"):
            ask(copied)
        gate.set()
    assert meter.traffic.failures == {"timeout": 1}
    assert meter.limiter.in_flight == meter.spending.in_flight == 0


@pytest.mark.parametrize(("known", "helpers"), [(False, 1), (True, 0)])
def test_only_calls_of_which_nothing_is_known_take_a_thread_to_watch_them(known, helpers):
    running = []

    def reply(n: int):
        running.append(sum(thread.name == "tfgrpo-helper" for thread in threading.enumerate()))
        return 200, OK, {}

    before = sum(thread.name == "tfgrpo-helper" for thread in threading.enumerate())
    with stub(reply) as server, (learned(Meter()) if known else Meter()).active():
        ask(copy_lm(lm(server.api_base), SUMMARY))
    assert running == [before + helpers]


def test_a_straggler_is_repeated_and_the_first_answer_wins():
    gate = Gate(1)
    engine = Engine(script(policy=gate))
    copied, meter = metered(engine.lm(cache=True), learned(Meter(hedge=0.1)))
    assert ask(copied).answer == "prompt"
    assert meter.traffic.hedges == 1
    assert meter.spending.spent.lm_calls == 1  # the other one is still in flight
    gate.open.set()
    assert ask(copied).answer == "prompt"  # the loser's reply is not in the cache


def test_no_more_calls_are_repeated_than_allowed():
    kind = ("scripted/model", "policy")
    assert learned(Meter()).hedging_delay(kind) is None
    assert learned(Meter(hedge=0.0005)).hedging_delay(kind) is None
    meter = learned(Meter(hedge=0.001))
    assert meter.hedging_delay(kind) == 0.001
    meter.hedged()
    assert meter.hedging_delay(kind) is None
    assert Meter(hedge=0.5).hedging_delay(kind) is None, "what is slow is not known yet"


def test_a_straggler_is_not_repeated_when_the_budget_allows_no_more():
    gate = Gate(1)
    engine = Engine(script(policy=gate))
    copied, meter = metered(engine.lm(), learned(Meter(Budget(max_lm_calls=1), hedge=1.0)))
    refused = threading.Event()
    stopping = meter.spending.try_reserve

    def try_reserve(claim, **how):
        refused.set()
        return stopping(claim, **how)

    meter.spending.try_reserve = try_reserve
    asking = threading.Thread(target=ask, args=(copied,))
    asking.start()
    assert refused.wait(10)
    gate.open.set()
    asking.join(10)
    assert (gate.requests, meter.traffic.hedges) == (1, 0)
    assert meter.stopped_by is None, "nothing that was needed was refused"


def test_hedging_does_not_change_what_a_deterministic_lm_says():
    engine = Engine(script())
    plain = [ask(engine.lm().copy(rollout_id=i, temperature=0.7, seed=i)).answer for i in range(30)]
    meter = learned(Meter(hedge=1.0), 0.0)
    hedged = [ask(metered(engine.lm().copy(rollout_id=i, temperature=0.7, seed=i), meter)[0]).answer for i in range(30)]
    assert hedged == plain


# Rollouts that take too long.


class Hanging(dspy.Module):
    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self.ask, self.gate = dspy.Predict(QA), [gate]

    def forward(self, question):
        if question == "q1?":
            self.gate[0].wait(20)
        return self.ask(question=question)

    def __deepcopy__(self, memo):
        return self


def test_a_rollout_that_hangs_is_lost_in_time_and_makes_no_call_later():
    gate, engine = threading.Event(), Engine(script())
    with dspy.context(lm=engine.lm()):
        made = evaluate(
            Hanging(gate),
            examples(3),
            exact,
            k=1,
            num_threads=1,
            rollout_timeout=0.2,
            display_progress=False,
        )
    (lost,) = (rollout for group in made.groups for rollout in group.lost)
    assert isinstance(lost, Lost)
    assert lost.cause == "infrastructure"
    assert lost.error.startswith("timed out after 0.2 s")
    assert engine.calls == 2
    gate.set()


def test_the_configured_lm_of_a_run_is_metered_so_a_metric_that_asks_it_is_too():
    engine = Engine(script())

    def judged(example, prediction, trace=None):
        return dspy.Predict("answer -> verdict")(answer="x") is not None

    with dspy.context(lm=engine.lm()):
        made = evaluate(dspy.Predict(QA), examples(2), judged, k=1, num_threads=2, display_progress=False)
    assert made.traffic.calls == engine.calls == 4
    meter = Meter()
    with dspy.context(lm=engine.lm()), metering(meter):
        assert isinstance(dspy.settings.lm, Metered)
