"""What the evidence on an experience allows to say, and how often that is wrong: the one place for both. Pure.

Two questions are asked of the evidence. *Where it applies*: the questions that it was learned from and those like them,
where a tip must help if it does anywhere; in a mean over all questions, one that helps one in thirty shows nothing.
*Overall*: one that helps a little everywhere shows it there.

*Helps* and *hurts* are said once an effect of the least size that counts explains the evidence `CLEAR` times as well as
none does, in one place or the other. *Does nothing* is said once none explains it `CERTAIN` times as well as that size,
in both. By Ville's inequality at most 1 in so many is called wrongly at each place, however often one looks; fewer in
practice (`benchmarks/trials.py`). All else is *undecided*.
"""

from __future__ import annotations

from math import log

from tfgrpo_dspy.records.effects import Verdict
from tfgrpo_dspy.statistics.within import Within

CLEAR, CERTAIN = 40, 10
"""The second is lower: an entry that says nothing distracts everywhere, and what is lost by mistake is learned anew."""
WHERE, OVERALL = 0.6, 0.25
"""The least effect that counts, where an entry applies and over all questions, in standard deviations of the rewards of
one question: .3 and .12 where every other answer is right, .24 and .1 where four in five are."""


def verdict_of(where: Within | None, overall: Within | None, spread: float) -> Verdict:
    """What can be said of an entry.

    Args:
        where: Its effect where it applies; None if it was not measured there.
        overall: Its effect over all questions; None if it was not measured.
        spread: Standard deviation of the rewards of one question, >= 0; at 0 nothing can be said.
    """
    if spread <= 0 or where is None or overall is None:
        return "undecided"
    sizes = (where, WHERE * spread), (overall, OVERALL * spread)
    if any(found.log_odds(-size) >= log(CLEAR) for found, size in sizes):
        return "hurts"
    odds = [found.log_odds(size) for found, size in sizes]
    if max(odds) >= log(CLEAR):
        return "helps"
    return "does nothing" if max(odds) <= -log(CERTAIN) else "undecided"
