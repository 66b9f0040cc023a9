"""Pickling a user's own code by value, so that another process need not be able to import it."""

from __future__ import annotations

import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import dspy

from tfgrpo_dspy.rewards.reward import Metric

_NOT_SHIPPED = frozenset({"__main__", "__mp_main__", "tfgrpo_dspy"})
"""Top-level names that are never sent by value: cloudpickle does so with `__main__` itself, and we are there."""

_registering = threading.RLock()


def own_code_by_value(program: dspy.Module) -> AbstractContextManager[None]:
    """Within it, cloudpickle sends the code that a program's own modules hold along with it, as `pack` does."""
    return sent_by_value(tuple(own_modules(program)))


def own_modules(program: dspy.Module, metric: Metric | None = None) -> list[ModuleType]:
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
        if package not in _NOT_SHIPPED and _is_own(name, module)
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


def _is_own(name: str, module: ModuleType) -> bool:
    """Whether its file is neither the interpreter's nor an installed package's."""
    file = getattr(module, "__file__", None)
    if file is None:
        return False
    above = name.count(".") + hasattr(module, "__path__")
    roots = Path(file).resolve().parents
    paths = sysconfig.get_paths()
    installed = [Path(paths[kind]).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    if any(folder in roots for folder in installed):
        return False
    return above >= len(roots) or not _holds_installed_packages(roots[above])


@cache
def _holds_installed_packages(folder: Path) -> bool:
    """Whether pip installs into a folder, which may be any: `pip install --target`, `--user`, another environment's."""
    return next(folder.glob("*.dist-info"), None) is not None


@contextmanager
def sent_by_value(modules: tuple[ModuleType, ...]) -> Iterator[None]:
    """Pickle the code of these modules along."""
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
