"""An adapter that writes prompts as another one does, and reads replies leniently."""

from __future__ import annotations

import copy

import dspy

from tfgrpo_dspy.steps.reading.values import read_reply

_KNOWN = frozenset({dspy.ChatAdapter, dspy.JSONAdapter, dspy.XMLAdapter})
"""Adapters whose replies can be read without asking another LM."""


def reading(adapter: dspy.Adapter | None) -> dspy.Adapter:
    """The adapter, with replies read field by field; what cannot be read is an `Odd` under its name.

    An adapter of another kind (one that asks a second LM to read the reply, say) reads its replies itself.
    """
    kept = adapter if adapter is not None else dspy.ChatAdapter()
    if type(kept) not in _KNOWN:
        return kept
    reader = copy.copy(kept)
    reader.parse = lambda signature, completion: read_reply(
        completion, {name: field.annotation for name, field in signature.output_fields.items()}
    )
    reader.use_json_adapter_fallback = False  # it would ask all of it again
    return reader
