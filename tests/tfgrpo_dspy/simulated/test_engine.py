from __future__ import annotations

import asyncio
import json
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Literal

import dspy
import pytest
from dspy.lm15 import Config, Message, Request
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.simulated import AsyncSimulatedEngine, SimulatedEngine, demo_examples, simulated_lm

QUESTION = demo_examples(1, 4)[0].question
SYSTEM = "[G0] When solving a problem, check the calculation carefully."


def request(seed=None, text=QUESTION, temperature=0.7, **config):
    settings = Config(seed=seed, temperature=temperature, **config)
    return Request(model="simulated/frozen-lm", messages=(Message.user(text),), system=SYSTEM, config=settings)


def texts(engine, requests):
    return [engine.complete(r).message.text for r in requests]


def test_the_same_seed_and_request_give_the_same_reply_in_any_order():
    requests = [request(seed) for seed in range(30)]
    forwards, backwards = SimulatedEngine(1), SimulatedEngine(1)
    assert texts(forwards, requests) == texts(backwards, requests[::-1])[::-1]
    assert texts(forwards, requests) == texts(forwards, requests)


def test_another_seed_of_request_or_engine_gives_other_replies():
    requests = [request(seed) for seed in range(30)]
    assert len(set(texts(SimulatedEngine(1), requests))) > 1
    assert texts(SimulatedEngine(1), requests) != texts(SimulatedEngine(2), requests)


def test_without_a_seed_a_repeated_request_varies_in_a_sequence_of_its_own():
    first, second = SimulatedEngine(1), SimulatedEngine(1)
    sequence = texts(first, [request()] * 30)
    assert len(set(sequence)) > 1
    mixed = texts(second, [r for _ in range(30) for r in (request(), request(text="What is 2 + 2?"))])
    assert mixed[::2] == sequence


def test_threads_draw_the_same_set_of_replies():
    with ThreadPoolExecutor(8) as pool:
        engine = SimulatedEngine(1)
        threaded = list(pool.map(lambda r: engine.complete(r).message.text, [request()] * 200))
    assert sorted(threaded) == sorted(texts(SimulatedEngine(1), [request()] * 200))


def test_usage_is_estimated_and_the_price_unknown():
    lm = simulated_lm(cache=False)
    lm(QUESTION)
    assert lm.history[-1]["usage"]["prompt_tokens"] == -(-len(f"\nuser: {QUESTION}") // 4)
    assert lm.history[-1]["usage"]["completion_tokens"] > 0
    assert lm.history[-1]["cost"] is None


def test_the_seed_of_a_copied_lm_reaches_the_request():
    lm = simulated_lm(cache=False)
    program = dspy.ChainOfThought("question -> answer")

    def answers(seed):
        with dspy.context(lm=lm.copy(rollout_id=seed, temperature=0.7, seed=seed)):
            return program(question=QUESTION).reasoning

    replies = [answers(seed) for seed in range(20)]
    assert len(set(replies)) > 1
    assert replies == [answers(seed) for seed in range(20)]


def test_an_lm_without_a_fixed_seed_varies():
    lm = simulated_lm(fixed_seed=False, cache=False)
    assert len({lm(QUESTION)[0] for _ in range(20)}) > 1
    fixed = simulated_lm(cache=False)
    assert len({fixed(QUESTION)[0] for _ in range(20)}) == 1


def test_sync_and_async_give_the_same_reply():
    lm = simulated_lm(cache=False)
    program = dspy.ChainOfThought("question -> answer")
    with dspy.context(lm=lm):
        assert asyncio.run(program.acall(question=QUESTION)).toDict() == program(question=QUESTION).toDict()


def test_a_reply_can_be_streamed():
    engine = SimulatedEngine(1)

    async def collect():
        return [event async for event in AsyncSimulatedEngine(SimulatedEngine(1)).stream(request(3))]

    assert [type(event) for event in engine.stream(request(3))] == [type(event) for event in asyncio.run(collect())]
    assert engine.close() is None
    assert asyncio.run(AsyncSimulatedEngine(engine).aclose()) is None


def test_a_saved_lm_is_the_same_after_loading(tmp_path):
    program = dspy.ChainOfThought("question -> answer")
    program.set_lm(simulated_lm(seed=5, cache=False, temperature=0.7))
    program.save(tmp_path / "program.json")
    loaded = dspy.ChainOfThought("question -> answer")
    loaded.load(tmp_path / "program.json", allow_unsafe_lm_state=True)
    assert loaded(question=QUESTION).toDict() == program(question=QUESTION).toDict()


def test_a_pickled_engine_keeps_its_seed_and_a_copied_one_its_sequence():
    engine = SimulatedEngine(5)
    assert pickle.loads(pickle.dumps(engine)).seed == 5
    assert deepcopy(engine) is engine
    assert AsyncSimulatedEngine.load_state(AsyncSimulatedEngine(engine).dump_state()).dump_state() == {"seed": 5}


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter()])
@pytest.mark.parametrize("type_", [str, int, float, bool, list[str], Literal["yes", "no"], dict[str, str]])
def test_outputs_of_any_type_can_be_read(adapter, type_):
    signature = dspy.Signature("question -> reasoning, answer").with_updated_fields("answer", type_=type_)
    with dspy.context(lm=simulated_lm(cache=False), adapter=adapter):
        for example in demo_examples(16, 2):
            assert dspy.Predict(signature)(question=example.question).reasoning.startswith("Here ")


def test_the_fields_of_a_json_schema_are_filled_when_the_prompt_lists_none():
    properties = {
        "reasoning": {"type": "string"},
        "answer": {"type": "number"},
        "verdict": {"enum": ["good", "bad"]},
        "more": {"type": "array", "items": {"type": "string"}},
    }
    schema = {"type": "object", "properties": properties}
    reply = SimulatedEngine().complete(request(1, response_format={"type": "json_schema", "schema": schema}))
    values = json.loads(reply.message.text)
    assert list(values) == list(properties)
    assert isinstance(values["answer"], float)
    assert values["verdict"] == "good"


@given(text=st.text(min_size=1), system=st.text())
def test_any_prompt_gets_a_reply(text, system):
    asked = Request(model="m", messages=(Message.user(text),), system=system or None)
    assert SimulatedEngine().complete(asked).message.text


def test_a_policy_call_takes_well_under_a_millisecond():
    engine, requests = SimulatedEngine(), [request(seed) for seed in range(500)]
    texts(engine, requests[:50])
    start = time.thread_time()
    texts(engine, requests)
    assert (time.thread_time() - start) / 500 < 0.001
