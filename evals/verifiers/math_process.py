"""A process that compares mathematical answers by math-verify; `math_pool` starts it, and loses nothing if it dies.

On its standard input are JSON lines `[gold, given, seconds]`, on its standard output the verdicts: `true`, `false` or
`null` where the gold answer cannot be read. Before the first it says `"ready"`. It is run as a file, so that it needs
nothing of this project to be importable.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
from contextlib import suppress
from typing import Any

_MEMORY = 2 << 30
"""Bytes that the process may take: an answer such as 9^{9^{9}} asks for more than there is."""
_NOT_PROSE = re.compile(r"\\(?:text|mbox|mathrm|textbf)\s*\{[^{}]*\}|\\[A-Za-z]+")
_PROSE = re.compile(r"[A-Za-z]{2,}[\s,]+[A-Za-z]{2,}")
_MARKED = re.compile(r"\$|\\\(|\\\[|\\boxed|\\begin\{(?:equation|align)")


def compare(gold: str, given: str) -> bool | None:
    """Whether two answers are the same; None if the gold one cannot be read."""
    from math_verify import verify

    wanted = _read(gold)
    if not wanted:
        return None
    return bool(verify(wanted, _read(given), timeout_seconds=None))


def main() -> None:
    """Answer line by line until nobody asks any more."""
    logging.disable(logging.CRITICAL)
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a package prints is no verdict
    _bound_memory()
    import math_verify  # noqa: F401 - it takes a second, which is no part of the first comparison

    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        gold, given, seconds = json.loads(line)
        _bound_time(seconds)
        try:
            verdict = compare(gold, given)
        except (Exception, RecursionError, MemoryError):  # noqa: BLE001 - what cannot be compared is not equal
            verdict = False
        print(json.dumps(verdict), file=answers, flush=True)


def _read(text: str) -> list[Any]:
    """What math-verify makes of an answer: as a formula if that is all it is, else of the prose around it."""
    from math_verify import parse

    if not _MARKED.search(text) and not _PROSE.search(_NOT_PROSE.sub(" ", text)):
        found: list[Any] = parse(f"${text}$", parsing_timeout=None)
        if found:
            return found
    return list(parse(text, parsing_timeout=None))


def _bound_memory() -> None:
    with suppress(ImportError, ValueError, OSError):  # not on Windows; a lower limit may be set already
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _bound_time(seconds: float) -> None:
    """Have the kernel end this process after so much more computing: a busy machine makes no answer wrong."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        used = os.times()
        limit = math.ceil(used.user + used.system + seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main()
