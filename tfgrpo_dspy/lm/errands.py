"""What is asked of each of DSPy's engines, as an errand: what it sends, how it is read, and what it may cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import dspy
from dspy.clients.engines import (
    AsyncLegacyEngine,
    AsyncLiteLLMEngine,
    AsyncLM15Engine,
    LegacyEngine,
    LiteLLMEngine,
    LM15Engine,
)
from dspy.lm15 import LM15Error, Request, Response

from tfgrpo_dspy.lm.attempt import Errand
from tfgrpo_dspy.lm.budget import cost_at
from tfgrpo_dspy.lm.flight import Flight
from tfgrpo_dspy.lm.scope import Scope
from tfgrpo_dspy.lm.undocumented import (
    MOST_CONNECTIONS,
    AsyncTransport,
    Pricing,
    Transport,
)
from tfgrpo_dspy.lm.usage import Reported, Usage, reported_in
from tfgrpo_dspy.lm.verdicts.replies import Reply
from tfgrpo_dspy.text import estimate_tokens, whole

_APART = frozenset({"gemini", "vertex", "vertex-express", "xai"})
"""Providers whose count of the output leaves out what the model thought."""
_BOUNDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True)
class Asked:
    """A call of an engine's method, not made yet."""

    original: Callable[..., Any]
    engine: Any
    scope: Scope
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def seed(self) -> int | None:
        """Of the draw that it is part of; None if it is part of none."""
        return None if self.scope.draw is None else self.scope.draw.seed

    def engine_to_ask(self, *args: Any, **kwargs: Any) -> Any:
        """The method, on DSPy's native engine with connections that have an end."""
        engine = _native(self.engine).engine if type(self.engine) in _NATIVE else self.engine
        return self.original(engine, *args, **kwargs)


_NATIVE = (LM15Engine, AsyncLM15Engine)
_LITELLM = (LiteLLMEngine, AsyncLiteLLMEngine)
_OLD = (LegacyEngine, AsyncLegacyEngine)
_HEARD = (*_NATIVE, *_LITELLM)


def errand_of(asked: Asked) -> Errand:
    """What is to be sent, and how."""
    if type(asked.engine) in _LITELLM:
        _load_litellm()
    if isinstance(asked.args[0], Request):
        return _of_request(asked, asked.args[0])
    return _of_body(asked, *asked.args)


def _of_request(asked: Asked, request: Request) -> Errand:
    kind, drawn = type(asked.engine), _with_seed(request, asked.seed)
    native = _native(asked.engine) if kind in _NATIVE else None
    if native is not None:
        pricing, send = native.pricing_of(request.model), partial(_sends_natively, asked.original, native.engine, drawn)
    else:
        pricing, send = None, partial(_sends, asked, drawn)
    return Errand(
        request.model,
        request,
        call=request,
        prompt_tokens=partial(_tokens_of_request, request),
        bound=request.config.max_tokens,
        candidates=1,
        send=send,
        read=partial(_read_response, request, pricing),
        whole=_whole_response,
        is_heard=kind in _HEARD,
        own_timeout=native.patience if native is not None else None,
        ends_itself=native is not None or dspy.settings.send_stream is not None,
        may_ask_others=native is None and kind not in _LITELLM,
    )


def _of_body(asked: Asked, lm: dspy.BaseLM, body: Mapping[str, Any], *_: Any) -> Errand:
    """A call that DSPy makes as it was written, for LiteLLM or an LM with a `forward` of its own."""
    own = body.get("timeout")
    seeded = body if asked.seed is None or body.get("seed") is None else {**body, "seed": asked.seed}
    return Errand(
        lm.model,
        body,
        call=asked.kwargs.get("call_kwargs", body),  # DSPy copies the body for each try, and hands these on as they are
        prompt_tokens=partial(_tokens_of_body, body),
        bound=next((n for name in _BOUNDS if isinstance(n := body.get(name), int)), None),
        candidates=body.get("n") or 1,
        send=partial(_sends_body, asked, lm, seeded),
        read=partial(_read_result, lm, body),
        whole=_whole_result,
        is_heard=type(asked.engine) in _HEARD,
        own_timeout=float(own) if isinstance(own, int | float) else None,
        ends_itself=dspy.settings.send_stream is not None,
        may_ask_others=type(asked.engine) not in _LITELLM,
        repeats=getattr(lm, "num_retries", 0) if type(asked.engine) in (*_LITELLM, *_OLD) else 0,
    )


def _with_seed(request: Request, seed: int | None) -> Request:
    if seed is None or request.config.seed is None:
        return request
    return replace(request, config=replace(request.config, seed=seed))


# Sending.


def _sends_natively(complete: Callable[..., Any], engine: Any, request: Request, _: Flight) -> Any:
    return complete(engine, request)


def _sends(asked: Asked, request: Request, flight: Flight) -> Any:
    engine = asked.engine
    if type(engine) in _LITELLM:
        options = {"timeout": flight.seconds, **engine.client_options}
        engine = type(engine)(model_type=engine.model_type, wire_model=engine.wire_model, **options)
    return asked.original(engine, request, *asked.args[1:], **asked.kwargs)


def _sends_body(asked: Asked, lm: dspy.BaseLM, body: Mapping[str, Any], flight: Flight) -> Any:
    kwargs = dict(asked.kwargs)
    if type(asked.engine) in _LITELLM:
        body = {"timeout": flight.seconds, **body}
    elif type(asked.engine) in _OLD and "seed" in body:
        kwargs["call_kwargs"] = {**(kwargs.get("call_kwargs") or {}), "seed": body["seed"]}
    return asked.original(asked.engine, lm, body, *asked.args[2:], **kwargs)


def _load_litellm() -> None:
    """Before it is asked: that takes seconds, which are not the call's, and must not be broken off."""
    import litellm  # noqa: F401

    from tfgrpo_dspy.lm.httpx_wire import bound_replies

    bound_replies()


# DSPy's native engine with connections that have an end.


class _Native:
    """The same engine, on transports that are bound to the request under way."""

    def __init__(self, engine: Any) -> None:
        config, kind = engine.config, type(engine)
        self.patience: float | None = config.timeouts.read if config.timeouts is not None else None
        """Seconds that its LM was given."""
        if config.transport is None:
            made = Transport if kind is LM15Engine else AsyncTransport
            transport = made(**{**config.transport_kwargs(), "max_connections": MOST_CONNECTIONS})
            config = replace(config, transport=transport, timeouts=None, max_connections=None)
        self.engine = kind(config, model_type=engine.model_type)
        self._router = engine.router if kind is LM15Engine else None
        self._pricings: dict[str, Pricing] = {}

    def pricing_of(self, model: str) -> Pricing:
        """What its tokens cost."""
        found = self._pricings.get(model)
        if found is None:
            route = self.engine.resolve(model)
            if self._router is not None:  # as its own first request would; DSPy plans each call with one, new or known
                with suppress(LM15Error):
                    self._router.lm(f"{route.provider}:{route.model}")
            found = self._pricings[model] = Pricing(route.provider, route.model)
        return found


_natives: WeakKeyDictionary[Any, _Native] = WeakKeyDictionary()


def _native(engine: Any) -> _Native:
    found = _natives.get(engine)
    if found is None:
        found = _natives.setdefault(engine, _Native(engine))
    return found


# Reading.


def _whole_response(response: Response) -> Response:
    texts = [part.text for part in response.message.parts if part.type == "text"]
    if all(whole(text) is text for text in texts):
        return response
    parts = [replace(p, text=whole(p.text)) if p.type == "text" else p for p in response.message.parts]
    return replace(response, message=replace(response.message, parts=tuple(parts)))


def _whole_result(result: Any) -> Any:
    for at, output in enumerate(result.outputs):
        if isinstance(output, str):
            result.outputs[at] = whole(output)
        elif isinstance(output, dict) and isinstance(output.get("text"), str):
            output["text"] = whole(output["text"])
    for message in _messages(result):  # from which DSPy makes the outputs again when it comes from the cache
        content = _value(message, "content")
        if isinstance(content, str) and whole(content) is not content:
            message.content = whole(content)
    return result


def _read_response(request: Request, pricing: Pricing | None, response: Response) -> tuple[Reply, Usage]:
    parts = response.message.parts
    text = "".join(part.text for part in parts if part.type == "text")
    is_blank = not text.strip() and all(part.type in {"text", "thinking", "refusal"} for part in parts)
    thought = "".join(part.text or "" for part in parts if part.type == "thinking")
    is_thought = any(part.type == "thinking" for part in parts) or bool(response.usage.reasoning_tokens)
    reported = _as_openai_counts(response.usage, pricing.provider if pricing is not None else "")
    if None in reported:  # DSPy reads the names of one API only
        raw = reported_in(response.provider_data)
        reported = Reported(reported.read or raw.read, reported.written or raw.written, reported.cached or raw.cached)
    took = _usage(reported, partial(_tokens_of_request, request), text + thought)
    cost = None if pricing is None else pricing.cost_of(request, response)
    if cost is None and took.is_estimate and pricing is not None and pricing.rates is not None:
        cost = cost_at(pricing.rates, took.prompt_tokens, took.completion_tokens)
    refusal = " ".join(part.text for part in parts if part.type == "refusal")
    error = _said_besides(response.provider_data) if is_blank else ""
    said = Reply(text, _finish_of(response), is_blank, took.completion_tokens, is_thought, refusal, error)
    return said, took if cost is None else replace(took, cost_usd=cost)


def _said_besides(document: object) -> str:
    from tfgrpo_dspy.lm.verdicts.bodies import said_in

    return said_in(document)


def _finish_of(response: Response) -> tuple[str | None, ...]:
    """Why it ended, also in a word of the server's own, for which DSPy says "stop"."""
    choices = _value(response.provider_data or {}, "choices")
    said = _value(choices[0], "finish_reason") if isinstance(choices, list) and choices else None
    return (response.finish_reason, said) if isinstance(said, str) else (response.finish_reason,)


def _as_openai_counts(usage: Any, provider: str) -> Reported:
    """A provider's own counts, with cached input and reasoning part of input and output, as they are with OpenAI."""
    reported = reported_in(usage)
    read, written = reported.read, reported.written
    if "anthropic" in provider and read is not None:
        read += (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    thought = usage.reasoning_tokens or 0
    if written is not None and (provider in _APART or thought > written):
        written += thought
    return Reported(read, written, reported.cached)


def _read_result(lm: dspy.BaseLM, body: Mapping[str, Any], result: Any) -> tuple[Reply, Usage]:
    """A reply in the provider's own shape, as DSPy's `CallResult` holds it."""
    outputs = [output if isinstance(output, Mapping) else {"text": output} for output in result.outputs]
    text = "".join(_text(output.get("text")) for output in outputs)
    is_blank = not any(_text(o.get("text")).strip() or o.get("tool_calls") for o in outputs)
    thought = "".join(_text(output.get("reasoning_content")) for output in outputs)
    took = _usage(reported_in(result.usage), partial(_tokens_of_body, body), text + thought)
    cost = result.cost
    if took.estimated_calls and cost is not None:
        cost = _litellm_cost(lm.model, took)
    items = _value(result.raw, "output") or ()  # of the Responses API
    refusals = [_said(message, "refusal") for message in _messages(result)]
    refusals += [_value(part, "refusal") for item in items for part in _value(item, "content") or ()]
    refusal = " ".join(map(_text, refusals)).strip()
    is_thought = bool(thought.strip() or _details(result.usage).get("reasoning_tokens"))
    is_thought = is_thought or any(_value(item, "type") == "reasoning" for item in items)
    error = _value(result.raw, "error") if _value(result.raw, "status") == "failed" else None
    ended = tuple(_finishes(result))
    said = Reply(
        text,
        ended,
        is_blank,
        took.completion_tokens,
        is_thought,
        refusal,
        json.dumps(error, default=str) if error else "",
    )
    return said, replace(took, cost_usd=cost)


def _details(usage: Any) -> Mapping[str, Any]:
    found = _value(usage or {}, "completion_tokens_details")
    return found if isinstance(found, Mapping) else getattr(found, "__dict__", {})


def _said(holder: Any, name: str) -> Any:
    """What the server said, where LiteLLM keeps it apart from what all servers say, or not."""
    return _value(holder, name) or _value(_value(holder, "provider_specific_fields") or {}, name)


def _messages(result: Any) -> Sequence[Any]:
    return [_value(choice, "message") or {} for choice in _value(result.raw, "choices") or ()]


def _usage(reported: Reported, prompt_tokens: Callable[[], int], text: str) -> Usage:
    """The tokens reported; those that were not, estimated. That a text took none is not believed."""
    read, written = reported.read, reported.written
    written = None if text and not written else written
    is_estimate = read is None or written is None
    if read is None:
        read = prompt_tokens()
    if written is None:
        written = estimate_tokens(text)
    return Usage(1, 0, read, written, None, reported.cached, estimated_calls=int(is_estimate))


def _litellm_cost(model: str, took: Usage) -> float | None:
    """By LiteLLM's prices, which it applied to no tokens at all."""
    import litellm

    try:
        return float(sum(litellm.cost_per_token(model, took.prompt_tokens, took.completion_tokens)))
    except Exception:  # noqa: BLE001 - it has a class of its own for each way not to know a price
        return None


def _finishes(result: Any) -> Sequence[str | None]:
    if result.responses:
        return [response.finish_reason for response in result.responses]
    choices = _value(result.raw, "choices")
    if choices:
        said = [_value(choice, "finish_reason") for choice in choices]
        return said + [word for choice in choices if (word := _said(choice, "native_finish_reason"))]
    if _value(result.raw, "status") != "incomplete":
        return [None]
    reason = _value(_value(result.raw, "incomplete_details") or {}, "reason")
    return [reason if reason == "content_filter" else "length"]


def _value(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _tokens_of_request(request: Request) -> int:
    system = request.system or ""
    texts = [system] if isinstance(system, str) else [_text(getattr(part, "text", "")) for part in system]
    texts += [_text(getattr(part, "text", "")) for message in request.messages for part in message.parts]
    return sum(estimate_tokens(text) for text in texts)


def _tokens_of_body(body: Mapping[str, Any]) -> int:
    contents = [_value(message, "content") for message in body.get("messages") or ()]
    return sum(estimate_tokens(c if isinstance(c, str) else json.dumps(c, default=str)) for c in contents)
