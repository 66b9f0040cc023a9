"""The filter, run by a small model of the kernel's machine."""

from __future__ import annotations

import errno
import struct

import pytest

from programs.sandbox.seccomp import REFUSED, seccomp_filter

ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
MACHINES = {"x86_64": (0xC000003E, 0, 56), "aarch64": (0xC00000B7, 1, 220)}


def verdict(machine: str, number: int, *, argument: int = 0, audit: int | None = None) -> int:
    """What the filter says to one system call."""
    data = struct.pack("=IIQ6Q", number, audit or MACHINES[machine][0], 0, argument, *[0] * 5)
    steps = list(struct.iter_unpack("=HBBI", seccomp_filter(machine)))
    place, word = 0, 0
    while True:
        operation, yes, no, value = steps[place]
        place += 1
        if operation == 0x06:
            return value
        if operation == 0x20:
            (word,) = struct.unpack_from("=I", data, value)
            continue
        holds = {0x15: word == value, 0x35: word >= value, 0x45: bool(word & value)}[operation]
        place += yes if holds else no


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_on_the_list_is_refused_and_all_others_pass(machine):
    _, column, clone = MACHINES[machine]
    refused = {pair[column] for pair in REFUSED.values()}
    assert len(refused) == len(REFUSED)
    for number in range(600):
        expected = REFUSE | errno.EPERM if number in refused else REFUSE | errno.ENOSYS if number == 435 else ALLOW
        assert verdict(machine, number) == expected, number
    assert clone not in refused


@pytest.mark.parametrize("machine", MACHINES)
def test_processes_and_threads_may_be_made_but_no_namespaces(machine):
    clone = MACHINES[machine][2]
    fork, thread = 0x01200011, 0x003D0F00
    assert verdict(machine, clone, argument=fork) == verdict(machine, clone, argument=thread) == ALLOW
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert verdict(machine, clone, argument=fork | flag) == REFUSE | errno.EPERM


def test_other_ways_to_number_the_calls_are_shut():
    assert verdict("x86_64", 41, audit=0x40000003) == KILL  # 32-bit calls
    assert verdict("x86_64", 0x40000000 | 39) == REFUSE | errno.EPERM  # x32


def test_an_unknown_machine_has_no_filter():
    assert seccomp_filter("riscv64") is None
