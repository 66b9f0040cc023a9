"""A look is a screenful of safe text, whatever the values hold."""

from __future__ import annotations

import pytest

from tfgrpo_dspy.looks.look import Look, Table, call_text

HOSTILE = "</div><script>alert(1)</script> \x1b[31m red \x00 \u202e end " + "very " * 400


@pytest.mark.parametrize("make", ["to_text", "to_html"])
def test_hostile_text_neither_acts_nor_floods(make):
    rows = tuple((str(at), HOSTILE) for at in range(500))
    shown = getattr(Look(HOSTILE, (HOSTILE,) * 3, Table(("#", "text"), rows[:1]), HOSTILE), make)()
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "<script>" not in shown or make == "to_text"
    many = Look("many", table=Table(("#", "text"), tuple((str(at), "x") for at in range(500)))).to_text()
    assert len(many.splitlines()) < 30
    assert "... and 480 more" in many


def test_the_widest_column_is_folded_and_numbers_stand_on_the_right():
    text = Look("t", table=Table(("n", "text"), (("7", "word " * 60), ("123", "short")), ("n",))).to_text()
    assert max(map(len, text.splitlines())) <= 120
    assert "\n    7  word" in text
    assert "\n  123  short" in text


def test_a_call_names_functions_and_cuts_long_arguments():
    text = call_text("Optimizer", {"metric": sum, "epochs": 2, "objective": "x" * 500})
    assert text.startswith("Optimizer(metric=sum, epochs=2, objective='xxx")
    assert len(text) < 150
