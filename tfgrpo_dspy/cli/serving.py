"""`tfgrpo simulate`, `tfgrpo ui` and `tfgrpo mcp`, the servers, and `tfgrpo view`, the page that needs none."""

from __future__ import annotations

import signal
import sys
import webbrowser
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from tfgrpo_dspy.cli.files import PAGE
from tfgrpo_dspy.cli.terminal import SIMULATED, err, say, show_path, us
from tfgrpo_dspy.errors import DataError, MissingExtraError


def simulate(port: int, host: str, seed: int, median: float, p99: float | None, api_key: str | None) -> None:
    """Serve the embedded LM until interrupted."""
    from tfgrpo_dspy.observers.mlflow.ui import free_port
    from tfgrpo_dspy.simulated.endpoint.server import Latency, serve

    latency = Latency(median, p99)
    port = free_port(port, host)
    announce = partial(_announce, f"http://{host}:{port}/v1", api_key)
    try:
        serve(port, host, seed=seed, latency=latency, api_key=api_key, announce=announce)
    except KeyboardInterrupt:
        say("stopped")


def _announce(url: str, api_key: str | None) -> None:
    say(f"The embedded LM listens on {url} (stop it with Ctrl-C)", style="bold")
    say(SIMULATED, style="yellow")
    key = "<the key you gave>" if api_key else "any"
    say(f"Try it: OPENAI_API_KEY={key} tfgrpo compile ... --lm openai/simulated --api-base {url}")


def show_ui(folder: Path, port: int, host: str, experiment: str | None) -> None:
    """Run MLflow's UI until interrupted or told to end; its server, which holds the port, ends with it."""
    from tfgrpo_dspy.observers.mlflow.ui import open_ui

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as an exception it closes what was opened
    with err().status("Starting mlflow ui"):
        running = open_ui(folder, port, host, experiment=experiment)
    with running:
        say(f"MLflow shows {folder} at {running.url} (stop it with Ctrl-C)", style="bold")
        links = running.links
        say(f"all runs, as charts: {links.chart}" if links else "There is no run in it yet.")
        if links is not None and links.run is not None:
            say(f"the last run: {links.run}")
        try:
            running.wait()
        except KeyboardInterrupt:
            say("stopped")


def serve_library(file: Path) -> None:
    """Serve a library to an agent until it hangs up.

    Raises:
        MissingExtraError: mcp or bm25s is not installed.
        DataError, LibraryFormatError, HistoryError: There is no such library.
    """
    from tfgrpo_dspy.cli.library.tracked import library_file, read_tracked
    from tfgrpo_dspy.library.word_index import check_bm25

    if find_spec("mcp") is None:
        raise MissingExtraError("the MCP server needs mcp: pip install 'tfgrpo-dspy[mcp]'")
    check_bm25()
    path = library_file(file)
    read_tracked(path)
    from tfgrpo_dspy.cli.library.mcp_server import server_of

    with suppress(KeyboardInterrupt):
        server_of(path).run()


def show_page(run: Path, *, open_it: bool) -> None:
    """Open the page about a run in the browser, or say where it is.

    Raises:
        DataError: There is none.
    """
    path = run / PAGE if run.is_dir() else run
    if path.suffix != ".html" or not path.is_file():
        raise DataError(f"there is no page about a run at {show_path(path)}; {us()} compile writes one into its folder")
    opened = open_it and webbrowser.open(path.resolve().as_uri())
    say(f"{show_path(path)}{'' if opened or not open_it else ' (no browser could be opened)'}")
