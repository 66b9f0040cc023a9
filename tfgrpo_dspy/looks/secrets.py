"""Credentials that are known by value: of every LM that a run asks, and of the environment.

What providers, proxies and models write back may quote them. They are taken out where that becomes a result, an error
or a message, so that they reach no store, no prompt, no report and no screen.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

T = TypeVar("T")

REDACTED = "[redacted]"
SHORTEST = 6
"""Characters of a credential that is looked for: shorter ones are parts of ordinary words."""
_SHORTEST_ENCODED = 10
_IN_ADDRESSES = str.maketrans("+/", "-_")
"""Base64 for addresses has other characters."""
_SENSITIVE = re.compile(r"key|token|secret|password|credential|auth|header", re.IGNORECASE)
_ADDRESS = re.compile(r"api_base|base_url|url|endpoint", re.IGNORECASE)
_OF_THE_ENVIRONMENT = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)


class Secrets:
    """Credentials of this process; what was one stays one. Thread-safe."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._known: tuple[str, ...] = ()
        """In each way in which they may be written, the longest first."""
        self._lock = threading.Lock()

    def learn_of(self, lms: Iterable[Any], environment: Mapping[str, str] | None = None) -> None:
        """Those of some LMs, and of an environment."""
        news = set(of_environment(environment or {}))
        for lm in lms:
            options = getattr(lm, "kwargs", None)
            if isinstance(options, Mapping):
                news.update(in_options(options))
        self.learn(news)

    def learn(self, values: Iterable[str]) -> None:
        """These are credentials."""
        with self._lock:
            news = {value for value in values if len(value) >= SHORTEST} - self._values
            if news:
                self._values |= news
                written = {form for value in self._values for form in _forms(value)}
                self._known = tuple(sorted(written, key=lambda form: (-len(form), form)))

    def hide(self, text: str) -> str:
        """The text without them, however they are written there: as they are, in an address, in JSON, in Base64."""
        for known in self._known:
            if known in text:
                text = text.replace(known, REDACTED)
        return text

    def hide_in(self, value: T) -> T:
        """A frozen value without them in any of its texts; the same one if there are none."""
        if not self._known:
            return value
        made: T = self._hidden(value)
        return made

    def _hidden(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.hide(value) if type(value) is str else value
        if is_dataclass(value) and not isinstance(value, type):
            parts = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
            news = {name: made for name, part in parts.items() if (made := self._hidden(part)) is not part}
            return replace(value, **news) if news else value
        if (texts := getattr(type(value), "model_fields", None)) is not None:
            held = {name: getattr(value, name) for name in texts}
            news = {name: made for name, part in held.items() if (made := self._hidden(part)) is not part}
            return value.model_copy(update=news) if news else value
        if isinstance(value, Mapping):
            made = {self._hidden(name): self._hidden(part) for name, part in value.items()}
            return value if all(made.get(name) is part for name, part in value.items()) else made
        if isinstance(value, tuple | list) and type(value) in {tuple, list}:
            parts_made = [self._hidden(part) for part in value]
            is_same = all(made is part for made, part in zip(parts_made, value, strict=True))
            return value if is_same else type(value)(parts_made)
        return value


SECRETS = Secrets()


def in_options(options: Mapping[str, Any]) -> Iterator[str]:
    """Credentials among the options of an LM: keys, tokens, headers, and what an address holds of them."""
    for name, value in options.items():
        if _ADDRESS.search(str(name)):
            for text in _texts(value):
                yield from in_address(text)
        elif _SENSITIVE.search(str(name)) and not isinstance(value, int | float):
            yield from _texts(value)


def in_address(address: str) -> Iterator[str]:
    """Password and query values of an address, as they stand and as they are meant."""
    parts = urlsplit(address)
    values = [value for _, value in parse_qsl(parts.query)]
    values += [piece.partition("=")[2] for piece in parts.query.split("&")]
    for value in (*values, parts.password or "", unquote(parts.password or "")):
        if value:
            yield value


def of_environment(environment: Mapping[str, str]) -> Iterator[str]:
    """Values of variables that are called a key, a token, a secret or a password."""
    return (value for name, value in environment.items() if _OF_THE_ENVIRONMENT.search(name))


def _forms(value: str) -> Iterator[str]:
    """A credential as it stands, in an address, in JSON, and within a text in Base64, which may begin before it."""
    yield from (value, quote(value), quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1])
    raw = value.encode(errors="replace")
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw).decode().rstrip("=")
        whole = encoded[-(-8 * before // 6) : (before + len(raw)) * 8 // 6]
        if len(whole) >= _SHORTEST_ENCODED:
            yield from (whole, whole.translate(_IN_ADDRESSES))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield from (value, *re.findall(r"(?i)^(?:bearer|basic) (\S+)$", value))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple | Set):
        for inner in value:
            yield from _texts(inner)
