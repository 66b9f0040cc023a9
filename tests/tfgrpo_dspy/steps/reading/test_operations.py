"""Whatever form a list of operations comes in, its good items are read, nothing is made up, and nothing raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify, Operation
from tfgrpo_dspy.steps.reading.odd import Items
from tfgrpo_dspy.steps.reading.operations import read_operations

SPELLINGS = {
    "add": ["add", "ADD", "Add", " add ", "insert", "CREATE", "append"],
    "modify": ["modify", "MODIFY", "update", "Update", "UPDATE", "revise", "refine"],
    "delete": ["delete", "DELETE", "remove", "Remove"],
    "keep": ["keep", "KEEP", "none", "NONE", "no change", "No_Change", "unchanged"],
}
KEYS = {
    "op": ["op", "operation", "Operation", "action", "OP", "type"],
    "text": ["text", "content", "experience", "Text", "new_text"],
    "id": ["id", "ID", "Id", "target", "entry_id"],
    "sources": ["sources", "source", "Sources"],
}
TEXTS = st.lists(st.sampled_from("alpha beta gamma delta epsilon zeta eta theta".split()), min_size=3, max_size=8).map(
    lambda words: f"When {words[0]}, {' '.join(words[1:])}."
)
NUMBERS = st.integers(0, 40)


def ids(number: int) -> st.SearchStrategy[Any]:
    return st.sampled_from([number, f"G{number}", f"[G{number}]", f"g{number}", str(number), f" G{number} "])


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    op = draw(st.sampled_from(["add", "modify", "delete", "keep"]))
    text, id = draw(TEXTS), f"G{draw(NUMBERS)}"
    made = {"add": Add(text=text), "modify": Modify(id=id, text=text), "delete": Delete(id=id), "keep": Keep(id=id)}
    return made[op].model_copy(update={"sources": (f"A{draw(st.integers(0, 9))}",)})


@st.composite
def written(draw: st.DrawFn, operation: Operation) -> dict[str, Any]:
    """An operation as some model may spell it."""
    said: dict[str, Any] = {draw(st.sampled_from(KEYS["op"])): draw(st.sampled_from(SPELLINGS[operation.op]))}
    if not isinstance(operation, Add):
        said[draw(st.sampled_from(KEYS["id"]))] = draw(ids(int(operation.id[1:])))
    elif draw(st.booleans()):
        said["id"] = draw(st.sampled_from([None, "", "null", "none"]))
    if isinstance(operation, Add | Modify):
        said[draw(st.sampled_from(KEYS["text"]))] = operation.text
    elif draw(st.booleans()):
        said["text"] = draw(st.sampled_from([None, "", "none"]))
    label = operation.sources[0]
    said[draw(st.sampled_from(KEYS["sources"]))] = draw(
        st.sampled_from([label, [label], f"[{label}]", {"item": label}])
    )
    extra = st.fixed_dictionaries(
        {},
        optional={
            "title": st.just("A name"),
            "confidence": st.floats(0, 1),
            "reason": st.sampled_from([None, "it won"]),
        },
    )
    said |= draw(extra)
    keys = draw(st.permutations(list(said)))
    return {key: said[key] for key in keys}


SPOILT = [
    {"op": "polish", "text": "When polished, shine."},
    {"op": "modify", "text": "When nobody knows which, say so."},
    {"op": "delete"},
    {"op": "add", "text": None},
    {"op": 3, "id": {"a": "b"}},
    "a remark",
    17,
    None,
    [],
    {},
]


@st.composite
def replies(draw: st.DrawFn) -> tuple[str, list[Operation]]:
    """A reply with some operations in it, and those."""
    meant = draw(
        st.lists(operations(), min_size=1, max_size=6, unique_by=lambda o: (o.op, getattr(o, "id", ""), str(o)))
    )
    items: list[Any] = [draw(written(operation)) for operation in meant]
    for spoilt in draw(st.lists(st.sampled_from(SPOILT), max_size=3)):
        items.insert(draw(st.integers(0, len(items))), spoilt)
    return draw(wrapped(items)), meant


def wrapped(items: list[Any]) -> st.SearchStrategy[str]:
    as_json = json.dumps(items)
    indented = json.dumps(items, indent=2)
    objects = "\n".join(json.dumps(item) for item in items if isinstance(item, dict))
    call = json.dumps({"name": "update_library", "arguments": json.dumps({"operations": items})})
    forms = [
        as_json,
        indented,
        f"```json\n{indented}\n```",
        f"Here is what I would do:\n\n```\n{as_json}\n```\nLet me know.",
        f"These are the operations: {as_json} I kept the others.",
        json.dumps({"operations": items}),
        json.dumps({"result": {"Operations": items}}),
        call,
        json.dumps({"tool_calls": [{"function": {"name": "update", "arguments": json.dumps({"operations": items})}}]}),
        as_json.replace("},", "},\n").replace("]", ",]") if '": []' not in as_json and "[]" not in as_json else as_json,
        objects,
    ]
    return st.sampled_from(forms)


def known(items: Items) -> set[tuple[str, str | None, str | None]]:
    return {(o.op, getattr(o, "id", None), getattr(o, "text", None)) for o in items.operations}


@given(replies())
def test_every_good_item_survives_whatever_stands_beside_it(reply):
    text, meant = reply
    read = read_operations(text)
    assert known(Items(tuple(meant))) <= known(read)
    assert {o.sources for o in meant} <= {o.sources for o in read.operations} | {()}


@given(replies())
def test_no_text_and_no_id_is_made_up(reply):
    text, _ = reply
    for operation in read_operations(text).operations:
        assert getattr(operation, "text", "") in text.replace('\\"', '"').replace("\\\\", "\\")
        assert (getattr(operation, "id", None) or "G")[1:] in text


@given(st.lists(operations(), min_size=1, max_size=6, unique_by=str), st.data())
def test_of_a_reply_that_broke_off_what_was_finished_is_there_and_it_says_that_it_broke_off(meant, data):
    items = [o.model_dump() for o in meant]
    whole = data.draw(st.sampled_from([json.dumps(items), json.dumps({"operations": items}, indent=1)]))
    end = data.draw(st.integers(1, len(whole) - 1))
    read = read_operations(whole[:end])
    assert not read.is_whole
    assert known(read) <= known(Items(tuple(meant)))
    assert len(read.operations) == whole[:end].count("}")


@given(
    st.one_of(
        st.text(max_size=400),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=12),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(st.sampled_from(["op", "id", "text", "operations", "x", "G3"]), inner, max_size=4)
            ),
            max_leaves=12,
        ),
    )
)
def test_nothing_that_a_model_may_write_raises(reply):
    read = read_operations(reply if isinstance(reply, str) else json.dumps(reply))
    assert isinstance(read, Items)
    assert isinstance(read_operations(reply), Items)
    for odd in read.odd:
        assert odd.why.endswith(".")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (
            '{"op": "merge", "id": "G1", "merged_from": ["G1", "G2"], "text": "When a, b."}',
            [Modify(id="G1", text="When a, b."), Delete(id="G2")],
        ),
        ('{"op": "merge", "ids": [3, 5], "text": "When a, b."}', [Modify(id="G3", text="When a, b."), Delete(id="G5")]),
        ('{"op": "merge", "text": "When a, b.", "sources": "A0, A1"}', [Add(text="When a, b.", sources=("A0", "A1"))]),
        (
            '{"add": ["When a, b.", "When c, d."], "delete": ["G4", 5], "keep": "G2"}',
            [Add(text="When a, b."), Add(text="When c, d."), Delete(id="G4"), Delete(id="G5"), Keep(id="G2")],
        ),
        (
            '{"G7": "keep", "G8": {"op": "modify", "text": "When a, b."}}',
            [Keep(id="G7"), Modify(id="G8", text="When a, b.")],
        ),
        ('[{"type": "add", "name": "Check units", "text": "When a, b."}]', [Add(text="When a, b.")]),
        ('{"text": "When a, b."}', [Add(text="When a, b.")]),
        ('{"id": "G3", "text": "When a, b."}', [Modify(id="G3", text="When a, b.")]),
        ("[{'op': 'add', 'text': 'When a, b.', 'id': None,},]", [Add(text="When a, b.")]),
        ('[{op: "add", text: "When a, b."}]', [Add(text="When a, b.")]),
        (
            "- ADD: When a, do b. (A0, A3)\n- Modify [G7]: When c, do d.\n3. Keep G3\n* **Delete** G4\n- I read all.",
            [
                Add(text="When a, do b.", sources=("A0", "A3")),
                Modify(id="G7", text="When c, do d."),
                Keep(id="G3"),
                Delete(id="G4"),
            ],
        ),
        ("I suggest:\n1. When a, do b.\n2. When c, do d.", [Add(text="When a, do b."), Add(text="When c, do d.")]),
        ("Modify [G2]: When a, b.\nDelete [G9]", [Modify(id="G2", text="When a, b."), Delete(id="G9")]),
        (
            "<item><op>add</op><text>When a, b [G1].</text></item> <item><op>delete</op><id>G3</id></item>",
            [Add(text="When a, b [G1]."), Delete(id="G3")],
        ),
        ("none", []),
        ("No changes are needed.", []),
        ("[]", []),
        ('{"operations": []}', []),
    ],
)
def test_natural_spellings_mean_what_they_say(written, read):
    found = read_operations(written)
    assert list(found.operations) == read
    assert (found.odd, found.is_whole) == ((), True)


def test_what_is_odd_about_an_item_is_said_in_a_sentence_without_names_of_fields():
    read = read_operations('[{"op": "modify", "text": "When a, b."}, {"op": "add", "text": "When c, d."}]')
    assert list(read.operations) == [Add(text="When c, d.")]
    assert [odd.why for odd in read.odd] == ['It does not say which entry to change: "modify When a, b.".']


def test_prose_about_operations_is_no_operation():
    assert read_operations("I looked at the candidates. They add nothing new - keep going.").operations == ()


MEANT = [
    Add(text="When a, do b.", sources=("A0",)),
    Modify(id="G7", text="When c, do d.", sources=("A1",)),
    Delete(id="G3"),
]
ITEMS = [o.model_dump(exclude={"reason", "scope"}) | ({} if o.sources else {"sources": []}) for o in MEANT]
ARGUMENTS = [{key: value for key, value in item.items() if key != "op"} for item in ITEMS]


def xml(item: dict[str, Any]) -> str:
    """As DSPy's XML adapter writes it."""
    sources = "".join(f"<item>{label}</item>" for label in item["sources"])
    return "".join(f"<{k}>{v}</{k}>" for k, v in {**item, "sources": sources}.items())


FORMS = {
    "a fence for each": "".join(f"{i}.\n```json\n{json.dumps(item)}\n```\n" for i, item in enumerate(ITEMS)),
    "prose between": "".join(f"Then: {json.dumps(item)} because of it.\n" for item in ITEMS),
    "points in JSON": "".join(f"- {json.dumps(item)}\n" for item in ITEMS),
    "lists one after the other": f"{json.dumps(ITEMS[:1])}\nand {json.dumps(ITEMS[1:])}",
    "lists in lists": json.dumps([[ITEMS[0]], [[ITEMS[1]], [[ITEMS[2]]]]]),
    "texts of JSON": json.dumps([json.dumps(item) for item in ITEMS]),
    "curled quotes": json.dumps(ITEMS).replace('"', "\u201d"),
    "a list by operation": json.dumps(
        {"added": ARGUMENTS[:1], "to_modify": ARGUMENTS[1:2], "deletions": ["G3"], "keep": []}
    ),
    "operations as keys": json.dumps(
        [
            {"add": "When a, do b.", "sources": "A0"},
            {"modify": "G7", "text": "When c, do d.", "sources": "A1"},
            {"delete": "G3"},
        ]
    ),
    "past tense": json.dumps(
        [{**item, "op": op} for item, op in zip(ITEMS, ("Added", "modified", "removed"), strict=True)]
    ),
    "names of types": json.dumps(
        [{**item, "op": op} for item, op in zip(ITEMS, ("Operation.ADD", "modify_entry", "to delete"), strict=True)]
    ),
    "another language": json.dumps(
        [{**item, "op": op} for item, op in zip(ITEMS, ("hinzufügen", "修改", "supprimer"), strict=True)]
    ),
    "arguments": json.dumps([{"op": item["op"], "params": rest} for item, rest in zip(ITEMS, ARGUMENTS, strict=True)]),
    "tool calls": json.dumps(
        {
            "tool_calls": [
                {"id": f"call_{i}", "type": "function", "function": {"name": item["op"], "arguments": json.dumps(rest)}}
                for i, (item, rest) in enumerate(zip(ITEMS, ARGUMENTS, strict=True))
            ]
        }
    ),
    "tool calls in tags": "".join(
        f"<tool_call>\n{json.dumps({'name': item['op'], 'arguments': rest})}\n</tool_call>\n"
        for item, rest in zip(ITEMS, ARGUMENTS, strict=True)
    ),
    "one tool call": json.dumps({"functionCall": {"name": "update", "args": {"operations": ITEMS}}}),
    "calls in Python": "\n".join(
        f"{item['op']}({', '.join(f'{k}={v!r}' for k, v in rest.items())})"
        for item, rest in zip(ITEMS, ARGUMENTS, strict=True)
    ),
    "what an object prints": str([*MEANT]).replace("(reason='', ", "(").replace("scope=None, ", ""),
    "XML": "".join(f"<item>{xml(item)}</item>" for item in ITEMS),
    "XML with attributes": '<add sources="A0">When a, do b.</add>'
    '<modify id="G7" sources="A1">When c, do d.</modify><delete id="G3"/>',
    "texts with what stood before them": json.dumps(
        [{**ITEMS[0], "text": "- Lesson: When a, do b."}, {**ITEMS[1], "text": '[G7] "When c, do d."'}, ITEMS[2]]
    ),
    "labels as objects": json.dumps(
        [{**ITEMS[0], "sources": [{"label": "A0"}]}, {**ITEMS[1], "sources": ["A1.0"]}, ITEMS[2]]
    ),
    "headings": "### Add\n- When a, do b. (A0)\n\n**Modify:**\n- [G7] When c, do d. (A1)\n\n## Delete\n- G3",
    "points in points": "1. **Operation:** add\n   - **Text:** When a, do b.\n   - **Sources:** A0\n"
    "2. **Operation:** modify\n   - **ID:** G7\n   - **Text:** When c, do d.\n   - **Sources:** A1\n"
    "3. **Operation:** delete\n   - **ID:** G3",
    "YAML": '```yaml\n- op: add\n  text: "When a, do b."\n  sources: [A0]\n- op: modify\n  id: G7\n'
    "  text: When c, do d.\n  sources: [A1]\n- op: delete\n  id: G3\n```",
    "lines": '[ADD] When a, do b. (A0)\n- Modify G7 to "When c, do d." (A1)\n- Delete G3 because it misleads',
    "arrows": "\u2795 Add \u2192 When a, do b. (A0)\nModify G7 -> When c, do d. Sources: A1\nDelete G3",
}


@pytest.mark.parametrize("reply", FORMS.values(), ids=FORMS)
def test_operations_are_read_in_any_form(reply):
    read = read_operations(reply)
    assert [(o.op, getattr(o, "id", None), getattr(o, "text", None), o.sources) for o in read.operations] == [
        (o.op, getattr(o, "id", None), getattr(o, "text", None), o.sources) for o in MEANT
    ]
    assert (read.odd, read.is_whole) == ((), True)
