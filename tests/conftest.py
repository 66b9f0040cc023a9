"""What every test runs in: only loopback is reachable, nothing of this machine's user is read, DSPy starts anew."""

from __future__ import annotations

import atexit
import gc
import ipaddress
import os
import re
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from copy import deepcopy
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings

# Several packages read the environment when they are imported, so it is made before the first of them is.
_home = tempfile.TemporaryDirectory(prefix="tfgrpo-tests-")
atexit.register(_home.cleanup)
for name in list(os.environ):
    if re.search(r"_API_KEY$|_API_BASE$|^(MLFLOW|DSPY|LITELLM|HF|XDG|TFGRPO)_|_proxy$", name, re.IGNORECASE):
        del os.environ[name]
os.environ |= {
    "HOME": _home.name,
    "DSPY_CACHEDIR": os.path.join(_home.name, "dspy"),
    "MPLCONFIGDIR": os.path.join(_home.name, "matplotlib"),
    "MPLBACKEND": "agg",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else importing litellm asks the network for prices
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "COLUMNS": "120",  # tables of the command line do not depend on the terminal
    "NO_COLOR": "1",
}
ENVIRONMENT = dict(os.environ)

import dspy

# The same examples every time, so that no change fails by another's; others: pytest --hypothesis-profile=default
hypothesis_settings.register_profile("ours", deadline=None, derandomize=True, max_examples=40)
hypothesis_settings.load_profile("ours")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected is never garbage: it is looked for later, and only among what tests make."""
    gc.disable()
    collected = yield
    gc.freeze()
    gc.enable()
    return collected


def is_on_this_machine(address: object) -> bool:
    """Whether a socket address stays here: loopback, "any", or no internet address at all (a Unix socket)."""
    if not isinstance(address, tuple) or not address:
        return True
    host = address[0]
    host = host.decode() if isinstance(host, bytes) else host
    if host in {None, "", "localhost", socket.gethostname()}:
        return True
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return ip.is_loopback or ip.is_unspecified


@pytest.fixture(scope="session")
def attempts_to_leave() -> Iterator[list[object]]:
    """Addresses that tests tried to reach; every way out of the process raises what no `except Exception` catches."""
    attempts: list[object] = []

    def guarded(function: Callable[..., object], address_of: Callable[[tuple[object, ...]], object]):
        def guard(*args: object, **kwargs: object) -> object:
            address = address_of(args)
            if not is_on_this_machine(address):
                attempts.append(address)
                pytest.fail(f"a test tried to reach {address}; serve a loopback endpoint instead")
            return function(*args, **kwargs)

        return guard

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name), lambda args: args[1]))
        patch.setattr(socket.socket, "sendto", guarded(socket.socket.sendto, lambda args: args[-1]))
        for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):  # a name asked for leaves the machine too
            patch.setattr(socket, name, guarded(getattr(socket, name), lambda args: args[:1]))
        yield attempts


@pytest.fixture(autouse=True)
def only_loopback(attempts_to_leave: list[object]) -> Iterator[list[object]]:
    """Fail the test that tried to leave the machine, even if something swallowed the guard's error."""
    attempts_to_leave.clear()
    yield attempts_to_leave
    if attempts_to_leave:
        pytest.fail(f"this test tried to reach {attempts_to_leave}; serve a loopback endpoint instead")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run in an empty folder, so that no test writes into the repository's `mlruns`, and restore the environment."""
    monkeypatch.chdir(tmp_path)
    yield
    for name in os.environ.keys() - ENVIRONMENT.keys() - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update(ENVIRONMENT)


@pytest.fixture(autouse=True)
def fresh_dspy(monkeypatch: pytest.MonkeyPatch) -> None:
    """DSPy as it is after import: its own settings, nobody owning them, and an empty cache in memory only."""
    settings = import_module("dspy.dsp.utils.settings")
    monkeypatch.setattr(settings, "main_thread_config", deepcopy(settings.DEFAULT_CONFIG))
    monkeypatch.setattr(settings, "config_owner_thread_id", None)
    monkeypatch.setattr(settings, "config_owner_async_task", None)
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)


def make_tables(make: Callable[[Any], None], first: Path, engine: Any) -> None:
    """Make the tables of a new store: by all of MLflow's migrations, which take a second, or copied from the first."""
    import sqlalchemy

    if engine.dialect.name != "sqlite" or sqlalchemy.inspect(engine).get_table_names():
        make(engine)
        return
    with closing(engine.raw_connection()) as made:
        if not first.exists():
            make(engine)
            with closing(sqlite3.connect(first)) as copy:
                made.driver_connection.backup(copy)
        else:
            with closing(sqlite3.connect(first)) as copied:
                copied.backup(made.driver_connection)


@pytest.fixture(scope="session")
def first_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "mlflow.db"


@pytest.fixture(autouse=True)
def fresh_mlflow(first_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow, where a test has imported it, forgets the store, the experiment and the run it was told to use."""
    if utils := sys.modules.get("mlflow.store.db.utils"):
        monkeypatch.setattr(utils, "_initialize_tables", partial(make_tables, utils._initialize_tables, first_store))
    yield
    if mlflow := sys.modules.get("mlflow"):
        while mlflow.active_run():
            mlflow.end_run()
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
        mlflow.tracking.fluent._active_experiment_id = None
