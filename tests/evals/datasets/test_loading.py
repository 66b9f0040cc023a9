from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evals.datasets.benchmarks import BENCHMARKS, KNOWN
from evals.datasets.loading import Dataset, load
from evals.texts import problem_key
from tfgrpo_dspy.errors import DataError, SettingsError

Write = Callable[..., str]

BEFORE = (
    "Solve the following math problem step by step. The last line of your response should be of the form "
    "Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\n"
)
AFTER = '\n\nRemember to put your answer on its own line after "Answer:".'


@pytest.fixture
def jsonl(tmp_path: Path) -> Write:
    def write(*rows: object, name: str = "rows.jsonl") -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write


def dapo(problem: str, truth: str, *, raw: bool = False) -> dict[str, Any]:
    content = BEFORE + problem + AFTER if raw else problem
    return {"prompt": [{"content": content, "role": "user"}], "reward_model": {"ground_truth": truth, "style": "rule"}}


def web(question: str, **info: object) -> dict[str, Any]:
    told = {"difficulty_level": "easy", "type": "single_source", "lang": "en", "domain": "game", "golden_path": ["a"]}
    return {"question": question, "answer": "x", "root_url": "https://example.org", "info": {**told, **info}}


def afm(question: str, answer: object, **others: object) -> dict[str, Any]:
    return {"extra_info": {"question": question, "answer": answer}, **others}


def pairs(dataset: Dataset) -> list[tuple[str, str]]:
    return [(*dict(e.inputs()).values(), e.answer) for e in dataset.examples]


def test_leading_zeros_and_degree_signs_of_an_answer_are_kept(jsonl):
    source = jsonl({"id": 1, "problem": "p", "answer": "025"}, {"id": 2, "problem": "q", "answer": r"336^\circ"})
    dataset = load("aime24", source)
    assert pairs(dataset) == [("p", "025"), ("q", r"336^\circ")]
    assert [e.id for e in dataset.examples] == ["1", "2"]
    assert list(dataset.examples[0].inputs().keys()) == ["problem"]


def test_a_row_spelled_with_and_without_leading_zeros_is_a_repetition_and_no_conflict(jsonl):
    dataset = load("aime24", jsonl({"problem": "p", "answer": "025"}, {"problem": "p ", "answer": 25}))
    assert len(dataset) == 1
    assert "rows dropped as repetitions: 1" in dataset.notes


def test_aime_2025_with_the_columns_of_opencompass_is_the_same_dataset(jsonl):
    ours = load("aime25", jsonl({"problem": "p", "answer": "1"}))
    theirs = load("aime25", jsonl({"question": "p", "answer": "1"}, name="theirs.jsonl"))
    assert theirs.sha256 == ours.sha256
    assert pairs(theirs) == pairs(ours)


def test_both_forms_of_dapo_give_the_bare_problem_and_one_hash(jsonl):
    rows = [("Find $x$.", "-3"), ("  求 $y$ 的值 \n", "4")]
    raw = load("dapo", jsonl(*(dapo(p.strip(), t, raw=True) for p, t in rows)))
    processed = load("dapo", jsonl(*(dapo(p, t) for p, t in rows), name="processed.jsonl"))
    assert pairs(raw) == pairs(processed) == [("Find $x$.", "-3"), ("求 $y$ 的值", "4")]
    assert raw.sha256 == processed.sha256


def test_dapo_with_a_flat_prompt_is_read_too(jsonl):
    assert pairs(load("dapo", jsonl({"prompt": "p", "solution": "4"}))) == [("p", "4")]


def test_a_hundred_copies_of_dapo_are_one(jsonl):
    once = [dapo("p", "1"), dapo("q", "2"), dapo("r", "3"), dapo("r", "4")]
    dataset = load("dapo", jsonl(*once * 100))
    assert pairs(dataset) == [("p", "1"), ("q", "2")]
    assert "rows dropped as repetitions: 396" in dataset.notes
    assert dataset.sha256 == load("dapo", jsonl(*once, name="once.jsonl")).sha256


def test_of_conflicting_answers_the_one_of_most_rows_wins_and_a_tie_drops_the_problem(jsonl):
    rows = [dapo("p", "1"), dapo("p.", "2"), dapo("P", "02"), dapo("q", "64"), dapo("q", "6"), dapo("r", "5")]
    dataset = load("dapo", jsonl(*rows))
    assert [answer for _, answer in pairs(dataset)] == ["02", "5"]
    note = (
        "problems with conflicting answers: 2 (1 kept with the answer that most of their rows give, 1 dropped as tied)"
    )
    assert note in dataset.notes


def test_what_is_kept_of_repeated_rows_does_not_depend_on_their_order(jsonl):
    rows = [dapo("find $x$", "1"), dapo("Find x.", "01"), dapo("q", "2")]
    forth = load("dapo", jsonl(*rows))
    back = load("dapo", jsonl(*reversed(rows), name="back.jsonl"))
    assert sorted(pairs(forth)) == sorted(pairs(back))
    assert forth.sha256 == back.sha256


def test_empty_fields_are_dropped_and_counted(jsonl):
    rows = [dapo("p", "1"), dapo("  ", "1"), dapo("q", ""), {"prompt": None, "reward_model": {"ground_truth": "1"}}]
    dataset = load("dapo", jsonl(*rows))
    assert pairs(dataset) == [("p", "1")]
    assert "rows dropped for an empty field: 3" in dataset.notes


def test_a_list_where_a_text_belongs_is_dropped_and_counted(jsonl):
    dataset = load("aime24", jsonl({"problem": "p", "answer": "1"}, {"problem": "q", "answer": ["1"]}))
    assert "rows dropped for a list where a text was expected: 1" in dataset.notes


def test_a_column_map_renames_the_columns_of_a_benchmark(jsonl):
    dataset = load("aime24", jsonl({"text": "p", "truth": "1"}), columns={"problem": "text", "answer": "truth"})
    assert pairs(dataset) == [("p", "1")]


def test_dapo_100_is_the_same_draw_from_either_form_in_any_order(jsonl):
    rows = [(f"What is {i} + {i}?", str(2 * i)) for i in range(150)]
    one = load("dapo-100", jsonl(*(dapo(*row) for row in rows)))
    other = load("dapo-100", jsonl(*(dapo(*row, raw=True) for row in reversed(rows)), name="raw.jsonl"))
    assert len(one) == 100
    assert pairs(one) == pairs(other)
    assert pairs(one) != pairs(load("dapo-100", jsonl(*(dapo(*row) for row in rows)), seed=1))
    assert "drawn with seed 0: 100 of 150 examples" in one.notes
    assert one.source_sha256 == load("dapo", jsonl(*(dapo(*row) for row in rows))).sha256


def test_a_limit_cuts_what_was_drawn(jsonl):
    source = jsonl(*(dapo(f"q{i}", "1") for i in range(120)))
    assert pairs(load("dapo-100", source, limit=2)) == pairs(load("dapo-100", source))[:2]
    assert len(load("dapo", source, sample=7)) == 7


def test_more_than_there_is_cannot_be_drawn(jsonl):
    with pytest.raises(DataError, match=r"rows.jsonl: 100 examples cannot be drawn from 1; lower sample"):
        load("dapo-100", jsonl(dapo("p", "1")))


def test_webwalkerqa_keeps_what_it_is_filtered_by_and_nothing_that_leads_to_the_answer(jsonl):
    dataset = load("webwalkerqa", jsonl(web("q")))
    assert set(dataset.examples[0].keys()) == {"question", "answer", "level", "type", "lang", "domain", "root_url"}
    assert list(dataset.examples[0].inputs().keys()) == ["question"]
    assert dataset.domain == "web"


def test_webwalkerqa_is_filtered_by_level_type_and_language(jsonl):
    rows = [
        web("a"),
        web("b", difficulty_level="hard"),
        web("c", difficulty_level="hard", lang="zh"),
        web("d", lang=""),
        web("e", type="multi_source"),
    ]
    source = jsonl(*rows)

    def questions(**filters: Any) -> str:
        return "".join(e.question for e in load("webwalkerqa", source, **filters).examples)

    assert questions(level="hard") == "bc"
    assert questions(level="Hard", lang="zh") == "c"
    assert questions(type="multi_source") == "e"
    assert questions(lang=["zh", "unknown"]) == "cd"
    assert "examples without lang: 1" in load("webwalkerqa", source).notes
    assert "kept for level hard: 2 of 5 examples" in load("webwalkerqa", source, level="hard").notes


def test_a_filter_that_fits_nothing_says_what_there_is(jsonl):
    with pytest.raises(DataError, match="no example has lang fr; there are en"):
        load("webwalkerqa", jsonl(web("a")), lang="fr")
    with pytest.raises(SettingsError, match="cannot be filtered by 'colour'; its fields for that are level, type"):
        load("webwalkerqa", jsonl(web("a")), colour="red")


def test_the_older_name_of_the_level_is_read(jsonl):
    row = web("a")
    row["info"]["Level"] = row["info"].pop("difficulty_level")
    assert load("webwalkerqa", jsonl(row)).examples[0].level == "easy"


def test_afm_keeps_questions_with_exactly_one_answer(jsonl):
    dataset = load("afm-web", jsonl(afm("a", ["x"]), afm("b", ["x", "y"]), afm("c", []), afm("d", [""])))
    assert pairs(dataset) == [("a", "x")]
    assert "rows dropped for not exactly one answer: 2" in dataset.notes
    assert "rows dropped for an empty field: 1" in dataset.notes


def test_afm_reads_the_ground_truth_out_of_its_json_text(jsonl):
    def row(question: str, truth: str) -> dict[str, Any]:
        return {"extra_info": {"question": question}, "reward_model": {"ground_truth": truth}}

    rows = [row("a", '{"target": "x"}'), row("b", '{"target": ["y"]}'), row("c", '{"target": ["y", "z"]}')]
    dataset = load("afm-web", jsonl(*rows, row("d", '{"targ'), row("e", "{}"), row("f", "bare")))
    assert pairs(dataset) == [("a", "x"), ("b", "y"), ("f", "bare")]
    assert "rows dropped for a ground truth without a `target`: 2" in dataset.notes


def test_afm_100_is_a_draw_of_100(jsonl):
    assert len(load("afm-100", jsonl(*(afm(f"q{i}", ["x"]) for i in range(101))))) == 100


def test_gsm8k_answers_are_what_follows_the_hashes(jsonl):
    rows = [{"question": "q", "answer": "2 #### no\n#### 1,200"}, {"question": "r", "answer": "So it is 7."}]
    dataset = load("gsm8k", jsonl(*rows))
    assert pairs(dataset) == [("q", "1,200")]
    assert "rows dropped for no `####` before the answer: 1" in dataset.notes


def test_math500_is_filtered_by_level_and_subject(jsonl):
    rows = [{"problem": f"p{n}", "answer": r"\frac12", "level": n, "subject": "Algebra"} for n in (1, 5)]
    dataset = load("math500", jsonl(*rows), level=5, subject="algebra")
    assert pairs(dataset) == [("p5", r"\frac12")]


def test_any_file_is_read_by_a_column_map(jsonl):
    source = jsonl({"Q": {"en": "a?"}, "A": 3, "T": "x"}, {"Q": {"en": "b?"}, "A": 4, "T": "y"})
    dataset = load("any", source, columns={"question": "Q.en", "answer": "A", "topic": "T"}, topic="y")
    assert pairs(dataset) == [("b?", "4")]
    assert (dataset.name, dataset.domain, dataset.source) == ("rows.jsonl", "any", "rows.jsonl")


def test_any_file_without_a_column_map_is_guessed_as_elsewhere(jsonl):
    assert pairs(load("any", jsonl({"instruction": "a?", "target": "3"}))) == [("a?", "3")]


def test_a_benchmark_of_ones_own_may_have_several_inputs(jsonl):
    mine = replace(
        BENCHMARKS["any"],
        name="mine",
        inputs=("context", "question"),
        columns={"context": ("c",), "question": ("q",), "answer": ("a",)},
    )
    dataset = load(mine, jsonl({"c": "one", "q": "?", "a": "1"}, {"c": "two", "q": "?", "a": "2"}))
    assert pairs(dataset) == [("one", "?", "1"), ("two", "?", "2")]


def test_every_file_format_has_the_same_hash(jsonl, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"problem": "What, then,\nis “x”?", "answer": 25}, {"problem": "求 x", "answer": 7}]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["problem", "answer"])
        writer.writeheader()
        writer.writerows({**row, "problem": row["problem"].replace("\n", "\r\n")} for row in rows)
    sources = [jsonl(*rows), *(str(tmp_path / f"a.{suffix}") for suffix in ("json", "parquet", "csv"))]
    assert len({load("aime25", source).sha256 for source in sources}) == 1


def test_a_missing_column_is_named_with_those_that_are_there(jsonl):
    with pytest.raises(DataError, match=r"rows.jsonl, line 1: no column `problem` or `question` .* are 'text'"):
        load("aime24", jsonl({"text": "p", "answer": "1"}))


def test_a_source_without_a_usable_row_is_refused_with_the_reasons(jsonl):
    with pytest.raises(DataError, match=r"rows.jsonl: no usable example \(1 with an empty field\)"):
        load("aime24", jsonl({"problem": "p", "answer": ""}))
    with pytest.raises(DataError, match="no row at all"):
        load("aime24", jsonl())


def test_arguments_that_cannot_be_used_are_refused(jsonl):
    with pytest.raises(SettingsError, match="no benchmark is called 'amie'; there are aime24, aime25"):
        load("amie")
    with pytest.raises(SettingsError, match="give a file or a dataset id"):
        load("any")
    with pytest.raises(SettingsError, match="limit must be at least 1"):
        load("aime24", jsonl({"problem": "p", "answer": "1"}), limit=0)
    with pytest.raises(SettingsError, match="columns must name an input and the answer"):
        load("any", jsonl({"a": "p"}), columns={"question": "a"})


def test_the_source_is_told_by_its_name_and_never_by_a_path(jsonl, tmp_path):
    dataset = load("aime24", jsonl({"problem": "p", "answer": "1"}))
    assert str(tmp_path) not in repr(dataset)


def test_content_that_differs_from_what_is_known_is_told_and_no_error(jsonl, caplog):
    with caplog.at_level(logging.WARNING, logger="evals"):
        dataset = load("aime24", jsonl({"problem": "p", "answer": "1"}))
    assert any("none that is known for HuggingFaceH4/aime_2024" in note for note in dataset.notes)
    assert "aime24 from rows.jsonl" in caplog.text


def test_content_that_nothing_is_known_about_is_recorded(jsonl, caplog):
    dataset = load("afm-web", jsonl(afm("a", ["x"])))
    assert f"content is not known here, recorded as {dataset.source_sha256[:12]}" in dataset.notes
    assert not caplog.records


@pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=lambda b: b.name)
def test_every_benchmark_reads_its_inputs_and_an_answer(benchmark):
    assert {*benchmark.inputs, "answer"} <= set(benchmark.columns)
    assert benchmark.hub or benchmark.name == "any"


def test_all_that_is_known_is_known_of_a_benchmark():
    assert {known.hub for known in KNOWN.values()} <= {benchmark.hub for benchmark in BENCHMARKS.values()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """A Hub whose datasets are local files; only the address is replaced, `datasets` itself reads them."""
    datasets = pytest.importorskip("datasets")
    read = datasets.load_dataset
    files: dict[tuple[str, str | None], dict[str, str]] = {}

    def load_dataset(name: str, config: str | None = None, *, split: str) -> Any:
        return read("json", data_files=files[name, config], split=split, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda name, config=None: list(files[name, config]))

    def serve(name: str, config: str | None = None, **splits: str) -> None:
        files[name, config] = splits

    return serve


def test_the_hub_gives_nested_rows_by_the_benchmarks_own_id(hub, jsonl):
    source = jsonl(*(dapo(f"q{i}", str(-i), raw=True) for i in range(3)))
    hub("BytedTsinghua-SIA/DAPO-Math-17k", train=source)
    dataset = load("dapo")
    assert dataset.source == "BytedTsinghua-SIA/DAPO-Math-17k"
    assert pairs(dataset) == pairs(load("dapo", source))
    assert dataset.sha256 == load("dapo", source).sha256


def test_the_hub_gives_the_benchmarks_split_unless_another_is_named(hub, jsonl):
    splits = {name: jsonl({"question": name, "answer": "#### 1"}, name=f"{name}.jsonl") for name in ("train", "test")}
    hub("openai/gsm8k", "main", **splits)
    assert pairs(load("gsm8k")) == [("test", "1")]
    assert pairs(load("gsm8k", split="train")) == [("train", "1")]


def test_another_id_stands_in_for_the_benchmarks_own(hub, jsonl):
    hub("opencompass/AIME2025", "AIME2025-I", test=jsonl({"question": "p", "answer": "1"}))
    assert pairs(load("aime25", "opencompass/AIME2025:AIME2025-I")) == [("p", "1")]


REAL = Path(__file__).parents[3] / "../shared/data"
real = pytest.mark.skipif(not REAL.exists(), reason="the real files are not here")


@real
@pytest.mark.parametrize(
    ("name", "file", "size"),
    [
        ("aime24", "aime/aime_2024.jsonl", 30),
        ("aime25", "aime/aime_2025.jsonl", 30),
        ("dapo", "dapo/dapo_math_17k_sample.jsonl", 106),
        ("dapo", "dapo/dapo_math_17k_svs_1000.jsonl", 989),
        ("dapo", "dapo/dapo_math_17k_svs.parquet", 16356),
        ("webwalkerqa", "webwalkerqa/webwalkerqa_main.jsonl", 680),
        ("gsm8k", "gsm8k/gsm8k_test_100.jsonl", 100),
        ("math500", "math500/math500_100.jsonl", 100),
    ],
)
def test_the_real_files_are_known_by_their_content(name, file, size, caplog):
    dataset = load(name, REAL / file)
    assert len(dataset) == size
    assert any(note.startswith(f"content is known: {BENCHMARKS[name].hub}") for note in dataset.notes)
    assert not caplog.records


@real
def test_a_real_file_under_another_name_is_told(caplog):
    dataset = load("aime25", REAL / "aime/aime_2024.jsonl")
    assert any("it is HuggingFaceH4/aime_2024" in note for note in dataset.notes)
    assert "aime25 from aime_2024.jsonl" in caplog.text


@real
def test_the_real_dapo_files_agree_and_carry_no_wrapper():
    raw = load("dapo", REAL / "dapo/dapo_math_17k_sample.jsonl")
    processed = {
        problem_key(p): answer for p, answer in pairs(load("dapo", REAL / "dapo/dapo_math_17k_svs_1000.jsonl"))
    }
    assert sum(processed.get(problem_key(p)) == answer for p, answer in pairs(raw)) == 105  # the 106th is in conflict
    assert not [problem for problem, _ in pairs(raw) if "Answer:" in problem]
    assert sum(answer.startswith("-") for _, answer in pairs(raw)) == 3


@real
def test_the_real_web_questions_are_filtered_by_what_they_are_labelled_with():
    source = REAL / "webwalkerqa/webwalkerqa_main.jsonl"
    sizes = [
        len(load("webwalkerqa", source, **{field: value}))
        for field, value in [("level", "hard"), ("type", "multi_source"), ("lang", "zh"), ("lang", "unknown")]
    ]
    assert sizes == [240, 340, 375, 58]


@real
def test_the_real_aime_answers_keep_their_leading_zeros():
    answers = [answer for _, answer in pairs(load("aime24", REAL / "aime/aime_2024.jsonl"))]
    assert sum(answer.startswith("0") for answer in answers) == 7
    assert all(0 <= int(answer) <= 999 for answer in answers)
