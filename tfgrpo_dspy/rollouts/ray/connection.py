"""The cluster that this process is connected to, and the workers that wait there for the next run."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.lm.flight import CLOCK
from tfgrpo_dspy.rollouts.ray.worker import Worker

_LOOPBACK = "127.0.0.1"
_PATIENCE = 10.0
"""Seconds that a cluster, or a worker that should be there, has to answer."""
_STAYS = 60.0
"""Seconds that a worker waits for the next run, which then need not import everything anew."""
_WORKER = {"max_concurrency": 4, "scheduling_strategy": "SPREAD"}
"""One of its methods waits to be heard, the others come back at once."""


@dataclass(frozen=True, kw_only=True)
class Connection:
    """To a cluster, with the settings of `RayExecutor`."""

    address: str | None = None
    num_cpus_per_worker: float = 1
    max_retries: int = 3
    init: Mapping[str, Any] = field(default_factory=dict)

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables for the workers: a cluster that was started here has those of then, and a key may be new."""
        import ray

        is_here = self.address is None and (not ray.is_initialized() or _connection() in _made_for)
        return {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} if is_here else {}

    def connect(self) -> None:
        """Connect this process, unless it is.

        Raises:
            SettingsError: The cluster cannot be reached.
        """
        import ray

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of a run is told to third parties
        if ray.is_initialized() and _made_for.get(_connection(), self.address) != self.address:
            ray.shutdown()
        if not ray.is_initialized():
            self._init()
            _made_for[_connection()] = self.address

    def _init(self) -> None:
        import ray

        given = {"log_to_driver": False, "logging_level": logging.ERROR, **self.init}
        if self.address is None:
            ray.init(address="local", **{"include_dashboard": False, "_node_ip_address": _LOOPBACK, **given})
            return
        try:
            # Raises an OSError if nobody listens at `host:port`; Ray itself would wait for minutes without a word.
            host, colon, port = self.address.rpartition(":")
            if colon and port.isdigit() and "/" not in host:
                socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
            ray.init(address=self.address, **given)
        except (OSError, RuntimeError, ValueError) as error:  # as the address is wrong, or the cluster
            raise SettingsError(
                f"the Ray cluster at {self.address} cannot be used: {error}; check the address, and that "
                "`ray status` shows the cluster there"
            ) from error

    def hire(self) -> tuple[Any, str | None]:
        """A worker that waits, with its node, or a new one, which is on none yet."""
        import ray
        from ray.exceptions import RayError

        for worker in [worker for worker, known in list(_idle.items()) if known == self._known_as]:
            if _idle.pop(worker, None) is not None:
                try:
                    return worker, ray.get(worker.ready.remote(), timeout=_PATIENCE)
                except RayError:  # it died meanwhile, or is as good as dead
                    end(worker)
        return ray.remote(Worker).options(num_cpus=self.num_cpus_per_worker, **_WORKER).remote(), None

    def dismiss(self, worker: Any) -> None:
        """It waits for the next run, and gives its CPUs back when that does not come."""
        _idle[worker] = self._known_as
        CLOCK.at(time.monotonic() + _STAYS, lambda: end(worker) if _idle.pop(worker, None) else None)

    @property
    def _known_as(self) -> tuple[str, float]:
        return _connection(), self.num_cpus_per_worker


def end(worker: Any) -> None:
    """End a worker's process."""
    import ray

    with suppress(Exception):  # there is none any more
        ray.kill(worker)


_made_for: dict[str, str | None] = {}
"""Connections that were made here, with the address that was asked for."""
_idle: dict[Any, tuple[str, float]] = {}
"""Workers that wait, with the connection that they are of and their CPUs."""


def _connection() -> str:
    import ray

    context = ray.get_runtime_context()
    return f"{context.gcs_address} {context.get_job_id()}"
