"""`tfgrpo simulate` and `tfgrpo ui`: what they say, and when."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import typer

from tests.tfgrpo_dspy.command_line import run, the_error


def test_a_server_that_cannot_start_does_not_say_that_it_listens(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = run("simulate", "--port", "0")
    assert result.exit_code == 2
    assert "pip install 'tfgrpo-dspy[serve]'" in the_error(result)
    assert "listens" not in result.stdout


def test_a_server_says_where_it_listens_before_it_serves(monkeypatch):
    monkeypatch.setattr("uvicorn.Server.run", lambda server: typer.echo("serving"))
    said = run("simulate", "--port", "0", "--api-key", "k").stdout
    assert said.index("listens on http://127.0.0.1:") < said.index("serving")
    assert "OPENAI_API_KEY=<the key you gave>" in said


def test_a_ui_that_is_told_to_end_takes_mlflows_server_with_it(monkeypatch):
    closed = []

    class Running:
        url, links = "http://127.0.0.1:1", None

        def __enter__(self):
            return self

        def __exit__(self, *_):
            closed.append(True)

        def wait(self):
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("tfgrpo_dspy.observers.mlflow.ui.open_ui", lambda *_, **__: Running())
    try:
        assert run("ui").exit_code == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert closed


def test_the_page_about_a_run_is_opened_or_named(monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    Path("out").mkdir()
    assert "there is no page about a run at out/run.html" in the_error(run("view", "out"))
    Path("out/run.html").write_text("<!doctype html>", encoding="utf-8")
    assert run("view").stdout == "out/run.html\n"
    assert opened == [Path("out/run.html").resolve().as_uri()]
    assert run("view", "out/run.html", "--no-browser").stdout == "out/run.html\n"
    assert len(opened) == 1
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    assert "no browser could be opened" in run("view").stdout
