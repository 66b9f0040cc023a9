"""What an exception says of itself, whichever client raised it: its classes, status, code and words.

Nothing of any client is imported: what is not installed cannot have been raised.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

_OF_LMS = frozenset({"litellm", "openai", "anthropic", "groq", "mistralai", "cohere", "together", "ollama"})
"""Packages whose errors are those of a language model."""
_OWN = frozenset({"dspy.LMError", "dspy.LM15Error"})
_OF_FRAMEWORKS = frozenset({"pydantic_ai.ModelAPIError"})
"""Errors in which a framework hands on what an LM's endpoint said; its others are about what the model did."""
_ASKS_A_MODEL = frozenset({"InvokeModel", "InvokeModelWithResponseStream", "Converse", "ConverseStream"})
"""Operations of botocore that do; its other errors are those of any service."""
_STATUSES = range(100, 600)
SUCCESS = range(200, 300)
_REFUSALS = range(400, 600)
_NO_MODELS = frozenset({"vector_stores", "files", "threads", "assistants", "containers", "uploads", "batches"})
"""What else than models answers at OpenAI's addresses, and says of its own things what models say of theirs."""
_ADVICE = "\n\n  To fix:"
"""What DSPy adds below a provider's words."""
_PREFIX = re.compile(r"^\[[\w./:@-]+\] ")
"""What it adds before them: the model's name, which may hold any word."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What one exception says."""

    classes: frozenset[str]
    """Its classes, as `package.Name`."""
    status: int | None
    """Of HTTP."""
    code: str
    """The provider's word for what went wrong, its type besides, in lower case; empty if it has none."""
    text: str
    """Its message in lower case, without what DSPy adds to it."""
    errno: str
    """`ECONNREFUSED` and the like; empty if it is none of the system."""
    is_of_an_lm: bool
    """Whether a language model's client raised it, so that its words are about the request."""

    def is_a(self, *names: str) -> bool:
        """Whether one of its classes has one of the names."""
        return not self.classes.isdisjoint(names)


def facts_of(error: BaseException) -> Facts:
    """What an exception says."""
    classes = frozenset(f"{_package_of(one)}.{one.__name__}" for one in type(error).__mro__)
    codes = dict.fromkeys(code.lower() for code in _codes(error, classes))
    number = _value(error, "errno")
    return Facts(
        classes=classes,
        status=_status(error),
        code=" ".join(codes),
        text=_PREFIX.sub("", _message(error).partition(_ADVICE)[0].lower()),
        errno=errno.errorcode.get(number, "") if isinstance(error, OSError) and isinstance(number, int) else "",
        is_of_an_lm=_is_of_an_lm(error, classes),
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and those behind it, each once: what it was raised from, or while handling, and those of a group.

    `raise ... from None` hides what was handled from a reader, and changes nothing about what had happened.
    """
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        here = waiting.pop(0)
        if id(here) in seen:
            continue
        seen.add(id(here))
        yield here
        if isinstance(here, BaseExceptionGroup):
            waiting += here.exceptions
        behind = here.__cause__ or here.__context__
        reason = _value(here, "reason")  # of urllib and urllib3
        waiting += [one for one in (behind, reason) if isinstance(one, BaseException)]


def _package_of(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _is_of_an_lm(error: BaseException, classes: frozenset[str]) -> bool:
    packages = {name.partition(".")[0] for name in classes}
    if not _OF_LMS.isdisjoint(packages) or not (_OWN | _OF_FRAMEWORKS).isdisjoint(classes):
        path = _value(_value(_value(error, "request"), "url"), "path")
        return not isinstance(path, str) or _NO_MODELS.isdisjoint(path.split("/"))
    if type(error).__module__.startswith("google.genai"):
        return True
    return _value(error, "operation_name") in _ASKS_A_MODEL


def _status(error: BaseException) -> int | None:
    """The HTTP status, by whatever name and in whatever place the client keeps it; that of an error in a 200 is its."""
    response = _value(error, "response")
    places: list[tuple[Any, str]] = [(error, name) for name in ("status", "status_code", "http_status", "code")]
    places += [(response, name) for name in ("status_code", "status")]
    found = (_number(_value(holder, name)) for holder, name in places)
    of_botocore = _inside(response, "ResponseMetadata", "HTTPStatusCode")
    status = next((n for n in chain(found, [_number(of_botocore)]) if n in _STATUSES), None)
    if status not in SUCCESS or not (code := _value(error, "provider_code")):
        return status
    inner = _number(code)
    return inner if inner in _REFUSALS else None


def _number(value: object) -> int | None:
    """Also of text: proxies say `"code": "503"`."""
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return int(value) if isinstance(value, int) else None


def _value(holder: object, name: str) -> Any:
    """An attribute; None if there is none, or if it cannot be looked at."""
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001 - a property of a user's class, or of httpx, may do anything
        return None


def _codes(error: BaseException, classes: frozenset[str]) -> Iterator[str]:
    if _OWN.isdisjoint(classes):  # else it is DSPy's own word, which says no more than the class
        own = vars(error)  # LiteLLM keeps the code of an error in a 200 as its status
        given = (own.get("code"), own.get("type"), own.get("status_code"))
        yield from (code for code in given if isinstance(code, str))
    if "grpc.RpcError" in classes and callable(code_of := _value(error, "code")):
        yield str(getattr(code_of(), "name", ""))
    given = _value(error, "provider_code")
    if isinstance(given, str):
        yield given
    body = _value(error, "body")
    for holder in (body, _inside(body, "error"), _inside(_value(error, "response"), "Error")):
        yield from (value for name in ("code", "type", "Code") if isinstance(value := _inside(holder, name), str))


def _inside(holder: Any, *names: str) -> Any:
    for name in names:
        holder = holder.get(name) if isinstance(holder, Mapping) else None
    return holder


def _message(error: BaseException) -> str:
    try:
        own = getattr(error, "message", None)
        said = str(error)
    except Exception:  # noqa: BLE001 - a user's own class may do anything when it is shown
        return ""
    return f"{own}\n{said}" if isinstance(own, str) and own not in said else said
