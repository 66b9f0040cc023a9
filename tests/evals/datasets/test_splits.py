from __future__ import annotations

from pathlib import Path

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.datasets.loading import Dataset, load
from evals.datasets.splits import check_disjoint, split, without
from evals.texts import content_hash
from tfgrpo_dspy.errors import DataError, SettingsError


def dataset(*problems: str, name: str = "toy", field: str = "problem") -> Dataset:
    examples = tuple(dspy.Example(**{field: p, "answer": "1"}).with_inputs(field) for p in problems)
    digest = content_hash(examples)
    return Dataset(name, examples, digest, "toy.jsonl", digest, "math")


TOY = dataset(*(f"What is {i} + {i}?" for i in range(40)))


@given(st.integers(1, 20), st.integers(0, 10), st.integers(0, 10), st.integers())
def test_the_parts_of_a_split_have_the_sizes_asked_for_and_share_no_problem(train, val, test, seed):
    parts = split(TOY, train=train, val=val, test=test, seed=seed)
    assert [len(part) for part in parts] == [train, val, test]
    assert len({e.problem for part in parts for e in part.examples}) == train + val + test


def test_the_same_seed_gives_the_same_parts_whatever_the_order_of_rows():
    back = dataset(*(e.problem for e in reversed(TOY.examples)))
    hashes = [part.sha256 for part in split(TOY, train=10, val=5, test=5, seed=3)]
    assert hashes == [part.sha256 for part in split(back, train=10, val=5, test=5, seed=3)]
    assert hashes != [part.sha256 for part in split(TOY, train=10, val=5, test=5, seed=4)]


def test_a_part_says_what_it_is_part_of():
    train = split(TOY, train=10).train
    assert (train.name, train.source, train.source_sha256) == ("toy/train", "toy.jsonl", TOY.sha256)
    assert train.sha256 == content_hash(train.examples)
    assert train.notes == ("drawn for train: 10 of 40 examples",)


def test_sizes_that_cannot_be_had_are_refused():
    with pytest.raises(DataError, match="toy has 40 examples, 41 were asked for"):
        split(TOY, train=40, test=1)
    with pytest.raises(SettingsError, match="0 or more"):
        split(TOY, train=-1, test=2)
    with pytest.raises(SettingsError, match="one is above 0"):
        split(TOY, train=0)


def test_a_problem_that_stands_twice_is_never_split_over_two_parts():
    twice = dataset("Find $x + 1$.", "find x+1")
    with pytest.raises(DataError, match=r"toy/train row 1 and toy/test row 1"):
        split(twice, train=1, test=1)


def test_an_overlap_is_refused_whatever_its_case_spacing_and_punctuation_with_the_rows_named():
    train = dataset("Other.", "Find  $X$, please!", name="dapo")
    test = dataset("find x please", name="aime24", field="question")
    with pytest.raises(DataError, match=r"dapo row 2 and aime24 row 1 \(find x please\).*without\(train, test\)"):
        check_disjoint(train, test)


def test_many_overlaps_are_counted_and_the_first_are_named():
    with pytest.raises(DataError, match=r"40 problems are in two sets.* and 35 more"):
        check_disjoint(TOY, TOY)


def test_problems_that_differ_in_a_sign_or_a_number_are_no_overlap():
    check_disjoint(dataset("Find x + 1."), dataset("Find x - 1."), dataset("Find x + 2."))


def test_a_set_that_was_freed_of_another_ones_problems_is_disjoint_from_it():
    train, test = dataset("A?", "B?", name="train"), dataset("b", name="test")
    freed = without(train, test)
    check_disjoint(freed, test)
    assert freed.sha256 == content_hash(freed.examples) != train.sha256
    assert freed.notes == ("examples dropped as they stand in test too: 1",)
    assert len(train) == 2


REAL = Path(__file__).parents[3] / "../shared/data"


@pytest.mark.skipif(not REAL.exists(), reason="the real files are not here")
def test_dapo_shares_no_problem_with_aime_and_one_with_math500():
    train = load("dapo", REAL / "dapo/dapo_math_17k_svs.parquet")
    aime = [load(f"aime{year}", REAL / f"aime/aime_20{year}.jsonl") for year in (24, 25)]
    check_disjoint(train, *aime)
    with pytest.raises(DataError, match="1 problems are in two sets"):
        check_disjoint(train, load("math500", REAL / "math500/math500_100.jsonl"))
