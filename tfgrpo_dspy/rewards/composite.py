"""Composite rewards: accuracy, brevity, tool calls and format weighed against each other, each part on record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import fsum, isfinite

import dspy

from tfgrpo_dspy.errors import MetricError, SettingsError
from tfgrpo_dspy.rewards.metrics import judged
from tfgrpo_dspy.rewards.reward import GroupMetric, Reward, SingleMetric, check_metric, score
from tfgrpo_dspy.text import count_words

_NAME = re.compile(r"[A-Za-z][\w .-]*")


@dataclass(frozen=True)
class Weighted:
    """A metric made of others: the mean of their scores, weighted; each is kept as a part of the reward.

    The parts of each rollout are in its `Scored.parts`; MLflow has their mean per step as `reward_parts/<name>`. With
    parts in [0, 1] the score is 1 only where every part is 1.

    Args:
        parts: Name to metric and weight, > 0.

    Raises:
        SettingsError: There are no parts, a name or a weight cannot be used, or a part scores whole groups.

    Examples:
        >>> from tfgrpo_dspy.rewards.metrics import exact
        >>> reward = Weighted({"accuracy": (exact, 1.0), "brevity": (Brevity(words=50, limit=200), 0.2)})
    """

    parts: Mapping[str, tuple[SingleMetric, float]]

    def __post_init__(self) -> None:
        if not self.parts:
            raise SettingsError("a weighted reward needs parts, e.g. {'accuracy': (exact, 1.0)}")
        for name, (metric, weight) in self.parts.items():
            if not _NAME.fullmatch(name):
                raise SettingsError(f"a part's name is made of letters, digits, blanks, '_', '.' and '-', got {name!r}")
            if not _is_positive(weight):
                raise SettingsError(f"the weight of {name!r} must be > 0, got {weight!r}; a penalty is a part below 1")
            if isinstance(metric, GroupMetric):
                raise SettingsError(f"{name!r} scores whole groups, which cannot be weighed against single rollouts")
            check_metric(metric)

    def __call__(self, example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> dspy.Prediction:
        """The weighted mean, the parts, and the feedback of each.

        Raises:
            MetricError: A part raised, or returned no finite number.
        """
        found: dict[str, Reward] = {}
        for name, (metric, _) in self.parts.items():
            try:
                found[name] = score(metric, example, prediction)
            except MetricError as error:
                raise MetricError(f"part {name!r}: {error}") from error
        total = fsum(weight for _, weight in self.parts.values())
        mean = fsum(weight * found[name].value for name, (_, weight) in self.parts.items()) / total
        said = [
            f"{name} {reward.value:g}{f': {reward.feedback}' * bool(reward.feedback)}" for name, reward in found.items()
        ]
        parts = {name: reward.value for name, reward in found.items()}
        return dspy.Prediction(score=mean, feedback="\n".join(said), parts=parts)


@dataclass(frozen=True, kw_only=True)
class Brevity:
    """Score 1 up to `words`, falling in a line to 0 at `limit`; a script without blanks counts two characters a word.

    Args:
        words: Words that cost nothing, >= 0.
        limit: Words from which the score is 0, > `words`.
        fields: The outputs that are counted; empty for all that are texts.
    """

    words: int
    limit: int
    fields: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.words < self.limit:
            raise SettingsError(f"brevity needs 0 <= words < limit, got words={self.words}, limit={self.limit}")

    def __call__(self, example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> dspy.Prediction:
        """The score and how long it was."""
        names = self.fields or tuple(prediction.keys())
        texts = [value for name in names if isinstance(value := prediction.get(name), str)]
        return _falling(sum(map(count_words, texts)), self.words, self.limit, "words")


@dataclass(frozen=True, kw_only=True)
class ToolCalls:
    """Score 1 up to `free` tool calls, falling in a line to 0 at `limit`; calls are those of ReAct and ReActV2.

    Args:
        free: Calls that cost nothing, >= 0.
        limit: Calls from which the score is 0, > `free`.
    """

    free: int
    limit: int

    def __post_init__(self) -> None:
        if not 0 <= self.free < self.limit:
            raise SettingsError(f"tool calls need 0 <= free < limit, got free={self.free}, limit={self.limit}")

    def __call__(self, example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> dspy.Prediction:
        """The score and how many there were."""
        return _falling(count_tool_calls(prediction), self.free, self.limit, "tool calls")


@dataclass(frozen=True, kw_only=True)
class Format:
    r"""Score 1 if an output looks as asked for, else 0.

    Args:
        pattern: Regular expression that must be found in it, e.g. `r"\\boxed\{"`.
        output: Name of the output.
        what: What is asked for, in words, for feedback.
    """

    pattern: str
    output: str = "answer"
    what: str = "the format asked for"
    _compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "_compiled", re.compile(self.pattern))
        except re.error as error:
            raise SettingsError(f"{self.pattern!r} is no regular expression: {error}") from error

    def __call__(self, example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> dspy.Prediction:
        """The score.

        Raises:
            MetricError: There is no such output.
        """
        if self.output not in prediction:
            raise MetricError(f"the program has no output {self.output!r}; its outputs are {', '.join(prediction)}")
        fits = self._compiled.search(str(prediction[self.output])) is not None
        return judged(float(fits), "" if fits else f"`{self.output}` is not in {self.what}.")


def count_tool_calls(prediction: dspy.Prediction) -> int:
    """Tool calls that an agent's prediction tells of, in its `trajectory` or `history`, its closing one left out."""
    names: list[str] = []
    trajectory, history = prediction.get("trajectory"), prediction.get("history")
    if isinstance(trajectory, Mapping):
        names += [str(name) for key, name in trajectory.items() if str(key).startswith("tool_name_")]
    if isinstance(history, dspy.History):
        calls = [event["tool_calls"] for event in history.messages if "tool_calls" in event]
        names += [call.name for made in calls for call in made.tool_calls]
    return sum(name not in {"finish", "submit"} for name in names)


def _is_positive(weight: object) -> bool:
    return isinstance(weight, int | float) and isfinite(weight) and weight > 0


def _falling(value: int, free: int, limit: int, unit: str) -> dspy.Prediction:
    share = min(max((limit - value) / (limit - free), 0.0), 1.0)
    return judged(share, "" if value <= free else f"{value} {unit}, {free} would do.")
