"""What a bounded context keeps of the demo's gain: token budgets, distractors with and without retrieval, ms per query.

    python -m benchmarks.context [--seeds 5]

All scores are of the embedded, simulated LM; they say that the machinery works, not how good a real model would be.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import dspy

from benchmarks.common import Figures, Target, progress, report
from benchmarks.distractors import distracted
from tfgrpo_dspy import ExperienceLibrary, TrainingFreeGRPO, attach, evaluate
from tfgrpo_dspy.library.retrieval import BM25, Shelf
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.run.policy import as_policy
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.student import make_solver

BUDGETS = (250, 500, 1000)
DISTRACTORS = (0, 500, 5000)
LIBRARIES = (1_000, 10_000, 100_000)
EXAMPLES, HELD_OUT, ROLLOUTS, K, THREADS = 48, 60, 5, 8, 2
KEPT, MILLISECONDS = 0.9, 10.0


@dataclass(frozen=True, slots=True)
class Bench:
    """One seed of the demo: its problems, and what they score without a library."""

    seed: int
    baseline: float

    @classmethod
    def of(cls, seed: int) -> Bench:
        """The baseline of a seed."""
        return replace(cls(seed, 0.0), baseline=cls(seed, 0.0).score(make_solver()))

    def learn(self, **settings: object) -> dspy.Module:
        """The demo's program, learned with these settings."""
        optimizer = TrainingFreeGRPO(number, seed=self.seed, num_threads=THREADS, display_progress=False, **settings)
        with dspy.context(lm=simulated_lm(self.seed, cache=False)):
            return optimizer.compile(make_solver(), demo_examples(EXAMPLES, self.seed))

    def score(self, program: dspy.Module) -> float:
        """Mean reward on the held-out problems."""
        held_out = demo_examples(HELD_OUT, self.seed, "test")
        with dspy.context(lm=simulated_lm(self.seed, cache=False)):
            return evaluate(program, held_out, number, k=ROLLOUTS, seed=self.seed, num_threads=THREADS).mean.value

    def gain(self, program: dspy.Module) -> float:
        """Over the baseline."""
        return self.score(program) - self.baseline


def measure_seed(seed: int) -> dict[str, float]:
    """Gains of all arms for one seed, and the entries and tokens of the libraries."""
    bench = Bench.of(seed)
    free = bench.learn()
    learned: ExperienceLibrary = free.experience_library
    found = {"no bound": bench.gain(free)}
    for budget in BUDGETS:
        found[f"{budget} tokens"] = bench.gain(bench.learn(max_library_tokens=budget))
    settings = TrainingFreeGRPO(number, retrieval=BM25(K)).settings
    trainset = demo_examples(EXAMPLES, seed)
    for n in DISTRACTORS:
        mixed = distracted(learned, n, seed)
        found[f"{n} distractors, all read"] = bench.gain(attach(make_solver(), mixed))
        found[f"{n} distractors, {K} retrieved"] = bench.gain(as_policy(make_solver(), mixed, settings, trainset))
        without_cues = attach(make_solver(), mixed, retrieval=BM25(K))
        found[f"{n} distractors, {K} retrieved by their texts alone"] = bench.gain(without_cues)
    among = distracted(ExperienceLibrary(), max(DISTRACTORS), seed)
    found[f"learned among {max(DISTRACTORS)} distractors, {K} retrieved"] = bench.gain(
        bench.learn(library=among, retrieval=BM25(K))
    )
    return found


def gains(rows: Sequence[Mapping[str, float]]) -> list[dict[str, object]]:
    """A row per arm: mean gain and share kept of the unbounded one, with 95% intervals over seeds."""
    shown = []
    for arm in rows[0]:
        made = [row[arm] for row in rows]
        kept = [row[arm] / row["no bound"] for row in rows]
        low, high = _interval(kept)
        shown.append(
            {
                "arm (simulated)": arm,
                "seeds": len(rows),
                "gain": statistics.fmean(made),
                "gain kept": statistics.fmean(kept),
                "kept, low": low,
                "kept, high": high,
            }
        )
    return shown


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Percentile bootstrap of the mean over seeds."""
    rng = random.Random(0)
    means = sorted(statistics.fmean(rng.choices(values, k=len(values))) for _ in range(2000))
    return means[49], means[1949]


def measure_library(size: int, queries: int = 100) -> dict[str, object]:
    """Time to make a library ready, and to choose what a query reads."""
    words = _vocabulary(random.Random(size))
    texts = [f"When {words(9)}, {words(6)}; {words(5)}." for _ in range(size)]
    shelf = Shelf(ExperienceLibrary.from_texts(texts), BM25(K))
    began = time.perf_counter()
    shelf.select(words(10))
    ready = time.perf_counter() - began
    taken, worked = [], []
    for _ in range(queries):
        query = words(60)
        began, worked_before = time.perf_counter(), time.thread_time()
        shelf.select(query)
        taken.append(1000 * (time.perf_counter() - began))
        worked.append(1000 * (time.thread_time() - worked_before))
    return {
        "experiences": size,
        "made ready, s": ready,
        "ms per query, median": statistics.median(taken),
        "ms of CPU, 95th percentile": sorted(worked)[int(0.95 * queries)],  # apart from what else the machine does
    }


def _vocabulary(rng: random.Random) -> Callable[[int], str]:
    """Texts of so many words, drawn as in natural language: the r-th word about as often as 1 / r."""
    syllables = [a + b for a in "bcdfglmnprst" for b in "aeiou"]
    words = ["".join(rng.choices(syllables, k=3)) for _ in range(20_000)]
    weights = list(accumulate(1 / (rank + 3) for rank in range(len(words))))
    return lambda n: " ".join(rng.choices(words, cum_weights=weights, k=n))


def main() -> int:
    """Measure everything, print and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    libraries = []
    for size in LIBRARIES:
        progress(f"{size} experiences")
        libraries.append(measure_library(size))
    rows = []
    for seed in range(seeds):
        progress(f"seed {seed}")
        rows.append(measure_seed(seed))
    table = gains(rows)
    kept = {str(row["arm (simulated)"]): float(str(row["gain kept"])) for row in table}
    most = max(DISTRACTORS)
    wanted = ("500 tokens", f"{most} distractors, {K} retrieved", f"learned among {most} distractors, {K} retrieved")
    targets = [Target(f"gain kept: {arm}", kept[arm], KEPT, at_least=True) for arm in wanted]
    for column in ("ms per query, median", "ms of CPU, 95th percentile"):
        targets.append(Target(f"{column}, at {LIBRARIES[-1]}", float(str(libraries[-1][column])), MILLISECONDS))
    return report("context", [Figures("gain kept", table), Figures("retrieval", libraries)], targets)


if __name__ == "__main__":
    sys.exit(main())
