"""The embedded LM: a behavioural simulation of a frozen language model, for demos and tests without a key.

`README.md` in this folder documents the mechanism and every constant. Its numbers say that the machinery works,
never how good a real model would be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfgrpo_dspy.names.public import lazily

if TYPE_CHECKING:
    from tfgrpo_dspy.simulated.agents.site import Page, make_site, site_problems
    from tfgrpo_dspy.simulated.endpoint.server import Latency, running_server, serve
    from tfgrpo_dspy.simulated.engine import AsyncSimulatedEngine, SimulatedEngine, simulated_lm
    from tfgrpo_dspy.simulated.failings import Failings
    from tfgrpo_dspy.simulated.families import CODING
    from tfgrpo_dspy.simulated.prompt import Learns
    from tfgrpo_dspy.simulated.student import SolveProblem, make_solver
    from tfgrpo_dspy.simulated.world import Problem, Split, answers_match, demo_examples, make_problems

__all__ = [
    "CODING",
    "AsyncSimulatedEngine",
    "Failings",
    "Latency",
    "Learns",
    "Page",
    "Problem",
    "SimulatedEngine",
    "SolveProblem",
    "Split",
    "answers_match",
    "demo_examples",
    "make_problems",
    "make_site",
    "make_solver",
    "running_server",
    "serve",
    "simulated_lm",
    "site_problems",
]

__getattr__, __dir__ = lazily(__name__)
