"""The command line of a world: its train and test problems as files to name on other command lines."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import dspy

from tfgrpo_dspy.simulated import Split

__all__ = ["Examples", "write_examples"]

Examples = Callable[[int, int, Split], list[dspy.Example]]
"""(how many, seed, split) -> examples."""


def write_examples(examples: Examples, name: str, arguments: Sequence[str] | None = None) -> None:
    """Write `train.jsonl` and `test.jsonl`, and print their paths.

    Args:
        examples: Makes them.
        name: Module that is run, e.g. `programs.math_world`.
        arguments: Of the command line; None for the process's own.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description="Write train.jsonl and test.jsonl.")
    parser.add_argument("--train", type=int, default=40, metavar="N", help="examples to learn from")
    parser.add_argument("--test", type=int, default=40, metavar="N", help="held-out examples")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    splits: tuple[tuple[Split, int], ...] = (("train", options.train), ("test", options.test))
    for split, n in splits:
        rows = (dict(example.items()) for example in examples(n, options.seed, split))
        path = options.out / f"{split}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        sys.stdout.write(f"{path}\n")
