"""Where errors become one sentence and an exit code.

    0    done
    1    a mistake in this package or in the user's own code; `tfgrpo --debug ...` shows where
    2    something that the user can mend: an argument, a file, a key, an endpoint
    3    done, but something could not be recorded
    4    a run waits for the review of its operations; the same command goes on with it
    5    a limit, or want of progress, ended a run before its last step, in good order
    6    done, but lessons that were paid for never reached the library
    7    an endpoint was away, or the disk full, for longer than a run waits, which ended it in good order
    8    a score is below what was asked for, or shown to be worse than before
    130  interrupted; 143 and 129 by SIGTERM and SIGHUP

Messages go to standard error and hold no credential.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any

import typer
from rich.text import Text
from typer.core import TyperGroup

from tfgrpo_dspy.cli.options.spelling import spelled
from tfgrpo_dspy.cli.terminal import err, warn
from tfgrpo_dspy.errors import RequestError, TFGRPOError, TooManyErrors
from tfgrpo_dspy.reports.redaction import safe
from tfgrpo_dspy.text import one_line

MISTAKE, BAD_INPUT, UNRECORDED, WAITING, ENDED_EARLY, UNUSED, AWAY, TOO_LOW, INTERRUPTED = 1, 2, 3, 4, 5, 6, 7, 8, 130
_SIGNALS = ("SIGTERM", "SIGHUP")
"""What a scheduler sends whose time is up, and a terminal that is closed; not every system has both."""
_FROM_SIGNAL = 128
"""An exit code less this is the number of the signal."""
_AT_ONCE = {
    *(UNRECORDED, INTERRUPTED),
    *(_FROM_SIGNAL + getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)),
}
"""Exit codes of processes that wait for nothing more."""
_MOMENT = 0.02
"""Seconds."""

_MOST_CHARACTERS = 1200


class Signalled(KeyboardInterrupt):
    """Another signal than that of Ctrl-C, its number the argument, told this process to end: in the same good order."""


def heed_signals() -> None:
    """From now on signals that would end this process interrupt it; not those that it was started to ignore."""
    if hasattr(signal, "pthread_kill"):
        sys.unraisablehook = partial(_come_again, sys.unraisablehook)
    for number in [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, partial(_interrupt, os.getpid()))


def _interrupt(ours: int, number: int, frame: object) -> None:
    if os.getpid() == ours:
        raise Signalled(number)
    signal.signal(number, signal.SIG_DFL)  # a child that a program forked ends as it would have
    os.kill(os.getpid(), number)


def _come_again(otherwise: Callable[[Any], object], ignored: Any) -> None:
    """An interrupt that came where Python lets nothing be raised, in a finalizer say, comes again a moment later."""
    if not issubclass(ignored.exc_type, KeyboardInterrupt):
        otherwise(ignored)
        return
    again = code_of(ignored.exc_value) - _FROM_SIGNAL
    timer = threading.Timer(_MOMENT, signal.pthread_kill, (threading.main_thread().ident, again))
    timer.daemon = True
    timer.start()


def serve(find: Callable[[], Callable[..., object]], name: str) -> None:
    """Be the process of a command, and end with its exit code; a signal ends it in good order, whenever it comes.

    Args:
        find: Brings the command, which may take a while to load.
        name: What it is called.
    """
    code: str | int | None = 0
    try:
        heed_signals()
        find()(prog_name=name)
    except KeyboardInterrupt as early:  # before there was a command to end in order
        code = code_of(early)
    except SystemExit as leaving:
        code = leaving.code
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is said and written: nothing is left to be ended in order
    if isinstance(code, int) and code in _AT_ONCE:
        # All files are written; Python would go on to wait for calls in flight, which nobody wants any more.
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def code_of(interrupt: BaseException | None) -> int:
    """The exit code of an interrupt, or of the error that came of one."""
    while interrupt is not None and not isinstance(interrupt, Signalled):
        interrupt = interrupt.__cause__ or interrupt.__context__
    return INTERRUPTED if interrupt is None else _FROM_SIGNAL + int(interrupt.args[0])


class Interrupted(TFGRPOError):
    """The user stopped a run; the message says where what was learned is."""


class Away(TFGRPOError):
    """An endpoint was away, or a disk full, for longer than is waited; the message says what is kept."""


class Waiting(TFGRPOError):
    """A run waits for a person's review; the message says where, and where what was learned is."""


class Commands(TyperGroup):
    """A group of commands whose errors are shown in one sentence."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if ctx.params.get("debug") or hasattr(error, "format_message"):  # which typer shows with the usage
                raise
            raise _leaving(error, ctx) from error


def _leaving(error: BaseException, ctx: typer.Context) -> typer.Exit:
    """Say what is wrong, and with which code to leave."""
    match error:
        case KeyboardInterrupt():
            return _stop("interrupted; nothing had been written", code_of(error))
        case Interrupted():
            return _stop(str(error), code_of(error))
        case Away():
            return _stop(str(error), AWAY)
        case Waiting():
            return _stop(str(error), WAITING, label="Review: ", style="bold yellow")
        case TFGRPOError() | OSError():
            return _stop(spelled(_described(error), _options_of(ctx)), BAD_INPUT)
    from dspy.utils.exceptions import LMError

    if isinstance(error, LMError):
        return _stop(why(error), BAD_INPUT)
    return _stop(f"{type(error).__name__}: {first_paragraph(error)}; `tfgrpo --debug ...` shows where", MISTAKE)


def _options_of(ctx: typer.Context) -> set[str]:
    command: Any = ctx.command
    for name in (ctx.invoked_subcommand, *ctx.args):
        command = getattr(command, "commands", {}).get(name, command)
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def check_recorded(unrecorded: Collection[str]) -> None:
    """Say what could not be recorded, if anything, and exit with the code of that."""
    for line in unrecorded:
        warn(f"not recorded: {safe(line)}")
    if unrecorded:
        raise typer.Exit(UNRECORDED)


def first_paragraph(error: BaseException) -> str:
    """What an error says, without the advice that some libraries add over many lines."""
    return one_line(str(error).strip().split("\n\n")[0]) or type(error).__name__


def why(error: BaseException) -> str:
    """Why a run or an evaluation could not go on, and what to do."""
    from tfgrpo_dspy.lm.verdicts.table import verdict_of

    said = first_paragraph(error).rstrip(".")
    if isinstance(error, RequestError | TooManyErrors):
        return said
    verdict = verdict_of(error)
    return (
        verdict.sentence
        if verdict.taken_for == "request"
        else f"{said}; check the model's name, the key and the endpoint"
    )


def _described(error: TFGRPOError | OSError) -> str:
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:  # these name no file
        return f"{first_paragraph(error)}: make room on the disk and give the same command again"
    if isinstance(error, OSError) and not isinstance(error, TFGRPOError) and error.filename:
        return f"{error.filename}: {(error.strerror or str(error)).lower()}; check the path and its permissions"
    return first_paragraph(error)


def _stop(message: str, code: int, *, label: str = "Error: ", style: str = "bold red") -> typer.Exit:
    text = safe(message)
    shown = text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
    with suppress(OSError):  # the terminal may be what has gone
        err().print(Text.assemble((label, style), shown), soft_wrap=True)
    return typer.Exit(code)
