"""Python's words in a message, as they are written on a command line: the one place that knows both spellings.

Whoever writes of a setting puts what is Python between backticks: `epochs`, `hedge=0.05`, `None`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection

_SPAN = re.compile(r"`([^`\n]+)`")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def spelled(text: str, options: Collection[str]) -> str:
    """The text with `epochs` as --epochs, `require_contrast=False` as --no-require-contrast, `None` as none.

    Names that are none of the command's options, e.g. `--epochs`, are left as they are.
    """

    def typed(python: re.Match[str]) -> str:
        name, equals, value = python[1].partition("=")
        option = option_of(name)
        if not _NAME.fullmatch(name) or option not in options:
            return _text(python[1]) if _text(python[1]) != python[1] else python[0]
        if value in ("True", "False"):
            return option if value == "True" else f"--no{option[1:]}"
        return f"{option} {_text(value)}" if equals else option

    return _SPAN.sub(typed, text)


def in_yaml(text: str) -> str:
    """The text with `None` as null, `hedge=0.05` as hedge: 0.05."""

    def written(python: re.Match[str]) -> str:
        name, equals, value = python[1].partition("=")
        if _NAME.fullmatch(name):
            return f"{name}: {'null' if value == 'None' else _text(value)}" if equals else name
        return "null" if python[1] == "None" else _text(python[1]) if _text(python[1]) != python[1] else python[0]

    return _SPAN.sub(written, text)


def option_of(name: str) -> str:
    """`--max-words` for max_words, `-k` for k."""
    return f"{'-' if len(name) == 1 else '--'}{name.replace('_', '-')}"


def text_of(value: object) -> str:
    """A value as one types it."""
    if isinstance(value, tuple | list):
        return ",".join(map(text_of, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _text(python: str) -> str:
    try:
        return text_of(ast.literal_eval(python))
    except (ValueError, SyntaxError):
        return python
