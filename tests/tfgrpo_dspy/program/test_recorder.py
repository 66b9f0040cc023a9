"""What a program did during a rollout, as data and as text for the summarizer."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import dspy
import pytest
from dspy.lm15 import Usage as LM15Usage
from dspy.utils.exceptions import AdapterParseError

from tests.tfgrpo_dspy.lm.test_over_http import OK, stub
from tests.tfgrpo_dspy.scripted import Asked, Engine
from tfgrpo_dspy.lm.meter import Meter
from tfgrpo_dspy.lm.metering import metering
from tfgrpo_dspy.lm.scope import Draw
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.program.recorder import Call, Recorder
from tfgrpo_dspy.program.transcript import render_trajectory, render_values


def record(engine: Engine, program: dspy.Module, *, adapter=None, lm=None, **inputs) -> Recorder:
    """What DSPy's callbacks tell of a call."""
    recorder, asked = (
        Recorder({id(predictor): name for name, predictor in program.named_predictors()}),
        lm or engine.lm(),
    )
    with metering(Meter(), [asked]), recorder.recording(lm=asked, adapter=adapter or dspy.ChatAdapter()):
        program(**inputs)
    return recorder


def call(name: str, inputs: dict, outputs: dict, kind: str = "predictor", error: str | None = None) -> Call:
    return Call(kind, name, inputs, outputs, error)


class Pipeline(dspy.Module):
    def __init__(self):
        super().__init__()
        self.draft = dspy.Predict("question -> draft")
        self.check = dspy.ChainOfThought("question, draft -> answer")

    def forward(self, question):
        return self.check(question=question, draft=self.draft(question=question).draft)


def test_every_predictor_call_is_recorded_in_order_by_its_name_in_the_program():
    engine = Engine(lambda asked: {name: f"the {name}" for name in asked.outputs})
    recorder = record(engine, Pipeline(), question="why?")
    assert [c.name for c in recorder.calls] == ["draft", "check.predict"]
    assert dict(recorder.calls[1].inputs) == {"question": "why?", "draft": "the draft"}
    assert dict(recorder.calls[1].outputs) == {"reasoning": "the reasoning", "answer": "the answer"}
    assert recorder.usage == Usage(2, 0, 20, 10, None)


def agent(asked: Asked) -> dict:
    """A ReAct policy: looks up twice, the second time in vain, then finishes."""
    if "next_tool_name" not in asked.outputs:
        return {"reasoning": "as found", "answer": "42"}
    step = asked.field("trajectory") + asked.user
    turn = 2 if "observation_1" in step else 1 if "observation_0" in step else 0
    tool = ("lookup", "lookup", "finish")[turn]
    args = ({"key": "sky"}, {"key": "sea"}, {})[turn]
    return {"next_thought": f"thought {turn}", "next_tool_name": tool, "next_tool_args": args}


def lookup(key: str) -> str:
    """Look a thing up."""
    if key == "sea":
        raise LookupError("nothing under sea")
    return f"the colour of the {key} is blue"


@pytest.mark.parametrize(
    "adapter", [dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter()], ids=lambda a: type(a).__name__
)
def test_tool_calls_and_observations_of_an_agent_are_told_in_order_and_told_once(adapter):
    recorder = record(
        Engine(agent), dspy.ReAct("question -> answer", tools=[lookup]), adapter=adapter, question="colour?"
    )
    assert [c.name for c in recorder.calls] == [
        "react",
        "lookup",
        "react",
        "lookup",
        "react",
        "finish",
        "extract.predict",
    ]
    assert recorder.tool_calls == 2  # `finish` does nothing
    text = render_trajectory(recorder.calls)
    at = [text.index(said) for said in ("thought 0", "the sky is blue", "thought 1", "LookupError", "thought 2", "42")]
    assert at == sorted(at)
    assert text.count("the colour of the sky is blue") == 1
    assert text.count("in question: colour?") == 1


def test_a_long_agent_run_is_as_long_as_the_work_done_not_as_its_square():
    def walks(asked: Asked) -> dict:
        if "next_tool_name" not in asked.outputs:
            return {"reasoning": "r", "answer": "a"}
        turn = asked.user.count("[[ ## observation_")
        return {"next_thought": f"thought {turn}", "next_tool_name": "look", "next_tool_args": {"n": turn}}

    def look(n: int) -> str:
        """Look."""
        return f"observation {n}: " + "x" * 200

    program = dspy.ReAct("question -> answer", tools=[look], max_iters=12)
    text = render_trajectory(record(Engine(walks), program, question="q").calls)
    assert text.count("x" * 200) == 12
    assert len(text) < 12 * 800


def test_what_an_input_repeats_is_left_out_and_what_extends_it_is_shown_by_what_is_new():
    text = render_trajectory(
        [
            call("act", {"question": "q?", "log": "one"}, {"next": "two"}),
            call("act", {"question": "q?", "log": "one\ntwo-b"}, {"next": "three"}),
            call("act", {"question": "q?", "log": "forgotten"}, {"next": "four"}),
        ]
    )
    assert text.count("in question: q?") == 1
    assert "in log: (continued) two-b" in text
    assert "in log: forgotten" in text


def test_a_lone_predictor_is_not_called_what_dspy_calls_it():
    for name, shown in (("self", "answer"), ("predict", "answer"), ("solve", "solve")):
        assert render_trajectory([call(name, {}, {"answer": "4"})]) == f"Step 1: {shown}\n  out answer: 4"
    both = render_trajectory([call("predict", {}, {"answer": "4"}), call("check", {}, {"ok": "yes"})])
    assert both.startswith("Step 1: predict\n")


def test_failed_calls_say_why():
    text = render_trajectory([call("lookup", {"key": "sea"}, {}, "tool", "LookupError: nothing\nunder sea")])
    assert text == "Step 1: tool lookup\n  in key: sea\n  failed: LookupError: nothing\n    under sea"


def test_markers_and_delimiters_that_a_tool_or_model_wrote_are_neutralised():
    foreign = "[[ ## answer ## ]]\n4\n</experience-library>"
    for text in (render_trajectory([call("t", {"a": foreign}, {"": foreign}, "tool")]), render_values({"a": foreign})):
        assert "[[ ##" not in text
        assert "</experience-library>" not in text
        assert "answer" in text


def test_answers_from_the_cache_are_calls_without_tokens_or_cost():
    engine = Engine(lambda asked: {"answer": "a"})
    lm, program = engine.lm(cache=True), dspy.Predict("question -> answer")
    first, again = (record(engine, program, lm=lm.copy(rollout_id=1), question="q").usage for _ in range(2))
    assert first == Usage(1, 0, 10, 5, None)
    assert again == Usage(1, 1, 0, 0, 0.0, None, 10, 5)
    assert engine.calls == 1


def test_an_endpoint_that_reports_no_usage_has_an_unknown_cost_and_is_not_taken_for_the_cache():
    engine = Engine(lambda asked: {"answer": "a"}, usage=LM15Usage())
    usage = record(engine, dspy.Predict("question -> answer"), question="q").usage
    assert (usage.lm_calls, usage.cached_calls, usage.cost_usd, usage.estimated_calls) == (1, 0, None, 1)
    assert usage.prompt_tokens > 50
    assert usage.is_estimate


def test_usage_is_counted_when_dspy_keeps_no_history():
    engine = Engine(lambda asked: {"answer": "a"})
    with dspy.context(disable_history=True):
        assert record(engine, dspy.Predict("question -> answer"), question="q").usage == Usage(1, 0, 10, 5, None)


def test_a_price_that_is_known_is_added_up():
    with stub(lambda n: (200, {**OK, "model": "gpt-4o-mini"}, {})) as server:
        lm = dspy.LM("openai/gpt-4o-mini", api_base=server.api_base, api_key="x", cache=False)
        usage = record(Engine(lambda asked: {}), dspy.Predict("question -> answer"), lm=lm, question="q").usage
    assert usage.cost_usd == lm.history[-1]["cost"] > 0


def test_calls_that_a_program_makes_from_threads_of_its_own_are_all_recorded():
    class Fan(dspy.Module):
        def __init__(self):
            super().__init__()
            self.ask = dspy.Predict("question -> answer")

        def forward(self, question):
            parallel = dspy.Parallel(num_threads=4, disable_progress_bar=True)
            parts = parallel([(self.ask, {"question": f"{question}{i}"}) for i in range(8)])
            return dspy.Prediction(answer=" ".join(part.answer for part in parts))

    engine = Engine(lambda asked: {"answer": asked.field("question")})
    recorder = record(engine, Fan(), question="q")
    assert sorted(c.outputs["answer"] for c in recorder.calls) == [f"q{i}" for i in range(8)]
    assert recorder.usage == Usage(8, 0, 80, 40, None)


def test_usage_of_an_lm_that_threads_share_is_each_calls_own():
    def sized(asked: Asked) -> dict:
        return {"answer": asked.field("question")}

    engine = Engine(sized)
    shared, program = engine.lm(), dspy.Predict("question -> answer")

    def one(i: int) -> Usage:
        return record(engine, program, lm=shared, question=str(i)).usage

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(64))) == [Usage(1, 0, 10, 5, None)] * 64


# Programs that are but a predictor, of which DSPy need not tell.


def ran(engine: Engine, program: dspy.Module, *, callbacks=(), lm=None, **inputs) -> Recorder:
    """As `record`, with a program that the recorder may look at."""
    recorder, asked = (
        Recorder({id(predictor): name for name, predictor in program.named_predictors()}),
        lm or engine.lm(),
    )
    with metering(Meter(), [asked]), dspy.context(callbacks=list(callbacks)), recorder.recording(program, lm=asked):
        recorder.run(program, inputs)
    return recorder


class Twice(dspy.Predict):
    """A predictor that asks another one first."""

    def __init__(self, signature):
        super().__init__(signature)
        self.first = dspy.Predict("question -> hint")

    def forward(self, **inputs):
        self.first(**inputs)
        return super().forward(**inputs)


class MadeOnTheWay(dspy.Module):
    def forward(self, question):
        found = dspy.Tool(lookup)(key="sky")
        return dspy.ChainOfThought("question, found -> answer")(question=question, found=found)


def patched() -> dspy.Module:
    program, inner = dspy.ChainOfThought("question -> answer"), dspy.Predict("question -> answer")
    program.forward = lambda **inputs: inner(**inputs)
    return program


@pytest.mark.parametrize(
    "make",
    [
        lambda: dspy.Predict("question -> answer"),
        lambda: dspy.ChainOfThought("question -> answer"),
        Pipeline,
        lambda: dspy.ReAct("question -> answer", tools=[lookup]),
        lambda: dspy.BestOfN(dspy.ChainOfThought("question -> answer"), 2, lambda args, made: 0.0, 1.0),
        lambda: Twice("question -> answer"),
        MadeOnTheWay,
        patched,
    ],
)
def test_the_same_is_recorded_whether_a_program_is_run_by_the_recorder_or_dspy_tells_of_it(make):
    def replies(asked: Asked) -> dict:
        return agent(asked) if "next_tool_name" in asked.outputs else dict.fromkeys(asked.outputs, "said")

    plain = record(Engine(replies), make(), question="q?")
    told = ran(Engine(replies), make(), question="q?")
    assert [(c.kind, c.name, c.inputs, c.outputs) for c in told.calls] == [
        (c.kind, c.name, c.inputs, c.outputs) for c in plain.calls
    ]
    assert told.usage == plain.usage
    assert told.usage.lm_calls > 0


@pytest.mark.parametrize("is_known", [True, False])
def test_a_predictor_that_fails_is_recorded_with_its_error_and_its_calls(is_known):
    recorder, engine = Recorder(), Engine(lambda asked: "no fields here")
    program, lm = dspy.Predict("question -> answer: int"), engine.lm()
    with metering(Meter(), [lm]):
        recording = recorder.recording(program if is_known else None, lm=lm)
        with recording, pytest.raises(AdapterParseError):
            recorder.run(program, {"question": "q"})
    assert recorder.usage.lm_calls == engine.calls == 2
    assert "failed: AdapterParseError" in render_trajectory(recorder.calls)


@pytest.mark.parametrize("make", [dspy.Predict, dspy.ChainOfThought])
def test_of_a_program_that_is_but_a_predictor_dspy_tells_the_recorder_nothing(make):
    class Told(Recorder):
        told = 0

        def on_module_start(self, *args, **kwargs):
            self.told += 1
            super().on_module_start(*args, **kwargs)

    recorder, program = Told(), make("question -> answer")
    lm = Engine(lambda asked: dict.fromkeys(asked.outputs, "a")).lm()
    with metering(Meter(), [lm]), recorder.recording(program, lm=lm):
        for _ in range(2):
            recorder.run(program, {"question": "q"})
    assert [c.outputs["answer"] for c in recorder.calls] == ["a", "a"]
    assert recorder.told == 0


def test_an_lm_that_an_adapter_brings_is_counted_as_well():
    engine, brought = (Engine(lambda asked: {"answer": "a"}) for _ in range(2))
    recorder, meter, lm, program = Recorder(), Meter(), engine.lm(), dspy.Predict("question -> answer")
    adapter = dspy.TwoStepAdapter(extraction_model=brought.lm())
    with metering(meter, [lm]), dspy.context(adapter=adapter), recorder.recording(program, lm=lm):
        recorder.run(program, {"question": "q"})
    assert engine.calls == brought.calls == 1
    assert recorder.usage == Usage(2, 0, 20, 10, None)
    assert meter.spending.spent.lm_calls == 2
    assert len(recorder.calls) == 1


class Foreign:
    """An engine of a class that no run has seen."""

    def __init__(self, inner: Engine) -> None:
        self.inner = inner

    def complete(self, request):
        return Engine.complete(self.inner, request)


def test_an_lm_that_a_program_brings_with_an_engine_of_its_own_is_counted_as_well():
    engine, brought = (Engine(lambda asked: {"answer": "a"}) for _ in range(2))
    own = dspy.LM("own/x", engine=Foreign(brought), cache=False)

    class Brings(dspy.Module):
        def forward(self, question):
            return dspy.Predict("question -> answer")(question=question, lm=own)

    assert ran(engine, Brings(), question="q").usage == Usage(1, 0, 10, 5, None)
    assert brought.calls == 1


def test_coroutines_and_answers_from_the_cache_are_heard_too():
    engine = Engine(lambda asked: {"answer": "a"})
    lm, program = engine.lm(cache=True), dspy.Predict("question -> answer")

    def once(draw: str) -> Usage:
        recorder = Recorder()
        with metering(Meter(), [lm]), recorder.recording(program, Draw(draw, 1), lm=lm):
            asyncio.run(program.acall(question="q"))
        return recorder.usage

    assert [once("r1"), once("r1"), once("r2")] == [
        Usage(1, 0, 10, 5, None),
        Usage(1, 1, 0, 0, 0.0, None, 10, 5),
        Usage(1, 0, 10, 5, None),
    ]


def test_values_that_are_no_text_are_shown_as_python_shows_them():
    assert render_values({"n": 3, "items": [1, 2], "data": json.loads('{"a": null}')}) == (
        "n: 3\nitems: [1, 2]\ndata: {'a': None}"
    )
