"""What a reply says about itself: whether it is one, whether it is whole, what it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspy.utils.exceptions import LMProviderError, LMTimeoutError, LMTransportError, is_retryable_lm_error

from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.text import estimate_tokens

_OK = 200

_FULL = 0.9
"""Share of the bound from which on a cut reply counts as one that used it up; tokenizers differ."""
_RUNAWAY = 4
"""Times the longest whole reply so far from which on a cut reply without a known bound counts as the model's own."""
_LONG = 1_024
"""Tokens that count as long while no whole reply was seen."""


def is_empty(result: Any) -> bool:
    """Whether a call brought no content although the model says it finished."""
    if any(reason not in {"stop", None, ""} for reason in finish_reasons(result)):
        return False
    return bool(result.outputs) and all(_is_blank(output) for output in result.outputs)


def is_cut(result: Any) -> bool:
    """Whether a reply ends where it was cut off."""
    return "length" in finish_reasons(result)


def cut_short(result: Any, bound: int | None, longest: int | None) -> bool:
    """Whether the endpoint cut a reply off before it was as long as it may be.

    Args:
        result: DSPy's call result.
        bound: Tokens that the request allows; None for no bound of its own.
        longest: Tokens of the longest whole reply of the model so far; None if there was none.
    """
    if not is_cut(result):
        return False
    _, written = tokens_of(result)
    if bound is not None:
        return written < _FULL * bound
    return written < (_LONG if longest is None else max(_LONG, _RUNAWAY * longest))


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed when repeated: DSPy's judgement, and a body that is no reply at all."""
    is_no_reply = type(error) is LMProviderError and getattr(error, "status", None) == _OK
    return is_no_reply or bool(is_retryable_lm_error(error))


def timed_out(error: BaseException) -> bool:
    """Whether a request was given up because no answer came in time, a transport error for DSPy's native engine."""
    return isinstance(error, LMTimeoutError) or (isinstance(error, LMTransportError) and "timed out" in str(error))


def tokens_of(result: Any) -> tuple[int, int]:
    """Input and output tokens as reported; the output's estimated from its length if they were not."""
    usage = result.usage or {}
    read, written = usage.get("prompt_tokens") or 0, usage.get("completion_tokens")
    if written is None:
        written = sum(len(_text(output)) for output in result.outputs) // 4
    return int(read), int(written)


def cached_tokens_of(usage: Mapping[str, Any] | None) -> int | None:
    """Input tokens that the provider read from its prompt cache, by the usage that DSPy gives; None if not said."""
    found = _value((usage or {}).get("prompt_tokens_details"), "cached_tokens")
    return None if found is None else int(found)


def finish_reasons(result: Any) -> list[str | None]:
    """Why each candidate ended, in the words of its API."""
    if result.responses:
        return [response.finish_reason for response in result.responses]
    choices = _value(result.raw, "choices") or ()
    return [_value(choice, "finish_reason") for choice in choices]


def _is_blank(output: Any) -> bool:
    return not _text(output).strip() and not (isinstance(output, dict) and output.get("tool_calls"))


def _text(output: Any) -> str:
    text = output.get("text") if isinstance(output, dict) else output
    return text if isinstance(text, str) else ""


def _value(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)


def usage_of(lm: Any, outputs: Any) -> Usage:
    """What a finished call took, by the LM's history."""
    return _usage_of(entry_of(lm, outputs))


def entry_of(lm: Any, outputs: Any) -> Mapping[str, Any] | None:
    """What DSPy wrote into the LM's history about a call; other threads may have written since."""
    written = reversed(list(lm.history))
    return next((entry for entry in written if entry["outputs"] is outputs or entry["response"] is outputs), None)


def usage_of_result(result: Any) -> Usage:
    """What a call took that DSPy reports as a result."""
    response = result.raw if result.raw is not None else result.responses
    return _usage_of({"usage": result.usage, "response": response, "cost": result.cost})


def _usage_of(entry: Mapping[str, Any] | None) -> Usage:
    if entry is None:  # DSPy was told to keep no history
        return Usage(lm_calls=1, cost_usd=None)
    reported = entry.get("usage") or {}
    if not reported and _is_from_cache(entry["response"]):
        return Usage(1, 1, 0, 0, 0.0, None, *_spared(entry))
    prompt, completion = reported.get("prompt_tokens") or 0, reported.get("completion_tokens") or 0
    return Usage(1, 0, int(prompt), int(completion), entry.get("cost"), cached_tokens_of(reported))


def _spared(entry: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens that a cached answer would have taken, estimated from the texts where it does not say."""
    kept = getattr(entry["response"], "usage", None)
    read, written = (getattr(kept, name, None) for name in ("input_tokens", "output_tokens"))
    asked, answered = entry.get("messages") or entry.get("prompt"), entry.get("outputs")
    return int(read or estimate_tokens(_all_text(asked))), int(written or estimate_tokens(_all_text(answered)))


def _all_text(value: Any) -> str:
    """The texts in messages or outputs."""
    if isinstance(value, Mapping):
        return _all_text(value.get("content", value.get("text")))
    if isinstance(value, list | tuple):
        return "".join(map(_all_text, value))
    return "" if value is None else str(value)


def _is_from_cache(response: Any) -> bool:
    """Whether DSPy's cache gave the response: LiteLLM's is marked, of the others only their history keeps the usage."""
    if hasattr(response, "cache_hit"):
        return bool(response.cache_hit)
    return getattr(getattr(response, "usage", None), "input_tokens", None) is not None
