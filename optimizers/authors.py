"""Training-Free GRPO as its authors published it, in two versions, stage by stage, in this project's own words.

Source: youtu-agent, branch `training_free_GRPO` (the paper's code, `version="paper"`) and `utu/practice` on its main
branch at bef6ba5 (`version="2026"`). What they do otherwise than `TrainingFreeGRPO`:

- A group takes part where its mean reward lies strictly between 0 and 1; every summary shows the expected answer.
- *paper*: a group's comparison sees the library and gives one operation on it, add or modify. Code adds all that is
  added; one call sees candidates and modifications, and modifies, merges or deletes.
- *2026*: a comparison gives experiences (one a group for mathematics, two for the web); a call for each group turns
  them into operations on the library, and one call merges the operations of all groups.
- Entries are numbered anew at each step; what a reply spoils is passed over; nothing limits an entry's words.

Different from theirs: replies are read by DSPy's adapters rather than cut out of fenced JSON, and a question is asked
once where theirs repeats the last call up to three times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.notes import ask_all, describe_task, practise, render_shown, told_of, until_spent
from optimizers.scaling import AtBudget, Examples, Fitted, Task
from optimizers.signatures import (
    CompareAndOperate,
    CompareAttempts,
    MergeOperations,
    OperateOnExperiences,
    ReviseExperiences,
    SummarizeAttempt,
)
from tfgrpo_dspy import Add, Delete, ExperienceLibrary, Limits, Modify, Operation, Scored, attach
from tfgrpo_dspy.kit import render_values
from tfgrpo_dspy.rewards import Metric

Version = Literal["paper", "2026"]
EPOCHS = 3
GROUP_SIZE = 5
UNLIMITED = Limits(max_words=None)
Ask = Callable[[type[dspy.Signature], Sequence[dict[str, str]]], list[dspy.Prediction | None]]
"""A question about each of several, with what the agent and the learning are for."""
UPDATES = 1.0
"""LM calls of a step that do not grow with its groups."""


class Authors(Teleprompter):
    """Learns a library by the authors' stages; one batch an epoch, as in the paper's experiments.

    Args:
        metric: Scores the rollouts; a group teaches where its mean lies between 0 and 1.
        version: Whose stages: the paper's code, or the later one on the main branch.
        epochs: Passes over the trainset.
        experiences_per_query: Experiences that a comparison may give (of the later version).
        learning_objective: What the lessons are for.
        seed: Draws the rollouts.
    """

    def __init__(
        self,
        metric: Metric,
        *,
        version: Version = "paper",
        epochs: int = EPOCHS,
        experiences_per_query: int = 1,
        learning_objective: str = "Improve how tasks like these are done, by general and concise guidelines.",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.metric, self.version, self.epochs, self.seed = metric, version, epochs, seed
        self.experiences_per_query, self.learning_objective = experiences_per_query, learning_objective

    def compile(
        self,
        student: dspy.Module,
        trainset: Examples,
        *,
        teacher: dspy.Module | None = None,
        valset: Examples | None = None,
    ) -> dspy.Module:
        """The student with the library of the last step."""
        library = ExperienceLibrary()
        ask = partial(_ask, student.predictors()[0].signature.instructions, self.learning_objective)
        step = self._paper if self.version == "paper" else self._later
        with until_spent():
            for epoch in range(self.epochs):
                groups = practise(attach(student, library), trainset, self.metric, self.seed, epoch, k=GROUP_SIZE)
                library = renumbered(step(library, list(_compared(trainset, groups, ask)), ask))
        return attach(student, library)

    def _paper(self, library: ExperienceLibrary, compared: list[dict[str, str]], ask: Ask) -> ExperienceLibrary:
        present = _shown(library)
        found = ask(CompareAndOperate, [{**one, "experiences": present} for one in compared])
        proposed = [said.operations[0] for said in found if said is not None and said.operations]
        grown = library.apply([Add(text=o.text) for o in proposed if isinstance(o, Add)], limits=UNLIMITED).library
        modified = [o for o in proposed if isinstance(o, Modify)]
        asked = {"experiences": _shown(grown), "modifications": _listed(modified)}
        return carried_out(grown, ask(ReviseExperiences, [asked])) if proposed else library

    def _later(self, library: ExperienceLibrary, compared: list[dict[str, str]], ask: Ask) -> ExperienceLibrary:
        limit = {"limits": f"at most {self.experiences_per_query} experiences"}
        present = _shown(library)
        written = [
            {"experiences": present, "advantages": "\n".join(f"- {text}" for text in said.experiences)}
            for said in ask(CompareAttempts, [{**one, **limit} for one in compared])
            if said is not None
        ]
        proposed = [o for said in ask(OperateOnExperiences, written) if said is not None for o in said.operations]
        asked = {"experiences": present, "advantages": _listed(proposed)}
        return carried_out(library, ask(MergeOperations, [asked])) if proposed else library


def _compared(trainset: Examples, groups: Sequence[Sequence[Scored]], ask: Ask) -> Iterable[dict[str, str]]:
    """What a comparison is shown, for each group that has something to teach."""
    mixed = [
        (example, group)
        for example, group in zip(trainset, groups, strict=True)
        if group and 0 < sum(one.reward for one in group) / len(group) < 1
    ]
    told = iter(ask(SummarizeAttempt, [told_of(example, one) for example, group in mixed for one in group]))
    for example, group in mixed:
        summaries = [(said.summary, one.reward) for one, said in zip(group, told, strict=False) if said is not None]
        yield {
            "task": describe_task(dict(example.inputs())),
            "expected": render_values(dict(example.labels())),
            "attempts": render_shown(summaries),
        }


def carried_out(library: ExperienceLibrary, replies: Sequence[dspy.Prediction | None]) -> ExperienceLibrary:
    """The library after the operations of a step's last call; as it is if the call failed.

    A later operation on an entry counts in place of an earlier, and an unknown id is an addition.
    """
    operations: list[Operation] = [o for said in replies if said is not None for o in said.operations]
    last: dict[str, Operation] = {o.id: o for o in operations if isinstance(o, Modify | Delete)}
    on_entries = [o for id, o in last.items() if id in library]
    stray = [Add(text=o.text) for id, o in last.items() if isinstance(o, Modify) and id not in library]
    added = [o for o in operations if isinstance(o, Add)]
    return library.apply([*on_entries, *added, *stray], limits=UNLIMITED).library


def renumbered(library: ExperienceLibrary) -> ExperienceLibrary:
    """The same texts under the ids G0, G1 and so on."""
    return ExperienceLibrary().apply([Add(text=entry.text) for entry in library], limits=UNLIMITED).library


def _ask(
    agent_objective: str, learning_objective: str, question: type[dspy.Signature], asked: Sequence[dict[str, str]]
) -> list[dspy.Prediction | None]:
    """The answers; None where a call failed, which the authors pass over too."""
    told = {"agent_objective": agent_objective, "learning_objective": learning_objective}
    return ask_all(question, [told | one for one in asked])


def _shown(library: ExperienceLibrary) -> str:
    return "\n".join(f"[{entry.id}] {entry.text}" for entry in library) or "None"


def _listed(operations: Sequence[Operation]) -> str:
    """Operations one a line, for the call that merges them."""
    lines = (f"- {o.op} {getattr(o, 'id', None) or ''} {getattr(o, 'text', '')}" for o in operations)
    return "\n".join(" ".join(line.split()) for line in lines) or "(none)"


def authors(metric: Metric, seed: int, calls: int | None, *, version: Version = "paper") -> Teleprompter:
    """The authors' pipeline; a budget sets how many training examples are drawn."""

    def fit(task: Task) -> Fitted:
        optimizer = Authors(task.metric, version=version, seed=task.seed)
        if task.calls is None:
            return Fitted(optimizer, {"trainset": task.trainset})
        # A group's rollouts, and, where it is mixed (nearly always, at worst), summaries and one or two calls more.
        group = GROUP_SIZE * task.per_rollout + GROUP_SIZE + (1 if version == "paper" else 2)
        task.check_covers(EPOCHS * (group + UPDATES), f"a single group of {GROUP_SIZE} in {EPOCHS} epochs")
        affordable = int((task.calls / EPOCHS - UPDATES) / group)
        return Fitted(optimizer, {"trainset": task.sample(task.trainset, affordable)})

    return AtBudget(fit, metric, seed, calls)
