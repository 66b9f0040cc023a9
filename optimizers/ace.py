"""ACE: a generator, a reflector and a curator write a playbook from one trajectory per task (arXiv 2510.04618).

Own implementation of the idea. The playbook only grows, repeats are left out, and each bullet counts how often it was
found helpful and harmful.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.notes import SHOWN_TOKENS, describe_task, practise
from optimizers.scaling import AtBudget, Examples, Fitted, Task
from optimizers.signatures import CuratePlaybook, ReflectOnTrajectory
from tfgrpo_dspy import Add, ExperienceLibrary, Scored, attach
from tfgrpo_dspy.kit import neutralise, render_values, shorten
from tfgrpo_dspy.rewards import Metric

EPOCHS = 5
"""Passes over the trainset without a budget (ACE's offline adaptation: at most 5)."""


@dataclass(frozen=True, slots=True)
class Playbook:
    """Bullets with counters."""

    bullets: ExperienceLibrary = field(default_factory=ExperienceLibrary)
    helpful: dict[str, int] = field(default_factory=dict)
    harmful: dict[str, int] = field(default_factory=dict)

    def rendered(self) -> str:
        """One bullet a line, with its counters."""
        lines = [
            f"[{b.id}] {b.text} (helpful {self.helpful.get(b.id, 0)}, harmful {self.harmful.get(b.id, 0)})"
            for b in self.bullets
        ]
        return "\n".join(lines) or "(none yet)"

    def marked(self, helpful: Sequence[str], harmful: Sequence[str]) -> Playbook:
        """The playbook with those bullets counted once more; ids that it does not have are passed over."""
        return replace(self, helpful=self._counted(self.helpful, helpful), harmful=self._counted(self.harmful, harmful))

    def grown(self, texts: Sequence[str]) -> Playbook:
        """The playbook with those bullets at its end; repeats of present ones are left out."""
        return replace(self, bullets=self.bullets.apply([Add(text=text) for text in texts]).library)

    def _counted(self, counts: dict[str, int], ids: Sequence[str]) -> dict[str, int]:
        named = {id.strip("[] ") for id in ids}
        return counts | {id: counts.get(id, 0) + 1 for id in named if id in self.bullets}


class ACE(Teleprompter):
    """Learns a playbook, one trajectory per task.

    The returned program reads the playbook as its `experience_library`, and has it as `playbook` with the counters.

    Args:
        metric: Scores the trajectories.
        tasks: Trajectories in all, over as many passes as it takes; None for five passes over the trainset.
        seed: Draws the order of the tasks.
    """

    def __init__(self, metric: Metric, *, tasks: int | None = None, seed: int = 0) -> None:
        super().__init__()
        self.metric, self.tasks, self.seed = metric, tasks, seed

    def compile(
        self,
        student: dspy.Module,
        trainset: Examples,
        *,
        teacher: dspy.Module | None = None,
        valset: Examples | None = None,
    ) -> dspy.Module:
        """The student with its playbook."""
        playbook, draw = Playbook(), random.Random(self.seed)
        left = EPOCHS * len(trainset) if self.tasks is None else self.tasks
        while left > 0:
            for example in draw.sample(trainset, min(left, len(trainset))):
                generator = attach(student, playbook.bullets)
                for rollout in practise(generator, [example], self.metric, self.seed, left)[0]:
                    playbook = self._learn(playbook, example, rollout)
                left -= 1
        program = attach(student, playbook.bullets)
        program.playbook = playbook
        return program

    def _learn(self, playbook: Playbook, example: dspy.Example, rollout: Scored) -> Playbook:
        reflected = dspy.Predict(ReflectOnTrajectory)(
            task=describe_task(dict(example.inputs())),
            trajectory=shorten(rollout.trajectory, SHOWN_TOKENS),
            reward=f"{rollout.reward:g}",
            feedback=neutralise(rollout.feedback),
            expected=render_values(dict(example.labels())),
            playbook=playbook.rendered(),
        )
        playbook = playbook.marked(reflected.helpful_bullets, reflected.harmful_bullets)
        curated = dspy.Predict(CuratePlaybook)(
            playbook=playbook.rendered(),
            reflection=reflected.reflection,
            insights="\n".join(f"- {text}" for text in reflected.insights) or "(none)",
        )
        return playbook.grown([o.text for o in curated.operations if isinstance(o, Add)])


def ace(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """ACE; a budget sets the number of trajectories, each with a call of the reflector and one of the curator."""
    return AtBudget(_fit, metric, seed, calls)


def _fit(task: Task) -> Fitted:
    tasks = None if task.calls is None else max(1, int(task.calls / (task.per_rollout + 2)))
    return Fitted(ACE(task.metric, tasks=tasks, seed=task.seed), {"trainset": task.trainset})
