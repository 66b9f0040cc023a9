"""Around the first contact with a tracking store: what MLflow does slowly, noisily or not safely."""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_BOUNDS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # what fails is tried again later anyway
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


@contextmanager
def bounded_waiting() -> Iterator[None]:
    """Within it, MLflow's HTTP client gives up within seconds, not minutes, unless the user has set its bounds."""
    ours = {name: value for name, value in _BOUNDS.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


@contextmanager
def prepared(uri: str) -> Iterator[None]:
    """Within it, a database can be connected to for the first time: it answers, and nobody else is creating it."""
    if not uri.startswith(_DATABASES):
        yield
        return
    quiet = logging.getLogger("alembic"), logging.getLogger("mlflow.store.db.utils")
    levels = [logger.level for logger in quiet]
    with _sole_creator(uri):
        _check_database(uri)
        for logger in quiet:
            logger.setLevel(logging.WARNING)  # a new store tells of each of its sixty migrations
        try:
            yield
        finally:
            for logger, level in zip(quiet, levels, strict=True):
                logger.setLevel(level)


def _check_database(uri: str) -> None:
    """Ask a database once: MLflow itself would ask ten times, over 100 seconds, before it says that it is not there."""
    import sqlalchemy  # comes with MLflow

    engine = sqlalchemy.create_engine(uri)
    try:
        sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()


@contextmanager
def _sole_creator(uri: str, patience: float = 60.0) -> Iterator[None]:
    """One process at a time creates an SQLite store: several at once fail on each other's tables."""
    path = sqlite_path(uri)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        fcntl: Any = importlib.import_module("fcntl")
    except ImportError:  # Windows: the losers of a race try again at the next event
        yield
        return
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        deadline = time.monotonic() + patience
        while not _locked(fcntl, lock.fileno()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"another process has held {lock.name} for {patience:.0f} s")
            time.sleep(0.1)
        yield


def _locked(fcntl: Any, descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite URI; None for any other store, or one in memory."""
    if not uri.startswith("sqlite:///"):
        return None
    name = uri.removeprefix("sqlite:///").split("?")[0]
    return Path(name) if name and name != ":memory:" else None
