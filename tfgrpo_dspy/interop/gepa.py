"""For GEPA, or any optimizer with an instruction proposer, on a program that has a library: the library stays apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from tfgrpo_dspy.library.section import append_section, find_section, remove_section

Proposer: TypeAlias = Callable[[dict[str, str], Mapping[str, Sequence[Mapping[str, Any]]], list[str]], dict[str, str]]
"""Instructions by predictor, examples with feedback by predictor, and the predictors to write new instructions for."""


class KeepLibrary:
    """Lets GEPA rewrite the instructions around a library, and never the library.

    GEPA takes a predictor's instructions as one text, library included: what it writes anew may shorten, mix up or
    leave out the experiences, and `detach` can no longer tell them from the rest. With this, its proposer is shown the
    instructions without the library, and the library is put back, letter for letter, after what it wrote.

    Examples:
        >>> chained = dspy.GEPA(metric, instruction_proposer=KeepLibrary(), auto="light")  # doctest: +SKIP
        >>> chained.compile(better, trainset=trainset, valset=valset)  # doctest: +SKIP

    Args:
        proposer: Writes the instructions; None takes GEPA's own.
    """

    def __init__(self, proposer: Proposer | None = None) -> None:
        if proposer is None:
            from dspy.teleprompt.gepa import InstructionProposer

            proposer = InstructionProposer()
        self.proposer = proposer

    def __call__(
        self,
        candidate: dict[str, str],
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        """New instructions by predictor, each with the library that the candidate's had; called by GEPA."""
        bare = {name: remove_section(text) for name, text in candidate.items()}
        written = self.proposer(bare, reflective_dataset, components_to_update)
        return {
            name: append_section(text.rstrip(), find_section(candidate.get(name, ""))) for name, text in written.items()
        }
