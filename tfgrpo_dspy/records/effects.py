"""The measured effect of an experience on the reward."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from statistics import NormalDist
from typing import Literal

Verdict = Literal["helps", "hurts", "does nothing", "undecided"]
"""What the evidence on an experience allows to say."""

LEVEL = 0.95
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Effect:
    """What one experience does to the reward: rollouts that read it, minus those of the same group that did not.

    All in the metric's unit, with plain differences and their intervals but for `shrunken`.
    """

    id: str
    text: str
    """The text that was measured."""
    value: float
    """Where it applies: on the questions that it was learned from, and on others as far as they are like them."""
    low: float
    high: float
    overall: float
    """Over all questions alike."""
    overall_low: float
    overall_high: float
    shrunken: float
    """`value`, moved towards the mean of all effects by as much as it is uncertain: right on average over many effects,
    too small for a strong one."""
    n_with: int
    """Scored rollouts that read it, of all questions."""
    n_without: int
    """Scored rollouts of the same groups that did not."""
    verdict: Verdict = "undecided"
    against: str | None = None
    """What the others read instead, its text before an update changed it; None for nothing."""
    level: float = LEVEL
    prior: float = 0.0
    """Log odds, >= 0, that an entry of its kind helps, by all that were measured with it; 0 for a general one."""

    @property
    def chance_of_helping(self) -> float:
        """That it helps where it applies, in [0, 1], by its own evidence alone: 0.5 if none speaks either way."""
        error = (self.high - self.low) / (2 * _NORMAL.inv_cdf((1 + self.level) / 2))
        if error <= 0:
            return 0.5 if self.value == 0 else float(self.value > 0)
        return _NORMAL.cdf(self.value / error)

    @property
    def chance_among_its_like(self) -> float:
        """That it helps, by its own evidence and by how many of its like do."""
        for_it = self.chance_of_helping * exp(self.prior)
        return for_it / (for_it + 1 - self.chance_of_helping)

    def to_text(self) -> str:
        """`helps: +0.321 [+0.154, +0.488] where it applies, +0.021 [...] overall, shrunken +0.250; ...`."""
        where = f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}] where it applies"
        overall = f"{self.overall:+.3f} [{self.overall_low:+.3f}, {self.overall_high:+.3f}] overall"
        counts = (
            f"{self.n_with} rollouts with it, {self.n_without} {'without' if self.against is None else 'as it was'}"
        )
        return f"{self.verdict}: {where}, {overall}, shrunken {self.shrunken:+.3f}; {counts}"
