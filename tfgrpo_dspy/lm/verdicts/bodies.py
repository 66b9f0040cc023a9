"""What a server said that the engine which asked it did not find, or could not read: it decides whose failure it is."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from dspy.lm15 import (
    CapabilityError,
    ConfigurationError,
    InvalidRequestError,
    ProviderError,
    RateLimitError,
    TimeoutError,
    TransportError,
)

from tfgrpo_dspy.lm.verdicts.facts import SUCCESS, facts_of
from tfgrpo_dspy.lm.verdicts.replies import NoReply
from tfgrpo_dspy.lm.verdicts.wordings import NO_REPLY, is_too_long
from tfgrpo_dspy.text import shorten

_SHOWN_TOKENS = 300
"""Of a server's words."""
_OURS = (TransportError, TimeoutError, ConfigurationError, CapabilityError)
"""What a client raises whatever was answered."""
_SAYING = ("error", "message", "detail", "msg", "errors", "status_msg", "base_resp")
"""Where servers say what is wrong: OpenAI, vLLM and SGLang, FastAPI, gateways, Cloudflare, MiniMax."""


def heard(error: Exception, status: int, body: bytes) -> Exception:
    """The error of a request to which a whole reply came, with what the server said of it.

    DSPy's native engine reads `{"error": ...}` only, and LiteLLM makes a failure of the server out of whatever came
    with success and is none of its replies, whose words are then lost among its own.
    """
    told = error
    is_blocked = isinstance(error, InvalidRequestError) and not said_in(_document(body))  # by Gemini
    if status in SUCCESS and not is_blocked and not isinstance(error, _OURS):
        return _no_reply(error, status, body)
    if isinstance(error, ProviderError):
        _add_words(error, body)
    is_too_often = status == HTTPStatus.TOO_MANY_REQUESTS and isinstance(error, InvalidRequestError)
    if is_too_often and not is_too_long(facts_of(error)):  # tokens of the minute, which DSPy takes for a long prompt
        said, later = str(error).partition("\n\n")[0], getattr(error, "retry_after", None)
        told = RateLimitError(said, status=status, retry_after=later)
    return told


def _add_words(error: ProviderError, body: bytes) -> None:
    own, advice, rest = error.message.partition("\n\n")
    document = _document(body)
    words = [said_in(document) or body.decode(errors="replace"), _behind(document)]
    said = [own, *(shorten(each, _SHOWN_TOKENS) for each in words if each and each not in own)]
    error.message = ": ".join(filter(None, said)) + advice + rest
    error.args = (error.message,)


def _no_reply(error: Exception, status: int, body: bytes) -> NoReply:
    document, text = _document(body), body.decode(errors="replace").strip()
    later = getattr(error, "retry_after", None)
    if said := said_in(document):
        inner = document.get("error") if isinstance(document, dict) else None
        codes = [inner.get(name) for name in ("code", "type")] if isinstance(inner, dict) else []
        code = next((str(code) for code in codes if code is not None), None)
        said, status_of_it = shorten(said, _SHOWN_TOKENS), None if code is None else status
        return NoReply(said, status=status_of_it, provider_code=code, retry_after=later)
    kind = "a web page" if text.startswith("<") else "what is no reply"
    came = f"{kind}: {shorten(text, _SHOWN_TOKENS)}" if text else "nothing"
    said = f"the endpoint answered HTTP {status} with {came}; if it never answers otherwise, check api_base"
    return NoReply(said, status=status, provider_code=NO_REPLY, retry_after=later)


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _behind(document: Any) -> str:
    """What a provider said to OpenRouter."""
    for name in ("error", "metadata", "raw"):
        document = document.get(name) if isinstance(document, dict) else None
    return document if isinstance(document, str) else ""


def said_in(document: object) -> str:
    """What a server says is wrong; empty if it says nothing of the kind."""
    if isinstance(document, list):
        return next(filter(None, map(said_in, document)), "")
    if not isinstance(document, dict):
        return ""
    for value in map(document.get, _SAYING):
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list) and value:
            return json.dumps(value)
        if inner := said_in(value):
            return inner
    return ""


def without_odd_usage(body: bytes) -> bytes | None:
    """The reply that was read, less the token counts that are none; None if there was nothing odd about them.

    Gateways report tokens as text, as fractions or below zero, which DSPy's native engine does not read past.
    """
    document = _document(body)
    if not isinstance(document, dict):
        return None
    changed = {name: _counts(document[name]) for name in ("usage", "usageMetadata") if name in document}
    if all(document[name] == value for name, value in changed.items()):
        return None
    return json.dumps({**document, **changed}).encode()


def _counts(usage: object) -> dict[str, Any] | None:
    if not isinstance(usage, dict):
        return None
    counts = {name: _counts(value) if name.lower().endswith("details") else value for name, value in usage.items()}
    return {n: v for n, v in counts.items() if v is None or n.endswith("etails") or (type(v) is int and v >= 0)}
