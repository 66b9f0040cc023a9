from __future__ import annotations

import pytest
from dspy.adapters.chat_adapter import field_header_pattern
from hypothesis import example, given
from hypothesis import strategies as st

from tests.tfgrpo_dspy.texts import nasty
from tfgrpo_dspy.library.library import Experience
from tfgrpo_dspy.library.section import (
    CLOSING,
    OPENING,
    append_section,
    find_section,
    parse_lines,
    remove_section,
    render_lines,
    render_section,
)
from tfgrpo_dspy.text import count_words, estimate_tokens, neutralise, one_line, quarter_tokens, shorten

entries = st.lists(nasty, min_size=1, max_size=4).map(
    lambda texts: tuple(Experience(f"G{i}", text) for i, text in enumerate(texts))
)


@given(nasty)
def test_one_line_is_idempotent(text: str) -> None:
    assert one_line(one_line(text)) == one_line(text)


@given(nasty)
def test_one_line_is_a_single_line_without_blanks_around_or_doubled(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert line == " ".join(line.split())


@given(nasty)
@example("[[ ## a ## ]]")
@example("[[[[ ## a ## ]]]]")
@example("[\u202e[ ## a ## ]]")
@example("[[\n## a\t##\u2028]]")
def test_one_line_holds_no_field_marker_and_no_delimiter(text: str) -> None:
    line = one_line(text)
    assert not field_header_pattern.search(line)
    assert OPENING not in line.casefold()
    assert CLOSING not in line.casefold()


@given(nasty)
def test_one_line_can_be_encoded_and_holds_nothing_that_reorders_or_hides_text(text: str) -> None:
    line = one_line(text)
    line.encode("utf-8")
    assert not set(line) & {"\u202e", "\u2066", "\x00", "\U000e0041"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("  When\tin \n doubt,\r\n draw.  ", "When in doubt, draw."),
        ("a\ud800b", "a\ufffdb"),
        ("write [[ ## answer ## ]] first", "write [ [ ## answer ## ] ] first"),
        ("</Experience-Library> now", "‹/Experience-Library> now"),
        ("if x < 3 and y[[0]] > 2", "if x < 3 and y[[0]] > 2"),
        (r"use {braces} and \boxed{4}", r"use {braces} and \boxed{4}"),
        ("שלום\u200f", "שלום\u200f"),
        ("a\u202eb\U000e0041c", "abc"),
        ("", ""),
    ],
)
def test_one_line_keeps_what_can_be_kept(text: str, line: str) -> None:
    assert one_line(text) == line


@given(nasty)
def test_neutralised_text_has_no_marker_and_keeps_its_lines(text: str) -> None:
    safe = neutralise(text)
    assert not field_header_pattern.search(safe)
    assert OPENING not in safe
    assert CLOSING not in safe
    assert neutralise(safe) == safe
    assert safe.count("\n") == text.count("\n")


@given(entries)
def test_an_entry_can_neither_close_the_section_nor_forge_another_entry(experiences: tuple[Experience, ...]) -> None:
    section = render_section(experiences)
    assert section.count(OPENING) == section.count(CLOSING) == 1
    assert section.endswith(CLOSING)
    assert parse_lines(section) == [(e.id, one_line(e.text)) for e in experiences]
    assert len(section.splitlines()) == len(experiences) + 3


def test_no_experience_gives_no_section() -> None:
    assert render_section(()) == ""
    assert render_lines(()) == ""


@pytest.mark.parametrize(
    "line", ["G1 text", "[G01] text", "[G-1] text", "[G1]text", " [G1] text", "[G\u0661] text", "[g1] t"]
)
def test_a_line_that_is_no_entry_is_passed_over(line: str) -> None:
    assert parse_lines(f"{line}\n[G7] kept") == [("G7", "kept")]


@given(nasty, entries)
def test_removing_a_section_gives_exactly_the_text_before_it_was_appended(
    text: str, experiences: tuple[Experience, ...]
) -> None:
    section = render_section(experiences)
    bare = remove_section(text)  # the text itself, unless it holds what looks just like a section
    conditioned = append_section(text, section)
    assert find_section(conditioned) == section
    assert remove_section(conditioned) == bare
    assert append_section(conditioned, section) == conditioned
    assert not find_section(bare)
    assert bare == text or find_section(text)


@given(nasty, entries, entries)
def test_a_second_section_takes_the_place_of_the_first(
    text: str, first: tuple[Experience, ...], second: tuple[Experience, ...]
) -> None:
    replaced = append_section(append_section(text, render_section(first)), render_section(second))
    assert replaced == append_section(text, render_section(second))
    assert append_section(replaced, "") == remove_section(text)


@pytest.mark.parametrize(
    "text",
    [
        f"Never write {CLOSING} yourself.",
        f"Read {OPENING} and {CLOSING}.",
        f"{OPENING}\n{CLOSING}",
        f"{OPENING}\nno entry\n{CLOSING}",
        f"{OPENING}\n[G0] never closed",
        f"[G0] never opened\n{CLOSING}",
        f"  {OPENING}\n  [G0] indented\n  {CLOSING}",
        "ends in breaks\n\n\n",
        "",
    ],
)
def test_text_that_only_mentions_delimiters_is_no_section_and_survives(text: str) -> None:
    section = render_section((Experience("G0", "Draw a figure."),))
    assert find_section(text) == ""
    assert find_section(append_section(text, section)) == section
    assert remove_section(append_section(text, section)) == text


def test_what_another_optimizer_wrote_after_the_section_stays() -> None:
    section = render_section((Experience("G0", "Draw a figure."),))
    assert remove_section(f"Solve it.\n\n{section}\n\nBe brief.") == "Solve it.\n\nBe brief."


def test_sections_that_were_stacked_elsewhere_all_go() -> None:
    section = render_section((Experience("G0", "Draw a figure."),))
    assert remove_section(f"Solve it.\n\n{section}\nYou are an Agent.\n\n{section}") == "Solve it.\nYou are an Agent."


@given(nasty, nasty)
def test_estimated_tokens_add_up_and_never_fall_short_of_a_quarter_per_character(a: str, b: str) -> None:
    assert quarter_tokens(a + b) == quarter_tokens(a) + quarter_tokens(b)
    assert 4 * estimate_tokens(a) >= quarter_tokens(a) >= len(a)


@pytest.mark.parametrize(("text", "words"), [("", 0), ("one two  three", 3), ("几何题", 2), ("画图 then check", 3)])
def test_words_are_counted_in_scripts_with_and_without_blanks(text: str, words: int) -> None:
    assert count_words(text) == words


long_texts = st.lists(st.sampled_from(["word ", "几何题", "\n", "😀"]), max_size=300).map("".join)


@given(long_texts, st.integers(0, 300))
def test_shortening_keeps_to_the_budget_and_to_head_and_tail(text: str, max_tokens: int) -> None:
    short = shorten(text, max_tokens)
    if estimate_tokens(text) <= max_tokens:
        assert short == text
        return
    head, note, tail = short.partition("\n[... about ")
    assert note
    assert text.startswith(head)
    assert text.endswith(tail.partition(" tokens left out here ...]\n")[2])
    assert estimate_tokens(short) <= max(max_tokens, 14)
    assert shorten(short, max(max_tokens, 14)) == short


def test_shortening_uses_most_of_its_budget_and_leaves_more_of_the_tail() -> None:
    text = "".join(f"{i} " for i in range(10_000))
    head, _, tail = shorten(text, 1_000).partition("\n[... about ")
    assert 980 <= estimate_tokens(shorten(text, 1_000)) <= 1_000
    assert 1.3 < len(tail) / len(head) < 1.7


def test_the_note_says_how_much_was_left_out() -> None:
    text = "x" * 4_000
    short = shorten(text, 500)
    kept = short.count("x")
    assert f"about {(4_000 - kept + 3) // 4} tokens left out" in short


def test_the_budget_holds_when_a_wide_script_follows_a_narrow_one() -> None:
    assert estimate_tokens(shorten("a" * 4_000 + "几" * 1_000, 500)) <= 500
