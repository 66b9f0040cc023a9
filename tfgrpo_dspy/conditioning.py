"""Attach a library to a program and detach it: π(o | q) becomes π(o | q, E).

The library travels as one delimited section at the end of predictor instructions, which DSPy saves and loads like
any other instructions: a compiled program needs this package neither to load nor to run.
"""

from __future__ import annotations

from collections.abc import Sequence

import dspy

from tfgrpo_dspy.errors import ProgramError, SettingsError
from tfgrpo_dspy.experience import Experience, ExperienceLibrary, Provenance, id_number
from tfgrpo_dspy.rendering import (
    append_section,
    find_section,
    parse_lines,
    remove_section,
    render_lines,
    render_section,
)


def attach(
    program: dspy.Module, library: ExperienceLibrary, *, conditioned: Sequence[str] | None = None
) -> dspy.Module:
    """A copy of the program whose conditioned predictors read the library; the program itself is untouched.

    Idempotent: a library that is already attached is replaced. An empty library leaves the instructions bare.

    Args:
        program: Any DSPy program with at least one predictor.
        library: The library E.
        conditioned: Names of the predictors that read it, as in `program.named_predictors()`; None for
            `default_conditioned(program)`.

    Returns:
        The copy, with the library as its `experience_library`.

    Raises:
        ProgramError: The program has no predictor.
        SettingsError: `conditioned` names a predictor that does not exist.
    """
    names = check_conditioned(program, conditioned)
    policy = detach(program)
    for name, predictor in policy.named_predictors():
        if name in names:
            section = render_section(library.scoped_to(name))
            _instruct(predictor, append_section(predictor.signature.instructions, section))
    policy.experience_library = library
    return policy


def detach(program: dspy.Module) -> dspy.Module:
    """A copy of the program without any library: its instructions are exactly what they were before `attach`."""
    bare = program.deepcopy()
    for _, predictor in bare.named_predictors():
        if find_section(predictor.signature.instructions):
            _instruct(predictor, remove_section(predictor.signature.instructions))
    if hasattr(bare, "experience_library"):
        del bare.experience_library
    return bare


def library_of(program: dspy.Module) -> ExperienceLibrary:
    """The library a program reads; an empty one if it reads none.

    A program that was loaded from a file carries the text of its library only: ids, texts and scopes are then read
    from its instructions, and provenance starts anew.
    """
    by_predictor = {
        name: parse_lines(find_section(predictor.signature.instructions))
        for name, predictor in program.named_predictors()
    }
    read = sorted({entry for entries in by_predictor.values() for entry in entries}, key=lambda e: id_number(e[0]))
    known = getattr(program, "experience_library", None)
    if isinstance(known, ExperienceLibrary) and set(parse_lines(render_lines(known))) == set(read):
        return known
    conditioned = {name for name, entries in by_predictor.items() if entries}
    return ExperienceLibrary(
        tuple(
            Experience(id, text, False, _scope(id, by_predictor, conditioned), Provenance("import"))
            for id, text in read
        ),
        next_id=id_number(read[-1][0]) + 1 if read else 0,
    )


def default_conditioned(program: dspy.Module) -> tuple[str, ...]:
    """The predictors that read a library unless told otherwise: all, but of a `dspy.ReAct` only the acting one.

    The extractor of a ReAct agent copies out what the actor found; advice on how to act would only distract it.
    """
    names = [name for name, _ in program.named_predictors()]
    agents = [name for name, module in program.named_sub_modules() if isinstance(module, dspy.ReAct)]
    extractors = tuple(f"{name.removeprefix('self').removeprefix('.')}.extract.".lstrip(".") for name in agents)
    return tuple(name for name in names if not name.startswith(extractors)) if extractors else tuple(names)


def check_conditioned(program: dspy.Module, conditioned: Sequence[str] | None) -> tuple[str, ...]:
    """The names of the predictors that will read a library; raises as `attach` does."""
    if not isinstance(program, dspy.Module):
        raise ProgramError(f"the program must be a dspy.Module, got {type(program).__name__}")
    names = [name for name, _ in program.named_predictors()]
    if not names:
        raise ProgramError(
            f"{type(program).__name__} has no predictor that could read a library; "
            "a program needs at least one dspy.Predict among its attributes"
        )
    unknown = [name for name in conditioned or () if name not in names]
    if unknown:
        raise SettingsError(f"conditioned names {unknown[0]!r}, but the program's predictors are: {', '.join(names)}")
    return default_conditioned(program) if conditioned is None else tuple(conditioned)


def _instruct(predictor: dspy.Predict, instructions: str) -> None:
    # A new signature class: the old one is shared with the program this was copied from.
    predictor.signature = predictor.signature.with_instructions(instructions)


def _scope(id: str, by_predictor: dict[str, list[tuple[str, str]]], conditioned: set[str]) -> str | None:
    readers = [name for name in conditioned if id in dict(by_predictor[name])]
    return readers[0] if len(readers) == 1 < len(conditioned) else None
