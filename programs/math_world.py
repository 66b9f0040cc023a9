"""Problems with computed answers for the math agent, for which code is natural: a world that needs no key.

    tfgrpo compare --task demo-math-agent --optimizers none,tfgrpo
    tfgrpo problems math --train 40 --test 40 --out data/
    tfgrpo compile programs.math_world:make_agent data/train.jsonl --metric number --lm simulated

The problems are `tfgrpo_dspy.simulated.families.coding`; the agent is `programs.math:react` with its real sandbox.
"""

from __future__ import annotations

import dspy

from programs.math_solver import react
from tfgrpo_dspy.simulated import CODING, Split, make_problems

__all__ = ["make_agent", "math_examples"]

_MAX_ITERS = 5  # turns; ours: a run, its repair, a check and the end


def make_agent() -> dspy.Module:
    """A new math agent."""
    return react(max_iters=_MAX_ITERS)


def math_examples(n: int, seed: int, split: Split = "train") -> list[dspy.Example]:
    """Problems as examples with the input `problem` and the label `answer`, balanced over the families.

    No question of one split is ever in the other.

    Raises:
        ValueError: An unknown split, or more than the families can phrase.
    """
    problems = make_problems(n, seed, split, CODING)
    return [dspy.Example(problem=p.question, answer=p.answer).with_inputs("problem") for p in problems]
