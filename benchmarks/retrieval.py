"""What retrieval keeps and adds, on many kinds of problems: `python -m benchmarks.retrieval`. All is simulated.

Libraries are learned with trials, over 100 problems of 16 kinds, in worlds in which the LM reflects soundly, takes
losers for winners in a quarter of its comparisons, or slips in a fifth of its calculations. Then each held-out problem
reads all of its library, or what is retrieved: by the texts alone, by the tasks that taught the entries too, and with
what trials measured them to be worth. Scores are exact: the LM's chances to be right, so that arms of one seed differ
by what is read and by nothing else.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import dspy

from benchmarks.common import Figures, Target, progress, report
from benchmarks.planted import chance_right, score
from tfgrpo_dspy import ExperienceLibrary, TrainingFreeGRPO
from tfgrpo_dspy.library.retrieval import BM25, Retrieval, Shelf, cues_of
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.run.policy import tasks_of, worth_of
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.failings import Failings
from tfgrpo_dspy.simulated.student import make_solver
from tfgrpo_dspy.simulated.world import make_problems
from tfgrpo_dspy.statistics.estimates import paired_difference

PROBLEMS, HELD_OUT, THREADS = 100, 100, 2
WORLDS: Mapping[str, Mapping[str, object]] = {
    "sound": {},
    "confused": {"confusion": 0.25},
    "slips": {"failings": Failings(slip=0.2)},
}
WAYS: Mapping[str, Retrieval] = {"BM25(8)": BM25(8), "BM25(tokens=400)": BM25(tokens=400)}
ALL = "all of it"
MOST_LOST = 0.01
"""Score that a way of retrieving may lose in any world against reading all (ours)."""


def learned(world: str, seed: int) -> tuple[ExperienceLibrary, Sequence[Effect]]:
    """A library, and what was measured of it."""
    with dspy.context(lm=simulated_lm(seed, cache=False, **WORLDS[world])):
        optimizer = TrainingFreeGRPO(number, trials=True, seed=seed, num_threads=THREADS, display_progress=False)
        made = optimizer.compile(make_solver(), demo_examples(PROBLEMS, seed)).detailed_results
    return made.library, made.effects


def arms(library: ExperienceLibrary, effects: Sequence[Effect], seed: int) -> dict[str, float]:
    """The score of each way of reading a library."""
    cues = cues_of(library, tasks_of(demo_examples(PROBLEMS, seed)), ExperienceLibrary())
    found = {ALL: score(library, seed, HELD_OUT)}
    for name, way in WAYS.items():
        found[f"{name}, by the texts alone"] = read_from(Shelf(library, way), seed)
        found[name] = read_from(Shelf(library, way, cues), seed)
        found[f"{name}, and by worth"] = read_from(Shelf(library, way, cues, worth_of(effects)), seed)
    return found


def read_from(shelf: Shelf, seed: int) -> float:
    """The mean chance to be right on held-out problems, each reading what it finds."""
    problems = make_problems(HELD_OUT, seed, "test")
    return fmean(chance_right(p, replace(shelf.library, experiences=shelf.select(p.question))) for p in problems)


def rows_of(world: str, found: Sequence[Mapping[str, float]]) -> Iterator[dict[str, object]]:
    """A row per way of reading: the mean over seeds, and its difference from reading all, paired by seed."""
    for arm in found[0]:
        gain = paired_difference([[one[ALL]] for one in found], [[one[arm]] for one in found])
        told = {"against all": gain.value, "low": gain.low, "high": gain.high}
        yield {
            "world (simulated)": world,
            "read": arm,
            "seeds": len(found),
            "score": round(fmean(one[arm] for one in found), 4),
            **{name: 0.0 if arm == ALL else round(value, 4) for name, value in told.items()},
        }


def targets_of(rows: Sequence[Mapping[str, object]]) -> list[Target]:
    """A learned library that is retrieved from loses nothing."""
    ways = [row for row in rows if row["read"] in WAYS or str(row["read"]).endswith("worth")]
    return [
        Target(f"{row['world (simulated)']}: lost by {row['read']}", -float(str(row["against all"])), MOST_LOST)
        for row in ways
    ]


def main() -> int:
    """Print the table and write it to `results/retrieval.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    logging.getLogger("tfgrpo_dspy").setLevel(logging.ERROR)
    rows: list[dict[str, object]] = []
    for world in WORLDS:
        found = []
        for seed in range(seeds):
            progress(f"{world}, seed {seed}")
            found.append(arms(*learned(world, seed), seed))
        rows += rows_of(world, found)
    return report("retrieval", [Figures("retrieval", rows)], targets_of(rows))


if __name__ == "__main__":
    raise SystemExit(main())
