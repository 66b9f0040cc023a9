"""What a rollout needs in another process, as bytes: program, metric, LM, adapter and the user's own code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import cloudpickle
import dspy

from tfgrpo_dspy.errors import ProgramError
from tfgrpo_dspy.lm.scope import KEY
from tfgrpo_dspy.program.instructions import with_lms
from tfgrpo_dspy.rollouts.sampling import Policy
from tfgrpo_dspy.runtime.pickling import own_modules, sent_by_value

if TYPE_CHECKING:
    from tfgrpo_dspy.rollouts.task import RolloutTask
    from tfgrpo_dspy.runtime.executor import Pace

_STAYS = frozenset(
    {
        "branch_idx",
        "callbacks",
        "caller_modules",
        "caller_predict",
        "send_stream",
        "stream_listeners",
        KEY,
        "trace",
        "usage_tracker",
    }
)
"""Settings of DSPy that belong to the process, or to the call under way."""


class Contents(NamedTuple):
    """What is in a parcel."""

    run: str
    """The same for all parcels of one run."""
    task: RolloutTask
    settings: Mapping[str, Any]
    """For `dspy.context`."""
    cache: Mapping[str, Any]
    """For `dspy.configure_cache`."""
    pace: Pace
    environment: Mapping[str, str]
    """Variables that are set there."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A task as bytes."""

    data: bytes
    by_value: tuple[ModuleType, ...]
    """Modules whose code travels along, as elsewhere they may not be importable."""

    def dumps(self, value: Any) -> bytes:
        """A further value, as bytes."""
        with sent_by_value(self.by_value):
            data: bytes = cloudpickle.dumps(value)
        return data


def pack(
    task: RolloutTask, settings: Mapping[str, Any], pace: Pace, run: str, environment: Mapping[str, str]
) -> Parcel:
    """Everything that a rollout of the task needs.

    The user's modules are sent by value where that can be done, else by name.

    Raises:
        ProgramError: It cannot be sent either way; the message says what cannot.
    """
    program = with_lms(task.policy.program, _bare)
    sent = replace(task, policy=Policy.of(program))
    kept = {name: value for name, value in settings.items() if name not in _STAYS}
    kept["lm"] = None if kept.get("lm") is None else _bare(kept["lm"])
    cache = {"enable_disk_cache": dspy.cache.enable_disk_cache, "enable_memory_cache": dspy.cache.enable_memory_cache}
    if dspy.cache.disk_cache_dir is not None:
        cache["disk_cache_dir"] = dspy.cache.disk_cache_dir
    contents = Contents(run, sent, kept, cache, pace, environment)
    modules = tuple(own_modules(program, task.metric))
    errors: list[Exception] = []
    for by_value in dict.fromkeys((modules, ())):
        parcel = Parcel(b"", by_value)
        try:
            return replace(parcel, data=parcel.dumps(contents))
        except Exception as error:  # noqa: BLE001 - whatever a part of the program raises when it is pickled
            errors.append(error)
    what = next((name for name, part in _parts(contents) if not _can_travel(part)), "the program")
    raise ProgramError(
        f"{what} cannot be sent to another process: {type(errors[-1]).__name__}: {errors[-1]}; make what it holds "
        "(connections, locks, open files) where it is used, or run it in threads"
    ) from errors[-1]


def _parts(contents: Contents) -> Iterator[tuple[str, Any]]:
    yield "the metric", contents.task.metric
    yield "the program", contents.task.policy.program
    for name, value in contents.settings.items():
        yield f"dspy.settings.{name}", value


def _can_travel(part: Any) -> bool:
    try:
        cloudpickle.dumps(part)
    except Exception:  # noqa: BLE001 - as above
        return False
    return True


def _bare(lm: dspy.BaseLM) -> dspy.BaseLM:
    """A copy without history and callbacks, which are of this process."""
    copied = lm.copy()
    copied.history, copied.callbacks = [], []
    return copied
