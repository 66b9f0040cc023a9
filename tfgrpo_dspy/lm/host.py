"""What of DSPy a run takes hold of: the engines that make its requests, one attempt each.

`dspy.clients.engines` names them, and their contract is public: `complete(Request) -> Response`. While a run is under
way their methods go through `engine.ask`, whichever LM asks them: the user's own, a copy, a subclass, one that is
wrapped by instrumentation, made within a program or kept in a global. Nothing of an LM is changed. Meanwhile DSPy's
list of prices is looked through once a model, not once a reply.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

from dspy.clients.engines import (
    AsyncLegacyEngine,
    AsyncLiteLLMEngine,
    AsyncLM15Engine,
    LegacyEngine,
    LiteLLMEngine,
    LM15Engine,
)

from tfgrpo_dspy.lm.engine import ask, board, streaming
from tfgrpo_dspy.lm.errands import Asked, errand_of
from tfgrpo_dspy.lm.flight import flying
from tfgrpo_dspy.lm.scope import Scope, scope_here, scope_of_stray
from tfgrpo_dspy.lm.undocumented import PRICE_LIST, engines_of, keep_bars_apart, remembered
from tfgrpo_dspy.lm.ways import TASK, THREAD, drive

_ENGINES = (LM15Engine, AsyncLM15Engine, LiteLLMEngine, AsyncLiteLLMEngine, LegacyEngine, AsyncLegacyEngine)
_METHODS = ("complete", "complete_legacy", "stream")


class _Held:
    """The methods that are held, by whom they belong to; none while no run is under way."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._users = 0
        self._methods: list[tuple[Any, str, Any, bool]] = []

    def enter(self) -> None:
        keep_bars_apart()
        with self._lock:
            self._users += 1
            for engine in _ENGINES:
                self.hold(engine)
            self._replace(*PRICE_LIST, remembered)

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            while not self._users and self._methods:
                owner, name, method, is_own = self._methods.pop()
                if vars(owner).get(name) is not method:
                    continue  # someone else has wrapped it since, and calls ours, which lets calls of no run through
                if is_own:
                    setattr(owner, name, method.original)
                else:
                    delattr(owner, name)

    def hold(self, owner: Any) -> None:
        """Let the requests of an engine, or of a class of engines, be metered."""
        for name in _METHODS:
            self._replace(owner, name, partial(_method, name, owner))

    def _replace(self, owner: Any, name: str, instead: Callable[[Any], Any]) -> None:
        original = getattr(owner, name, None)
        if not callable(original) or hasattr(original, "original"):
            return
        with self._lock:
            if self._users:
                is_own = name in vars(owner)
                method = instead(original)
                method.original = original
                setattr(owner, name, method)
                self._methods.append((owner, name, method, is_own))


_HELD = _Held()


@contextmanager
def held() -> Iterator[None]:
    """DSPy's engines make their requests through `engine.ask`, in every thread."""
    _HELD.enter()
    try:
        yield
    finally:
        _HELD.leave()


def hold_engines_of(lms: Iterable[object]) -> None:
    """Let the requests of engines that are the user's own be metered as well, while a run is under way."""
    for lm in lms:
        for engine in engines_of(lm):
            _HELD.hold(engine if "complete" in getattr(engine, "__dict__", {}) else type(engine))


def _method(name: str, owner: Any, original: Callable[..., Any]) -> Any:
    """What stands in an engine's place: it makes a call of a run an errand, and lets any other through."""
    is_class = isinstance(owner, type)
    unbound = original if is_class else _unbound(original)
    if name == "stream":
        kind = _astream if inspect.isasyncgenfunction(inspect.unwrap(original)) else _stream
    else:
        kind = _acomplete if inspect.iscoroutinefunction(inspect.unwrap(original)) else _complete
    method = wraps(original)(kind(unbound))
    return method if is_class else partial(method, owner)


def _unbound(method: Callable[..., Any]) -> Callable[..., Any]:
    """A function of an engine as if it were its class's."""
    return lambda _, *args, **kwargs: method(*args, **kwargs)


def _complete(original: Callable[..., Any]) -> Callable[..., Any]:
    def complete(self: Any, *args: Any, **kwargs: Any) -> Any:
        scope = _scope_of(args)
        if scope is None:
            return original(self, *args, **kwargs)
        return drive(ask(scope, errand_of(Asked(original, self, scope, args, kwargs)), THREAD))

    return complete


def _acomplete(original: Callable[..., Any]) -> Callable[..., Any]:
    async def complete(self: Any, *args: Any, **kwargs: Any) -> Any:
        scope = _scope_of(args)
        if scope is None:
            return await original(self, *args, **kwargs)
        return await ask(scope, errand_of(Asked(original, self, scope, args, kwargs)), TASK)

    return complete


def _stream(original: Callable[..., Any]) -> Callable[..., Any]:
    def stream(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        scope = _scope_of(args)
        if scope is None:
            yield from original(self, *args, **kwargs)
            return
        asked = Asked(original, self, scope, args, kwargs)
        attempt = drive(board(scope, errand_of(asked), THREAD))
        with streaming(attempt) as end:
            with attempt.offering(), flying(attempt.flight):
                events = iter(asked.engine_to_ask(*args, **kwargs))
                event = next(events, None)
            while event is not None:
                end(event)
                yield event
                event = next(events, None)

    return stream


def _astream(original: Callable[..., Any]) -> Callable[..., Any]:
    async def stream(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        scope = _scope_of(args)
        if scope is None:
            async for event in original(self, *args, **kwargs):
                yield event
            return
        asked = Asked(original, self, scope, args, kwargs)
        attempt = await board(scope, errand_of(asked), TASK)
        with streaming(attempt) as end:
            with attempt.offering(), flying(attempt.flight):
                events = aiter(asked.engine_to_ask(*args, **kwargs))
                event = await anext(events, None)
            while event is not None:
                end(event)
                yield event
                event = await anext(events, None)

    return stream


def _scope_of(args: tuple[Any, ...]) -> Scope | None:
    """What a call belongs to; `args` are those of `complete(request)` or of `complete_legacy(lm, body)`."""
    return scope_here() or scope_of_stray(args[0].model)
