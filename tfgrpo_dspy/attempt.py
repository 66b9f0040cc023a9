"""One attempt of a call that DSPy has prepared: how it is made, and what DSPy leaves to whoever makes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dspy


def attempt_of(lm: Any, call: Any, timeout: float | None, pool: int) -> tuple[Any, Any]:
    """LM and call for a single attempt that DSPy neither repeats nor looks up or keeps in its cache."""
    if not call.managed:
        return lm, call
    single = object.__new__(type(lm))
    single.__dict__.update(lm.__dict__)
    single.num_retries = 0
    if timeout is None and pool and takes_timeout(lm, call):
        timeout = 600.0  # DSPy's own, given so that the pool is another
    if timeout is None:
        return single, replace(call, cache=False) if call.cache else call
    # The timeout is part of DSPy's cache key, so it enters only here; its last digits tell connection pools apart.
    return single, replace(call, cache=False, legacy={**call.legacy, "timeout": timeout + pool / 1000})


def retries_of(lm: Any, call: Any) -> int:
    """Further attempts, as the LM says; DSPy does not repeat calls of LMs that answer by a `forward` of their own."""
    return 0 if not call.managed or dspy.settings.send_stream is not None else int(lm.num_retries)


def takes_timeout(lm: Any, call: Any) -> bool:
    """Whether DSPy owns the connection and its user did not set a timeout."""
    own = call.legacy.get("timeout", lm.kwargs.get("timeout"))
    return own is None and call.managed and isinstance(lm._engine_spec, str)
