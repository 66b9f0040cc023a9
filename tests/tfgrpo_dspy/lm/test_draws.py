"""Draws: each rollout of a group is one of its own, whatever LM its program brings, and the same one on a re-run."""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import dspy
import pytest
from dspy.clients.engines import LM15Engine

from tests.tfgrpo_dspy.lm.test_over_http import OK, stub
from tests.tfgrpo_dspy.scripted import examples
from tfgrpo_dspy import evaluate
from tfgrpo_dspy.lm.budget import POLICY
from tfgrpo_dspy.lm.draws import DrawnCache, drawn, endpoint_of
from tfgrpo_dspy.lm.meter import Meter
from tfgrpo_dspy.lm.metering import metering
from tfgrpo_dspy.lm.scope import Draw, Listener, asking

QA = "question -> answer"
GROUPS, SIZE = 6, 8


def always(text: str):
    choice = {**OK["choices"][0], "message": {"role": "assistant", "content": f"[[ ## answer ## ]]\n{text}"}}
    return lambda n: (200, {**OK, "choices": [choice]}, {})


def counting(n: int):
    """Another answer for each request."""
    return always(str(n))(n)


def exact(example, prediction, trace=None) -> bool:
    return prediction.answer == "1"


class InContext(dspy.Module):
    def __init__(self, lm: dspy.LM) -> None:
        super().__init__()
        self.step, self.own = dspy.Predict(QA), [lm]

    def forward(self, question):
        with dspy.context(lm=self.own[0]):
            return self.step(question=question)


class AsArgument(InContext):
    def forward(self, question):
        return self.step(question=question, lm=self.own[0])


class InAGlobal(InContext):
    def forward(self, question):
        return dspy.Prediction(answer=self.own[0](f"What about {question}?")[0])


class MadeThere(InContext):
    def forward(self, question):
        lm = dspy.LM("openai/x", api_base=self.own[0].kwargs["api_base"], api_key="x", temperature=0.7)
        return self.step(question=question, lm=lm)


class InParallel(InContext):
    def forward(self, question):
        calls = [(self.step, {"question": asked, "lm": self.own[0]}) for asked in (question, f"{question}?")]
        return dspy.Parallel(num_threads=2, disable_progress_bar=True)(calls)[0]


class InThreadsWithItsContext(InContext):
    def forward(self, question):
        with ThreadPoolExecutor(1) as pool:
            context = contextvars.copy_context()
            return pool.submit(context.run, self.step, question=question, lm=self.own[0]).result()


class Awaited(InContext):
    async def aforward(self, question):
        with dspy.context(lm=self.own[0]):
            return await self.step.acall(question=question)

    forward = None


class BestOfTwo(InContext):
    def __init__(self, lm: dspy.LM) -> None:
        super().__init__(lm)
        self.step = dspy.BestOfN(dspy.Predict(QA), 2, lambda args, made: 0.0, 1.0)


class WithAnIdOfItsOwn(InContext):
    def forward(self, question):
        with dspy.context(lm=self.own[0]):
            return self.step(question=question, config={"rollout_id": 5, "temperature": 0.7})


class OfThePredictor(InContext):
    def __init__(self, lm: dspy.LM) -> None:
        super().__init__(lm)
        self.step.lm = lm

    def forward(self, question):
        return self.step(question=question)


class InARunOfItsOwn(InContext):
    """Which draws the same for every question, whatever the rollout."""

    def forward(self, question):
        asked = [dspy.Example(question="the same").with_inputs("question")]
        with dspy.context(lm=self.own[0]):
            made = evaluate(self.step, asked, exact, k=1, seed=3, num_threads=1, display_progress=False)
        return dspy.Prediction(answer=made.groups[0].scored[0].answer)


class Configured(InContext):
    def forward(self, question):
        return self.step(question=question)


KINDS = [
    Configured,
    OfThePredictor,
    InContext,
    AsArgument,
    InAGlobal,
    MadeThere,
    InParallel,
    InThreadsWithItsContext,
    BestOfTwo,
    WithAnIdOfItsOwn,
    InARunOfItsOwn,
]


def answers_of(program: dspy.Module, lm: dspy.LM, **settings) -> list[list[str]]:
    with dspy.context(lm=lm):
        made = evaluate(program, examples(GROUPS), exact, k=SIZE, num_threads=4, display_progress=False, **settings)
    return [[rollout.answer for rollout in group.scored] for group in made.groups]


def cached(api_base: str, **settings) -> dspy.LM:
    return dspy.LM("openai/x", api_base=api_base, api_key="x", temperature=0.7, num_retries=0, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_the_rollouts_of_a_group_are_draws_of_their_own_and_the_same_on_a_re_run(kind):
    with stub(counting) as server:
        lm = cached(server.api_base)
        first = answers_of(kind(lm), lm, seed=0)
        assert all(len(set(answers)) == SIZE for answers in first)
        asked = server.requests
        assert answers_of(kind(lm), lm, seed=0) == first
        assert server.requests == asked
        assert answers_of(kind(lm), lm, seed=1) != first


def test_a_seed_is_another_for_each_rollout_also_where_the_program_brings_the_lm():
    seeds = set()
    with stub(lambda n: (200, OK, {})) as server:
        lm = cached(server.api_base, seed=7)

        original = LM15Engine.complete

        def noted(self, request):
            seeds.add(request.config.seed)
            return original(self, request)

        LM15Engine.complete = noted
        try:
            answers_of(InContext(lm), lm)
        finally:
            LM15Engine.complete = original
    assert len(seeds) == GROUPS * SIZE


@pytest.mark.parametrize("kind", [Configured, InContext, InAGlobal])
def test_two_endpoints_behind_one_name_are_two(kind):
    found = []
    for text in ("1", "2"):
        with stub(always(text)) as server:
            lm = cached(server.api_base)
            with dspy.context(lm=lm):
                made = evaluate(kind(lm), examples(3), exact, k=2, seed=0, display_progress=False)
            found.append((made.mean.value, server.requests))
    assert found[0][1] == found[1][1] > 0
    assert found[1][0] == 0.0


def test_what_is_asked_of_the_reflection_lm_of_another_endpoint_is_asked_anew():
    said = []
    for text in ("1", "2"):
        with stub(always(text)) as server, metering(Meter()), asking("summary", Listener(), lm=cached(server.api_base)):
            said += [dspy.Predict(QA)(question="q?").answer for _ in range(2)]
            assert server.requests == 1
    assert said == ["1", "1", "2", "2"]


@pytest.mark.parametrize(
    ("options", "endpoint"),
    [
        ({}, ""),
        ({"api_base": "http://127.0.0.1:8000/v1/"}, "http://127.0.0.1:8000/v1"),
        ({"base_url": "https://me:secret@host/v1?key=secret"}, "https://host/v1"),
        ({"model": "openai/x"}, ""),
        ({"model": "vllm/x"}, "http://gateway/v1"),
    ],
)
def test_an_endpoint_is_its_address_without_credentials(options, endpoint, monkeypatch):
    monkeypatch.setenv("VLLM_API_BASE", "http://key@gateway/v1")
    assert endpoint_of(options) == endpoint


def test_the_cache_is_dspys_own_before_and_after_and_outside_of_a_run():
    before = dspy.cache
    with stub(counting) as server:
        lm = cached(server.api_base)
        with dspy.context(lm=lm):
            plain = dspy.Predict(QA)(question="q?").answer
            with metering(Meter()):
                assert isinstance(dspy.cache, DrawnCache)
                thread: list[str] = []
                other = threading.Thread(target=lambda: thread.append(lm("q?")[0]))
                other.start()
                other.join()
                with asking(POLICY, Listener(), Draw("r1", 1)):
                    assert dspy.Predict(QA)(question="q?").answer != plain
            assert dspy.Predict(QA)(question="q?").answer == plain
    assert dspy.cache is before


def test_a_cache_that_the_program_configures_is_told_draws_apart_too():
    def configures(example, prediction, trace=None):
        dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
        return 0.0

    with stub(counting) as server, dspy.context(lm=cached(server.api_base)):
        made = evaluate(dspy.Predict(QA), examples(3), configures, k=4, num_threads=1, display_progress=False)
    assert all(len({rollout.answer for rollout in group.scored}) == 4 for group in made.groups)


def test_a_custom_cache_is_kept_and_asked_through(monkeypatch):
    class Mine(type(dspy.cache)):
        def cache_key(self, request, ignored_args_for_cache_key=None):
            seen.append(request)
            return super().cache_key(request, ignored_args_for_cache_key)

    seen: list[dict] = []
    mine = Mine(enable_disk_cache=False, enable_memory_cache=True, disk_cache_dir=None)
    monkeypatch.setattr(dspy, "cache", mine)
    with drawn():
        assert dspy.cache.memory_cache is mine.memory_cache
        with metering(Meter()), asking(POLICY, Listener(), Draw("r1", 1)):
            dspy.cache.put({"model": "m", "messages": []}, "kept")
            assert dspy.cache.get({"model": "m", "messages": []}) == "kept"
        assert dspy.cache.get({"model": "m", "messages": []}) is None
    assert dspy.cache is mine
    assert seen


class InThreadsOfItsOwn(InContext):
    def forward(self, question):
        with ThreadPoolExecutor(1) as pool:
            return dspy.Prediction(answer=pool.submit(self.own[0], f"What about {question}?").result()[0])


def test_where_draws_cannot_be_told_apart_the_run_says_so(caplog):
    with stub(counting) as server:
        lm = cached(server.api_base)
        answers = answers_of(InThreadsOfItsOwn(lm), lm)
    assert all(len(set(group)) < SIZE for group in answers)
    (said,) = {record.message for record in caplog.records if "share one answer" in record.message}
    assert "contextvars.copy_context().run" in said
