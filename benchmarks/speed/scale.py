"""Whether 10 000 rollouts and 100 000 experiences are still light: peak memory of a run, seconds of library functions.

Runs of 1 000 and 10 000 rollouts, in steps of 100 problems and in one, each in a process of its own and taken up again,
finished, in another, with the simulated LM in process and a program that leaves a trace of 20 kB a rollout: kept in
memory, the larger run's would take 200 MB more. Libraries of 10 to 100 000
experiences are applied 100 operations to (40 additions, 30 modifications, 20 deletions, 10 keeps), saved, loaded,
rendered, and attached to a program; CPU seconds stand beside the wall-clock, which other processes lengthen.

Example: python -m benchmarks.speed.scale --rollouts 500 2000 --entries 10 10000
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
from typing import Any, NamedTuple

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
FLAT, GROWS = 1.1, 1.3
"""Peak with ten times the rollouts / peak, at most, in steps and in one step: of a finished step the library and its
changes stay, of a rollout under way what is needed to learn from it."""
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


class Shape(NamedTuple):
    """How large a run is, and in how many steps it is made."""

    rollouts: int
    in_one_step: bool = False

    @property
    def named(self) -> str:
        """For a person."""
        return f"{self.rollouts} rollouts in {'one step' if self.in_one_step else f'steps of {BATCH} problems'}"


def run_rollouts(shape: Shape, folder: Path, *, again: bool = False) -> Mapping[str, object]:
    """One run that keeps its results; call it in a fresh process, and in another one to take it up.

    Args:
        shape: Of the run.
        folder: Its `log_dir`.
        again: Whether the run is in it already, finished.

    Returns:
        Seconds, and MB of memory before it and at its peak.
    """
    trainset = demo_examples(shape.rollouts // GROUP_SIZE, seed=0)
    settings: dict[str, Any] = {
        "epochs": 1,
        "batch_size": None if shape.in_one_step else BATCH,
        "group_size": GROUP_SIZE,
        "max_experiences": 30,  # as long a prompt for the last step as for the first
        "num_threads": 16,
        "max_errors": 0,
        "display_progress": False,
    }
    with dspy.context(lm=simulated_lm(cache=False)):
        # What is loaded at the first use is no growth.
        TrainingFreeGRPO(correct, **settings, log_dir=folder.with_name("first")).compile(Searching(), trainset[:20])
        before, started, begun = peak_memory(), time.perf_counter(), time.process_time()
        program = TrainingFreeGRPO(correct, **settings, log_dir=folder).compile(Searching(), trainset)
        seconds, cpu = time.perf_counter() - started, time.process_time() - begun
    if again:
        return {"taken up, CPU s": round(cpu, 2), "taken up, peak MB": round(peak_memory())}
    calls = program.detailed_results.usage.lm_calls
    return {
        "rollouts": shape.rollouts,
        "steps": len(program.detailed_results.steps),
        "LM calls": calls,
        "seconds": round(seconds, 1),
        "CPU ms / call": round(1000 * cpu / calls, 2),
        "before, MB": round(before),
        "peak, MB": round(peak_memory()),
        "growth, kB / rollout": round(1000 * (peak_memory() - before) / shape.rollouts, 2),
        "store, MB": round((folder / "run.db").stat().st_size / 1e6, 1),
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


def in_own_process(shape: Shape) -> Mapping[str, object]:
    """`run_rollouts` in a fresh process, and once more in another one."""
    progress(f"{shape.named} ...")
    row: dict[str, object] = {}
    with TemporaryDirectory() as folder:
        for again in (False, True):
            given = json.dumps([shape, f"{folder}/log", again])
            command = [sys.executable, "-m", "benchmarks.speed.scale", f"--run={given}"]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            row |= json.loads(said.splitlines()[-1])
            Path(folder, "first").rename(Path(folder, f"first{again}"))
    return row


def targets_of(shapes: Sequence[Shape], runs: Sequence[Mapping[str, object]]) -> list[Target]:
    """Peaks of the largest run over the smallest, in steps and in one, and what it takes to take it up."""
    targets = []
    for in_one_step, most in ((False, FLAT), (True, GROWS)):
        of_it = [row for shape, row in zip(shapes, runs, strict=True) if shape.in_one_step == in_one_step]
        if not of_it:
            continue
        first, last = of_it[0], of_it[-1]
        how = f"{last['rollouts']} / {first['rollouts']} rollouts in {'one step' if in_one_step else 'steps'}"
        ratio = float(str(last["peak, MB"])) / float(str(first["peak, MB"]))
        targets.append(Target(f"peak memory, {how}", ratio, most))
        taken_up = float(str(last["taken up, CPU s"]))
        targets.append(Target(f"taken up finished, {last['rollouts']} rollouts, {last['steps']} steps", taken_up, 10.0))
    return targets


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; the exit code says whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, nargs="*", default=[1_000, 10_000], help="(default: 1000 10000)")
    parser.add_argument("--entries", type=int, nargs="*", default=[10, 100, 1_000, 10_000, 100_000])
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        shape, folder, again = json.loads(options.run)
        sys.stdout.write(json.dumps(run_rollouts(Shape(*shape), Path(folder), again=again)) + "\n")
        return 0
    shapes = [Shape(rollouts, in_one_step) for in_one_step in (False, True) for rollouts in options.rollouts]
    runs = [in_own_process(shape) for shape in shapes]
    libraries = [measure_library(entries) for entries in options.entries]
    targets = targets_of(shapes, runs)
    for name in ("apply 100, s", "save, s", "load, s"):
        targets += [Target(f"{name} at {row['experiences']}", float(str(row[name])), 1.0) for row in libraries[-1:]]
    return report("scale", [Figures("rollouts", runs), Figures("library", libraries)], targets)


if __name__ == "__main__":
    sys.exit(main())
