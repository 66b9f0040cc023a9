"""The beginning and the end of any output."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from programs.sandbox.output import Clip


def clipped(limit: int, *pieces: bytes) -> tuple[str, bool]:
    clip = Clip(limit)
    for piece in pieces:
        clip.add(piece)
    return clip.text()


@given(st.text(st.characters(categories=["L", "N", "P"]), max_size=100), st.integers(200, 1000))
def test_a_short_output_is_kept_as_it_is(text, limit):
    assert clipped(limit, text.encode()) == (text, False)


@given(st.lists(st.text("abcö€😀\n", max_size=60)), st.integers(2, 100))
def test_head_and_tail_of_a_long_one_are_kept_and_the_gap_is_told(pieces, limit):
    whole = "".join(pieces)
    text, truncated = clipped(limit, *(piece.encode() for piece in pieces))
    half = limit // 2
    if truncated:
        assert text.startswith(whole[:half])
        assert text.endswith(whole[-half:])
        assert "left out ...]" in text
        assert len(text) < limit + 60
    else:
        assert text == whole


def test_memory_stays_bounded_however_much_is_printed():
    clip = Clip(1_000)
    for _ in range(1_000):
        clip.add(b"x" * 10_000)
    assert len(clip._head) + len(clip._tail) < 50_000
    assert clip.size == 10_000_000
    assert clip.text()[0].startswith("x" * 500 + "\n[... about 9999000 bytes left out ...]\n")


def test_what_is_no_text_is_shown_as_such():
    assert clipped(100, b"a\x1b[31m\r\n\xff\x00b\tc") == ("a�[31m\n��b\tc", False)


def test_a_character_may_come_in_two_pieces():
    first, second = "ö".encode()[:1], "ö".encode()[1:]
    assert clipped(100, first, second) == ("ö", False)
