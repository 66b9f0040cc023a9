"""`tfgrpo simulate`, `tfgrpo ui` and `tfgrpo mcp`, the servers, and `tfgrpo view`, the page that needs none."""

from __future__ import annotations

import signal
import sys
import webbrowser
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from tfgrpo_dspy.cli.library.tracked import library_file, read_tracked
from tfgrpo_dspy.cli.terminal import SIMULATED, err, say, us
from tfgrpo_dspy.errors import DataError, MissingExtraError
from tfgrpo_dspy.library.word_index import check_bm25
from tfgrpo_dspy.text import show_path

Host = Annotated[str, typer.Option("--host", metavar="ADDRESS")]


def simulate(
    port: Annotated[int, typer.Option(metavar="N")] = 8765,
    host: Host = "127.0.0.1",
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    latency_median: Annotated[float, typer.Option(metavar="SECONDS", help="Of a reply.")] = 0.0,
    latency_p99: Annotated[float | None, typer.Option(metavar="SECONDS", help="99% of replies take no longer.")] = None,
    api_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Refuse callers without it. Default: accept any.")
    ] = None,
) -> None:
    """Serve the embedded, simulated LM as an OpenAI-compatible endpoint."""
    from tfgrpo_dspy.observers.mlflow.ui import free_port
    from tfgrpo_dspy.simulated.endpoint.server import Latency, serve

    latency, port = Latency(latency_median, latency_p99), free_port(port, host)

    def announce() -> None:
        url, key = f"http://{host}:{port}/v1", "<the key you gave>" if api_key else "any"
        say(f"The embedded LM listens on {url} (stop it with Ctrl-C)", style="bold")
        say(SIMULATED, style="yellow")
        say(f"Try it: OPENAI_API_KEY={key} tfgrpo compile ... --lm openai/simulated --api-base {url}")

    try:
        serve(port, host, seed=seed, latency=latency, api_key=api_key, announce=announce)
    except KeyboardInterrupt:
        say("stopped")


def ui(
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Folder that holds mlflow.db.")] = Path("mlruns"),
    port: Annotated[int, typer.Option(metavar="N", help="0 takes a free one.")] = 5000,
    host: Host = "127.0.0.1",
    experiment: Annotated[
        str | None, typer.Option(metavar="NAME", help="To link to. Default: that of the last run.")
    ] = None,
) -> None:
    """Look at the recorded runs in the browser (MLflow)."""
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


def mcp(
    library: Annotated[Path, typer.Argument(metavar="LIBRARY", help="A library.json, or its folder.")],
) -> None:
    """Serve a library to agents (Model Context Protocol, standard input and output): search, read, propose."""
    if find_spec("mcp") is None:
        raise MissingExtraError("the MCP server needs mcp: pip install 'tfgrpo-dspy[mcp]'")
    check_bm25()
    path = library_file(library)
    read_tracked(path)
    from tfgrpo_dspy.interop.mcp_server import server_of

    with suppress(KeyboardInterrupt):
        server_of(path).run()


def view(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or its run.html.")] = Path("out"),
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open it, or only say where it is. Default: open it.")
    ] = True,
) -> None:
    """Open the page about a run: how it ended, what was learned, and from which rollouts."""
    from tfgrpo_dspy.cli.files import PAGE

    path = run / PAGE if run.is_dir() else run
    if path.suffix != ".html" or not path.is_file():
        raise DataError(f"there is no page about a run at {show_path(path)}; {us()} compile writes one into its folder")
    opened = browser and webbrowser.open(path.resolve().as_uri())
    say(f"{show_path(path)}{'' if opened or not browser else ' (no browser could be opened)'}")
