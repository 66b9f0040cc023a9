"""The machine that code in bubblewrap finds: the interpreter and its libraries, read-only, and a scratch folder.

The interpreter keeps the place it has outside, because its shared libraries find each other by their places. Packages
are beside each other in a folder of their own, wherever they are installed.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import sys
from functools import cache
from pathlib import Path

from programs.sandbox.limits import Limits

SCRATCH = "/scratch"
PACKAGES = ("numpy", "sympy", "mpmath")
_COMPANIONS = ("numpy.libs",)  # what their wheels put beside them
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
INSIDE = Path(__file__).with_name("inside.py")
_ENTRY = "/sandbox/inside.py"
_SHELF = "/sandbox/packages"
_SCRATCH_NAMES = ("/dev/shm", "/tmp")
ENVIRONMENT = {
    "HOME": SCRATCH,
    "LANG": "C.UTF-8",
    "PATH": "/nowhere",  # there is no program to find
    "PYTHONHASHSEED": "0",  # the same code prints a set in the same order
    "TMPDIR": SCRATCH,
    # one thread each: threads count as processes, and many runs share the processors
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_FIRST_UID, _UIDS = 0x70000000, 0x0FFFFFFE  # a range that neither users nor containers are given
_ALL_USERS = ["0", "0", "4294967295"]
_ENFORCED_INSIDE = ("cpu_seconds", "memory_mb", "open_files", "file_mb")


def machine_options(limits: Limits) -> list[str]:
    """Options of bwrap for a machine with nothing but the interpreter; the rights of its first process are few."""
    size = str(limits.scratch_mb << 20)
    return [
        *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        "--as-pid-1",  # with a first process of its own, bwrap would end before that one has
        *_rights(),
        *("--die-with-parent", "--hostname", "sandbox"),
        *_system(),
        *("--perms", "0755", "--dir", "/sandbox", "--perms", "0755", "--dir", _SHELF),
        *("--ro-bind", str(INSIDE), _ENTRY),
        *(word for path in package_folders() for word in ("--ro-bind", str(path), f"{_SHELF}/{path.name}")),
        *("--perms", "1777", "--size", size, "--tmpfs", SCRATCH, "--chdir", SCRATCH),
        *("--perms", "0755", "--dir", "/dev"),
        *(word for device in _DEVICES for word in ("--dev-bind", device, device)),
        # An interpreter that is installed below such a name keeps it from standing for the scratch folder.
        *(word for name in _SCRATCH_NAMES if name not in _system() for word in ("--symlink", SCRATCH, name)),
        *("--remount-ro", "/", "--clearenv"),  # no /proc: it tells of the machine, and opens the first process's memory
        *(word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)),
    ]


def interpreter_command(limits: Limits, report: int) -> list[str]:
    """What runs in that machine; root becomes a user whom nobody else is.

    Args:
        limits: Those that the kernel keeps for a process.
        report: File descriptor for the script's report.
    """
    if _is_root():
        options = [f"processes={limits.processes}", f"uid={_FIRST_UID + secrets.randbelow(_UIDS)}"]
    else:
        options = [f"processes={limits.processes + 1}"]  # one of the same user waits for the code
    return [*_command(_ENTRY, limits, report, _SHELF), *options]


def inside_command(limits: Limits, report: int) -> list[str]:
    """The interpreter without its `site` on a script that sets the limits and runs the code of stdin."""
    folders = os.pathsep.join(dict.fromkeys(str(path.parent) for path in package_folders()))
    return _command(str(INSIDE), limits, report, folders)


def _command(script: str, limits: Limits, report: int, packages: str) -> list[str]:
    options = [f"{name}={getattr(limits, name)}" for name in _ENFORCED_INSIDE]
    python = os.path.realpath(sys.executable)
    return [python, "-s", "-S", "-P", "-B", script, f"report={report}", f"packages={packages}", *options]


@cache
def package_folders() -> tuple[Path, ...]:
    """Where the packages that code may import are installed here; one that is missing is left out."""
    found = [importlib.util.find_spec(name) for name in PACKAGES]
    folders = [Path(spec.origin).parent for spec in found if spec is not None and spec.origin is not None]
    beside = [folder.parent / name for folder in folders for name in _COMPANIONS]
    return tuple(dict.fromkeys(path for path in [*folders, *beside] if path.is_dir()))


def _rights() -> list[str]:
    """Root keeps what it needs to become nobody; others get a user namespace, without which they could do nothing."""
    if _is_root():
        return ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return ["--unshare-user", "--cap-drop", "ALL"]


@cache
def _is_root() -> bool:
    """Whether we are root of the machine, not of a container with users of its own, and can become any user."""
    return os.geteuid() == 0 and Path("/proc/self/uid_map").read_text(encoding="ascii").split() == _ALL_USERS


@cache
def _system() -> tuple[str, ...]:
    """What Python reads, bound read-only, outer folders before those in them.

    It would make a folder on the way as closed as it is outside, e.g. `/root`, and the code's user could not pass.
    """
    executable = Path(os.path.realpath(sys.executable))
    homes = (Path(sys.base_prefix), executable.parent.parent)  # one may be a symbolic link to the other
    python = {executable, Path(os.__file__).parent} | {home / name for home in homes for name in ("lib", "lib64")}
    wanted = {Path(name) for name in _SYSTEM} | python
    on_the_way = {folder for path in wanted for folder in path.parents} - {Path("/")} - wanted
    options = [word for folder in sorted(on_the_way) for word in ("--perms", "0755", "--dir", str(folder))]
    for path in sorted(wanted):
        if path.is_symlink():
            options += ["--symlink", os.readlink(path), str(path)]
        elif path.exists():
            options += ["--ro-bind", str(path), str(path)]
    return tuple(options)
