"""A run's rollouts on a Ray cluster: dealt out to workers, paid for here, and made again where a worker dies."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import cloudpickle
import dspy

from tfgrpo_dspy.errors import ProgramError, StoreError
from tfgrpo_dspy.lm.account import Claim, Reservation
from tfgrpo_dspy.lm.budget import POLICY, Due, OutOfBudget
from tfgrpo_dspy.lm.engine import written
from tfgrpo_dspy.lm.flight import HELPERS
from tfgrpo_dspy.lm.meter import Meter
from tfgrpo_dspy.lm.scope import active_meter
from tfgrpo_dspy.lm.usage import Traffic, Usage
from tfgrpo_dspy.lm.ways import THREAD, drive
from tfgrpo_dspy.records.rollouts import Lost, Made
from tfgrpo_dspy.rollouts.parcel import Parcel, pack
from tfgrpo_dspy.rollouts.ray.connection import Connection, end
from tfgrpo_dspy.rollouts.ray.worker import Answer
from tfgrpo_dspy.rollouts.task import RolloutTask
from tfgrpo_dspy.runtime.executor import Pace, Roll

logger = logging.getLogger(__name__)


class WorkerLost(Exception):
    """The worker or the node died that a rollout was made on."""


@dataclass(eq=False)
class _Handle:
    """A worker, as it is known here."""

    actor: Any
    node: str | None = None
    """Where it is; None before it is there."""
    taken: int = 0
    """Rollouts that it makes, or is about to be given."""
    is_taken_whole: bool = False
    """Whether one of them is to be alone with it."""
    is_listened_to: bool = False
    is_lost: bool = False
    flying: dict[int, tuple[Future[bytes], Due | None]] = field(default_factory=dict)
    """What it makes, with what each rollout leaves of a budget."""
    lent: dict[int, tuple[int, Reservation]] = field(default_factory=dict)
    """Calls that it was allowed, with the rollout that each is of."""
    traffic: Traffic = Traffic()
    """What it told of so far."""


class Cluster:
    """A Ray cluster for one run; `open` of `RayExecutor` makes it."""

    def __init__(self, connection: Connection, pace: Pace, settings: Mapping[str, Any]) -> None:
        self._connection, self._pace, self._settings = connection, pace, settings
        self._run, self._numbers = uuid.uuid4().hex, itertools.count(1)
        self._is_connected = self._is_closed = False
        self._handles: list[_Handle] = []
        self._waiting_alone = 0
        self._trouble: BaseException | None = None
        self._changed, self._staffing = threading.Condition(), threading.Lock()
        self._happened: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._inbox = Inbox(Meter())

    def load(self, task: Roll) -> Roll:
        """Put the task into the object store, and see that there are workers.

        Raises:
            SettingsError: The cluster cannot be reached.
            ProgramError: Program or metric cannot travel.
        """
        import ray

        rollouts = cast("RolloutTask", task)
        parcel = pack(rollouts, self._settings, self._pace, self._run, self._connection.environment)
        if not self._is_connected:
            self._connection.connect()
            self._is_connected = True
            self._inbox = Inbox(active_meter() or Meter())
            with suppress(OutOfBudget):
                self._inbox.meter.wake_at_stop(self, self._stop)
            threading.Thread(target=self._attend, name="tfgrpo-ray", daemon=True).start()
        self._staff()
        return partial(self._roll, rollouts, ray.put(parcel.data), parcel)

    def close(self) -> None:
        """End what is under way and nobody waits for any more; workers with nothing to do wait for the next run."""
        if not self._is_connected:
            return
        with suppress(OutOfBudget):
            self._inbox.meter.wake_at_stop(self, None)
        with self._changed:
            self._is_closed, handles = True, list(self._handles)
            self._changed.notify_all()
        for handle in handles:
            if handle.taken or handle.node is None:
                self._lose(handle, CancelledError("the run was stopped"))
            else:
                self._inbox.charge(handle)
                handle.actor.rest.remote(self._run)
                self._connection.dismiss(handle.actor)
        self._happened.put(None)

    # A rollout, in a thread of the pool.

    def _roll(self, task: RolloutTask, reference: Any, parcel: Parcel, example: dspy.Example, name: str) -> Made:
        started, given, due = time.perf_counter(), parcel.dumps(example), task.sampling.due(name)
        losses, is_alone = 0, False
        while True:
            handle = self._take(is_alone=is_alone)
            if handle is None:
                return Lost(name, "budget", self._inbox.meter.stopped_by or "", Usage(), time.perf_counter() - started)
            try:
                made = self._give(handle, due, [reference], given, name).result()
                break
            except WorkerLost as lost:
                # Where only the worker died, one of its rollouts may have killed it: the others must not suffer again.
                losses, is_alone = losses + 1, handle.node in self._staff()
                if losses > self._connection.max_retries:
                    return Lost(name, "infrastructure", str(lost), Usage(), time.perf_counter() - started)
            finally:
                with self._changed:
                    handle.taken -= 1
                    handle.is_taken_whole = False
                    self._changed.notify_all()
        answer: Answer = cloudpickle.loads(made)
        if answer.rollout is None:
            raise answer.error or RuntimeError("a Ray worker returned neither a rollout nor an error")
        return answer.rollout

    def _take(self, *, is_alone: bool) -> _Handle | None:
        """The worker with the least to do, or one with nothing; None when the run was stopped before there is one."""
        with self._changed:
            self._waiting_alone += is_alone
            try:
                while self._inbox.meter.stopped_by is None:
                    if self._is_closed:
                        raise CancelledError("the run was stopped")
                    if not self._handles and self._trouble is not None:
                        raise self._trouble
                    free = [h for h in self._handles if h.node is not None and not h.is_taken_whole]
                    handle = min(free, key=lambda h: h.taken, default=None)
                    if handle is not None and (not handle.taken if is_alone else not self._waiting_alone):
                        handle.taken, handle.is_taken_whole = handle.taken + 1, is_alone
                        return handle
                    self._changed.wait()
                return None
            finally:
                self._waiting_alone -= is_alone
                self._changed.notify_all()

    def _give(self, handle: _Handle, due: Due | None, *rollout: Any) -> Future[bytes]:
        made: Future[bytes] = Future()
        number, is_proven = next(self._numbers), self._inbox.meter.spending.spent.tokens > 0
        with self._changed:
            if handle.is_lost:
                raise WorkerLost("the worker died")
            handle.flying[number] = made, due
            handle.actor.start.remote(number, *rollout, is_proven=is_proven)
            self._listen_to(handle)
        return made

    # Workers.

    def _staff(self) -> set[str]:
        """See that there are as many workers as there is room for; returns the nodes that are alive."""
        import ray

        with self._staffing:
            alive = {node["NodeID"]: node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]}
            needed = self._connection.num_cpus_per_worker
            room = sum(int(cpus / needed) for cpus in alive.values())
            if not room:
                self._inbox.meter.say(
                    f"no node of the Ray cluster has the {needed:g} CPUs that a worker is to have: rollouts wait until "
                    "one joins"
                )
            missing = 0 if self._is_closed else min(self._pace.num_threads, max(room, 1)) - len(self._handles)
            for _ in range(missing):
                handle = _Handle(*self._connection.hire())
                with self._changed:
                    self._handles.append(handle)
                if handle.node is None:
                    self._when(handle.actor.ready.remote(), partial(self._came, handle))
        return set(alive)

    def _came(self, handle: _Handle, ready: Future[str]) -> None:
        error = ready.exception()
        if error is not None:
            self._trouble = ProgramError(
                f"a Ray worker cannot be started: {_lines(error)[-1]}; every node needs tfgrpo-dspy and dspy in the "
                "versions used here"
            )
            self._lose(handle, error)
            return
        with self._changed:
            handle.node = ready.result()
            self._changed.notify_all()

    def _lose(self, handle: _Handle, error: BaseException) -> None:
        """It died, or is ended."""
        with self._changed:
            if handle in self._handles:
                self._handles.remove(handle)
            handle.is_lost, flying = True, list(handle.flying.values())
            handle.flying.clear()
            self._changed.notify_all()
        self._inbox.charge(handle)
        end(handle.actor)
        if not isinstance(error, CancelledError):
            error = WorkerLost(f"{type(error).__name__}: {_lines(error)[0]}")
        for made, _ in flying:
            made.set_exception(error)

    def _stop(self) -> None:
        with self._changed:
            for handle in self._handles:
                handle.actor.stop.remote(self._inbox.meter.stopped_by or "")
            self._changed.notify_all()

    # What happens there, in a thread for it: Ray's own must not wait.

    def _when(self, reference: Any, follow: Callable[[Future[Any]], None]) -> None:
        reference.future().add_done_callback(lambda future: self._happened.put(partial(follow, future)))

    def _attend(self) -> None:
        while (follow := self._happened.get()) is not None:
            try:
                follow()
            except Exception:
                logger.exception("what a Ray worker said could not be taken in")

    def _listen_to(self, handle: _Handle) -> None:
        """While it makes rollouts; the caller holds the lock."""
        if handle.flying and not handle.is_listened_to and not handle.is_lost:
            handle.is_listened_to = True
            self._when(handle.actor.hear.remote(), partial(self._hear, handle))

    def _hear(self, handle: _Handle, heard: Future[tuple[Traffic, list[tuple[Any, ...]]]]) -> None:
        if (error := heard.exception()) is not None:
            self._lose(handle, error)
            return
        self._inbox.hear(handle, *heard.result())
        with self._changed:
            handle.is_listened_to = False
            self._listen_to(handle)


class Inbox:
    """Takes in what workers tell: a method for each message, with the worker first."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self._lock = threading.Lock()

    def hear(self, handle: _Handle, traffic: Traffic, messages: list[tuple[Any, ...]]) -> None:
        """All that it had to tell, and the requests that it sent until then."""
        self.meter.add(_since(handle.traffic, traffic))
        handle.traffic = traffic
        for name, *given in messages:
            getattr(self, name)(handle, *given)

    def done(self, handle: _Handle, rollout: int, answer: bytes) -> None:
        """A rollout is made."""
        made, _ = handle.flying.pop(rollout, (None, None))
        self.charge(handle, rollout)
        if made is not None:
            made.set_result(answer)

    def say(self, handle: _Handle, text: str) -> None:
        """A warning for people."""
        self.meter.say(text)

    def stop(self, handle: _Handle, reason: str) -> None:
        """Something was found out there that ends the run."""
        self.meter.stop(reason)

    def lend(self, handle: _Handle, number: int, rollout: int, *asked: Any) -> None:
        """A call is to be made: it is allowed, or not, once that can be said."""
        HELPERS.start(partial(self._lend, handle, number, rollout, *asked))

    def _lend(self, handle: _Handle, number: int, rollout: int, *asked: Any) -> None:
        _, due = handle.flying.get(rollout, (None, None))
        reservation, refusal = None, None
        try:
            reservation = drive(self._reserved(handle, due, *asked))
        except (OutOfBudget, StoreError) as refused:
            refusal = str(refused)
        with self._lock:
            is_over = handle.is_lost or (rollout and rollout not in handle.flying)
            if reservation is not None and not is_over:
                handle.lent[number] = rollout, reservation
        if reservation is not None and is_over:
            self.meter.spending.release(reservation)
            refusal = "its rollout is over"
        handle.actor.answer.remote(number, refusal)

    async def _reserved(
        self, handle: _Handle, due: Due | None, owner: int, claim: Claim, is_needed: bool
    ) -> Reservation | None:
        claim, who = replace(claim, kept=self.meter.kept_from(POLICY, due)), (handle, owner)
        if is_needed:
            reserve = partial(self.meter.spending.reserve_or_wake, claim, who)
            return await written(self.meter, THREAD, who, partial(THREAD.until, reserve))
        reservation = self.meter.spending.reserve(claim, is_needed=False)
        if reservation is None:
            raise OutOfBudget("calls in flight may leave enough")
        return reservation

    def take_back(self, handle: _Handle, number: int, how: str, took: dict[str, Any]) -> None:
        """A call was settled, charged or released."""
        with self._lock:
            _, reservation = handle.lent.pop(number, (0, None))
        if reservation is not None:
            getattr(self.meter.spending, how)(reservation, **took)
            if "seconds" in took:
                self.meter.answered((reservation.claim.model, POLICY), took["seconds"])

    def charge(self, handle: _Handle, rollout: int | None = None) -> None:
        """Nothing will be heard of the calls of one rollout, or of all: nobody knows what they took."""
        with self._lock:
            left = [number for number, (of, _) in handle.lent.items() if rollout in {None, of}]
            reservations = [handle.lent.pop(number)[1] for number in left]
        for reservation in reservations:
            self.meter.spending.charge(reservation)


def _since(before: Traffic, after: Traffic) -> Traffic:
    failures = Counter(after.failures) - Counter(before.failures)
    return Traffic(
        after.calls - before.calls, after.retries - before.retries, after.hedges - before.hedges, dict(failures)
    )


def _lines(error: BaseException) -> list[str]:
    return str(error).strip().splitlines() or [""]
