from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfgrpo_dspy.errors import StoreError
from tfgrpo_dspy.library.file import write_atomically
from tfgrpo_dspy.runtime.locks import holding, put_aside, remove_what_killed_writers_left

OTHER = """
import sys
from pathlib import Path
from tfgrpo_dspy.runtime.locks import holding
try:
    with holding(Path(sys.argv[1])): print("held")
except Exception as error: print(type(error).__name__, error)
"""


def other_process(folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", OTHER, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def test_one_process_holds_a_folder_and_lets_go_of_it(tmp_path):
    folder = tmp_path / "log"
    with holding(folder):
        assert "in use by another process" in other_process(folder)
    assert other_process(folder) == "held\n"


def test_a_folder_that_is_moved_stays_held_under_its_old_name(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    with holding(folder):
        assert put_aside(folder) == tmp_path / "log.1"
        assert "in use by another process" in other_process(folder)


def test_the_same_folder_by_another_name_is_held_too(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "log")
    with holding(tmp_path / "link"):
        assert "in use by another process" in other_process(tmp_path / "log")


def test_the_lock_is_in_the_folder_where_nothing_may_be_written_beside_it(tmp_path, monkeypatch):
    folder = tmp_path / "log"
    folder.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with holding(folder):
        assert [path.name for path in folder.iterdir()] == [".lock"]
        with pytest.raises(StoreError), holding(folder):
            pass


def test_a_folder_is_put_aside_under_the_first_free_number(tmp_path):
    folder = tmp_path / "log"
    assert put_aside(folder) is None
    (tmp_path / "log.1").mkdir()
    folder.mkdir()
    assert put_aside(folder) == tmp_path / "log.2"


def a_process_that_is_no_more() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    write_atomically("{}", tmp_path / "library.json")
    gone, ours = a_process_that_is_no_more(), os.getpid()
    for name in (f".library.json.{gone}-140.tmp", f".run.json.{ours}-140.tmp", ".mine.tmp", "notes.1-2.tmp"):
        (tmp_path / name).write_text("half")
    remove_what_killed_writers_left(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"library.json", f".run.json.{ours}-140.tmp", ".mine.tmp", "notes.1-2.tmp"}
