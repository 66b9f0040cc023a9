"""The measured effect of an experience on the reward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["helps", "hurts", "does nothing", "undecided"]
"""What the evidence on an experience allows to say."""

LEVEL = 0.95

REACH = 1.959964
"""Standard errors of an interval at that level to each side."""

TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Effect:
    """What one experience does to the reward."""

    id: str
    text: str
    """The text that was measured."""
    value: float
    """Change of the mean reward over the trainset's problems, in the metric's unit."""
    low: float
    high: float
    n_with: int
    """Scored rollouts that read it."""
    n_without: int
    """Scored rollouts it was withheld from."""
    level: float = LEVEL

    @property
    def z(self) -> float:
        """The value in standard errors."""
        return REACH * 2 * self.value / max(self.high - self.low, TINY)

    def to_text(self) -> str:
        """`+0.021 [+0.004, +0.038], 498 rollouts with it, 222 without`."""
        counts = f"{self.n_with} rollouts with it, {self.n_without} without"
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}], {counts}"
