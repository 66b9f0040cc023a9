"""Giving a program a library to read."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import dspy

from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.retrieval import Retrieval
from tfgrpo_dspy.library.section import (
    append_section,
    render_section,
)
from tfgrpo_dspy.program.instructions import check_conditioned, detach, instruct

logger = logging.getLogger(__name__)


def attach(
    program: dspy.Module,
    library: ExperienceLibrary | Sequence[ExperienceLibrary],
    *,
    conditioned: Sequence[str] | None = None,
    retrieval: Retrieval | None = None,
    max_tokens: int | None = None,
) -> dspy.Module:
    """A copy of the program whose conditioned predictors read the library; the program itself is untouched.

    Idempotent: a library that is already attached is replaced. An empty library leaves the instructions bare.

    Args:
        program: Any DSPy program with at least one predictor.
        library: The library E, or several in order of precedence, which are combined (see `combine`).
        conditioned: Names of the predictors that read it, as in `program.named_predictors()`; None for
            `default_conditioned(program)`.
        retrieval: How the experiences that a query reads are chosen, e.g. `BM25(8)`; None reads all of them.
        max_tokens: Estimated tokens that the library may take, >= 1; what is beyond is left out whole, with a warning
            that names it. None for no bound.

    Returns:
        The copy, with the library as its `experience_library`; with `retrieval` a `Retrieving` around it.

    Raises:
        ProgramError: The program has no predictor.
        SettingsError: `conditioned` names a predictor that does not exist, there is no library, or `max_tokens` < 1.
    """
    names = check_conditioned(program, conditioned)
    if not isinstance(library, ExperienceLibrary) or max_tokens is not None:
        from tfgrpo_dspy.library.combine import combine

        made = combine([library] if isinstance(library, ExperienceLibrary) else library, max_tokens=max_tokens)
        library = made.library
        if made.left_out:
            logger.warning("left out of the library: %s", ", ".join(map(str, made.left_out)))
    policy = detach(program)
    if retrieval is not None:
        from tfgrpo_dspy.program.retrieving import Retrieving

        return Retrieving(policy, library, retrieval, conditioned=names)
    for name, predictor in policy.named_predictors():
        if name in names:
            section = render_section(library.scoped_to(name))
            instruct(predictor, append_section(predictor.signature.instructions, section))
    policy.experience_library = library
    return policy
