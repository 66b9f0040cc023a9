"""Whether measured effects tell useful, useless and harmful experiences apart: `python -m benchmarks.credit`.

Simulated. 20 useful, 20 useless and 10 harmful experiences are planted in the demo world (see `planted`). They are
measured with the rollouts that `tfgrpo demo` makes: 48 problems, 3 epochs, groups of 5, so 720; nothing is updated
meanwhile. Then what is measured to be harmful is taken out, and the library is evaluated on other problems.

Leave-one-out and sampled Shapley values get as many rollouts, and ten times as many. Theirs are drawn from the
simulated LM's own chances, which is the same without DSPy in between. Leave-one-out compares the whole library with
each one without an entry, on the same problems; Shapley adds the entries in random order, one problem an order.
"""

from __future__ import annotations

import argparse
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import dspy
import numpy as np

from benchmarks.attribution import Values, leave_one_out, shapley, true_effects
from benchmarks.common import Figures, Target, progress, report
from benchmarks.planted import kinds_of, plant
from tfgrpo_dspy import ExperienceLibrary, attach, evaluate
from tfgrpo_dspy.credit.effects import Trial, effects_of, trials_of
from tfgrpo_dspy.credit.prune import harmful, prune
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.records.evaluation import Evaluation
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.rollouts.sampling import Query, Sampling
from tfgrpo_dspy.runtime.losses import Watch
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.student import make_solver
from tfgrpo_dspy.simulated.world import Problem, make_problems
from tfgrpo_dspy.steps.rollout import roll_out

FIGURE = Path(__file__).parents[1] / "docs" / "credit.png"
CALIBRATED = 4
"""Seeds of which the true effects are computed."""
COLOURS = {"useful": "#2a9d5c", "useless": "#9a9a9a", "harmful": "#d1495b"}


@dataclass(frozen=True, slots=True)
class Budget:
    """What is measured with."""

    problems: int = 48
    epochs: int = 3
    group_size: int = 5

    @property
    def rollouts(self) -> int:
        """All together."""
        return self.problems * self.epochs * self.group_size


class Measured(NamedTuple):
    """One planted library, measured."""

    library: ExperienceLibrary
    kinds: Mapping[str, str]
    effects: tuple[Effect, ...]
    trials: list[Trial]


Method = Callable[[Measured, Sequence[Problem], random.Random], Values]
Rival = Callable[[ExperienceLibrary, Sequence[Problem], int, random.Random], Values]


def measure(library: ExperienceLibrary, seed: int, dropout: float, budget: Budget, threads: int = 2) -> Measured:
    """Roll out the demo's problems under random parts of the library, and estimate what its entries do."""
    examples = demo_examples(budget.problems, seed)
    queries = [Query(i, example) for i, example in enumerate(examples)]
    trials: list[Trial] = []
    with dspy.context(lm=simulated_lm(seed, cache=False)), Workers(threads, Watch(10, lambda event: None)) as workers:
        policy = attach(make_solver(), library)
        for step in range(1, budget.epochs + 1):
            sampling = Sampling(f"training seed {seed}", step, budget.group_size, 0.7, 0.0, dropout=dropout)
            groups = workers.results(roll_out(policy, queries, number, workers, sampling))
            trials += trials_of(groups, library, step)
    return Measured(library, kinds_of(library), effects_of(trials, library, dropout), trials)


def auc(values: Values, kinds: Mapping[str, str], kind: str) -> float:
    """Chance that an experience of that kind is ranked above (for harmful ones below) one of another kind."""
    sign = -1 if kind == "harmful" else 1
    of_kind = np.array([sign * value for id, value in values.items() if kinds[id] == kind])
    others = np.array([sign * value for id, value in values.items() if kinds[id] != kind])
    wins = (of_kind[:, None] > others).mean() + (of_kind[:, None] == others).mean() / 2
    return float(wins)


def calibration_rows(measured: Sequence[Measured], dropout: float, budget: Budget) -> list[dict[str, object]]:
    """How often intervals hold the true effect, over the first seeds."""
    found: dict[str, list[tuple[bool, float, float]]] = {kind: [] for kind in COLOURS}
    for seed, m in enumerate(measured[:CALIBRATED]):
        progress(f"true effects of seed {seed}")
        problems = make_problems(budget.problems, seed)
        true = true_effects(m.library, problems, dropout, random.Random(f"true/{seed}"))
        for e in m.effects:
            found[m.kinds[e.id]].append((e.low <= true[e.id] <= e.high, true[e.id], e.value))
    return [
        {
            "experiences": kind,
            "n": len(rows),
            "interval holds the true effect": round(float(np.mean([held for held, _, _ in rows])), 3),
            "true effect, mean": round(float(np.mean([true for _, true, _ in rows])), 4),
            "measured, mean": round(float(np.mean([value for _, _, value in rows])), 4),
        }
        for kind, rows in found.items()
    ]


def told_badly(trials: Sequence[Trial], kept: float, false: float, rng: random.Random) -> list[Trial]:
    """The trials of an LM that says less of what it followed, and cites what it did not follow.

    Args:
        trials: As they were.
        kept: Share of the citations that remain.
        false: Further citations for each that there was, of entries that the rollout read.
        rng: Draws them.
    """
    changed = []
    for trial in trials:
        cited = {id for id in sorted(trial.cited) if rng.random() < kept}
        read = sorted(trial.texts.keys() - trial.withheld)
        cited |= {rng.choice(read) for _ in trial.cited if rng.random() < false}
        changed.append(replace(trial, cited=frozenset(cited)))
    return changed


def methods(dropout: float, budget: Budget) -> dict[str, tuple[int, Method]]:
    """Name to rollouts that a method takes, and the method."""
    ours = partial(_by_dropout, dropout=dropout)
    made: dict[str, tuple[int, Method]] = {
        "dropout": (budget.rollouts, ours),
        "dropout, one citation in four": (budget.rollouts, partial(ours, kept=0.25)),
        "dropout, as many false citations": (budget.rollouts, partial(ours, false=1.0)),
        "dropout, no citations": (budget.rollouts, partial(ours, kept=0.0)),
    }
    for factor in (1, 10):
        rollouts = factor * budget.rollouts
        for name, rival in (("leave-one-out", leave_one_out), ("Shapley, sampled", shapley)):
            made[f"{name} x {factor}"] = (rollouts, partial(_by_rival, rival=rival, rollouts=rollouts))
    return made


def ranking_rows(measured: Sequence[Measured], dropout: float, budget: Budget) -> list[dict[str, object]]:
    """AUC of every method, mean and lowest over the seeds, at its number of rollouts."""
    rows = []
    for name, (rollouts, method) in methods(dropout, budget).items():
        progress(f"ranking by {name}")
        found = [
            method(m, make_problems(budget.problems, seed), random.Random(f"{name}/{seed}"))
            for seed, m in enumerate(measured)
        ]
        row: dict[str, object] = {"method": name, "rollouts": rollouts}
        for kind in ("useful", "harmful"):
            each = [auc(values, m.kinds, kind) for values, m in zip(found, measured, strict=True)]
            row |= {f"AUC {kind}": round(float(np.mean(each)), 3), f"lowest {kind}": round(min(each), 3)}
        rows.append(row)
    return rows


def _by_dropout(
    m: Measured,
    problems: Sequence[Problem],
    rng: random.Random,
    *,
    dropout: float,
    kept: float = 1.0,
    false: float = 0.0,
) -> Values:
    return _values(effects_of(told_badly(m.trials, kept, false, rng), m.library, dropout))


def _by_rival(m: Measured, problems: Sequence[Problem], rng: random.Random, *, rival: Rival, rollouts: int) -> Values:
    return rival(m.library, problems, rollouts, rng)


def _values(effects: Sequence[Effect]) -> Values:
    return {effect.id: effect.value for effect in effects}


def held_out(library: ExperienceLibrary, seed: int, questions: int) -> Evaluation:
    """Mean@5 of the demo's student with that library on problems that were not measured with."""
    with dspy.context(lm=simulated_lm(seed, cache=False)):
        program = attach(make_solver(), library)
        examples = demo_examples(questions, seed, "test")
        return evaluate(program, examples, number, seed=seed, num_threads=2, display_progress=False)


def recovery(measured: Measured, seed: int, questions: int) -> dict[str, Evaluation]:
    """Held-out scores without a library, with the planted one, the pruned one, and the useful ones alone."""
    library = measured.library
    useful = tuple(e for e in library if measured.kinds[e.id] == "useful")
    libraries = {
        "no library": ExperienceLibrary(),
        "planted": library,
        "pruned": library.apply(prune(library, measured.effects)).library,
        "useful ones only": replace(library, experiences=useful),
    }
    return {name: held_out(each, seed, questions) for name, each in libraries.items()}


def draw_figure(measured: Measured, scores: Mapping[str, Evaluation], path: Path) -> None:
    """Effects with their intervals by what was planted, and what pruning does to the score."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    ranked = sorted(measured.effects, key=lambda effect: effect.value)
    gone = {effect.id for effect in harmful(measured.effects)}
    for at, effect in enumerate(ranked):
        colour = COLOURS[measured.kinds[effect.id]]
        left.plot([effect.low, effect.high], [at, at], color=colour, linewidth=1.2)
        left.plot(effect.value, at, "x" if effect.id in gone else "o", color=colour, markersize=5)
    for kind, colour in COLOURS.items():
        left.plot([], [], "o-", color=colour, label=kind)
    left.plot([], [], "x", color="black", label="pruned")
    left.axvline(0, color="black", linewidth=0.8)
    left.set(xlabel="measured effect on the mean reward, 95% interval", ylabel="experience, by effect", yticks=[])
    left.legend(loc="lower right")
    for at, evaluation in enumerate(scores.values()):
        mean = evaluation.mean
        right.bar(at, mean.value, color="#4c78a8", width=0.6)
        right.errorbar(at, mean.value, [[mean.value - mean.low], [mean.high - mean.value]], color="black", capsize=4)
    right.set(xticks=range(len(scores)), ylim=(0, 1), ylabel=f"held-out Mean@5, n = {mean.n}")
    right.set_xticklabels(scores, rotation=15)
    figure.suptitle(f"Simulated LM: 50 planted experiences after {len(measured.trials)} rollouts with dropout")
    figure.savefig(path, dpi=110)


def main() -> int:
    """Measure, print, write results and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--questions", type=int, default=160)
    options = parser.parse_args()
    logging.getLogger("tfgrpo_dspy").setLevel(logging.ERROR)
    budget, measured, rows, gains = Budget(), [], [], []
    for seed in range(options.seeds):
        progress(f"seed {seed}")
        measured.append(measure(plant(20, 20, 10, seed), seed, options.dropout, budget))
        scores = recovery(measured[-1], seed, options.questions)
        if seed == 0:
            draw_figure(measured[0], scores, FIGURE)
        gone = Counter(measured[-1].kinds[effect.id] for effect in harmful(measured[-1].effects))
        means = {name: round(evaluation.mean.value, 3) for name, evaluation in scores.items()}
        pruned = {f"pruned {kind}": gone[kind] for kind in ("harmful", "useless", "useful")}
        rows.append({"seed": seed, **pruned, **means})
        gains.append((means["pruned"] - means["planted"]) / (means["useful ones only"] - means["planted"]))
    ranking = ranking_rows(measured, options.dropout, budget)
    tables = [
        Figures(f"ranking of 50 planted experiences (simulated, {options.seeds} seeds)", ranking),
        Figures("intervals (simulated)", calibration_rows(measured, options.dropout, budget)),
        Figures(f"pruning, and Mean@5 on {options.questions} held-out problems (simulated)", rows),
    ]
    return report("credit", tables, targets(ranking[0], rows, gains))


def targets(ours: Mapping[str, object], rows: Sequence[Mapping[str, object]], gains: Sequence[float]) -> list[Target]:
    """What was asked for."""
    counts = {kind: [int(str(row[f"pruned {kind}"])) for row in rows] for kind in ("harmful", "useful")}
    return [
        Target("AUC of useful ones, mean", float(str(ours["AUC useful"])), 0.9, at_least=True),
        Target("AUC of harmful ones, mean", float(str(ours["AUC harmful"])), 0.9, at_least=True),
        Target("harmful ones pruned of 10, mean", float(np.mean(counts["harmful"])), 8, at_least=True),
        Target("seeds with at least 8, share", float(np.mean([n >= 8 for n in counts["harmful"]])), 0.8, at_least=True),
        Target("useful ones pruned of 20, most", max(counts["useful"]), 2),
        Target("share of the lost score recovered, mean", float(np.mean(gains)), 0.8, at_least=True),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
