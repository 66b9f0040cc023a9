"""Past rollouts: attempts that production or an earlier study recorded, as groups to learn from at no call."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from os import PathLike, fspath
from typing import Any

import dspy

from tfgrpo_dspy.data.files import Row
from tfgrpo_dspy.data.rows import read_rows
from tfgrpo_dspy.errors import DataError, SettingsError
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.program.transcript import render_values
from tfgrpo_dspy.records.rollouts import Group, Scored
from tfgrpo_dspy.rewards.reward import GroupMetric, Metric, Reward, SingleMetric, check_metric, score
from tfgrpo_dspy.rollouts.sampling import Query
from tfgrpo_dspy.text import neutralise


@dataclass(frozen=True, slots=True)
class PastRollouts:
    """Recorded attempts, brought together by their inputs: `compile(program, past.examples, rollouts=past)`.

    A group of them teaches as one of fresh rollouts does: at least two attempts at the same inputs, whose rewards
    differ. What they had read is not known, so that they say nothing about the library's present entries.
    """

    examples: tuple[dspy.Example, ...]
    """One for each distinct inputs, in order of first appearance, with the labels that the rows have."""
    attempts: tuple[tuple[Scored, ...], ...]
    """For each of them what was recorded, in order."""
    _places: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places = {_key(dict(example.inputs())): i for i, example in enumerate(self.examples)}
        object.__setattr__(self, "_places", places)

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], metric: Metric | None = None) -> PastRollouts:
        """From rows, each an attempt.

        Args:
            rows: `inputs` (name to value) and `outputs` (name to value, or the text of the answer); `reward` (a number
                or a bool; higher is better), unless the metric is to give it. May be left out: `feedback` (what was
                said about it), `trajectory` (what it did, as text; else its inputs and outputs stand for it) and
                `labels` (name to value of what was expected).
            metric: Gives the reward, and the feedback, of rows that have none.

        Raises:
            DataError: A row lacks something or cannot be read; the message names the row and the field.
            MetricError: The metric failed.
        """
        return _grouped((Row(f"rollouts[{i}]", values) for i, values in enumerate(rows)), metric)

    @classmethod
    def read(cls, path: str | PathLike[str], metric: Metric | None = None) -> PastRollouts:
        """From a .jsonl, .json, .csv or .parquet file of such rows; in CSV `inputs`, `outputs`, `labels` are JSON.

        Raises:
            DataError, MetricError: As `of`; the message names file and line.
        """
        return _grouped(read_rows(fspath(path)), metric)

    @property
    def largest(self) -> int:
        """Attempts at the same inputs, at most."""
        return max(map(len, self.attempts))

    def group(self, query: Query, step: int) -> Group:
        """The attempts at a query, as the group of that step.

        Raises:
            DataError: There are none.
        """
        name = f"s{step}/e{query.position}"
        attempts = self.attempts[self._place_of(query)]
        return Group(name, query.example, tuple(replace(one, name=f"{name}/r{i}") for i, one in enumerate(attempts)))

    def check(self, trainset: Sequence[dspy.Example]) -> None:
        """Raises `DataError` if an example of the trainset has no past rollouts."""
        for position, example in enumerate(trainset):
            self._place_of(Query(position, example))

    def _place_of(self, query: Query) -> int:
        found = self._places.get(_key(dict(query.example.inputs())))
        if found is None:
            raise DataError(
                f"trainset[{query.position}] has no past rollouts: none was recorded with its inputs; "
                "pass the `examples` of the past rollouts as the trainset"
            )
        return found


def _grouped(rows: Iterable[Row], metric: Metric | None) -> PastRollouts:
    if metric is not None:
        check_metric(metric)
    if isinstance(metric, GroupMetric):
        raise SettingsError("past rollouts are scored one by one: give a metric of one prediction, or rewards")
    found: dict[str, tuple[dspy.Example, list[Scored]]] = {}
    for row in rows:
        inputs, labels = _fields(row, "inputs"), _fields(row, "labels")
        if not inputs:
            raise DataError(f"{row.where}: `inputs` must be an object of field names to values, with at least one")
        example = dspy.Example(**(labels | inputs)).with_inputs(*inputs)
        example, attempts = found.setdefault(_key(inputs), (example, []))
        attempts.append(_attempt(row, example, metric))
    if not found:
        raise DataError("there are no past rollouts; give at least one row with `inputs`, `outputs` and `reward`")
    return PastRollouts(tuple(e for e, _ in found.values()), tuple(tuple(made) for _, made in found.values()))


def _attempt(row: Row, example: dspy.Example, metric: SingleMetric | None) -> Scored:
    outputs = _fields(row, "outputs")
    reward = _reward(row, example, outputs, metric)
    answer = render_values(outputs)
    trajectory = row.values.get("trajectory")
    told = neutralise(str(trajectory)) if trajectory else f"{render_values(dict(example.inputs()))}\n{answer}"
    return Scored("", reward.value, reward.feedback, told, answer, 0, Usage(), 0.0, parts=reward.parts)


def _reward(row: Row, example: dspy.Example, outputs: Mapping[str, Any], metric: SingleMetric | None) -> Reward:
    given, said = row.values.get("reward"), row.values.get("feedback") or ""
    if given is None or given == "":
        if metric is None:
            raise DataError(f"{row.where}: it has no `reward`; add one, or pass a metric to score it with")
        scored = score(metric, example, dspy.Prediction(**outputs))
        return scored._replace(feedback=str(said) or scored.feedback)
    try:
        value = float(given) if isinstance(given, Real | str) else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{row.where}: `reward` must be a finite number or a bool, got {given!r}")
    return Reward(value, str(said))


def _fields(row: Row, name: str) -> dict[str, Any]:
    """A column of named values; a text that is no JSON object is the field `answer`."""
    value = row.values.get(name)
    if value is None and name == "outputs":
        raise DataError(f"{row.where}: it has no `outputs`; its columns are {', '.join(row.values)}")
    if isinstance(value, str):
        try:
            read = json.loads(value)
        except ValueError:
            read = value
        value = read if isinstance(read, Mapping) or name != "outputs" else {"answer": value}
    if value is None or (isinstance(value, Mapping) and all(isinstance(key, str) for key in value)):
        return dict(value or {})
    raise DataError(f"{row.where}: '{name}' must be an object of field names to values, got {type(value).__name__}")


def _key(inputs: Mapping[str, Any]) -> str:
    """Inputs as a text that is the same for the same inputs."""
    return json.dumps(inputs, sort_keys=True, default=str, ensure_ascii=False)
