"""What a run may spend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, TypeAlias

from tfgrpo_dspy.declaration import above, at_least, check_settings, like, setting
from tfgrpo_dspy.errors import SettingsError

Price = tuple[float, float] | tuple[float, float, float]
"""US dollars per million input tokens and per million output tokens, and if it is another, per million input tokens
that the provider reads from its prompt cache."""


Kind: TypeAlias = Literal["policy", "summary", "extraction", "update"]
POLICY: Kind = "policy"
SUMMARY: Kind = "summary"
EXTRACTION: Kind = "extraction"
UPDATE: Kind = "update"
"""Kinds of calls, in the order of a step: each leaves of a budget what the later ones need."""


@dataclass(frozen=True, slots=True)
class Due:
    """What a group will need to be learned from, unless its rewards turn out equal."""

    group: str
    calls: int


class Reason(str):
    """Why nothing new starts any more, in words."""

    how: Literal["limit", "patience", "outage", "disk"]
    """Which way of ending that is."""

    def __new__(cls, words: str, how: Literal["limit", "patience", "outage", "disk"] = "limit") -> Reason:
        """Those words; a reason given for words stays what it is."""
        made = super().__new__(cls, words)
        made.how = words.how if isinstance(words, Reason) else how
        return made


class OutOfBudget(BaseException):
    """A call that was not made, or not waited for to its end, because nothing new may start.

    Control flow, not a failure: no `Exception`, so that a program's own `except Exception` cannot take it for one.
    """


def price_of(text: str) -> Price:
    """`0.4,1.6` as US dollars per million input and output tokens, `0.4,1.6,0.1` with those of cached input.

    Raises:
        SettingsError: It is something else.
    """
    with suppress(ValueError):
        match [float(part) for part in text.split(",")]:
            case [read, written]:
                return read, written
            case [read, written, cached]:
                return read, written, cached
    raise SettingsError(
        "`price_per_million` must be two numbers, e.g. `(0.4, 1.6)` for input and output, and may have a third for "
        f"input that the provider has cached, got {text!r}"
    )


def _is_price(given: object) -> bool:
    prices = given.values() if isinstance(given, Mapping) else [given]
    return all(
        isinstance(price, tuple | list)
        and len(price) in {2, 3}
        and all(isinstance(part, int | float) and math.isfinite(part) and part >= 0 for part in price)
        for price in prices
    )


class Unpriced(BaseException):
    """A call's cost is unknown under a cap in US dollars; carries the `SettingsError` that stops the run."""

    def __init__(self, model: str) -> None:
        self.error = no_price(model)
        super().__init__(str(self.error))


def no_price(model: str) -> SettingsError:
    """The error for a cap in US dollars that cannot be kept."""
    return SettingsError(
        f"`max_cost_usd` cannot be kept: the price of {model} is unknown; give it in US dollars per million tokens in "
        "and out, e.g. `price_per_million=(0.4, 1.6)`, or cap `max_tokens` or `max_lm_calls` instead"
    )


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Caps of a run; what would exceed one is not started, and the run ends with what it has learned.

    Calls are counted at the endpoint, retries and hedges included, and never exceed their cap. Tokens and money are
    reserved for before a call by what calls of its model have taken at most so far, so a reply that is longer than
    every one before it may exceed those caps by its surplus. Where an endpoint reports no tokens, they are estimated
    from the texts, and these caps are kept on the estimate, which the run says. Answers from DSPy's cache count for
    nothing.

    With `log_dir` the caps hold for a run however often it was killed and taken up again: what it spent is written down
    there, and calls in flight at a kill count as what was set aside for them.

    Raises:
        SettingsError: A cap is out of its range, or there is none.
    """

    group: ClassVar[str] = "limits"

    max_cost_usd: float | None = setting(None, "US dollars at most.", above(0), metavar="USD", common=True)
    max_tokens: int | None = setting(None, "Tokens at most, input and output together.", at_least(1))
    max_lm_calls: int | None = setting(None, "Calls at the endpoint at most.", at_least(1))
    max_seconds: float | None = setting(
        None,
        "Wall-clock time at most, without that between a kill and the resumption; calls that are expected to end later "
        "are not started, and those still in flight ten seconds after it are given up.",
        above(0),
        metavar="SECONDS",
    )
    price_per_million: Price | Mapping[str, Price] | None = setting(
        None,
        "US dollars for a million tokens: input, output and, if it is another, input that the provider has cached; in "
        "Python also model name to that. `None` takes DSPy's price data.",
        like("`(input, output)` or `(input, output, cached input)`, or model name to that", where=_is_price),
        read=price_of,
        metavar="IN,OUT[,CACHED]",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.price_per_million is not None and self.max_cost_usd is None:
            raise SettingsError("`price_per_million` does nothing without `max_cost_usd`; leave it out or give both")
        caps = [f.name for f in fields(self) if f.name.startswith("max_")]
        if all(getattr(self, name) is None for name in caps):
            raise SettingsError(f"a Budget needs at least one of {', '.join(f'`{name}`' for name in caps)}")

    def price_of(self, model: str) -> Price | None:
        """The price given for a model; None if there is none."""
        prices = self.price_per_million
        return prices.get(model) if isinstance(prices, Mapping) else prices

    @property
    def caps(self) -> dict[str, float]:
        """The caps that are set, by name."""
        set_here = {f.name: getattr(self, f.name) for f in fields(self) if f.name.startswith("max_")}
        return {name: cap for name, cap in set_here.items() if cap is not None}

    def check_above(self, spent: Spent) -> None:
        """Raises `SettingsError` if a cap is below what is spent already: nothing could be done under it."""
        for cap, amount, what in (
            (self.max_lm_calls, spent.lm_calls, f"{spent.lm_calls:,} calls are"),
            (self.max_tokens, spent.tokens, f"{spent.tokens:,} tokens are"),
            (self.max_cost_usd, spent.cost_usd, f"${spent.cost_usd:.4f} are"),
            (self.max_seconds, spent.seconds, f"{spent.seconds:.0f} seconds are"),
        ):
            if cap is not None and amount > cap:
                raise SettingsError(f"{what} spent already, which is above the cap of {cap:,g}; cap above that")


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
