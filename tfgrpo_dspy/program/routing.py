"""One program, many libraries: which one it reads is chosen for each call.

    agent = with_libraries(program, {"math": math, "web": [web, house_style]})
    with use_library("math"):
        agent(question=...)

The choice is in DSPy's context, which threads of `dspy.Parallel` and asynchronous tasks inherit and which ends with
the block.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import dspy

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.program.attach import attach
from tfgrpo_dspy.program.instructions import check_conditioned, detach

Libraries: TypeAlias = Mapping[str, ExperienceLibrary | Sequence[ExperienceLibrary]]
"""Library by name; several under one name are combined."""
Choose: TypeAlias = Callable[..., str | None]
"""Names the library for a call, by the inputs of the call; None for none."""

_KEY = "tfgrpo_library"
_OPEN: Any = object()
"""No `use_library` is in effect."""


def use_library(library: str | ExperienceLibrary | None) -> AbstractContextManager[None]:
    """A block in which programs made by `with_libraries` read this library, whatever they would choose themselves.

    Args:
        library: Its name, or a library that the program need not know; None for none.
    """
    context: AbstractContextManager[None] = dspy.context(**{_KEY: library})
    return context


def with_libraries(
    program: dspy.Module,
    libraries: Libraries,
    *,
    choose: Choose | None = None,
    default: str | None = None,
    conditioned: Sequence[str] | None = None,
    max_tokens: int | None = None,
) -> Pluggable:
    """A program that reads one of several libraries in each call; the given program is untouched.

    Args:
        program: Any DSPy program with at least one predictor; a library that it reads is left behind.
        libraries: The libraries by name.
        choose: Chooses where no `use_library` is in effect: a function of the program's inputs, or a
            `dspy.Module` that takes them (one of yours that asks an LM, say).
        default: Name of the library to read where nothing else chooses; None for none.
        conditioned: Names of the predictors that read it, as for `attach`.
        max_tokens: Estimated tokens that each library may take, as for `attach`.

    Raises:
        ProgramError: The program has no predictor.
        SettingsError: There are no libraries, or `default` is none of them; or as for `attach`.
    """
    if not libraries:
        raise SettingsError('there is no library to choose from; give at least one, e.g. {"math": library}')
    if default is not None and default not in libraries:
        raise SettingsError(f"default is {default!r}, but the libraries are {', '.join(libraries)}")
    names = check_conditioned(program, conditioned)
    bare = detach(program)
    attached = {
        name: attach(bare, library, conditioned=names, max_tokens=max_tokens) for name, library in libraries.items()
    }
    return Pluggable(bare, attached, choose, default, names)


class Pluggable(dspy.Module):
    """What `with_libraries` makes. It saves and loads like any program, into one made with the same names.

    Its predictors are those of the program without a library (`bare.`) and with each (`programs['math'].`). To learn
    a library, compile the program itself.
    """

    def __init__(
        self,
        bare: dspy.Module,
        programs: Mapping[str, dspy.Module],
        choose: Choose | None,
        default: str | None,
        conditioned: Sequence[str],
    ) -> None:
        super().__init__()
        self.bare, self.programs = bare, dict(programs)
        self.choose, self.default, self.conditioned = choose, default, tuple(conditioned)

    def forward(self, **inputs: Any) -> Any:
        """Call the program with the library that is chosen for this call."""
        chosen = dspy.settings.get(_KEY, _OPEN)
        if chosen is _OPEN:
            chosen = self.choose(**inputs) if self.choose is not None else self.default
        return self._reading(chosen)(**inputs)

    async def aforward(self, **inputs: Any) -> Any:
        """As `forward`, without waiting in this thread."""
        chosen = dspy.settings.get(_KEY, _OPEN)
        if chosen is _OPEN and self.choose is not None:
            ask = self.choose.acall if isinstance(self.choose, dspy.Module) else self.choose
            named = ask(**inputs)
            chosen = await named if inspect.isawaitable(named) else named
        return await self._reading(self.default if chosen is _OPEN else chosen).acall(**inputs)

    def _reading(self, library: str | ExperienceLibrary | None) -> dspy.Module:
        if library is None:
            return self.bare
        if isinstance(library, ExperienceLibrary):
            return attach(self.bare, library, conditioned=self.conditioned)
        if library not in self.programs:
            raise SettingsError(f"there is no library {library!r}; this program has {', '.join(self.programs)}")
        return self.programs[library]
