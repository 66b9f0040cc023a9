"""What a reply says of itself, and whose failure it is when it is none: the other half of the table of verdicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dspy.lm15 import (
    LM15Error,
    LockTimeoutError,
    ProviderError,
    RateLimitError,
    ServerError,
    TimeoutError,
    TransportError,
)
from dspy.utils.exceptions import LMError, LMTimeoutError, LMTransportError, is_retryable_lm_error

from tfgrpo_dspy.lm.verdicts.table import Taken, verdict_of

_FULL = 0.9
"""Share of the bound from which on a cut reply counts as one that used it up; tokenizers differ."""
_RUNAWAY = 4
"""Times the longest whole reply so far from which on a cut reply without a known bound counts as the model's own."""
_LONG = 1_024
"""Tokens that count as long while no whole reply was seen."""
_PASSING = (RateLimitError, TimeoutError, ServerError, TransportError, LockTimeoutError)
_BROKEN_OFF = frozenset(
    "abort error load unload network_error model_error server_error insufficient_system_resource".split()
)
"""Words for an end that the server brought about: of SGLang, OpenRouter, Ollama, Z.AI, DeepSeek."""
_REFUSED = frozenset({"content_filter", "refusal", "safety", "recitation", "blocklist", "prohibited_content"})


class EmptyReply(ServerError):
    """The endpoint answered without content."""


class CutReply(ServerError):
    """The endpoint cut a reply off before it was as long as it was allowed to be."""


class NoReply(ServerError):
    """The endpoint answered with success, and a body that is no reply at all."""


class TooLongReply(ProviderError):
    """A reply of the reflection LM that its length limit cut off; half a summary is none."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a reply says of itself."""

    text: str
    """Of all its candidates."""
    finish: tuple[str | None, ...]
    """Why each candidate ended, in the words of its API."""
    is_blank: bool
    """Whether it has neither text nor tool calls."""
    written: int
    """Output tokens, as reported or estimated."""
    has_thought: bool = False
    """Whether it has reasoning, as text or as reported tokens."""
    refusal: str = ""
    """What the model said in place of an answer, where its API has a place for that."""
    error: str = ""
    """What the server said besides: some tell of an error in a reply that comes with success."""

    @property
    def is_cut(self) -> bool:
        """Whether it ends where it was cut off."""
        return "length" in self.finish

    def ended(self, words: frozenset[str]) -> bool:
        """Whether a candidate ended for one of the reasons."""
        return not words.isdisjoint(reason.lower() for reason in self.finish if reason)


@dataclass(frozen=True, slots=True)
class Sight:
    """A reply and what it is held against."""

    reply: Reply
    bound: int | None = None
    """Output tokens that the request allows; None for no bound of its own."""
    longest: int | None = None
    """Tokens of the longest whole reply of the model so far; None if there was none."""

    @property
    def is_cut_early(self) -> bool:
        """Whether it was cut off long before it was as long as it was allowed to be."""
        if self.bound is not None:
            return self.reply.written < _FULL * self.bound
        return self.reply.written < (_LONG if self.longest is None else max(_LONG, _RUNAWAY * self.longest))


@dataclass(frozen=True, slots=True)
class ReplyRule:
    """One row of the table."""

    name: str
    fact: str
    """For people."""
    taken_for: Taken
    holds: Callable[[Sight], bool]
    said: str
    """Of such a reply, after "the endpoint answered"."""
    remark: str = ""
    """Where the sort is in doubt, why."""


REPLY_RULES: tuple[ReplyRule, ...] = (
    ReplyRule(
        "broken off",
        "the server ended the reply: finish `error`, `abort`, `load`, `insufficient_system_resource`, ...",
        "infrastructure",
        lambda sight: sight.reply.ended(_BROKEN_OFF),
        "with a reply that the server broke off",
    ),
    ReplyRule(
        "refused",
        "a refusal and no answer: finish `content_filter`, or the model's own words in `refusal`",
        "policy",
        lambda sight: sight.reply.is_blank and (bool(sight.reply.refusal) or sight.reply.ended(_REFUSED)),
        "with a refusal",
    ),
    ReplyRule(
        "thought only",
        "reasoning and no answer (`reasoning_content`, `reasoning`, or reported reasoning tokens), whatever the finish",
        "policy",
        lambda sight: sight.reply.is_blank and sight.reply.has_thought,
        "with reasoning and no answer",
        "asked again until it answers, or left out, a model that often says nothing would look better than it is",
    ),
    ReplyRule(
        "cut before it began",
        "no answer, finish `length`",
        "policy",
        lambda sight: sight.reply.is_blank and sight.reply.is_cut,
        "without content before the limit on its length",
    ),
    ReplyRule(
        "empty",
        "neither text nor tool calls nor reasoning, finish `stop` or none",
        "infrastructure",
        lambda sight: sight.reply.is_blank and not any(r not in {"stop", None, ""} for r in sight.reply.finish),
        "without content",
        "gateways under load answer so; nothing says that the model wrote anything",
    ),
    ReplyRule(
        "cut early",
        "finish `length`, though it is shorter than 0.9 of the bound that the request sets, or, without one, than "
        "1,024 tokens and four times the longest whole reply so far",
        "infrastructure",
        lambda sight: sight.reply.is_cut and sight.is_cut_early,
        "with a reply that was cut off",
        "the limit was not the request's",
    ),
    ReplyRule(
        "cut at its bound",
        "finish `length` after as many tokens as the request allows",
        "policy",
        lambda sight: sight.reply.is_cut,
        "up to the limit on its length",
        "what is there of it is read, as by DSPy; a reply of reflection is asked for again, shorter",
    ),
)
"""Every verdict on a reply that came with success, in the order in which they are tried; any other is a reply."""


def rule_of(sight: Sight) -> ReplyRule | None:
    """The rule that holds for a reply; None for a proper one. Tool calls without text are proper."""
    return next((rule for rule in REPLY_RULES if rule.holds(sight)), None)


def fault_in(rule: ReplyRule | None, reply: Reply) -> ServerError | None:
    """The endpoint's failure that a reply is, though it came with success; None for none of the endpoint's."""
    if rule is None or rule.taken_for != "infrastructure":
        return None
    if reply.is_cut:
        return CutReply(f"the reply was cut off after {reply.written} tokens")
    return EmptyReply(f"the endpoint answered {rule.said}" + (f": {reply.error}" if reply.error else ""))


def is_repeated(error: BaseException) -> bool:
    """Whether DSPy repeats a request that failed so, and would without us."""
    return is_retryable_lm_error(error) if isinstance(error, LMError) else isinstance(error, _PASSING)


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed when it is repeated: the endpoint was at fault, and for a moment only."""
    return is_repeated(error) and verdict_of(error).taken_for == "infrastructure"


def timed_out(error: BaseException) -> bool:
    """Whether a request was given up because no answer came in time."""
    if isinstance(error, LMTimeoutError | TimeoutError):
        return True
    return isinstance(error, LMTransportError | TransportError) and "timed out" in str(error)


def reason_of(error: BaseException) -> str:
    """A failed request in a word or two, for counting."""
    if timed_out(error):
        return "timeout"
    name, status = type(error).__name__, getattr(error, "status", None)
    is_dspys = isinstance(error, LM15Error) and type(error).__module__.startswith("dspy.")
    return ("LM" if is_dspys else "") + name + (f" {status}" if status else "")
