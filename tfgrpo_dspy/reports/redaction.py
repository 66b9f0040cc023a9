"""Keeps credentials out of everything that is recorded: known values are replaced exactly, likely ones by shape."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

from tfgrpo_dspy.looks.secrets import REDACTED, SECRETS, SHORTEST, in_options, of_environment

_SHAPES = (
    re.compile(r"\b(?:sk|pk|rk|gsk|hf|ghp|gho|xox[abp])[-_][A-Za-z0-9_\-]{8,}"),
    re.compile(r"\bAIza[A-Za-z0-9_\-]{20,}|\bAKIA[A-Z0-9]{12,}"),
    re.compile(r"(?i)(?<=\bbearer )[A-Za-z0-9._~+/=\-]{6,}"),
    re.compile(r"(?i)(?<=\bbasic )[A-Za-z0-9+/=]{16,}"),
    re.compile(r"[^\s/@:'\"]+:[^\s/@'\"]+(?=@[\w.\[-])"),
)
_ASSIGNED = re.compile(
    r"(?i)(\b(?:x-)?(?:api[_-]?key|api[_-]?base|(?:access|auth|refresh)[_-]?token|client[_-]?secret|password)\b"
    r"[\"']?\s*[:=]\s*[\"']?)(?!\[redacted\])([^\s\"',;}\]]{4,})"
)


class Redactor:
    """Replaces credentials in a text by `[redacted]`.

    Args:
        values: Credentials known exactly; those of fewer than six characters are passed over, as replacing them
            would tear ordinary words.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values = sorted({v for v in values if len(v) >= SHORTEST}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without them."""
        text = SECRETS.hide(text)
        for value in self._values:
            text = text.replace(value, REDACTED)
        for shape in _SHAPES:
            text = shape.sub(REDACTED, text)
        return _ASSIGNED.sub(rf"\1{REDACTED}", text)


def credentials_of(lms: Iterable[Any]) -> Iterator[str]:
    """The values of keys, tokens, headers and endpoints that the given DSPy LMs were made with."""
    for lm in lms:
        kwargs = getattr(lm, "kwargs", None)
        if isinstance(kwargs, dict):
            yield from in_options(kwargs)
            yield from (str(kwargs[name]) for name in ("api_base", "base_url") if kwargs.get(name))


def safe(text: str) -> str:
    """The text without keys of the environment, credentials in addresses and whatever else looks like a secret."""
    return Redactor(of_environment(os.environ))(text)
