"""How much memory the processes of a run hold together, and how many runs fit the machine.

`RLIMIT_AS` bounds each process by itself. A control group would bound them together, but making one takes rights that
most users and containers do not have; so they are looked at from outside, and a run that holds too much is ended.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

_SHARE = 0.5
"""Of the memory that is free when the first code is run, what all runs together may take (ours)."""
_PER_PROCESSOR = 2
"""Runs at once for each processor: more would only make each other late."""
_LOOK = 0.2
"""Seconds between two looks at who is whose child."""
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_OF_GROUP = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where a container's limit is told."""


def held_by(process: int) -> int:
    """Bytes that a process and all that descend from it hold of their own, or share without a file."""
    held = 0
    for member in _tree(process):
        with suppress(OSError):  # it has just ended
            lines = Path(f"/proc/{member}/status").read_text(encoding="ascii", errors="replace").splitlines()
            held += sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
    return held


def runs_at_once(total_mb: int) -> int:
    """Runs that may each take so much, at once, on this machine: at least one."""
    fitting = int(_SHARE * _free() / (total_mb << 20))
    return max(1, min(_PER_PROCESSOR * (os.cpu_count() or 1), fitting))


def _tree(process: int) -> Iterator[int]:
    children = _children(int(time.monotonic() / _LOOK))
    found = [process]
    for one in found:
        found += children.get(one, ())
    return iter(found)


@lru_cache(maxsize=1)
def _children(moment: int) -> Mapping[int, Sequence[int]]:
    """Processes by their parent, looked up once for all runs of a moment: not every kernel tells a process's own."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):  # it has just ended
            parent = int(path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    return children


def _free() -> int:
    """Bytes that could be had now; of a container, no more than it may have."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))) * 1024
        return min([free, *_bounds_of_group()])
    return os.sysconf("SC_PHYS_PAGES") * _PAGE // 2 if hasattr(os, "sysconf") else 4 << 30


def _bounds_of_group() -> Iterator[int]:
    for path in _OF_GROUP:
        with suppress(OSError, ValueError):  # "max" is no number
            yield int(Path(path).read_text(encoding="ascii"))
