"""What the interpreter in the sandbox runs: it gives up its rights, sets the limits and only then runs the code.

It is started as a script, so it imports nothing of this project and as little as it can. The code comes on stdin. What
it prints goes where stdout goes; that it started, and how it failed, goes to the file descriptor `report`.
"""

import io
import os
import resource
import sys
from types import ModuleType, TracebackType

NAME = "<code>"
MESSAGE_CHARS = 1_000
FRAMES = 5
LINE_CHARS = 120
MB = 1 << 20
SIGNALLED = 128  # plus the number of the signal that ended the code, as shells have it


def become(uid: int) -> None:
    """Be a user whom nobody else is: the kernel counts processes per user, and exempts root."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def limit(options: dict[str, str]) -> None:
    """Set every limit the kernel keeps; one that this system lacks stays open (the sandbox's probe has checked)."""
    cpu = int(options["cpu_seconds"])
    wanted = {
        "RLIMIT_CORE": (0, 0),
        "RLIMIT_CPU": (cpu, cpu + 1),  # SIGXCPU, then SIGKILL for those that ignore it
        "RLIMIT_NOFILE": (int(options["open_files"]),) * 2,
        "RLIMIT_FSIZE": (int(options["file_mb"]) * MB,) * 2,
        "RLIMIT_MSGQUEUE": (0, 0),
        "RLIMIT_MEMLOCK": (0, 0),
        "RLIMIT_AS": (int(options["memory_mb"]) * MB,) * 2,
    }
    if "processes" in options:
        wanted["RLIMIT_NPROC"] = (int(options["processes"]),) * 2
    for name, value in wanted.items():
        if hasattr(resource, name):
            try:
                resource.setrlimit(getattr(resource, name), value)
            except (ValueError, OSError):
                if "uid" in options:
                    raise


def take_code() -> str:
    """Read the code from stdin, which is empty from then on."""
    with open(0, "rb", closefd=False) as stdin:
        code = stdin.read().decode("utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return code


def stand_by() -> None:
    """Leave the code to a child, as the first process of a sandbox: wait for it, bury orphans, and end with it.

    The kernel treats a first process unlike others, which the code would notice; and where it ends, all others do.
    """
    child = os.fork()
    while child:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else SIGNALLED - code)


def run(code: str) -> None:
    """Run the code as the main module."""
    module = ModuleType("__main__")
    sys.modules["__main__"] = module  # pickling and `if __name__ == "__main__"` look there
    sys.argv = [NAME]
    exec(compile(code, NAME, "exec"), module.__dict__)


def describe(error: BaseException, code: str) -> str:
    """The exception, then the lines of the code that it came through, innermost last."""
    try:
        message = str(error.msg if isinstance(error, SyntaxError) else error)[:MESSAGE_CHARS]
    except BaseException:  # noqa: BLE001 - `__str__` of a class that the code defines
        message = "(its message cannot be shown)"
    if isinstance(error, MemoryError) and not message:
        message = "the memory limit of the sandbox is reached"
    header = f"{type(error).__name__}: {message}" if message else type(error).__name__
    numbers = [error.lineno] if isinstance(error, SyntaxError) else lines_of(error.__traceback__)
    lines = code.splitlines()
    pairs = zip(numbers, [None, *numbers], strict=False)
    apart = [number for number, before in pairs if number != before]  # recursion tells its line once
    shown = [f"  line {n}: {lines[n - 1].strip()[:LINE_CHARS]}" for n in apart if n and 0 < n <= len(lines)]
    return "\n".join([header, *shown[-FRAMES:]])


def lines_of(traceback: TracebackType | None) -> list[int]:
    """Line numbers of the frames that belong to the code."""
    numbers = []
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == NAME:
            numbers.append(traceback.tb_lineno)
        traceback = traceback.tb_next
    return numbers


def main() -> None:
    """Run the code of stdin under the limits of the command line, `name=value` each."""
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    code = take_code()
    sys.path += [folder for folder in options["packages"].split(os.pathsep) if folder]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, errors="replace")  # what was printed before a time-out is seen
    sys.set_int_max_str_digits(0)  # the digits of 2**100000 are a fair question; the processor limit bounds them
    if os.getpid() == 1:
        stand_by()
    if "uid" in options:
        become(int(options["uid"]))
    limit(options)
    report = os.fdopen(int(options["report"]), "w", encoding="utf-8", errors="replace")
    report.write("started\n")
    report.flush()
    try:
        run(code)
    except SystemExit as error:
        if error.code not in (None, 0):
            finish(report, describe(error, code))
    except BaseException as error:  # noqa: BLE001 - whatever the code raises is what its author wants to read
        finish(report, describe(error, code))


def finish(report: io.TextIOWrapper, text: str) -> None:
    """Say how the code failed, and leave as a failed program does."""
    report.write(text)
    report.flush()
    raise SystemExit(1)


main()
