"""How a library enters a prompt: one delimited section, one experience per line, foreign text made safe.

Pure text functions. Whatever an experience, a model's reply or a web page contains, it can neither close the
section nor look like an adapter's field marker.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfgrpo_dspy.experience import Experience

OPENING = "<experience-library>"
CLOSING = "</experience-library>"
PREAMBLE = (
    "Experiences from earlier attempts at tasks of this kind. Read them before you answer; "
    "follow each one whose condition fits the task at hand and pass over the others."
)

_DELIMITER = re.compile(r"<(?=\s*/?\s*experience-library)", re.IGNORECASE)
_MARKER_OPEN = re.compile(r"\[\[(?=\s*##)")
_MARKER_CLOSE = re.compile(r"(?<=##)(\s*)\]\]")
_ENTRY = re.compile(r"^\[(G\d+)\] (.*)$")
_WIDE = re.compile("[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef]")


def neutralise(text: str) -> str:
    """Text in which no adapter field marker and no section delimiter is left, lines kept.

    `[[ ## answer ## ]]` becomes `[ [ ## answer ## ] ]` and `</experience-library>` loses its first character to a
    look-alike: still readable, no longer a marker. Idempotent.
    """
    text = _DELIMITER.sub("‹", text)
    text = _MARKER_OPEN.sub("[ [", text)
    return _MARKER_CLOSE.sub(r"\1] ]", text)


def one_line(text: str) -> str:
    """Safe text on a single line: as `neutralise`, with controls, line breaks and runs of blanks folded to one blank.

    Lone surrogates, which no provider accepts, become U+FFFD. Idempotent.
    """
    visible = "".join(" " if unicodedata.category(c) in {"Cc", "Zl", "Zp", "Zs"} else c for c in text)
    visible = visible.encode("utf-8", "replace").decode("utf-8") if not visible.isascii() else visible
    return neutralise(" ".join(visible.split()))


def count_words(text: str) -> int:
    """Number of blank-separated words; a script without blanks counts two characters as a word."""
    wide = len(_WIDE.findall(text))
    return len(_WIDE.sub(" ", text).split()) + (wide + 1) // 2


def quarter_tokens(text: str) -> int:
    """Estimated tokens times four: 1 for a narrow character, 4 for a wide (CJK) one. Additive over concatenation."""
    return len(text) if text.isascii() else len(text) + 3 * len(_WIDE.findall(text))


def estimate_tokens(text: str) -> int:
    """Estimated tokens of a text: a quarter for a narrow character, one for a wide one, rounded up.

    An estimate, not a tokenizer: close enough for limits that must hold without knowing the model.
    """
    return (quarter_tokens(text) + 3) // 4


def render_lines(experiences: Iterable[Experience]) -> str:
    """One `[G7] text` line per experience, in library order; empty for none."""
    return "\n".join(f"[{e.id}] {one_line(e.text)}" for e in experiences)


def render_section(experiences: Sequence[Experience]) -> str:
    """The delimited section that `attach` appends to instructions; empty for no experience."""
    if not experiences:
        return ""
    return f"{OPENING}\n{PREAMBLE}\n{render_lines(experiences)}\n{CLOSING}"


def parse_lines(text: str) -> list[tuple[str, str]]:
    """The `(id, text)` pairs of `[G7] text` lines; other lines are passed over."""
    return [match.groups() for line in text.splitlines() if (match := _ENTRY.match(line))]  # type: ignore[misc]


def append_section(instructions: str, section: str) -> str:
    """Instructions with the section at their end, replacing one that is there."""
    bare = remove_section(instructions)
    return f"{bare}\n\n{section}" if section else bare


def remove_section(instructions: str) -> str:
    """Instructions without the section; exactly the text before `append_section`."""
    start, end = _section_span(instructions)
    return instructions[:start].removesuffix("\n\n") + instructions[end:] if end else instructions


def find_section(instructions: str) -> str:
    """The section, delimiters included; empty when there is none."""
    start, end = _section_span(instructions)
    return instructions[start:end]


def _section_span(instructions: str) -> tuple[int, int]:
    end = instructions.rfind(CLOSING)
    start = instructions.rfind(OPENING, 0, end) if end >= 0 else -1
    return (start, end + len(CLOSING)) if start >= 0 else (0, 0)


def shorten(text: str, max_tokens: int) -> str:
    """Text cut from its middle to about `max_tokens` estimated tokens, with a note of what was left out.

    The head (the task, the first steps) and the tail (the answer) of a trajectory say most; 2/5 of the budget
    goes to the head.
    """
    total = estimate_tokens(text)
    if total <= max_tokens:
        return text
    keep = int(len(text) * max_tokens / total)
    head = keep * 2 // 5
    left_out = total - max_tokens
    return f"{text[:head]}\n[... about {left_out} tokens left out here ...]\n{text[len(text) - (keep - head) :]}"
