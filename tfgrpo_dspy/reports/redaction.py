"""Keeps credentials out of everything that is recorded: known values are replaced exactly, likely ones by shape."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

REDACTED = "[redacted]"

_SENSITIVE = re.compile(r"key|token|secret|password|credential|auth|header|api_base|base_url", re.IGNORECASE)
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
SHORTEST = 6
"""Characters of a credential that is looked for: shorter ones are parts of ordinary words."""


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
            yield from _texts({name: value for name, value in kwargs.items() if _SENSITIVE.search(str(name))})


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def safe(text: str) -> str:
    """The text without keys of the environment, credentials in addresses and whatever else looks like a secret."""
    import os

    return Redactor(_secrets_in(os.environ))(text)


def _secrets_in(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if re.search(r"(KEY|TOKEN|SECRET|PASSWORD)$", name, re.IGNORECASE):
            yield value
