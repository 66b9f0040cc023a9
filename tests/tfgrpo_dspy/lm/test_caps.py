"""Caps hold at the server: whoever wraps the LM, whatever asks it, under faults, hedges, kills and several threads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import dspy
import pytest

from tests.tfgrpo_dspy.lm.raw import watchdog
from tests.tfgrpo_dspy.lm.test_over_http import OK, failing, stub
from tests.tfgrpo_dspy.loopback import free_port, listens, until
from tests.tfgrpo_dspy.scripted import exact, examples
from tfgrpo_dspy import Budget, TrainingFreeGRPO, Usage, evaluate
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.runtime.stored import reading
from tfgrpo_dspy.simulated import demo_examples, running_server

QA = "question -> answer"
CALLS = 40
ROOT = Path(__file__).parents[3]
OWN_PROCESS = "A_TEST_IN_A_PROCESS_OF_ITS_OWN"
KEY = "sk-of-a-proxy-on-loopback-that-lives-for-a-test"


class Subclass(dspy.LM):
    """Somebody's own, with calls of their own."""

    def __call__(self, *args, **kwargs):
        return super().__call__(*args, **kwargs)

    async def acall(self, *args, **kwargs):
        return await super().acall(*args, **kwargs)


@contextlib.contextmanager
def plain(url: str) -> Iterator[dspy.LM]:
    yield dspy.LM("openai/m", api_base=url, api_key="x", cache=False, seed=1)


@contextlib.contextmanager
def subclassed(url: str) -> Iterator[dspy.LM]:
    yield Subclass("openai/m", api_base=url, api_key="x", cache=False, seed=1)


@contextlib.contextmanager
def by_litellm(url: str) -> Iterator[dspy.LM]:
    yield dspy.LM("openai/m", api_base=url, api_key="x", cache=False, seed=1, engine="litellm")


@contextlib.contextmanager
def openinference(url: str) -> Iterator[dspy.LM]:
    """As users of Arize Phoenix, and many of Langfuse, have it."""
    from openinference.instrumentation.dspy import DSPyInstrumentor

    instrumentor = DSPyInstrumentor()
    instrumentor.instrument()
    try:
        with plain(url) as lm:
            yield lm
    finally:
        instrumentor.uninstrument()


@contextlib.contextmanager
def autolog(url: str) -> Iterator[dspy.LM]:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/autolog.db")
    mlflow.dspy.autolog()
    try:
        with plain(url) as lm:
            yield lm
    finally:
        mlflow.dspy.autolog(disable=True)


@contextlib.contextmanager
def litellm_proxy(url: str) -> Iterator[dspy.LM]:
    """A LiteLLM proxy on loopback in front of the endpoint."""
    port = free_port()
    model = {"model_name": "m", "litellm_params": {"model": "openai/m", "api_base": url, "api_key": "x"}}
    config = {"model_list": [model], "litellm_settings": {"num_retries": 0}, "general_settings": {"master_key": KEY}}
    Path("proxy.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", "uvicorn", "litellm.proxy.proxy_server:app", "--port", str(port)]
    told = {**os.environ, "CONFIG_FILE_PATH": "proxy.yaml"}
    with subprocess.Popen(command, env=told, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: process.poll() is not None or listens(port))
            yield dspy.LM("openai/m", api_base=f"http://127.0.0.1:{port}/v1", api_key=KEY, cache=False, seed=1)
        finally:
            process.terminate()


WRAPPINGS = [plain, subclassed, by_litellm, autolog]
CAPS = {
    "calls": Budget(max_lm_calls=CALLS),
    "tokens": Budget(max_tokens=CALLS * 500),
    "dollars": Budget(max_cost_usd=0.02, price_per_million=(1.0, 1.0)),
    "seconds": Budget(max_seconds=120.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("wrapping", WRAPPINGS, ids=lambda wrapping: wrapping.__name__)
def test_compile_and_evaluate_keep_every_cap_and_count_what_the_server_did(wrapping, cap):
    served: list = []
    with watchdog(), running_server(seed=0, on_exchange=served.append) as url, wrapping(url) as lm:
        keeps_counts_and_ends(CAPS[cap], lm, served)


@pytest.mark.slow
@pytest.mark.parametrize("wrapping", [openinference, litellm_proxy], ids=lambda wrapping: wrapping.__name__)
def test_what_takes_longer_to_start_than_to_keep_every_cap_is_started_once(wrapping):
    if wrapping is openinference and OWN_PROCESS not in os.environ:  # it looks through every class that there is
        this = f"{__file__}::{test_what_takes_longer_to_start_than_to_keep_every_cap_is_started_once.__name__}"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
        command.append(f"{this}[openinference]")
        ended = subprocess.run(command, cwd=ROOT, env={**os.environ, OWN_PROCESS: "1"}, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout
        return
    served: list = []
    with watchdog(), running_server(seed=0, on_exchange=served.append) as url, wrapping(url) as lm:
        for budget in CAPS.values():
            keeps_counts_and_ends(budget, lm, served)


def keeps_counts_and_ends(budget: Budget, lm: dspy.LM, served: list) -> None:
    with dspy.context(lm=lm):
        served.clear()
        optimizer = TrainingFreeGRPO(
            number, epochs=1, group_size=3, num_threads=8, budget=budget, display_progress=False
        )
        result = optimizer.compile(dspy.ChainOfThought(QA), demo_examples(6, 0)).detailed_results
        assert result.traffic.calls == len(served)
        keeps(budget, len(served), result.usage)
        served.clear()
        made = evaluate(
            dspy.ChainOfThought(QA), demo_examples(12, 0), number, k=3, num_threads=8, budget=budget,
            display_progress=False,
        )  # fmt: skip
        assert made.traffic.calls == len(served)
        keeps(budget, len(served), made.usage)


def keeps(budget: Budget, calls: int, usage: Usage) -> None:
    """A reply longer than every one before it may exceed the last two by its surplus."""
    took = usage.prompt_tokens + usage.completion_tokens
    assert took > 50 * calls
    assert not usage.is_estimate
    assert calls <= (budget.max_lm_calls or calls)
    assert took <= 1.05 * (budget.max_tokens or took)
    assert took / 1e6 <= 1.05 * (budget.max_cost_usd or took)


# Threads of the program's own.


class InThreads(dspy.Module):
    """Asks an LM that it keeps in a global, in threads that know of no context."""

    def __init__(self, lm: dspy.LM, pool: ThreadPoolExecutor | None = None) -> None:
        super().__init__()
        self.solve, self.own = dspy.ChainOfThought(QA), [lm, pool]

    def forward(self, question):
        lm, pool = self.own
        ask = [f"{i}: rephrase {question}" for i in range(3)]
        with contextlib.nullcontext(pool) if pool is not None else ThreadPoolExecutor(3) as threads:
            list(threads.map(lm, ask))
        return self.solve(question=question)


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("is_the_configured_one", [True, False])
@pytest.mark.parametrize("is_older", [True, False])
def test_calls_in_threads_of_the_programs_own_count(is_the_configured_one, is_older, status):
    """Counted at the server, whatever fails: a thread from before the run is known by the LM that it asks."""
    flaky = lambda n: failing(500, "no", **{"Retry-After": "0"}) if status == 500 and n % 3 == 0 else (200, OK, {})  # noqa: E731
    with watchdog(), stub(flaky) as server, ThreadPoolExecutor(3) as pool:
        lm = dspy.LM("openai/m", api_base=server.api_base, api_key="x", cache=False)
        own = lm if is_the_configured_one else dspy.LM("openai/own", api_base=server.api_base, api_key="x", cache=False)
        list(pool.map(str, range(9)))
        with dspy.context(lm=lm):
            made = evaluate(
                InThreads(own, pool if is_older and is_the_configured_one else None), examples(20), exact, k=1,
                num_threads=4, budget=Budget(max_lm_calls=CALLS), display_progress=False,
            )  # fmt: skip
        assert server.requests == made.traffic.calls == CALLS
        assert made.stopped_by.startswith(f"max_lm_calls={CALLS}")


def test_calls_that_cannot_be_told_from_anybodys_are_let_through_and_said(caplog):
    with watchdog(), stub(lambda n: (200, OK, {})) as server, ThreadPoolExecutor(3) as pool:
        lm = dspy.LM("openai/m", api_base=server.api_base, api_key="x", cache=False)
        own = dspy.LM("openai/own", api_base=server.api_base, api_key="x", cache=False)
        list(pool.map(str, range(9)))
        with dspy.context(lm=lm):
            made = evaluate(InThreads(own, pool), examples(4), exact, k=1, num_threads=2, display_progress=False)
        assert server.requests == made.traffic.calls + 4 * 3
    (said,) = {record.message for record in caplog.records if "not counted" in record.message}
    assert said.startswith("openai/own is asked by a thread that was there before the run")


def test_others_of_the_process_go_on_when_a_run_may_not():
    """A server in the same process, say, that asks another LM."""
    with watchdog(), stub(lambda n: (200, OK, {})) as server, ThreadPoolExecutor(1) as pool:
        list(pool.map(str, range(3)))
        lm = dspy.LM("openai/m", api_base=server.api_base, api_key="x", cache=False)
        other = dspy.LM("openai/other", api_base=server.api_base, api_key="x", cache=False)
        asked: list[str] = []

        def metric(example, prediction, trace=None):
            asked.append(pool.submit(other, "hello").result()[0])
            return 1.0

        with dspy.context(lm=lm):
            made = evaluate(
                dspy.Predict(QA), examples(9), metric, k=1, num_threads=1, budget=Budget(max_lm_calls=3),
                display_progress=False,
            )  # fmt: skip
        assert made.traffic.calls == len(asked) == 3
        assert pool.submit(other, "hello").result()


# Programs of other kinds.


class Awaits(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ask = dspy.Predict(QA)

    async def aforward(self, question):
        made = await asyncio.gather(*(self.ask.acall(question=f"{question} {i}") for i in range(3)))
        return made[0]


class Fans(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ask = dspy.Predict(QA)

    def forward(self, question):
        calls = [(self.ask, {"question": f"{question} {i}"}) for i in range(3)]
        return dspy.Parallel(num_threads=3, disable_progress_bar=True)(calls)[0]


class Chooses(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ask = dspy.BestOfN(dspy.Predict(QA), 3, lambda args, made: 0.0, 1.0)

    def forward(self, question):
        return self.ask(question=question)


class Evaluates(dspy.Module):
    """Has a run within each rollout, with a budget of its own that would allow for more."""

    def __init__(self) -> None:
        super().__init__()
        self.ask = dspy.Predict(QA)

    def forward(self, question):
        data, budget = [dspy.Example(question=question, answer="1").with_inputs("question")], Budget(max_lm_calls=999)
        made = evaluate(self.ask, data, exact, k=3, num_threads=3, budget=budget, display_progress=False)
        return dspy.Prediction(answer=f"{made.mean.value:g}")


class Stacks(dspy.Module):
    """Asks through an LM that asks another."""

    def __init__(self) -> None:
        super().__init__()
        self.ask = dspy.Predict(QA)

    def forward(self, question):
        return self.ask(question=question, lm=dspy.LM("mine/m", engine=Asks(dspy.settings.lm), cache=False))


class Asks:
    def __init__(self, lm: dspy.LM) -> None:
        self.lm = lm

    def complete(self, request):
        return self.lm(replace(request, model=self.lm.model))


@pytest.mark.parametrize("engine", ["auto", "litellm"])
@pytest.mark.parametrize(
    "program", [Awaits, Fans, Chooses, Evaluates, Stacks, lambda: dspy.Predict(QA, n=3, temperature=0.7)]
)
@pytest.mark.parametrize("hedge", [0.0, 1.0])
def test_programs_of_every_kind_keep_the_cap_under_faults(program, engine, hedge):
    def faulty(n: int):
        return failing(503, "busy", **{"Retry-After": "0"}) if n % 4 == 0 else (200, OK, {})

    with watchdog(), stub(faulty) as server:
        lm = dspy.LM("openai/m", api_base=server.api_base, api_key="x", cache=False, num_retries=9, engine=engine)
        with dspy.context(lm=lm):
            made = evaluate(
                program(), examples(40), exact, k=1, num_threads=6, budget=Budget(max_lm_calls=CALLS), hedge=hedge,
                display_progress=False,
            )  # fmt: skip
        assert server.requests <= made.traffic.calls <= CALLS
        # a request is ended when another answered first, and asyncio cancels the siblings of a coroutine that may not
        # go on, some of them just before they connect
        assert server.requests == CALLS or program is Awaits or hedge
        assert made.lost.keys() == {"budget"}


def test_two_runs_at_once_each_keep_their_own_cap():
    def one(model: str, cap: int):
        with dspy.context(lm=dspy.LM(f"openai/{model}", api_base=server.api_base, api_key="x", cache=False)):
            return evaluate(
                Fans(), examples(20), exact, k=1, num_threads=3, budget=Budget(max_lm_calls=cap), display_progress=False
            ).traffic.calls

    with watchdog(), stub(lambda n: (200, OK, {})) as server, ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(one, "a", 20), pool.submit(one, "b", 30)
        assert (first.result(), second.result()) == (20, 30)
        assert server.requests == 50


def test_a_run_that_was_killed_and_taken_up_keeps_its_cap_over_both():
    """What was in flight at a kill counts, answered or not; everything before is kept and not asked for again."""
    killed = """
import os, sys, dspy
from tests.tfgrpo_dspy.scripted import examples
from tfgrpo_dspy import Budget, TrainingFreeGRPO

calls = 0
def metric(example, prediction, trace=None):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os._exit(9)
    return 1.0

lm = dspy.LM("openai/m", api_base=sys.argv[1], api_key="x", cache=False)
with dspy.context(lm=lm):
    made = TrainingFreeGRPO(metric, epochs=1, group_size=3, num_threads=4, budget=Budget(max_lm_calls=40),
        log_dir="log", display_progress=False).compile(dspy.Predict("question -> answer"), examples(20))
assert made.detailed_results.stopped_by.startswith("max_lm_calls=40"), made.detailed_results.stopped_by
"""
    with watchdog(), stub(lambda n: (200, OK, {})) as server:
        for kills, kill_at in enumerate((10, 8, 1000), 1):
            command = [sys.executable, "-c", killed, server.api_base, str(kill_at)]
            ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
            assert ended.returncode == (9 if kill_at < 1000 else 0)
            with reading("log") as stored:
                in_flight = 4 * min(kills, 2)
                assert stored.counts["training"] >= server.requests - in_flight
                assert server.requests <= stored.spent.lm_calls <= min(server.requests + in_flight, 40)
