"""What language-model calls take: calls, tokens, money; and what of it a provider's reply says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tfgrpo_dspy.text import estimate_tokens


@dataclass(frozen=True, slots=True)
class Usage:
    """What language-model calls took. Additive: `a + b`."""

    lm_calls: int = 0
    """Requests, those that failed included, and answers from DSPy's cache; several candidates in a reply are one."""
    cached_calls: int = 0
    """Of these, answered by DSPy's cache: free, without tokens."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = 0.0
    """US dollars by DSPy's price data; None when the price of any paid call is unknown (which is not 0)."""
    cached_tokens: int | None = None
    """Of the prompt tokens, those that the provider read from its prompt cache; None when no reply said so."""
    spared_prompt_tokens: int = 0
    """Tokens that the answers of DSPy's cache would have taken, estimated from their texts where they do not say."""
    spared_completion_tokens: int = 0
    estimated_calls: int = 0
    """Answers whose tokens the endpoint did not report: theirs, and what they cost, are estimated from the texts."""
    calls_elsewhere: int = 0
    """Calls of functions (`student_from`) that ask LMs without DSPy: what they took is in no other number."""

    @property
    def is_estimate(self) -> bool:
        """Whether tokens and cost are to be shown with an "about"."""
        return self.estimated_calls > 0

    @property
    def cached_share(self) -> float | None:
        """Share of the prompt tokens that the provider read from its cache, in [0, 1]; None when it is not known.

        Calls whose reply did not say count as not cached, so it is a least share where only some LMs report it.
        """
        if self.cached_tokens is None or not self.prompt_tokens:
            return None
        return self.cached_tokens / self.prompt_tokens

    def __add__(self, other: Usage) -> Usage:
        cost = None if self.cost_usd is None or other.cost_usd is None else self.cost_usd + other.cost_usd
        return Usage(
            self.lm_calls + other.lm_calls,
            self.cached_calls + other.cached_calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            cost,
            self.cached_tokens if other.cached_tokens is None else (self.cached_tokens or 0) + other.cached_tokens,
            self.spared_prompt_tokens + other.spared_prompt_tokens,
            self.spared_completion_tokens + other.spared_completion_tokens,
            self.estimated_calls + other.estimated_calls,
            self.calls_elsewhere + other.calls_elsewhere,
        )


@dataclass(frozen=True, slots=True)
class Traffic:
    """What passed between a run and its endpoints; answers from DSPy's cache are no part of it."""

    calls: int = 0
    """Requests sent, retries and hedges included."""
    retries: int = 0
    hedges: int = 0
    """Second requests sent for stragglers."""
    failures: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Requests that failed, most of which were repeated with success, by reason."""


class Reported(NamedTuple):
    """Tokens that a reply reports; None for what it does not say, or says in no sensible way."""

    read: int | None = None
    """Input, what came from the provider's prompt cache included."""
    written: int | None = None
    """Output, reasoning included."""
    cached: int | None = None


_READ = ("prompt_tokens", "input_tokens", "inputTokens", "promptTokenCount", "prompt_eval_count")
_WRITTEN = ("completion_tokens", "output_tokens", "outputTokens", "candidatesTokenCount", "eval_count")
_CACHED = (
    *("cached_tokens", "cache_read_tokens", "cache_read_input_tokens", "cacheReadInputTokens"),
    "prompt_cache_hit_tokens",
)
_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_OF_OUTPUT = ("completion_tokens_details", "output_tokens_details")
_MOST = 10**9
"""Tokens from which on a count is none."""
_DEEPEST = 2
"""Mappings within mappings that are looked through, as in `{"x_groq": {"usage": ...}}`."""


def reported_in(usage: object, depth: int = 0) -> Reported:
    """The tokens of a usage object or dictionary, or of one within it, in whichever API's names.

    Gateways that have nothing to report send null, zeros or no usage: that a prompt had no tokens is not believed.
    What was read from a cache is part of the input, and what is more than all of the output was counted apart from it.
    """
    read, written = _first(usage, _READ), _first(usage, _WRITTEN)
    if not (read or written) and isinstance(usage, Mapping) and depth < _DEEPEST:
        inner = (reported_in(value, depth + 1) for value in usage.values() if isinstance(value, Mapping))
        return next((found for found in inner if found != Reported()), Reported())
    found = [_first(inner, _CACHED) for name in _DETAILS if (inner := _value(usage, name)) is not None]
    cached = next((n for n in [*found, _first(usage, _CACHED)] if n is not None), None)
    if cached is not None and read:
        cached = min(cached, read)
    thought = max(_first(_value(usage, name), ("reasoning_tokens",)) or 0 for name in _OF_OUTPUT)
    if written is not None and thought > written:
        written += thought
    return Reported(read or None, written if read or written else None, cached)


def _first(holder: object, names: tuple[str, ...]) -> int | None:
    """The first count, or None; a zero counts only where no other name says more."""
    first: int | None = None
    for name in names:
        count = _value(holder, name)
        if type(count) is int and 0 <= count < _MOST:
            if count:
                return count
            first = 0
    return first


def _value(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def entry_of(lm: Any, outputs: Any) -> Mapping[str, Any] | None:
    """What DSPy wrote into an LM's history about a call; other threads may have written since."""
    written = reversed(list(lm.history))
    return next((entry for entry in written if entry["outputs"] is outputs or entry["response"] is outputs), None)


def usage_of(lm: Any, outputs: Any) -> Usage:
    """What a finished call took, by the LM's history; for code that no meter hears."""
    entry = entry_of(lm, outputs)
    if entry is None:  # DSPy was told to keep no history
        return Usage(lm_calls=1, cost_usd=None)
    usage = entry.get("usage") or {}
    if not usage and _is_from_cache(entry["response"]):
        kept = reported_in(getattr(entry["response"], "usage", None))
        return from_cache(kept, entry.get("messages") or entry.get("prompt"), entry.get("outputs"))
    reported = reported_in(usage)
    return Usage(1, 0, reported.read or 0, reported.written or 0, entry.get("cost"), reported.cached)


def from_cache(kept: Reported, asked: Any, answered: Any) -> Usage:
    """An answer from DSPy's cache, which spared what it had taken; estimated from the texts where it does not say."""
    read = kept.read or estimate_tokens(_all_text(asked))
    written = kept.written or estimate_tokens(_all_text(answered))
    return Usage(1, 1, 0, 0, 0.0, None, read, written)


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
