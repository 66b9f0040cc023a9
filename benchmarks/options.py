"""What the options gain and cost, one table for all worlds: `python -m benchmarks.options`. All is simulated.

The same 48 problems are learned from under each option, in worlds in which the LM reflects soundly, takes losers for
winners in a quarter of its comparisons, or slips in a fifth of its calculations. Scores are exact: the LM's chances to
be right on held-out problems, each reading what the learned program reads for it. Differences are paired by seed.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, NamedTuple

import dspy

from benchmarks.common import Figures, progress, report
from benchmarks.planted import chance_right, kind_of
from benchmarks.retrieval import WORLDS
from tfgrpo_dspy import BM25, TrainingFreeGRPO
from tfgrpo_dspy.program.retrieving import Retrieving
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.student import make_solver
from tfgrpo_dspy.simulated.world import make_problems
from tfgrpo_dspy.statistics.estimates import paired_difference

PROBLEMS, HELD_OUT, THREADS = 48, 100, 2
PAPER = "none"
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    PAPER: {},
    'auto="heavy"': {"auto": "heavy"},
    'auto="light"': {"auto": "light"},
    "patience=1": {"patience": 1},
    "max_library_tokens=500": {"max_library_tokens": 500},
    "retrieval=BM25(8)": {"retrieval": BM25(8)},
    'update="batch"': {"update": "batch"},
}


class Outcome(NamedTuple):
    """One run."""

    score: float
    calls: int
    entries: int
    empty: int
    """Entries that say nothing of any problem."""


def outcome(world: str, seed: int, settings: Mapping[str, Any]) -> Outcome:
    """What one run comes to."""
    with dspy.context(lm=simulated_lm(seed, cache=False, **WORLDS[world])):
        optimizer = TrainingFreeGRPO(number, seed=seed, num_threads=THREADS, display_progress=False, **settings)
        program = optimizer.compile(make_solver(), demo_examples(PROBLEMS, seed))
    result, problems = program.detailed_results, make_problems(HELD_OUT, seed, "test")

    def read_for(question: str) -> Any:
        if isinstance(program, Retrieving):
            return replace(result.library, experiences=program.read_for(question=question))
        return result.library

    score = fmean(chance_right(problem, read_for(problem.question)) for problem in problems)
    empty = sum(kind_of(e.text) == "useless" for e in result.library)
    return Outcome(score, result.usage.lm_calls, len(result.library), empty)


def row_of(world: str, option: str, made: Sequence[Outcome], paper: Sequence[Outcome]) -> dict[str, object]:
    """A line of the table."""
    gain = paired_difference([[one.score] for one in paper], [[one.score] for one in made])
    told = {"gain": gain.value, "low": gain.low, "high": gain.high}
    shown = {name: 0.0 if option == PAPER else round(value, 3) for name, value in told.items()}
    if len(made) == 1:  # one seed tells no interval
        shown |= {"low": shown["gain"], "high": shown["gain"]}
    return {
        "world (simulated)": world,
        "option": option,
        "seeds": len(made),
        "score": round(fmean(one.score for one in made), 3),
        **shown,
        "LM calls": round(fmean(one.calls for one in made)),
        "entries": round(fmean(one.entries for one in made), 1),
        "that say nothing": round(fmean(one.empty for one in made), 1),
    }


def main() -> int:
    """Print the table and write it to `results/options.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), choices=list(WORLDS))
    given = parser.parse_args()
    logging.getLogger("tfgrpo_dspy").setLevel(logging.ERROR)
    found: dict[tuple[str, str], list[Outcome]] = {}
    for seed in range(given.first, given.first + given.seeds):
        for option, settings in OPTIONS.items():
            for world in given.worlds:
                made = outcome(world, seed, settings)
                found.setdefault((world, option), []).append(made)
                progress(f"{world}, {option}, seed {seed}: {made}")
    rows = [row_of(world, option, made, found[world, PAPER]) for (world, option), made in found.items()]
    rows.sort(key=lambda row: given.worlds.index(str(row["world (simulated)"])))
    return report("options", [Figures("options", rows)], [])


if __name__ == "__main__":
    raise SystemExit(main())
