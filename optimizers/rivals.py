"""DSPy's own optimizers, each fitted to a budget as well as its settings permit.

They score candidates on examples, so a budget is shared out: how many examples a candidate is scored on, and how many
candidates there are. Scores are taken to lie in [0, 1], and an attempt that scores 1 to be worth imitating.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import dspy
from dspy.teleprompt import (
    COPRO,
    GEPA,
    SIMBA,
    BootstrapFewShot,
    BootstrapFewShotWithRandomSearch,
    InferRules,
    LabeledFewShot,
    MIPROv2,
    Teleprompter,
)

from optimizers.scaling import AtBudget, Fitted, Make, Plan, Task
from tfgrpo_dspy import MissingExtraError
from tfgrpo_dspy.interop import KeepLibrary
from tfgrpo_dspy.rewards import Metric, score

LEAST_SCORED = 16
"""Examples that a candidate is scored on at least: on fewer, the best of several is mostly luck."""
_BOTH = "a score of the student and of one candidate"
BOOTSTRAP = 10
"""Rollouts that one set of up to four accepted demonstrations is expected to take."""
BOOTSTRAPPED_FROM = 24
"""Examples that such a set is drawn from at most, at a budget: its cost where hardly any rollout is accepted."""
_SIMBA_IN_FULL = 2_000
"""Rollouts from which SIMBA has its own number of candidates rather than fewer."""


def fitted(plan: Plan, needs: str | None = None) -> Make:
    """A factory for the registry, which asks for a package that the plan needs."""

    def make(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
        if needs is not None and find_spec(needs) is None:
            raise MissingExtraError(f"this optimizer needs {needs}: pip install 'tfgrpo-dspy[optimizers]'")
        return AtBudget(plan, metric, seed, calls)

    return make


def labeled(task: Task) -> Fitted:
    """Four labelled examples."""
    return Fitted(LabeledFewShot(k=4), {"trainset": task.shuffled()})


def bootstrap(task: Task) -> Fitted:
    """Up to four rollouts that were accepted; at most one pass over the trainset, whatever the budget."""
    # Without a threshold DSPy asks for the metric's truth value, and that of any Prediction is True.
    optimizer = BootstrapFewShot(
        metric=task.metric, metric_threshold=1.0, max_bootstrapped_demos=4, max_labeled_demos=4
    )
    trainset = task.shuffled()
    task.check_covers(task.per_rollout, "one rollout")
    return Fitted(optimizer, {"trainset": trainset if task.calls is None else trainset[: task.affordable(task.calls)]})


def bootstrap_rs(task: Task) -> Fitted:
    """A budget sets candidates, and examples that each is scored on."""
    trainset, valset, candidates = task.trainset, task.valset, 16
    if task.calls is not None:
        rollouts = task.affordable(task.calls)
        trainset, valset = task.split(max(LEAST_SCORED, rollouts // (candidates + 3) - BOOTSTRAP))
        trainset = trainset[:BOOTSTRAPPED_FROM] if task.valset is None else task.sample(trainset, BOOTSTRAPPED_FROM)
        task.check_covers(task.per_rollout * (3 * len(valset) + BOOTSTRAP), "scores of the student and of two sets")
        # Three more than asked for are tried: the student itself, labels alone, and the examples in their order.
        candidates = max(1, (rollouts - 2 * len(valset)) // (len(valset) + BOOTSTRAP) - 1)
    optimizer = BootstrapFewShotWithRandomSearch(
        metric=task.metric,
        metric_threshold=1.0,
        max_bootstrapped_demos=4,
        max_labeled_demos=4,
        num_candidate_programs=candidates,
    )
    return Fitted(optimizer, {"trainset": trainset, "valset": valset})


def copro(task: Task) -> Fitted:
    """A budget sets the breadth, and the examples that each instruction is scored on."""
    trainset, breadth, depth = task.trainset, 10, 3
    if task.calls is not None:
        rollouts = task.affordable(task.calls)
        trainset = task.sample(trainset, max(LEAST_SCORED, rollouts // (breadth * depth) - 1))
        task.check_covers(2 * len(trainset) * task.per_rollout + 1, _BOTH)
        breadth = max(2, int(task.calls / (depth * (len(trainset) * task.per_rollout + 1))))
    optimizer = COPRO(metric=BareNumber(task.metric), breadth=breadth, depth=depth)
    return Fitted(optimizer, {"trainset": trainset, "eval_kwargs": {"display_progress": False}})


def mipro(task: Task) -> Fitted:
    """Its `light` mode; a budget sets the trials, and the examples that each is scored on."""
    if task.calls is None:
        optimizer = MIPROv2(metric=task.metric, metric_threshold=1.0, auto="light", seed=task.seed)
        return Fitted(optimizer, {"trainset": task.trainset, "valset": task.valset})
    candidates, rollouts = 6, task.affordable(task.calls)
    trainset, valset = task.split(max(LEAST_SCORED, rollouts // 20))
    trainset = task.sample(trainset, BOOTSTRAPPED_FROM)
    proposing = 3 * candidates + 3  # per instruction: the program, its module, the instruction; the data in summary
    bootstrapping = (candidates - 2) * BOOTSTRAP * task.per_rollout
    task.check_covers(proposing + bootstrapping + 2 * len(valset) * task.per_rollout, _BOTH)
    trials = (task.affordable(task.calls - proposing) - (candidates - 2) * BOOTSTRAP) // len(valset) - 1
    optimizer = MIPROv2(metric=task.metric, metric_threshold=1.0, auto=None, num_candidates=candidates, seed=task.seed)
    arguments = {"trainset": trainset, "valset": valset, "num_trials": max(1, trials), "minibatch": False}
    return Fitted(optimizer, arguments)


def infer_rules(task: Task) -> Fitted:
    """A budget sets the candidates, and the examples that each is scored on."""
    trainset, valset, candidates = task.trainset, task.valset, 10
    if task.calls is not None:
        trainset, valset = task.split(max(LEAST_SCORED, task.affordable(task.calls) // 12))
        left = task.calls - BOOTSTRAP * task.per_rollout
        candidates = int(left / (len(valset) * task.per_rollout + 1))
        task.check_covers(BOOTSTRAP * task.per_rollout + len(valset) * task.per_rollout + 1, "the score of a candidate")
    optimizer = InferRules(
        metric=task.metric,
        metric_threshold=1.0,
        max_bootstrapped_demos=4,
        max_labeled_demos=4,
        num_candidates=candidates,
    )
    return Fitted(optimizer, {"trainset": trainset, "valset": valset})


def simba(task: Task) -> Fitted:
    """A budget sets batch, candidates and steps; the winners of the steps are scored on twice a batch."""
    trainset, batch, candidates, steps = task.trainset, 32, 6, 8
    if task.calls is not None:
        rollouts = task.affordable(task.calls)
        batch, candidates = min(32, max(4, rollouts // 40)), 6 if rollouts >= _SIMBA_IN_FULL else 4
        trainset = task.sample(trainset, 2 * batch)
        one_step = _simba_rollouts(1, min(batch, len(trainset)), candidates, len(trainset))
        task.check_covers(one_step * task.per_rollout, "one step")
        steps = 1
        while _simba_rollouts(steps + 1, min(batch, len(trainset)), candidates, len(trainset)) <= rollouts:
            steps += 1
    batch = min(batch, len(trainset))
    optimizer = SIMBA(metric=task.metric, bsize=batch, num_candidates=candidates, max_steps=steps)
    return Fitted(optimizer, {"trainset": trainset, "seed": task.seed})


def _simba_rollouts(steps: int, batch: int, candidates: int, examples: int) -> int:
    """Rollouts, a written rule counted as one: per step trajectories and new candidates, at last the winners."""
    step = batch * (2 * candidates + 1) + candidates // 2 + 1
    return steps * step + (min(steps, candidates) + 1) * examples


def gepa(task: Task) -> Fitted:
    """Its `light` mode, the context's LM reflecting; a budget sets metric calls and the Pareto front's examples.

    A library that the student has already stays as it is: GEPA rewrites what is around it.
    """
    reflection_lm = dspy.settings.lm.copy(temperature=1.0)
    shared = {"metric": FiveArguments(task.metric), "reflection_lm": reflection_lm, "seed": task.seed}
    shared["instruction_proposer"] = KeepLibrary()
    if task.calls is None:
        return Fitted(GEPA(auto="light", **shared), {"trainset": task.trainset, "valset": task.valset})
    rollouts = task.affordable(task.calls)
    trainset, valset = task.split(max(LEAST_SCORED, rollouts // 15))
    task.check_covers((2 * len(valset) + 6) * task.per_rollout + 1, _BOTH)
    # Of seven calls in an iteration one is the reflection; the last iteration may run over by a valset.
    most = max(len(valset) + 6, rollouts * 6 // 7 - len(valset) // 2)
    return Fitted(GEPA(max_metric_calls=most, **shared), {"trainset": trainset, "valset": valset})


class FiveArguments:
    """A metric as GEPA calls it."""

    def __init__(self, metric: Any) -> None:
        self.metric = metric

    def __call__(self, gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
        """Score and feedback."""
        reward = score(self.metric, gold, pred)
        return dspy.Prediction(score=reward.value, feedback=reward.feedback or f"The score is {reward.value:g}.")


class BareNumber:
    """A metric whose feedback is left out."""

    def __init__(self, metric: Any) -> None:
        self.metric = metric

    def __call__(self, example: Any, prediction: Any, trace: Any = None) -> float:
        """The score."""
        return score(self.metric, example, prediction).value
