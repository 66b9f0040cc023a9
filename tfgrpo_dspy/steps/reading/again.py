"""A second try asks for what was odd, alone: what was read already is kept, and shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy

from tfgrpo_dspy.signatures import asking_only_for, may_lack
from tfgrpo_dspy.steps.reading.odd import Odd
from tfgrpo_dspy.text import neutralise


def asked_for(signature: Any, inputs: Mapping[str, Any], read: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What the next try asks, and shows: all of it, or what is missing besides what was read."""
    shown = dict(inputs)
    if not read:
        return signature, shown
    missing = [name for name in signature.output_fields if name not in read]
    shown |= {name: neutralise(str(value)) for name, value in read.items()}
    return asking_only_for(signature, *missing), shown


def sorted_out(
    signature: type[dspy.Signature], read: Mapping[str, Any], reply: dspy.Prediction
) -> tuple[dict[str, Any], list[str]]:
    """All that was read by now, in the signature's order, and why the rest was not, a sentence each.

    Outputs that may be left out count as read, empty, where they are missing.
    """
    said = {name: value for name, value in reply.items() if name in signature.output_fields}
    odd = {name: value for name, value in said.items() if isinstance(value, Odd)}
    blank = {name: "" for name in odd if name in may_lack(signature)}
    good = {**read, **{name: value for name, value in said.items() if name not in odd}, **blank}
    ordered = {name: good[name] for name in signature.output_fields if name in good}
    return ordered, list(dict.fromkeys(value.why for name, value in odd.items() if name not in blank))
