"""The tokens of a reply, by whatever names an API gives them; what it does not say is estimated, and never 0."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.tfgrpo_dspy.lm.test_over_http import OK, evaluate_with, lm, stub
from tfgrpo_dspy.lm.usage import Reported, reported_in

REPORTED = {
    "chat": ({"prompt_tokens": 7, "completion_tokens": 3}, Reported(7, 3)),
    "responses": ({"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}, Reported(7, 3)),
    "bedrock": ({"inputTokens": 7, "outputTokens": 3, "cacheReadInputTokens": 2}, Reported(7, 3, 2)),
    "gemini": ({"promptTokenCount": 7, "candidatesTokenCount": 3}, Reported(7, 3)),
    "anthropic": ({"input_tokens": 7, "output_tokens": 3, "cache_read_input_tokens": 4}, Reported(7, 3, 4)),
    "openai, cached": (
        {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 5}},
        Reported(7, 3, 5),
    ),
    "responses, cached": (
        {"input_tokens": 7, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 5}},
        Reported(7, 3, 5),
    ),
    "deepseek, cached": (
        {"prompt_tokens": 7, "completion_tokens": 3, "prompt_cache_hit_tokens": 5},
        Reported(7, 3, 5),
    ),
    "more from the cache than there was": (
        {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 50}},
        Reported(7, 3, 7),
    ),
    "thought apart": (
        {"prompt_tokens": 7, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 100}},
        Reported(7, 103),
    ),
    "nested": ({"x_groq": {"usage": {"prompt_tokens": 7, "completion_tokens": 3}}}, Reported(7, 3)),
    "ollama's own": ({"prompt_eval_count": 7, "eval_count": 3}, Reported(7, 3)),
    "beyond all sense": ({"prompt_tokens": 10**30, "completion_tokens": 3}, Reported(None, 3)),
    "an object": (SimpleNamespace(prompt_tokens=7, completion_tokens=3), Reported(7, 3)),
    "both names, one of them empty": (
        {"prompt_tokens": 0, "input_tokens": 7, "completion_tokens": 0, "output_tokens": 3},
        Reported(7, 3),
    ),
    "no output": ({"prompt_tokens": 7, "completion_tokens": 0}, Reported(7, 0)),
    "half": ({"prompt_tokens": 7}, Reported(7, None)),
    "null": (None, Reported()),
    "zeros": ({"prompt_tokens": 0, "completion_tokens": 0}, Reported()),
    "text": ({"prompt_tokens": "7", "completion_tokens": "3"}, Reported()),
    "truths": ({"prompt_tokens": True, "completion_tokens": False}, Reported()),
    "below zero": ({"prompt_tokens": -1, "completion_tokens": -1}, Reported()),
}


@pytest.mark.parametrize("shape", REPORTED)
def test_tokens_are_read_under_all_their_names_and_what_is_none_is_unknown(shape):
    usage, reported = REPORTED[shape]
    assert reported_in(usage) == reported


ODD = {
    "null": None,
    "half": {"prompt_tokens": 7},
    "nonsense": {"prompt_tokens": "many", "completion_tokens": {"text": 3}},
    "fractions": {"prompt_tokens": 7.0, "completion_tokens": 3.5},
    "below zero": {"prompt_tokens": -7, "completion_tokens": -3},
    "a list": [],
    "text": "10",
}


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
@pytest.mark.parametrize("shape", ODD)
def test_an_answer_whose_tokens_are_not_reported_is_scored_and_they_are_estimated(shape, engine):
    with stub(lambda n: (200, {**OK, "usage": ODD[shape]}, {})) as server:
        made = evaluate_with(lm(server.api_base, engine=engine), count=2)
    assert made.mean.value == 1.0
    assert made.usage.estimated_calls == server.requests == 2
    assert made.usage.completion_tokens > 0
    assert (made.usage.prompt_tokens == 14) == (shape == "half")


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
@pytest.mark.parametrize("names", [("input_tokens", "output_tokens"), ("promptTokenCount", "candidatesTokenCount")])
def test_tokens_under_the_names_of_another_api_count_whoever_makes_the_request(names, engine):
    with stub(lambda n: (200, {**OK, "usage": dict(zip(names, (7, 3), strict=True))}, {})) as server:
        made = evaluate_with(lm(server.api_base, engine=engine), count=2)
    assert (made.usage.prompt_tokens, made.usage.completion_tokens, made.usage.estimated_calls) == (14, 6, 0)


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
def test_the_tokens_of_the_responses_api_count_whoever_makes_the_request(engine):
    said = [{"type": "output_text", "text": OK["choices"][0]["message"]["content"], "annotations": []}]
    output = [{"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": said}]
    reply = {
        "id": "r", "object": "response", "created_at": 1, "model": "x", "status": "completed", "output": output,
        "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10},
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip
    with stub(lambda n: (200, reply, {})) as server:
        made = evaluate_with(lm(server.api_base, engine=engine, model_type="responses"), count=2)
    assert made.mean.value == 1.0
    assert (made.usage.prompt_tokens, made.usage.completion_tokens, made.usage.estimated_calls) == (14, 6, 0)
