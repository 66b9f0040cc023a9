"""The embedded LM with a count of the requests that reach it; DSPy's cache answers the rest."""

from __future__ import annotations

import threading

import dspy
from dspy.lm15 import Request, Response

from tfgrpo_dspy.simulated.engine import MODEL, AsyncSimulatedEngine, SimulatedEngine, text_of


class CountingEngine(SimulatedEngine):
    """Replies as the embedded LM does."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.calls = 0
        self.prompts: list[str] = []
        self._counting = threading.Lock()

    def complete(self, request: Request) -> Response:
        with self._counting:
            self.calls += 1
            self.prompts.append(text_of(request))
        return super().complete(request)


def counting_lm(engine: CountingEngine, **kwargs: object) -> dspy.LM:
    """The engine as an LM that sends no seed, as optimizers need that vary `rollout_id` alone."""
    return dspy.LM(MODEL, engine=engine, async_engine=AsyncSimulatedEngine(engine), **kwargs)
