from __future__ import annotations

import json

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tfgrpo_dspy.library.latex import restore_latex
from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify, Operation
from tfgrpo_dspy.signatures import ExtractAdvantage, UpdateLibrary

EATEN = (  # commands whose first letter is a valid JSON escape
    "times theta tau tanh text textbf tfrac tbinom to top tilde triangle therefore tag "
    "nu ne neq nabla not notin nmid nleq ngeq nearrow neg ni nexists nparallel nless nsim ncong "
    "rho right rightarrow rangle rceil rfloor rm rvert "
    "beta bar begin binom boxed bmod bigcup "
    "frac forall fbox"
).split()
REFUSED = "sqrt alpha sum cdot leq in infty mu pi".split()  # their escapes are no JSON


def chat(field: str, value: str) -> str:
    return f"[[ ## {field} ## ]]\n{value}\n\n[[ ## completed ## ]]"


def parsed(adapter: dspy.Adapter, reply: str) -> str:
    (operation,) = adapter.parse(UpdateLibrary, reply)["operations"]
    return operation.text


@pytest.mark.parametrize("command", EATEN + REFUSED)
@pytest.mark.parametrize("formula", ["Use ${}$ here.", "Use ${}_1$, then ${}^2$.", r"Mind ${}{{x}}$.", "Use $a {} b$."])
def test_latex_with_single_backslashes_arrives_whole_through_either_adapter(command: str, formula: str) -> None:
    text = formula.replace("{}", f"\\{command}").replace("{{x}}", "{x}")
    operation = f'{{"op": "add", "text": "{text}", "reason": "{text}"}}'
    assert parsed(dspy.ChatAdapter(), chat("operations", f"[{operation}]")) == text
    assert parsed(dspy.JSONAdapter(), f'{{"operations": [{operation}]}}') == text


@pytest.mark.parametrize("command", EATEN + REFUSED)
def test_latex_escaped_as_json_wants_it_stays_as_it_is(command: str) -> None:
    text = f"Use $\\{command}$ and \\{command} alone."
    operations = json.dumps([{"op": "modify", "id": "G1", "text": text}])
    assert parsed(dspy.ChatAdapter(), chat("operations", operations)) == text
    assert parsed(dspy.JSONAdapter(), f'{{"operations": {operations}}}') == text


@pytest.mark.parametrize("command", EATEN + REFUSED)
def test_experiences_that_are_extracted_keep_their_latex_too(command: str) -> None:
    text = f"When you see $\\{command}$, stop."
    reply = f'{{"comparison": "c", "lesson": "{text}", "misled_by": "none"}}'
    assert restore_latex(dspy.JSONAdapter().parse(ExtractAdvantage, reply)["lesson"]) == text


@pytest.mark.parametrize(
    "text",
    [
        "first\nnext step",
        "first\n\nnot so",
        "\tindent",
        "Steps:\n\tan apple\n\ta pear",
        "first\nexists one",
        "two lines are\nparallel lines",
        "a\nmid-way b",
        "a\nless than b",
        "ends\r\nhere\r\nright",
        "\ru",
        "a\tb\tc",
        "text\n\ttext",
        "",
    ],
)
@pytest.mark.parametrize("one_line", [True, False])
def test_prose_with_real_line_breaks_and_tabs_is_left_alone(text: str, one_line: bool) -> None:
    assert restore_latex(text, one_line=one_line) == text


@pytest.mark.parametrize("text", ["where v = 2\nu = 3", "Io sono qui\ne tu dove", "so\neg this one", "and\ni think"])
def test_a_line_of_several_may_begin_with_a_letter_that_a_single_line_would_owe_to_latex(text: str) -> None:
    assert restore_latex(text, one_line=False) == text
    assert restore_latex(text) == text.replace("\n", "\\n")


@pytest.mark.parametrize("command", "nu ne neg ni nexists tan nmid".split())
def test_in_a_formula_the_same_letters_are_latex_in_any_text(command: str) -> None:
    eaten = {"n": "\n", "t": "\t"}[command[0]] + command[1:]
    for formula in ("a {} b", "${}$", "f({})", "2+{}_1", "{} first"):
        for one_line in (True, False):
            restored = restore_latex(formula.replace("{}", eaten), one_line=one_line)
            assert restored == formula.replace("{}", f"\\{command}")


def test_a_backspace_and_a_form_feed_are_never_wanted_in_prose() -> None:
    assert restore_latex("\beta and \x0corall") == r"\beta and \forall"


@given(st.text(alphabet="\t\n\r\b\f\\ aeiotun$", max_size=12), st.booleans())
def test_restoring_twice_is_restoring_once_and_only_adds_backslashes(text: str, one_line: bool) -> None:
    restored = restore_latex(text, one_line=one_line)
    assert restore_latex(restored, one_line=one_line) == restored
    plain = str.maketrans({"\t": "t", "\n": "n", "\r": "r", "\b": "b", "\f": "f", "\\": None})
    assert restored.translate(plain) == text.translate(plain)


@pytest.mark.parametrize(
    ("data", "operation"),
    [
        ({"op": "add", "text": "t"}, Add(text="t")),
        ({"op": "modify", "id": "G1", "text": "t", "sources": ["A0"]}, Modify(id="G1", text="t", sources=("A0",))),
        ({"op": "delete", "id": "[G1]", "reason": "r"}, Delete(id="G1", reason="r")),
        ({"op": "keep"}, Keep()),
        ({"op": "keep", "id": " [G12] "}, Keep(id="G12")),
        ({"op": "keep", "id": ""}, Keep()),
        ({"op": "add", "text": "t", "sources": "A0, A3"}, Add(text="t", sources=("A0", "A3"))),
        ({"op": "add", "text": "t", "sources": ""}, Add(text="t")),
        ({"op": "add", "text": "t", "sources": {"item": ["A0", "A3"]}}, Add(text="t", sources=("A0", "A3"))),
    ],
)
def test_each_kind_is_told_by_its_name_and_ids_and_labels_may_be_written_as_models_write_them(
    data: dict[str, object], operation: Operation
) -> None:
    assert TypeAdapter(Operation).validate_python(data) == operation


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"op": "delete", "id": "G1", "text": "t"}, "Extra inputs are not permitted"),
        ({"op": "modify", "text": "t"}, "Field required"),
        ({"op": "add"}, "Field required"),
        ({"op": "merge", "id": "G1"}, "'add', 'modify', 'delete', 'keep'"),
        ({"id": "G1"}, "Unable to extract tag"),
        ({"op": "delete", "id": 7}, "valid string"),
    ],
)
def test_a_reply_that_does_not_fit_is_refused_with_what_to_mend(data: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        TypeAdapter(Operation).validate_python(data)


def test_operations_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Add(text="t").text = "other"  # type: ignore[misc]
