"""How a request came out: whether it may pass when it is repeated, whether a reply is one, and whether it is whole."""

from __future__ import annotations

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
from dspy.utils.exceptions import LMError, LMProviderError, LMTimeoutError, LMTransportError, is_retryable_lm_error

_OK = 200
_FULL = 0.9
"""Share of the bound from which on a cut reply counts as one that used it up; tokenizers differ."""
_RUNAWAY = 4
"""Times the longest whole reply so far from which on a cut reply without a known bound counts as the model's own."""
_LONG = 1_024
"""Tokens that count as long while no whole reply was seen."""
_PASSING = (RateLimitError, TimeoutError, ServerError, TransportError, LockTimeoutError)


class EmptyReply(ServerError):
    """The endpoint answered without content."""


class CutReply(ServerError):
    """The endpoint cut a reply off before it was as long as it was allowed to be."""


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

    @property
    def is_cut(self) -> bool:
        """Whether it ends where it was cut off."""
        return "length" in self.finish


def fault_of(reply: Reply, bound: int | None, longest: int | None) -> ServerError | None:
    """The endpoint's failure that a reply is, though it came with success; None for a proper one.

    Args:
        reply: As it came.
        bound: Output tokens that the request allows; None for no bound of its own.
        longest: Tokens of the longest whole reply of the model so far; None if there was none.
    """
    if reply.is_blank and not any(reason not in {"stop", None, ""} for reason in reply.finish):
        return EmptyReply("the endpoint answered without content")
    if not reply.is_cut:
        return None
    enough = _FULL * bound if bound is not None else _LONG if longest is None else max(_LONG, _RUNAWAY * longest)
    return CutReply(f"the reply was cut off after {reply.written} tokens") if reply.written < enough else None


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed when repeated: DSPy's judgement, and a body that is no reply at all."""
    if isinstance(error, LMError):
        return is_retryable_lm_error(error) or (type(error) is LMProviderError and error.status == _OK)
    return isinstance(error, _PASSING) or (type(error) is ProviderError and getattr(error, "status", None) == _OK)


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
