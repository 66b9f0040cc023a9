"""A run's events built by hand: what a compile of a small program would announce, without any LM."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import dspy

from tfgrpo_dspy.library.experience import Experience
from tfgrpo_dspy.library.library import ExperienceLibrary, Limits, Source
from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify, Operation
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.advantages import Extraction, SemanticAdvantage, Summary
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.records.evaluation import Evaluation
from tfgrpo_dspy.records.events import (
    EpochFinished,
    Event,
    GroupFinished,
    ReflectionFinished,
    RolloutFinished,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
)
from tfgrpo_dspy.records.failures import Failure
from tfgrpo_dspy.records.result import CompileResult, StepRecord
from tfgrpo_dspy.records.rollouts import Group, Lost, Rollout, Scored
from tfgrpo_dspy.run.ending import ended
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.statistics.estimates import mean_at_k

SIMULATED = {"policy": "simulated/frozen", "reflection": "simulated/frozen"}
ADVICE = (
    "When a price rises and then falls by the same percentage, apply the second change to the new price.",
    "When speeds are averaged over equal distances, use the harmonic mean, never the arithmetic one.",
    "Before answering, put the result back into the question's own units and check its size.",
    "When counting numbers from a to b, include both ends: b - a + 1.",
    "When a rate is given per hour and a time in minutes, convert the time first.",
)


class Solver(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.solve = dspy.Predict("question -> answer")


def examples(number: int) -> tuple[dspy.Example, ...]:
    made = (dspy.Example(question=f"What is {i} + {i}? Give $x$.", answer=str(2 * i)) for i in range(number))
    return tuple(e.with_inputs("question") for e in made)


def usage(calls: int, cost: float | None = 0.0) -> Usage:
    price = None if cost is None else cost * calls
    return Usage(calls, calls // 4, 400 * calls, 120 * calls, price)


class MadeRun:
    """Events of one run; rewards rise with the step.

    Args:
        seed: Draws the rewards.
        skill: Chance of a right rollout in the first step.
        cost: US dollars per call; None for unknown.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        steps: int = 3,
        queries: int = 8,
        group_size: int = 5,
        skill: float = 0.4,
        lms: dict[str, str] | None = None,
        cost: float | None = 0.0,
        validated: bool = True,
    ) -> None:
        self.settings = Settings(epochs=max(1, steps), group_size=group_size, seed=seed, validation_rollouts=group_size)
        self.trainset, self.valset = examples(queries), examples(queries) if validated else None
        self.lms = SIMULATED if lms is None else lms
        self.student = Solver()
        self._random, self._skill, self._cost = random.Random(seed), skill, cost
        self.records: list[StepRecord] = []
        self.start = RunStarted(
            self.settings,
            self.student,
            self.trainset,
            self.valset,
            ExperienceLibrary(),
            self.lms,
            steps,
            steps * queries * group_size,
        )
        self.initial = self.evaluation(0)
        library = ExperienceLibrary()
        for step in range(1, steps + 1):
            self.records.append(self.record(step, library))
            library = self.records[-1].library

    @property
    def result(self) -> CompileResult:
        best = len(self.records) if self.valset else None
        library = self.records[-1].library if self.records else ExperienceLibrary()
        return CompileResult(library, tuple(self.records), ExperienceLibrary(), best, self.initial)

    def events(self, *, error: BaseException | None = None) -> Iterator[Event]:
        yield self.start
        yield from self.events_of_validation(0, self.initial)
        for record in self.records:
            yield from self.events_of(record)
        result = replace(self.result, ended=ended(error, None, self.records, self.start.steps, ""))
        yield RunFinished(result, None if error else self.student, error)

    def events_of(self, record: StepRecord) -> Iterator[Event]:
        rollouts = [r for g in record.groups for r in g.rollouts]
        yield StepStarted(record.epoch, record.step, len(record.groups), len(rollouts))
        for group in record.groups:
            for rollout in group.rollouts:
                yield RolloutFinished(record.step, rollout)
            yield GroupFinished(record.step, group)
        for advantage in record.advantages:
            for summary in advantage.summaries:
                yield ReflectionFinished(replace(summary, usage=usage(1, self._cost)))
            yield ReflectionFinished(Extraction(advantage, usage=usage(1, self._cost)))
        yield from self.events_of_validation(record.step, record.validation)
        yield StepFinished(record)
        yield EpochFinished(record.epoch, record.library)

    def events_of_validation(self, step: int, evaluation: Evaluation | None) -> Iterator[Event]:
        for group in evaluation.groups if evaluation else ():
            for rollout in group.rollouts:
                yield RolloutFinished(step, rollout, dataset="valset")
            yield GroupFinished(step, group)

    def record(self, step: int, library: ExperienceLibrary) -> StepRecord:
        groups = tuple(self.group(step, i, example) for i, example in enumerate(self.trainset))
        advantages = tuple(self.advantage(g) for g in groups if g.is_informative(1e-9))
        sources = {f"A{i}": a.source for i, a in enumerate(advantages)}
        applied = library.apply(self.operations(step, library), step=step, sources=sources, limits=Limits(max_words=32))
        failures = (Failure("summary", f"s{step}/e1/r0", "no reply", "the shortened trajectory was used"),)
        return StepRecord(
            epoch=step,
            step=step,
            groups=groups,
            advantages=advantages,
            changes=applied.changes,
            refusals=applied.refusals,
            library=applied.library,
            failures=failures if step == 1 else (),
            policy_usage=usage(40, self._cost),
            reflection_usage=usage(12, self._cost),
            seconds=12.5 + step,
            validation=self.evaluation(step),
        )

    def evaluation(self, step: int) -> Evaluation | None:
        if self.valset is None:
            return None
        groups = tuple(self.group(step, i, example) for i, example in enumerate(self.valset))
        return Evaluation(groups, 5, mean_at_k([g.rewards for g in groups if g.rewards]), usage(40, self._cost), 3.0)

    def operations(self, step: int, library: ExperienceLibrary) -> list[Operation]:
        advice = [ADVICE[(step - 1 + i) % len(ADVICE)] for i in (0, 1)]
        made: list[Operation] = [Add(text=text, reason="Winners did.", sources=("A0", "A1")) for text in advice]
        if len(library) > 1:
            first, last = library.experiences[0], library.experiences[-1]
            made.append(Modify(id=first.id, text=f"{first.text} Step {step}.", reason="Sharper.", sources=("A0",)))
            made.append(Keep(id=last.id))
        if step % 3 == 0:
            made.append(Delete(id="G1", reason="It misled."))
        return [*made, Delete(id="G99", reason="Never existed.")]

    def group(self, step: int, index: int, example: dspy.Example) -> Group:
        size = self.settings.group_size
        return Group(f"s{step}/e{index}", example, tuple(self.rollout(step, index, i) for i in range(size)))

    def rollout(self, step: int, example: int, index: int) -> Rollout:
        name = f"s{step}/e{example}/r{index}"
        if (example, index) == (2, 0):
            return Lost(name, "infrastructure", "LMTimeoutError: no answer within 30 s", Usage(1), 30.0)
        chance = min(0.95, self._skill + 0.15 * (step - 1) + 0.08 * (example % 4))
        right = self._random.random() < chance
        failed = "AdapterParseError: no field `answer`" if (example, index) == (3, 1) else None
        return Scored(
            name,
            float(right and not failed),
            "right" if right else "expected another number",
            "[[ ## question ## ]] ...",
            "" if failed else f"answer: {example * 2 if right else 41}",
            index % 3,
            usage(1, self._cost),
            0.8,
            failed,
        )

    def advantage(self, group: Group) -> SemanticAdvantage:
        summaries = tuple(Summary(r.name, r.reward, "It added twice.") for r in group.scored)
        source = Source(group.name.partition("/")[2], tuple(r.name for r in group.scored))
        comparison = "The winners added; the losers multiplied."
        return SemanticAdvantage(group.name, "question: ...", summaries, comparison, (ADVICE[0],), source)


def effect_on(entry: Experience, value: float = 0.1) -> Effect:
    """An effect of that value, a tenth around it, and of nothing overall."""
    return Effect(entry.id, entry.text, value, value - 0.1, value + 0.1, 0.0, -0.1, 0.1, value, 9, 9)
