"""Every mistake that a user can mend is one sentence and exit code 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tfgrpo_dspy.command_line import KEY, SOLVER, files_with, problems, run, the_error
from tfgrpo_dspy.reports.redaction import safe
from tfgrpo_dspy.simulated import running_server


@pytest.fixture(autouse=True)
def inputs():
    problems()
    Path("empty.jsonl").touch()
    Path("damaged.jsonl").write_text('{"question": "x", "answer": "1"}\n{oops\n', encoding="utf-8")
    Path("columns.jsonl").write_text('{"q2": "x", "a": "1"}\n', encoding="utf-8")
    Path("unlabelled.jsonl").write_text('{"question": "x"}\n', encoding="utf-8")
    Path("broken.py").write_text("import there_is_no_such_module\n", encoding="utf-8")
    Path("stops.py").write_text("raise SystemExit(3)\n", encoding="utf-8")


SIMULATED = ("--lm", "simulated", "--no-tracking")
CASES = {
    "an empty trainset": ("students.py:solver empty.jsonl", "there is no row in it"),
    "nothing in standard input": ("students.py:solver -", "standard input: there is no row in it"),
    "a missing file": ("students.py:solver nowhere.jsonl", "there is no such file"),
    "a damaged line": ("students.py:solver damaged.jsonl", "damaged.jsonl, line 2"),
    "no question": ("students.py:solver columns.jsonl", "the columns are 'q2', 'a'"),
    "a missing input": ("students.py:solver train.jsonl --inputs problem", "no column 'problem'"),
    "a missing answer": (
        "students.py:solver train.jsonl --answer gold",
        "no column 'gold' for the answer 'gold'; the columns are 'question', 'answer'",
    ),
    "no answer to compare with": ("students.py:solver unlabelled.jsonl", "name it, e.g. --answer"),
    "inputs that do not fit": ("students.py:Contextual train.jsonl", "--inputs context=<column>"),
    "inputs under another name": (
        "students.py:solver train.jsonl --inputs task=question",
        "--inputs question=<column>",
    ),
    "an empty valset": ("students.py:solver train.jsonl --valset empty.jsonl", "there is no row in it"),
    "temperature 0": (
        "students.py:solver train.jsonl --temperature 0",
        "--temperature must be a number > 0 or none, got 0.0",
    ),
    "group size 0": ("students.py:solver train.jsonl --group-size 0", "--group-size must be a whole number >= 1"),
    "no epoch": ("students.py:solver train.jsonl --epochs 0", "--epochs must be"),
    "no thread": ("students.py:solver train.jsonl --num-threads 0", "--num-threads must be"),
    "no row": ("students.py:solver train.jsonl --limit 0", "--limit must be a whole number >= 1 or none, got 0"),
    "no attribute": ("students.py:solvr train.jsonl", "has no 'solvr'; it has solver"),
    "no colon": ("students.py train.jsonl", "names no program"),
    "no module": ("there.is.none:solver train.jsonl", "there is no module there.is.none"),
    "no program file": ("nowhere.py:solver train.jsonl", "there is no file nowhere.py"),
    "a module that cannot be imported": ("broken.py:solver train.jsonl", "No module named 'there_is_no_such_module'"),
    "a module that ends the process": ("stops.py:solver train.jsonl", "SystemExit: 3"),
    "a factory with arguments": ("students.py:needs_more train.jsonl", "needs the arguments size"),
    "a factory of something else": ("students.py:makes_a_number train.jsonl", "must return a dspy.Module"),
    "no program at all": ("students.py:three train.jsonl", "of type int"),
    "an unknown metric": ("students.py:solver train.jsonl --metric nearly", "choose one of exact, number"),
    "no such metric": ("students.py:solver train.jsonl --metric students.py:nearly", "has no 'nearly'"),
    "a metric that is none": ("students.py:solver train.jsonl --metric students.py:three", "a metric is a function"),
    "a metric of one argument": ("students.py:solver train.jsonl --metric students.py:only_one", "takes 1"),
    "a metric that raises": ("students.py:solver train.jsonl --metric students.py:raises", "the metric broke"),
    "a metric that returns NaN": ("students.py:solver train.jsonl --metric students.py:not_a_number", "returned nan"),
    "a metric that returns a word": ("students.py:solver train.jsonl --metric students.py:a_word", "returned 'good'"),
    "a folder that cannot be": ("students.py:solver train.jsonl --out students.py/out", "cannot be written to"),
    "no library": ("students.py:solver train.jsonl --library nowhere.json", "nowhere.json"),
    "a foreign library": ("students.py:solver train.jsonl --library students.py", "no known library format"),
    "an unknown engine": (
        "students.py:solver train.jsonl --lm openai/x --engine steam",
        "--engine must be auto or lm15 or litellm",
    ),
    "an LM without provider": ("students.py:solver train.jsonl --lm gpt", "provider/model"),
    "an option without value": ("students.py:solver train.jsonl --lm-option cache", "written name=value"),
    "a key on the command line": ("students.py:solver train.jsonl --lm-option api_key=sk-12345678", "is a secret"),
    "a token on the command line": ("students.py:solver train.jsonl --lm-option auth_token=12345678", "is a secret"),
    "an endpoint as an option": (
        "students.py:solver train.jsonl --lm-option base_url=http://h",
        "--api-base",
    ),
    "an unknown address": ("students.py:solver train.jsonl --lm openai/x --api-base nowhere", "must start with http"),
}


@pytest.mark.parametrize(("arguments", "said"), CASES.values(), ids=CASES)
def test_a_mistake_is_one_sentence_that_says_what_to_do(arguments, said):
    given = arguments.split()
    result = run("compile", *given, *(SIMULATED if "--lm" not in given else SIMULATED[2:]))
    assert said in the_error(result)
    assert result.exit_code == 2
    assert not Path("out/program.json").exists()
    assert "12345678" not in result.output


def test_a_metric_that_always_raises_is_refused_even_on_few_examples():
    arguments = ("--metric", "students.py:raises", "--limit", "1", "--epochs", "1", *SIMULATED)
    result = run("compile", "students.py:solver", "train.jsonl", *arguments)
    assert "5 of 5: the metric raised RuntimeError: the metric broke; mend the metric" in the_error(result)
    assert result.exit_code == 2


def test_no_lm_is_configured():
    result = run("compile", "students.py:solver", "train.jsonl", "--no-tracking")
    assert "no LM is configured: name one, e.g. --lm openai/gpt-4.1-mini" in the_error(result)
    assert result.exit_code == 2


def test_an_endpoint_without_an_lm_says_nothing():
    result = run("compile", "students.py:solver", "train.jsonl", "--api-base", "http://127.0.0.1:9/v1", "--no-tracking")
    assert "say nothing without --lm" in the_error(result)


def test_no_key_is_in_the_environment():
    result = run("compile", "students.py:solver", "train.jsonl", "--lm", "openai/gpt-4.1-mini", "--no-tracking")
    assert "Set OPENAI_API_KEY in the environment" in the_error(result)
    assert result.exit_code == 2


@pytest.mark.parametrize("command", ["compile", "evaluate"])
@pytest.mark.parametrize("engine", ["auto", pytest.param("litellm", marks=pytest.mark.slow)])
def test_a_wrong_key_stops_at_once_and_nothing_is_scored(command, engine):
    with running_server(api_key="the right one") as url:
        endpoint = ("--lm", "openai/simulated", "--api-base", url, "--engine", engine)
        more = ("--no-tracking",) if command == "compile" else ()
        result = run(command, SOLVER, "train.jsonl", *endpoint, *more, env={"OPENAI_API_KEY": KEY})
    said = the_error(result)
    assert "Incorrect API key provided" in said
    assert "or the one in the environment" in said
    assert (result.exit_code, list(Path("out").glob("*.json"))) == (2, [])
    assert KEY not in result.output


def test_an_address_with_credentials_is_refused_without_repeating_them():
    endpoint = ("--lm", "openai/x", "--api-base", "http://anna:sesame@127.0.0.1:9/v1")
    result = run("compile", SOLVER, "train.jsonl", *endpoint, env={"OPENAI_API_KEY": KEY})
    assert "must hold no user and password" in the_error(result)
    assert "sesame" not in result.output
    assert not files_with("sesame")


def test_messages_hide_credentials_that_an_error_repeats(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "plain-secret-value")
    for text in ("failed to connect to anna:sesame@127.0.0.1:9", "key plain-secret-value", "Bearer sk-abcdefgh123"):
        shown = safe(text)
        assert not any(secret in shown for secret in ("sesame", "plain-secret-value", "sk-abcdefgh123"))


def test_an_unreachable_endpoint_is_named():
    endpoint = ("--lm", "openai/x", "--api-base", "http://127.0.0.1:9/v1", "--lm-option", "num_retries=0")
    result = run("compile", SOLVER, "train.jsonl", *endpoint, "--no-tracking", env={"OPENAI_API_KEY": KEY})
    said = the_error(result)
    assert "40 of 40: LMTransportError: [openai/x] failed to connect to 127.0.0.1:9" in said
    assert "check the endpoint (--api-base) and the network" in said
    assert result.exit_code == 2


def test_an_evaluation_that_loses_every_rollout_says_so():
    endpoint = ("--lm", "openai/x", "--api-base", "http://127.0.0.1:9/v1", "--lm-option", "num_retries=0")
    result = run("evaluate", SOLVER, "train.jsonl", *endpoint, env={"OPENAI_API_KEY": KEY})
    assert "failed to connect to 127.0.0.1:9" in the_error(result)
    assert result.exit_code == 2


def test_a_state_that_cannot_be_loaded():
    Path("other.json").write_text(json.dumps({"solve": {}, "metadata": {}}), encoding="utf-8")
    Path("damaged.json").write_text("{oops", encoding="utf-8")
    Path("list.json").write_text("[]", encoding="utf-8")
    cases = {
        "nowhere.json": "there is no file nowhere.json",
        "other.json": "load it into the program it was compiled from",
        "damaged.json": "is no valid JSON",
        "list.json": "must hold a JSON object",
    }
    for file, said in cases.items():
        result = run("evaluate", "students.py:solver", "test.jsonl", "--load", file, "--lm", "simulated")
        assert said in the_error(result)
        assert result.exit_code == 2


def test_a_program_file_without_the_run_beside_it():
    assert "tfgrpo compile writes one" in the_error(run("evaluate", "out/program.json", "test.jsonl"))
    Path("program.json").write_text("{}", encoding="utf-8")
    assert "--load program.json" in the_error(run("evaluate", "program.json", "test.jsonl"))
    Path("recipe.yaml").write_text("- something\n", encoding="utf-8")
    assert "recipe.yaml is no recipe" in the_error(run("evaluate", "program.json", "test.jsonl"))


def test_a_missing_argument_is_shown_with_the_usage():
    result = run("compile", "students.py:solver")
    assert result.exit_code == 2
    assert "Missing argument 'TRAINSET'" in result.output


def test_what_nobody_foresaw_is_one_sentence_too_and_shown_in_full_with_debug(monkeypatch):
    def fails(source, **_):
        raise ZeroDivisionError("1/0")

    monkeypatch.setattr("tfgrpo_dspy.cli.references.load_examples", fails)
    arguments = ("compile", "students.py:solver", "train.jsonl", *SIMULATED)
    result = run(*arguments)
    assert the_error(result) == "ZeroDivisionError: 1/0; `tfgrpo --debug ...` shows where"
    assert result.exit_code == 1
    assert isinstance(run("--debug", *arguments).exception, ZeroDivisionError)
