"""Asking the reflection LM: one signature, a validated answer, the error shown when it has to be asked again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import dspy

from tfgrpo_dspy.errors import TFGRPOError
from tfgrpo_dspy.lm.budget import SUMMARY, Kind, OutOfBudget, Unpriced
from tfgrpo_dspy.lm.metering import metered
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.lm.verdicts.replies import TooLongReply
from tfgrpo_dspy.lm.verdicts.table import PROGRAM, SECOND_TRY, TOO_LONG, UNPARSEABLE
from tfgrpo_dspy.program.recorder import Recorder
from tfgrpo_dspy.records.failures import Cause
from tfgrpo_dspy.rollouts.failures import judged
from tfgrpo_dspy.signatures import CORRECTION, with_correction
from tfgrpo_dspy.steps.reading.adapter import reading
from tfgrpo_dspy.steps.reading.again import asked_for, sorted_out
from tfgrpo_dspy.text import shorten

_SHOWN_ERROR_TOKENS = 400
LEAST_TOKENS = 200
"""Estimated tokens below which a shortened input leaves nothing to read."""


class Unusable(TFGRPOError):
    """The reflection LM gave no usable reply.

    Args:
        reason: Why.
        usage: What the tries took.
        cause: None could be used, none came, or none was allowed.
        broke_off: Whether what it wrote was cut off, so that a smaller question may help.
    """

    def __init__(self, reason: str, usage: Usage, cause: Cause = "reply", broke_off: bool = False) -> None:
        super().__init__(reason)
        self.usage, self.cause, self.broke_off = usage, cause, broke_off


class TooLong(Unusable):
    """The request did not fit the LM's context window."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A validated reply."""

    fields: Mapping[str, Any]
    usage: Usage
    problems: Mapping[str, str] = field(default_factory=dict)
    """What is still wrong with it after the last try, a sentence by output; empty if nothing."""


@dataclass(frozen=True, slots=True)
class Reflection:
    """M of the paper: the LM that summarises, compares and updates."""

    lm: dspy.BaseLM
    retries: int
    """Further tries for a reply that does not validate."""
    kind: Kind = SUMMARY
    """What it asks for: of a budget, summaries leave enough for extractions, and both for the update."""
    can_split: bool = False
    """Whether who asks goes on with smaller questions when a reply breaks off: it is not asked again as it was."""

    def again(self, step: int) -> Reflection:
        """For what failed in an earlier step: DSPy's cache does not answer with the reply that could not be used."""
        return replace(self, lm=self.lm.copy(rollout_id=step))

    def ask(
        self,
        signature: type[dspy.Signature],
        inputs: Mapping[str, Any],
        find_problems: Callable[[dspy.Prediction], Mapping[str, str]] = lambda reply: {},
    ) -> Answer:
        """Ask until a reply parses and `find_problems` finds none: what was good is kept, and what was wrong is shown.

        `find_problems` gives a sentence for each output that is not as it should be.

        Returns:
            The first reply without problems, or the last that parsed, with its problems.

        Raises:
            TooLong: The request exceeds the context window.
            Unusable: No reply parsed, or the LM could not be reached.
            RequestError: No such call can succeed, which stops the run.
        """
        recorder, parsed, correction, read = Recorder(), None, "", dict[str, Any]()
        for _ in range(self.retries + 1):
            try:
                with metered(lambda: [self.lm]):
                    reply = self._try(*asked_for(signature, inputs, read), correction, recorder)
            except Unusable:
                if parsed is None:
                    raise
                break
            if isinstance(reply, str):
                correction = reply
                continue
            read, odd = sorted_out(signature, read, reply)
            if odd:
                correction = " ".join(odd)
                continue
            problems = find_problems(dspy.Prediction(**read))
            parsed = Answer(read, Usage(), problems)
            if not problems:
                break
            read = {name: value for name, value in read.items() if name not in problems}
            correction = " ".join(problems.values())
        if parsed is None:
            reason = f"no reply in {self.retries + 1} tries could be used; the last: {correction}"
            raise Unusable(reason, recorder.usage)
        return replace(parsed, usage=recorder.usage)

    def ask_within(
        self,
        tokens: int,
        signature: type[dspy.Signature],
        inputs_within: Callable[[int], Mapping[str, Any]],
        find_problems: Callable[[dspy.Prediction], Mapping[str, str]] = lambda reply: {},
    ) -> Answer:
        """Ask with inputs made to fit a token budget, halving the budget while the context window is exceeded.

        Raises as `ask`; `TooLong` only when even a budget of `LEAST_TOKENS` was too much.
        """
        spent = Usage()
        while True:
            try:
                answer = self.ask(signature, inputs_within(tokens), find_problems)
            except TooLong as error:
                spent += error.usage
                tokens //= 2
                if tokens < LEAST_TOKENS:
                    raise TooLong(str(error), spent) from error
            except Unusable as error:
                raise Unusable(str(error), spent + error.usage, error.cause, error.broke_off) from error
            else:
                return replace(answer, usage=spent + answer.usage)

    def _try(
        self, signature: type[dspy.Signature], inputs: Mapping[str, Any], correction: str, recorder: Recorder
    ) -> dspy.Prediction | str:
        """One reply, or what was wrong with it."""
        shown = dict(inputs)
        if correction:
            signature, shown[CORRECTION] = with_correction(signature), correction
        try:
            with recorder.recording_lm(self.kind, self.lm), dspy.context(adapter=reading(dspy.settings.adapter)):
                return dspy.Predict(signature)(**shown)
        except OutOfBudget as refused:
            raise Unusable(f"out of budget: {refused}", recorder.usage, "budget") from None
        except Unpriced as unpriced:
            raise unpriced.error from None
        except Exception as error:  # noqa: BLE001 - an LM of the user's own may raise anything
            return self._correction(error, recorder.usage)

    def _correction(self, error: Exception, usage: Usage) -> str:
        """What the LM is told of a reply that was none; raises if it should not be asked for the same again."""
        if isinstance(error.__cause__, TooLongReply):
            if self.can_split:
                raise Unusable(str(error.__cause__), usage, broke_off=True) from error
            return str(error.__cause__)
        rule = judged(error).rule
        if rule in {UNPARSEABLE, SECOND_TRY} or isinstance(error, ValueError):  # as pydantic's ValidationError is
            return shorten(getattr(error, "message", "") or str(error), _SHOWN_ERROR_TOKENS)
        if rule is PROGRAM:
            raise error
        said = f"{type(error).__name__}: {error}"
        if rule is TOO_LONG:
            raise TooLong(said, usage) from error
        raise Unusable(said, usage, "endpoint" if rule.taken_for == "infrastructure" else "reply") from error
