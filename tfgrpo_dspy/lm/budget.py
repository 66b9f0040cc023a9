"""What a run may spend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from tfgrpo_dspy.errors import SettingsError

Price = tuple[float, float] | tuple[float, float, float]
"""US dollars per million input tokens and per million output tokens, and if it is another, per million input tokens
that the provider reads from its prompt cache."""


class OutOfBudget(BaseException):
    """A call that was not made, because nothing new may start.

    Control flow, not a failure: no `Exception`, so that a program's own `except Exception` cannot take it for one.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Caps of a run; what would exceed one is not started, and the run ends with what it has learned.

    Calls are counted at the endpoint, retries and hedges included, and never exceed their cap. Tokens and money are
    reserved for before a call by what calls of its model have taken at most so far, so a reply that is longer than
    every one before it may exceed those caps by its surplus. Answers from DSPy's cache count for nothing.

    With `log_dir` the caps hold for a run however often it was killed and taken up again: what it spent is written down
    there, and calls in flight at a kill count as what was set aside for them.

    Raises:
        SettingsError: A cap is out of its range, or there is none.
    """

    max_cost_usd: float | None = None
    """US dollars, > 0."""
    max_tokens: int | None = None
    """Input and output tokens together, >= 1."""
    max_lm_calls: int | None = None
    """Calls at the endpoint, >= 1."""
    max_seconds: float | None = None
    """Wall-clock time, > 0, without that between a kill and the resumption; calls that are expected to end later are
    not started."""
    price_per_million: Price | Mapping[str, Price] | None = None
    """`(input, output)` or `(input, output, cached input)` in US dollars, or model name to that; None takes DSPy's
    price data."""

    def __post_init__(self) -> None:
        caps = [f.name for f in fields(self) if f.name.startswith("max_")]
        if all(getattr(self, name) is None for name in caps):
            raise SettingsError(f"a Budget needs at least one of {', '.join(caps)}")
        for name in caps:
            self._check(name, whole=name in {"max_tokens", "max_lm_calls"})
        if self.price_per_million is None:
            return
        if self.max_cost_usd is None:
            raise SettingsError("price_per_million does nothing without max_cost_usd; leave it out or give both")
        given = self.price_per_million
        for price in given.values() if isinstance(given, Mapping) else [given]:
            _check_price(price)

    def price_of(self, model: str) -> Price | None:
        """The price given for a model; None if there is none."""
        prices = self.price_per_million
        return prices.get(model) if isinstance(prices, Mapping) else prices

    def _check(self, name: str, *, whole: bool) -> None:
        value = getattr(self, name)
        if value is None:
            return
        fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not fits or not math.isfinite(value) or value <= 0:
            expected = "a whole number >= 1" if whole else "a number > 0"
            raise SettingsError(f"{name} must be {expected} or None, got {value!r}")


def _check_price(price: object) -> None:
    fits = isinstance(price, tuple | list) and len(price) in {2, 3}
    if not fits or not all(isinstance(p, int | float) and math.isfinite(p) and p >= 0 for p in price):  # type: ignore[attr-defined]
        raise SettingsError(
            "price_per_million must be (input, output) or (input, output, cached input) in US dollars, or model name "
            f"to that, got {price!r}"
        )


def cost_at(price: Price, read: int, written: int, cached: int = 0) -> float:
    """US dollars of a call that read so many tokens, some of them from the provider's prompt cache, and wrote so many.

    Without a price of their own, cached tokens cost as much as any.
    """
    cheap = price[2] if len(price) == 3 else price[0]  # noqa: PLR2004 - with one for cached input
    return ((read - cached) * price[0] + cached * cheap + written * price[1]) / 1e6


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent so far."""

    lm_calls: int = 0
    """At the endpoint: retries and hedges count, answers from the cache do not."""
    tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.lm_calls + other.lm_calls,
            self.tokens + other.tokens,
            self.cost_usd + other.cost_usd,
            self.seconds + other.seconds,
        )

    def __sub__(self, other: Spent) -> Spent:
        return Spent(
            self.lm_calls - other.lm_calls,
            self.tokens - other.tokens,
            self.cost_usd - other.cost_usd,
            self.seconds - other.seconds,
        )
