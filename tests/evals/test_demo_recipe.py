"""The demo recipe: one table of the line-up on the demo world."""

from __future__ import annotations

import pytest

from evals.recipes import demo


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(demo, "TRAIN", 12)
    monkeypatch.setattr(demo, "TEST", 12)


def test_each_optimizer_is_compared_with_none_on_the_same_questions(small):
    rows = demo.run(["none", "tfgrpo"], seeds=[0])
    assert [(row.optimizer, row.seed) for row in rows] == [("none", 0), ("tfgrpo", 0)]
    none, learned = rows
    assert none.against_none.verdict == "not distinguishable"
    assert learned.against_none.difference.value > 0
    assert learned.against_none.difference.n == 12


def test_the_table_says_that_it_is_simulated_and_gives_every_score_its_interval(small, capsys):
    demo.main(["--optimizers", "none", "--seeds", "1"])
    printed = capsys.readouterr().out
    assert "simulated LM" in printed
    assert "95% intervals" in printed
    assert "not distinguishable" in printed
