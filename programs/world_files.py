"""The problems of a world as files to name on a command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfgrpo_dspy.simulated import Split

__all__ = ["Rows", "write_rows"]

Rows = Callable[[int, int, Split], Sequence[Mapping[str, Any]]]
"""(how many, seed, split) -> rows of the same columns."""


def write_rows(
    rows: Rows, folder: Path, *, train: int, test: int, seed: int = 0, suffix: str = ".jsonl"
) -> tuple[Path, Path]:
    """Write `train.jsonl` and `test.jsonl`, or `.csv`.

    Args:
        rows: Makes them.
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
    written = rows(train, seed, "train"), rows(test, seed, "test")
    columns = next((list(made[0]) for made in written if made), [])
    for path, made in zip(paths, written, strict=True):
        with path.open("w", encoding="utf-8", newline="") as file:
            if suffix == ".csv":
                writer = csv.DictWriter(file, columns, lineterminator="\n")
                writer.writeheader()
                writer.writerows(made)
            else:
                file.writelines(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in made)
    return paths
