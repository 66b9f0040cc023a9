"""Whether trials keep what helps and take out the rest: `python -m benchmarks.trials`. All is simulated.

*Planted.* 20 useful, 20 useless and 10 harmful experiences (see `planted`) are on trial from the first step on, as if
each had been learned from a problem, the useful and the harmful ones from one that they are about.
Rollouts are those of the paper's budget, 100 problems, 3 epochs, groups of 5, and the round after the last step;
nothing is learned meanwhile, and nobody cites anything.

*Learned.* Whole runs in worlds in which the LM reflects soundly, or takes losers for winners in some comparisons, with
and without trials. Scores are exact: the LM's chances to be right on 400 held-out problems. The ceiling is one perfect
tip for each trap.
"""

from __future__ import annotations

import argparse
import logging
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import dspy

from benchmarks.common import Figures, Target, progress, report
from benchmarks.planted import kind_of, kinds_of, perfect, plant, score
from tfgrpo_dspy import ExperienceLibrary, TrainingFreeGRPO, attach
from tfgrpo_dspy.credit.likeness import Likeness
from tfgrpo_dspy.credit.of_run import Trials
from tfgrpo_dspy.credit.rulings import verdicts_on
from tfgrpo_dspy.library.experience import Provenance, Source
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.rollouts.sampling import Query, Sampling
from tfgrpo_dspy.run.settling import LEAST
from tfgrpo_dspy.runtime.losses import Watch
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.student import make_solver
from tfgrpo_dspy.simulated.understanding import meaning
from tfgrpo_dspy.simulated.world import make_problems
from tfgrpo_dspy.steps.rollout import roll_out

PROBLEMS, EPOCHS, GROUP, THREADS = 100, 3, 5, 2
COUNTS = {"useful": 20, "useless": 20, "harmful": 10}
WORLDS: Mapping[str, Mapping[str, float]] = {"sound": {}, "confused": {"confusion": 0.25}}
RULES: Mapping[str, Mapping[str, object]] = {
    "paper": {},
    "trials": {"trials": True},
    "min_group_size=2": {"min_group_size": 2},
    "both": {"trials": True, "min_group_size": 2},
}


def as_learned(library: ExperienceLibrary, seed: int, count: int = PROBLEMS) -> ExperienceLibrary:
    """The planted library as if each of its entries came from a problem."""
    rng, problems = random.Random(f"learned/{seed}"), make_problems(count, seed)
    made = []
    for entry in library:
        families = {stance.family for stance in meaning(entry.text)}
        fitting = [i for i, p in enumerate(problems) if not families or p.family in families] or range(count)
        source = Source(f"e{rng.choice(fitting)}")
        made.append(replace(entry, provenance=Provenance("updater", 1, sources=(source,))))
    return replace(library, experiences=tuple(made))


def left_of_planted(seed: int, problems: int = PROBLEMS) -> tuple[Counter[str], int]:
    """How many of each kind are left at the end, and the rollouts that it took."""
    library = as_learned(plant(*COUNTS.values(), seed), seed, problems)
    kinds, examples = kinds_of(library), demo_examples(problems, seed)
    settings = Settings(epochs=EPOCHS, trials=True)
    learning, last = settings.learning_epochs, settings.learning_epochs + settings.settling_rounds
    trials, rollouts = Trials(Likeness({f"e{i}": e.question for i, e in enumerate(examples)})), 0
    with dspy.context(lm=simulated_lm(seed, cache=False)), Workers(THREADS, Watch(10, lambda event: None)) as workers:
        for step in range(1, last + 1):
            asked = {f"e{i}" for i in range(problems)} if step <= learning else trials.doubtful(library, LEAST)
            queries = [Query(i, example) for i, example in enumerate(examples) if f"e{i}" in asked]
            sampling = Sampling(f"training seed {seed}", step, GROUP, 0.7, 0.0, on_trial=trials.on_trial(library))
            policy = attach(make_solver(), library)
            groups = workers.results(roll_out(policy, queries, number, workers, sampling))
            rollouts += len(queries) * GROUP
            ruled = verdicts_on(library, trials.take(groups, library), trial_ends=step == last)
            library = library.apply(ruled).library
    return Counter(kinds[entry.id] for entry in library), rollouts


def planted_rows(seeds: int) -> Iterator[dict[str, object]]:
    """A row per seed, and their mean."""
    found = []
    for seed in range(seeds):
        left, rollouts = left_of_planted(seed)
        progress(f"planted, seed {seed}: {dict(left)} after {rollouts} rollouts")
        found.append(
            {**{f"{kind} left of {count}": left[kind] for kind, count in COUNTS.items()}, "rollouts": rollouts}
        )
        yield {"seed": seed, **found[-1]}
    yield {"seed": "mean", **{name: round(fmean(row[name] for row in found), 2) for name in found[0]}}


def learned_rows(seeds: int) -> Iterator[dict[str, object]]:
    """A row per world and rule: what is learned, mean over seeds."""
    for world, options in WORLDS.items():
        for rule, settings in RULES.items():
            runs = [learned(seed, options, settings) for seed in range(seeds)]
            row = {"world": world, "rule": rule, **{name: round(fmean(r[name] for r in runs), 4) for name in runs[0]}}
            progress(str(row))
            yield row


def learned(seed: int, options: Mapping[str, float], settings: Mapping[str, object]) -> dict[str, float]:
    """What one run comes to."""
    with dspy.context(lm=simulated_lm(seed, cache=False, **options)):
        optimizer = TrainingFreeGRPO(number, num_threads=THREADS, seed=seed, display_progress=False, **settings)
        made = optimizer.compile(make_solver(), demo_examples(PROBLEMS, seed)).detailed_results
    kinds = Counter(kind_of(entry.text) for entry in made.library)
    taken = Counter(kind_of(change.before) for step in made.steps for change in step.by_trial if change.before)
    return {
        "score": score(made.library, seed),
        "ceiling": score(perfect(), seed),
        **{kind: kinds[kind] for kind in COUNTS},
        "useful taken out": taken["useful"],
        "calls": made.usage.lm_calls,
    }


def main() -> int:
    """Print the tables and write them to `results/trials.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    logging.getLogger("tfgrpo_dspy").setLevel(logging.ERROR)
    planted, runs = list(planted_rows(options.seeds)), list(learned_rows(options.seeds))
    tables = [Figures("planted (simulated)", planted), Figures("learned (simulated)", runs)]
    return report("trials", tables, list(targets(planted[-1], runs)))


def targets(mean: Mapping[str, object], runs: Sequence[Mapping[str, object]]) -> Iterator[Target]:
    """Of the planted ones; and within .01 of the ceiling where the LM reflects soundly."""
    yield Target("useful left of 20, mean", float(str(mean["useful left of 20"])), 19, True)
    yield Target("useless left of 20, mean", float(str(mean["useless left of 20"])), 5)
    yield Target("harmful left of 10, mean", float(str(mean["harmful left of 10"])), 1)
    for row in runs:
        if row["world"] == "sound" and "trials" in RULES[str(row["rule"])]:
            below = float(str(row["ceiling"])) - float(str(row["score"]))
            yield Target(f"below the ceiling, {row['rule']}", below, 0.01)


if __name__ == "__main__":
    raise SystemExit(main())
