"""What a run adds to each LM call: CPU time of `compile` against a bare `dspy.Predict` loop making the same calls.

A first compile is listened to: every predictor call, with its signature and inputs. The bare loop makes these same
calls again, on as many threads, so that prompts and replies are the same ones. Both are repeated in turns and each
turn gives a ratio; the median counts. Over HTTP, as users call an LM, the simulated one runs in another process, whose
CPU is not counted; the target is for this. In process the LM is part of both sides, and "less the LM" is the ratio
without its share: such a call has no transport, so the same overhead is a larger ratio there, which is shown only.

Example: python -m benchmarks.speed.overhead --problems 50 --repeats 3
"""

from __future__ import annotations

import argparse
import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any, NamedTuple

import dspy
from dspy.lm15 import Request, Response
from dspy.utils.callback import BaseCallback

from benchmarks.common import Figures, Target, progress, report
from benchmarks.speed.endpoint import endpoint, http_lm
from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.simulated import SimulatedEngine, answers_match, demo_examples
from tfgrpo_dspy.simulated.student import make_solver

MOST = 1.15
PRICED = "gpt-4.1-nano"
"""A model on DSPy's list of prices; one that is not takes a bare call twice as long, while DSPy looks for it."""
LATENCY = 0.02
"""Seconds of each reply over HTTP: threads wait, as they do for a real endpoint."""

Calls = list[tuple[dspy.Predict, Mapping[str, Any]]]


class TimedEngine:
    """The simulated engine, which knows the CPU time it took."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._engine, self._lock = SimulatedEngine(), threading.Lock()

    def complete(self, request: Request) -> Response:
        """The reply to one request."""
        started = time.thread_time()
        response = self._engine.complete(request)
        took = time.thread_time() - started
        with self._lock:
            self.seconds += took
        return response


class Listener(BaseCallback):
    """Notes every predictor call."""

    def __init__(self) -> None:
        self.calls: Calls = []
        self._bare: dict[Any, dspy.Predict] = {}

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: D102
        if isinstance(instance, dspy.Predict):
            bare = self._bare.setdefault(instance.signature, dspy.Predict(instance.signature))
            self.calls.append((bare, inputs.get("kwargs", inputs)))


class Took(NamedTuple):
    """CPU seconds."""

    all: float
    lm: float
    """Of these, the LM's own; 0 when it runs in another process."""


class Turn(NamedTuple):
    """One compile and one bare loop."""

    compile: Took
    bare: Took

    @property
    def ratio(self) -> float:
        """Of the process's CPU time."""
        return self.compile.all / self.bare.all

    @property
    def ratio_less_lm(self) -> float:
        """Of the same without the LM's share."""
        return (self.compile.all - self.compile.lm) / (self.bare.all - self.bare.lm)


class Setting(NamedTuple):
    """Where the LM is."""

    name: str
    lm: dspy.LM
    lm_seconds: Callable[[], float]
    """CPU seconds so far that are the LM's own."""


def measure(setting: Setting, problems: int, threads: int, repeats: int) -> Mapping[str, object]:
    """A line of the table."""
    progress(f"{setting.name}: {problems} problems, {repeats} turns ...")
    optimizer = TrainingFreeGRPO(correct, epochs=1, num_threads=threads, max_errors=0, seed=0, display_progress=False)
    trainset, student, listener = demo_examples(problems, seed=0), make_solver(), Listener()
    with dspy.context(lm=setting.lm):
        with dspy.context(callbacks=[listener]):
            optimizer.compile(student, trainset)

        def compile_once() -> None:
            optimizer.compile(student, trainset)

        def loop_once() -> None:
            loop(listener.calls, threads)

        turns = []
        for turn in range(repeats):
            order = [compile_once, loop_once] if turn % 2 else [loop_once, compile_once]
            took = {task: _cpu_seconds(task, setting) for task in order}
            turns.append(Turn(took[compile_once], took[loop_once]))
    return _row(setting.name, len(listener.calls), turns)


def loop(calls: Calls, threads: int) -> None:
    """The calls, made by a plain `dspy.Predict` each."""
    todo = iter(calls)
    lock = threading.Lock()
    lm = dspy.settings.lm

    def work() -> None:
        with dspy.context(lm=lm):
            for predict, inputs in _taken(todo, lock):
                predict(**inputs)

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(work) for _ in range(threads)]:
            future.result()


def _taken(todo: Iterator[Any], lock: threading.Lock) -> Iterator[Any]:
    while True:
        with lock:
            item = next(todo, None)
        if item is None:
            return
        yield item


def _cpu_seconds(task: Callable[[], None], setting: Setting) -> Took:
    gc.collect()
    started, before = time.process_time(), setting.lm_seconds()
    task()
    return Took(time.process_time() - started, setting.lm_seconds() - before)


def _row(name: str, calls: int, turns: Sequence[Turn]) -> Mapping[str, object]:
    ratios = sorted(turn.ratio for turn in turns)
    return {
        "LM": name,
        "calls": calls,
        "compile, ms / call": round(1000 * median(turn.compile.all for turn in turns) / calls, 3),
        "bare, ms / call": round(1000 * median(turn.bare.all for turn in turns) / calls, 3),
        "ratio": round(median(ratios), 3),
        "lowest": round(ratios[0], 3),
        "highest": round(ratios[-1], 3),
        "less the LM": round(median(turn.ratio_less_lm for turn in turns), 3),
    }


def correct(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> bool:
    """The metric."""
    return answers_match(example.answer, prediction.answer)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; the exit code says whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=100, help="of one epoch, groups of five (default: 100)")
    parser.add_argument("--threads", type=int, default=16, help="(default: 16)")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each (default: 7)")
    options = parser.parse_args(arguments)
    sizes = options.problems, options.threads, options.repeats
    engine = TimedEngine()
    # The seed makes replies a function of the request: each turn makes the same calls.
    inside = Setting(
        "in process", dspy.LM("simulated/timed", engine=engine, cache=False, seed=0), lambda: engine.seconds
    )
    rows = [measure(inside, *sizes)]
    with endpoint(median=LATENCY) as server:
        for name, model in (("over HTTP, no known price", "simulated"), ("over HTTP, priced", PRICED)):
            rows.append(measure(Setting(name, http_lm(server, seed=0, model=model), lambda: 0.0), *sizes))
    targets = [Target(f"compile / bare, {row['LM']}", float(str(row["ratio"])), MOST) for row in rows[1:]]
    return report("overhead", [Figures("CPU per LM call", rows)], targets)


if __name__ == "__main__":
    sys.exit(main())
