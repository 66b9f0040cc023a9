r"""The demo world as a student to name on the command line, and its problems as files.

    python -m programs.demo_world --train 60 --test 60 --out data/
    tfgrpo simulate --port 8765 &
    OPENAI_API_KEY=x tfgrpo compile programs.demo_world:solver data/train.jsonl --metric number \
        --lm openai/simulated --api-base http://127.0.0.1:8765/v1 --out out/
    tfgrpo evaluate out/program.json data/test.jsonl --api-base http://127.0.0.1:8765/v1

Problems and LM are `tfgrpo_dspy.simulated`; this module only gives them names.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tfgrpo_dspy.simulated import SolveProblem, make_problems, make_solver

__all__ = ["SolveProblem", "make_solver", "solver", "write_problems"]

solver = make_solver()


def write_problems(folder: Path, *, train: int, test: int, seed: int = 0, suffix: str = ".jsonl") -> tuple[Path, Path]:
    """Write `train.jsonl` and `test.jsonl`, or `.csv`, with columns question, answer and family.

    Args:
        folder: Made if it is not there.
        train: Problems to learn from.
        test: Held-out problems; none of them is ever among the others.
        seed: The same seed writes the same files.
        suffix: `.jsonl` or `.csv`.

    Returns:
        The two paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = (folder / f"train{suffix}", folder / f"test{suffix}")
    for path, problems in zip(paths, (make_problems(train, seed), make_problems(test, seed, "test")), strict=True):
        rows = [{"question": p.question, "answer": p.answer, "family": p.family} for p in problems]
        with path.open("w", encoding="utf-8", newline="") as file:
            if suffix == ".csv":
                writer = csv.DictWriter(file, ("question", "answer", "family"), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
            else:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return paths


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the problems of the demo world to files."""
    parser = argparse.ArgumentParser(prog="python -m programs.demo_world", description=main.__doc__)
    parser.add_argument("--train", type=int, default=60, metavar="N", help="problems to learn from")
    parser.add_argument("--test", type=int, default=60, metavar="N", help="held-out problems")
    parser.add_argument("--csv", action="store_true", help="write CSV files instead of JSONL")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR")
    options = parser.parse_args(arguments)
    suffix = ".csv" if options.csv else ".jsonl"
    for path in write_problems(options.out, train=options.train, test=options.test, seed=options.seed, suffix=suffix):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
