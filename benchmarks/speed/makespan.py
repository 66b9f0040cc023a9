"""How close a run's wall-clock comes to the shortest time possible, on an endpoint with long-tailed latency.

The simulated LM is served on loopback by another process; its own log says how long every request took. The bound of a
step is the larger of total service time / concurrency and the longest chain rollout -> summary -> extraction.
"schedule" is what an ideal executor would take that, like any, does not know beforehand which calls are slow, and whose
update waits for all groups and for nothing else: the part of the distance to the bound that no implementation of these
steps can close. The update's share is the wall-clock in which nothing else is under way.

Example: python -m benchmarks.speed.makespan --problems 200 --concurrency 64
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import dspy

from benchmarks.common import Figures, Target, progress, report
from benchmarks.speed.bound import StepServed, steps_of
from benchmarks.speed.endpoint import endpoint, http_lm
from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.simulated import answers_match, demo_examples
from tfgrpo_dspy.simulated.student import make_solver

MEDIAN, P99 = 0.5, 5.0
TARGETS = {64: 0.95, 128: 0.90}
SMALL_BOUND, SMALL_UPDATE = 0.85, 0.08
"""For steps of the paper's size: the least bound / wall, and the most of the wall-clock that is the update's alone."""


class Cell(NamedTuple):
    """One line of the table."""

    problems: int
    epochs: int
    concurrency: int


class Measured(NamedTuple):
    """A run, and what its server says of it."""

    cell: Cell
    seconds: float
    """Wall-clock time of `compile`."""
    steps: list[StepServed]

    @property
    def bound(self) -> float:
        """Sum of the steps' bounds, in seconds."""
        return sum(step.bound(self.cell.concurrency) for step in self.steps)

    @property
    def scheduled(self) -> float:
        """Sum of the steps' ideal schedules, in seconds."""
        return sum(step.scheduled(self.cell.concurrency) for step in self.steps)

    @property
    def efficiency(self) -> float:
        """Bound / wall-clock, in (0, 1]."""
        return self.bound / self.seconds

    @property
    def update_share(self) -> float:
        """Of the wall-clock, in [0, 1): what is the update's alone."""
        return sum(step.update_alone for step in self.steps) / self.seconds

    def as_row(self) -> Mapping[str, object]:
        """For the table."""
        problems, epochs, concurrency = self.cell
        return {
            "problems x epochs": f"{problems} x {epochs}",
            "concurrency": concurrency,
            "calls": sum(step.calls for step in self.steps),
            "work / concurrency, s": round(sum(step.work for step in self.steps) / concurrency, 2),
            "chain, s": round(sum(step.chain for step in self.steps), 2),
            "update alone, s": round(sum(step.update_alone for step in self.steps), 2),
            "bound, s": round(self.bound, 2),
            "schedule, s": round(self.scheduled, 2),
            "wall-clock, s": round(self.seconds, 2),
            "bound / wall": round(self.efficiency, 3),
            "schedule / wall": round(self.scheduled / self.seconds, 3),
            "update's share": round(self.update_share, 3),
        }


def correct(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> bool:
    """The metric."""
    return answers_match(example.answer, prediction.answer)


def measure(cell: Cell, *, independent: bool) -> Measured:
    """One run."""
    progress(f"{cell.problems} problems, {cell.epochs} epochs, {cell.concurrency} concurrent calls ...")
    trainset = demo_examples(cell.problems, seed=0)
    optimizer = TrainingFreeGRPO(
        correct, epochs=cell.epochs, num_threads=cell.concurrency, max_errors=0, display_progress=False
    )
    with endpoint(median=MEDIAN, p99=P99, independent=independent) as server:
        with dspy.context(lm=http_lm(server)):
            started = time.perf_counter()
            optimizer.compile(make_solver(), trainset)
            seconds = time.perf_counter() - started
        steps = steps_of(server.stop())
    if len(steps) != cell.epochs:
        raise RuntimeError(f"the server's log shows {len(steps)} steps, the run had {cell.epochs}")
    return Measured(cell, seconds, steps)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; the exit code says whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=1000, help="problems of the one large step (default: 1000)")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[64, 128], help="(default: 64 128)")
    parser.add_argument(
        "--small", type=int, default=100, help="problems of three steps of the paper's size; 0 for none (default: 100)"
    )
    parser.add_argument(
        "--independent", action="store_true", help="draw latencies independently, not stratified in blocks of 100"
    )
    options = parser.parse_args(arguments)
    large = [Cell(options.problems, 1, concurrency) for concurrency in options.concurrency]
    small = [Cell(options.small, 3, 64)] if options.small else []
    runs = [measure(cell, independent=options.independent) for cell in [*large, *small]]
    targets = [
        Target(f"bound / wall at {run.cell.concurrency}", run.efficiency, TARGETS[run.cell.concurrency], at_least=True)
        for run in runs[: len(large)]
        if run.cell.concurrency in TARGETS
    ]
    for run in runs[len(large) :]:
        targets.append(Target("bound / wall, the paper's size", run.efficiency, SMALL_BOUND, at_least=True))
        targets.append(Target("the update's share of it", run.update_share, SMALL_UPDATE))
    return report("makespan", [Figures("makespan", [run.as_row() for run in runs])], targets)


if __name__ == "__main__":
    sys.exit(main())
