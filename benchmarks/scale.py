"""Whether 10 000 rollouts and 100 000 experiences are still light: peak memory of a run, seconds of library functions.

A run of 2 500 and one of 10 000 rollouts, each in a process of its own, with the simulated LM in process and a program
that leaves a trace of 20 kB a rollout: kept, the larger run's would take 150 MB more. Libraries of 10 to 100 000
experiences are applied 100 operations to (40 additions, 30 modifications, 20 deletions, 10 keeps), saved, loaded,
rendered, and attached to a program; CPU seconds stand beside the wall-clock, which other processes lengthen.

Example: python -m benchmarks.scale --rollouts 500 2000 --entries 10 10000
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import dspy

from benchmarks.common import Figures, Target, peak_memory, progress, report
from tfgrpo_dspy import Add, Delete, ExperienceLibrary, Keep, Modify, TrainingFreeGRPO, attach
from tfgrpo_dspy.library.file import load_library, save_library
from tfgrpo_dspy.library.library import Experience, Provenance, Source
from tfgrpo_dspy.library.operations import Operation
from tfgrpo_dspy.library.section import render_section
from tfgrpo_dspy.simulated import answers_match, demo_examples, simulated_lm
from tfgrpo_dspy.simulated.student import make_solver

GROUP_SIZE, BATCH = 5, 100
TRACE = 20_000
"""Characters that a rollout's tool call returns."""
FLAT = 1.1
"""Peak with four times the rollouts / peak, at most: of a finished step the library and its changes stay."""
REPEATS = 3


class Searching(dspy.Module):
    """A program with long traces: a tool call, whose result is not shown to the LM, and a solver."""

    def __init__(self) -> None:
        super().__init__()
        self.solve = make_solver()

    def forward(self, question: str) -> dspy.Prediction:
        """Look something up, then solve."""
        dspy.Tool(look_up, name="look_up")(query=question)
        return self.solve(question=question)


def look_up(query: str) -> str:
    """A page of text, another one for each query."""
    rng = random.Random(query)
    return " ".join(rng.choices(WORDS, k=TRACE // 6))


WORDS = [f"word{i}" for i in range(10, 100)]


def run_rollouts(rollouts: int) -> Mapping[str, object]:
    """One run, in steps of `BATCH` problems; call it in a fresh process.

    Returns:
        Seconds, and MB of memory before it and at its peak.
    """
    trainset = demo_examples(rollouts // GROUP_SIZE, seed=0)
    optimizer = TrainingFreeGRPO(
        correct,
        epochs=1,
        batch_size=BATCH,
        group_size=GROUP_SIZE,
        max_experiences=30,  # as long a prompt for the last step as for the first
        num_threads=16,
        max_errors=0,
        display_progress=False,
    )
    with dspy.context(lm=simulated_lm(cache=False)):
        optimizer.compile(Searching(), trainset[:20])  # what is loaded at the first use is no growth
        before, started, begun = peak_memory(), time.perf_counter(), time.process_time()
        program = optimizer.compile(Searching(), trainset)
        seconds, cpu = time.perf_counter() - started, time.process_time() - begun
    calls = program.detailed_results.usage.lm_calls
    return {
        "rollouts": rollouts,
        "LM calls": calls,
        "seconds": round(seconds, 1),
        "CPU ms / call": round(1000 * cpu / calls, 2),
        "before, MB": round(before),
        "peak, MB": round(peak_memory()),
        "growth, kB / rollout": round(1000 * (peak_memory() - before) / rollouts, 2),
    }


def measure_library(entries: int) -> Mapping[str, object]:
    """A line of the second table: seconds of each function on the clock and of CPU, medians of `REPEATS`."""
    progress(f"a library of {entries} experiences ...")
    library, operations, solver = make_library(entries), make_operations(entries), make_solver()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "library.json"
        return {
            "experiences": entries,
            **_seconds("apply 100", lambda: library.apply(operations)),
            **_seconds("save", lambda: save_library(library, path)),
            **_seconds("load", lambda: load_library(path)),
            **_seconds("render", lambda: render_section(library.experiences)),
            **_seconds("attach", lambda: attach(solver, library)),
        }


def make_library(entries: int) -> ExperienceLibrary:
    """A library of texts of about 20 words, no two alike, each learned from one group of five."""
    rng = random.Random(entries)
    experiences = tuple(Experience(f"G{i}", _advice(rng), provenance=_origin(i)) for i in range(entries))
    return ExperienceLibrary(experiences, next_id=entries, learned_with=("simulated/frozen-lm",))


def _origin(number: int) -> Provenance:
    group = f"s{number // 50 + 1}/e{number % 50}"
    source = Source(f"e{number % 50}", tuple(f"{group}/r{i}" for i in range(GROUP_SIZE)))
    return Provenance("updater", number // 50 + 1, None, "The attempts that lost had left this out.", (source,))


def make_operations(entries: int) -> list[Operation]:
    """100 operations on it."""
    rng = random.Random(-entries)
    ids = [f"G{i}" for i in rng.sample(range(entries), min(60, entries))]
    ids += ["G0"] * (60 - len(ids))
    return [
        *(Add(text=_advice(rng), reason="seen in two groups") for _ in range(40)),
        *(Modify(id=id, text=_advice(rng), reason="sharper") for id in ids[:30]),
        *(Delete(id=id, reason="misleads") for id in ids[30:50]),
        *(Keep(id=id) for id in ids[50:]),
    ]


def _advice(rng: random.Random) -> str:
    said = " ".join(rng.choices(VOCABULARY, k=16))
    return f"When {said}, check it first."


VOCABULARY = ["".join(random.Random(i).choices("abcdefghijklmnoprstuvwz", k=3 + i % 7)) for i in range(3000)]


def _seconds(name: str, task: Callable[[], object]) -> Mapping[str, float]:
    walls, cpus = [], []
    for _ in range(REPEATS):
        started, begun = time.perf_counter(), time.process_time()
        task()
        walls.append(time.perf_counter() - started)
        cpus.append(time.process_time() - begun)
    return {f"{name}, s": round(median(walls), 4), f"{name}, CPU s": round(median(cpus), 4)}


def correct(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> bool:
    """The metric."""
    return answers_match(example.answer, prediction.answer)


def in_own_process(rollouts: int) -> Mapping[str, object]:
    """`run_rollouts` in a fresh process."""
    progress(f"{rollouts} rollouts ...")
    command = [sys.executable, "-m", "benchmarks.scale", f"--run={rollouts}"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    row: Mapping[str, object] = json.loads(said.splitlines()[-1])
    return row


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; the exit code says whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, nargs="*", default=[2_500, 10_000], help="(default: 2500 10000)")
    parser.add_argument("--entries", type=int, nargs="*", default=[10, 100, 1_000, 10_000, 100_000])
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        sys.stdout.write(json.dumps(run_rollouts(options.run)) + "\n")
        return 0
    runs = [in_own_process(rollouts) for rollouts in options.rollouts]
    libraries = [measure_library(entries) for entries in options.entries]
    targets = []
    if len(runs) > 1:
        ratio = float(str(runs[-1]["peak, MB"])) / float(str(runs[0]["peak, MB"]))
        targets.append(Target(f"peak memory, {options.rollouts[-1]} / {options.rollouts[0]} rollouts", ratio, FLAT))
    for name in ("apply 100, s", "save, s", "load, s"):
        targets += [Target(f"{name} at {row['experiences']}", float(str(row[name])), 1.0) for row in libraries[-1:]]
    return report("scale", [Figures("rollouts", runs), Figures("library", libraries)], targets)


if __name__ == "__main__":
    sys.exit(main())
