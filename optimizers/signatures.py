"""Every prompt of the line-up that is neither DSPy's nor Training-Free GRPO's own."""

from __future__ import annotations

import dspy

from tfgrpo_dspy import Operation


class WriteExperiences(dspy.Signature):
    """Write experiences that would help somebody who is about to work on tasks like these.

    You have seen nobody work on them: write what you know. An experience speaks to a whole class of tasks, opens with
    the condition under which it applies and goes on to what to do ("When ..., do ...").
    """

    objective: str = dspy.InputField(desc="what the tasks are meant to be done well for")
    tasks: list[str] = dspy.InputField(desc="some of the tasks")
    limits: str = dspy.InputField(desc="how many experiences, and how long")
    experiences: list[str] = dspy.OutputField(desc='each "When ..., do ..."')


class ReflectOnTrajectory(dspy.Signature):
    """Reflect on one attempt at a task, for a playbook that its author reads before every task.

    Say what the attempt did, where it went wrong if it did, and what should be known next time. Write insights that
    hold for tasks of this kind, and none that the playbook has already. Then name the bullets of the playbook that
    helped the attempt, and those that misled it; a bullet that played no part is in neither list.
    """

    task: str = dspy.InputField(desc="the inputs of the task")
    trajectory: str = dspy.InputField(desc="every model call and tool call of the attempt, in order")
    reward: str = dspy.InputField(desc="the score this attempt was given; higher is better")
    feedback: str = dspy.InputField(desc="what the scorer said about it")
    expected: str = dspy.InputField(desc="the expected output")
    playbook: str = dspy.InputField(desc="the bullets that the attempt had read, one a line, with their counters")
    reflection: str = dspy.OutputField(desc="what happened, and why")
    insights: list[str] = dspy.OutputField(desc='what to know next time, each "When ..., do ..."')
    helpful_bullets: list[str] = dspy.OutputField(desc="ids of bullets that helped, such as G7")
    harmful_bullets: list[str] = dspy.OutputField(desc="ids of bullets that misled")


class CuratePlaybook(dspy.Signature):
    """Decide what of a reflection is to enter a playbook.

    The playbook only grows: use `add` for an insight that it lacks, and `keep` for everything that it says already.
    Keep bullets short, specific and free of this task's own names and numbers.
    """

    playbook: str = dspy.InputField(desc="the present bullets, one a line, with their counters")
    reflection: str = dspy.InputField(desc="what was learned from the latest attempt")
    insights: str = dspy.InputField(desc="candidate bullets, one a line")
    operations: list[Operation] = dspy.OutputField(desc="`add` or `keep`")


class CritiqueAnswer(dspy.Signature):
    """Find what is wrong with an answer, if anything, without knowing the right one.

    Go through it step by step. If it holds up, say so and set `is_correct`; otherwise say what to do differently.
    """

    task: str = dspy.InputField(desc="the inputs of the task")
    answer_given: str = dspy.InputField(desc="the answer, with its reasoning")
    critique: str = dspy.OutputField(desc="what to do differently, one point a line")
    is_correct: bool = dspy.OutputField(desc="whether the answer holds up")


class EvaluateAttempt(dspy.Signature):
    """Judge whether an attempt at a task succeeded, without knowing the right answer."""

    task: str = dspy.InputField(desc="the inputs of the task")
    trajectory: str = dspy.InputField(desc="every model call and tool call of the attempt, in order")
    is_correct: bool = dspy.OutputField(desc="whether the attempt succeeded")


class ReflectOnFailure(dspy.Signature):
    """An attempt at a task seems to have failed. Say why, and what to do differently in the next trial.

    The next trial starts afresh; of this one it knows nothing but your reflection and those before it.
    """

    task: str = dspy.InputField(desc="the inputs of the task")
    trajectory: str = dspy.InputField(desc="every model call and tool call of the attempt, in order")
    earlier_reflections: str = dspy.InputField(desc="what was said after earlier trials")
    self_reflection: str = dspy.OutputField(desc="what to do differently, one point a line")


class ChooseBest(dspy.Signature):
    """Choose the attempt at a task that is most likely right, without knowing the right answer."""

    task: str = dspy.InputField(desc="the inputs of the task")
    attempts: str = dspy.InputField(desc="the attempts, each under its number")
    best: int = dspy.OutputField(desc="number of the attempt that is most likely right")
