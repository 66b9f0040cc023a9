"""The three prompts of Training-Free GRPO: summarizer, extractor, library-updater (paper, section 3).

Every prompt of this package is here and is a DSPy signature. All inputs are strings rendered by the steps, so that
any adapter shows them alike; outputs are typed, so that a reply which does not fit is refused and asked again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import dspy
from pydantic import AfterValidator
from typing_extensions import TypeAliasType

from tfgrpo_dspy.operations import Operation, Prose


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("the text is blank")
    return text


Advice = TypeAliasType("Advice", Annotated[Prose, AfterValidator(_not_blank)])
"""One line that a model must have written. A named alias, so that prompts call it by its name."""


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
    """Say why some attempts at a task did better than others, and what to remember from that.

    Compare the attempts step by step: where do the better ones part from the worse ones? Then write experiences that
    would have led the worse attempts to the better outcome. A good experience speaks to a whole class of tasks, never
    of this task's own names or numbers; it opens with the condition under which it applies and goes on to what to do
    ("When ..., do ..."); it is about strategy, not about one calculation; it is no longer than the limit; and it says
    something that the present experiences do not say yet. If one of them misled the attempts, or needs to be sharper,
    write the better version. Write none rather than a vague one.
    """

    objective: str = dspy.InputField(desc="what the attempts are meant to do well")
    task: str = dspy.InputField(desc="the inputs of the task")
    expected: str = dspy.InputField(desc="the expected output")
    attempts: str = dspy.InputField(desc="each attempt's reward and summary")
    experiences: str = dspy.InputField(desc="the present experiences, which all attempts had read")
    limits: str = dspy.InputField(desc="how many experiences, and how long")
    comparison: str = dspy.OutputField(desc="why the better attempts won and the worse ones lost")
    new_experiences: list[Advice] = dspy.OutputField(desc='what to remember, each "When ..., do ..."')


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


CORRECTION = "correction"
"""Name of the input that a second try gets: what was wrong with the last reply."""


def with_correction(signature: type[dspy.Signature]) -> type[dspy.Signature]:
    """The signature of a second try, with an input that says what was wrong with the last reply."""
    description = "your last reply could not be used, for this reason; mend it"
    corrected: type[dspy.Signature] = signature.append(CORRECTION, dspy.InputField(desc=description), str)
    return corrected


@lru_cache(maxsize=64)  # pydantic takes milliseconds to make a class
def without(signature: type[dspy.Signature], *names: str) -> type[dspy.Signature]:
    """The signature without those fields, e.g. `expected` when there is no ground truth to show."""
    for name in names:
        signature = signature.delete(name)
    return signature
