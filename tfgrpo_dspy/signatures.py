"""The prompts of Training-Free GRPO, summarizer, extractor and library-updater (paper, section 3), and of a judge.

Every prompt of this package is here and is a DSPy signature. All inputs are strings rendered by the steps, so that
any adapter shows them alike; outputs are typed, so that a reply which does not fit is refused and asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import dspy

from tfgrpo_dspy.library.operations import Operation, scoped_operation

MAY_LACK = "may be left out"
"""Marks outputs, as `Annotated[str, MAY_LACK]`, that a reply may leave out: room to think and what few need."""


EXAMPLE_LESSON = (
    "When a sauce is too thin shortly before serving, boil it down without a lid; do not stir in flour, which needs "
    "time to cook."
)
"""The good lesson that prompts show, of another field than a user's: weak models also give it back as their own."""


class DeriveObjective(dspy.Signature):
    """Say what a program is meant to do well, from tasks that it is given and from how its answers are scored.

    What you write is read by those who compare attempts at such tasks and draw lessons from them. Speak of the kind of
    task, not of the ones that are shown.
    """

    told: str = dspy.InputField(desc="what the program is told now: its inputs and outputs by name")
    tasks: str = dspy.InputField(desc="some of its tasks, with the expected outputs where they are known")
    scoring: str = dspy.InputField(desc="the name of the metric that scores its answers, and what it says of itself")
    objective: str = dspy.OutputField(desc="what it is given, has to find, and what a good answer is; one sentence")
    learning_objective: str = dspy.OutputField(
        desc="what about the way of working is worth learning for all tasks of this kind; one sentence"
    )


class SummarizeRollout(dspy.Signature):
    """Summarise one attempt at a task, so that it can be compared with other attempts at the same task.

    Go through the trajectory in order. For each step say what was done, why, and which earlier experience (cited as
    [G7]) was followed, if any. Point out the decisive moment: the step that earned the reward, or the first step that
    went wrong and what should have been noticed there. Use the feedback and the expected output when they are given.
    Report only what the trajectory shows. Keep numbers and formulas where they matter.
    """

    objective: str = dspy.InputField(desc="what the attempts are meant to do well")
    task: str = dspy.InputField(desc="the inputs of the task")
    trajectory: str = dspy.InputField(desc="every model call and tool call of the attempt, in order")
    reward: str = dspy.InputField(desc="the score this attempt was given; higher is better")
    feedback: str = dspy.InputField(desc="what the scorer said about it")
    expected: str = dspy.InputField(desc="the expected output")
    summary: str = dspy.OutputField(desc="the attempt step by step, with its decisive moment")


class ExtractAdvantage(dspy.Signature):
    """Say why some attempts at a task did better than others, and what others should learn from that.

    Compare the attempts step by step: where do the better ones part from the worse ones? Then write a lesson that would
    have led the worse ones to the better outcome, for somebody who meets another task of this kind and has never seen
    this one: one sentence that says when it applies and what to do then, and what no present experience says yet.

    A good lesson: "When a sauce is too thin shortly before serving, boil it down without a lid; do not stir in flour,
    which needs time to cook."
    Not this, which repeats its task: "Boil Anna's 2 litres of sauce for 14 minutes."
    Nor this, which tells nobody anything: "Cook carefully and taste the sauce."
    """

    objective: str = dspy.InputField(desc="what the attempts are meant to do well")
    task: str = dspy.InputField(desc="the inputs of the task")
    expected: str = dspy.InputField(desc="the expected output")
    attempts: str = dspy.InputField(desc="what each attempt earned, and its summary")
    excerpts: str = dspy.InputField(desc="the end of the best and of the worst attempt, word for word")
    experiences: str = dspy.InputField(desc="the present experiences, which all attempts had read")
    limits: str = dspy.InputField(desc="how long a lesson may be")
    comparison: str = dspy.OutputField(desc="why the better attempts won and the worse ones lost")
    lesson: str = dspy.OutputField(
        desc='one sentence, "When ..., do ...", about tasks of this kind; none if nothing is new'
    )
    misled_by: Annotated[str, MAY_LACK] = dspy.OutputField(
        desc="id of a present experience that led attempts astray, such as G7; none if none"
    )


class ReviseLesson(dspy.Signature):
    """Rewrite a lesson so that its fault is gone, and keep what else it says.

    A lesson is for somebody who meets another task of its kind: one sentence that says when it applies and what to do
    then, such as "When a sauce is too thin shortly before serving, boil it down without a lid; do not stir in flour,
    which needs time to cook."
    """

    why: str = dspy.InputField(desc="what the comparison of attempts at a task showed")
    lesson: str = dspy.InputField(desc="the lesson that was drawn from it")
    fault: str = dspy.InputField(desc="what is wrong with the lesson")
    revised: str = dspy.OutputField(desc='the lesson without the fault, "When ..., do ..."')


class UpdateLibrary(dspy.Signature):
    """Bring a library of experiences up to date with what a batch of tasks has taught.

    For each candidate experience choose one operation and name it in `op`: `add` its `text` when the library says
    nothing like it; `modify` the entry of that `id` when the candidate sharpens, corrects or generalises it, writing
    one `text` that holds both; `delete` the entry of that `id` when it proved misleading or another entry covers it;
    `keep` the entry of that `id` when it says it already. Merge candidates that say the same before you add. Each text
    stands on its own, opens with its condition ("When ..., do ...") and stays within the limits. An `id` is that of an
    entry, such as "G7". In `sources` give the labels of the candidates' groups, such as "A0"; in `reason` say in one
    sentence what they showed.
    """

    objective: str = dspy.InputField(desc="what the library is meant to help with")
    experiences: str = dspy.InputField(desc="the present library, one entry a line")
    advantages: str = dspy.InputField(desc="per group of attempts: its label, why some won, candidate experiences")
    limits: str = dspy.InputField(desc="the limits of the library")
    operations: list[Operation] = dspy.OutputField(desc="operations on the library, in any order")


class PlaceLesson(dspy.Signature):
    """Decide what becomes of one lesson, given those entries of a library that are nearest to it.

    The lesson was learned by comparing attempts at a task: those that did as it says earned more. Choose
    `new` if no entry says it;
    `said already` if an entry says it, in whatever words;
    `sharpens` if it and an entry are about the same, and each says something that the other lacks;
    `corrects` if an entry tells the reader to do what the lesson shows to be wrong;
    `says nothing` if it tells no reader anything they would not do anyway, such as "check the result".
    """

    objective: str = dspy.InputField(desc="what the library is meant to help with")
    lesson: str = dspy.InputField(desc="the lesson")
    why: str = dspy.InputField(desc="what the comparison of the attempts showed")
    entries: str = dspy.InputField(desc="the entries nearest to it, one a line, each with its id in brackets")
    limits: str = dspy.InputField(desc="how long a text may be")
    thought: Annotated[str, MAY_LACK] = dspy.OutputField(
        desc="what the lesson and the nearest entry tell the reader to do, and where they differ; two sentences"
    )
    decision: Literal["new", "said already", "sharpens", "corrects", "says nothing"] = dspy.OutputField(
        desc="what becomes of the lesson"
    )
    entry: Annotated[str, MAY_LACK] = dspy.OutputField(
        desc="id of the entry that is meant; none if the lesson is new or says nothing"
    )
    text: Annotated[str, MAY_LACK] = dspy.OutputField(
        desc="if the lesson sharpens an entry, one text that says both; otherwise none"
    )


class WeighLesson(dspy.Signature):
    """Decide whether a lesson is worth keeping; nothing like it is in the library yet.

    The lesson was learned by comparing attempts at a task: those that did as it says earned more. It `says nothing` if
    it tells no reader anything they would not do anyway, such as "check the result"; otherwise it is `new`.
    """

    objective: str = dspy.InputField(desc="what the library is meant to help with")
    lesson: str = dspy.InputField(desc="the lesson")
    why: str = dspy.InputField(desc="what the comparison of the attempts showed")
    decision: Literal["new", "says nothing"] = dspy.OutputField(desc="what the lesson is")


class SettleContradiction(dspy.Signature):
    """Decide which holds, a lesson or an entry of a library, where one tells the reader the opposite of the other.

    The lesson was learned by comparing attempts at one task: those that did as it says earned more. The entry was
    learned from other tasks before. `the lesson` takes the entry's place if the entry is wrong; `the entry` stays, and
    the lesson goes, if the comparison does not bear the lesson out; `each in its own cases` if both are right, and a
    reader can tell by the task when to do which.
    """

    objective: str = dspy.InputField(desc="what the library is meant to help with")
    lesson: str = dspy.InputField(desc="the lesson")
    why: str = dspy.InputField(desc="what the comparison of the attempts showed")
    entries: str = dspy.InputField(desc="the entry, with its id in brackets")
    limits: str = dspy.InputField(desc="how long a text may be")
    thought: Annotated[str, MAY_LACK] = dspy.OutputField(desc="what speaks for each of the two; two sentences")
    holds: Literal["the lesson", "the entry", "each in its own cases"] = dspy.OutputField(desc="which of them holds")
    text: Annotated[str, MAY_LACK] = dspy.OutputField(
        desc="if each holds in its own cases, one text that says when to do which; otherwise none"
    )


class CondenseLibrary(dspy.Signature):
    """Condense a library of experiences that has become too long, so that it teaches the same in fewer words.

    First merge entries that say nearly the same, such as those listed under `alike`: `modify` one of them so that its
    text holds both, and `delete` the other. `delete` an entry that says nothing in particular. Then `modify` long
    entries into the shortest text that keeps the condition ("When ...") and what to do. Change no entry that is short
    already. In `reason` say in a few words what you did.
    """

    objective: str = dspy.InputField(desc="what the library is meant to help with")
    experiences: str = dspy.InputField(desc="the entries, one a line")
    alike: str = dspy.InputField(desc="entries that share most of their words")
    limits: str = dspy.InputField(desc="what the library has to fit into")
    operations: list[Operation] = dspy.OutputField(desc="`modify` and `delete` operations on the entries")


class ChooseBest(dspy.Signature):
    """Choose the attempt at a task whose answer is most likely right; nobody tells you which one is.

    Check each attempt on its own: redo its decisive steps, and look for the first one that does not hold. That many
    attempts agree is no proof, as they may share a mistake.
    """

    task: str = dspy.InputField(desc="the inputs of the task")
    attempts: str = dspy.InputField(desc="the attempts, numbered from 1")
    assessment: str = dspy.OutputField(desc="what holds and what does not in each attempt")
    best: int = dspy.OutputField(desc="number of the attempt whose answer is most likely right")


def may_lack(signature: type[dspy.Signature]) -> frozenset[str]:
    """The outputs that a reply may leave out."""
    return frozenset(name for name, field in signature.output_fields.items() if MAY_LACK in field.metadata)


@lru_cache(maxsize=256)
def asking_only_for(signature: Any, *missing: str) -> Any:
    """The signature of a second try that asks for some outputs alone; the others were given, and are shown."""
    asked = signature
    for name, field in signature.output_fields.items():
        if name not in missing:
            given = dspy.InputField(desc=f"given already: {field.json_schema_extra['desc']}")
            asked = asked.delete(name).append(name, given, str)
    return asked


CORRECTION = "correction"
"""Name of the input that a second try gets: what was wrong with the last reply."""


def with_correction(signature: type[dspy.Signature]) -> type[dspy.Signature]:
    """The signature of a second try, with an input that says what was wrong with the last reply."""
    description = "your last reply could not be used, for this reason; mend it"
    corrected: type[dspy.Signature] = signature.append(CORRECTION, dspy.InputField(desc=description), str)
    return corrected


@lru_cache(maxsize=8)
def read_in_part(extractor: type[dspy.Signature]) -> type[dspy.Signature]:
    """The extractor of a run with `trials`, in which no attempt has read all experiences."""
    description = "the present experiences, of which each attempt had read a random part"
    told: type[dspy.Signature] = extractor.with_updated_fields("experiences", desc=description)
    return told


@lru_cache(maxsize=8)
def with_effects(updater: type[dspy.Signature]) -> type[dspy.Signature]:
    """The updater that is shown what entries were measured to do, next to the library."""
    description = (
        "what entries of the library were measured to do to the reward, with 95% intervals, from attempts that read a "
        "random part of it; an entry that lowers it is to be mended or deleted"
    )
    names = list(updater.input_fields)
    place = names.index("experiences" if "experiences" in names else "entries") + 1
    told: type[dspy.Signature] = updater.insert(place, "effects", dspy.InputField(desc=description), str)
    return told


@lru_cache(maxsize=8)
def with_lessons(extractor: type[dspy.Signature], number: int) -> type[dspy.Signature]:
    """The extractor of a run in which a group may give so many experiences: a text field for each."""
    for i in range(2, number + 1):
        extractor = extractor.append(f"lesson_{i}", dspy.OutputField(desc="another lesson; none if there is none"), str)
    return extractor


@lru_cache(maxsize=8)
def told_of_readers(extractor: type[dspy.Signature], readers: tuple[str, ...]) -> type[dspy.Signature]:
    """The extractor for a program of which several predictors read the library."""
    told: type[dspy.Signature] = extractor.with_updated_fields(
        "lesson",
        desc='one sentence, "When ..., do ...", about tasks of this kind; one that helps at one step of the attempts '
        f"only opens with the name of that step in brackets, one of {', '.join(f'[{name}]' for name in readers)}; none "
        "if nothing is new",
    )
    return told


@lru_cache(maxsize=8)
def judged_without_rewards(signature: type[dspy.Signature]) -> type[dspy.Signature]:
    """The prompt of a run that shows no rewards: the LM judges by itself (the paper's runs without ground truth)."""
    told: type[dspy.Signature] = signature.with_instructions(
        f"{signature.instructions}\n\nNobody says how good an attempt was: judge that by yourself first."
    )
    return told


@lru_cache(maxsize=8)
def with_scopes(updater: type[dspy.Signature], readers: tuple[str, ...]) -> type[dspy.Signature]:
    """The updater for a program of which several predictors read the library; what it adds may be for one of them."""
    told: type[dspy.Signature] = updater.with_updated_fields(
        "operations",
        type_=list[scoped_operation(readers)],  # type: ignore[misc]
        desc="operations on the library, in any order; where a candidate opens with the name of a step in brackets, or "
        f"helps at one step only ({', '.join(readers)}), its `add` gives that name as `scope`, not in the text",
    )
    return told


def showing(signature: type[dspy.Signature], seen: Mapping[str, dspy.Type]) -> type[dspy.Signature]:
    """The signature with fields for what the LM sees, each called as the texts name it."""
    for name, thing in seen.items():
        description = f"the {name.replace('_', ' ')} that the texts name"
        signature = signature.append(name, dspy.InputField(desc=description), type(thing))
    return signature


@lru_cache(maxsize=64)  # pydantic takes milliseconds to make a class
def without(signature: type[dspy.Signature], *names: str) -> type[dspy.Signature]:
    """The signature without those fields, e.g. `expected` when there is no ground truth to show."""
    for name in names:
        signature = signature.delete(name)
    return signature
