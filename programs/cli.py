"""What `tfgrpo` has from this folder: the problems of the simulated worlds as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tfgrpo_dspy.cli import Commands, say, show_path

app = typer.Typer(cls=Commands, no_args_is_help=True)


@app.callback()
def programs() -> None:
    """Students and their worlds."""


@app.command(epilog="Example: tfgrpo problems demo --train 60 --test 60 --out data/")
def problems(
    world: Annotated[
        Literal["demo", "math", "web"], typer.Argument(help="For programs.demo_world, .math_world or .web_world.")
    ] = "demo",
    train: Annotated[int, typer.Option("--train", metavar="N", help="Problems to learn from.")] = 60,
    test: Annotated[int, typer.Option("--test", metavar="N", help="Held-out problems.")] = 60,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Draws them.")] = 0,
    csv: Annotated[bool, typer.Option("--csv", help="Write CSV files instead of JSONL.")] = False,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for train and test.")] = Path(),
) -> None:
    """Write problems that the simulated LM can learn on to files."""
    from programs.world_files import write_rows

    match world:
        case "demo":
            from programs.demo_world import demo_rows as rows
        case "math":
            from programs.math_world import math_examples as rows
        case "web":
            from programs.web_world import web_examples as rows
    suffix = ".csv" if csv else ".jsonl"
    for path in write_rows(rows, out, train=train, test=test, seed=seed, suffix=suffix):
        say(show_path(path))
