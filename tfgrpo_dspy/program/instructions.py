"""Attach a library to a program and detach it: π(o | q) becomes π(o | q, E).

The library travels as one delimited section at the end of predictor instructions, which DSPy saves and loads like
any other instructions: a compiled program needs this package neither to load nor to run.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import dspy

from tfgrpo_dspy.errors import ProgramError, SettingsError
from tfgrpo_dspy.library.experience import Experience, Provenance, id_number
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.section import (
    append_section,
    find_section,
    parse_lines,
    remove_section,
    render_lines,
    render_section,
)

logger = logging.getLogger(__name__)

Entries: TypeAlias = list[tuple[str, str]]
"""`(id, text)` pairs, as `parse_lines` reads them."""


def detach(program: dspy.Module) -> dspy.Module:
    """A copy of the program without any library: its instructions are exactly what they were before `attach`."""
    if callable(without_library := getattr(program, "without_library", None)):
        bare: dspy.Module = without_library()
        return bare
    bare = copy_program(program)
    for _, predictor in bare.named_predictors():
        if find_section(predictor.signature.instructions):
            instruct(predictor, remove_section(predictor.signature.instructions))
    for _, module in bare.named_sub_modules():
        module.__dict__.pop("experience_library", None)
    return bare


def withhold(program: dspy.Module, instead: Mapping[str, str | None]) -> dspy.Module:
    """A copy of a program with a library attached that does not read the experiences of these ids.

    Args:
        program: As `attach` or `Retrieving` makes it.
        instead: What it reads instead of each, by id; None for nothing.
    """
    if callable(withholding := getattr(program, "withholding", None)):
        retrieving: dspy.Module = withholding(instead)
        return retrieving
    policy = copy_program(program)
    library = library_of(program)
    read = replace(library, experiences=read_instead(library, instead))
    for name, predictor in policy.named_predictors():
        if find_section(predictor.signature.instructions):
            section = render_section(read.scoped_to(name))
            instruct(predictor, append_section(predictor.signature.instructions, section))
    policy.experience_library = read
    return policy


def read_instead(experiences: Iterable[Experience], instead: Mapping[str, str | None]) -> tuple[Experience, ...]:
    """The experiences, with other texts or nothing in place of those of these ids."""
    texts = ((e, instead.get(e.id, e.text)) for e in experiences)
    return tuple(e if text == e.text else replace(e, text=text) for e, text in texts if text is not None)


def library_of(program: dspy.Module) -> ExperienceLibrary:
    """The library a program reads; an empty one if it reads none.

    A program that was loaded from a file carries the text of its library only: ids, texts and scopes are then read
    from its instructions, and provenance starts anew. An entry that only one of several predictors reads is taken to
    be scoped to it.

    Raises:
        ProgramError: Two predictors read different texts under one id.
    """
    read = {
        name: parse_lines(find_section(predictor.signature.instructions))
        for name, predictor in program.named_predictors()
    }
    known = getattr(program, "experience_library", None)
    if isinstance(known, ExperienceLibrary) and (hasattr(program, "without_library") or _is_read(known, read)):
        return known
    return _library_read(program, read)


def default_conditioned(program: dspy.Module) -> tuple[str, ...]:
    """The predictors that read a library unless told otherwise: all, but of `dspy.ReAct` and `CodeAct` the acting one.

    The extractor of such an agent copies out what the actor found; advice on how to act would only distract it.
    """
    agents = [module for _, module in program.named_sub_modules() if isinstance(module, dspy.ReAct)]
    copying = [vars(agent).get("extract") or vars(agent).get("extractor") for agent in agents]
    extractors = {id(predictor) for module in copying if module for _, predictor in module.named_predictors()}
    return tuple(name for name, predictor in program.named_predictors() if id(predictor) not in extractors)


def check_program(program: object) -> None:
    """Raises `ProgramError` for what is none."""
    if not isinstance(program, dspy.Module):
        got = f"the class {program.__name__}: call it" if isinstance(program, type) else type(program).__name__
        raise ProgramError(f"the program must be a dspy.Module instance, got {got}")


def check_conditioned(program: dspy.Module, conditioned: Sequence[str] | None) -> tuple[str, ...]:
    """The names of the predictors that will read a library; raises as `attach` does."""
    check_program(program)
    if hasattr(program, "without_library"):
        program = program.program  # a retrieving program is known by the names of the one it calls
    names = [name for name, _ in program.named_predictors()]
    if not names:
        raise ProgramError(
            f"{type(program).__name__} has no predictor that could read a library; a program needs at least one "
            "dspy.Predict among its attributes, or in a list or dictionary that is one: DSPy lists none that is deeper "
            "in, or made in each call"
        )
    unknown = [name for name in conditioned or () if name not in names]
    if unknown:
        raise SettingsError(f"conditioned names {unknown[0]!r}, but the program's predictors are: {', '.join(names)}")
    return default_conditioned(program) if conditioned is None else tuple(conditioned)


def copy_program(program: dspy.Module) -> dspy.Module:
    """A deep copy that shares the LMs of predictors: a copied LM would open connections and copy its history."""
    lms = {id(predictor.lm): predictor.lm for predictor in program.predictors() if predictor.lm is not None}
    try:
        return copy.deepcopy(program, dict(lms))
    except Exception:  # noqa: BLE001 - whatever a part of the program (a tool's client, say) raises at being copied
        # Modules and containers are copied and all else is shared; DSPy's own `deepcopy` would share a list of modules.
        return copy.deepcopy(program, {id(leaf): leaf for leaf in _leaves(program, set())})


def with_lms(program: dspy.Module, change: Callable[[dspy.BaseLM], dspy.BaseLM]) -> dspy.Module:
    """The program; a copy, if predictors have LMs of their own, which has others in their place."""
    if all(predictor.lm is None for predictor in program.predictors()):
        return program
    copied = copy_program(program)
    for predictor in copied.predictors():
        if predictor.lm is not None:
            predictor.lm = change(predictor.lm)
    return copied


def _leaves(value: object, seen: set[int]) -> Iterator[object]:
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, dspy.Module):
        parts: Iterable[object] = vars(value).values()
    elif isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, list | tuple):
        parts = value
    else:
        yield value
        return
    for part in parts:
        yield from _leaves(part, seen)


def instruct(predictor: dspy.Predict, instructions: str) -> None:
    """Give a predictor other instructions."""
    # A new signature class: the old one is shared with the program this was copied from.
    signature = predictor.signature.with_instructions(instructions)
    signature.instructions = f"\n{instructions}"  # else DSPy would strip a first line's indent
    predictor.signature = signature


def _is_read(library: ExperienceLibrary, read: Mapping[str, Entries]) -> bool:
    """Whether what the predictors read is this library, as `attach` shows it."""
    shown = {name: parse_lines(render_lines(library.scoped_to(name))) for name, entries in read.items() if entries}
    return all(shown[name] == read[name] for name in shown) and (bool(shown) or not library.experiences)


def _library_read(program: dspy.Module, read: Mapping[str, Entries]) -> ExperienceLibrary:
    readers: dict[tuple[str, str], list[str]] = {}
    for name, entries in read.items():
        for entry in entries:
            readers.setdefault(entry, []).append(name)
    ordered = sorted(readers, key=lambda entry: id_number(entry[0]))
    alone = len(default_conditioned(program)) == 1
    experiences = tuple(
        Experience(id, text, False, None if alone or len(names) > 1 else names[0], Provenance("import"))
        for (id, text), names in ((entry, readers[entry]) for entry in ordered)
    )
    try:
        return ExperienceLibrary(experiences, next_id=id_number(ordered[-1][0]) + 1 if ordered else 0)
    except ValueError as error:
        raise ProgramError(
            f"the instructions of {type(program).__name__} hold no single library: {error}; attach one with "
            "attach(program, library)"
        ) from error
