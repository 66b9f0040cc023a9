"""Counts the LM calls of a pilot by what they were for, seen through DSPy's callbacks.

A pilot that DSPy's cache answers must forecast the same as one that was paid. So calls are counted that would be paid
in a run of its own: the tokens of a cached answer are read off it, and a prompt that was asked before counts once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.utils.callback import ACTIVE_CALL_ID, BaseCallback

from tfgrpo_dspy.forecast.plan import Amount
from tfgrpo_dspy.lm.budget import OutOfBudget, Price
from tfgrpo_dspy.lm.replies import entry_of, usage_of
from tfgrpo_dspy.signatures import ExtractAdvantage, SummarizeRollout, UpdateLibrary
from tfgrpo_dspy.text import estimate_tokens

_REFLECTION = {
    SummarizeRollout.instructions: "summaries",
    ExtractAdvantage.instructions: "extractions",
    UpdateLibrary.instructions: "updates",
}


@dataclass(frozen=True, slots=True)
class Made:
    """One call."""

    stage: str
    """One of `forecast.STAGES`."""
    of: Any
    """The rollout id, or the task that was reflected on; None if the call belongs to none."""
    amount: Amount
    seconds: float
    is_paid: bool
    """False for an answer from the cache."""
    is_repeated: bool
    """Whether the cache would answer it in any run, because the same was asked before."""
    estimated: float
    """Prompt tokens as we estimate them, to be compared with those reported."""
    reads_library: bool
    update_share: float
    """Of an update, the share of the prompt that shows advantages."""


@dataclass(frozen=True, slots=True)
class _Asked:
    lm: Any
    text: str
    started: float
    stage: str
    of: Any
    is_repeated: bool
    reads_library: bool
    update_share: float


class Tally(BaseCallback):
    """Notes every LM call; use it in `dspy.context(callbacks=[..., tally])`.

    Args:
        readers: Instructions of the predictors that read the library.
        prices: Model to price, where it is known.
    """

    def __init__(self, readers: frozenset[str], prices: Mapping[str, Price | None]) -> None:
        self.made: list[Made] = []
        self.stage = "rollouts"
        """What calls are for that are not reflection."""
        self._readers, self._prices = readers, prices
        self._predictors: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self._asked: dict[str, _Asked] = {}
        self._keys: set[str] = set()
        self._lock = threading.Lock()

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: D102
        if isinstance(instance, dspy.Predict):
            self._predictors[call_id] = instance.signature.instructions, inputs.get("kwargs", inputs)

    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: D102
        self._predictors.pop(call_id, None)

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: D102
        told, shown = self._predictors.get(ACTIVE_CALL_ID.get() or "", ("", {}))
        text = "".join(_texts(inputs.get("messages") or inputs.get("prompt") or inputs.get("request")))
        rollout = instance.kwargs.get("rollout_id")
        stage = _REFLECTION.get(told, self.stage)
        key = repr((instance.model, rollout, text, inputs.get("kwargs"))) if instance.cache else call_id
        with self._lock:
            is_repeated = key in self._keys
            self._keys.add(key)
        share = len(str(shown.get("advantages", ""))) / max(len(text), 1) if stage == "updates" else 0.0
        of = shown.get("task") if told in _REFLECTION else rollout
        now = time.perf_counter()
        self._asked[call_id] = _Asked(instance, text, now, stage, of, is_repeated, told in self._readers, share)

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: D102
        asked = self._asked.pop(call_id)
        seconds = time.perf_counter() - asked.started
        if isinstance(exception, OutOfBudget):
            return  # it was not made
        is_paid, amount = (True, Amount(1)) if exception is not None else self._amount(asked, outputs)
        made = Made(
            asked.stage,
            asked.of,
            amount,
            seconds,
            is_paid,
            asked.is_repeated,
            estimate_tokens(asked.text) if exception is None else 0.0,
            asked.reads_library,
            asked.update_share,
        )
        with self._lock:
            self.made.append(made)

    def _amount(self, asked: _Asked, outputs: Any) -> tuple[bool, Amount]:
        """Whether the call was paid, and what it took or would have taken."""
        usage, entry = usage_of(asked.lm, outputs), entry_of(asked.lm, outputs) or {}
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        if not prompt and not completion:
            prompt, completion = _of_cached(entry.get("response"))
        if not prompt and not completion:
            prompt, completion = estimate_tokens(asked.text), estimate_tokens("".join(_texts(outputs)))
        price, cost = self._prices.get(asked.lm.model), entry.get("cost")
        cost = cost if price is None else (prompt * price[0] + completion * price[1]) / 1e6
        return not usage.cached_calls, Amount(1, prompt, completion, cost)


def _of_cached(response: Any) -> tuple[int, int]:
    """Tokens of an answer of DSPy's native engines, which keep them; zeros for others."""
    usage = getattr(response, "usage", None)
    return int(getattr(usage, "input_tokens", 0) or 0), int(getattr(usage, "output_tokens", 0) or 0)


def _texts(value: Any) -> list[str]:
    """The texts in messages or outputs."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return _texts(value.get("content", value.get("text")))
    if isinstance(value, list | tuple):
        return [text for item in value for text in _texts(item)]
    return [] if value is None else [str(value)]
