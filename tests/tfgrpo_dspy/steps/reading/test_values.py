"""Fields of a reply are found in whatever form it comes, and read as their types."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.library.operations import Operation
from tfgrpo_dspy.steps.reading.adapter import reading
from tfgrpo_dspy.steps.reading.odd import BROKE_OFF, REPEATS, Odd
from tfgrpo_dspy.steps.reading.texts import read_lesson, says_nothing
from tfgrpo_dspy.steps.reading.values import read_choice, read_reply, read_value

DECISIONS = ("new", "sharpens", "already said", "says nothing")
FIELDS = {"reasoning": str, "decision": Literal[DECISIONS], "entry": Literal["G7", "G12", "none"], "text": str}
SAID = {"reasoning": "They differ in the unit.", "decision": "sharpens", "entry": "G7", "text": "When a, do b: c."}
WRITTEN = {
    "the chat adapter's markers": "".join(f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in SAID.items())
    + "[[ ## completed ## ]]",
    "markers without blanks, in capitals": "".join(f"[[##{name.upper()}##]] {value}\n" for name, value in SAID.items()),
    "markers after an echo of the question": "[[ ## candidate ## ]]\nWhen x.\n\n"
    + "".join(f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in SAID.items()),
    "a first field without its marker": "They differ in the unit.\n"
    + "".join(f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in list(SAID.items())[1:]),
    "JSON": json.dumps(SAID),
    "JSON between fences, after a remark": f"Sure!\n```json\n{json.dumps(SAID, indent=2)}\n```\nDone.",
    "JSON with other keys": json.dumps(
        {"Reasoning": SAID["reasoning"], "Decision": "SHARPENS", "entry": 7, "Text": SAID["text"]}
    ),
    "a tool call": json.dumps({"name": "decide", "arguments": json.dumps(SAID)}),
    "a wrapper": json.dumps({"output": SAID}),
    "a thought before it": f"<think>Is it G12? No: {{x}} [1].</think>\n{json.dumps(SAID)}",
    "a thought whose tag was never opened": f"It may be new, or not.\n</think>\n\n{json.dumps(SAID)}",
    "XML": "\n".join(f"<{name}>{value}</{name}>" for name, value in SAID.items()),
    "headings": "\n".join(f"## {name.title()}\n{value}" for name, value in SAID.items()),
    "bold names": "\n".join(f"**{name.title()}:** {value}" for name, value in SAID.items()),
    "plain names": "\n".join(f"{name}: {value}" for name, value in SAID.items()),
    "a list of names": "\n".join(f"- {name.title()}: {value}" for name, value in SAID.items()),
    "quotes around each": "\n".join(f'[[ ## {name} ## ]]\n"{value}"' for name, value in SAID.items()),
    "bold markers": "".join(f"**[[ ## {name} ## ]]**\n{value}\n\n" for name, value in SAID.items()),
    "markers as points, and cut at the end": "".join(
        f"- [[ ## {name} ## ]]\n{value}\n\n" for name, value in SAID.items()
    )
    + "[[ ## comp",
    "markers on one line": " ".join(f"[[ ## {name} ## ]] {value}" for name, value in SAID.items()),
    "markers without brackets": "".join(f"## {name} ##\n{value}\n\n" for name, value in SAID.items())
    + "## completed ##",
    "markers after a prompt's own placeholders": "".join(f"[[ ## {name} ## ]]\n{{{name}}}\n\n" for name in SAID)
    + "".join(f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in SAID.items()),
    "markers with an invisible beginning and Windows' line ends": "\ufeff"
    + "".join(f"[[ ## {name} ## ]]\r\n{value}\r\n" for name, value in SAID.items()),
    "a channel for thoughts": "<|channel|>analysis<|message|>decision: new<|end|><|channel|>final<|message|>"
    + "".join(f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in SAID.items())
    + "<|im_end|>",
    "two thoughts": "<think>a</think>\n<think>decision: new</think>\n" + json.dumps(SAID),
    "thoughts in brackets": f"[THINK]decision: new[/THINK]{json.dumps(SAID)}",
    "a call in Python": f"decide({', '.join(f'{name}={value!r}' for name, value in SAID.items())})",
    "parameters of a call": "<tool_call><function=decide>"
    + "".join(f"<parameter={name}>\n{value}\n</parameter>\n" for name, value in SAID.items())
    + "</function></tool_call>",
    "named parameters": "".join(f'<parameter name="{name}">{value}</parameter>' for name, value in SAID.items()),
    "XML with attributes": "".join(
        f'<{name.upper()} type="str">{value}</ {name.upper()} >' for name, value in SAID.items()
    ),
    "another call's arguments": json.dumps({"functionCall": {"name": "decide", "args": SAID}}),
    "names and values": json.dumps([{"name": name, "value": value} for name, value in SAID.items()]),
    "an object for each": "\n".join(json.dumps({name: value}) for name, value in SAID.items()),
    "JSON with curled quotes": "{" + ", ".join(f"“{name}”: “{value}”" for name, value in SAID.items()) + "}",
    "JSON within JSON": json.dumps(json.dumps(SAID)),
    "JSON after other braces and code": f"Of {{decision}} and {{a: 1}}:\n```python\nprint({{'a': 1}})\n```\n"
    f"```json\n{json.dumps(SAID)}\n```",
    "YAML in a fence": "```yaml\nreasoning: |\n  They differ in the unit.\ndecision: sharpens\nentry: G7\n"
    "text: >-\n  When a, do b: c.\n```",
    "letters": "\n".join(
        f"{letter}) {name}: {value}" for letter, (name, value) in zip("abcd", SAID.items(), strict=True)
    ),
    "bold names alone": "\n".join(f"**{name.title()}**\n{value}" for name, value in SAID.items()),
    "quoted lines": "\n".join(f"> My {name}: {value}" for name, value in SAID.items()),
    "other colons": "\n".join(f"{name}\uff1a{value}" for name, value in SAID.items()),
}


@pytest.mark.parametrize("reply", WRITTEN.values(), ids=WRITTEN)
def test_fields_are_read_in_any_form(reply):
    assert read_reply(reply, FIELDS) == SAID


def test_a_field_that_is_not_there_is_named_in_a_sentence_and_the_others_are_kept():
    read = read_reply("decision: new\ntext: When a, b.", FIELDS)
    assert (read["decision"], read["text"]) == ("new", "When a, b.")
    assert read["entry"].why == "The reply says nothing under entry."


def test_a_reply_to_one_question_needs_no_name_for_its_answer():
    assert read_reply("<think>So.</think> It sharpens G7.", {"decision": Literal[DECISIONS]}) == {
        "decision": "sharpens"
    }
    assert read_reply("They divided.\n\nNote: by 3.", {"summary": str}) == {"summary": "They divided.\n\nNote: by 3."}


def test_json_that_only_a_repair_would_close_broke_off():
    read = read_reply(json.dumps(SAID)[:-12], FIELDS)
    assert {name: value for name, value in read.items() if name != "text"} == {
        k: v for k, v in SAID.items() if k != "text"
    }
    assert read["text"] == Odd(BROKE_OFF)


def test_a_text_that_repeats_itself_is_no_answer():
    reply = (
        f"[[ ## summary ## ]]\nFirst it adds. {'When a candidate approaches a problem, it should be careful. ' * 30}"
    )
    assert read_reply(reply, {"summary": str})["summary"].why == REPEATS


@given(st.text(max_size=300))
def test_no_reply_raises(reply):
    assert set(read_reply(reply, FIELDS)) == set(FIELDS)


@given(st.sampled_from(DECISIONS), st.data())
def test_a_choice_is_read_in_any_dress(option, data):
    dressed = data.draw(
        st.sampled_from(
            [
                option,
                option.upper(),
                option.title(),
                f'"{option}"',
                f"[{option}]",
                f"**{option}**",
                f"`{option}`.",
                f" {option}\n",
                option.replace(" ", "_"),
                option.replace(" ", "-"),
                f"Decision: {option}",
                f"{option} - because the two agree",
                f"Literal['{option}']",
                f"I would say that it is {option}.",
                f"{option}\nIt is so because of the unit.",
                f"\\boxed{{\\text{{{option}}}}}",
                "\n".join(f"[{'x' if other == option else ' '}] {other}" for other in DECISIONS),
            ]
        )
    )
    assert read_choice(dressed, DECISIONS) == option


@pytest.mark.parametrize(
    "written",
    ["", "maybe", "new or sharpens", "It is not new.", "renewed", "new\nsharpens\nsays nothing", None, {}, []],
)
def test_what_names_no_option_or_several_is_not_guessed(written):
    read = read_choice(written, DECISIONS)
    assert isinstance(read, Odd)
    assert "one of these: new, sharpens, already said, says nothing." in read.why


def test_an_option_is_known_by_another_form_of_its_word():
    assert read_choice("Sharpened", DECISIONS) == read_choice("The lesson sharpen it.", DECISIONS) == "sharpens"


@pytest.mark.parametrize(
    "written",
    [
        "- When a, do b.",
        "1. When a, do b.",
        "[G7] When a, do b.",
        "G7: When a, do b.",
        "**Lesson:** When a, do b.",
        'The revised lesson: "When a, do b."',
        '["When a, do b."]',
        '{"lesson": "When a, do b."}',
        "```text\nWhen a, do b.\n```",
        "When a,\ndo b.\n```",
    ],
)
def test_a_lesson_is_kept_without_what_a_model_puts_before_and_around_it(written):
    assert read_lesson(written) == "When a, do b."


@pytest.mark.parametrize("text", ["Units: when a, do b.", "When [G7] is cited, do b.", "G7 holds.", "Lessons: none."])
def test_what_only_looks_like_such_a_beginning_stays(text):
    assert read_lesson(text) == text


@pytest.mark.parametrize(
    "piece", ["[", "[[ ## ", '{"', "[{", "<item>", "</think>", "\n", " ", "1", "add_", "(A0, ", "```\n"]
)
def test_one_piece_over_and_over_is_read_in_time_that_grows_with_its_length(piece):
    for reply in (piece * 20_000, f"{piece * 20_000}x"):
        assert set(read_reply(reply, {**FIELDS, "operations": list[Operation]})) == {*FIELDS, "operations"}


def test_what_is_denied_is_not_chosen():
    assert read_choice("It is not new, but already said by another entry.", DECISIONS) == "already said"


@pytest.mark.parametrize(
    "written", ["G7", "[G7]", "g7", "7", 7, "7.0", "Entry 7", "id: G7", "entry [G7]", "G7.", "**G7**"]
)
def test_ids_are_read_in_any_spelling(written):
    assert read_choice(written, ("G7", "G12", "none")) == "G7"


@pytest.mark.parametrize("written", ["none", "None.", "", None, "N/A", "null", "(none)", "-"])
def test_nothing_has_many_spellings(written):
    assert read_choice(written, ("G7", "G12", "none")) == "none"
    assert written is None or says_nothing(written)


@pytest.mark.parametrize("written", ["G1", "G71", "3", "G7 or G12"])
def test_an_id_that_was_not_shown_is_not_guessed(written):
    assert isinstance(read_choice(written, ("G7", "G12", "none")), Odd)


@pytest.mark.parametrize(
    ("written", "kind", "read"),
    [
        ("Attempt 2", int, 2),
        ("2.0", int, 2),
        (["a", "b"], str, "a\nb"),
        ("```\nWhen a, b.\n```", str, "When a, b."),
        ("- When a, b.\n- When c, d.", list[str], ["When a, b.", "When c, d."]),
        ('["When a, b.", ""]', list[str], ["When a, b."]),
        ("none", list[str], []),
        ("true", bool, True),
        ('{"a": 1}', dict[str, int], {"a": 1}),
        ("new", Annotated[Literal["new"], "x"], "new"),
    ],
)
def test_other_types_are_read_as_far_as_it_is_clear_what_was_meant(written: Any, kind: Any, read: Any):
    assert read_value(written, kind) == read


@pytest.mark.parametrize(
    ("written", "kind"), [("2 or 3", int), ("many", int), ("perhaps", bool), ("x", dict[str, int])]
)
def test_what_does_not_fit_a_type_is_odd(written, kind):
    assert isinstance(read_value(written, kind), Odd)


class Decide(dspy.Signature):
    """Decide."""

    candidate: str = dspy.InputField()
    decision: Literal["new", "already said"] = dspy.OutputField()
    text: str = dspy.OutputField()


@pytest.mark.parametrize("adapter", [None, dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter()])
def test_an_adapter_writes_as_before_and_reads_leniently(adapter):
    lenient, strict = reading(adapter), adapter or dspy.ChatAdapter()
    assert lenient.format(Decide, [], {"candidate": "c"}) == strict.format(Decide, [], {"candidate": "c"})
    said = {"decision": "already said", "text": "a < b & c"}
    assert lenient.parse(Decide, strict.format_assistant_message_content(Decide, said)) == said
    assert lenient.parse(Decide, "**Decision**: NEW\n**Text**: When a, b.") == {"decision": "new", "text": "When a, b."}
    assert "parse" not in vars(strict)


def test_an_adapter_that_asks_another_lm_reads_its_replies_itself():
    adapter = dspy.TwoStepAdapter(dspy.LM("x/y"))
    assert reading(adapter) is adapter
