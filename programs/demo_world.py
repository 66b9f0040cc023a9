r"""The demo world as a student to name on the command line, and its problems as files.

    tfgrpo problems demo --train 60 --test 60 --out data/
    tfgrpo simulate --port 8765 &
    OPENAI_API_KEY=x tfgrpo compile programs.demo_world:solver data/train.jsonl --metric number \
        --lm openai/simulated --api-base http://127.0.0.1:8765/v1 --out out/
    tfgrpo evaluate out/program.json data/test.jsonl --api-base http://127.0.0.1:8765/v1

Problems and LM are `tfgrpo_dspy.simulated`; this module only gives them names.
"""

from __future__ import annotations

from functools import partial

from programs.world_files import write_rows
from tfgrpo_dspy.simulated import SolveProblem, Split, make_problems, make_solver

__all__ = ["SolveProblem", "demo_rows", "make_solver", "solver", "write_problems"]

solver = make_solver()


def demo_rows(n: int, seed: int, split: Split) -> list[dict[str, str]]:
    """Problems with columns question, answer and family."""
    return [{"question": p.question, "answer": p.answer, "family": p.family} for p in make_problems(n, seed, split)]


write_problems = partial(write_rows, demo_rows)
"""`write_rows` of the demo world."""
