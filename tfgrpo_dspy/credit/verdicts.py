"""What the evidence on an experience allows to say, and how often that is wrong: the one place for both. Pure.

Two questions are asked of the evidence. *Where it applies*: the questions that it was learned from and those like them,
where a tip must help if it does anywhere; in a mean over all questions, one that helps one in thirty shows nothing.
*Overall*: one that helps a little everywhere shows it there.

*Helps* and *hurts* are said once an effect of the least size that counts explains the evidence `CLEAR` times as well
as none does, in one place or the other. *Does nothing* is said once none, or harm, explains it `CLEAR` times as well as
that size, in both. Of a general entry, one that says nothing of the tasks it was learned from, it is enough that this
is so overall and that nothing speaks for it where it was learned; of a specific one the more is asked for, the more of
its like help (`odds_of_helping`). By Ville's inequality about 1 in so many is called wrongly at each place at most,
however often one looks. All else is *undecided*. Measured by `benchmarks/trials.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

from tfgrpo_dspy.records.effects import Verdict
from tfgrpo_dspy.statistics.within import Within

CLEAR = 40
WHERE, OVERALL = 0.6, 0.25
"""The least effect that counts, where an entry applies and over all questions, in standard deviations of the rewards of
one question: .3 and .12 where every other answer is right, .24 and .1 where four in five are."""

_ROUNDS = 30
"""Of expectation and maximisation."""


def verdict_of(where: Within | None, overall: Within | None, spread: float, *, prior: float | None = None) -> Verdict:
    """What can be said of an entry.

    Args:
        where: Its effect where it applies; None if it was not measured there.
        overall: Its effect over all questions; None if it was not measured.
        spread: Standard deviation of the rewards of one question, >= 0; at 0 nothing can be said.
        prior: Of a specific entry, the log odds, >= 0, that one like it helps; None for a general one.
    """
    if spread <= 0 or where is None or overall is None:
        return "undecided"
    sizes = (where, WHERE * spread), (overall, OVERALL * spread)
    harm = [found.log_odds(-size) for found, size in sizes]
    help_ = [found.log_odds(size) for found, size in sizes]
    if max(harm) >= log(CLEAR):
        return "hurts"
    if max(help_) >= log(CLEAR):
        return "helps"
    there, everywhere = (helps - max(hurts, 0.0) for helps, hurts in zip(help_, harm, strict=True))
    is_refuted = there <= (0 if prior is None else -log(CLEAR) - prior) and everywhere <= -log(CLEAR)
    return "does nothing" if is_refuted else "undecided"


def odds_of_helping(found: Sequence[Within], spread: float) -> float:
    """Log odds, >= 0, that a specific entry helps where it applies: all are a mixture of some size and none."""
    ratios = [exp(max(min(one.log_odds(WHERE * spread), 50.0), -50.0)) for one in found] if spread > 0 else []
    share = 0.5
    for _ in range(_ROUNDS):
        helping = sum(share * ratio / (share * ratio + 1 - share) for ratio in ratios)
        share = (helping + 1) / (len(ratios) + 2)
    return max(log(share / (1 - share)), 0.0)
