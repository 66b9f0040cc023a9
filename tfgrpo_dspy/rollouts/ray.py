"""Rollouts on Ray, for programs whose tools need more than one machine: `pip install 'tfgrpo-dspy[ray]'`.

A step's task is put into Ray's object store once; each rollout is a Ray task that refers to it. A worker or a node
that dies takes its rollouts with it, and Ray runs them again elsewhere. Every node needs this package, DSPy and Python
in the versions used here; code of the user's that is not an installed package travels along by value.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import cloudpickle
import dspy

from tfgrpo_dspy.errors import MissingExtraError, ProgramError, SettingsError
from tfgrpo_dspy.lm.meter import Meter
from tfgrpo_dspy.lm.metering import metering
from tfgrpo_dspy.lm.scope import active_meter
from tfgrpo_dspy.lm.usage import Traffic, Usage
from tfgrpo_dspy.records.rollouts import Lost, Made
from tfgrpo_dspy.rollouts.parcel import Parcel, pack
from tfgrpo_dspy.runtime.executor import Pace, Roll

if TYPE_CHECKING:
    from tfgrpo_dspy.rollouts.task import RolloutTask

logger = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
_PATIENCE = 10.0
"""Seconds that cancelled rollouts have to come back before the cluster is left all the same."""


@dataclass(frozen=True, kw_only=True)
class RayExecutor:
    """Rollouts run on a Ray cluster; `num_threads` of the optimizer bounds those in flight, wherever they run.

    Args:
        address: Of a cluster, e.g. `10.0.0.7:6379`, or `auto` for the one on this machine. None starts one here,
            which no other machine can reach, and ends it with the run. Where the process is connected to a cluster
            already (`ray.init` was called), that one is used and left as it is.
        num_cpus_per_rollout: CPUs that Ray reserves for each rollout, >= 0; with 0 it reserves none.
        max_retries: How often a rollout is run again whose worker or node died, >= 0; then it is lost.
        init: Further arguments of `ray.init`, e.g. `{"runtime_env": {...}}`.

    Raises:
        SettingsError: A value is out of its range.
        MissingExtraError: Ray is not installed.
    """

    address: str | None = None
    num_cpus_per_rollout: float = 1
    max_retries: int = 3
    init: Mapping[str, Any] = field(default_factory=dict)
    is_local = False

    def __post_init__(self) -> None:
        if find_spec("ray") is None:
            raise MissingExtraError("rollouts on Ray need Ray: pip install 'tfgrpo-dspy[ray]'")
        if self.num_cpus_per_rollout < 0:
            raise SettingsError(f"num_cpus_per_rollout must be >= 0, got {self.num_cpus_per_rollout!r}")
        if type(self.max_retries) is not int or self.max_retries < 0:
            raise SettingsError(f"max_retries must be a whole number >= 0, got {self.max_retries!r}")

    @contextmanager
    def open(self, pace: Pace) -> Iterator[Cluster]:
        """The cluster, connected when the first task is brought there."""
        if dspy.settings.callbacks:
            logger.warning("dspy callbacks stay in this process: they do not see what rollouts on Ray do")
        cluster = Cluster(self, pace, dspy.settings.copy())
        try:
            yield cluster
        finally:
            cluster.close()


class Cluster:
    """A Ray cluster for one run; `open` of `RayExecutor` makes it.

    Args:
        executor: How to connect, and what a rollout takes.
        pace: For the meters of the workers.
        settings: DSPy's, of which workers get all that makes sense there.
    """

    def __init__(self, executor: RayExecutor, pace: Pace, settings: Mapping[str, Any]) -> None:
        self._executor, self._pace, self._settings = executor, pace, settings
        self._run = uuid.uuid4().hex
        self._leave = False
        self._remote: Any = None
        self._pending: set[Any] = set()
        self._changed = threading.Condition()
        self._closed = False

    def load(self, task: Roll) -> Roll:
        """Put the task into the object store.

        Raises:
            SettingsError: The cluster cannot be reached, or has no node that could take a rollout.
            ProgramError: Program or metric cannot travel.
        """
        import ray

        parcel = pack(cast("RolloutTask", task), self._settings, self._pace, self._run)
        if self._remote is None:
            self._connect()
        return partial(self._roll, ray.put(parcel.data), parcel)

    def close(self) -> None:
        """End what is under way and nobody waits for any more, and leave the cluster."""
        if self._remote is None and not self._leave:
            return
        import ray

        with self._changed:
            self._closed = True
            for pending in self._pending:
                ray.cancel(pending, force=True)
            self._changed.wait_for(lambda: not self._pending, _PATIENCE)
        if self._leave:
            ray.shutdown()

    def _roll(self, reference: Any, parcel: Parcel, example: dspy.Example, name: str) -> Made:
        from ray.exceptions import RayError, RayTaskError

        started = time.perf_counter()
        try:
            made = self._ask(reference, parcel.dumps(example), name)
        except RayTaskError as error:  # ours return theirs, so this one could not even begin
            raise ProgramError(
                f"a Ray worker cannot run the program: {_last_line(error)}; every node needs what it imports, "
                "tfgrpo-dspy and dspy in the versions used here"
            ) from error
        except RayError as error:
            if self._closed:
                raise CancelledError("the run was stopped") from error
            message = f"{type(error).__name__}: {_first_line(error)}"
            return Lost(name, "infrastructure", message, Usage(), time.perf_counter() - started)
        answer: Answer = cloudpickle.loads(made)
        if (meter := active_meter()) is not None:
            meter.add(answer.traffic)
        if answer.rollout is None:
            raise answer.error or RuntimeError("a Ray worker returned neither a rollout nor an error")
        return answer.rollout

    def _ask(self, reference: Any, example: bytes, name: str) -> Any:
        import ray

        with self._changed:
            if self._closed:
                raise CancelledError("the run was stopped")
            # In a list Ray hands on the reference itself: a worker reads the task once, not for each rollout.
            pending = self._remote.remote([reference], example, name)
            self._pending.add(pending)
        try:
            return ray.get(pending)
        finally:
            with self._changed:
                self._pending.discard(pending)
                self._changed.notify_all()

    def _connect(self) -> None:
        import ray

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of a run is told to third parties
        if not ray.is_initialized():
            self._leave = True  # also when an interrupt leaves it half done
            self._init()
        needed = self._executor.num_cpus_per_rollout
        most = max((node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)
        if most < needed:
            logger.warning(
                "no node of the Ray cluster has the %g CPUs that a rollout is to have (at most %g): rollouts wait "
                "until one joins",
                needed,
                most,
            )
        self._remote = ray.remote(num_cpus=needed, max_retries=self._executor.max_retries)(roll_there)

    def _init(self) -> None:
        import ray

        given = {"log_to_driver": False, "logging_level": logging.ERROR, **self._executor.init}
        address = self._executor.address
        if address is None:
            ray.init(address="local", **{"include_dashboard": False, "_node_ip_address": _LOOPBACK, **given})
            return
        try:
            # Raises an OSError if nobody listens at `host:port`; Ray itself would wait for minutes without a word.
            host, colon, port = address.rpartition(":")
            if colon and port.isdigit() and "/" not in host:
                socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
            ray.init(address=address, **given)
        except (OSError, RuntimeError, ValueError) as error:  # as the address is wrong, or the cluster
            raise SettingsError(
                f"the Ray cluster at {address} cannot be used: {_first_line(error)}; check the address, and that "
                "`ray status` shows the cluster there"
            ) from error


class Answer(NamedTuple):
    """What a worker sends back."""

    rollout: Made | None
    error: BaseException | None
    """What stops the run; there is no rollout then."""
    traffic: Traffic
    """Requests that it took."""


@dataclass
class _Luggage:
    """What a worker process keeps between rollouts."""

    reference: str = ""
    task: Any = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    meter: Meter = field(default_factory=Meter)

    def unpack(self, reference: Any) -> None:
        """Take over a parcel, unless it is the present one."""
        import ray

        if self.reference == reference.hex():
            return
        contents = cloudpickle.loads(ray.get(reference))
        if contents.run != self.run:
            most, timeout, hedge, seed = contents.pace
            self.meter = Meter(most=most, call_timeout=timeout, hedge=hedge, seed=seed)
            dspy.configure_cache(**contents.cache)
        self.run, self.task, self.settings = contents.run, contents.task, contents.settings
        self.reference = reference.hex()


_LUGGAGE = _Luggage()


def roll_there(references: list[Any], example: bytes, name: str) -> bytes:
    """One rollout in a Ray worker, which does one at a time."""
    _LUGGAGE.unpack(references[0])
    meter = _LUGGAGE.meter
    before = meter.traffic
    rollout, stopping = None, None
    try:
        with dspy.context(**_LUGGAGE.settings), metering(meter):
            rollout = _LUGGAGE.task(cloudpickle.loads(example), name)
    except KeyboardInterrupt:  # Ray's way to cancel a task
        raise
    except BaseException as error:  # noqa: BLE001 - it must reach the run, as it would from a thread
        stopping = error
    return _sent(Answer(rollout, stopping, _since(before, meter.traffic)))


def _since(before: Traffic, after: Traffic) -> Traffic:
    failures = Counter(after.failures) - Counter(before.failures)
    return Traffic(
        after.calls - before.calls, after.retries - before.retries, after.hedges - before.hedges, dict(failures)
    )


def _sent(answer: Answer) -> bytes:
    try:
        data: bytes = cloudpickle.dumps(answer)
        cloudpickle.loads(data)
    except Exception:  # noqa: BLE001 - an error may hold what cannot travel, or not come up again from what can
        told = RuntimeError(f"{type(answer.error).__name__}: {answer.error}")
        data = cloudpickle.dumps(answer._replace(error=told))
    return data


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")


def _last_line(error: BaseException) -> str:
    return next(reversed(str(error).strip().splitlines()), "")
