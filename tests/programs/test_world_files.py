"""Problems of a world as files."""

from __future__ import annotations

import json
from pathlib import Path

from programs.math_world import math_examples
from programs.world_files import write_examples


def test_both_splits_are_written_with_inputs_and_answers(capsys):
    write_examples(math_examples, "programs.math_world", ["--train", "3", "--test", "2", "--out", "data"])
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    rows = [[json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in paths]
    assert list(map(len, rows)) == [3, 2]
    assert set(rows[0][0]) == {"problem", "answer"}
