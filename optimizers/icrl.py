"""In-context reinforcement learning: earlier answers with their rewards in the prompt, and nothing in words.

After the explorative variant of Monea et al. (arXiv 2410.05362), the one that gains: only what earned a reward is
shown, and every prompt holds another random draw of it. Keeping failures in the prompt too (the naive variant) did
worse there than no learning. Different: episodes are attempts at training examples, in rounds rather than a stream,
and the returned program, which is told no reward, collects none.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.notes import ROUND, describe_task, practise, render_shown, until_spent, with_notes
from optimizers.scaling import AtBudget, Examples, Fitted, Task
from tfgrpo_dspy.rewards import Metric

Episode = tuple[str, float]
"""A task with the answer given to it, and the reward."""

KEPT = 0.5
"""Chance of an episode to be in a prompt."""
_HEADING = "Attempts at other tasks that earned a reward. Do what earns a high reward:"


class Exploring(dspy.Module):
    """A program that reads a draw of its rewarded episodes with every task; the task and a seed decide the draw.

    Args:
        program: What works on the task.
        episodes: One for each task at most.
        shown: Episodes in a prompt at most.
        seed: Draws them.
    """

    def __init__(self, program: dspy.Module, episodes: Sequence[Episode], shown: int, seed: int) -> None:
        super().__init__()
        self.program, self.episodes, self.shown, self.seed = program, list(episodes), shown, seed

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """The program's prediction, after reading the episodes."""
        task = describe_task(inputs)
        draw = random.Random(f"{self.seed}/{task}")
        others = [one for one in self.episodes if not one[0].startswith(task) and draw.random() < KEPT]
        if not others:
            return self.program(**inputs)
        chosen = sorted(draw.sample(range(len(others)), min(self.shown, len(others))))
        return with_notes(self.program, "earlier-attempts", _HEADING, render_shown(others[i] for i in chosen))(**inputs)


class ICRL(Teleprompter):
    """Collects episodes that earned something, in rounds that read those of the rounds before.

    Args:
        metric: Gives the rewards; an episode is kept where its reward is above 0.
        rollouts: Attempts in all; None for two passes over the trainset.
        shown: Episodes in a prompt at most.
        seed: Draws them.
    """

    def __init__(self, metric: Metric, *, rollouts: int | None = None, shown: int = 24, seed: int = 0) -> None:
        super().__init__()
        self.metric, self.rollouts, self.shown, self.seed = metric, rollouts, shown, seed

    def compile(
        self,
        student: dspy.Module,
        trainset: Examples,
        *,
        teacher: dspy.Module | None = None,
        valset: Examples | None = None,
    ) -> Exploring:
        """The student that reads episodes which earned something."""
        draw, latest = random.Random(self.seed), dict[str, Episode]()
        left, round_ = (2 * len(trainset) if self.rollouts is None else self.rollouts), 0
        with until_spent():
            while left > 0:
                batch = draw.sample(trainset, min(left, len(trainset), ROUND))
                reading = Exploring(student, tuple(latest.values()), self.shown, self.seed + round_)
                attempts = practise(reading, batch, self.metric, self.seed, round_)
                for example, scored in zip(batch, attempts, strict=True):
                    task = describe_task(dict(example.inputs()))
                    latest.update((task, (f"{task}\n{one.answer}", one.reward)) for one in scored if one.reward > 0)
                left, round_ = left - len(batch), round_ + 1
        return Exploring(student, tuple(latest.values()), self.shown, self.seed)


def icrl(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """Explorative in-context reinforcement learning; a budget sets the number of attempts."""
    return AtBudget(_fit, metric, seed, calls)


def _fit(task: Task) -> Fitted:
    task.check_covers(task.per_rollout, "one attempt")
    rollouts = None if task.calls is None else task.affordable(task.calls)
    return Fitted(ICRL(task.metric, rollouts=rollouts, seed=task.seed), {"trainset": task.trainset})
