"""Memory is bounded for all processes of a run together, and for all runs together; what is missing is said."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

import pytest

from programs.sandbox import Limits, Sandbox, memory, runner
from programs.sandbox.memory import held_by, runs_at_once

LIMITS = Limits(wall_seconds=60.0, cpu_seconds=20, memory_mb=400, total_mb=150)
HOLDING = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        held = bytearray(os.urandom(1) * (90 << 20))
        time.sleep(50)
        os._exit(0)
time.sleep(50)
"""


@pytest.mark.parametrize("unsafe", [False, True])
def test_processes_that_hold_too_much_together_are_ended_together(nothing_left, unsafe):
    result = Sandbox(LIMITS, unsafe_local_code=unsafe).run(HOLDING)
    assert result.error == "stopped after taking more than 150 MB of memory in all processes; use less"
    assert not result.timed_out


def test_memory_that_is_shared_without_a_file_counts_too(nothing_left):
    code = (
        "import mmap, time\nheld = mmap.mmap(-1, 200 << 20)\n"
        "for place in range(0, 200 << 20, 4096): held[place] = 1\ntime.sleep(50)"
    )
    assert "more than 150 MB of memory in all" in Sandbox(LIMITS).run(code).error


def test_one_that_holds_less_is_left_alone(nothing_left):
    code = "held = bytearray(b'x' * (60 << 20))\nimport time\ntime.sleep(1)\nprint(len(held))"
    assert Sandbox(LIMITS).run(code).observation == str(60 << 20)


def test_what_is_held_is_that_of_a_process_and_of_all_below_it():
    alone = held_by(os.getpid())
    assert 1 << 20 < alone < 64 << 30
    assert held_by(1 << 22) == 0  # there is none


@pytest.mark.parametrize(
    ("free_gb", "processors", "at_once"), [(64, 2, 4), (4, 8, 2), (0.5, 8, 1), (16, 64, 8), (1000, 1, 2)]
)
def test_as_many_run_at_once_as_the_machine_has_memory_for(monkeypatch, free_gb, processors, at_once):
    monkeypatch.setattr(memory, "_free", lambda: int(free_gb * (1 << 30)))
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    assert runs_at_once(1024) == at_once


def test_a_container_has_no_more_than_it_may_have(monkeypatch, tmp_path):
    bound, none = tmp_path / "memory.max", tmp_path / "none"
    bound.write_text("1000000\n")
    none.write_text("max\n")
    monkeypatch.setattr(memory, "_OF_GROUP", (str(none), str(bound), str(tmp_path / "missing")))
    assert memory._free() == 1_000_000


def test_a_machine_without_a_filter_of_system_calls_is_told_of_once(caplog, monkeypatch):
    runner._say_what_is_missing.cache_clear()
    with caplog.at_level(logging.WARNING):
        for machine in ("x86_64", "riscv64", "riscv64"):
            runner._say_what_is_missing(machine)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "no filter of system calls is known for riscv64"
    ]


def test_a_limit_of_nothing_is_refused_for_all_processes_too():
    with pytest.raises(Exception, match="total_mb must be > "):
        replace(LIMITS, total_mb=0)
