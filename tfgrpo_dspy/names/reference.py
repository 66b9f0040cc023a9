"""A reference: `package.module:attribute` or `path/to/file.py:attribute`, imported as `python -m` would from here."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from tfgrpo_dspy.errors import TFGRPOError
from tfgrpo_dspy.names.modules import find_module, is_about


def load_attribute(reference: str, kind: str, refusal: type[TFGRPOError]) -> Any:
    """What stands at `package.module:attribute` or `path/to/file.py:attribute`; a `refusal` if it is no such kind."""
    source, colon, name = reference.rpartition(":")
    if not colon or not source or not name:
        raise refusal(f"{reference!r} names no {kind}; write package.module:attribute or path/to/file.py:attribute")
    with theirs(reference, refusal):
        module = _from_file(source, refusal) if source.endswith(".py") else _from_name(source, kind, refusal)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise refusal(f"{source} has no {name!r}; {_offer(module, kind)}")
        found = getattr(found, part)
    return found


def _from_file(source: str, refusal: type[TFGRPOError]) -> ModuleType:
    path = Path(source).resolve()
    if not path.is_file():
        raise refusal(f"there is no file {source} (relative to {Path.cwd()}); check the path")
    name = f"tfgrpo_reference_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise refusal(f"{source} cannot be imported; it must be a Python file")
    _add_to_path(path.parent)  # so that it finds the files beside it, as a script would
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _from_name(source: str, kind: str, refusal: type[TFGRPOError]) -> ModuleType:
    _add_to_path(Path.cwd())
    try:
        return find_module(source)
    except ModuleNotFoundError as error:
        if not is_about(error, source):
            raise  # found, but something that it imports is missing
        raise refusal(
            f"there is no module {source} to take a {kind} from; it is looked for in {Path.cwd()} and among the "
            "installed packages, and a file is written path/to/file.py:attribute"
        ) from error


def _add_to_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _offer(module: ModuleType, kind: str) -> str:
    import dspy

    def is_one(value: object) -> bool:
        if kind == "program":
            return isinstance(value, dspy.Module)
        return inspect.isfunction(value) and value.__module__ == module.__name__

    names = sorted(name for name, value in vars(module).items() if not name.startswith("_") and is_one(value))
    return f"it has {', '.join(names[:10])}" if names else f"check the name of the {kind}"


@contextmanager
def theirs(reference: str, refusal: type[TFGRPOError]) -> Iterator[None]:
    """Code of the user's own runs here: whatever it raises becomes the refusal, which names the reference."""
    try:
        yield
    except TFGRPOError:
        raise
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {error}"
        raise refusal(f"{reference} could not be loaded: {said}; mend it and try again") from error
