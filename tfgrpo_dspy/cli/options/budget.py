"""What the options of a command line say a run may spend, and at which price."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.lm.budget import Budget, Price

if TYPE_CHECKING:
    from tfgrpo_dspy.cli.options.common import CompileOptions


def budget_of(options: CompileOptions) -> Budget | None:
    """The caps that the options set; None for none."""
    caps: dict[str, Any] = {
        "max_cost_usd": options.max_cost_usd,
        "max_tokens": options.max_tokens,
        "max_lm_calls": options.max_lm_calls,
        "max_seconds": options.max_seconds,
    }
    price = price_of(options.price)
    if options.max_cost_usd is None and (options.dry_run or options.confirm_above is not None):
        price = None  # it is for the forecast alone
    given = any(cap is not None for cap in caps.values()) or price is not None
    return Budget(**caps, price_per_million=price) if given else None


def price_of(text: str | None) -> Price | None:
    """`0.4,1.6` as US dollars per million input and output tokens, `0.4,1.6,0.1` with those of cached input.

    Raises:
        SettingsError: It is something else.
    """
    if text is None:
        return None
    with suppress(ValueError):
        match [float(part) for part in text.split(",")]:
            case [read, written]:
                return read, written
            case [read, written, cached]:
                return read, written, cached
    raise SettingsError(
        "--price must be two numbers, e.g. 0.4,1.6 for input and output, and may have a third for input that the "
        f"provider has cached, got {text!r}"
    )
