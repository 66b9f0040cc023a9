"""Every prompt of the line-up that is neither DSPy's nor Training-Free GRPO's own."""

from __future__ import annotations

import dspy

from tfgrpo_dspy import Operation

SECTIONS = ("STRATEGIES", "COMMON MISTAKES", "FORMULAS AND CODE", "OTHERS")
"""Of a playbook; what belongs to none of them goes into the last."""


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
    section: str = dspy.OutputField(desc=f"where the new bullets belong: {', '.join(SECTIONS)}")
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


class _Objectives(dspy.Signature):
    """What every question of the authors' pipeline is told."""

    agent_objective: str = dspy.InputField(desc="what the agent is to do")
    learning_objective: str = dspy.InputField(desc="what is to be learned from its attempts")


class _Comparison(_Objectives):
    """What a comparison of attempts is told."""

    task: str = dspy.InputField(desc="the inputs of the task")
    attempts: str = dspy.InputField(desc="each attempt in summary, with its reward")
    expected: str = dspy.InputField(desc="the expected output")


class SummarizeAttempt(_Objectives):
    """Tell step by step what an attempt at a task did, and which experiences it made use of.

    Say of each step whether it brought the attempt nearer to what was expected or led it astray, and why. Where the
    attempt failed, name the step at which it did.
    """

    task: str = dspy.InputField(desc="the inputs of the task")
    trajectory: str = dspy.InputField(desc="every model call and tool call of the attempt, in order")
    reward: str = dspy.InputField(desc="the score this attempt was given; higher is better")
    feedback: str = dspy.InputField(desc="what the scorer said about it")
    expected: str = dspy.InputField(desc="the expected output")
    summary: str = dspy.OutputField(desc="step by step")


class CompareAndOperate(_Comparison):
    """Compare attempts at one task, and change the experiences by one operation, so that the better way is taken.

    Find what the successful attempts did otherwise than the failed ones, and what the experiences lack for that. Add
    an experience, or modify one of those present. It speaks to tasks of this kind, not to this one alone, and opens
    with when it applies.
    """

    experiences: str = dspy.InputField(desc="the present experiences, one a line under its id")
    lessons: str = dspy.OutputField(desc="what set the successful attempts apart")
    operations: list[Operation] = dspy.OutputField(desc="one `add` or `modify`")


class ReviseExperiences(_Objectives):
    """Revise a list of experiences: carry out the modifications asked for, and bring together what says the same.

    An experience stays general, opens with when it applies, and takes about 32 words. Modify an entry to hold what
    several say, and delete those that it makes needless.
    """

    experiences: str = dspy.InputField(desc="the present and the new experiences, one a line under its id")
    modifications: str = dspy.InputField(desc="modifications asked for, one a line")
    operations: list[Operation] = dspy.OutputField(desc="`modify` and `delete`, of entries above")


class CompareAttempts(_Comparison):
    """Compare attempts at one task, and write down what they teach.

    Find what the successful attempts did otherwise than the failed ones. An experience speaks to tasks of this kind,
    not to this one alone, opens with when it applies, and says what to do.
    """

    limits: str = dspy.InputField(desc="how many experiences")
    experiences: list[str] = dspy.OutputField(desc='each "When ..., do ..."')


class OperateOnExperiences(_Objectives):
    """Say what becomes of new experiences, given those that are there: add, modify one present, delete, or keep.

    Add what is new; modify an entry that a new one sharpens; delete an entry that a new one shows to be wrong; keep
    where all has been said.
    """

    experiences: str = dspy.InputField(desc="the present experiences, one a line under its id")
    advantages: str = dspy.InputField(desc="the new experiences, one a line")
    operations: list[Operation] = dspy.OutputField(desc="one for each new experience")


class MergeOperations(_Objectives):
    """Merge operations on a list of experiences, written independently of each other, into one plan.

    At most one operation for an entry; what several would add is added once, in the fullest wording; what they
    contradict each other on is decided.
    """

    experiences: str = dspy.InputField(desc="the present experiences, one a line under its id")
    advantages: str = dspy.InputField(desc="the operations, one a line")
    operations: list[Operation] = dspy.OutputField(desc="the plan")


class ExtractMemories(dspy.Signature):
    """Draw up to three memory items from one attempt at a task, for later tasks of the same kind.

    From an attempt that succeeded: why it did, as strategies to take again. From one that failed: what to watch for,
    and what to do instead. An item does not speak of this task's own names and numbers.
    """

    task: str = dspy.InputField(desc="the inputs of the task")
    trajectory: str = dspy.InputField(desc="every model call and tool call of the attempt, in order")
    outcome: str = dspy.InputField(desc="whether the attempt was judged a success or a failure")
    insights: list[str] = dspy.OutputField(desc='at most three, each "title: when it applies, and what to do"')


class RewriteCheatsheet(dspy.Signature):
    """Rewrite a cheatsheet of strategies and snippets after one more task.

    Keep what proved useful, in its words; add what this task teaches for others like it; take out what was wrong. What
    you leave out of the new cheatsheet is forgotten.
    """

    cheatsheet: str = dspy.InputField(desc="the present cheatsheet")
    task: str = dspy.InputField(desc="the inputs of the task")
    trajectory: str = dspy.InputField(desc="every model call and tool call of the attempt, in order")
    new_cheatsheet: str = dspy.OutputField(desc="the whole of it, as it is to be")
