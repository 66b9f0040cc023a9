r"""Metrics beside `exact` and `number` of `tfgrpo_dspy.rewards`: `math_equal` for mathematics, `f1` for texts.

Each is called as `metric(example, prediction, trace=None)`, from any thread, and compares the example's label with the
prediction's field of the same name.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from evals.texts import answer_key
from evals.verifiers.math_pool import Undecided, shared_pool
from tfgrpo_dspy import MetricError
from tfgrpo_dspy.rewards import expected_and_given, final_part, judged, normalise, same_answer, shown

if TYPE_CHECKING:
    import dspy

SECONDS = 2.0
"""Of computing that one comparison of two formulas may take; a comparison that exceeds it makes the answer wrong."""
_LONGEST = 4000
"""Characters of an answer, counted from its end, that are read."""
_LONGEST_FORMULA = 1000
"""Characters of a formula at most; longer ones are no answer but an attack or a mistake."""
_INTEGER = re.compile(r"-?\d+")
_BASE = re.compile(r"\d\s*_\s*\{?\s*(\d+)\s*\}?$")
_WORD = re.compile(r"\w+|[^\w\s]")


def math_equal(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> dspy.Prediction:
    r"""Score 1 if the answer is mathematically the expected one.

    Integers are compared by value (`025`, `25`, `336^\circ`), everything else by math-verify: fractions and roots,
    polynomials, sets, intervals, tuples, matrices, percentages, answers with units. Read are the content of the last
    `\boxed{}`, else what follows the last `####`, else the text. What cannot be compared within `SECONDS` is wrong.

    Raises:
        MetricError: No label to compare with, one that is no mathematical answer, or a prediction without the field.
        MissingExtraError: math-verify is needed and not installed.
    """
    expected, given = expected_and_given(example, prediction)
    wanted, found = final_part(expected).strip(), final_part(given).strip()[-_LONGEST:]
    try:
        equal = same_math(wanted, found)
    except Undecided as reason:
        return judged(0.0, f"Wrong: {shown(found)} could not be compared with the expected {shown(wanted)}: {reason}.")
    if equal:
        return judged(1.0, f"Correct: {shown(wanted)}.")
    return judged(0.0, f"Wrong: expected {shown(wanted)}, got {shown(found)}.")


def f1(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> dspy.Prediction:
    """The harmonic mean of precision and recall of the answer's words, in [0, 1]; a Chinese character is a word.

    Raises:
        MetricError: No label to compare with, or a prediction without the field.
    """
    expected, given = expected_and_given(example, prediction)
    wanted, found = _words(expected), _words(given)
    shared = (wanted & found).total()
    score = 2 * shared / (wanted.total() + found.total()) if shared else 0.0
    return judged(score, f"{shared} words in common with {shown(expected)} (F1 {score:.2f}).")


def equivalent(one: str, other: str) -> bool:
    """Whether two answers, neither known to be right, are mathematically the same; for `MajorityVote`."""
    first, second = final_part(one).strip()[-_LONGEST:], final_part(other).strip()[-_LONGEST:]
    try:
        return same_answer(first, second) or same_math(first, second)
    except (Undecided, MetricError):
        return False


def same_math(gold: str, given: str) -> bool:
    """Whether an answer is mathematically the gold one.

    Raises:
        Undecided: It cannot be told within the time and memory allowed.
        MetricError: The gold answer is no mathematical one.
    """
    wanted, found = answer_key(gold), answer_key(given)
    if wanted == found or not found:
        return wanted == found and bool(found)
    if _is_integer(wanted) and _is_integer(found):
        return False
    bases = _BASE.search(wanted), _BASE.search(found)
    if bases[0] and bases[1] and bases[0][1] != bases[1][1]:  # math-verify passes over them
        return False
    if len(gold) > _LONGEST_FORMULA:
        raise MetricError(f"the expected answer has {len(gold)} characters; {shown(gold)} is no mathematical answer")
    equal = _compare(gold, given)
    if isinstance(equal, Undecided):
        raise equal
    if equal is None:
        raise MetricError(
            f"math-verify cannot read the expected answer {shown(gold)}; use the metric `exact`, or one of your own"
        )
    return equal


@lru_cache(maxsize=1 << 14)  # the rollouts of a group mostly agree, and so do those of every epoch
def _compare(gold: str, given: str) -> bool | Undecided | None:
    try:
        return shared_pool(SECONDS).compare(gold, given)
    except Undecided as reason:
        return reason


def _is_integer(key: str) -> bool:
    return _INTEGER.fullmatch(key) is not None


def _words(text: str) -> Counter[str]:
    return Counter(word for word in _split(normalise(text)) if word.isalnum())


def _split(text: str) -> list[str]:
    spaced = re.sub(r"([\u3040-\u30ff\u3400-\u9fff])", r" \1 ", text)
    return _WORD.findall(spaced)
