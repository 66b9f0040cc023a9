"""A gate that reads: an LM looks at each proposed text by itself."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

import dspy

from tfgrpo_dspy.gates.gate import Hearing
from tfgrpo_dspy.library.apply import Refusal
from tfgrpo_dspy.library.operations import Add, Modify
from tfgrpo_dspy.library.section import render_lines
from tfgrpo_dspy.lm.budget import UPDATE
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.failures import Cause
from tfgrpo_dspy.records.updates import Ruling
from tfgrpo_dspy.signatures import ScreenExperience
from tfgrpo_dspy.steps.reflection import Unusable
from tfgrpo_dspy.text import neutralise, one_line, shorten

_TASKS_SHOWN = 3
_TASK_TOKENS = 600


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the judge said of one operation."""

    objection: str
    """Empty for none."""
    usage: Usage
    cause: Cause = "reply"
    """Why there is none, if there is none."""

    @property
    def is_final(self) -> bool:
        """Whether it is a result: the judge was reached, and the budget allowed it."""
        return self.cause == "reply"


@dataclass(frozen=True, slots=True)
class Judge:
    """Refuses what is hostile, leaks an answer, contradicts the library or is not general; one LM call per text.

    A judge tells well-formed advice from ill-formed, not helpful from harmful: opinions on that agreed with what was
    measured in 18.5% of cases of a published study. `Holdout` measures. What the judge could not be asked about is
    refused: a gate that fails open is none. Deletions pass, having no text.

    Args:
        lm: Who is asked; None for the run's LM for reflection.
    """

    lm: dspy.BaseLM | None = None

    def rule(self, hearing: Hearing) -> Ruling:
        """The operations without an objection."""
        asked = [operation for operation in hearing.operations if isinstance(operation, Add | Modify)]
        opinions = hearing.workers.results([self._ask(hearing, operation) for operation in asked])
        objections = {id(o): opinion.objection for o, opinion in zip(asked, opinions, strict=True)}
        refused = tuple(Refusal(o, objections[id(o)]) for o in asked if objections[id(o)])
        passed = tuple(o for o in hearing.operations if not objections.get(id(o)))
        return Ruling(passed, refused, usage=sum((opinion.usage for opinion in opinions), Usage()))

    def _ask(self, hearing: Hearing, operation: Add | Modify) -> Future[Opinion]:
        shown = _inputs(hearing, operation)
        make = partial(self._opinion, hearing, shown)
        return hearing.workers.task(f"judge s{hearing.briefing.step}", Opinion, make, reads=shown.values())

    def _opinion(self, hearing: Hearing, shown: dict[str, str]) -> Opinion:
        reflection = replace(hearing.reflection, lm=self.lm or hearing.reflection.lm, kind=UPDATE)
        try:
            answer = reflection.ask(ScreenExperience, shown)
        except Unusable as error:
            return Opinion(f"the judge could not be asked: {one_line(str(error))}", error.usage, error.cause)
        if answer.fields["objection"] == "none":
            return Opinion("", answer.usage)
        return Opinion(f"{answer.fields['objection']}: {one_line(shorten(answer.fields['reason'], 80))}", answer.usage)


def _inputs(hearing: Hearing, operation: Add | Modify) -> dict[str, str]:
    replaced = operation.id if isinstance(operation, Modify) else None
    cited = [hearing.advantages[label] for label in operation.sources if label in hearing.advantages]
    drawn_from = (cited or list(hearing.advantages.values()))[:_TASKS_SHOWN]
    examples = [hearing.trainset[int(a.source.example.removeprefix("e"))] for a in drawn_from]
    tasks = [
        f"Task: {one_line(hearing.briefing.task(example))}\nExpected: {one_line(hearing.briefing.expected(example))}"
        for example in examples
    ]
    return {
        "objective": hearing.briefing.objective,
        "proposed": neutralise(one_line(operation.text)),
        "others": render_lines([e for e in hearing.library if e.id != replaced]) or "(none yet)",
        "tasks": "\n\n".join(neutralise(shorten(task, _TASK_TOKENS)) for task in tasks) or "(none)",
    }
