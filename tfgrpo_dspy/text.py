"""Text of models, web pages and users: made safe for a prompt, put on one line, counted and shortened."""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path

_DELIMITER = re.compile(r"<(?=\s*/?\s*experience-library|<CUSTOM-TYPE-)", re.IGNORECASE)
_MARKER_OPEN = re.compile(r"\[\[(?=\s*##)")
_MARKER_CLOSE = re.compile(r"(?<=##)(\s*)\]\]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BLANK = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UNSEEN = re.compile("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")  # direction overrides and tag characters
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters but tab and line break, marks that hide or reverse text, lone surrogates."""
_WIDE = re.compile("[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
_NOTE = "\n[... about {} tokens left out here ...]\n"
_NOTE_QUARTERS = len(_NOTE) + 8  # room for the number


def whole(text: str) -> str:
    """Text without lone surrogates (halves of characters), which no provider, file or database accepts: U+FFFD."""
    return text if text.isascii() or _SURROGATE.search(text) is None else _SURROGATE.sub("\ufffd", text)


def neutralise(text: str) -> str:
    """Text that any provider takes, in which no adapter marker and no section delimiter is left, lines kept.

    `[[ ## answer ## ]]` becomes `[ [ ## answer ## ] ]`, and `</experience-library>` and the marks around DSPy's custom
    types lose their first character to a look-alike: still readable, no longer a marker. Lone surrogates, which no
    provider accepts, become U+FFFD. Idempotent.
    """
    text = whole(text)
    if "<" in text:
        text = _DELIMITER.sub("‹", text)
    if "##" in text:
        text = _MARKER_CLOSE.sub(r"\1] ]", _MARKER_OPEN.sub("[ [", text))
    return text


def one_line(text: str) -> str:
    """Safe text on a single line: as `neutralise`, with controls, line breaks and runs of blanks folded to one blank.

    What people would not see is taken out: tag characters, and marks that override the direction of text. Idempotent.
    """
    if not text.isprintable():
        text = _BLANK.sub(" ", _UNSEEN.sub("", text))
    return neutralise(" ".join(text.split()))


def visible(text: str) -> str:
    """Text of a model or a web page for people: what acts on a terminal, or is not seen, is shown by its number."""
    return _ACTING.sub(lambda match: f"<{ord(match.group()):02x}>", text.replace("\r\n", "\n").expandtabs(4))


def count_words(text: str) -> int:
    """Number of blank-separated words; a script without blanks counts two characters as a word."""
    wide = len(_WIDE.findall(text))
    return len(_WIDE.sub(" ", text).split()) + (wide + 1) // 2


def counted(number: int, noun: str) -> str:
    """`1 step`, `3 steps`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def show_path(path: Path) -> str:
    """A path as short as it can be given from here."""
    resolved = path.resolve()
    return str(resolved.relative_to(Path.cwd())) if resolved.is_relative_to(Path.cwd()) else str(path)


def fingerprint(*parts: str) -> str:
    """Sixteen hexadecimal digits that change when a part does; it tells apart what bears one name."""
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()


def quarter_tokens(text: str) -> int:
    """Estimated tokens times four: 1 for a narrow character, 4 for a wide (CJK) one. Additive over concatenation."""
    return len(text) if text.isascii() else len(text) + 3 * len(_WIDE.findall(text))


def estimate_tokens(text: str) -> int:
    """Estimated tokens of a text: a quarter for a narrow character, one for a wide one, rounded up.

    An estimate, not a tokenizer: close enough for limits that must hold without knowing the model.
    """
    return (quarter_tokens(text) + 3) // 4


def shorten(text: str, max_tokens: int) -> str:
    """Text cut from its middle to at most `max_tokens` estimated tokens, with a note of what was left out.

    The head (the task, the first steps) and the tail (the answer) of a trajectory say most; 2/5 of the budget
    goes to the head. The note itself is kept even where it alone exceeds the budget.
    """
    if estimate_tokens(text) <= max_tokens:
        return text
    budget = max(4 * max_tokens - _NOTE_QUARTERS, 0)
    head = _within(text, budget * 2 // 5)
    tail = _within(text[::-1], budget - budget * 2 // 5)[::-1]
    left_out = estimate_tokens(text[len(head) : len(text) - len(tail)])
    return f"{head}{_NOTE.format(left_out)}{tail}"


def tail(text: str, max_tokens: int) -> str:
    """The end of a text within so many estimated tokens, from the beginning of a line where it is cut."""
    if estimate_tokens(text) <= max_tokens:
        return text
    cut = _within(text[::-1], 4 * max_tokens)[::-1]
    return cut.partition("\n")[2] or cut


def _within(text: str, quarters: int) -> str:
    """The longest beginning of a text that `quarter_tokens` counts as no more."""
    start = text[:quarters]
    while (excess := quarter_tokens(start) - quarters) > 0:
        start = start[: len(start) - (excess + 3) // 4]
    return start
