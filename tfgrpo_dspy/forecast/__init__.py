"""What a run will take, before it is paid for: one pilot step, scaled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfgrpo_dspy.names.public import lazily

if TYPE_CHECKING:
    from tfgrpo_dspy.forecast.forecast import Forecast, Range

__all__ = ["Forecast", "Range"]

__getattr__, __dir__ = lazily(__name__)
