"""A gate against a model too weak to reflect: `python -m benchmarks.gate`.

The embedded LM with `confusion=0.5` takes the losers' way for the winners' in half of its comparisons. It learns from
problems that it mostly solves already, where wrong advice has more to spoil than right advice to mend: the easy half of
the demo world at temperature 0.4. Three rules learn from the same examples with the same seeds: the paper's (every
update is applied), a gate, and a gate with `require_gain`. What they end with is compared with the bare program on
fresh held-out problems, which neither training nor gate has seen, paired by problem, with the same rollout ids on both
sides: where nothing was learned the difference is exactly 0. A run ends below its baseline if that difference is
negative at all. With `confusion=0` it is seen what the gate costs where reflection is sound. All is simulated.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import dspy

from benchmarks.common import Figures, Target, progress, report
from tfgrpo_dspy import Comparison, TrainingFreeGRPO, compare, evaluate
from tfgrpo_dspy.gates.holdout import Holdout
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.policy import difficulty_of
from tfgrpo_dspy.simulated.student import make_solver
from tfgrpo_dspy.statistics.estimates import paired_difference

TEMPERATURE, EASY = 0.4, -0.4
THREADS, EPOCHS, K = 2, 2, 3
RULES = ("paper", "gate", "gate, require_gain")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Problems of each purpose."""

    train: int = 24
    gate: int = 160
    test: int = 200


@dataclass(frozen=True, slots=True)
class Run:
    """One run and what it came to."""

    rule: str
    confusion: float
    seed: int
    gain: Comparison
    entries: int
    rollouts: int
    """Of the gate."""
    seconds: float


def easy(n: int, seed: int, split: str) -> list[dspy.Example]:
    """Problems that the embedded LM mostly solves at a low temperature."""
    made = demo_examples(8 * n, seed, "test" if split != "train" else "train")
    return [example for example in made if difficulty_of(example.question) < EASY][:n]


def held_out(sizes: Sizes, seed: int) -> tuple[list[dspy.Example], list[dspy.Example]]:
    """The gate's problems, and others for the final judgement; no problem is in both."""
    both = easy(sizes.gate + sizes.test, seed, "test")
    return both[: sizes.gate], both[sizes.gate :]


def run(rule: str, seed: int, sizes: Sizes, *, confusion: float = 0.5) -> Run:
    """Learn by a rule, and judge what came out."""
    began = time.perf_counter()
    gating, fresh = held_out(sizes, seed)
    gate = None if rule == "paper" else Holdout(gating, k=2, alpha=0.1, margin=0.0)
    student = make_solver()
    with dspy.context(lm=simulated_lm(seed, confusion=confusion, cache=False)):
        optimizer = TrainingFreeGRPO(
            number,
            epochs=EPOCHS,
            temperature=TEMPERATURE,
            num_threads=THREADS,
            seed=seed,
            gate=gate,
            display_progress=False,
        )
        learned = optimizer.compile(
            student, easy(sizes.train, seed, "train"), require_gain=True if "require_gain" in rule else None
        )
        bare, better = (
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
    rollouts = sum(trial.rollouts for step in learned.detailed_results.steps for trial in step.trials)
    seconds = time.perf_counter() - began
    entries = len(learned.experience_library)
    return Run(rule, confusion, seed, compare(bare, better), entries, rollouts, seconds)


def row_of(made: Run) -> dict[str, object]:
    """A run as a row."""
    d = made.gain.difference
    return {
        "rule": made.rule,
        "confusion": made.confusion,
        "seed": made.seed,
        "bare": made.gain.baseline.mean.value,
        "gain": d.value,
        "low": d.low,
        "high": d.high,
        "problems": d.n,
        "entries": made.entries,
        "gate rollouts": made.rollouts,
        "seconds": made.seconds,
    }


def summaries(runs: Sequence[Run]) -> Iterator[dict[str, object]]:
    """A row per rule: mean gain over seeds with its interval, and how many ended below their baseline."""
    for confusion in dict.fromkeys(made.confusion for made in runs):
        for rule in RULES:
            found = [made for made in runs if (made.rule, made.confusion) == (rule, confusion)]
            if len(found) > 1:
                gains = [made.gain.difference.value for made in found]
                over_seeds = paired_difference([[0.0]] * len(gains), [[gain] for gain in gains])
                yield {
                    "rule": rule,
                    "confusion": confusion,
                    "seeds": len(found),
                    "mean gain": over_seeds.value,
                    "low": over_seeds.low,
                    "high": over_seeds.high,
                    "below": sum(gain < 0 for gain in gains),
                    "worse, interval below 0": sum(made.gain.verdict == "worse" for made in found),
                    "entries": fmean(made.entries for made in found),
                    "gate rollouts": fmean(made.rollouts for made in found),
                }


def main() -> int:
    """Print the tables and write them to `results/gate.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sound-seeds", type=int, default=6, help="with confusion 0")
    options = parser.parse_args()
    logging.getLogger("tfgrpo_dspy").setLevel(logging.ERROR)
    runs: list[Run] = []
    plan = [(0.5, seed) for seed in range(options.seeds)] + [(0.0, seed) for seed in range(options.sound_seeds)]
    for confusion, seed in plan:
        for rule in RULES[: 3 if confusion else 2]:
            runs.append(run(rule, seed, Sizes(), confusion=confusion))
            d = runs[-1].gain.difference
            progress(f"confusion {confusion:g}, seed {seed}, {rule}: {d.value:+.3f} ({runs[-1].seconds:.0f} s)")
    summed = list(summaries(runs))
    tables = [Figures("gain on fresh problems (simulated)", summed), Figures("runs", [row_of(made) for made in runs])]
    return report("gate", tables, list(targets(summed)))


def targets(summed: Sequence[dict[str, object]]) -> Iterator[Target]:
    """The paper's rule loses, interval included; no gated run ends below its baseline."""
    for row in summed:
        if row["confusion"] and row["rule"] == "paper":
            yield Target("mean gain of the paper's rule, upper end", float(str(row["high"])), 0.0)
        elif row["confusion"]:
            yield Target(f"runs below their baseline: {row['rule']}", float(str(row["below"])), 0.0)
        elif row["rule"] == "gate":
            yield Target(
                "mean gain of the gate where reflection is sound, lower end", float(str(row["low"])), 0.0, True
            )


if __name__ == "__main__":
    raise SystemExit(main())
