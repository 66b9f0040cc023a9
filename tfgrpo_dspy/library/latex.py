"""LaTeX commands that a JSON reply took for control characters."""

from __future__ import annotations

import re

# What is left of a LaTeX command whose backslash and first letter a JSON parser took for an escape.
_TAB = r"imes|heta|au|anh|ext(?:bf|it|rm|sf|tt)?|extstyle|frac|binom|riangle[a-z]*|o|op|ilde|herefore|ag|hickapprox"

_NEWLINE = r"eqq?|abla|ot|otin|leqq?|geqq?|earrow|warrow|subseteqq?|supseteqq?|cong|onumber|olimits|ewline"

_RETURN = (
    r"ho|ight(?:arrow|leftharpoons|leftarrows)?|angle|ceil|floor|oot|eals|brace|brack|group|[vV]ert|m|ef|estriction"
)

_ALONE = "(?![A-Za-z])"

_CERTAIN = re.compile(rf"\t(?=(?:{_TAB}){_ALONE})|\n(?=(?:{_NEWLINE}){_ALONE})|\r(?=(?:{_RETURN}){_ALONE})|[\b\f]")

_LETTER = re.compile(rf"\n(?=(?:u|e|i|eg){_ALONE})")

_IN_FORMULA = re.compile(
    rf"(?:\A|(?<=[ $({{\[=+\-*/^_|,&]))(?:\t(?=an{_ALONE})|\n(?=(?:u|e|i|eg|mid|sim|exists|parallel|less){_ALONE}))"
)

_ESCAPE = {"\t": r"\t", "\n": r"\n", "\r": r"\r", "\b": r"\b", "\f": r"\f"}


def restore_latex(text: str, *, one_line: bool = True) -> str:
    r"""Undo what a JSON parser does to LaTeX that a model wrote with single backslashes.

    `\times`, `\beta`, `\nu`, `\rho` and `\frac` start with valid JSON escapes, so a parser turns them into a tab,
    backspace, newline, carriage return and form feed. A backspace or form feed is never wanted in prose; the
    other three are restored only where the rest of a LaTeX command follows. A rest that lines of prose begin with
    (of `\tan`, `\nmid`, `\nsim`, `\nexists`, `\nparallel`, `\nless`) counts only where a formula may go on: at the
    start, after a blank, `$`, an opening bracket, an operator or a comma.

    Args:
        text: Text that came out of a JSON parser.
        one_line: Whether the text is meant to be a single line. If not, `\nu`, `\ne`, `\ni` and `\neg` count only where
            a formula may go on, too: a line of a summary may well begin with the variable `u`.

    >>> restore_latex("a \times b, \x0crac{1}{2}")
    'a \\times b, \\frac{1}{2}'
    """
    for eaten in (_CERTAIN, _LETTER, _IN_FORMULA) if one_line else (_CERTAIN, _IN_FORMULA):
        text = eaten.sub(lambda match: _ESCAPE[match[0]], text)
    return text
