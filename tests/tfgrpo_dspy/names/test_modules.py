"""What comes with the package is found by one name, in a clone and in a wheel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import evals.verifiers
import tfgrpo_dspy.rewards.metrics
from tests.tfgrpo_dspy.command_line import run
from tfgrpo_dspy.names.modules import find_module


def test_a_module_is_looked_for_at_the_top_and_then_inside_of_the_library():
    assert find_module("evals.verifiers") is evals.verifiers
    assert find_module("rewards.metrics") is tfgrpo_dspy.rewards.metrics


def test_a_package_of_the_users_does_not_hide_what_it_does_not_have(tmp_path, monkeypatch):
    (tmp_path / "rewards").mkdir()
    (tmp_path / "rewards" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "rewards", raising=False)
    assert find_module("rewards.metrics") is tfgrpo_dspy.rewards.metrics
    assert find_module("rewards", ours=True) is tfgrpo_dspy.rewards
    assert find_module("rewards").__file__ == str(tmp_path / "rewards" / "__init__.py")


def test_what_a_module_itself_lacks_is_not_taken_for_the_module(tmp_path, monkeypatch):
    Path(tmp_path / "lacking.py").write_text("import there_is_no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_module"):
        find_module("lacking")
    with pytest.raises(ModuleNotFoundError, match=r"nowhere\.at_all"):
        find_module("nowhere.at_all")


def test_the_commands_of_the_other_folders_are_listed_and_fail_as_ours_do():
    said = run("--help").stdout
    for command in ("compile", "compare", "paper", "list", "problems"):
        assert command in said
    done = run("compare", "--task", "nothing")
    assert done.exit_code == 2
    assert "there is no task 'nothing'" in done.stderr
    assert run("compare", "--no-such-option").exit_code == 2


def test_the_command_line_starts_without_them():
    code = "import sys, tfgrpo_dspy.cli.app; print({'evals', 'programs', 'optimizers'} & set(sys.modules))"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout == "set()\n"
