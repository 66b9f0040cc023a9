"""Problems of the worlds as files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.tfgrpo_dspy.command_line import run


@pytest.mark.parametrize(
    ("world", "columns"),
    [
        ("demo", {"question", "answer", "family"}),
        ("math", {"problem", "answer"}),
        ("web", {"question", "answer"}),
    ],
)
def test_a_world_is_written_as_files_to_name_on_other_command_lines(world, columns):
    done = run("problems", world, "--train", "3", "--test", "2", "--out", "data")
    assert done.stdout.splitlines() == ["data/train.jsonl", "data/test.jsonl"]
    rows = [[json.loads(line) for line in Path(path).read_text().splitlines()] for path in done.stdout.splitlines()]
    assert list(map(len, rows)) == [3, 2]
    assert set(rows[0][0]) == columns


def test_the_files_are_csv_if_asked_for():
    run("problems", "--train", "3", "--test", "0", "--csv")
    with Path("train.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 3
    assert Path("test.csv").read_text() == "question,answer,family\n"


def test_a_world_that_does_not_exist_is_no_world():
    assert run("problems", "moon").exit_code == 2
