"""The embedded LM: a behavioural simulation of a frozen language model, for demos and tests without a key.

`README.md` in this folder documents the mechanism and every constant. Its numbers say that the machinery works,
never how good a real model would be.
"""

from __future__ import annotations

from tfgrpo_dspy.simulated.engine import AsyncSimulatedEngine, SimulatedEngine, simulated_lm
from tfgrpo_dspy.simulated.server import Latency, running_server, serve
from tfgrpo_dspy.simulated.world import Problem, answers_match, demo_examples, make_problems

__all__ = [
    "AsyncSimulatedEngine",
    "Latency",
    "Problem",
    "SimulatedEngine",
    "answers_match",
    "demo_examples",
    "make_problems",
    "running_server",
    "serve",
    "simulated_lm",
]
