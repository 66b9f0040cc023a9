"""The embedded LM: a behavioural simulation of a frozen language model, for demos and tests without a key.

`README.md` in this folder documents the mechanism and every constant. Its numbers say that the machinery works,
never how good a real model would be.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfgrpo_dspy.simulated.endpoint.server import Latency, running_server, serve
    from tfgrpo_dspy.simulated.engine import AsyncSimulatedEngine, SimulatedEngine, simulated_lm
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

_HOMES = {
    "engine": ("AsyncSimulatedEngine", "SimulatedEngine", "simulated_lm"),
    "endpoint.server": ("Latency", "running_server", "serve"),
    "world": ("Problem", "answers_match", "demo_examples", "make_problems"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use: problems can be made without loading DSPy (PEP 562)."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
