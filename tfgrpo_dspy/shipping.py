"""What a rollout needs in another process, as bytes: program, metric, LM, adapter and the user's own code."""

from __future__ import annotations

import sys
import sysconfig
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import cloudpickle
import dspy

from tfgrpo_dspy.conditioning import copy_program
from tfgrpo_dspy.errors import ProgramError
from tfgrpo_dspy.sampling import Policy

if TYPE_CHECKING:
    from tfgrpo_dspy.executor import Pace
    from tfgrpo_dspy.reward import Metric
    from tfgrpo_dspy.rollout import RolloutTask

_STAYS = frozenset(
    {
        "branch_idx",
        "callbacks",
        "caller_modules",
        "caller_predict",
        "send_stream",
        "stream_listeners",
        "trace",
        "usage_tracker",
    }
)
"""Settings of DSPy that belong to the process, or to the call under way."""

_NOT_SHIPPED = frozenset({"__main__", "__mp_main__", "tfgrpo_dspy"})
"""Top-level names that are never sent by value: cloudpickle does so with `__main__` itself, and we are there."""

_registering = threading.RLock()


class Contents(NamedTuple):
    """What is in a parcel."""

    run: str
    """The same for all parcels of one run."""
    task: RolloutTask
    settings: Mapping[str, Any]
    """For `dspy.context`."""
    cache: Mapping[str, Any]
    """For `dspy.configure_cache`."""
    pace: Pace


@dataclass(frozen=True, slots=True)
class Parcel:
    """A task as bytes."""

    data: bytes
    by_value: tuple[ModuleType, ...]
    """Modules whose code travels along, as elsewhere they may not be importable."""

    def dumps(self, value: Any) -> bytes:
        """A further value, as bytes."""
        with _sent_by_value(self.by_value):
            data: bytes = cloudpickle.dumps(value)
        return data


def pack(task: RolloutTask, settings: Mapping[str, Any], pace: Pace, run: str) -> Parcel:
    """Everything that a rollout of the task needs.

    The user's modules are sent by value where that can be done, else by name.

    Raises:
        ProgramError: It cannot be sent either way; the message says what cannot.
    """
    program = _with_bare_lms(task.policy.program)
    sent = replace(task, policy=Policy.of(program))
    contents = Contents(run, sent, _settings_to_send(settings), _cache_settings(), pace)
    modules = tuple(_own_modules(program, task.metric))
    errors: list[Exception] = []
    for by_value in dict.fromkeys((modules, ())):
        parcel = Parcel(b"", by_value)
        try:
            return replace(parcel, data=parcel.dumps(contents))
        except Exception as error:  # noqa: BLE001 - whatever a part of the program raises when it is pickled
            errors.append(error)
    what = next((name for name, part in _parts(contents) if not _can_travel(part)), "the program")
    raise ProgramError(
        f"{what} cannot be sent to another process: {type(errors[-1]).__name__}: {errors[-1]}; make what it holds "
        "(connections, locks, open files) where it is used, or run it in threads"
    ) from errors[-1]


def own_code_by_value(program: dspy.Module) -> AbstractContextManager[None]:
    """Within it, cloudpickle sends the code that a program's own modules hold along with it, as `pack` does."""
    return _sent_by_value(tuple(_own_modules(program)))


def _parts(contents: Contents) -> Iterator[tuple[str, Any]]:
    yield "the metric", contents.task.metric
    yield "the program", contents.task.policy.program
    for name, value in contents.settings.items():
        yield f"dspy.settings.{name}", value


def _can_travel(part: Any) -> bool:
    try:
        cloudpickle.dumps(part)
    except Exception:  # noqa: BLE001 - as above
        return False
    return True


def _settings_to_send(settings: Mapping[str, Any]) -> dict[str, Any]:
    sent = {name: value for name, value in settings.items() if name not in _STAYS}
    return {**sent, "lm": None if sent.get("lm") is None else _bare(sent["lm"])}


def _cache_settings() -> dict[str, Any]:
    cache = dspy.cache
    known = {"enable_disk_cache": cache.enable_disk_cache, "enable_memory_cache": cache.enable_memory_cache}
    return known if cache.disk_cache_dir is None else {**known, "disk_cache_dir": cache.disk_cache_dir}


def _with_bare_lms(program: dspy.Module) -> dspy.Module:
    if all(predictor.lm is None for predictor in program.predictors()):
        return program
    copied = copy_program(program)
    for predictor in copied.predictors():
        if predictor.lm is not None:
            predictor.lm = _bare(predictor.lm)
    return copied


def _bare(lm: dspy.BaseLM) -> dspy.BaseLM:
    """A copy without history and callbacks, which are of this process."""
    copied = lm.copy()
    copied.history, copied.callbacks = [], []
    return copied


def _own_modules(program: dspy.Module, metric: Metric | None = None) -> list[ModuleType]:
    """Loaded modules of the packages, or of the folders of scripts, that program and metric come from.

    Of these, installed ones are left out: other nodes are to have them.
    """
    while isinstance(metric, partial):
        metric = metric.func
    named = [getattr(metric, "__module__", None), type(metric).__module__]
    for _, module in program.named_sub_modules():
        named += [kind.__module__ for kind in type(module).__mro__]
        named += [part.__module__ for part in _functions_of(module)]
    for predictor in program.predictors():
        named += [kind.__module__ for kind in predictor.signature.__mro__]
    packages = {name.partition(".")[0] for name in named if name} - _NOT_SHIPPED
    folders = {_folder(sys.modules.get(name)) for name in named if name and "." not in name} - {None}
    own = {
        name: module
        for name, module in list(sys.modules.items())
        if (package := name.partition(".")[0]) in packages or _folder(module) in folders
        if package not in _NOT_SHIPPED and _is_own(module)
    }
    return [own[name] for name in sorted(own)]


def _folder(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file).resolve().parent


def _functions_of(module: dspy.Module) -> list[Any]:
    """Tools and other functions that a module holds."""
    values = list(vars(module).values())
    held = [*values, *(v for d in values if isinstance(d, dict) for v in d.values())]
    held += [v for listed in values if isinstance(listed, list | tuple) for v in listed]
    functions = [value.func if isinstance(value, dspy.Tool) else value for value in held]
    return [f for f in functions if callable(f) and isinstance(getattr(f, "__module__", None), str)]


def _is_own(module: ModuleType) -> bool:
    """Whether its file is neither the interpreter's nor an installed package's."""
    file = getattr(module, "__file__", None)
    if file is None:
        return False
    paths = sysconfig.get_paths()
    installed = [Path(paths[kind]).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    return not any(Path(file).resolve().is_relative_to(folder) for folder in installed)


@contextmanager
def _sent_by_value(modules: tuple[ModuleType, ...]) -> Iterator[None]:
    registered: list[ModuleType] = []
    with _registering:
        known = cloudpickle.list_registry_pickle_by_value()
        try:
            for module in modules:
                if module.__name__ not in known and sys.modules.get(module.__name__) is module:
                    cloudpickle.register_pickle_by_value(module)
                    registered.append(module)
            yield
        finally:
            for module in registered:
                cloudpickle.unregister_pickle_by_value(module)
