"""The executor to give to the optimizer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import dspy

from tfgrpo_dspy.errors import MissingExtraError, SettingsError
from tfgrpo_dspy.rollouts.ray.cluster import Cluster
from tfgrpo_dspy.rollouts.ray.connection import Connection
from tfgrpo_dspy.runtime.executor import Pace

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RayExecutor(Connection):
    """Rollouts run on a Ray cluster; `num_threads` of the optimizer bounds those in flight, wherever they run.

    They are dealt out evenly to workers, each a process that makes several at once, in threads: as many workers as the
    cluster has CPUs for, and no more than rollouts in flight. After a run this process stays connected, and its workers
    wait a minute for the next one.

    Args:
        address: Of a cluster, e.g. `10.0.0.7:6379`, or `auto` for the one on this machine. None starts one here,
            which no other machine can reach, and which ends with this process, or by `ray.shutdown()`. Where the
            process is connected to a cluster already (`ray.init` was called), that one is used.
        num_cpus_per_worker: CPUs that Ray reserves for each worker, > 0.
        max_retries: How often a rollout is made again whose worker or node died, >= 0; then it is lost.
        init: Further arguments of `ray.init`, e.g. `{"runtime_env": {...}}`.

    Raises:
        SettingsError: A value is out of its range.
        MissingExtraError: Ray is not installed.
    """

    def __post_init__(self) -> None:
        if find_spec("ray") is None:
            raise MissingExtraError("rollouts on Ray need Ray: pip install 'tfgrpo-dspy[ray]'")
        if self.num_cpus_per_worker <= 0:
            raise SettingsError(f"num_cpus_per_worker must be > 0, got {self.num_cpus_per_worker!r}")
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
