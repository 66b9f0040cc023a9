"""Whose code goes along with a program: the user's, and not what pip has installed, wherever that is."""

from __future__ import annotations

import importlib
from pathlib import Path

import dspy
import pytest

from tfgrpo_dspy.runtime.pickling import own_modules

CODE = """
import dspy

class Solver(dspy.Module):
    def __init__(self):
        super().__init__()
        self.answer = dspy.Predict("question -> answer")
"""


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder of the path, as `pip install --target`, a user's site or another environment may be one."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def program_of(place: Path, name: str) -> dspy.Module:
    package = place / name
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "students.py").write_text(CODE, encoding="utf-8")
    return importlib.import_module(f"{name}.students").Solver()


def test_a_package_beside_nothing_installed_is_the_users_own(place):
    program = program_of(place, "their_package")
    assert [module.__name__ for module in own_modules(program)] == ["their_package", "their_package.students"]


def test_what_pip_has_put_anywhere_is_not_sent_along(place):
    (place / "something-1.0.dist-info").mkdir()
    assert own_modules(program_of(place, "installed_package")) == []


def test_dspy_itself_is_never_sent_along():
    assert own_modules(dspy.ChainOfThought("question -> answer")) == []
