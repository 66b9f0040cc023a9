"""What to do with groups whose rewards are all equal, at equal cost: `python -m benchmarks.hard_groups`.

The embedded LM learns from problems that it mostly fails: the hard part of the demo world at temperature 0.3, in groups
of 3. Each rule of `on_uniform` may make the same number of LM calls (`Budget(max_lm_calls=...)`, and more epochs than
that allows), with the same examples and seeds; what it learned is compared with the bare program on fresh problems of
the same kind, paired by problem, and with what the paper's rule (`skip`) learned, paired by seed. All is simulated.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import dspy

from benchmarks.common import Figures, progress, report
from tfgrpo_dspy import Budget, TrainingFreeGRPO, compare, evaluate
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.settings import ON_UNIFORM
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.policy import difficulty_of
from tfgrpo_dspy.simulated.student import make_solver
from tfgrpo_dspy.statistics.estimates import Difference, paired_difference

TEMPERATURE, HARD, GROUP = 0.3, 0.45, 3
TRAIN, TEST, K, THREADS = 24, 120, 3, 2
CAPS = (200, 400)


@dataclass(frozen=True, slots=True)
class Run:
    """One run and what it came to."""

    rule: str
    calls: int
    seed: int
    bare: float
    gain: float
    uniform: float
    """Share of the first step's groups that were uniform after all."""
    entries: int
    paid: int
    """LM calls made."""


def hard(n: int, seed: int, *, test: bool) -> list[dspy.Example]:
    """Problems that the embedded LM mostly fails at a low temperature."""
    made = demo_examples(8 * n, seed, "test" if test else "train")
    return [example for example in made if difficulty_of(example.question) > HARD][:n]


def run(rule: str, calls: int, seed: int) -> Run:
    """Learn by a rule within the budget, and judge what came out."""
    student, fresh = make_solver(), hard(TEST, seed, test=True)
    with dspy.context(lm=simulated_lm(seed, cache=False, learns="both")):
        optimizer = TrainingFreeGRPO(
            number,
            epochs=20,
            group_size=GROUP,
            temperature=TEMPERATURE,
            num_threads=THREADS,
            seed=seed,
            on_uniform=rule,
            budget=Budget(max_lm_calls=calls),
            display_progress=False,
        )
        learned = optimizer.compile(student, hard(TRAIN, seed, test=False))
        before, after = (
            evaluate(
                program,
                fresh,
                number,
                k=K,
                temperature=TEMPERATURE,
                seed=seed,
                num_threads=THREADS,
                display_progress=False,
            )
            for program in (student, learned)
        )
    result = learned.detailed_results
    groups = result.steps[0].groups
    uniform = sum(not group.is_informative(1e-9) for group in groups) / len(groups)
    gain = compare(before, after).difference.value
    entries = len(learned.experience_library)
    return Run(rule, calls, seed, before.mean.value, gain, uniform, entries, result.usage.lm_calls)


def over_seeds(values: Sequence[float]) -> Difference:
    """The mean of differences, one per seed, with its interval."""
    return paired_difference([[0.0]] * len(values), [[value] for value in values])


def rows(runs: Sequence[Run]) -> Iterator[dict[str, object]]:
    """A row per budget and rule."""
    for calls in CAPS:
        paper = [made.gain for made in runs if (made.rule, made.calls) == ("skip", calls)]
        for rule in ON_UNIFORM:
            found = [made for made in runs if (made.rule, made.calls) == (rule, calls)]
            gains = over_seeds([made.gain for made in found])
            more = over_seeds([made.gain - skipped for made, skipped in zip(found, paper, strict=True)])
            yield {
                "rule": rule,
                "LM calls": round(fmean(made.paid for made in found)),
                "seeds": len(found),
                "bare": fmean(made.bare for made in found),
                "gain": gains.value,
                "low": gains.low,
                "high": gains.high,
                "over skip": more.value,
                "over skip low": more.low if rule != "skip" else 0.0,
                "over skip high": more.high if rule != "skip" else 0.0,
                "uniform, step 1": fmean(made.uniform for made in found),
                "entries": fmean(made.entries for made in found),
            }


def main() -> int:
    """Print the table and write it to `results/hard_groups.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    logging.getLogger("tfgrpo_dspy").setLevel(logging.ERROR)
    runs = []
    for seed in range(options.seeds):
        for calls in CAPS:
            runs += [run(rule, calls, seed) for rule in ON_UNIFORM]
        progress(f"seed {seed}: {', '.join(f'{made.rule} {made.gain:+.3f}' for made in runs[-len(ON_UNIFORM) :])}")
    return report("hard_groups", [Figures("gain at equal LM calls (simulated)", list(rows(runs)))], [])


if __name__ == "__main__":
    raise SystemExit(main())
