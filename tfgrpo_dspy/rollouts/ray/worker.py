"""A process of Ray's that makes rollouts, several at once, in threads."""

from __future__ import annotations

import logging
import os
import queue
import threading
from contextlib import ExitStack, suppress
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple

import cloudpickle
import dspy

from tfgrpo_dspy.errors import ProgramError
from tfgrpo_dspy.lm.flight import HELPERS
from tfgrpo_dspy.lm.metering import metering
from tfgrpo_dspy.lm.usage import Traffic
from tfgrpo_dspy.records.rollouts import Made
from tfgrpo_dspy.rollouts.parcel import Contents
from tfgrpo_dspy.rollouts.ray.account import ROLLOUT, MeterThere, Tell

_TASKS = 8
"""Tasks that are kept unpacked: a step has one, and its gates may have some more."""


class Answer(NamedTuple):
    """What is sent back of a rollout."""

    rollout: Made | None
    error: BaseException | None
    """What stops the run; there is no rollout then."""


class Worker:
    """The actor. Its methods come from one run at a time, in any order; none blocks but `hear`."""

    def __init__(self) -> None:
        self._visit: _Visit | None = None
        self._unpacking = threading.Lock()
        self._said: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        logging.getLogger("tfgrpo_dspy").addHandler(_Telling(self.tell))

    def ready(self) -> str:
        """The node it is on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def tell(self, *message: Any) -> None:
        """For the next `hear`."""
        self._said.put(message)

    def hear(self) -> tuple[Traffic, list[tuple[Any, ...]]]:
        """Wait until there is something to tell: the requests sent for the run until then, and all that there is."""
        messages = [self._said.get(), *_all_of(self._said)]
        return Traffic() if self._visit is None else self._visit.meter.traffic, messages

    def start(self, rollout: int, reference: list[Any], example: bytes, name: str, *, is_proven: bool) -> None:
        """Begin a rollout.

        Args:
            rollout: Its number.
            reference: To the parcel of its task; in a list Ray hands on the reference itself.
            example: As bytes.
            name: Of the rollout.
            is_proven: Whether the endpoint is known to be there.
        """
        HELPERS.start(partial(self._make, rollout, reference[0], example, name, is_proven))

    def answer(self, number: int, refusal: str | None) -> None:
        """What the run says to a call that was asked for."""
        if (visit := self._visit) is not None:
            visit.meter.leased.answer(number, refusal)

    def stop(self, reason: str) -> None:
        """Nothing new starts in the run."""
        if (visit := self._visit) is not None:
            visit.meter.end(reason)

    def rest(self, run: str) -> None:
        """That run is over."""
        with self._unpacking:
            if self._visit is not None and self._visit.run == run:
                self._leave()

    def _leave(self) -> None:
        visit, self._visit = self._visit, None
        if visit is not None:
            visit.close()
        _all_of(self._said)

    def _make(self, rollout: int, reference: Any, example: bytes, name: str, is_proven: bool) -> None:
        made, error, tell = None, None, self.tell
        try:
            visit, task = self._unpacked(reference)
            tell = visit.tell
            visit.meter.outages.are_proven |= is_proven
            made = visit.context.copy().run(_roll, rollout, task, example, name)
        except BaseException as raised:  # noqa: BLE001 - it must reach the run, as it would from a thread
            error = raised
        tell("done", rollout, _sent(Answer(made, error)))

    def _unpacked(self, reference: Any) -> tuple[_Visit, Any]:
        import ray

        with self._unpacking:
            visit, key = self._visit, reference.hex()
            if visit is not None and key in visit.tasks:
                return visit, visit.tasks[key]
            try:
                contents: Contents = cloudpickle.loads(ray.get(reference))
            except Exception as error:  # whatever an import raises
                raise ProgramError(
                    f"a Ray worker cannot run the program: {type(error).__name__}: {error}; every node needs what it "
                    "imports, tfgrpo-dspy and dspy in the versions used here"
                ) from error
            if visit is None or visit.run != contents.run:
                self._leave()
                self._visit = visit = _Visit(contents, self.tell)
            visit.tasks[key] = contents.task
            if len(visit.tasks) > _TASKS:
                del visit.tasks[next(iter(visit.tasks))]
            return visit, contents.task


class _Visit:
    """A run in this process: its meter, and DSPy's context for its rollouts."""

    def __init__(self, contents: Contents, tell: Tell) -> None:
        self.run, self.tasks = contents.run, dict[str, Any]()
        self._tell, self._is_over = tell, False
        self.meter = MeterThere(contents.pace, self.tell)
        os.environ.update(contents.environment)
        dspy.configure_cache(**contents.cache)
        self.context, self._stack = copy_context(), ExitStack()
        for entered in (dspy.context(**contents.settings), metering(self.meter)):
            self.context.run(self._stack.enter_context, entered)

    def tell(self, *message: Any) -> None:
        """The run, while it is there."""
        if not self._is_over:
            self._tell(*message)

    def close(self) -> None:
        """It is over: what it left behind makes no more calls, and is heard of no more."""
        self._is_over = True
        self.meter.end("the run is over")
        self.context.run(self._stack.close)


class _Telling(logging.Handler):
    """Brings warnings of this package to where people read them."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell("say", record.getMessage())


def _all_of(said: queue.SimpleQueue[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    taken = []
    with suppress(queue.Empty):
        while True:
            taken.append(said.get_nowait())
    return taken


def _roll(rollout: int, task: Any, example: bytes, name: str) -> Made:
    ROLLOUT.set(rollout)
    made: Made = task(cloudpickle.loads(example), name)
    return made


def _sent(answer: Answer) -> bytes:
    try:
        data: bytes = cloudpickle.dumps(answer)
        cloudpickle.loads(data)
    except Exception:  # noqa: BLE001 - an error may hold what cannot travel, or not come up again from what can
        told = RuntimeError(f"{type(answer.error).__name__}: {answer.error}")
        data = cloudpickle.dumps(answer._replace(error=told))
    return data
