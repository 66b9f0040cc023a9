"""What is known of a model before it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import dspy
from dspy.utils.exceptions import LMConfigurationError

_NOT_THEIRS = 0.7


def keeps_its_temperature(lm: dspy.BaseLM) -> bool:
    """Whether its model takes no temperature but its own: OpenAI's reasoning models, and Claude while it thinks."""
    thinking = lm.kwargs.get("thinking")
    is_thinking = isinstance(thinking, Mapping) and thinking.get("type") in {"enabled", "adaptive"}
    return is_thinking or _is_refused_by_dspy(lm.model)


@lru_cache(maxsize=256)
def _is_refused_by_dspy(model: str) -> bool:
    """DSPy makes no LM of such a model with another temperature, and so knows them by name."""
    try:
        dspy.LM(model, temperature=_NOT_THEIRS)
    except LMConfigurationError as error:
        return "temperature" in str(error)
    except Exception:  # noqa: BLE001 - a name that is none of DSPy's
        return False
    return False
