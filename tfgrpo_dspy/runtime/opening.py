"""Opens the file of a run for writing: what cannot be opened is said, what is damaged is saved as far as it goes."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from tfgrpo_dspy.errors import StoreError
from tfgrpo_dspy.runtime import database
from tfgrpo_dspy.runtime.database import Record
from tfgrpo_dspy.runtime.salvage import salvage
from tfgrpo_dspy.text import counted

logger = logging.getLogger(__name__)


def opened(path: Path) -> tuple[sqlite3.Connection, list[Record]]:
    """The database, and those of its records that are damaged.

    Raises:
        StoreError: It is not a run's in this version's format, or cannot be used.
    """
    earlier = next((name for name in ("journal.jsonl", "spent.jsonl") if path.with_name(name).exists()), None)
    if earlier is not None and not path.exists():
        raise StoreError(
            f"{path.parent} holds a run in an earlier format ({earlier}), which cannot be taken up; give this run "
            "another folder, or restart (`restart=True`) to put that one aside"
        )
    try:
        return _checked(path)
    except sqlite3.Error as error:
        if not database.is_damage(error):
            raise StoreError(f"{path} {database.why(error)}") from error
    aside, saved = salvage(path)
    logger.warning(
        "%s is damaged: %s could be read and are kept, what is missing is made again; the damaged file is %s",
        path,
        counted(saved, "record"),
        aside.name,
    )
    return _checked(path)


def _checked(path: Path) -> tuple[sqlite3.Connection, list[Record]]:
    connection = database.connect(path)
    try:
        database.check_format(connection, path)
        return connection, database.damaged_in(connection)
    except BaseException:
        connection.close()
        raise
