"""Rewards without ground truth: a group's answers are judged against each other.

Both go wherever a metric goes. Neither knows what is right: where most of a group shares a mistake, a majority vote
rewards the mistake. Without a label in the examples, set `use_ground_truth=False`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dspy

from tfgrpo_dspy.errors import MetricError, SettingsError
from tfgrpo_dspy.program.transcript import render_values
from tfgrpo_dspy.rewards.metrics import same_answer
from tfgrpo_dspy.signatures import ChooseBest
from tfgrpo_dspy.text import shorten

Equivalent = Callable[[str, str], bool]
"""Whether two answers are the same."""

_ATTEMPT_TOKENS = 4_000
"""Estimated tokens of an attempt that a judge is shown at most; longer ones lose their middle."""
_TASK_TOKENS = 4_000
_REASONING = frozenset({"reasoning", "rationale", "trajectory"})
"""Outputs that are no answer."""


@dataclass(frozen=True, kw_only=True)
class MajorityVote:
    """Reward 1 for the answer that most rollouts of the group gave, 0 for any other; no ground truth is consulted.

    Where several answers have the most votes all of them are rewarded, so that a group in which no two answers agree
    teaches nothing. An empty answer has no vote.

    Args:
        equivalent: Whether two answers are the same; the default goes by text, and by value if both are numbers. An
            answer is compared with the first of each kind.
        field: The output that holds the answer; None takes `answer`, or the program's only output besides reasoning.
    """

    equivalent: Equivalent = same_answer
    field: str | None = None

    def score_group(self, example: dspy.Example, predictions: Sequence[dspy.Prediction]) -> list[dspy.Prediction]:
        """One reward for each prediction, with the votes as feedback."""
        answers = [_answer(prediction, self.field) for prediction in predictions]
        kinds = alike(answers, self.equivalent)
        votes = [kinds.count(kind) if answer else 0 for kind, answer in zip(kinds, answers, strict=True)]
        most = max(votes, default=0)
        return [self._reward(count, most, len(answers)) for count in votes]

    def _reward(self, votes: int, most: int, of: int) -> dspy.Prediction:
        if not votes:
            return dspy.Prediction(score=0.0, feedback="No answer was given.")
        verdict = "no answer has more" if votes == most else f"another answer has {most}"
        feedback = f"{votes} of {of} attempts gave this answer; {verdict}. Whether it is right is not known."
        return dspy.Prediction(score=float(votes == most), feedback=feedback)


@dataclass(frozen=True, kw_only=True)
class SelfDiscrimination:
    """Reward 1 for the answer that the language model itself finds most plausible, 0 for any other.

    One call for each group whose answers differ; the model sees the task and all attempts, and no ground truth.

    Args:
        lm: The judge; None takes the LM that the rollouts are made with, as the paper's ablation does.
        equivalent: As for `MajorityVote`: attempts with the answer that was chosen are rewarded alike.
        field: As for `MajorityVote`.

    Raises:
        SettingsError: `lm` is no LM.
    """

    lm: dspy.BaseLM | None = None
    equivalent: Equivalent = same_answer
    field: str | None = None

    def __post_init__(self) -> None:
        if self.lm is not None and not isinstance(self.lm, dspy.BaseLM):
            raise SettingsError(f"`lm` must be a `dspy.LM` or `None`, got {self.lm!r}")

    def score_group(self, example: dspy.Example, predictions: Sequence[dspy.Prediction]) -> list[dspy.Prediction]:
        """One reward for each prediction, with the judge's assessment as feedback.

        Raises:
            MetricError: The judge named no attempt, or there is no such output as `field`.
        """
        answers = [_answer(prediction, self.field) for prediction in predictions]
        kinds = alike(answers, self.equivalent)
        if len(set(kinds)) <= 1:
            return [dspy.Prediction(score=float(bool(a)), feedback="All attempts gave this answer.") for a in answers]
        chosen, assessment = self._choose(example, predictions)
        feedback = {
            True: f"Judged the most plausible answer, without ground truth: {assessment}",
            False: f"Another answer was judged more plausible, without ground truth: {assessment}",
        }
        liked = [kind == kinds[chosen] and bool(answer) for kind, answer in zip(kinds, answers, strict=True)]
        return [dspy.Prediction(score=float(like), feedback=feedback[like]) for like in liked]

    def _choose(self, example: dspy.Example, predictions: Sequence[dspy.Prediction]) -> tuple[int, str]:
        attempts = "\n\n".join(
            f"Attempt {number}:\n{shorten(render_values(dict(prediction.items())), _ATTEMPT_TOKENS)}"
            for number, prediction in enumerate(predictions, start=1)
        )
        task = shorten(render_values(dict(example.inputs().items())), _TASK_TOKENS)
        with dspy.context(lm=self.lm or dspy.settings.lm):
            reply = dspy.Predict(ChooseBest)(task=task, attempts=attempts)
        if not 1 <= reply.best <= len(predictions):
            raise MetricError(f"the judge chose attempt {reply.best} of {len(predictions)}")
        return reply.best - 1, str(reply.assessment)


def alike(answers: Sequence[str], equivalent: Equivalent) -> list[int]:
    """For each answer the position of the first that it is equivalent to, itself if there is none before."""
    kinds: list[int] = []
    for position, answer in enumerate(answers):
        same = (kind for kind in dict.fromkeys(kinds) if equivalent(answers[kind], answer))
        kinds.append(next(same, position))
    return kinds


def _answer(prediction: dspy.Prediction, field: str | None) -> str:
    outputs = dict(prediction.items())
    if field is None:
        answers = [name for name in outputs if name not in _REASONING]
        field = "answer" if "answer" in outputs or len(answers) != 1 else answers[0]
    if field not in outputs:
        raise MetricError(
            f"the program returned {', '.join(outputs) or 'nothing'}, and no {field!r}; name the output that holds the "
            "answer by field="
        )
    value = outputs[field]
    return "" if value is None else str(value).strip()
