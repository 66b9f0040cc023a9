"""What the tokens of an LM cost, by DSPy's price data."""

from __future__ import annotations

from collections.abc import Sequence

import dspy
from dspy.clients.capabilities import resolve
from dspy.clients.model_metadata import model_info, rate
from dspy.utils.exceptions import LMError

from tfgrpo_dspy.lm.budget import Price
from tfgrpo_dspy.lm.meter import Meter, no_price


def find_prices(lms: Sequence[dspy.BaseLM], meter: Meter) -> None:
    """Tell the meter the prices that a cap in US dollars needs.

    Raises:
        SettingsError: One is unknown, and known to stay so.
    """
    budget = meter.spending.budget
    if budget is None or budget.max_cost_usd is None:
        return
    for lm in lms:
        if meter.spending.price_of(lm.model) is not None or _is_priced_elsewhere(lm):
            continue
        price = price_of(lm)
        if price is None:
            raise no_price(lm.model)
        meter.spending.set_price(lm.model, price)


def price_of(lm: dspy.BaseLM) -> Price | None:
    """US dollars per million input and output tokens; None if DSPy does not know them."""
    if not isinstance(getattr(lm, "_engine_spec", None), str):
        return None
    from dspy.lm15 import LM15Error

    try:
        route = resolve(lm)
    except (LM15Error, LMError):
        return None
    info = model_info(route.provider, route.model)
    prices = rate(info, "input_cost_per_token"), rate(info, "output_cost_per_token")
    return None if None in prices else (1e6 * prices[0], 1e6 * prices[1])


def _is_priced_elsewhere(lm: dspy.BaseLM) -> bool:
    """Whether LiteLLM, or the LM itself, may report the cost of a call; that shows with the first one."""
    spec = getattr(lm, "_engine_spec", None)
    return spec is None or spec == "litellm"
