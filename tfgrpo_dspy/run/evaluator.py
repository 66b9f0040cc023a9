"""What a run lends to gates: a library tried out on examples with fresh rollouts, in the run's own pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dspy

from tfgrpo_dspy.gates.gate import Tried
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.rollouts import Group
from tfgrpo_dspy.rewards.reward import Metric
from tfgrpo_dspy.rollouts.sampling import Query, Sampling
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.steps.rollout import roll_out


@dataclass(frozen=True, slots=True)
class RunEvaluator:
    """The `gate.Evaluator` of a run."""

    policy: Callable[[ExperienceLibrary], dspy.Module]
    """The student reading a library."""
    metric: Metric
    settings: Settings
    workers: Workers

    def try_out(
        self,
        libraries: Sequence[ExperienceLibrary],
        examples: Sequence[dspy.Example],
        *,
        purpose: str,
        step: int,
        k: int,
    ) -> list[Tried]:
        """See `gate.Evaluator`; the libraries are tried at the same time."""
        sampling = Sampling.of(self.settings, purpose, step, k, "examples of the gate")
        queries = [Query(i, example) for i, example in enumerate(examples)]
        futures = [
            future
            for library in libraries
            for future in roll_out(self.policy(library), queries, self.metric, self.workers, sampling)
        ]
        groups = self.workers.results(futures)
        size = len(queries)
        return [_tried(groups[start : start + size]) for start in range(0, len(groups), size)]


def _tried(groups: Sequence[Group]) -> Tried:
    usage = sum((rollout.usage for group in groups for rollout in group.rollouts), Usage())
    is_whole = not any(lost.cause == "budget" for group in groups for lost in group.lost)
    return Tried([group.rewards for group in groups], usage, is_whole, [len(group.lost) for group in groups])
