"""Examples from files, the Hub and Python: rows and the columns that hold what a program reads and is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfgrpo_dspy.names.public import lazily

if TYPE_CHECKING:
    from tfgrpo_dspy.data.examples import ANSWER_COLUMNS, QUESTION_COLUMNS, columns_of, load_examples, value_at
    from tfgrpo_dspy.data.rows import Row, read_rows

__all__ = [
    "ANSWER_COLUMNS",
    "QUESTION_COLUMNS",
    "Row",
    "columns_of",
    "load_examples",
    "read_rows",
    "value_at",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "data.examples": (
            "ANSWER_COLUMNS",
            "QUESTION_COLUMNS",
            "columns_of",
            "load_examples",
            "value_at",
        ),
        "data.rows": (
            "Row",
            "read_rows",
        ),
    },
)
