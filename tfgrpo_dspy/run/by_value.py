"""Any Python value as a text that is the same in every process, and another once the value would act otherwise.

Code is told by what it compiles to, with the data and the functions of the user's own that it refers to; data by
content; what was installed by name, as its version is told apart. Of what cannot be told, only the type is.
"""

from __future__ import annotations

import dis
import functools
import inspect
import json
import re
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

import dspy

from tfgrpo_dspy.lm.draws import endpoint_of
from tfgrpo_dspy.text import fingerprint

_PLAIN = (bool, int, float, complex, str, type(None), type(Ellipsis), range, slice, re.Pattern, Decimal, Fraction, UUID)
_MOMENTS = (date, time, timedelta, tzinfo)
_SECRET = re.compile(r"key|token|secret|password|credential|auth|header|api_base|base_url", re.IGNORECASE)
_COUNTS = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens"})
"""Request options with `token` in their name that are no secrets."""
_OF_THE_PROCESS = frozenset({"cache", "callbacks", "history", "num_retries", "timeout"})
"""Options of an LM that do not change what it answers."""
_MUTATORS = frozenset("add append clear extend insert pop popleft put remove setdefault update".split())
_HANDLES = (
    *("_thread.", "threading.", "logging.", "concurrent.", "weakref", "asyncio.", "queue."),
    *("_contextvars.ContextVar", "_abc.", "builtins.object", "dataclasses._"),
)
"""Modules and types whose objects decide nothing."""


class ByValue:
    """Tells values; one for all that belongs to one run."""

    def __init__(self) -> None:
        self.untold: dict[str, None] = {}
        """Where something is that cannot be told, and what."""
        self._open: set[int] = set()
        self._known: dict[int, list[str]] = {}
        self._kept: list[object] = []
        self._where: list[str] = []

    def __call__(self, value: Any, where: str) -> str:
        """The value as a short text: what it is called, and a digest of all that it is made of."""
        self._where = [where]
        name = getattr(value, "__qualname__", None) or getattr(type(value), "__name__", "")
        return f"{name} {fingerprint(json.dumps(self._tell(value), ensure_ascii=True))}"

    def _tell(self, value: Any) -> Any:
        if isinstance(value, _PLAIN) and not isinstance(value, Enum):
            return repr(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return ["bytes", fingerprint(bytes(value).hex())]
        if id(value) in self._open:
            return ["itself"]
        if id(value) in self._known:
            return self._known[id(value)]
        self._open.add(id(value))
        try:
            told = next((tell for kind, tell in _KINDS if isinstance(value, kind)), ByValue._object)(self, value)
        finally:
            self._open.discard(id(value))
        if isinstance(value, types.FunctionType | type):  # which others refer to again and again
            self._kept.append(value)  # so that nothing else gets its address
            told = self._known[id(value)] = [fingerprint(json.dumps(told))]
        return told

    def _within(self, name: str, value: Any) -> Any:
        self._where.append(name)
        try:
            return self._tell(value)
        finally:
            self._where.pop()

    def _named(self, values: Mapping[Any, Any]) -> Any:
        return [[self._tell(name), self._within(str(name), value)] for name, value in values.items()]

    def _each(self, values: Iterable[Any]) -> Any:
        return [self._within(str(position), value) for position, value in enumerate(values)]

    # Kinds of values.

    def _example(self, value: Any) -> Any:
        try:
            inputs = sorted(value.inputs().keys())
        except ValueError:  # it has none set, as a demonstration
            inputs = []
        return ["example", inputs, sorted(self._named(dict(value.items())), key=repr)]

    def _lm(self, value: Any) -> Any:
        engine = getattr(value, "engine", "")
        return ["lm", lm_text(value), self._tell(type(value)), "" if isinstance(engine, str) else self._tell(engine)]

    def _module(self, value: Any) -> Any:
        """A DSPy program: its code, and what it holds."""
        held = {name: one for name, one in sorted(vars(value).items()) if name not in _OF_A_MODULE}
        return ["program", self._tell(type(value)), self._named(held)]

    def _predictor(self, value: Any) -> Any:
        held = {name: getattr(value, name, None) for name in ("signature", "demos", "config", "lm")}
        return ["predictor", self._tell(type(value)), self._named(held)]

    def _signature(self, value: Any) -> Any:
        kinds = {name: str(field.annotation) for name, field in value.fields.items()}
        return ["signature", json.dumps([value.dump_state(), kinds], sort_keys=True, default=str)]

    def _function(self, value: types.FunctionType) -> Any:
        code = value.__code__
        bound = zip(code.co_freevars, value.__closure__ or (), strict=True)
        known = {name: cell.cell_contents for name, cell in bound if _is_filled(cell)}
        if not is_own(value.__module__, value):  # it may wrap one that is
            wrapped = {
                name: one for name, one in known.items() if isinstance(one, types.FunctionType | types.MethodType)
            }
            return ["installed", value.__module__, value.__qualname__, self._named(wrapped)]
        mutates = bool(_MUTATORS & set(_names(code))) or "STORE_SUBSCR" in _operations(code)
        written = _written(code)
        for name in _names(code):
            if name in value.__globals__ and name not in written:
                known.setdefault(name, value.__globals__[name])
        return [
            "function",
            _told_code(code),
            self._each(value.__defaults__ or ()),
            self._named(value.__kwdefaults__ or {}),
            [[name, self._referred(name, one, code, mutates)] for name, one in sorted(known.items())],
        ]

    def _referred(self, name: str, value: Any, code: types.CodeType, mutates: bool) -> Any:
        """What a function refers to by name; a container that it may write into is scratch, not part of what it is."""
        if mutates and isinstance(value, list | dict | set):
            return type(value).__name__
        if isinstance(value, types.ModuleType):
            if not is_own(value.__name__, value):
                return ["module", value.__name__]
            used = {attribute: vars(value)[attribute] for attribute in _names(code) if attribute in vars(value)}
            return ["module", self._named(used)]
        return self._within(name, value)

    def _builtin(self, value: Any) -> Any:
        owner, name = getattr(value, "__self__", None), getattr(value, "__qualname__", repr(type(value)))
        is_bound = not isinstance(owner, types.ModuleType | type) and value.__name__ not in _MUTATORS
        return ["builtin", name, self._within("self", owner) if is_bound else type(owner).__name__]

    def _class(self, value: type) -> Any:
        if not is_own(value.__module__, value):
            return ["installed", value.__module__, value.__qualname__]
        members = {
            name: getattr(member, "__func__", member)
            for name, member in vars(value).items()
            if not (name.startswith("__") and not callable(member)) and name not in {"__weakref__", "__dict__"}
        }
        bases = [self._tell(base) for base in value.__bases__ if base is not object]
        return ["class", value.__qualname__, bases, self._named(dict(sorted(members.items())))]

    def _object(self, value: Any) -> Any:
        kind = type(value)
        named = f"{kind.__module__}.{kind.__qualname__}"
        if named.startswith(_HANDLES):
            return ["handle", named]
        for content in (_array, _frame, _picture, _value):
            if (told := content(value)) is not None:
                return [named, *told]
        if is_dataclass(value):
            given = {f.name: getattr(value, f.name, None) for f in fields(value) if f.init}
            return ["data", self._tell(kind), self._named(given)]
        if hasattr(kind, "model_fields"):
            return ["data", self._tell(kind), self._named({**value.__dict__, **(value.__pydantic_extra__ or {})})]
        if is_own(kind.__module__, kind):
            return ["object", self._tell(kind), self._named(dict(sorted(_lasting(value).items())))]
        if kind.__module__.partition(".")[0] in {"dspy", "tfgrpo_dspy"}:
            held = {name: repr(one) for name, one in sorted(_held(value)) if isinstance(one, _PLAIN)}
            return ["object", named, held]
        self.untold[f"{'.'.join(self._where)} ({named})"] = None
        return ["untold", named]


_OF_A_MODULE = frozenset({"history", "callbacks", "detailed_results", "_compiled", "_experience_library"})

_KINDS: tuple[tuple[Any, Callable[[ByValue, Any], Any]], ...] = (
    (Enum, lambda _, value: ["enum", type(value).__qualname__, value.name]),
    (PurePath, lambda _, value: ["path", str(value)]),
    (_MOMENTS, lambda _, value: ["moment", repr(value)]),
    (dspy.BaseLM, ByValue._lm),
    (dspy.Tool, lambda by, v: ["tool", v.name, v.desc, repr(v.args), by._within(str(v.name), v.func)]),
    (dspy.Predict, ByValue._predictor),
    (dspy.Module, ByValue._module),
    (type(dspy.Signature), ByValue._signature),
    (dspy.Example, ByValue._example),
    (functools.partial, lambda by, v: ["partial", by._tell(v.func), by._each(v.args), by._named(v.keywords)]),
    (types.MethodType, lambda by, v: ["method", by._tell(v.__func__), by._within("self", v.__self__)]),
    (types.FunctionType, ByValue._function),
    (type(functools.cache(len)), lambda by, value: by._tell(value.__wrapped__)),
    (staticmethod | classmethod, lambda by, value: by._tell(value.__func__)),
    (property, lambda by, v: ["property", by._each(f for f in (v.fget, v.fset) if f is not None)]),
    (types.BuiltinFunctionType | types.MethodDescriptorType | types.WrapperDescriptorType, ByValue._builtin),
    (types.MemberDescriptorType | types.GetSetDescriptorType, ByValue._builtin),
    (type, ByValue._class),
    (Mapping, lambda by, value: ["mapping", sorted(by._named(value), key=repr)]),
    (Set, lambda by, value: ["set", sorted(by._each(value), key=repr)]),
    (list | tuple, lambda by, value: ["sequence", type(value).__name__, *by._each(value)]),
)
"""How each kind is told; the first that fits counts."""


# Code.


def is_own(module: str | None, thing: object) -> bool:
    """Whether it is the user's: not of Python, not installed, not of this package."""
    if module is None or module.partition(".")[0] in {"builtins", "tfgrpo_dspy"}:
        return False
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None) if loaded is not None else _file_of(thing)
    if file is None:
        return module == "__main__" or (loaded is None and module not in sys.stdlib_module_names)
    return not any(Path(file).is_relative_to(place) for place in _installed())


def _file_of(thing: object) -> str | None:
    try:
        return inspect.getfile(thing)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return None


@functools.cache
def _installed() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    places = {Path(paths[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    packages = {Path(entry).resolve() for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))}
    return tuple(places | packages)


def _told_code(code: types.CodeType) -> Any:
    constants = [_told_code(one) if isinstance(one, types.CodeType) else repr(_sorted(one)) for one in code.co_consts]
    return [code.co_code.hex(), constants, code.co_names, code.co_varnames, code.co_freevars]


def _sorted(constant: object) -> object:
    return sorted(constant, key=repr) if isinstance(constant, frozenset) else constant


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _names(code: types.CodeType) -> list[str]:
    return sorted({name for one in _codes(code) for name in one.co_names})


def _written(code: types.CodeType) -> set[str]:
    """Globals that it stores to."""
    stores = {"STORE_GLOBAL", "DELETE_GLOBAL"}
    return {step.argval for one in _codes(code) for step in dis.get_instructions(one) if step.opname in stores}


def _operations(code: types.CodeType) -> set[str]:
    return {step.opname for one in _codes(code) for step in dis.get_instructions(one)}


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _lasting(value: Any) -> dict[str, Any]:
    """What an object holds, but for what its methods write to, or into: that changes while it is used."""
    written, into = _written_by_methods(type(value))
    return {
        name: one
        for name, one in _held(value)
        if name not in written and not (name in into and isinstance(one, list | dict | set))
    }


def _written_by_methods(kind: type) -> tuple[set[str], set[str]]:
    """Attributes that methods other than the constructor store, and those that they may write into."""
    stored, into = set[str](), set[str]()
    for name, member in inspect.getmembers(kind, inspect.isfunction):
        if name in {"__init__", "__post_init__", "__new__"}:
            continue
        for code in _codes(member.__code__):
            steps = list(dis.get_instructions(code))
            stored |= {step.argval for step in steps if step.opname == "STORE_ATTR"}
            if _MUTATORS & set(code.co_names) or any(step.opname == "STORE_SUBSCR" for step in steps):
                into |= set(code.co_names)
    return stored, into


# Data.


def _held(value: Any) -> Iterator[tuple[str, Any]]:
    yield from getattr(value, "__dict__", {}).items()
    for kind in type(value).__mro__:
        names = getattr(kind, "__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if hasattr(value, name) and name not in {"__dict__", "__weakref__"}:
                yield name, getattr(value, name)


def _array(value: Any) -> list[Any] | None:
    """A numpy array, or what gives one: a tensor on any device."""
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        value = value.detach().cpu().numpy()
    if not (hasattr(value, "dtype") and hasattr(value, "shape") and hasattr(value, "tobytes")):
        return None
    content = repr(value.tolist()) if value.dtype.hasobject else value.tobytes().hex()
    return [str(value.dtype), repr(tuple(value.shape)), fingerprint(content)]


def _frame(value: Any) -> list[Any] | None:
    if type(value).__module__.partition(".")[0] not in {"pandas", "polars", "pyarrow"}:
        return None
    told = value.to_csv() if hasattr(value, "to_csv") else value.write_csv() if hasattr(value, "write_csv") else None
    return None if told is None else [fingerprint(told)]


def _picture(value: Any) -> list[Any] | None:
    if not (hasattr(value, "size") and hasattr(value, "mode") and hasattr(value, "tobytes")):
        return None
    return [repr(value.size), str(value.mode), fingerprint(value.tobytes().hex())]


def _value(value: Any) -> list[Any] | None:
    """An object of one of Python's own types that are equal by content, as addresses of networks are."""
    kind = type(value)
    hashed: object = kind.__hash__
    if kind.__module__ not in sys.stdlib_module_names or hashed in {None, object.__hash__}:
        return None
    shown = repr(value)
    return None if " at 0x" in shown else [shown]


def lm_text(lm: Any) -> str:
    """An LM by model, kind, endpoint and every request option but those that may be secrets."""
    options = {
        name: value
        for name, value in getattr(lm, "kwargs", {}).items()
        if value is not None and name not in _OF_THE_PROCESS and (name in _COUNTS or not _SECRET.search(name))
    }
    kwargs = getattr(lm, "kwargs", {})
    told = {"options": options, "endpoint": place_of(kwargs), "type": getattr(lm, "model_type", "")}
    shown = json.dumps({name: part for name, part in told.items() if part}, default=str, sort_keys=True)
    return f"{type(lm).__name__} {lm.model} {shown}"


def place_of(options: Mapping[str, Any]) -> str:
    """Where an LM is asked, without credentials; a server on this machine by its path, as its port may change."""
    return re.sub(r"//(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", r"//localhost", endpoint_of(options))
