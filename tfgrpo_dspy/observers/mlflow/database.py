"""Around the first contact with a tracking store: what MLflow does slowly, noisily or not safely."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock

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
    with _sole_creator(uri), quiet("alembic", "mlflow.store.db.utils"):  # a new store tells of its sixty migrations
        _make_whole(uri)
        _check_database(uri)
        yield


@contextmanager
def quiet(*names: str, level: int = logging.WARNING) -> Iterator[None]:
    """Within it, these loggers tell of nothing below a level."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, before in zip(loggers, levels, strict=True):
            logger.setLevel(before)


def _make_whole(uri: str) -> None:
    """Make a new SQLite store aside and put it in its place: an interrupt while its tables are made leaves none.

    MLflow makes them in place, over a second or more, and cannot go on with what it left half made.
    """
    path = sqlite_path(uri)
    if path is None or (path.exists() and path.stat().st_size):
        return
    for left in path.parent.glob(f".{path.name}.*.new"):  # by a process that was killed: only one at a time makes it
        left.unlink()
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    mlflow = importlib.import_module("mlflow")
    try:
        mlflow.MlflowClient(tracking_uri=f"sqlite:///{aside.as_posix()}").search_experiments(max_results=1)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def why_for_good(error: Exception, uri: str) -> str | None:
    """What is wrong with a store that will not get well by itself, and how to mend it; None for one that may."""
    code = str(getattr(error, "error_code", ""))
    if code in _REFUSALS:
        return f"the MLflow store {uri} refuses: {_REFUSALS[code]}"
    path = sqlite_path(uri)
    if path is None:
        return None
    if isinstance(error, OSError) or not os.access(path if path.exists() else path.parent, os.W_OK):
        return f"the MLflow store {path} cannot be written to; check its permissions, or name another (`tracking_uri`)"
    holds = _runs_in(path)
    if holds is None or "no such table" in str(error) or "already exists" in str(error) or "duplicate" in str(error):
        what = "is no sound MLflow store" if holds else "is half made and holds no run"
        mend = "move it away" if holds else "take it away, and a new one is made"
        return f"{path} {what}: a process that made or changed its tables was ended; {mend}, or name another store"
    return None


_REFUSALS = {
    "PERMISSION_DENIED": "you may not write there; ask for the right to, or name another (`tracking_uri`)",
    "UNAUTHENTICATED": "it does not know you; set MLFLOW_TRACKING_USERNAME and _PASSWORD, or MLFLOW_TRACKING_TOKEN",
    "RESOURCE_DOES_NOT_EXIST": "there is no such run or experiment; check `run_id` and MLFLOW_EXPERIMENT_ID",
}
"""What MLflow's error codes say of a store, whenever it is asked."""


def _runs_in(path: Path) -> int | None:
    """How many runs an SQLite store holds; None if that cannot be read."""
    import sqlite3

    try:
        with closing(sqlite3.connect(path)) as connection:
            return int(connection.execute("SELECT count(*) FROM runs").fetchone()[0])
    except sqlite3.Error:
        return None


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
    with FileLock(path.with_name(f".{path.name}.lock"), timeout=patience):
        yield


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite URI; None for any other store, or one in memory."""
    if not uri.startswith("sqlite:///"):
        return None
    name = uri.removeprefix("sqlite:///").split("?")[0]
    return Path(name) if name and name != ":memory:" else None
