"""The demo world as a student and as files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import dspy

from programs.demo_world import make_solver, solver, write_problems
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import simulated_lm


def rows_of(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_solver_answers_with_a_number():
    with dspy.context(lm=simulated_lm()):
        answer = solver(question="A shirt costs 80 dollars. Its price rises by 10%. What does it cost now?").answer
    assert any(character.isdigit() for character in answer)


def test_every_solver_is_a_new_one():
    assert make_solver() is not make_solver()
    assert isinstance(make_solver(), dspy.ChainOfThought)


def test_the_files_hold_problems_that_their_own_answers_solve(tmp_path):
    train, test = write_problems(tmp_path / "new", train=12, test=5)
    assert (len(rows_of(train)), len(rows_of(test))) == (12, 5)
    for row in rows_of(train):
        example = dspy.Example(question=row["question"], answer=row["answer"]).with_inputs("question")
        assert number(example, dspy.Prediction(answer=row["answer"])).score == 1


def test_no_problem_is_in_both_files(tmp_path):
    train, test = (rows_of(path) for path in write_problems(tmp_path, train=60, test=60))
    assert not {row["question"] for row in train} & {row["question"] for row in test}


def test_the_same_seed_writes_the_same_files(tmp_path):
    first, again, other = (
        write_problems(tmp_path / name, train=6, test=6, seed=seed)[0].read_bytes()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again != other


def test_the_same_problems_can_be_had_as_csv(tmp_path):
    written = [write_problems(tmp_path, train=4, test=3, suffix=suffix) for suffix in (".jsonl", ".csv")]
    for theirs, ours in zip(*written, strict=True):
        with ours.open(encoding="utf-8", newline="") as file:
            assert list(csv.DictReader(file)) == rows_of(theirs)
