"""The engine around an LM's own: requests counted once whoever asks, repeated, given up, hedged, written down."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dspy
import httpx
import pytest
from dspy.lm15 import Message, RateLimitError, Request, ServerError, response_to_events
from dspy.utils import DummyLM
from dspy.utils.callback import BaseCallback
from dspy.utils.exceptions import LMError, LMRateLimitError, LMServerError, LMTimeoutError

from tests.tfgrpo_dspy.lm.test_over_http import OK, failing, lm, stub
from tests.tfgrpo_dspy.loopback import PATIENCE
from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script
from tfgrpo_dspy import evaluate
from tfgrpo_dspy.lm import flight, pacing
from tfgrpo_dspy.lm.account import Spending
from tfgrpo_dspy.lm.budget import POLICY, SUMMARY, UPDATE, Budget, OutOfBudget
from tfgrpo_dspy.lm.meter import Meter
from tfgrpo_dspy.lm.metering import metering
from tfgrpo_dspy.lm.scope import Listener, asking
from tfgrpo_dspy.lm.verdicts.replies import TooLongReply
from tfgrpo_dspy.records.rollouts import Lost

QA = "question -> answer"


@contextmanager
def metered(model: dspy.BaseLM, meter: Meter | None = None, **settings) -> Iterator[Meter]:
    meter = meter or Meter(**settings)
    with dspy.context(lm=model), metering(meter):
        yield meter


def ask(question: str = "q?"):
    return dspy.Predict(QA)(question=question)


# The contract.


def test_an_lm_is_metered_while_a_run_is_under_way_and_is_what_it_was_before_and_after():
    model = Engine(script()).lm()
    before = dict(vars(model))
    with metered(model) as meter:
        ask()
        assert {**vars(model), "history": []} == {**before, "history": []}
    with dspy.context(lm=model):
        ask()
    assert meter.traffic.calls == 1
    assert type(model) is dspy.LM


def test_history_usage_and_callbacks_are_those_of_dspy():
    class Callback(BaseCallback):
        def on_lm_start(self, call_id, instance, inputs):
            seen.append(("start", type(instance).__name__, sorted(inputs)))

        def on_lm_end(self, call_id, outputs, exception=None):
            seen.append(("end", outputs is not None, exception))

    told, seen = [], []
    for is_metered in (False, True):
        model = Engine(script()).lm()
        seen = []
        context = metered(model) if is_metered else dspy.context(lm=model)
        with context, dspy.track_usage() as tracker, dspy.context(callbacks=[Callback()]):
            ask()
        entry = {k: v for k, v in model.history[-1].items() if k not in {"timestamp", "uuid", "response"}}
        told.append((list(seen), tracker.get_total_tokens(), entry))
    assert told[0] == told[1]


def test_a_dummy_lm_works_and_counts():
    with metered(DummyLM([{"answer": "a"}, {"answer": "b"}])) as meter:
        assert [ask().answer, ask().answer] == ["a", "b"]
    assert meter.traffic.calls == 2


class Old(dspy.BaseLM):
    def forward(self, prompt=None, messages=None, **kwargs):
        from dspy.clients.call_result import attributes

        return attributes({"model": "old", "usage": OK["usage"], "choices": OK["choices"]})


class OwnWay(Old):
    def __call__(self, *args, **kwargs):
        return super().__call__(*args, **kwargs)


class Wrapped(dspy.LM):
    def __call__(self, *args, **kwargs):
        return super().__call__(*args, **kwargs)


class OwnForward(dspy.LM):
    """Asks its endpoint in a way of its own, through DSPy's."""

    def forward(self, prompt=None, messages=None, **kwargs):
        return super().forward(prompt=prompt, messages=messages, **kwargs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", [Old, OwnWay])
def test_lms_of_the_old_kind_and_with_calls_of_their_own_are_counted(kind):
    with metered(kind("old"), budget=Budget(max_lm_calls=2)) as meter:
        for _ in range(2):
            assert ask().answer == "1"
        with pytest.raises(OutOfBudget):
            ask()
    assert meter.spending.spent.lm_calls == 2
    assert meter.spending.spent.tokens == 20


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", [dspy.LM, Wrapped, OwnForward])
def test_a_request_is_reserved_for_once_whoever_wraps_the_call(kind):
    with stub(lambda n: (200, OK, {})) as server:
        model = kind("openai/x", api_base=server.api_base, api_key="x", cache=False, num_retries=3)
        with metered(model.copy(temperature=0.5).copy(), budget=Budget(max_lm_calls=3)) as meter:
            for _ in range(3):
                ask()
            with pytest.raises(OutOfBudget, match="max_lm_calls=3: 3 calls were made"):
                ask()
        assert server.requests == meter.traffic.calls == meter.spending.spent.lm_calls == 3


class Twice:
    """An engine of the user's that asks another one, and that again if it must."""

    def __init__(self, inner: Engine, times: int) -> None:
        self.inner, self.times = inner, times

    def complete(self, request):
        return [self.inner.complete(request) for _ in range(self.times)][-1]


@pytest.mark.parametrize("times", [1, 3])
def test_an_engine_that_asks_another_is_counted_by_what_that_sends(times):
    inner = Engine(script())
    outer = dspy.LM("mine/x", engine=Twice(inner, times), cache=False)
    listener = Listener()
    with metered(outer, most=1) as meter, metering(meter, [inner.lm()]), asking(POLICY, listener):
        ask()
    assert meter.traffic.calls == meter.spending.spent.lm_calls == listener.usage.lm_calls == inner.calls == times
    assert meter.limiter.in_flight == meter.spending.in_flight == 0


def test_several_candidates_count_what_they_are():
    with stub(lambda n: (200, OK, {})) as server:
        with metered(lm(server.api_base)) as meter:
            dspy.Predict(QA, n=3, temperature=0.7)(question="q?")
        assert server.requests == meter.traffic.calls == 3
    three = {**OK, "choices": [{**OK["choices"][0], "index": i} for i in range(3)]}
    with stub(lambda n: (200, three, {})) as server:
        with metered(lm(server.api_base, engine="litellm")) as meter:
            assert len(dspy.Predict(QA, n=3, temperature=0.7)(question="q?").completions) == 3
        assert server.requests == meter.traffic.calls == 1


def test_an_option_that_only_litellm_carries_still_reaches_the_endpoint():
    with stub(lambda n: (200, OK, {})) as server, metered(lm(server.api_base, extra_body={"top_k": 1})) as meter:
        ask()
        assert server.requests == meter.traffic.calls == 1


def test_coroutines_are_metered_too():
    engine = Engine(script())

    async def several(count: int) -> list:
        return await asyncio.gather(*(dspy.Predict(QA).acall(question=f"{i}?") for i in range(count)))

    with metered(engine.lm(), budget=Budget(max_lm_calls=3), most=2) as meter:
        assert len(asyncio.run(several(3))) == 3
        with pytest.raises(OutOfBudget):
            asyncio.run(several(1))
    assert engine.calls == meter.traffic.calls == meter.spending.spent.lm_calls == 3
    assert engine.most_in_flight <= 2


def test_coroutines_try_again_after_failures_that_may_pass():
    with stub(lambda n: failing(500, "no") if n == 1 else (200, OK, {})) as server:
        with metered(lm(server.api_base, num_retries=1)) as meter:
            assert asyncio.run(dspy.Predict(QA).acall(question="q?")).answer == "1"
        assert meter.traffic.failures == {"LMServerError 500": 1}
        assert (server.requests, meter.traffic.calls, meter.traffic.retries) == (2, 2, 1)


class Streaming(Engine):
    def stream(self, request):
        return response_to_events(self.complete(request))


def test_streams_are_metered():
    engine, listener = Streaming(script()), Listener()
    with metered(engine.lm(), budget=Budget(max_lm_calls=1)) as meter, asking(POLICY, listener):
        events = list(engine.stream(Request(model="scripted/model", messages=(Message.user("q"),))))
    assert events[-1].type == "end"
    assert meter.traffic.calls == 1
    assert listener.usage.prompt_tokens == 10


def test_a_stream_without_a_word_is_no_answer_of_the_models():
    class Streams(dspy.Module):
        def __init__(self):
            super().__init__()
            self.ask = dspy.Predict(QA)

        def forward(self, question):
            said = dspy.streamify(self.ask, async_streaming=False)(question=question)
            return next((each for each in said if isinstance(each, dspy.Prediction)), None)

    engine = Streaming(script(policy=lambda asked: "" if "q0?" in asked.user else "babble"))
    with dspy.context(lm=dspy.LM("scripted/model", engine=engine, cache=False, num_retries=0)):
        made = evaluate(Streams(), examples(2), exact, k=1, max_errors=5, max_outage=None, display_progress=False)
    assert (dict(made.lost), made.policy_failures) == ({"infrastructure": 1}, 1)


# Retries.


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_an_lm_is_asked_as_often_as_it_says_and_every_attempt_is_counted(retries):
    with stub(lambda n: failing(503, "no", **{"Retry-After": "0.01"})) as server:
        with metered(lm(server.api_base, num_retries=retries)) as meter, pytest.raises(LMServerError):
            ask()
        assert server.requests == meter.traffic.calls == retries + 1
        assert meter.traffic.retries == retries


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
@pytest.mark.parametrize("failure", [(503, "busy"), (500, "flagged by our content filter")])
def test_a_call_that_failed_for_good_is_no_part_of_the_next_one_that_asks_the_same(failure, engine):
    """A judge may ask the same of another answer, a program may try again itself."""
    with stub(lambda n: failing(*failure, **{"Retry-After": "0"}) if n <= 2 else (200, OK, {})) as server:
        with metered(lm(server.api_base, engine=engine, num_retries=1), budget=Budget(max_lm_calls=9)) as meter:
            with pytest.raises(LMServerError):
                ask()
            failed = server.requests
            for _ in range(2 - failed):
                with pytest.raises(LMServerError):
                    ask()
            before = meter.traffic.retries
            assert ask().answer == "1"
        assert server.requests == 3
        assert meter.traffic.retries == before


def test_a_candidate_that_came_at_the_second_try_leaves_the_next_one_its_own():
    with stub(lambda n: failing(503, "busy", **{"Retry-After": "0"}) if n == 1 else (200, OK, {})) as server:
        with metered(lm(server.api_base, num_retries=1)) as meter:
            dspy.Predict(QA, n=3, temperature=0.7)(question="q?")
        assert (server.requests, meter.traffic.retries) == (4, 1)


def test_what_will_not_pass_is_not_tried_again():
    with stub(lambda n: failing(400, "bad")) as server:
        with metered(lm(server.api_base, num_retries=3)), pytest.raises(LMError):
            ask()
        assert server.requests == 1


def test_an_endpoint_that_asks_for_an_hour_is_not_waited_for():
    with stub(lambda n: failing(429, "later", **{"Retry-After": "3600"})) as server:
        with metered(lm(server.api_base, num_retries=3)), pytest.raises(LMRateLimitError, match="later"):
            ask()
        assert server.requests == 1


def test_waits_grow_are_jittered_by_the_seed_and_obey_the_endpoint():
    error = ServerError("no")
    waits = [Meter(seed=1).wait_for(error, attempt, "m") for attempt in range(6)]
    assert waits == [Meter(seed=1).wait_for(error, attempt, "m") for attempt in range(6)]
    assert waits != [Meter(seed=2).wait_for(error, attempt, "m") for attempt in range(6)]
    assert all(0.125 * 4**i <= wait <= 0.25 * 4**i for i, wait in enumerate(waits[:4]))
    assert max(waits) <= 30
    assert Meter().wait_for(RateLimitError("no", retry_after=1.5), 0, "m") == 1.5
    by_litellm, answer = RateLimitError("no"), httpx.Response(429, headers={"Retry-After": "1.5"})
    by_litellm.__cause__ = httpx.HTTPStatusError("no", request=httpx.Request("POST", "http://x"), response=answer)
    assert Meter().wait_for(by_litellm, 0, "m") == 1.5


@pytest.mark.parametrize("way", ["thread", "task"])
def test_a_run_that_is_stopped_does_not_sit_out_its_waits(way):
    asked = threading.Event()

    def refuse(n: int):
        asked.set()
        return failing(429, "later", **{"Retry-After": "100"})

    def one() -> None:
        try:
            ask() if way == "thread" else asyncio.run(dspy.Predict(QA).acall(question="q?"))
        except OutOfBudget as ended:
            endings.append(str(ended))

    endings: list[str] = []
    with stub(refuse) as server, metered(lm(server.api_base, num_retries=3)) as meter:
        waiting = threading.Thread(target=contextvars.copy_context().run, args=(one,))
        waiting.start()
        assert asked.wait(PATIENCE)
        meter.stop("a person interrupted it")
        waiting.join()
    assert endings == ["a person interrupted it"]


# Replies that are none.


def replying(content: str, reason: str = "stop", tokens: int = 3) -> dict:
    choice = {**OK["choices"][0], "finish_reason": reason, "message": {"role": "assistant", "content": content}}
    return {**OK, "choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 0}}


def test_an_empty_reply_is_asked_for_again_and_kept_out_of_the_cache():
    with stub(lambda n: (200, replying("") if n == 1 else OK, {})) as server:
        with metered(lm(server.api_base, num_retries=1, cache=True)) as meter:
            assert ask().answer == "1"
            assert ask().answer == "1"
        assert server.requests == 2
        assert meter.traffic.failures == {"EmptyReply": 1}
        assert meter.spending.spent.tokens == 10 + 10


def test_an_endpoint_that_stays_empty_is_an_infrastructure_failure():
    with (
        stub(lambda n: (200, replying(""), {})) as server,
        metered(lm(server.api_base)),
        pytest.raises(LMServerError, match="without content"),
    ):
        ask()


def test_a_reply_cut_before_its_bound_is_asked_for_again_and_one_that_used_it_up_is_the_policys():
    cut = replying(OK["choices"][0]["message"]["content"], "length", 50)
    with stub(lambda n: (200, cut if n == 1 else OK, {})) as server:
        with metered(lm(server.api_base, num_retries=1, max_tokens=100)):
            ask()
        assert server.requests == 2
    with stub(lambda n: (200, cut, {})) as server:
        with metered(lm(server.api_base, num_retries=1, max_tokens=50)):
            assert ask().answer == "1"
        assert server.requests == 1


def test_a_runaway_reply_without_a_bound_is_the_policys_own():
    runaway = replying(OK["choices"][0]["message"]["content"], "length", 9000)
    with stub(lambda n: (200, runaway, {})) as server:
        with metered(lm(server.api_base, num_retries=1)):
            ask()
        assert server.requests == 1


def test_half_a_summary_is_none_even_if_it_used_its_bound_up():
    cut = replying(OK["choices"][0]["message"]["content"], "length", 50)
    with stub(lambda n: (200, cut, {})) as server, metered(lm(server.api_base, max_tokens=50)):
        with asking(SUMMARY, Listener()), pytest.raises(LMError, match="more briefly") as caught:
            ask()
        assert isinstance(caught.value.__cause__, TooLongReply)
        assert server.requests == 1


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
            self.open.wait(PATIENCE)
            return {"answer": "late"}
        return {"answer": "prompt"}


def learned(meter: Meter, seconds: float = 0.001) -> Meter:
    """The meter after enough answers of that latency."""
    for _ in range(20):
        meter.answered(("scripted/model", "policy"), seconds)
        meter.answered(("openai/x", "policy"), seconds)
    meter._sent = 1000
    return meter


def test_a_hanging_engine_is_given_up_after_the_timeout_that_was_set():
    gate = Gate(1)
    engine = Engine(script(policy=gate))
    with metered(engine.lm(num_retries=1), call_timeout=1.0) as meter:
        assert ask().answer == "prompt"
    assert meter.traffic.failures == {"timeout": 1}
    assert meter.limiter.in_flight == meter.spending.in_flight == 0
    gate.open.set()


def test_a_hanging_coroutine_is_given_up_after_the_timeout_that_was_set():
    hung = threading.Event()

    class Hanging:
        async def complete(self, request):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                hung.set()
                raise

    model = dspy.LM("mine/x", engine=Engine(script()), async_engine=Hanging(), cache=False, num_retries=0)
    with metered(model, call_timeout=0.05) as meter, pytest.raises(LMTimeoutError, match=r"no answer within 0\.05 s"):
        asyncio.run(dspy.Predict(QA).acall(question="q?"))
    assert hung.is_set()
    assert meter.traffic.failures == {"timeout": 1}


def test_a_call_begun_before_anything_was_known_is_given_up_once_it_is_known_to_hang(monkeypatch):
    monkeypatch.setattr(pacing, "_STEPS", (0.1,))
    gate, meter = threading.Event(), Meter()

    def hang(n: int):
        learned(meter)
        gate.wait(PATIENCE)
        return 200, OK, {}

    with stub(hang) as server, metered(lm(server.api_base), meter):
        with pytest.raises(LMTimeoutError, match=r"no answer within 0.1 s; the request was given up"):
            ask()
        gate.set()
    assert meter.traffic.failures == {"timeout": 1}
    assert meter.limiter.in_flight == meter.spending.in_flight == 0


@pytest.mark.parametrize("hedge", [0.0, 0.5])
def test_calls_of_dspys_own_engine_take_no_thread_to_watch_them(hedge):
    seen = []

    def reply(n: int):
        seen.append({thread for thread in threading.enumerate() if thread.name == "tfgrpo-helper"})
        return 200, OK, {}

    with stub(reply) as server, metered(lm(server.api_base), learned(Meter(hedge=hedge), 5.0)):
        before = {thread for thread in threading.enumerate() if thread.name == "tfgrpo-helper"}
        ask()
    assert seen[0] <= before


def test_the_limit_of_a_rollout_does_not_cut_an_update():
    meter = Meter(call_timeout=5.0)
    assert meter.allowed(("m", "policy"), 0, None) == 5.0
    assert meter.allowed(("m", "policy"), 2, None) == 5.0
    assert meter.allowed(("m", UPDATE), 0, None) == 20.0
    assert meter.allowed(("m", UPDATE), 1, None) == 40.0
    for _ in range(20):
        meter.answered(("m", UPDATE), 30.0)
    assert meter.allowed(("m", UPDATE), 0, None) == 90.0


def test_nothing_may_take_for_ever_before_its_latency_is_known():
    assert Meter().allowed(("m", "policy"), 0, None) == Meter().allowed(("m", "policy"), 3, None) == 600.0
    assert Meter().allowed(("m", "policy"), 0, 1200.0) == 1200.0, "the user gave their LM more"


def test_a_straggler_is_repeated_and_the_first_answer_wins():
    gate = Gate(1)
    with metered(Engine(script(policy=gate)).lm(cache=True), learned(Meter(hedge=0.1))) as meter:
        assert ask().answer == "prompt"
        assert ask().answer == "prompt"  # the loser's reply is not in the cache
    assert meter.traffic.hedges == 1
    assert meter.spending.spent.lm_calls == meter.traffic.calls - 1000 == 2
    assert meter.limiter.in_flight == meter.spending.in_flight == 0
    gate.open.set()


def test_no_more_calls_are_repeated_than_allowed():
    kind = ("scripted/model", "policy")
    assert learned(Meter()).hedging_delay(kind) is None
    assert learned(Meter(hedge=0.0005)).hedging_delay(kind) is None
    meter = learned(Meter(hedge=0.001))
    assert meter.hedging_delay(kind) == 0.001
    meter.hedged()
    assert meter.hedging_delay(kind) is None
    assert Meter(hedge=0.5).hedging_delay(kind) is None, "what is slow is not known yet"


def test_a_straggler_is_not_repeated_when_the_budget_allows_no_more(monkeypatch):
    gate = Gate(1)
    engine = Engine(script(policy=gate))
    refused, reserve = threading.Event(), Spending.reserve

    def noted(self, claim, **how):
        refused.set()
        return reserve(self, claim, **how)

    monkeypatch.setattr(Spending, "reserve", noted)
    with metered(engine.lm(), learned(Meter(Budget(max_lm_calls=1), hedge=1.0))) as meter:
        asking_ = threading.Thread(target=contextvars.copy_context().run, args=(ask,))
        asking_.start()
        assert refused.wait(PATIENCE)
        gate.open.set()
        asking_.join()
    assert (gate.requests, meter.traffic.hedges) == (1, 0)
    assert meter.stopped_by is None, "nothing that was needed was refused"


def test_hedging_does_not_change_what_a_deterministic_lm_says():
    engine = Engine(script())
    plain, hedged = [], []
    for i in range(30):
        model = engine.lm().copy(rollout_id=i, temperature=0.7, seed=i)
        with dspy.context(lm=model):
            plain.append(ask().answer)
        with metered(model, learned(Meter(hedge=1.0), 0.0)):
            hedged.append(ask().answer)
    assert hedged == plain


def test_a_helper_whose_task_was_left_ends_and_is_not_used_again():
    ended = threading.Event()

    def for_ever() -> None:
        try:
            while True:
                ended.wait(0.001)
        except BaseException:
            ended.set()
            raise

    with pytest.raises(flight.HelperTimeout, match=r"timed out after 0\.05 s"):
        flight.within(0.05, for_ever)
    assert ended.wait(PATIENCE)
    assert flight.within(10, lambda: "another") == "another"


# Rollouts that take too long.


class Hanging(dspy.Module):
    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self.ask, self.gate = dspy.Predict(QA), [gate]

    def forward(self, question):
        if question == "q1?":
            self.gate[0].wait(PATIENCE)
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
            rollout_timeout=1.5,
            display_progress=False,
        )
    (lost,) = (rollout for group in made.groups for rollout in group.lost)
    assert isinstance(lost, Lost)
    assert lost.cause == "infrastructure"
    assert lost.error.startswith("timed out after 1.5 s")
    assert engine.calls == 2
    gate.set()


def test_the_configured_lm_of_a_run_is_metered_so_a_metric_that_asks_it_is_too():
    engine = Engine(script())

    def judged(example, prediction, trace=None):
        return dspy.Predict("answer -> verdict")(answer="x") is not None

    with dspy.context(lm=engine.lm()):
        made = evaluate(dspy.Predict(QA), examples(2), judged, k=1, num_threads=2, display_progress=False)
    assert made.traffic.calls == engine.calls == 4
