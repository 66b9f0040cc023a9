r"""Built-in metrics for tasks whose answer is known: `exact` for words, `number` for numbers.

Both are called as `metric(example, prediction, trace=None)` and return a `dspy.Prediction` with a score of 0.0 or
1.0 and feedback in words. The expected answer is the example's only label field, or its label `answer` if there are
several; the prediction's field of the same name is compared with it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from tfgrpo_dspy.errors import MetricError

if TYPE_CHECKING:
    import dspy

RELATIVE_TOLERANCE = Fraction(1, 1_000_000)
"""Share of the expected number by which a number may miss it; whole numbers must be equal."""

_SHOWN = 200
"""Characters of an answer repeated in feedback."""


def exact(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> dspy.Prediction:
    """Score 1 if the answer is the expected text, whatever its case, blanks, quotes around it or closing full stop.

    Raises:
        MetricError: No label to compare with, or a prediction without the field.
    """
    expected, given = expected_and_given(example, prediction)
    if normalise(expected) == normalise(given):
        return judged(1.0, "Correct.")
    return judged(0.0, f"Wrong: expected {shown(expected)}, got {shown(given)}.")


def number(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> dspy.Prediction:
    r"""Score 1 if the answer's number is the expected one.

    Read are the content of the last `\boxed{}`, else what follows the last `####`, else the whole text, and of that
    the last number: `1,234`, `025`, `-0.5`, `3/4`, `\frac{3}{4}`, `1 1/2`, `1.5e3`, `2 \times 10^{4}`; currency signs
    and units are passed over. Whole numbers must be equal, others agree within a relative 1e-6. `50%` agrees with 50
    and with 0.5.

    Raises:
        MetricError: No label to compare with, one that is no plain number, or a prediction without the field.
    """
    expected, given = expected_and_given(example, prediction)
    plain = _plain(final_part(expected))
    numbers = list(_numbers(plain))
    if len(numbers) != 1 or _NOT_PLAIN.search(plain):
        raise MetricError(
            f"the expected answer {shown(expected)} is no plain number; use the metric `exact` or one of your own, "
            "or mark the number with #### in front"
        )
    wanted, found = numbers[0], parse_number(given)
    if found is None:
        return judged(0.0, f"Wrong: expected {wanted.text}, but there is no number in {shown(given)}.")
    if _agree(found, wanted):
        return judged(1.0, f"Correct: {wanted.text}.")
    return judged(0.0, f"Wrong: expected {wanted.text}, got {found.text}.")


BUILT_IN: dict[str, Callable[..., dspy.Prediction]] = {"exact": exact, "number": number}
"""Metrics by the names that commands take."""


class Number(NamedTuple):
    """A number found in a text."""

    value: Fraction
    is_percent: bool
    """Whether a percent sign follows it; `value` is then what stands before the sign."""
    text: str
    """As written, after simplification of its LaTeX."""


def parse_number(text: str) -> Number | None:
    """The number that a text gives as its answer (see `number`), or None."""
    return next(iter(reversed(list(_numbers(_plain(final_part(text)))))), None)


def same_answer(one: str, other: str) -> bool:
    """Whether two answers are the same text, as for `exact`, or nothing but the same number, as for `number`."""
    first, second = final_part(one), final_part(other)
    if normalise(first) == normalise(second):
        return True
    numbers = _only_number(first), _only_number(second)
    return numbers[0] is not None and numbers[1] is not None and _agree(numbers[0], numbers[1])


def expected_and_given(example: dspy.Example, prediction: dspy.Prediction) -> tuple[str, str]:
    """The example's label and the prediction's field of that name, as texts.

    Raises:
        MetricError: No label to compare with, or a prediction without the field.
    """
    labels = list(example.labels().keys())
    field = labels[0] if len(labels) == 1 else "answer"
    if field not in labels:
        found = f"its labels are {', '.join(labels)}" if labels else "it has no label (a field that is no input)"
        raise MetricError(f"the example has no label `answer` to compare with, {found}; name the answer column")
    if field not in prediction:
        outputs = ", ".join(prediction.keys()) or "nothing"
        raise MetricError(
            f"the program returned {outputs}, but the expected answer is called '{field}'; "
            "rename the program's output or the answer column"
        )
    expected, given = example[field], prediction[field]
    return str(expected), "" if given is None else str(given)


def judged(score: float, feedback: str) -> dspy.Prediction:
    """What a metric returns."""
    import dspy  # heavy, and only needed when a metric runs

    return dspy.Prediction(score=score, feedback=feedback)


def shown(text: str) -> str:
    """The text for feedback: quoted, on one line, of bounded length."""
    line = " ".join(text.split())
    return repr(line if len(line) <= _SHOWN else f"{line[:_SHOWN]}...")


def normalise(text: str) -> str:
    """What two texts are compared by: without case, runs of blanks, quotes around it or a closing full stop."""
    words = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return words.removesuffix(".").strip("\"'`\u201c\u201d\u2018\u2019 ").removesuffix(".")


_BOXED = "\\boxed{"
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{\s*(-?[\d.,]+)\s*\}|(\d))\s*(?:\{\s*([\d.,]+)\s*\}|(\d))")
_POWER_OF_TEN = re.compile(r"(?<=\d)\s*(?:\\times|\\cdot|×|·|\*)\s*10\s*\^\s*\{?\s*([-+]?\d{1,3})\s*\}?")
_BARE_POWER_OF_TEN = re.compile(r"(?<![\w.])10\s*\^\s*\{?\s*([-+]?\d{1,3})\s*\}?")
_UNIT_EXPONENT = re.compile(r"(?<=[A-Za-z}])\s*\^\s*\{?\s*-?\d+\s*\}?")
_GROUP_MARK = re.compile("(?<=\\d)(?:\\{,\\}|\\\\[,!;: ]|[\u2009\u202f\u00a0])(?=\\d{3}(?!\\d))")
_SIGN_BEFORE_CURRENCY = re.compile(r"(?<=[-+])\s?\\?[$€£¥](?=[\d.])")
_VALUE = r"(?:\d{1,3}(?:,\d{3})++(?!\d)(?:\.\d++)?|\d++(?:\.\d++)?|\.\d++)(?:[eE][-+]?\d{1,3}(?!\d))?"
_NUMBER = re.compile(
    rf"(?P<sign>(?<![\w)\]}}])[-+])?(?P<mixed>\d++ (?=\d++ ?/ ?\d))?(?P<above>{_VALUE})"
    rf"(?:\s?/\s?(?P<below>{_VALUE}))?(?P<percent>\s?\\?%)?"
)
_LONGEST = 300
"""Characters of a number at most; longer ones are noise, and slow to convert."""
_NOT_PLAIN = re.compile(
    r"\\(?!(?:circ|degree|text\w*|mathrm|mbox|quad|left|right)\b)[A-Za-z]+"  # \pi, \sqrt, ...
    r"|\d\s*[_^](?!\s*\{?\s*\\circ)"  # 2516_8, 2^{10}
)


def _only_number(text: str) -> Number | None:
    """The number that a text is, and nothing else."""
    match = _NUMBER.fullmatch(_plain(text).strip("$ ").removesuffix("."))
    return _number_of(match) if match else None


def final_part(text: str) -> str:
    r"""What a text gives as its answer: the content of its last `\boxed{}`, what follows the last `####`, or all."""
    boxed = text.rfind(_BOXED)
    if boxed >= 0:
        return _braced(text[boxed + len(_BOXED) :])
    _, marked, rest = text.rpartition("####")
    return rest.strip().partition("\n")[0] if marked else text


def _braced(text: str) -> str:
    """What stands before the brace that closes an already open one; all of it if none does."""
    depth = 1
    for position, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[:position]
    return text


def _plain(text: str) -> str:
    """The text with the LaTeX and typography of numbers written as plain characters."""
    text = text.replace("\u2212", "-").replace("\u2013", "-")
    text = _GROUP_MARK.sub("", text)
    text = _FRACTION.sub(_as_ratio, text)
    text = _BARE_POWER_OF_TEN.sub(r"1e\1", _POWER_OF_TEN.sub(r"e\1", text))
    return _SIGN_BEFORE_CURRENCY.sub("", _UNIT_EXPONENT.sub("", text))


def _as_ratio(match: re.Match[str]) -> str:
    is_mixed = match.start() > 0 and match.string[match.start() - 1].isdigit()
    return f"{' ' * is_mixed}{match[1] or match[2]}/{match[3] or match[4]}"


def _numbers(plain: str) -> Iterator[Number]:
    return filter(None, map(_number_of, _NUMBER.finditer(plain)))


def _number_of(match: re.Match[str]) -> Number | None:
    if len(match[0]) > _LONGEST or not (below := Fraction((match["below"] or "1").replace(",", ""))):
        return None
    size = Fraction(match["mixed"] or 0) + Fraction(match["above"].replace(",", "")) / below
    return Number(-size if match["sign"] == "-" else size, match["percent"] is not None, match[0].strip())


def _agree(a: Number, b: Number) -> bool:
    if _close(a.value, b.value):
        return True
    if a.is_percent == b.is_percent:
        return False
    return _close(a.value / 100, b.value) if a.is_percent else _close(a.value, b.value / 100)


def _close(found: Fraction, wanted: Fraction) -> bool:
    if found.denominator == wanted.denominator == 1:
        return found == wanted
    return abs(found - wanted) <= RELATIVE_TOLERANCE * abs(wanted)
