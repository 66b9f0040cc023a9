"""The store of a run: what it is, what its tasks returned, their texts and what it spent, in one SQLite file.

A run is a function of what its tasks return (rollouts, summaries, extractions, updates). Each task has a name that
does not depend on timing, and the store keeps its result under that name: a run taken up again does not do it again,
and ends in the same library, byte for byte. A result and what it cost are one transaction, what a call will cost is
written down before it is sent, and what infrastructure lost is no result.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

from tfgrpo_dspy.errors import StoreError
from tfgrpo_dspy.lm.budget import Spent
from tfgrpo_dspy.records.result import CompileResult, StepRecord
from tfgrpo_dspy.records.rollouts import Scored
from tfgrpo_dspy.runtime import database
from tfgrpo_dspy.runtime.database import ABOUT, NAME, NOTE, PART, RESULT, SPENT, STEP, TEXTS, as_json
from tfgrpo_dspy.runtime.kept import (
    LONG,
    on_shelf,
    put_together,
    result_as_json,
    step_as_json,
    step_on_shelf,
    taken_apart,
)
from tfgrpo_dspy.text import counted

logger = logging.getLogger(__name__)

T = TypeVar("T")

START, OUTCOME = "start", "outcome"
"""What a run set out to do, and what it came to, among what is said of it as a whole."""
_AT_HAND = 1_000_000
"""Characters of the latest rollouts' texts that need not be read back."""
_SHOWN = 60
"""Characters of a setting that a message shows at most."""


class _Entry(NamedTuple):
    """A record to be written."""

    kind: str
    name: str | None
    value: Any
    texts: Mapping[str, str]


_Job: TypeAlias = "_Entry | Callable[[sqlite3.Connection], int]"
"""A record, or what writes several and returns the number of the last."""


class Store:
    """The store of one run; use it as a context manager. Thread-safe.

    Args:
        folder: Made if it is not there; None keeps texts only, in a file without a name that is gone with the process.
        identity: What decides the outcome of the run, by name, as JSON values. The store of another run is refused.
        restart: Put what is in the folder aside (as `<folder>.<n>`) and start over.
        accept_changes: Take up the run all the same if its identity is another, and note what changed.

    Raises:
        StoreError: Another process has it open, it belongs to a run with another identity, or it cannot be used.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        identity: Mapping[str, Any] | None = None,
        *,
        restart: bool = False,
        accept_changes: bool = False,
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        self.token: str | None = None
        """Names the run, the same whenever it is taken up; None before it is open, and for one that is not kept."""
        self.before = Spent()
        """What the run had spent until it was opened."""
        self.found = 0
        """Results that it held then."""
        self._identity = json.loads(json.dumps(identity or {}))
        self._restart, self._accept_changes = restart, accept_changes
        self._lock = threading.RLock()
        self._held = ExitStack()
        self._closed = False
        self._provisional: dict[str, tuple[Any, Any]] = {}
        self._pending: list[Spent] = []
        self._waiting: list[_Job] = []
        self._recent: dict[int, Mapping[str, str]] = {}
        self._at_hand = 0
        self._refused: sqlite3.Error | None = None
        if self.folder is None:
            self._use(database.connect(None))

    @property
    def is_kept(self) -> bool:
        """Whether the run can be taken up from it."""
        return self.folder is not None

    @property
    def path(self) -> Path:
        """The file."""
        return (self.folder or Path()) / NAME

    @property
    def kept(self) -> str:
        """What the next process takes up, for a person; empty where nothing is kept."""
        if self.folder is None:
            return ""
        with self._lock:
            found = database.number_of(self._connection, RESULT)
        return f"{counted(found, 'result')} and what they cost, in {self.path}"

    @property
    def is_behind(self) -> bool:
        """Whether the disk refused what was to be kept, so that a kill would lose it."""
        return self.is_kept and self._refused is not None

    def __enter__(self) -> Store:
        if self.folder is None:
            return self
        from tfgrpo_dspy.runtime.locks import holding, put_aside

        with ExitStack() as held:
            held.enter_context(holding(self.folder))
            if self._restart:
                put_aside(self.folder)
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"{self.folder} cannot be made ({error.strerror}); name another folder") from error
            self._open()
            self._held = held.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.folder is None:
            return
        with self._lock:
            self._write()
            lost = sum(isinstance(job, _Entry) and job.kind == RESULT for job in self._waiting)
            self._closed = True
            database.make_one_file(self._connection)
        self._held.close()
        if lost:
            logger.warning("%s could not be written to %s, and will be made again", counted(lost, "result"), self.path)

    # What tasks returned.

    def find(self, name: str, kind: Any) -> Any:
        """What the named task returned in this run or an earlier process; None if that is not known.

        Args:
            name: The task's, the same in every run of this identity.
            kind: Its type, for reading it back: a dataclass, a union or a tuple of such.
        """
        if self.folder is None:
            return None
        with self._lock:
            found = database.record_of(self._connection, RESULT, name)
        return None if found is None else put_together(json.loads(found.value), kind, self)

    def keep(self, name: str, kind: Any, made: T) -> T:
        """Keep what a task returned, with all that was spent until now; its long texts are read back from here.

        What says of itself by `is_final` that it is not (infrastructure lost it, no budget was left) is kept once the
        step that made use of it is over, see `settle`: until then it is made again when the run is taken up.
        """
        if not getattr(made, "is_final", True):
            with self._lock:
                self._provisional[name] = kind, made
            return made
        if self.folder is not None:
            record = _Entry(RESULT, name, *taken_apart(made, kind))
        elif isinstance(made, Scored):
            record = _Entry(TEXTS, None, {text: getattr(made, text) for text in LONG}, {})
        else:
            return made
        number = self._write(record)
        if number is None or not isinstance(made, Scored):
            return made
        self._remember(number, {text: getattr(made, text) for text in LONG})
        kept: Any = on_shelf(made, self, number)
        return kept  # type: ignore[no-any-return]

    def settle(self) -> None:
        """What is provisional is final now: a step is over in which it was made use of."""
        with self._lock:
            settled, self._provisional = self._provisional, {}
            if self.folder is not None:
                for name, (kind, made) in settled.items():
                    self._write(_Entry(RESULT, name, *taken_apart(made, kind)))

    def keep_step(self, record: StepRecord) -> StepRecord:
        """An equal record whose groups, advantages and validation are here; the same one if the disk refuses it."""
        number = self._write(partial(_put_step, record, self))
        return record if number is None else step_on_shelf(record, self, number)

    def keep_result(self, result: CompileResult) -> None:
        """Write down what the run came to, as far as it got."""
        if self.folder is not None:
            self._write(partial(_put_result, result, self))

    def note(self, text: str) -> None:
        """Write down what happened to the run."""
        self._write(_Entry(NOTE, None, {"at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "text": text}, {}))

    def fact(self, name: str) -> Any:
        """What was said of the run; None if nothing was."""
        with self._lock:
            found = database.record_of(self._connection, ABOUT, name)
        return None if found is None else json.loads(found.value)

    def set_fact(self, name: str, value: Any) -> None:
        """Say something of the run, once and for all until it is said anew."""
        if self.folder is not None:
            self._write(_Entry(ABOUT, name, value, {}))

    # What was spent.

    def add(self, change: Spent, *, is_due: bool = True) -> None:
        """Write a change of the account down; once it is closed, nothing.

        Args:
            change: What is set aside for a call, or how that differs from what it took.
            is_due: Whether a request waits for it; else it is written with the next record.

        Raises:
            StoreError: It is due, and cannot be written now.
        """
        if self.folder is None:
            return
        with self._lock:
            if self._closed:
                return
            self._pending.append(change)
            if is_due:
                try:
                    self.flush()
                except StoreError:
                    self._pending.pop()  # what waits for it is not done now
                    raise

    def flush(self) -> None:
        """Write what the disk refused before, if it did.

        Raises:
            StoreError: It does so still.
        """
        with self._lock:
            if not self._closed and self._write() is None and self._refused is not None:
                raise StoreError(f"{self.path} {database.why(self._refused)}")

    # What stays here of values.

    def part(self, number: int) -> Any:
        """What was written under a number: long texts of a rollout, a part of a step's record, as a JSON value."""
        with self._lock:
            if (texts := self._recent.get(number)) is not None:
                return texts
            record = database.record_at(self._connection, number)
        if record is None or not record.is_whole:
            raise StoreError(f"record {number} of {self.path} was damaged while the run went on; run the command again")
        value = json.loads(record.value)
        if record.kind == TEXTS:
            self._remember(number, value)
        return value

    def _remember(self, number: int, texts: Mapping[str, str]) -> None:
        """Texts that were just written or read are asked for again soon, each by its name."""
        with self._lock:
            self._at_hand += sum(map(len, texts.values())) - sum(map(len, self._recent.pop(number, {}).values()))
            self._recent[number] = texts
            while self._at_hand > _AT_HAND:
                self._at_hand -= sum(map(len, self._recent.pop(next(iter(self._recent))).values()))

    # Writing.

    def _write(self, job: _Job | None = None) -> int | None:
        """Write a record, or what a function writes, with all that waits, in one transaction.

        Returns:
            The number of its texts, or of itself if it has none; None if the disk refuses, in which case it waits.
        """
        with self._lock:
            if self._closed:
                return None  # a straggler of a run that was stopped
            try:
                number = self._transact(job)
            except sqlite3.Error as error:
                self._refused = error
                if job is not None and self.is_kept:
                    self._waiting.append(job)
                return None
            self._refused, self._waiting, self._pending = None, [], []
            return number

    def _transact(self, job: _Job | None) -> int:
        connection, number = self._connection, 0
        if isinstance(job, _Entry) and not (job.texts or self._pending or self._waiting):
            return _put(connection, job)  # each statement lets another thread go first
        try:
            connection.execute("BEGIN IMMEDIATE")
            if self._pending:
                changed = asdict(reduce(add, self._pending))
                database.put(connection, SPENT, None, as_json({name: by for name, by in changed.items() if by}))
            for each in (*self._waiting, *([] if job is None else [job])):
                number = _put(connection, each) if isinstance(each, _Entry) else each(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk may have ended it
                connection.execute("ROLLBACK")
            raise
        return number

    # Opening.

    def _open(self) -> None:
        from tfgrpo_dspy.runtime.opening import opened

        connection, damaged = opened(self.path)
        self._use(connection)
        if damaged:
            said = f"{database.list_of(damaged)} were damaged and left out: what they held is made again"
            logger.warning("of %s, %s", self.path, said)
            for record in damaged:
                connection.execute("DELETE FROM records WHERE id = ?", (record.id,))
            self.note(said)
        self._check_identity()
        self.before, self.found = spent_by(connection, damaged), database.number_of(connection, RESULT)

    def _use(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        weakref.finalize(self, connection.close)

    def _check_identity(self) -> None:
        about = {r.name: json.loads(r.value) for r in database.records(self._connection, ABOUT)}
        if not database.number_of(self._connection):
            self.token = uuid.uuid4().hex
            self._say_what_it_is(made=time.strftime("%Y-%m-%dT%H:%M:%S%z"))
            return
        self.token = about.get("token") or uuid.uuid4().hex
        earlier, now = about.get("identity"), self._identity
        changes = ["what run it is can no longer be read"]
        if earlier is not None:
            differing = (name for name in sorted({*earlier, *now}) if earlier.get(name) != now.get(name))
            changes = [f"{name} was {_short(earlier.get(name))}, is {_short(now.get(name))}" for name in differing]
        holds = (
            database.number_of(self._connection, RESULT) > 0
        )  # else it is a key, a name or an address that was mended
        if changes and holds and not self._accept_changes:
            raise StoreError(
                f"{self.folder} holds another run: {'; '.join(changes)}; give this run another folder, go on with that "
                "one all the same (`accept_changes=True`), or restart (`restart=True`) to put "
                "it aside"
            )
        if changes:
            self._say_what_it_is()
            said = f"it was taken up with changes: {'; '.join(changes)}"
            if holds:
                logger.warning("%s: %s", self.folder, said)
            self.note(said)

    def _say_what_it_is(self, **more: str) -> None:
        facts = {"token": self.token, "identity": self._identity, **more}
        self._connection.execute("BEGIN IMMEDIATE")
        for name, value in facts.items():
            database.put(self._connection, ABOUT, name, as_json(value))
        self._connection.execute("COMMIT")


def _put(connection: sqlite3.Connection, record: _Entry) -> int:
    if not record.texts:
        return database.put(connection, record.kind, record.name, as_json(record.value))
    number = database.put(connection, TEXTS, None, as_json(record.texts))
    database.put(connection, record.kind, record.name, as_json({**record.value, "texts": number}))
    return number


def _put_step(record: StepRecord, store: Store, connection: sqlite3.Connection) -> int:
    value = step_as_json(record, store, lambda name, part: database.put(connection, PART, name, as_json(part)))
    return database.put(connection, STEP, str(record.step), as_json(value))


def _put_result(result: CompileResult, store: Store, connection: sqlite3.Connection) -> int:
    value = result_as_json(result, store, lambda name, part: database.put(connection, PART, name, as_json(part)))
    return database.put(connection, ABOUT, OUTCOME, as_json(value))


def spent_by(connection: sqlite3.Connection, damaged: list[database.Record]) -> Spent:
    """The sum of all changes of the account; a damaged one counts as the dearest of the others, for it is not known."""
    changes = [Spent(**json.loads(r.value)) for r in database.records(connection, SPENT) if r.is_whole]
    unknown = sum(record.kind == SPENT for record in damaged)
    dearest = Spent(
        *(max((getattr(c, name) for c in changes), default=0) for name in ("lm_calls", "tokens", "cost_usd"))
    )
    return sum([*changes, *[dearest] * unknown], Spent())


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
