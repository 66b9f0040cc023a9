"""Replies that come with success and are no answer, or not a whole one: whose failure they are, over both engines."""

from __future__ import annotations

import dspy
import pytest

from tests.tfgrpo_dspy.lm.test_over_http import lm, stub
from tests.tfgrpo_dspy.scripted import exact, examples
from tfgrpo_dspy import evaluate
from tfgrpo_dspy.lm.verdicts.replies import CutReply, EmptyReply, Reply, Sight, fault_in, rule_of

QA = "question -> answer"
ANSWER = "[[ ## answer ## ]]\n1\n\n[[ ## completed ## ]]"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
THOUGHT = {**USAGE, "completion_tokens": 200, "completion_tokens_details": {"reasoning_tokens": 199}}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def chat(content: str | None, finish: str | None = "stop", usage: dict | None = USAGE, **message) -> dict:
    said = {"role": "assistant", "content": content, **message}
    reply = {"id": "c", "object": "chat.completion", "created": 1, "model": "x"}
    return {**reply, "choices": [{"index": 0, "finish_reason": finish, "message": said}], "usage": usage}


POLICY = {
    "vllm, reasoning parser": chat("", reasoning_content="Let me think."),
    "sglang, null": chat(None, reasoning_content="Let me think."),
    "openrouter": chat("", reasoning="Let me think."),
    "deepseek, cut while thinking": chat("", "length", reasoning_content="Let me think."),
    "openai, hidden reasoning": chat("", "length", THOUGHT),
    "grok, hidden reasoning": chat("", "stop", THOUGHT),
    "llama.cpp, no room to begin": chat("", "length"),
    "azure, filter": chat(None, "content_filter"),
    "openai, refusal": chat(None, refusal="I cannot help with that."),
    "babble": chat("babble"),
    "ollama, cut at its bound": chat("[[ ## ans", "length", {**USAGE, "completion_tokens": 50}),
}
LOST = {
    "gateway, nothing": chat(""),
    "gateway, null": chat(None),
    "gateway, no usage": chat("", None, None),
    "openrouter, upstream": chat("", "error"),
    "deepseek, resources": chat("[[ ## ans", "insufficient_system_resource"),
    "sglang, abort": chat("[[ ## ans", "abort"),
    "ollama, load": chat("", "load"),
    "cut early": chat("[[ ## ans", "length", {**USAGE, "completion_tokens": 5}),
}


def response(*output: dict, status: str = "completed", **said) -> dict:
    """Of the Responses API."""
    usage = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    reply = {"id": "r", "object": "response", "created_at": 1, "model": "x", "status": status, "output": list(output)}
    return {**reply, "usage": usage, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], **said}


def message(**content) -> dict:
    return {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [content]}


ANSWERED = response(message(type="output_text", text=ANSWER, annotations=[]))
THINKS = {"type": "reasoning", "id": "rs", "summary": []}
POLICY_OF_RESPONSES = {
    "thought only": response(THINKS),
    "refusal": response(message(type="refusal", refusal="I cannot help with that.")),
    "filter": response(status="incomplete", incomplete_details={"reason": "content_filter"}),
    "cut while thinking": response(THINKS, status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
}
LOST_OF_RESPONSES = {
    "nothing": response(),
    "failed": response(status="failed", error={"code": "server_error", "message": "An error occurred"}),
    "cancelled": response(status="cancelled"),
}


def evaluated(reply: dict, engine: str, answer: dict | None = None, **settings):
    """Every other of four answers is that; each in two requests at most, as DSPy asks once more in JSON."""

    def other(n: int):
        return 200, ((answer or chat(ANSWER)) if n <= 2 else reply), {}

    with stub(other) as server, dspy.context(lm=lm(server.api_base, engine=engine, max_tokens=50, **settings)):
        made = evaluate(dspy.Predict(QA), examples(4), exact, k=1, num_threads=1, display_progress=False)
        return made, server.requests


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
@pytest.mark.parametrize("shape", POLICY)
def test_what_the_model_did_not_say_is_its_own_failure_and_is_not_asked_for_again(shape, engine):
    made, requests = evaluated(POLICY[shape], engine)
    assert made.rewards == ((1.0,), (1.0,), (0.0,), (0.0,))
    assert dict(made.lost) == {}
    assert requests == made.usage.lm_calls == 2 + 2 * 2, "once, and once in JSON"


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
@pytest.mark.parametrize("shape", LOST)
def test_what_the_endpoint_did_not_say_is_lost(shape, engine):
    made, requests = evaluated(LOST[shape], engine)
    assert made.rewards == ((1.0,), (1.0,), (), ())
    assert dict(made.lost) == {"infrastructure": 2}
    assert requests == 2 + 2


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
@pytest.mark.parametrize("shape", [*POLICY_OF_RESPONSES, *LOST_OF_RESPONSES])
def test_replies_of_the_responses_api_are_told_apart_likewise(shape, engine):
    is_lost = shape in LOST_OF_RESPONSES
    reply = {**POLICY_OF_RESPONSES, **LOST_OF_RESPONSES}[shape]
    made, _ = evaluated(reply, engine, ANSWERED, model_type="responses")
    assert made.rewards == ((1.0,), (1.0,), (), ()) if is_lost else ((1.0,), (1.0,), (0.0,), (0.0,))
    assert dict(made.lost) == ({"infrastructure": 2} if is_lost else {})


NO_REPLIES = {"HTML": "<html>", "null": None, "a list": [], "text": "busy", "no choices": {"id": "x"}}


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
@pytest.mark.parametrize("body", NO_REPLIES)
def test_what_comes_with_success_and_is_no_reply_is_asked_for_again(body, engine):
    with stub(lambda n: (200, NO_REPLIES[body] if n == 1 else chat(ANSWER), {})) as server:
        with dspy.context(lm=lm(server.api_base, engine=engine, num_retries=1)):
            made = evaluate(dspy.Predict(QA), examples(1), exact, k=1, display_progress=False)
        assert made.rewards == ((1.0,),)
        assert server.requests == 2


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
def test_the_reason_of_an_empty_answer_is_told(engine):
    made, _ = evaluated(POLICY["openai, refusal"], engine)
    assert made.groups[3].scored[0].policy_failure.endswith("(the endpoint answered with a refusal)")


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
def test_a_tool_call_without_text_is_an_answer(engine):
    class Tools(dspy.Signature):
        question: str = dspy.InputField()
        tools: list[dspy.Tool] = dspy.InputField()
        calls: dspy.ToolCalls = dspy.OutputField()

    def look() -> str:
        """Look."""

    def called(example, prediction, trace=None):
        return prediction.calls.tool_calls[0].name == "look"

    with stub(lambda n: (200, chat(None, "tool_calls", tool_calls=[CALL]), {})) as server:
        adapter = dspy.ChatAdapter(use_native_function_calling=True)
        with dspy.context(lm=lm(server.api_base, engine=engine), adapter=adapter):
            data = [dspy.Example(question="q", tools=[dspy.Tool(look)]).with_inputs("question", "tools")]
            made = evaluate(dspy.Predict(Tools), data, called, k=2, num_threads=1, display_progress=False)
    assert made.rewards == ((1.0, 1.0),)
    assert server.requests == 2


REPLY = Reply("text", ("stop",), is_blank=False, written=10)


@pytest.mark.parametrize(
    ("reply", "bound", "longest", "fault"),
    [
        (REPLY, None, None, None),
        (Reply("", ("end_turn",), True, 10), None, None, None),
        (Reply("", ("stop",), True, 0), None, None, EmptyReply),
        (Reply("", (None,), True, 0, has_thought=True), None, None, None),
        (Reply("te", ("length",), False, 89), 100, None, CutReply),
        (Reply("te", ("length",), False, 90), 100, None, None),
        (Reply("te", ("length",), False, 1_023), None, None, CutReply),
        (Reply("te", ("length",), False, 1_024), None, None, None),
        (Reply("te", ("length",), False, 1_999), None, 500, CutReply),
        (Reply("te", ("length",), False, 2_000), None, 500, None),
    ],
)
def test_a_reply_that_is_cut_off_is_the_endpoints_fault_unless_it_used_up_its_bound(reply, bound, longest, fault):
    found = fault_in(rule_of(Sight(reply, bound, longest)), reply)
    assert type(found) is (fault or type(None))
