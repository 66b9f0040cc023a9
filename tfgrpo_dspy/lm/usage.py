"""What language-model calls take: calls, tokens, money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Usage:
    """What language-model calls took. Additive: `a + b`."""

    lm_calls: int = 0
    """Calls made, answers from DSPy's cache included."""
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
