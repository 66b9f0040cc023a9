"""In-context reinforcement learning: earlier answers with their scalar rewards in the prompt, and nothing in words.

After Monea et al. (arXiv 2410.05362): in rounds, the program answers training tasks while it is shown episodes of
earlier rounds, good and bad; the returned program goes on reading episodes, and no reward is known at inference.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.notes import describe_task, practise, render_shown, with_notes
from optimizers.scaling import AtBudget, Examples, Fitted, Task
from tfgrpo_dspy.rewards import Metric

Episode = tuple[str, float]
"""A task with the answer given to it, and the reward."""

_HEADING = "Your earlier attempts at other tasks, each with the reward it earned. Do what earns a high reward:"


class ICRL(Teleprompter):
    """Collects episodes in rounds, each round reading a draw of those before.

    Args:
        metric: Gives the rewards.
        rollouts: Episodes in all; None for two rounds over the trainset.
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
    ) -> dspy.Module:
        """The student that reads episodes of its own."""
        draw, episodes = random.Random(self.seed), list[Episode]()
        left, round_ = (2 * len(trainset) if self.rollouts is None else self.rollouts), 0
        program = student
        while left > 0:
            batch = draw.sample(trainset, min(left, len(trainset)))
            groups = practise(program, batch, self.metric, self.seed, round_)
            episodes += [
                (f"{describe_task(dict(example.inputs()))}\n{rollout.answer}", rollout.reward)
                for example, scored in zip(batch, groups, strict=True)
                for rollout in scored
            ]
            program = self._reading(student, episodes, draw)
            left, round_ = left - len(batch), round_ + 1
        return program

    def _reading(self, student: dspy.Module, episodes: Sequence[Episode], draw: random.Random) -> dspy.Module:
        """The student with some of the episodes, the latest of each task, in the order in which they were made."""
        latest = {text.partition("\n")[0]: (text, reward) for text, reward in episodes}
        chosen = sorted(draw.sample(range(len(latest)), min(self.shown, len(latest))))
        shown = list(latest.values())
        return with_notes(student, "earlier-attempts", _HEADING, render_shown(shown[i] for i in chosen))


def icrl(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """In-context reinforcement learning; a budget sets the number of episodes."""
    return AtBudget(_fit, metric, seed, calls)


def _fit(task: Task) -> Fitted:
    rollouts = None if task.calls is None else max(1, task.affordable(task.calls))
    return Fitted(ICRL(task.metric, rollouts=rollouts, seed=task.seed), {"trainset": task.trainset})
