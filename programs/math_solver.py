"""Students for competition mathematics: one that only thinks, and an agent with a Python tool.

    tfgrpo compile programs.math:react train.jsonl --metric number --lm openai/gpt-4.1-mini --out out/

`direct` and `react` are functions that make a program, so importing this module starts nothing. The code that the agent
writes runs in `programs.sandbox`.
"""

from __future__ import annotations

import re

import dspy

from programs.agents import ToolAgent
from programs.sandbox import Limits, Sandbox

__all__ = ["PythonTool", "SolveMath", "direct", "react"]

_FENCE = re.compile(r"\A\s*```[ \t]*(?:python|py)?[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL | re.IGNORECASE)
_LIMITS = Limits()
_MAX_ITERS = 10  # turns; ours


class SolveMath(dspy.Signature):
    r"""Solve the problem of a mathematics competition.

    Read exactly what is asked for, e.g. m + n rather than m/n. Give the final answer alone, as a number or an
    expression in its simplest form, exact rather than rounded: no unit, no sentence, no \boxed{}.
    """

    problem: str = dspy.InputField()
    answer: str = dspy.OutputField(desc="the final answer alone, exact, in its simplest form")


class PythonTool:
    """Runs a model's Python code for an agent.

    Args:
        sandbox: Where it runs.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def run_python(self, code: str) -> str:
        """Run Python code and return what it prints.

        Every call starts a new interpreter: import and define again what you need. Print the values that you want
        to see. numpy and sympy can be imported; there is no network, no input and little time.
        """
        return self.sandbox.run(_without_fence(code)).observation


def direct() -> dspy.Module:
    """A new student that reasons step by step and has no tool."""
    return dspy.ChainOfThought(SolveMath)


def react(*, limits: Limits = _LIMITS, max_iters: int = _MAX_ITERS, unsafe_local_code: bool = False) -> dspy.Module:
    """A new agent that may run Python code in a sandbox before it answers.

    Args:
        limits: What one run of its code may use.
        max_iters: Turns at most, each with one call of a tool.
        unsafe_local_code: Run the code outside any sandbox, with all your rights.

    Raises:
        SettingsError: There is no sandbox on this machine; the message says what to install.
    """
    run_python = PythonTool(Sandbox(limits, unsafe_local_code=unsafe_local_code)).run_python
    described = " ".join((run_python.__doc__ or "").split())  # the prompt shows it in one line
    return ToolAgent(SolveMath, tools=[dspy.Tool(run_python, desc=described)], max_iters=max_iters)


def _without_fence(code: str) -> str:
    """The code of a Markdown block, which is how models like to write it."""
    found = _FENCE.match(code)
    return found[1] if found else code
