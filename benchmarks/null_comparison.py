"""How often a comparison finds a gain where there is none: `python -m benchmarks.null_comparison`.

The same optimizer is compared with itself: baseline and optimizer are drawn from the same chances. With several
training seeds, each seed's program is better or worse by luck, a shift of its log-odds with standard deviation
`spread`; the baseline, which is not trained, has none. Tables of several optimizers hold as many copies, as that of a
comparison would, and what seeds add is then estimated from all of them.

`--harness` draws the rewards by evaluating the demo student twice on the embedded LM instead, through the library's own
`evaluate`: it shows that two rows share no rollout.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from benchmarks.common import Figures, Target, progress, report
from benchmarks.coverage import AIME_LIKE, measure_difference, measure_mean, rollouts
from evals.scoring.gains import BySeed, gains_over_seeds, holm
from tfgrpo_dspy.statistics.estimates import Rewards

LEVEL = 0.05
QUESTIONS = 30
Draw = Callable[[np.random.Generator], tuple[BySeed, list[BySeed]]]
"""Rewards of a baseline, and of several optimizers, by seed."""


@dataclass(frozen=True, slots=True)
class Null:
    """One setting."""

    k: int
    seeds: int
    spread: float
    """Standard deviation of a trained program's log-odds between seeds."""
    optimizers: int = 1

    @property
    def name(self) -> str:
        """As a table shows it."""
        return f"{QUESTIONS} x {self.k}, {self.seeds} seeds, spread {self.spread:g}, {self.optimizers} optimizers"


SETTINGS = (
    *(Null(k, 1, 0.0) for k in (5, 32)),
    *(Null(k, seeds, spread, 4) for k, seeds, spread in product((5, 32), (2, 3), (0.0, 0.3))),
    Null(5, 3, 0.3),
)


def called_significant(draw: Draw, trials: int, seed: int) -> tuple[float, float]:
    """Share of trials whose first gain has p < 0.05, and whose smallest p after Holm's correction has."""
    rng = np.random.default_rng(seed)
    first, any_ = 0, 0
    for _ in range(trials):
        baseline, optimizers = draw(rng)
        found = [gain.difference.p_value for gain in gains_over_seeds([(baseline, made) for made in optimizers])]
        first += found[0] < LEVEL
        any_ += min(holm(found)) < LEVEL
    return first / trials, any_ / trials


def simulated(setting: Null, rng: np.random.Generator) -> tuple[BySeed, list[BySeed]]:
    """A baseline and as many optimizers that are no better."""
    chance = np.clip(rng.beta(*AIME_LIKE, QUESTIONS), 1e-9, 1 - 1e-9)
    odds = np.log(chance / (1 - chance))

    def drawn(spread: float) -> Rewards:
        shifted = 1 / (1 + np.exp(-(odds + rng.normal(0.0, spread))))
        return rollouts(rng, shifted, setting.k)

    baseline = [drawn(0.0) for _ in range(setting.seeds)]
    return baseline, [[drawn(setting.spread) for _ in range(setting.seeds)] for _ in range(setting.optimizers)]


def evaluated(k: int, rng: np.random.Generator) -> tuple[BySeed, list[BySeed]]:
    """The demo student evaluated twice, each with rollouts of its own."""
    import dspy

    from programs.demo_world import solver
    from tfgrpo_dspy import evaluate
    from tfgrpo_dspy.rewards.metrics import number
    from tfgrpo_dspy.simulated import demo_examples, simulated_lm

    seed = int(rng.integers(2**31))
    examples = demo_examples(QUESTIONS, seed, "test")
    made = []
    for which in (1, 2):
        with dspy.context(lm=simulated_lm(seed + which, cache=False)):
            scored = evaluate(solver, examples, number, k=k, seed=seed + which, num_threads=2, display_progress=False)
        made.append(list(scored.rewards))
    return [made[0]], [[made[1]]]


def rows(trials: int, seed: int) -> Iterator[dict[str, object]]:
    """The table of false alarms."""
    for setting in SETTINGS:
        progress(setting.name)
        single, any_ = called_significant(partial(simulated, setting), trials, seed)
        yield {
            "questions x k": f"{QUESTIONS} x {setting.k}",
            "seeds": setting.seeds,
            "spread": setting.spread,
            "optimizers": setting.optimizers,
            "significant": single,
            "any after Holm": any_,
        }


def coverage(repeats: int, seed: int) -> Iterator[dict[str, object]]:
    """Coverage of both intervals at 30 questions."""
    for k in (5, 32):
        progress(f"coverage at {QUESTIONS} x {k}")
        cells = [measure_mean(AIME_LIKE, (QUESTIONS, k), repeats, seed)]
        gains = (0.0, 0.03)
        cells += [measure_difference(AIME_LIKE, (QUESTIONS, k), g, repeats=repeats, seed=seed) for g in gains]
        for cell in cells:
            what = "Mean@k" if cell.gain is None else f"gain {cell.gain:+.2f}"
            yield {"interval": what, "questions x k": f"{QUESTIONS} x {k}", "coverage": cell.coverage}


def main() -> int:
    """Print the tables and write them to `results/null_comparison.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=2000, help="of the coverage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--harness", action="store_true", help="evaluate on the embedded LM as well (minutes)")
    options = parser.parse_args()
    false_alarms = list(rows(options.trials, options.seed))
    if options.harness:
        progress("the demo student, evaluated twice")
        single, _ = called_significant(partial(evaluated, 5), options.trials, options.seed)
        shown = {"questions x k": f"{QUESTIONS} x 5, evaluated", "seeds": 1, "spread": 0.0, "optimizers": 1}
        false_alarms.append({**shown, "significant": single, "any after Holm": single})
    held = list(coverage(options.repeats, options.seed))
    tables = [Figures(f"the same optimizer twice, {options.trials} trials", false_alarms), Figures("coverage", held)]
    return report("null_comparison", tables, list(targets(false_alarms, held)))


def targets(false_alarms: list[dict[str, object]], held: list[dict[str, object]]) -> Iterator[Target]:
    """5% +- 2% where one optimizer is compared with itself; never more in a table; intervals hold 95% +- 2%."""
    for row in false_alarms:
        name = f"significant: {row['questions x k']}, {row['seeds']} seeds, spread {row['spread']:g}"
        share = float(str(row["significant"]))
        if row["optimizers"] == 1 and row["seeds"] == 1:
            yield Target(f"{name} (at least)", share, 0.03, at_least=True)
        if row["optimizers"] != 1 or row["seeds"] == 1:
            yield Target(name, share, 0.07)
    for row in held:
        yield Target(f"coverage: {row['interval']}, {row['questions x k']}", float(str(row["coverage"])), 0.93, True)


if __name__ == "__main__":
    raise SystemExit(main())
