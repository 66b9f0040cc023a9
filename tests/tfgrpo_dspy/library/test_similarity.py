from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.tfgrpo_dspy.texts import nasty
from tfgrpo_dspy.library import similarity
from tfgrpo_dspy.library.similarity import NEAR_DUPLICATE, TokenIndex, normalised_tokens, overlap

words = st.lists(st.sampled_from("abcdefghijkl"), max_size=14).map(" ".join)
texts = words | nasty
entries = st.lists(texts, max_size=12).map(lambda found: [(f"G{i}", text) for i, text in enumerate(found)])


def brute_force(entries: list[tuple[str, str]], text: str, leaving_out: str | None) -> str | None:
    tokens = normalised_tokens(text)
    scored = [(-overlap(tokens, normalised_tokens(t)), len(id), id) for id, t in entries if id != leaving_out]
    best = min(scored, default=(0.0, 0, ""))
    return best[2] if -best[0] >= NEAR_DUPLICATE else None


@given(entries, texts, st.none() | st.sampled_from(["G0", "G3"]))
@example([("G0", "a b c d")], "a b c d e", None)  # 4 of 5: exactly the threshold
@example([("G0", "b c d e")], "a b c d e", None)
@example([("G0", "...")], "!?", None)  # no words at all
@example([("G0", "a b\nc d"), ("G1", "e")], "a b c d", None)
@example([("G0", r"a\b c d e")], r"a \b c d e", None)
@example([("G0", "a b c d e f g h i j k l")], "a b c d e f g h i j k l m n o", None)  # 12 of 15
def test_the_index_answers_as_if_every_entry_had_been_compared(
    entries: list[tuple[str, str]], text: str, leaving_out: str | None
) -> None:
    index = TokenIndex(entries, [text])
    assert index.near_duplicate(text, leaving_out=leaving_out) == brute_force(entries, text, leaving_out)


@given(entries, st.lists(texts, min_size=1, max_size=4), entries, st.sets(st.integers(0, 12)))
def test_it_keeps_answering_so_while_entries_come_and_go(
    entries: list[tuple[str, str]], asked: list[str], later: list[tuple[str, str]], gone: set[int]
) -> None:
    index, expected = TokenIndex(entries, asked), dict(entries)
    for id in (f"G{i}" for i in gone):
        index.remove(id)
        expected.pop(id, None)
    for id, text in ((f"{id}0000", text) for id, text in later):
        index.add(id, text)
        expected[id] = text
    for text in asked:
        assert index.near_duplicate(text, leaving_out=None) == brute_force(list(expected.items()), text, None)


@given(st.lists(words, min_size=1, max_size=12), st.lists(texts, max_size=3), st.integers(0, 3), words)
def test_an_entry_is_read_alike_alone_and_among_many(plain: list[str], other: list[str], at: int, text: str) -> None:
    said = [*plain[:at], *other, *plain[at:]] + ["never asked about"] * 600
    entries = [(f"G{i}", entry) for i, entry in enumerate(said)]
    for asked in (text, said[0]):
        index = TokenIndex(entries, [asked])
        assert index.near_duplicate(asked, leaving_out=None) == brute_force(entries, asked, None)


@pytest.mark.parametrize("size", range(1, 60))
def test_overlap_at_exactly_the_threshold_is_found_for_every_length(size: int) -> None:
    text = " ".join(f"w{i}" for i in range(size))
    for shared in range(size + 1):
        kept = " ".join(f"w{i}" for i in range(size - shared, size))
        assert TokenIndex([("G0", kept)], [text]).near_duplicate(text, leaving_out=None) == brute_force(
            [("G0", kept)], text, None
        )


@given(texts, texts)
def test_overlap_is_symmetric_in_its_range_and_one_for_a_text_and_itself(a: str, b: str) -> None:
    x, y = normalised_tokens(a), normalised_tokens(b)
    assert overlap(x, y) == overlap(y, x)
    assert 0 <= overlap(x, y) <= overlap(x, x) == 1


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("When in doubt, draw a figure.", "when in doubt - draw a FIGURE!"),
        ("Don't guess.", "Don\u2019t guess\u2026"),
        (r"Use $\frac{a}{b}$.", r"use $ \frac { a } { b } $"),
        ("几何题\uff0c先画图。", "几何题先画图"),
    ],
)
def test_case_blanks_and_punctuation_do_not_count(a: str, b: str) -> None:
    assert normalised_tokens(a) == normalised_tokens(b)


@pytest.mark.parametrize(("a", "b"), [(r"\frac", "frac"), ("a + b", "a * b"), ("x < y", "x > y"), ("几何", "何几代")])
def test_symbols_and_commands_do_count(a: str, b: str) -> None:
    assert normalised_tokens(a) != normalised_tokens(b)


def test_rewordings_are_near_duplicates_in_any_script() -> None:
    index = TokenIndex(
        [("G0", "当题目涉及几何图形时\uff0c先画出示意图再计算。")], ["题目涉及几何图形时\uff0c先画出示意图再计算"]
    )
    assert index.near_duplicate("题目涉及几何图形时\uff0c先画出示意图再计算", leaving_out=None) == "G0"


def test_of_equally_similar_entries_the_one_with_the_lowest_number_is_named() -> None:
    index = TokenIndex([("G10", "a b c"), ("G9", "c b a"), ("G11", "b a c")], ["a b c"])
    assert index.near_duplicate("a b c", leaving_out=None) == "G9"


def test_many_entries_are_searched_without_comparing_each(monkeypatch) -> None:
    compared: list[str] = []
    monkeypatch.setattr(similarity, "overlap", lambda a, b: compared.append("") or overlap(a, b))
    entries = [
        (f"G{i}", f"When case {i} of kind {i % 97} comes up, do step {i * 7} and note it") for i in range(20_000)
    ]
    asked = [text for _, text in entries[::200]]
    index = TokenIndex(entries, asked)
    assert [index.near_duplicate(text, leaving_out=None) for text in asked] == [id for id, _ in entries[::200]]
    assert len(compared) < 0.05 * len(asked) * len(entries)
