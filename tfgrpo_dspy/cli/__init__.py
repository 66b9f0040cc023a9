"""The command line `tfgrpo`: the library's own functions with files in and files out, and nothing that they lack."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run `tfgrpo` on the arguments of this process."""
    from tfgrpo_dspy.cli.app import app
    from tfgrpo_dspy.cli.boundary import INTERRUPTED

    try:
        app(prog_name="tfgrpo")
    except SystemExit as leaving:
        if leaving.code == INTERRUPTED:
            # All files are written; Python would go on to wait for calls in flight, which nobody wants any more.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        raise
