"""What language-model calls take: calls, tokens, money."""

from __future__ import annotations

from dataclasses import dataclass


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

    def __add__(self, other: Usage) -> Usage:
        cost = None if self.cost_usd is None or other.cost_usd is None else self.cost_usd + other.cost_usd
        return Usage(
            self.lm_calls + other.lm_calls,
            self.cached_calls + other.cached_calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            cost,
        )
