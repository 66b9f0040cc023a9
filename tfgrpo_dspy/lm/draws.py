"""Draws: what makes two calls in a run the same one for DSPy's cache."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import dspy

from tfgrpo_dspy.lm.scope import scope_here, scope_of_stray
from tfgrpo_dspy.lm.usage import Reported, from_cache, reported_in

_FIELD = "tfgrpo_draw"
"""What is added to a request when its place in the cache is looked up."""


class DrawnCache:
    """DSPy's cache, in which an answer belongs to the draw and the endpoint that it was given for.

    Whatever LM a program asks, and however it came by it, each rollout of a group finds its own answers only, and a
    re-run of the same rollout finds them again. Outside of a run it is the cache that it stands for.
    """

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    def get(self, request: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """What the cache holds for a request."""
        found = self.cache.get(_drawn(request), *args, **kwargs)
        if found is not None and _is_lm_call(request):
            _tell(request, found)
        return found

    def put(self, request: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Keep an answer."""
        return self.cache.put(_drawn(request), *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "cache" or name.startswith("__"):  # while it is copied
            raise AttributeError(name)
        return getattr(self.cache, name)

    def __contains__(self, key: str) -> bool:
        return key in self.cache


def _tell(request: Mapping[str, Any], found: Any) -> None:
    """An answer came from the cache."""
    scope = scope_here()
    if scope is None and (stray := scope_of_stray(str(request.get("model", "")))) is not None:
        stray.meter.say(
            "DSPy's cache answers calls that the program makes in threads of its own: they belong to no rollout, so "
            "the rollouts of a group share one answer; start these threads with contextvars.copy_context().run, use "
            "dspy.Parallel, or give that LM cache=False"
        )
    elif scope is not None and scope.listener is not None:
        spared = from_cache(_kept_usage(found), request.get("messages"), _outputs(found))
        for each in scope.outwards:
            each.hear(spared)


def _kept_usage(found: Any) -> Reported:
    """Tokens of an answer in the cache: DSPy's native engines keep responses, LiteLLM's their provider's reply."""
    if not isinstance(found, dict):
        return reported_in(getattr(found, "usage", None))
    responses: Any = found.get("responses") or ()
    return reported_in(responses[0].get("usage") if len(responses) == 1 else None)


def _outputs(found: Any) -> Any:
    if isinstance(found, dict):
        return found.get("outputs")
    choices = getattr(found, "choices", None) or ()
    return [getattr(getattr(choice, "message", None), "content", None) for choice in choices]


_lock = threading.Lock()
_users = 0


@contextmanager
def drawn() -> Iterator[None]:
    """DSPy's cache tells draws apart, until the last one leaves who asked for it."""
    global _users
    with _lock:
        _users += 1
    ensure_drawn()
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users and isinstance(dspy.cache, DrawnCache):
                dspy.cache = dspy.cache.cache


def ensure_drawn() -> None:
    """As `drawn`, should the program have configured another cache since."""
    if not isinstance(dspy.cache, DrawnCache):
        with _lock:
            if not isinstance(dspy.cache, DrawnCache):
                dspy.cache = DrawnCache(dspy.cache)


def _drawn(request: dict[str, Any]) -> dict[str, Any]:
    scope = scope_here()
    if scope is None or not _is_lm_call(request):
        return request
    draw = "" if scope.draw is None else scope.draw.name
    return {**request, _FIELD: f"{draw}|{endpoint_of(request)}"}


def _is_lm_call(request: Mapping[str, Any]) -> bool:
    return "messages" in request or "request" in request


def endpoint_of(options: Mapping[str, Any]) -> str:
    """The address that an LM's options name, without credentials; empty for the provider's usual one."""
    address = options.get("api_base") or options.get("base_url")
    if address is None and (model := options.get("model")):
        provider = str(model).partition("/")[0].upper()
        address = os.environ.get(f"{provider}_API_BASE") or os.environ.get(f"{provider}_BASE_URL")
    if not address:
        return ""
    parts = urlsplit(str(address))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
