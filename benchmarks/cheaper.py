"""What is saved by design, and what it loses: adaptive groups, prompt caching, a cheaper reflection LM. Simulated.

The same problems are learned under each rule and the library is measured on held-out problems, over several seeds;
each seed draws problems, rollouts and the answers of the embedded LM. Tokens are those of the embedded LM, which
reports cached input as a provider does (whole blocks of 128 tokens that an earlier prompt began with), at prices made
up for the purpose. It answers as well at any price, so a cheaper reflection LM is a matter of the bill here and
nothing else: what a weaker one would lose is not simulated.

Example: python -m benchmarks.cheaper --seeds 4
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import dspy
from dspy.lm15 import Request, Response

from benchmarks.common import Figures, Target, progress, report
from tfgrpo_dspy import TrainingFreeGRPO, evaluate
from tfgrpo_dspy.lm.budget import Price, cost_at
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.settings import WHOLES, Settings
from tfgrpo_dspy.simulated import SimulatedEngine, demo_examples
from tfgrpo_dspy.simulated.endpoint.prefix_cache import PrefixCache
from tfgrpo_dspy.simulated.engine import CHARACTERS_PER_TOKEN, MODEL, text_of
from tfgrpo_dspy.simulated.student import make_solver
from tfgrpo_dspy.statistics.estimates import mean_at_k, paired_difference

RULES: Mapping[str, Mapping[str, Any]] = {
    "paper, G = 5": {"group_size": 5},
    "adaptive, 2 to 5": {"group_size": 5, "min_group_size": 2},
    "adaptive, 3 to 5": {"group_size": 5, "min_group_size": 3},
    "smaller, G = 3": {"group_size": 3},
    "smaller, G = 2": {"group_size": 2},
    'auto="light"': {"auto": "light"},
    'auto="heavy"': {"auto": "heavy"},
}
WORLDS = {"scarce": (12, 1), "plenty": (48, 3)}
"""Problems and epochs: with few problems each group counts, with many the library ends up knowing all there is."""
PAPER, ADAPTIVE, BARE = "paper, G = 5", "adaptive, 2 to 5", "the bare program"
PRICE: Price = (1.0, 4.0, 0.1)
"""US dollars per million tokens in, out and cached in: made up, in the proportions that are usual."""
TOLERANCE = 1e-9
"""Rewards that differ by no more are equal; the default of the optimizer."""
CHEAPER = 5
"""How many times less the cheaper LM costs."""
LEAST_SAVED = 0.2
"""Share of the calls that adaptive groups are to save (ours)."""
MOST_LOST = 0.05
"""Points of Mean@k that they may lose at most, at the lower end of the interval (ours)."""


class CachingEngine:
    """The embedded LM, which reports what a provider's prompt cache would have known of each prompt."""

    def __init__(self, seed: int) -> None:
        self._engine, self._prefixes = SimulatedEngine(seed), PrefixCache(CHARACTERS_PER_TOKEN)

    def complete(self, request: Request) -> Response:
        """The reply to one request."""
        response = self._engine.complete(request)
        cached = min(self._prefixes.read(text_of(request)), response.usage.input_tokens or 0)
        return replace(response, usage=replace(response.usage, cache_read_tokens=cached))


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run, and what its library is worth."""

    rollouts: int
    informative: int
    hopeless: int
    """Groups that ended small though their rewards were equal."""
    entries: int
    policy: Usage
    """Of the rollouts."""
    reflection: Usage
    held_out: float
    """Mean@k on held-out problems."""

    @property
    def usage(self) -> Usage:
        """All calls of the run."""
        return self.policy + self.reflection

    def cost(self, *, cached: bool = True, cheaper: float = 1.0) -> float:
        """US dollars, with or without a price for cached input, with a reflection LM that costs so many times less."""
        return _cost(self.policy, cached) + _cost(self.reflection, cached) / cheaper


def _cost(usage: Usage, cached: bool) -> float:
    known = (usage.cached_tokens or 0) if cached else 0
    return cost_at(PRICE, usage.prompt_tokens, usage.completion_tokens, known)


def learn(rule: Mapping[str, Any], seed: int, world: tuple[int, int], options: argparse.Namespace) -> Outcome:
    """One run under a rule; the bare program, which learns nothing, if it says nothing."""
    problems, epochs = world
    lm = dspy.LM(MODEL, engine=CachingEngine(seed), seed=seed, cache=False)
    settings = {"num_threads": options.threads, "display_progress": False}
    with dspy.context(lm=lm):
        program, steps = make_solver(), ()
        if rule:
            passes = min(epochs, WHOLES[rule["auto"]].get("epochs", epochs)) if "auto" in rule else epochs
            optimizer = TrainingFreeGRPO(number, seed=seed, epochs=passes, **rule, **settings)
            program = optimizer.compile(program, demo_examples(problems, seed))
            steps = program.detailed_results.steps
        held_out = demo_examples(options.held_out, seed, "test")
        measured = evaluate(program, held_out, number, k=options.k, seed=seed, **settings)
    groups = [group for step in steps for group in step.groups]
    small = [group for group in groups if len(group.rollouts) < rule.get("group_size", Settings.group_size)]
    return Outcome(
        sum(len(group.rollouts) for group in groups),
        sum(group.is_informative(TOLERANCE) for group in groups),
        sum(not group.is_informative(TOLERANCE) for group in small),
        len(steps[-1].library) if steps else 0,
        sum((step.policy_usage for step in steps), Usage()),
        sum((step.reflection_usage for step in steps), Usage()),
        measured.mean.value,
    )


def rows_of(outcomes: Mapping[str, Sequence[Outcome]], groups: int) -> Iterator[Mapping[str, object]]:
    """One line per rule: means over seeds, with intervals over seeds of Mean@k and its gain over the paper's rule."""
    paper = [[o.held_out] for o in outcomes[PAPER]]
    for name, made in outcomes.items():
        held_out = [[o.held_out] for o in made]
        mean, gain = mean_at_k(held_out), paired_difference(paper, held_out)
        yield {
            "rule": name,
            "rollouts": round(fmean(o.rollouts for o in made)),
            "LM calls": round(fmean(o.usage.lm_calls for o in made)),
            "tokens in": _thousands(fmean(o.usage.prompt_tokens for o in made)),
            "tokens out": _thousands(fmean(o.usage.completion_tokens for o in made)),
            f"informative of {groups}": f"{fmean(o.informative for o in made):.1f}",
            "hopeless": f"{fmean(o.hopeless for o in made):.1f}",
            "entries": f"{fmean(o.entries for o in made):.1f}",
            "held-out Mean@k [95%]": f"{mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}] n={mean.n}",
            "against the paper's": "" if name == PAPER else f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]",
        }


def _thousands(tokens: float) -> str:
    return f"{tokens / 1000:,.0f}k"


def bills_of(outcomes: Mapping[str, Sequence[Outcome]]) -> Iterator[Mapping[str, object]]:
    """One line per rule: the bill, with and without a price for cached input, and with a cheaper reflection LM."""
    for name, made in outcomes.items():
        if name == BARE:
            continue
        usage = sum((o.usage for o in made), Usage())
        yield {
            "rule": name,
            "input from the prompt cache": f"{usage.cached_share or 0.0:.0%}",
            "full price, $": round(fmean(o.cost(cached=False) for o in made), 4),
            "with cached price, $": round(fmean(o.cost() for o in made), 4),
            f"and reflection at 1/{CHEAPER}, $": round(fmean(o.cost(cheaper=CHEAPER) for o in made), 4),
            "reflection's share of the bill": f"{fmean(_cost(o.reflection, True) / o.cost() for o in made):.0%}",
        }


def main() -> int:
    """Print both tables, write them as JSON; the exit code says whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--held-out", type=int, default=60)
    parser.add_argument("-k", type=int, default=5)
    parser.add_argument("--threads", type=int, default=4)
    options = parser.parse_args()
    tables, targets = [], []
    for name, world in WORLDS.items():
        outcomes = _outcomes(name, options)
        about = f"{name}: {world[0]} problems, {world[1]} epochs, {options.seeds} seeds (simulated LM)"
        tables += [
            Figures(f"Learning, {about}", [*rows_of(outcomes, world[0] * world[1])]),
            Figures(f"The bill of a run at made-up prices, {about}", [*bills_of(outcomes)]),
        ]
        targets += _targets(name, outcomes)
    return report("cheaper", tables, targets)


def _outcomes(name: str, options: argparse.Namespace) -> dict[str, list[Outcome]]:
    outcomes: dict[str, list[Outcome]] = {rule: [] for rule in (*RULES, BARE)}
    for seed in range(options.seeds):
        progress(f"{name}, seed {seed}")
        for rule, made in outcomes.items():
            made.append(learn(RULES.get(rule, {}), seed, WORLDS[name], options))
    return outcomes


def _targets(world: str, outcomes: Mapping[str, Sequence[Outcome]]) -> list[Target]:
    calls = {name: fmean(o.usage.lm_calls for o in made) for name, made in outcomes.items()}
    lost = paired_difference(*([[o.held_out] for o in outcomes[name]] for name in (PAPER, ADAPTIVE)))
    return [
        Target(f"{world}: LM calls, {ADAPTIVE} / {PAPER}", calls[ADAPTIVE] / calls[PAPER], 1 - LEAST_SAVED),
        Target(f"{world}: Mean@k that adaptive groups lose, upper end of the interval", -lost.low, MOST_LOST),
    ]


if __name__ == "__main__":
    sys.exit(main())
