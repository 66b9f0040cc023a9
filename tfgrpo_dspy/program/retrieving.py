"""A program that reads, for each query, the experiences that fit it: pi(o | q, retrieve(q, E))."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

import dspy

from tfgrpo_dspy.errors import ProgramError
from tfgrpo_dspy.library.experience import Experience
from tfgrpo_dspy.library.file import dump_library, parse_library
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.retrieval import BM25, Cues, Retrieval, Shelf, Worth, check_retrieval, restored, state_of
from tfgrpo_dspy.library.section import append_section, render_section
from tfgrpo_dspy.lm.undocumented import Saved
from tfgrpo_dspy.program.instructions import check_conditioned, copy_program, detach, read_instead
from tfgrpo_dspy.program.values import texts_of

NEEDS = "tfgrpo_dspy.Retrieving(program).load(path): what is read is retrieved for each query, which needs this package"


class Memory(Saved):
    """The library of a retrieving program, and how it is retrieved: what DSPy saves and loads beside the predictors.

    See `Retrieving` for what it is made of.
    """

    def __init__(
        self,
        library: ExperienceLibrary,
        retrieval: Retrieval | None,
        conditioned: Sequence[str],
        cues: Cues,
        worth: Worth,
    ) -> None:
        check_retrieval(retrieval)
        self.given, self.conditioned = retrieval, tuple(conditioned)
        self.shelf = Shelf(library, retrieval if retrieval is not None else BM25(), cues, worth)

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """JSON values: the library as in its own file, and the way of retrieving."""
        return {
            "needs": NEEDS,
            "retrieval": state_of(self.shelf.retrieval),
            "conditioned": list(self.conditioned),
            "cues": {id: list(cues) for id, cues in self.shelf.cues.items()},
            "worth": dict(self.shelf.worth),
            "library": json.loads(dump_library(self.shelf.library)),
        }

    def load_state(self, state: Mapping[str, Any], *, allow_unsafe_lm_state: bool = False) -> None:
        """Take up what `dump_state` gave.

        Raises:
            LibraryFormatError: The library is damaged.
            SettingsError: The way of retrieving has to be given again.
            MissingExtraError: The way of retrieving needs a package that is not installed.
        """
        cues = {id: tuple(cues) for id, cues in state["cues"].items()}
        library, retrieval = parse_library(json.dumps(state["library"])), restored(state["retrieval"], self.given)
        check_retrieval(retrieval)
        self.shelf = Shelf(library, retrieval, cues, dict(state["worth"]))
        self.conditioned = tuple(state["conditioned"])

    def __deepcopy__(self, memo: object) -> Memory:
        return copy.copy(self)  # of the library nothing ever changes

    def reset(self) -> None:
        """Nothing to do: DSPy resets demonstrations with it."""


class Retrieving(dspy.Module):
    """A program whose conditioned predictors read, for each query, pinned experiences and those that fit the query.

    The query is all inputs of the program as text, so that an agent reads the same in all its turns. In a prompt the
    program's own instructions come first, then pinned experiences, then the chosen ones, in library order: what does
    not depend on the query stays a prefix that providers cache.

    `save` and `load` work as for any program, as long as the way of retrieving is one that a file can hold. Without
    this package such a program cannot be loaded; give `attach` no `retrieval` for one that can.

    Args:
        program: Any DSPy program; it is copied, without any library of its own.
        library: The library E; None for an empty one, to load another.
        retrieval: `BM25(k)`, `Embedding(model, k)`, or a function of query and library that returns ids.
        conditioned: Names of the predictors that read experiences; None for all (of a ReAct agent the acting one).
        cues: Tasks by which experiences are found, besides their texts; a compiled program has those that they were
            learned from. Saved with the program.
        worth: What experiences are worth, in [0, 1], which their likeness to a query is multiplied by; a program
            compiled with `trials` has what was measured. Saved with the program.

    Raises:
        ProgramError, SettingsError: As `attach`.
    """

    def __init__(
        self,
        program: dspy.Module,
        library: ExperienceLibrary | None = None,
        retrieval: Retrieval | None = None,
        *,
        conditioned: Sequence[str] | None = None,
        cues: Cues | None = None,
        worth: Worth | None = None,
    ) -> None:
        super().__init__()
        names = check_conditioned(program, conditioned)
        self.program = detach(program)
        held = ExperienceLibrary() if library is None else library
        self.memory = Memory(held, retrieval, names, cues or {}, worth or {})
        self._instead: Mapping[str, str | None] = {}

    @property
    def experience_library(self) -> ExperienceLibrary:
        """All of E."""
        return self.memory.shelf.library

    @property
    def told(self) -> str:
        """All that decides what its predictors are told, besides their own instructions."""
        return f"{self.memory.conditioned} {self.memory.shelf.told}"

    def without_library(self) -> dspy.Module:
        """A copy of the program that reads nothing; what `detach` returns."""
        return copy_program(self.program)

    def withholding(self, instead: Mapping[str, str | None]) -> Retrieving:
        """The program, reading something else or nothing where it finds an experience of these ids."""
        made = copy.copy(self)
        made._instead = instead
        return made

    def read_for(self, **inputs: Any) -> tuple[Experience, ...]:
        """The experiences that are read for these inputs, in the order of the prompt."""
        return read_instead(self.memory.shelf.select(query_of(inputs)), self._instead)

    def forward(self, **inputs: Any) -> Any:
        """Call the program."""
        with self._reading(inputs):
            if not hasattr(type(self.program), "forward"):
                return asyncio.run(self.program.acall(**inputs))
            return self.program(**inputs)

    async def aforward(self, **inputs: Any) -> Any:
        """Call the program."""
        with self._reading(inputs):
            return await self.program.acall(**inputs)

    def load_state(self, state: dict[str, Any], **options: Any) -> None:
        """Take up a saved state.

        Raises:
            ProgramError: It is not that of a retrieving program.
        """
        if "memory" not in state:
            raise ProgramError(
                "this file holds a program that reads its whole library: load it into the program itself, without "
                "Retrieving"
            )
        super().load_state(state, **options)

    @contextmanager
    def _reading(self, inputs: Mapping[str, Any]) -> Iterator[None]:
        read = self.read_for(**inputs)
        names = {id(p): name for name, p in self.program.named_predictors() if name in self.memory.conditioned}
        with dspy.context(adapter=_reading(dspy.settings.adapter or dspy.ChatAdapter(), names, read)):
            yield


def query_of(inputs: Mapping[str, Any]) -> str:
    """The inputs of a program as a query."""
    return "\n".join(texts_of(inputs.values()))


class _Reading:
    """Shows the predictors their experiences on the way to the adapter that this is mixed into."""

    _names: Mapping[int, str]
    _read: tuple[Experience, ...]

    def __init_subclass__(cls) -> None:
        """Nothing: an adapter's own would tell callbacks of each `format` and `parse` twice."""

    def __call__(self, lm: Any, lm_kwargs: Any, signature: Any, demos: Any, inputs: Any) -> Any:
        return cast(Any, super()).__call__(lm, lm_kwargs, self.shown(signature), demos, inputs)

    async def acall(self, lm: Any, lm_kwargs: Any, signature: Any, demos: Any, inputs: Any) -> Any:
        return await cast(Any, super()).acall(lm, lm_kwargs, self.shown(signature), demos, inputs)

    def shown(self, signature: type[dspy.Signature]) -> type[dspy.Signature]:
        """The signature of the predictor that is called here, with what it reads."""
        caller = (dspy.settings.caller_modules or [None])[-1]
        name = self._names.get(id(caller))
        if name is None:
            return signature
        section = render_section([e for e in self._read if e.scope in (None, name)])
        return _with_section(cast(Hashable, signature), section)


def _reading(adapter: dspy.Adapter, names: Mapping[int, str], read: tuple[Experience, ...]) -> dspy.Adapter:
    """The adapter, of its own class and name as DSPy looks at both, that shows predictors what they read."""
    made = copy.copy(adapter)
    made.__class__ = _reading_class(cast(Hashable, type(adapter)))
    made._names, made._read = names, read
    return made


@lru_cache(maxsize=32)
def _reading_class(kind: type[dspy.Adapter]) -> type[dspy.Adapter]:
    bases = kind.__bases__ if issubclass(kind, _Reading) else (_Reading, kind)  # one that retrieves within another
    return type(kind.__name__, bases, {"__module__": __name__})


@lru_cache(maxsize=512)  # pydantic takes milliseconds to make a class, and the rollouts of a group read the same
def _with_section(signature: type[dspy.Signature], section: str) -> type[dspy.Signature]:
    shown: type[dspy.Signature] = signature.with_instructions(append_section(signature.instructions, section))
    return shown


def holds_memory(state: Mapping[str, Any]) -> bool:
    """Whether a saved state is that of a retrieving program."""
    memory = state.get("memory")
    return isinstance(memory, dict) and memory.get("needs") == NEEDS


def library_in(state: Mapping[str, Any]) -> ExperienceLibrary:
    """The library of a saved retrieving program.

    Raises:
        LibraryFormatError: It is damaged.
    """
    return parse_library(json.dumps(state["memory"]["library"]))


def with_library_in(state: Mapping[str, Any], library: ExperienceLibrary) -> dict[str, Any]:
    """The saved state with another library: experiences keep the tasks that find them, texts their worth."""
    memory, before = state["memory"], {e.id: e.text for e in library_in(state)}
    cues = {id: cues for id, cues in memory["cues"].items() if id in library}
    worth = {id: w for id, w in memory["worth"].items() if id in library and library[id].text == before.get(id)}
    held = {"cues": cues, "worth": worth, "library": json.loads(dump_library(library))}
    return {**state, "memory": {**memory, **held}}
