"""How much longer rollouts that only wait take on Ray than in threads: the simulated LM on loopback, one warm cluster.

Example: python -m benchmarks.speed.on_ray --problems 20 --concurrency 16
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from statistics import median

import dspy

from benchmarks.common import Figures, Target, progress, report
from benchmarks.speed.endpoint import endpoint, http_lm
from benchmarks.speed.makespan import correct
from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.simulated import demo_examples
from tfgrpo_dspy.simulated.student import make_solver

RATIO = 1.5
REPLY = 0.5
"""Seconds of a reply."""


def seconds(executor: str, problems: int, concurrency: int) -> float:
    """Wall-clock time of a compile."""
    optimizer = TrainingFreeGRPO(
        correct, executor=executor, epochs=1, num_threads=concurrency, max_errors=0, display_progress=False
    )
    with endpoint(median=REPLY) as server, dspy.context(lm=http_lm(server)):
        started = time.perf_counter()
        optimizer.compile(make_solver(), demo_examples(problems, seed=0))
        return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure in turns and report; the exit code says whether the target is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=40, help="(default: 40)")
    parser.add_argument("--concurrency", type=int, default=16, help="(default: 16)")
    parser.add_argument("--pairs", type=int, default=3, help="(default: 3)")
    options = parser.parse_args(arguments)
    cold = seconds("ray", options.problems, options.concurrency)
    rows = []
    for pair in range(1, options.pairs + 1):
        progress(f"pair {pair} of {options.pairs} ...")
        threads, ray = (seconds(kind, options.problems, options.concurrency) for kind in ("threads", "ray"))
        rows.append({"pair": pair, "threads, s": threads, "Ray, s": ray, "Ray / threads": ray / threads})
    ratio = median(row["Ray / threads"] for row in rows)
    table = Figures(f"{options.problems} problems, {options.concurrency} at once; cold: {cold:.1f} s", rows)
    return report("on_ray", [table], [Target("Ray / threads, warm", ratio, RATIO)])


if __name__ == "__main__":
    sys.exit(main())
