"""System calls that no calculation needs and that reach past the other walls, refused by the kernel.

Namespaces and resource limits leave gaps: memory that no `RLIMIT_AS` counts (`memfd_create`, System V and POSIX shared
memory and queues), sockets of families that network namespaces do not part (`AF_VSOCK`), further user namespaces, and
the parts of the kernel in which most ways out were found. The filter is classic BPF as `bwrap --seccomp` reads it.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Mapping
from dataclasses import dataclass

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF operations on one 32-bit word
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in `struct seccomp_data`, little-endian
_KILL, _ALLOW, _REFUSE = 0x80000000, 0x7FFF0000, 0x00050000
_NEW_NAMESPACE = 0x7E020000  # the CLONE_NEW* flags
_OTHER_ABI = 0x40000000  # x32 numbers on x86-64: the same calls by other names


@dataclass(frozen=True, slots=True)
class _Machine:
    audit: int
    """The kernel's name for the architecture."""
    column: int
    """Which number of `REFUSED` counts."""


_MACHINES = {"x86_64": _Machine(0xC000003E, 0), "aarch64": _Machine(0xC00000B7, 1)}
_CLONE = (56, 220)
_CLONE3 = (435, 435)  # its flags are out of a filter's sight; "not implemented" makes libc use clone
REFUSED: Mapping[str, tuple[int, int]] = {
    # the network
    "socket": (41, 198),
    # memory that is counted nowhere
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # the kernel itself
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "swapon": (167, 224),
    "reboot": (169, 142),
    "syslog": (103, 116),
    "personality": (135, 92),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
}


def seccomp_filter(machine: str | None = None) -> bytes | None:
    """The filter for a machine, or None for one whose numbers are not known here: the other walls stand alone then.

    Args:
        machine: As `platform.machine()` has it, which is the default.
    """
    known = _MACHINES.get(platform.machine() if machine is None else machine)
    return None if known is None else b"".join(_program(known))


def _program(machine: _Machine) -> list[bytes]:
    """Check the architecture, compare the call's number with all that is refused, look at the flags of `clone`."""
    numbers = sorted(pair[machine.column] for pair in REFUSED.values())
    clone = 3 + len(numbers)  # places, counted from the load of the number
    allow, refuse, missing = clone + 3, clone + 4, clone + 5
    return [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, machine.audit, yes=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        _step(_AT_LEAST, _OTHER_ABI, yes=refuse - 2),
        _step(_EQUAL, _CLONE3[machine.column], yes=missing - 3),
        *(_step(_EQUAL, number, yes=refuse - place - 1) for place, number in enumerate(numbers, start=3)),
        _step(_EQUAL, _CLONE[machine.column], no=allow - clone - 1),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_ANY_BIT, _NEW_NAMESPACE, yes=1),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _REFUSE | errno.EPERM),
        _step(_RETURN, _REFUSE | errno.ENOSYS),
    ]


def _step(operation: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    """One instruction; `yes` and `no` are how many of the next ones a comparison skips."""
    return struct.pack("=HBBI", operation, yes, no, value)
