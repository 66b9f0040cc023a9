"""What a value shows of itself: a title, a few lines, the first rows of a table; as text and as HTML."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tfgrpo_dspy.text import one_line

_WIDTH = 110
"""Characters of a line at most."""
_ROWS = 20
"""Rows of a table at most, so that all of it fits a screen."""
_ARGUMENT = 60
"""Characters of an argument at most."""
_NARROWEST = 30
"""Characters left to the column that is folded, whatever the others take."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of plain texts below their headings."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[str, ...] = ()
    """Columns to align on the right."""


@dataclass(frozen=True, slots=True)
class Look:
    """What answers the obvious question about a value."""

    title: str
    """Kind of value, and the answer itself."""
    lines: tuple[str, ...] = ()
    """Blank ones are left out."""
    table: Table | None = None
    more: str = ""
    """Where the rest is."""

    def to_text(self) -> str:
        """Lines of bounded width without control characters, the table's first rows among them."""
        shown = [brief(self.title, 2 * _WIDTH), *(f"  {brief(line, 2 * _WIDTH)}" for line in self._told())]
        if self.table is not None:
            shown[1:1] = [f"  {line}".rstrip() for line in _table_lines(self.table)]
        return "\n".join(shown)

    def to_html(self) -> str:
        """The same for a notebook; every text is escaped."""
        parts = [f"<b>{escape(brief(self.title, 4 * _WIDTH))}</b>"]
        if self.table is not None:
            parts.append(_table_html(self.table))
        parts += [f"<div>{escape(brief(line, 4 * _WIDTH))}</div>" for line in self._told()]
        return f'<div class="tfgrpo">{"".join(parts)}</div>'

    def _told(self) -> Iterator[str]:
        left = len(self.table.rows) - _ROWS if self.table is not None else 0
        yield from ([f"... and {left:,} more"] if left > 0 else [])
        yield from filter(None, [*self.lines, self.more])


def brief(text: object, most: int = 90) -> str:
    """A text on one line, its end left out where it is long."""
    line = one_line(str(text))
    return line if len(line) <= most else f"{line[: most - 3].rstrip()}..."


def call_text(name: str, given: Mapping[str, object]) -> str:
    """The call that makes a value, its arguments on one line: `Settings(epochs=1, metric=exact)`."""
    texts = {argument: getattr(value, "__name__", None) or repr(value) for argument, value in given.items()}
    return f"{name}({', '.join(f'{argument}={brief(text, _ARGUMENT)}' for argument, text in texts.items())})"


def _table_lines(table: Table) -> Iterator[str]:
    """Columns side by side, of which the widest one is folded."""
    cells = [table.columns, *([one_line(cell) for cell in row] for row in table.rows[:_ROWS])]
    widths = [max(len(row[at]) for row in cells) for at in range(len(table.columns))]
    wide = widths.index(max(widths))
    others = sum(widths) - widths[wide] + 2 * len(widths)
    widths[wide] = min(widths[wide], max(_WIDTH - others, _NARROWEST))
    for row in cells if any(table.columns) else cells[1:]:
        folded = textwrap.wrap(row[wide], widths[wide]) or [""]
        for number, line in enumerate(folded):
            texts = [line if at == wide else cell if number == 0 else "" for at, cell in enumerate(row)]
            placed = zip(table.columns, texts, widths, strict=True)
            yield "  ".join(text.rjust(w) if name in table.numeric else text.ljust(w) for name, text, w in placed)


def _table_html(table: Table) -> str:
    def cells(kind: str, texts: Sequence[Any]) -> str:
        return "".join(f"<{kind} style='text-align:left'>{escape(one_line(str(text)))}</{kind}>" for text in texts)

    head = f"<thead><tr>{cells('th', table.columns)}</tr></thead>" if any(table.columns) else ""
    rows = "".join(f"<tr>{cells('td', row)}</tr>" for row in table.rows[:_ROWS])
    return f"<table>{head}<tbody>{rows}</tbody></table>"
