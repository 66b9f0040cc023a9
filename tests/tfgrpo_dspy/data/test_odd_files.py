"""Files and tables as they come: saved by another program, named otherwise than they are, with holes in them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.tfgrpo_dspy.data.test_examples import raw
from tfgrpo_dspy.data.examples import load_examples
from tfgrpo_dspy.errors import DataError, SettingsError

ROW = '{"question": "q", "answer": "a"}\n'
ONE = [{"question": "q", "answer": "a"}]


def rows_of(source: object, **options: Any) -> list[dict[str, Any]]:
    return [example.toDict() for example in load_examples(source, **options)]


def parquet(rows: list[dict[str, Any]] = ONE, names: tuple[str, ...] = ()) -> bytes:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file, table = io.BytesIO(), pa.Table.from_pylist(rows)
    pq.write_table(table.rename_columns(names) if names else table, file)
    return file.getvalue()


def from_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes, **options: Any) -> list[dict[str, Any]]:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    return rows_of("-", **options)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("crlf.jsonl", ROW.replace("\n", "\r\n")),
        ("more.ndjson", ROW),
        ("CAPITALS.JSONL", ROW),
        ("blank lines before.csv", "\n\nquestion,answer\nq,a\n"),
        ("spaces in the header.csv", "question , answer\nq,a\n"),
        ("carriage returns.csv", "question,answer\rq,a\r"),
        ("an index of pandas.csv", "Unnamed: 0,question,answer\n0,q,a\n"),
        ("an index by name.csv", "index,question,answer\n0,q,a\n"),
        ("two cases.csv", "Question,question,Answer,answer\nx,q,x,a\n"),
        ("text and label.csv", "id,text,label\n0,q,a\n"),
        ("columns.json", '{"question": ["q"], "answer": ["a"]}'),
        ("packed.csv.xz", lzma.compress(b"question,answer\nq,a\n")),
        ("packed.jsonl.bz2", bz2.compress(ROW.encode())),
        ("prompt and completion.jsonl", '{"prompt": "q", "completion": "a"}'),
        ("instruction and response.jsonl", '{"instruction": "q", "response": "a"}'),
    ],
)
def test_what_other_programs_write_is_read_as_it_is_meant(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert rows_of(raw(tmp_path, name, content)) == ONE


def test_lines_end_where_json_says_and_not_where_unicode_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{"question": "a\u2028b\u2029c\u0085d", "answer": "\u2028"}\n{"question": "q", "answer": "a"}\n'
    expected = [{"question": "a\u2028b\u2029c\u0085d", "answer": "\u2028"}, *ONE]
    with pytest.raises(DataError, match=r"line 1: the answer 'answer' .* is empty"):
        rows_of(raw(tmp_path, "a.jsonl", text))
    text = text.replace('"\u2028"', '"x"')
    expected[0]["answer"] = "x"
    assert rows_of(raw(tmp_path, "a.jsonl", text)) == expected
    assert from_stdin(monkeypatch, text.encode()) == expected


@pytest.mark.parametrize(
    "content",
    [
        ROW,
        gzip.compress(ROW.encode(), mtime=0),
        f"\ufeff{ROW}",
        "\ufeffquestion,answer\nq,a\n",
        "question\tanswer\nq\ta\n",
        '{\n "data": [\n  {"question": "q", "answer": "a"}\n ]\n}\n',
        '[\n {"question": "q",\n  "answer": "a"}\n]',
    ],
)
def test_standard_input_is_told_by_how_it_begins(monkeypatch: pytest.MonkeyPatch, content: str | bytes) -> None:
    assert from_stdin(monkeypatch, content.encode() if isinstance(content, str) else content) == ONE


def test_of_standard_input_a_part_is_taken_and_no_split(monkeypatch: pytest.MonkeyPatch) -> None:
    assert from_stdin(monkeypatch, (ROW * 3).encode(), split="[1:]") == ONE * 2
    with pytest.raises(SettingsError, match="split='train' says nothing about standard input, which has none; leave"):
        from_stdin(monkeypatch, ROW.encode(), split="train")
    with pytest.raises(DataError, match="standard input: no readable gzip file"):
        from_stdin(monkeypatch, gzip.compress(ROW.encode())[:-9])
    with pytest.raises(DataError, match="standard input, line 2: the text is not UTF-8"):
        from_stdin(monkeypatch, ROW.encode() + b"\xe9")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", parquet, "a.csv: this is no text but Parquet; name it .parquet"),
        ("a.jsonl", parquet, "a.jsonl: this is no text but Parquet; name it .parquet"),
        ("a.json", parquet, "a.json: this is no text but Parquet; name it .parquet"),
        ("a.csv.gz", lambda: gzip.compress(parquet()), "a.csv.gz: this is no text but Parquet"),
        ("a.parquet", lambda: b"question,answer\nq,a\n", "a.parquet: no readable Parquet"),
        ("a.parquet", lambda: b"", "a.parquet: no readable Parquet"),
        ("a.parquet.gz", lambda: b"PAR1", "a.parquet.gz: no readable gzip file"),
        ("a.jsonl", lambda: gzip.compress(ROW.encode()), "a.jsonl: .* compressed by gzip; add .gz to its name"),
        ("a.jsonl.gz", lambda: gzip.compress(ROW.encode() * 2000)[:60], "a.jsonl.gz: no readable gzip file"),
        ("a.csv", lambda: "question,answer\nq,a\n".encode("utf-16"), "a.csv: .* UTF-16 .*save the file as UTF-8"),
        ("a.csv", lambda: "question,answer\nq,a\n".encode("utf-16-be"), "a.csv: .* UTF-16 .*save the file as UTF-8"),
        ("a.csv", lambda: b"PK\x03\x04", "a.csv: .* a ZIP archive, as spreadsheets are"),
        ("a.csv", lambda: b"question,answer\nx\xe9,y\n", "a.csv, line 2: the text is not UTF-8"),
        ("a.jsonl", lambda: b'[\n{"question": "q"}]', "a.jsonl, line 1: .* one list of them is named .json"),
        ("a.json", lambda: (ROW * 2).encode(), "a.json: no valid JSON at line 2.* one object a line is .jsonl"),
        ("a.jsonl", lambda: b"question,answer\n", "a.jsonl, line 1: no valid JSON"),
        ("a.jsonl", lambda: b'{\n "question": "q"\n}', "line 1: no valid JSON .* a line holds one whole object"),
        ("a.csv", lambda: b"\xef\xbb\xbf", "there is no row in it"),
        ("a.csv", lambda: b"\n\n", "there is no row in it"),
        ("a.csv", lambda: b"question,answer,more\nx,y\n", "a.csv, line 2: 2 fields under 3 columns"),
        ("a.csv", lambda: b'question,answer\n"a\nb",y\n,z\n', "a.csv, line 4: the input 'question' .* is empty"),
        ("a.jsonl", lambda: b'{"question": "q", "answer": NaN}', "a.jsonl, line 1: the answer 'answer' .* is empty"),
        ("a.jsonl", lambda: ROW.encode() + b'{"problem": "p"}', "a.jsonl, line 2: there is no column 'question'"),
        ("a.jsonl", lambda: b'{"question": "q", "answer": "a", "answer": "b"}', "a.jsonl, line 1: .* 'answer' twice"),
        ("a.jsonl.xz", lambda: b"text", "a.jsonl.xz: no readable xz file"),
        ("a.csv.bz2", lambda: b"text", "a.csv.bz2: no readable bzip2 file"),
        ("a.csv.zst", lambda: b"text", "a.csv.zst: examples are read from .*; unpack it first"),
        ("a.json", lambda: b'{"question": ["q"], "answer": []}', "different lengths .question 1, answer 0."),
        ("a.json", lambda: b'{"train": [{"question": "q"}]}', "a.json: expected a list of objects"),
        ("a.parquet", lambda: parquet(names=("a", "a")), "a.parquet: several columns are named a; give every column"),
        ("a.parquet", lambda: parquet([*ONE, {"question": "q"}]), "a.parquet, row 2: the answer 'answer' .* is empty"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_told_with_what_it_is(
    tmp_path: Path, name: str, content: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        rows_of(raw(tmp_path, name, content()))


def test_tables_are_read_compressed_too(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    assert rows_of(raw(tmp_path, "a.parquet.gz", gzip.compress(parquet()))) == ONE
    datasets.Dataset.from_list(ONE).save_to_disk(str(tmp_path / "saved"))
    [arrow] = (tmp_path / "saved").glob("*.arrow")
    assert rows_of(raw(tmp_path, "a.arrow.gz", gzip.compress(arrow.read_bytes()))) == ONE


def test_an_index_that_pandas_wrote_is_named_as_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ONE, index=[7])
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv")
    frame.reset_index().to_csv(tmp_path / "b.csv")
    pandas.read_csv(tmp_path / "a.csv").to_json(tmp_path / "c.jsonl", orient="records", lines=True)
    unread = {"a.parquet": "__index_level_0__", "a.csv": None, "b.csv": "index", "c.jsonl": "Unnamed: 0"}
    for name, index in unread.items():
        caplog.clear()
        with caplog.at_level("INFO", "tfgrpo_dspy"):
            assert rows_of(tmp_path / name) == ONE, name
        assert caplog.messages[0].partition("; not read: ")[2] == (index or ""), name


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"question": "q", "context": "c", "answers": {"text": ["a"]}}, "not read: context, answers; if the program"),
        ({"question": "q", "verdict": "a"}, "not read: verdict; if one of these is the expected answer, name it"),
        ({"question": "q", "answer": 1, "choices": ["a", "b"]}, "if the program needs choices, name its inputs"),
        ({"query": "q", "output": "o", "instruction": "i"}, "if the program needs instruction, name its inputs"),
    ],
)
def test_a_guess_that_may_leave_out_half_of_the_task_is_a_warning(
    caplog: pytest.LogCaptureFixture, row: dict[str, Any], told: str
) -> None:
    rows_of([row])
    assert told in caplog.text
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_alpacas_instruction_is_never_dropped_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"instruction": "Add.", "input": "1 1", "output": "2"}, {"instruction": "Go.", "input": "", "output": "-"}]
    assert [row["question"] for row in rows_of(rows)] == ["Add.\n\n1 1", "Go."]
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    rows_of(rows[:1], inputs=["input"])
    assert "not read: instruction; if the program needs instruction, name its inputs" in caplog.text


def test_cells_of_a_table_without_a_value_are_empty_whatever_pandas_calls_them() -> None:
    pandas = pytest.importorskip("pandas")
    for kind, value in (("object", None), ("float", 1.0), ("Int64", 1), ("string", "a"), ("datetime64[ns]", 1)):
        frame = pandas.DataFrame({"question": ["q", "r"], "answer": pandas.array([value, None], dtype=kind)})
        with pytest.raises(DataError, match=r"row [12]: the answer 'answer' .* is empty"):
            rows_of(frame)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["question", "answer", "answer"], "the DataFrame has several columns named answer; give every column its own"),
        ([0, 1, 2], "by `inputs`, e.g. question=<column>; the columns are '0', '1', '2'"),
    ],
)
def test_columns_of_a_table_need_names_of_their_own(columns: list[Any], message: str) -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DataError, match=message):
        rows_of(pandas.DataFrame([["q", "a", "b"]], columns=columns))


def test_columns_without_a_text_for_a_name_can_be_named() -> None:
    pandas = pytest.importorskip("pandas")
    assert rows_of(pandas.DataFrame([["q", "a"]]), inputs=["question=0"], answer="answer=1") == ONE
    nested = pandas.DataFrame([["q", "a"]], columns=pandas.MultiIndex.from_tuples([("x", "in"), ("x", "out")]))
    assert rows_of(nested, inputs=["question=x.in"], answer="answer=x.out") == ONE
    assert rows_of([{1: "q", 2: "a"}], inputs=["question=1"], answer="answer=2") == ONE


def test_values_keep_their_types(tmp_path: Path) -> None:
    values = [1, 0, False, 2.5, "x", ["a", "b"], {"b": [1]}]
    rows = [{"question": "q", "answer": value} for value in values]
    assert [row["answer"] for row in rows_of(rows)] == values
    pandas = pytest.importorskip("pandas")
    assert [row["answer"] for row in rows_of(pandas.DataFrame(rows))] == values
    assert type(rows_of(pandas.DataFrame({"question": ["q"], "answer": [3]}))[0]["answer"]) is int


def test_any_iterable_of_rows_will_do_and_text_is_none() -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_list(ONE)
    assert rows_of(data.to_iterable_dataset()) == ONE
    assert rows_of(datasets.IterableDatasetDict({"train": data.to_iterable_dataset()})) == ONE
    for source in (b"question", None, {"question": "q"}):
        with pytest.raises(DataError, match=f"examples cannot be made of a {type(source).__name__}"):
            rows_of(source)


@pytest.mark.parametrize("source", ["", "  "])
def test_no_source_is_not_the_folder_one_stands_in(source: str) -> None:
    with pytest.raises(DataError, match="the source of the examples is empty"):
        rows_of(source)


def test_a_pipe_is_read_like_standard_input(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "63")
    writer = threading.Thread(target=(tmp_path / "63").write_text, args=("question,answer\nq,a\n",), daemon=True)
    writer.start()
    assert rows_of(str(tmp_path / "63")) == ONE
    writer.join()


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    raw(tmp_path, "a.jsonl", ROW)
    assert rows_of("~/a.jsonl") == ONE


# --- addresses, by the scheme that needs no network ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, 3), ({"limit": 2}, 2), ({"split": "[:1]"}, 1), ({"split": "train[1:]"}, 2), ({"split": "train[:2]"}, 2)],
)
def test_a_file_at_an_address_is_read_in_parts_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], expected: int
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    address = Path(raw(tmp_path, "a.csv", "question,answer\nq,a\nq,a\nq,a\n")).as_uri()
    assert rows_of(address, **options) == ONE * expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.csv", "question,answer\nq,a\nq,a,b,c\n", {}),
        ("a.csv", "question,answer\nq,a\nq,a,b,c\n", {"limit": 2}),
        ("a.jsonl", f"{ROW}{{bad\n", {"limit": 2}),
        ("a.jsonl", f"{ROW}{{bad\n", {}),
    ],
)
def test_what_is_wrong_with_a_file_at_an_address_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, options: dict[str, Any]
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    address = Path(raw(tmp_path, name, content)).as_uri()
    with pytest.raises(DataError, match=r"it could not be read \(.+\); check address, access and what the file holds"):
        rows_of(address, **options)
