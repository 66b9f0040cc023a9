"""Starts `mlflow ui` on the store of a project folder, without network, and says where to look."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

from tfgrpo_dspy.errors import MissingExtraError, SettingsError

_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # without network, LiteLLM's price request hangs MLflow's start for ever
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its workers slow the start down and serve nothing of ours
}
# The server is on this machine: a proxy of the environment must not be asked for it.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Links(NamedTuple):
    """Where to look in a browser."""

    chart: str
    """All runs of the experiment, metrics side by side."""
    run: str | None
    """Metrics of the run; None if there is none yet."""


def links_to(base_url: str, experiment_id: str, run_id: str | None) -> Links:
    """The pages of an experiment and a run on an MLflow server, e.g. at `http://127.0.0.1:5000`."""
    runs = f"{base_url.rstrip('/')}/#/experiments/{experiment_id}/runs"
    return Links(f"{runs}?compareRunsMode=CHART", f"{runs}/{run_id}/model-metrics" if run_id else None)


class UICommand(NamedTuple):
    """A command line with its environment."""

    argv: list[str]
    env: dict[str, str]


def ui_command(store_dir: str | os.PathLike[str] = "mlruns", port: int = 5000, host: str = "127.0.0.1") -> UICommand:
    """The command that shows a store.

    Args:
        store_dir: Folder that holds `mlflow.db`.
        port: Port to listen on.
        host: Interface to listen on.

    Raises:
        SettingsError: There is no store in that folder.
        MissingExtraError: MLflow is not installed.
    """
    folder = Path(store_dir).resolve()
    database = folder / "mlflow.db"
    if not database.is_file():
        inner = folder / "mlruns"
        hint = f"; there is one in {inner}" if (inner / "mlflow.db").is_file() else ""
        raise SettingsError(
            f"there is no MLflow store in {folder}: track a run first, or name the folder that holds mlflow.db{hint}"
        )
    if find_spec("mlflow") is None:
        raise MissingExtraError("the UI needs MLflow: pip install 'tfgrpo-dspy[mlflow]'")
    artifacts = (folder / "artifacts").as_uri()
    options = {
        "--backend-store-uri": f"sqlite:///{database.as_posix()}",
        "--default-artifact-root": artifacts,
        "--artifacts-destination": artifacts,
        "--host": host,
        "--port": str(port),
        "--workers": "1",
    }
    argv = [sys.executable, "-m", "mlflow", "ui", *(part for option in options.items() for part in option)]
    return UICommand(argv, {**_ENVIRONMENT, **os.environ})


def open_ui(
    store_dir: str | os.PathLike[str] = "mlruns",
    port: int = 5000,
    host: str = "127.0.0.1",
    *,
    experiment: str | None = None,
    timeout: float = 180.0,
) -> RunningUI:
    """Start the MLflow UI on a store and wait until it answers.

    Args:
        store_dir: Folder that holds `mlflow.db`.
        port: Port to listen on; 0 takes a free one.
        host: Interface to listen on.
        experiment: Name of the experiment to link to; None takes that of the last run.
        timeout: Seconds to wait for it.

    Returns:
        The running server, which is a context manager; without one, call its `stop`.

    Raises:
        SettingsError: No store, no such experiment, the port is taken, or the server does not come up; the message
            shows its last words.
        MissingExtraError: MLflow is not installed.
    """
    command = ui_command(store_dir, free_port(port, host), host)
    log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the server runs
    process = subprocess.Popen(
        command.argv, env=command.env, stdout=log, stderr=subprocess.STDOUT, start_new_session=os.name == "posix"
    )
    running = RunningUI(process, log, f"http://{_reachable(host)}:{command.argv[command.argv.index('--port') + 1]}")
    try:
        running.wait_until_ready(timeout)
        running.links = running.find_links(experiment)
    except BaseException:
        running.stop()
        raise
    return running


@dataclass(slots=True)
class RunningUI:
    """An MLflow server that this process has started."""

    process: subprocess.Popen[bytes]
    log: IO[bytes]
    url: str
    links: Links | None = None
    """The charts of all runs and the metrics of the last one; None for an empty store."""

    def __enter__(self) -> RunningUI:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def wait(self) -> int:
        """Wait until the server ends, and return its exit code; an interrupt ends it."""
        try:
            return self.process.wait()
        finally:
            self.stop()

    def stop(self, timeout: float = 5.0) -> None:
        """End the server and the workers it started; can be called twice."""
        if self.process.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))
                self.process.wait(timeout)
        self.log.close()

    def wait_until_ready(self, timeout: float) -> None:
        """Wait for the server's health page.

        Raises:
            SettingsError: It ended, or did not answer in time.
        """
        deadline = time.monotonic() + timeout
        while not self._is_healthy():
            if self.process.poll() is not None:
                raise SettingsError(f"mlflow ui ended with code {self.process.returncode}: {self._last_words()}")
            if time.monotonic() > deadline:
                raise SettingsError(
                    f"mlflow ui did not answer at {self.url} within {timeout:.0f} s; it said: {self._last_words()}"
                )
            time.sleep(0.1)

    def find_links(self, experiment: str | None = None) -> Links | None:
        """Pages of an experiment and its last run; of the last run of all experiments if none is named.

        Raises:
            SettingsError: There is no experiment of that name; the message lists those there are.
        """
        found = self._ask("experiments/search", {"max_results": 1000}).get("experiments", [])
        ids = {e["name"]: e["experiment_id"] for e in found}
        if experiment is not None and experiment not in ids:
            raise SettingsError(f"there is no experiment {experiment!r} in this store, only {', '.join(sorted(ids))}")
        wanted = [ids[experiment]] if experiment is not None else list(ids.values())
        query = {"experiment_ids": wanted, "max_results": 1, "order_by": ["attributes.start_time DESC"]}
        runs = self._ask("runs/search", query).get("runs", [])
        if runs:
            info = runs[0]["info"]
            return links_to(self.url, info["experiment_id"], info["run_id"])
        return links_to(self.url, wanted[0], None) if experiment is not None else None

    def _is_healthy(self) -> bool:
        try:
            with _direct.open(f"{self.url}/health", timeout=2) as answer:
                return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's OK
        except (OSError, urllib.error.URLError):
            return False

    def _ask(self, path: str, query: Mapping[str, object]) -> dict[str, Any]:
        body = json.dumps(query).encode()
        request = urllib.request.Request(
            f"{self.url}/api/2.0/mlflow/{path}", data=body, headers={"Content-Type": "application/json"}
        )
        with _direct.open(request, timeout=30) as answer:
            return dict(json.load(answer))

    def _last_words(self) -> str:
        self.log.seek(0)
        lines = self.log.read().decode("utf-8", "replace").split("\n")
        return " / ".join([line.strip() for line in lines if line.strip()][-5:]) or "nothing"

    def _signal(self, number: int) -> None:
        if os.name == "posix":
            os.killpg(self.process.pid, number)  # the server runs workers, which outlive it otherwise
        else:
            self.process.terminate()


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)


def free_port(port: int, host: str) -> int:
    """The port itself, or a free one for 0.

    Raises:
        SettingsError: It cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended is no obstacle
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise SettingsError(f"port {port} on {host} cannot be used ({error}); choose another one, or 0") from error
        return int(probe.getsockname()[1])
