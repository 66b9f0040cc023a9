"""One program, many libraries: which one it reads is chosen for each call.

    agent = with_libraries(program, {"math": math, "web": [web, house_style]})
    with use_library("math"):
        agent(question=...)

The choice is in DSPy's context, which threads of `dspy.Parallel` and asynchronous tasks inherit and which ends with
the block.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, TypeAlias

import dspy
from dspy.utils.exceptions import AdapterParseError

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.library.combine import combine
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.program.attach import attach
from tfgrpo_dspy.program.instructions import check_conditioned, detach
from tfgrpo_dspy.signatures import ChooseLibrary
from tfgrpo_dspy.text import neutralise, one_line, shorten

logger = logging.getLogger(__name__)

Libraries: TypeAlias = Mapping[str, ExperienceLibrary | Sequence[ExperienceLibrary]]
"""Library by name; several under one name are combined."""
Choose: TypeAlias = Callable[..., str | None]
"""Names the library for a call, by the inputs of the call; None for none."""

_KEY = "tfgrpo_library"
_SHOWN_EXPERIENCES = 3
_TASK_TOKENS = 2_000


class _Choice(NamedTuple):
    """What `use_library` was given."""

    library: str | ExperienceLibrary | None


def use_library(library: str | ExperienceLibrary | None) -> AbstractContextManager[None]:
    """A block in which programs made by `with_libraries` read this library, whatever they would choose themselves.

    Args:
        library: Its name, or a library that the program need not know; None for none.
    """
    context: AbstractContextManager[None] = dspy.context(**{_KEY: _Choice(library)})
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
        choose: Chooses where no `use_library` is in effect: a function of the program's inputs, or a `LibraryRouter`.
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
        chosen = _chosen_here()
        if chosen is None:
            chosen = _Choice(self.choose(**inputs) if self.choose is not None else self.default)
        return self._reading(chosen)(**inputs)

    async def aforward(self, **inputs: Any) -> Any:
        """As `forward`, without waiting in this thread."""
        chosen = _chosen_here()
        if chosen is None and self.choose is not None:
            ask = self.choose.acall if isinstance(self.choose, dspy.Module) else self.choose
            named = ask(**inputs)
            chosen = _Choice(await named if inspect.isawaitable(named) else named)
        return await self._reading(chosen or _Choice(self.default)).acall(**inputs)

    def _reading(self, choice: _Choice) -> dspy.Module:
        library = choice.library
        if library is None:
            return self.bare
        if isinstance(library, ExperienceLibrary):
            return attach(self.bare, library, conditioned=self.conditioned)
        if library not in self.programs:
            raise SettingsError(f"there is no library {library!r}; this program has {', '.join(self.programs)}")
        return self.programs[library]


class LibraryRouter(dspy.Module):
    """Asks an LM which library fits a task; for `with_libraries(..., choose=LibraryRouter(libraries))`.

    Args:
        libraries: The same libraries; the LM is shown their names and first experiences.
        default: Name that is taken where none fits or the reply cannot be read; None for no library.
    """

    def __init__(self, libraries: Libraries, *, default: str | None = None) -> None:
        super().__init__()
        self.default = default
        self.shown = "\n".join(_described(name, library) for name, library in libraries.items())
        names = Literal[(*libraries, "none")]  # type: ignore[valid-type]
        self.predict = dspy.Predict(ChooseLibrary.with_updated_fields("library", type_=names))

    def forward(self, **inputs: Any) -> str | None:
        """The name of the library for these inputs."""
        try:
            return self._named(self.predict(task=_task(inputs), libraries=self.shown))
        except AdapterParseError as error:
            return self._unread(error)

    async def aforward(self, **inputs: Any) -> str | None:
        """As `forward`, without waiting in this thread."""
        try:
            return self._named(await self.predict.acall(task=_task(inputs), libraries=self.shown))
        except AdapterParseError as error:
            return self._unread(error)

    def _named(self, reply: dspy.Prediction) -> str | None:
        return self.default if reply.library == "none" else str(reply.library)

    def _unread(self, error: AdapterParseError) -> str | None:
        instead = self.default or "no library"
        logger.warning(
            "the reply on which library fits could not be read, %s is used: %s", instead, one_line(str(error))
        )
        return self.default


def _chosen_here() -> _Choice | None:
    chosen: _Choice | None = dspy.settings.get(_KEY)
    return chosen


def _described(name: str, library: ExperienceLibrary | Sequence[ExperienceLibrary]) -> str:
    one = library if isinstance(library, ExperienceLibrary) else combine(library).library
    texts = "; ".join(one_line(e.text) for e in one.experiences[:_SHOWN_EXPERIENCES])
    return f"{one_line(name)}: {texts or '(empty)'}"


def _task(inputs: Mapping[str, Any]) -> str:
    return shorten(neutralise("\n".join(f"{name}: {value}" for name, value in inputs.items())), _TASK_TOKENS)
