"""Whether a reward can be learned from: does it follow the verifier, does it vary, does it pay for length? Pure.

A run learns from differences within a group, so that is where a reward is looked at: pairs of rollouts of one question
(`audit_reward`). One that says right or wrong can be held against a person's verdicts as well (`audit_verdicts`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import fsum, isfinite

from tfgrpo_dspy.errors import DataError
from tfgrpo_dspy.records.rollouts import Group
from tfgrpo_dspy.statistics.estimates import Estimate, mean_at_k
from tfgrpo_dspy.text import count_words

Rows = Sequence[Sequence[float]]
"""One row per question, one number per rollout."""

LEAST_AGREEMENT = 0.9
"""Share of pairs on which a reward should follow the verifier."""
MOST_FOR_LENGTH = 0.1
"""Correlation with length, among rollouts that the verifier finds alike, from which a reward is flagged."""
_CHANCE = 0.5
_TOLERANCE = 1e-9
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class RewardAudit:
    """What an audit found."""

    rollouts: int
    agreement: Estimate | None
    """Share, in [0, 1], of the pairs within a question that the verifier tells apart in which the reward prefers the
    same rollout; a tie counts half. Over questions; None where the verifier tells none apart."""
    length: Estimate | None
    """Kendall's correlation, in [-1, 1], of reward and length within a question, among rollouts that the verifier finds
    alike: above 0 the longer ones are paid more. None where there are no such pairs of different length."""
    varying: float
    """Share of the questions, in [0, 1], whose rollouts do not all have the same reward."""
    flags: tuple[str, ...]
    """What is wrong with it, in words; empty if nothing was found."""

    def to_text(self) -> str:
        """The figures and flags, one a line."""
        lines = [
            f"agreement with the verifier  {_shown(self.agreement, 'no pair to judge by')}",
            f"correlation with length      {_shown(self.length, 'no pair to judge by')}",
            f"questions where it varies    {self.varying:.2f} of the questions, {self.rollouts} rollouts",
            *(f"! {flag}" for flag in self.flags),
        ]
        return "\n".join(lines) + "\n"


def audit_reward(rewards: Rows, verdicts: Rows, lengths: Rows, *, level: float = 0.95) -> RewardAudit:
    """Compare a reward with a verifier's verdicts and with the lengths of the answers.

    Args:
        rewards: Of each rollout, one row per question.
        verdicts: What the verifier says of the same rollouts: 1 right, 0 wrong, or anything in between.
        lengths: Of the same rollouts, in words, tokens or whatever else.
        level: Of the intervals, in (0, 1).

    Raises:
        DataError: The three differ in shape, hold no rollout, or something that is no finite number.
    """
    followed, longer = [], []  # per question, of the pairs that tell it
    for pairs in _questions(rewards, verdicts, lengths):
        if told_apart := [reward * verdict for reward, verdict, _ in pairs if verdict]:
            followed.append([(sum(told_apart) / len(told_apart) + 1) / 2])
        if alike := [reward * length for reward, verdict, length in pairs if length and not verdict]:
            longer.append([sum(alike) / len(alike)])
    agreement = mean_at_k(followed, level=level, bounds=(0.0, 1.0)) if followed else None
    length = mean_at_k(longer, level=level, bounds=(-1.0, 1.0)) if longer else None
    varying = sum(max(row) - min(row) > _TOLERANCE for row in rewards if row) / sum(bool(row) for row in rewards)
    seen = [reward for row in rewards for reward in row]
    is_constant = max(seen) - min(seen) <= _TOLERANCE
    flags = tuple(_flags(agreement, length, varying, is_constant))
    return RewardAudit(len(seen), agreement, length, varying, flags)


def audit_groups(groups: Sequence[Group], verdict: str = "accuracy", *, level: float = 0.95) -> RewardAudit:
    """`audit_reward` of rollouts that were scored by a composite reward, one part of which is the verifier.

    Args:
        groups: Of an evaluation or of a run's steps, e.g. `evaluate(..., Weighted({...})).groups`.
        verdict: Name of the part that says what is right. Rollouts without it (the program failed) are left out.
        level: As for `audit_reward`.

    Raises:
        DataError: No rollout has that part.
    """
    rows = [[(r, dict(r.parts)[verdict]) for r in group.scored if verdict in dict(r.parts)] for group in groups]
    if not any(rows):
        raise DataError(
            f"no rollout has a part {verdict!r} of its reward; score them by Weighted({{{verdict!r}: ...}})"
        )
    return audit_reward(
        [[r.reward for r, _ in row] for row in rows],
        [[right for _, right in row] for row in rows],
        [[count_words(r.answer) for r, _ in row] for row in rows],
        level=level,
    )


@dataclass(frozen=True, slots=True)
class VerdictAudit:
    """How verdicts agree with labels; every figure is over answers, the repeated verdicts on one being one cluster."""

    answers: int
    repeats: int
    agreement: Estimate
    """Share of verdicts that agree with the label."""
    kappa: Estimate | None
    """Cohen's kappa with the labels, in [-1, 1]: agreement beyond that of one who knows only how often answers are
    right. None where labels and verdicts are all the same."""
    self_agreement: Estimate | None
    """Chance that two verdicts on one answer agree; None without repeats."""
    false_accepts: float
    """Share of the wrong answers' verdicts that say right, in [0, 1]; 0 without wrong answers."""
    false_rejects: float
    """Share of the right answers' verdicts that say wrong."""
    lost: int
    """Verdicts that could not be had; they are in no figure."""

    def to_text(self) -> str:
        """A small table."""
        rows = [
            ("agreement with labels", _text(self.agreement)),
            ("Cohen's kappa", "undefined" if self.kappa is None else _text(self.kappa)),
            ("self-agreement", "not repeated" if self.self_agreement is None else _text(self.self_agreement)),
            ("wrong answers accepted", f"{self.false_accepts:.3f}"),
            ("right answers rejected", f"{self.false_rejects:.3f}"),
            ("verdicts", f"{self.answers} answers x {self.repeats}, {self.lost} lost"),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows) + "\n"


def audit_verdicts(labels: Sequence[bool], verdicts: Sequence[Sequence[bool]], repeats: int) -> VerdictAudit:
    """The audit's figures from its verdicts, one row for each label; pure. Lost verdicts are missing from their row.

    Raises:
        DataError: There is no verdict.
    """
    known = [(label, row) for label, row in zip(labels, verdicts, strict=True) if row]
    if not known:
        raise DataError("no verdict could be had, so there is nothing to say of it")
    agreement = mean_at_k([[float(v == label) for v in row] for label, row in known], bounds=(0.0, 1.0))
    right = [sum(row) / len(row) for _, row in known]
    agreeing = [(sum(row), len(row)) for _, row in known if len(row) > 1]
    repeated = [[(s * (s - 1) + (n - s) * (n - s - 1)) / (n * (n - 1))] for s, n in agreeing]
    accepted = [v for label, row in known for v in row if not label]
    rejected = [not v for label, row in known for v in row if label]
    return VerdictAudit(
        answers=len(labels),
        repeats=repeats,
        agreement=agreement,
        kappa=cohen_kappa(agreement, _share([label for label, _ in known]), fsum(right) / len(right)),
        self_agreement=mean_at_k(repeated, bounds=(0.0, 1.0)) if repeated else None,
        false_accepts=_share(accepted),
        false_rejects=_share(rejected),
        lost=len(labels) * repeats - sum(len(row) for _, row in known),
    )


def cohen_kappa(agreement: Estimate, labels: float, verdicts: float) -> Estimate | None:
    """Cohen's kappa with its interval, from an agreement and the shares of `right` among labels and verdicts.

    The interval is that of the agreement, the shares taken as they are. None where chance alone would always agree.

    Source: Cohen, "A Coefficient of Agreement for Nominal Scales", 1960, whose standard error takes them so, too.
    """
    chance = labels * verdicts + (1 - labels) * (1 - verdicts)
    if 1 - chance < _ROUNDING:
        return None
    value, low, high = ((x - chance) / (1 - chance) for x in (agreement.value, agreement.low, agreement.high))
    return Estimate(value, max(low, -1.0), high, agreement.n, agreement.level)


def _questions(rewards: Rows, verdicts: Rows, lengths: Rows) -> Iterator[list[tuple[int, ...]]]:
    """For each pair of a question's rollouts the signs of its differences in reward, verdict and length."""
    shapes = {tuple(len(row) for row in rows) for rows in (rewards, verdicts, lengths)}
    if len(shapes) != 1:
        raise DataError("rewards, verdicts and lengths must have the same questions and rollouts in the same order")
    if not any(shapes.pop()):
        raise DataError("an audit needs at least one rollout")
    if not all(isfinite(value) for rows in (rewards, verdicts, lengths) for row in rows for value in row):
        raise DataError("rewards, verdicts and lengths must be finite numbers")
    for row in zip(rewards, verdicts, lengths, strict=True):
        rollouts = list(zip(*row, strict=True))
        yield [tuple(_sign(b - a) for a, b in zip(*pair, strict=True)) for pair in combinations(rollouts, 2)]


def _sign(value: float) -> int:
    return (value > _TOLERANCE) - (value < -_TOLERANCE)


def _flags(agreement: Estimate | None, length: Estimate | None, varying: float, is_constant: bool) -> Iterator[str]:
    if is_constant:
        yield "constant: every rollout has the same reward, so no group can teach anything"
        return
    if not varying:
        yield "constant within every question: no group can teach anything"
        return
    if agreement is not None and agreement.high < LEAST_AGREEMENT:
        yield f"disagrees with the verifier: it follows it on {agreement.value:.0%} of the pairs"
    elif agreement is not None and agreement.low <= _CHANCE:
        yield (
            f"not shown to follow the verifier: {_text(agreement)} on {agreement.n} questions holds 0.5, which "
            "is chance; audit more of them"
        )
    if length is not None and abs(length.value) >= MOST_FOR_LENGTH and not length.low <= 0 <= length.high:
        more = "longer" if length.value > 0 else "shorter"
        yield f"pays for length: among answers that are equally right it prefers the {more} ({length.value:+.2f})"


def _shown(estimate: Estimate | None, otherwise: str) -> str:
    return otherwise if estimate is None else f"{_text(estimate)} over {estimate.n} questions"


def _share(verdicts: Sequence[bool]) -> float:
    return sum(verdicts) / len(verdicts) if verdicts else 0.0


def _text(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
