from __future__ import annotations

import gzip
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dspy
import pytest

from tfgrpo_dspy.data.columns import Field, Fit, parse_field
from tfgrpo_dspy.data.examples import load_examples
from tfgrpo_dspy.data.rows import read_rows
from tfgrpo_dspy.errors import DataError, MissingExtraError, SettingsError

NESTED = {
    "data_source": "toy",
    "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 3?"}],
    "reward_model": {"ground_truth": "5", "style": "rule"},
}
ROWS = [{"question": "2 + 3?", "answer": "5"}, {"question": "1 + 1?", "answer": "2"}]


def jsonl(folder: Path, *rows: object, name: str = "train.jsonl") -> str:
    path = folder / name
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return str(path)


def raw(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def pairs(source: str, **options: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(dict(e.inputs()), dict(e.labels())) for e in load_examples(source, **options)]


EXPECTED = [({"question": "2 + 3?"}, {"answer": "5"}), ({"question": "1 + 1?"}, {"answer": "2"})]


def test_jsonl_is_read_row_by_row_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    source = raw(tmp_path, "a.jsonl", "\n".join(["", *map(json.dumps, ROWS), "", ""]))
    assert pairs(source) == EXPECTED


@pytest.mark.parametrize("document", [ROWS, {"data": ROWS}])
def test_json_is_a_list_or_an_object_with_data(tmp_path: Path, document: object) -> None:
    assert pairs(raw(tmp_path, "a.json", json.dumps(document, indent=1))) == EXPECTED


def test_csv_has_its_columns_in_the_first_line(tmp_path: Path) -> None:
    assert pairs(raw(tmp_path, "a.csv", "question,answer\r\n2 + 3?,5\r\n\r\n1 + 1?,2\r\n")) == EXPECTED


def test_parquet_is_read_through_the_extra(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.Table.from_pylist([NESTED]), tmp_path / "a.parquet")
    assert pairs(str(tmp_path / "a.parquet")) == [({"question": "What is 2 + 3?"}, {"answer": "5"})]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_a_byte_order_mark_is_passed_over(tmp_path: Path, name: str) -> None:
    content = {"a.jsonl": json.dumps(ROWS[0]), "a.json": json.dumps(ROWS[:1]), "a.csv": "question,answer\n2 + 3?,5\n"}
    assert pairs(raw(tmp_path, name, b"\xef\xbb\xbf" + content[name].encode())) == EXPECTED[:1]


def test_nested_columns_are_reached_by_dotted_paths_and_renamed(tmp_path: Path) -> None:
    source = jsonl(tmp_path, NESTED)
    found = pairs(source, inputs=["task=prompt.1.content", "data_source"], answer="gold=reward_model.ground_truth")
    assert found == [({"task": "What is 2 + 3?", "data_source": "toy"}, {"gold": "5"})]


def test_a_column_whose_name_has_a_dot_wins_over_a_path(tmp_path: Path) -> None:
    source = jsonl(tmp_path, {"a.b": "flat", "a": {"b": "deep"}})
    assert pairs(source, inputs=["x=a.b"])[0][0] == {"x": "flat"}


@pytest.mark.parametrize(
    ("row", "question", "answer"),
    [
        (NESTED, "What is 2 + 3?", {"answer": "5"}),
        ({"question": "q", "answer": "2 + 2 = 4\n#### 4"}, "q", {"answer": "2 + 2 = 4\n#### 4"}),
        ({"id": 1, "problem": "p", "solution": "long", "answer": "025"}, "p", {"answer": "025"}),
        ({"ID": 1, "Problem": "p", "Answer": 25}, "p", {"answer": 25}),
        ({"input": "i", "target": "t"}, "i", {"answer": "t"}),
        ({"prompt": "p"}, "p", {}),
        ({"prompt": "p", "reward_model": {"ground_truth": "5"}}, "p", {"answer": "5"}),
        ({"prompt": [{"role": "user", "content": "p"}], "answer": "a"}, "p", {"answer": "a"}),
        (
            {"instruction": "Translate.", "input": "good day", "output": "bonjour"},
            "Translate.\n\ngood day",
            {"answer": "bonjour"},
        ),
        ({"instruction": "Name it.", "input": "", "output": "x"}, "Name it.", {"answer": "x"}),
    ],
)
def test_known_layouts_become_question_and_answer(
    tmp_path: Path, row: object, question: str, answer: dict[str, object]
) -> None:
    assert pairs(jsonl(tmp_path, row)) == [({"question": question}, answer)]


def test_a_named_input_is_not_guessed_to_be_the_answer_too(tmp_path: Path) -> None:
    source = jsonl(tmp_path, {"question": "q", "answer": "a"})
    assert pairs(source, inputs=["question", "draft=answer"]) == [({"question": "q", "draft": "a"}, {})]


def test_a_limit_takes_the_first_rows_and_reads_no_further(tmp_path: Path) -> None:
    source = raw(tmp_path, "a.jsonl", "\n".join([*map(json.dumps, ROWS), "not json"]))
    assert pairs(source, limit=2) == EXPECTED


def test_duplicate_rows_are_kept(tmp_path: Path) -> None:
    assert len(load_examples(jsonl(tmp_path, ROWS[0], ROWS[0]))) == 2


Q = '{"question": "q", "answer": "a"}\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "there is no row in it"),
        ("a.jsonl", "\n \n", "there is no row in it"),
        ("a.jsonl", Q + "\n{bad}\n", r"a.jsonl, line 3: no valid JSON at column 2"),
        ("a.jsonl", Q + "[1]\n", "a.jsonl, line 2: a row must be a JSON object"),
        ("a.jsonl", Q.encode() + b'{"question": "\xe9"}', "a.jsonl, line 2: the text is not UTF-8"),
        (
            "a.jsonl",
            Q + '{"question": "q"}',
            "a.jsonl, line 2: there is no column 'answer' .* the columns are 'question'",
        ),
        ("a.jsonl", Q + '{"question": " ", "answer": "a"}', r"a.jsonl, line 2: the input 'question' .* is empty"),
        ("a.jsonl", Q + '{"question": "q", "answer": null}', r"a.jsonl, line 2: the answer 'answer' .* is empty"),
        ("a.jsonl", '{"x": [{"y": 1}], "z": {}}', r"a.jsonl, line 1: no column looks like a question.*'x.0.y', 'z'"),
        ("a.jsonl", "9" * 5000, "a.jsonl, line 1: this JSON cannot be read"),
        ("a.json", "[]", "there is no row in it"),
        ("a.json", "", "a.json: no valid JSON at line 1, column 1"),
        ("a.json", '[{"question": "q"}, 3]', "a.json, item 2: a row must be a JSON object"),
        ("a.json", '{"rows": []}', r"a.json: expected a list of objects"),
        ("a.json", b"[\n\xff", "a.json, line 2: the text is not UTF-8"),
        ("a.csv", "question,answer\n", "there is no row in it"),
        ("a.csv", "question,question\nx,y\n", "a.csv, line 1: the first line must name every column once"),
        ("a.csv", 'question,answer\n"a\nb",c\nd,e,f\n', "a.csv, line 4: 3 fields under 2 columns"),
        ("a.csv", "question,,answer\nx,1,y\n", "a.csv, line 1: the first line must name every column once"),
        ("a.jsonl.gz", "no gzip", "a.jsonl.gz: no readable gzip file"),
        ("a.arrow", "no arrow", "a.arrow: no readable Arrow file"),
        ("a.csv", 'question,answer\nx,"y', "a.csv, line 2: no valid CSV"),
        ("a.csv", "question,answer\n,y\n", "a.csv, line 2: the input 'question' .* is empty"),
        ("a.parquet", "no parquet", "a.parquet: no readable Parquet"),
        ("a.txt", "text", r"examples are read from .jsonl, .json, .csv, .tsv, .parquet and .arrow files"),
    ],
)
def test_what_cannot_be_read_is_named_by_file_and_line(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match=message):
        load_examples(raw(tmp_path, name, content))


def test_a_missing_column_lists_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no column 'foo' for the input 'foo'.*'prompt.0.role', .*'reward_model.style'"
    ):
        load_examples(jsonl(tmp_path, NESTED), inputs=["foo"])


def test_a_path_past_the_end_of_a_list_is_a_missing_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'prompt\.9\.content'"):
        load_examples(jsonl(tmp_path, NESTED), inputs=["q=prompt.9.content"])


def test_a_missing_file_is_said_with_the_folder_it_was_sought_in(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.jsonl: there is no such file; check the path"):
        load_examples(str(tmp_path / "nowhere.jsonl"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "at least 1 row, got 0"),
        ({"split": "test"}, r"says nothing about train.jsonl, which has none; leave it out, or take a part: \[:100\]"),
        ({"inputs": []}, "inputs names no field"),
        ({"inputs": ["prompt.0.content"]}, r"give it one in front of the column, e.g. question=prompt.0.content"),
        ({"inputs": ["question="]}, "names no column; write question=<column>"),
        ({"inputs": ["question"], "answer": "question"}, "two fields share a name"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_examples(jsonl(tmp_path, *ROWS), **options)


def test_a_field_is_a_column_or_a_name_for_one() -> None:
    assert parse_field("question") == Field("question", "question")
    assert parse_field(" question = prompt.0.content ") == Field("question", "prompt.0.content")


def test_files_as_people_have_them_are_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(f"{json.dumps(row)}\n" for row in ROWS)
    for name, content in {
        "a.jsonl.gz": gzip.compress(lines.encode()),
        "a.tsv": "question\tanswer\n2 + 3?\t5\n1 + 1?\t2\n",
        "a.tsv.gz": gzip.compress(b"question\tanswer\n2 + 3?\t5\n1 + 1?\t2\n"),
        "semicolons.csv": "question;answer\r\n2 + 3?;5\r\n1 + 1?;2\r\n",
        "tabs.csv": "question\tanswer\n2 + 3?\t5\n1 + 1?\t2\n",
        "document.csv": f"question,answer,page\n2 + 3?,5,{'x' * 1_000_000}\n1 + 1?,2,\n",
        "index.csv": ",question,answer\n0,2 + 3?,5\n1,1 + 1?,2\n",
        "trailing.csv": "question,answer,\n2 + 3?,5,\n1 + 1?,2,\n",
    }.items():
        assert pairs(raw(tmp_path, name, content)) == EXPECTED, name
    for text in (
        lines,
        json.dumps(ROWS),
        "question,answer\n2 + 3?,5\n1 + 1?,2\n",
        "question;answer\n2 + 3?;5\n1 + 1?;2",
    ):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert pairs("-") == EXPECTED


@pytest.mark.parametrize(
    ("source", "split", "expected"),
    [
        ("data", "train", EXPECTED),
        ("data", "test", EXPECTED[:1]),
        ("data", "train[1:]", EXPECTED[1:]),
        ("data", "train[-1:]", EXPECTED[1:]),
        ("data", "train[:50%]", EXPECTED[:1]),
        ("data", "test+train[1:]", EXPECTED),
        ("data/train-00000.jsonl", "[:49%]+[:100%]", EXPECTED[:1]),
        ("data/train-*.jsonl", None, EXPECTED),
        ("data/train-*.jsonl", "[:1]", EXPECTED[:1]),
        ("data/train-00000.jsonl", "[:1]", EXPECTED[:1]),
        ("plain", None, EXPECTED),
    ],
)
def test_shards_of_a_folder_are_one_dataset_by_the_splits_in_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, split: str | None, expected: list[Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, name, row in (
        ("data", "train-00000.jsonl", ROWS[0]),
        ("data/.ipynb_checkpoints", "train-00000-checkpoint.jsonl", ROWS[0]),
        ("data", "._train-00000.jsonl", "\0"),
        ("data", "train-00001.jsonl", ROWS[1]),
        ("data/test", "part.json", [ROWS[0]]),
        ("plain", "a.jsonl", ROWS[0]),
        ("plain", "b.csv", None),
    ):
        Path(folder).mkdir(exist_ok=True)
        text = "question,answer\n1 + 1?,2\n" if row is None else json.dumps(row)
        Path(folder, name).write_text(text, encoding="utf-8")
    Path("data", "README.md").write_text("about", encoding="utf-8")
    assert pairs(source, split=split) == expected


def test_a_folder_says_which_splits_it_has(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("train.jsonl", "test.jsonl"):
        jsonl(tmp_path, *ROWS, name=name)
    with pytest.raises(DataError, match=r"choose one of its splits with split=..., they are test, train; got None"):
        load_examples(str(tmp_path))
    with pytest.raises(DataError, match="there is nothing to read in this folder"):
        load_examples(str(tmp_path / "empty"))
    with pytest.raises(DataError, match=r"write rows as numbers, e.g. \[:100\]"):
        load_examples(str(tmp_path), split="train[a:b]")
    (tmp_path / "test.jsonl").rename(tmp_path / "more.jsonl")
    with pytest.raises(DataError, match=r"they are train; got None; of no split: more.jsonl, which a pattern"):
        load_examples(str(tmp_path))
    (tmp_path / "extra.csv.zst").write_bytes(b"")
    with pytest.raises(DataError, match=r"extra\.csv\.zst cannot be read; unpack it first"):
        load_examples(str(tmp_path), split="train")


def test_what_the_datasets_package_saves_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_list(ROWS)
    data.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": data, "test": data.select([0])}).save_to_disk(str(tmp_path / "several"))
    assert pairs(str(tmp_path / "one")) == EXPECTED
    assert pairs(str(tmp_path / "several"), split="test") == EXPECTED[:1]
    assert pairs(str(tmp_path / "several"), split="train[:1]") == EXPECTED[:1]
    shard = next((tmp_path / "one").glob("*.arrow"))
    assert pairs(str(shard)) == EXPECTED


@dataclass
class Ticket:
    question: str
    answer: str


def test_the_inputs_that_examples_were_given_are_kept() -> None:
    made = [dspy.Example(ticket="t", shop="s", label="x").with_inputs("ticket", "shop") for _ in range(2)]
    (first, _) = load_examples(made)
    assert (set(first.inputs().keys()), first.answer) == ({"ticket", "shop"}, "x")
    with pytest.raises(DataError, match="inputs of these Examples differ: ticket, shop in row 1 and ticket in row 2"):
        load_examples([made[0], made[1].with_inputs("ticket")])


def test_rows_in_python_are_read_whatever_holds_them() -> None:
    datasets, pandas = pytest.importorskip("datasets"), pytest.importorskip("pandas")
    examples = [dspy.Example(**row).with_inputs("question") for row in ROWS]
    for rows in (
        ROWS,
        iter(ROWS),
        (row for row in ROWS),
        pandas.DataFrame(ROWS),
        datasets.Dataset.from_list(ROWS),
        datasets.Dataset.from_list(ROWS).with_format("pandas"),
        datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}),
        {name: [row[name] for row in ROWS] for name in ROWS[0]},
        pandas.DataFrame(ROWS).set_index("question"),
        [Ticket(**row) for row in ROWS],
        examples,
    ):
        assert pairs(rows) == EXPECTED
    with pytest.raises(DataError, match="row 2 is a str; a row maps the name of each column"):
        load_examples([ROWS[0], "x"])
    several = {"train": datasets.Dataset.from_list(ROWS), "test": datasets.Dataset.from_list(ROWS[:1])}
    assert pairs(datasets.DatasetDict(several), split="test") == EXPECTED[:1]
    assert pairs(datasets.DatasetDict(several), split="train[1:]") == EXPECTED[1:]
    with pytest.raises(
        DataError, match=r"a dataset of several splits; choose one with split=..., they are train, test"
    ):
        load_examples(datasets.DatasetDict(several))
    with pytest.raises(DataError, match="examples cannot be made of a int"):
        load_examples(7)


def test_columns_named_like_the_programs_fields_are_taken_before_any_guess(tmp_path: Path) -> None:
    source = jsonl(tmp_path, {"question": "q", "ticket": "t", "context": "c", "category": "x", "answer": "a"})
    assert pairs(source, fit=Fit(["ticket", "context"], ["category"])) == [
        ({"ticket": "t", "context": "c"}, {"category": "x"})
    ]


@pytest.mark.parametrize(
    ("row", "level", "told"),
    [
        (
            {"problem": "p", "answer": "a", "id": 1},
            "INFO",
            "guessed question (column 'problem') -> answer; not read: id",
        ),
        (
            {"question": "q", "context": "c"},
            "WARNING",
            "not read: context; if the program needs context, name its inputs",
        ),
    ],
)
def test_a_guess_is_told_loudly_where_it_may_be_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, row: object, level: str, told: str
) -> None:
    with caplog.at_level("INFO", "tfgrpo_dspy"):
        load_examples(jsonl(tmp_path, row))
    assert [(record.levelname, told in record.getMessage()) for record in caplog.records] == [(level, True)]


class Rows(list[dict[str, Any]]):
    def select(self, indices: range) -> Rows:
        return Rows(self[i] for i in indices)


def hub(monkeypatch: pytest.MonkeyPatch, splits: list[str]) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []

    def load(name: str, config: str | None, *, split: str, **more: Any) -> Rows:
        calls.append((name, config, split, *more.items()))
        return Rows([*ROWS, {"question": "q"}])

    fake = SimpleNamespace(get_dataset_split_names=lambda name, config, **more: splits, load_dataset=load)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return calls


def test_a_dataset_id_goes_to_the_hub_with_configuration_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = hub(monkeypatch, ["train", "test"])
    assert pairs("owner/name:main", split="test", limit=2) == EXPECTED
    assert calls == [("owner/name", "main", "test", ("streaming", True))], "a limit fetches no more than it needs"


def test_a_revision_and_a_part_of_a_split_go_to_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = hub(monkeypatch, ["train"])
    for split in ("train[:2]", "train[1:2]", "train[-2:]", "train[:10%]"):
        list(read_rows("owner/name:main@v1.2", split=split, limit=2))
    assert calls == [
        ("owner/name", "main", "train", ("revision", "v1.2"), ("streaming", True)),
        ("owner/name", "main", "train", ("revision", "v1.2"), ("streaming", True)),
        ("owner/name", "main", "train[-2:]", ("revision", "v1.2")),
        ("owner/name", "main", "train[:10%]", ("revision", "v1.2")),
    ], "a part whose end is known is streamed, so that what comes after is not fetched"
    assert len(list(read_rows("owner/name", split="train[1:2]"))) == 1


def test_the_only_split_needs_no_name_and_rows_are_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = hub(monkeypatch, ["train"])
    with pytest.raises(DataError, match="owner/name, train, row 3: there is no column 'answer'"):
        load_examples("owner/name")
    assert calls == [("owner/name", None, "train")]


@pytest.mark.parametrize("split", [None, "dev"])
def test_a_split_must_be_chosen_among_those_that_exist(monkeypatch: pytest.MonkeyPatch, split: str | None) -> None:
    hub(monkeypatch, ["train", "test"])
    with pytest.raises(DataError, match=f"choose one of its splits.*train, test; got {split}"):
        load_examples("owner/name", split=split)


def test_a_hub_that_cannot_be_reached_is_said_with_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(name: str, config: str | None, **more: Any) -> list[str]:
        raise ConnectionError("Couldn't reach the Hub\nlong trace")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(get_dataset_split_names=unreachable))
    with pytest.raises(DataError, match=r"owner/name: no such file.*\(Couldn't reach the Hub\); check the id"):
        load_examples("owner/name")


def test_without_the_extra_the_message_shows_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"datasets: pip install 'tfgrpo-dspy\[datasets\]'"):
        load_examples("owner/name")
    with pytest.raises(MissingExtraError, match=r"a.parquet needs the package pyarrow: pip install"):
        load_examples(raw(tmp_path, "a.parquet", "x"))
