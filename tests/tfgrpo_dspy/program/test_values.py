"""What is no text is named in text for another prompt, never cut out of its encoding."""

from __future__ import annotations

import base64
import struct
import zlib

import dspy
import pydantic
import pytest
from dspy.experimental import Document
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.program.transcript import render_values
from tfgrpo_dspy.program.values import Things, as_text
from tfgrpo_dspy.text import neutralise


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png(width: int = 640, height: int = 480, seed: bytes = b"") -> bytes:
    header = struct.pack(">II", width, height) + b"\x08\x02\x00\x00\x00"
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + chunk + seed + bytes(300)


JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(10) + b"\xff\xc0\x00\x11\x08\x00\x20\x00\x40" + bytes(300)
GIF = b"GIF89a\x10\x00\x08\x00" + bytes(300)
WEBP = b"RIFF" + bytes(4) + b"WEBPVP8X" + bytes(8) + b"\x0f\x00\x00\x07\x00\x00" + bytes(300)
IMAGE = dspy.Image(url=f"data:image/png;base64,{encoded(png())}")
OTHER = dspy.Image(url=f"data:image/png;base64,{encoded(png(8, 8))}")


def of(kind: str, data: bytes) -> dspy.Image:
    return dspy.Image(url=f"data:image/{kind};base64,{encoded(data)}")


class Drawing(dspy.Type):
    """A type of a user's own."""

    strokes: str

    def format(self):
        return [{"type": "text", "text": "a drawing"}, {"type": "strokes", "strokes": self.strokes}]


class Saying(dspy.Type):
    """One that is text after all."""

    said: str

    def format(self):
        return f"said: {self.said}"


class Page(pydantic.BaseModel):
    number: int
    scan: dspy.Image


CALLS = dspy.ToolCalls(tool_calls=[dspy.ToolCalls.ToolCall(name="look", args={"at": 1})])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (IMAGE, "<image 1: 640x480 png>"),
        (of("jpeg", JPEG), "<image 1: 64x32 jpeg>"),
        (of("gif", GIF), "<image 1: 16x8 gif>"),
        (of("webp", WEBP), "<image 1: 16x8 webp>"),
        (of("bmp", bytes(3_000)), "<image 1: 3 kB bmp>"),
        (dspy.Image(url="https://u:p@example.org/a/cat.png?key=secret"), "<image 1: https://example.org/a/cat.png>"),
        (dspy.Audio(data=encoded(bytes(12_288)), audio_format="wav"), "<audio 1: 12 kB wav>"),
        (dspy.File(filename="a.pdf", file_data=f"data:application/pdf;base64,{encoded(bytes(2048))}"),
         "<file 1: a.pdf, 2 kB pdf>"),
        (dspy.File(file_id="file-1"), "<file 1: file-1>"),
        (dspy.Code["python"](code="print(1)"), "print(1)"),
        (CALLS, 'look({"at": 1})'),
        (dspy.History(messages=[{"question": IMAGE, "answer": "a cat"}, {"question": "sure?", "answer": "yes"}]),
         "question: <image 1: 640x480 png>, answer: a cat\nquestion: sure?, answer: yes"),
        (Drawing(strokes="x" * 900), "a drawing <drawing 1: strokes>"),
        (Saying(said="hello"), "said: hello"),
        (bytes(100), "<bytes 1: 100 bytes>"),
        ([IMAGE, "and", OTHER, IMAGE], "[<image 1: 640x480 png>, 'and', <image 2: 8x8 png>, <image 1: 640x480 png>]"),
        ({"scan": (OTHER, 1)}, "{'scan': (<image 1: 8x8 png>, 1)}"),
        (Page(number=3, scan=IMAGE), "Page(number=3, scan=<image 1: 640x480 png>)"),
        (str(IMAGE), "<image 1: 640x480 png>"),
        (f"look: {IMAGE.url}!", "look: <image 1: 640x480 png>!"),
        (f"{{'data': '{encoded(png())}'}}", "{'data': '<data 1: 333 bytes>'}"),
        (str(IMAGE)[:200], "<part 1: cut off>"),
        # What is text stays as it is.
        ("plain", "plain"),
        (["a", 1, None], "['a', 1, None]"),
        ({"a": ("b",)}, "{'a': ('b',)}"),
        ("ACGT" * 200, "ACGT" * 200),
        (12.5, "12.5"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_a_value_is_text_or_the_name_of_what_is_none(value, text):
    assert as_text(value, Things()) == text


def test_a_document_is_its_text_and_a_pdf_is_named():
    assert as_text(Document(data="All cats.", title="Cats"), Things()) == "Cats: All cats."
    pdf = Document(data=encoded(bytes(2048)), title="Cats", media_type="application/pdf")
    assert as_text(pdf, Things()) == "<file 1: Cats, 2 kB pdf>"


def test_the_images_of_an_example_are_numbered_before_those_of_its_rollouts():
    things = Things([IMAGE, "text", OTHER])
    assert render_values({"seen": OTHER, "first": IMAGE}, things) == (
        "seen: <image 2: 8x8 png>\nfirst: <image 1: 640x480 png>"
    )


@given(st.text(st.characters(codec=None), max_size=40))
def test_lone_surrogates_and_marks_of_custom_types_do_not_reach_a_prompt(text):
    made = neutralise(f"{text}\ud83d <<CUSTOM-TYPE-START-IDENTIFIER>> <<custom-type-end-identifier>>")
    made.encode()
    assert "<<CUSTOM-TYPE" not in made.upper()
    assert neutralise(made) == made
