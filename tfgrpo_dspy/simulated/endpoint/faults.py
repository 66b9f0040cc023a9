"""Faults that the served LM commits on purpose, at rates drawn from a seed."""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tfgrpo_dspy.errors import SettingsError

HANG, RESET, CUT, EMPTY, MALFORMED, GARBLED = "hang", "reset", "cut", "empty", "malformed", "garbled"
STATUS = {"rate_limit": 429, "error": 500, "bad_gateway": 502}
"""Faults that are an HTTP status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often each fault occurs, as a share of the requests in [0, 1]; together at most 1.

    Raises:
        SettingsError: A share is out of its range, or they add up to more than 1.
    """

    hang: float = 0.0
    """No answer, ever."""
    reset: float = 0.0
    """The connection is closed in the middle of the reply."""
    rate_limit: float = 0.0
    """429, without a Retry-After."""
    error: float = 0.0
    """500."""
    bad_gateway: float = 0.0
    """502, with a page of HTML."""
    cut: float = 0.0
    """A third of the reply, with the finish reason `length`."""
    empty: float = 0.0
    """A reply without content."""
    malformed: float = 0.0
    """A body that is no chat completion."""
    garbled: float = 0.0
    """A reply that has lost its form: what it says is there, the field markers are not."""

    def __post_init__(self) -> None:
        for name, rate in self._rates().items():
            if not 0 <= rate <= 1:
                raise SettingsError(f"{name} must be a share of the requests from 0 to 1, got {rate!r}")
        if sum(self._rates().values()) > 1:
            raise SettingsError(f"the shares of faults add up to {sum(self._rates().values()):g}, which is more than 1")

    @classmethod
    def each(cls, rate: float) -> Faults:
        """Every fault at the same rate."""
        return cls(**dict.fromkeys((f.name for f in fields(cls)), rate))

    def draw(self, rng: random.Random) -> str | None:
        """The fault of one request; None for none."""
        point = rng.random()
        for name, rate in self._rates().items():
            if point < rate:
                return name
            point -= rate
        return None

    def _rates(self) -> dict[str, float]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


class FaultLog:
    """Draws the faults of one server, and counts them."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults, self._rng = faults, random.Random(f"faults/{seed}")
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def draw(self) -> str | None:
        """The fault of the next request; None for none."""
        with self._lock:
            fault = self._faults.draw(self._rng)
            self._counts[fault or "none"] += 1
        return fault

    @property
    def counts(self) -> Mapping[str, int]:
        """Requests so far by fault, `none` for those that were answered well."""
        with self._lock:
            return dict(self._counts)


async def commit(fault: str, completion: dict[str, Any]) -> Any:
    """The HTTP response with its fault; `completion` is the body of the good one."""
    from starlette.responses import JSONResponse, Response

    if fault == HANG:
        await asyncio.Event().wait()  # until the client or the server goes away
    if fault == RESET:
        return _Broken(json.dumps(completion))
    if fault in STATUS:
        status = STATUS[fault]
        if fault == "bad_gateway":
            return Response("<html><body>502 Bad Gateway</body></html>", status, media_type="text/html")
        return JSONResponse({"error": {"message": f"made to fail with {status}", "type": fault, "code": None}}, status)
    if fault == MALFORMED:
        return Response('{"choices": [{"index": 0, "message": {"role', media_type="application/json")
    return JSONResponse({**completion, "choices": [_spoilt(fault, choice) for choice in completion["choices"]]})


def _spoilt(fault: str, choice: dict[str, Any]) -> dict[str, Any]:
    said = choice["message"]["content"]
    content = {EMPTY: "", CUT: said[: len(said) // 3], GARBLED: " ".join(re.findall(r"\w+", said))}[fault]
    reason = "length" if fault == CUT else choice["finish_reason"]
    return {**choice, "message": {**choice["message"], "content": content}, "finish_reason": reason}


class _Broken:
    """A reply that promises its whole length and ends half-way, whereupon the server closes the connection."""

    def __init__(self, body: str) -> None:
        self._body = body.encode()
        self.background = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(self._body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._body[: len(self._body) // 2], "more_body": True})
