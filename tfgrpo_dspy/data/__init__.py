"""Examples from files, the Hub and Python: rows and the columns that hold what a program reads and is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfgrpo_dspy.names.public import lazily

if TYPE_CHECKING:
    from tfgrpo_dspy.data.columns import ANSWER_COLUMNS, QUESTION_COLUMNS, columns_of, value_at
    from tfgrpo_dspy.data.examples import load_examples
    from tfgrpo_dspy.data.files import Row
    from tfgrpo_dspy.data.rows import read_rows

__all__ = [
    "ANSWER_COLUMNS",
    "QUESTION_COLUMNS",
    "Row",
    "columns_of",
    "load_examples",
    "read_rows",
    "value_at",
]

__getattr__, __dir__ = lazily(__name__)
