"""`tfgrpo paper`: every table runs, cut down, and says what is published and what is ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evals.cli import app
from evals.compare.options import ROW_FAILED
from evals.paper.tables import TABLES
from programs.math_world import math_examples
from tests.evals.small import Breaking
from tfgrpo_dspy.kit import holding
from tfgrpo_dspy.simulated import running_server

REAL = Path(__file__).parents[3] / "../shared/data"


def call(*arguments: object):
    return CliRunner().invoke(app, ["paper", *map(str, arguments)])


def run(name: str, out: Path, data: Path, *more: object):
    small = ("--limit", 2, "--threads", 2, "--no-tracking")
    return call(name, *(more or ("--lm", "simulated")), *small, "--data", data, "--out", out)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """The benchmarks' files with a few rows each; of AFM there is none."""
    folder = tmp_path_factory.mktemp("data")
    problems = [{"problem": e.problem, "answer": e.answer} for e in math_examples(12, 0)]
    asked = [{"question": f"Where is gate {i}?", "answer": f"hall {i}", "info": {"lang": "en"}} for i in range(6)]
    files = {
        "aime_2024": problems[:3],
        "aime_2025": problems[3:6],
        "dapo": problems[5:],  # the first of them is a test question as well
        "webwalkerqa": asked,
    }
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def shared_out(tmp_path_factory) -> Path:
    """One folder for all tables, so that rows which they have in common are run once."""
    return tmp_path_factory.mktemp("paper")


def test_a_table_shows_published_figures_beside_ours_and_which_model_gave_them(tiny, shared_out):
    done = run("cost", shared_out, tiny)
    assert done.exit_code == 0, done.output
    assert "SIMULATED" in done.output
    assert "38.0M" in done.output
    done = run("dynamics", shared_out, tiny)
    assert done.exit_code == 0, done.output
    for words in ("82.7 (+2.7)", "by simulated", "Mean@3", "2 training examples", "after step 3", "tool calls"):
        assert words in " ".join(done.output.split()), words
    assert done.output.count("finished before") == 2, "baseline and the whole training are those of `cost`"
    pages = [(shared_out / "dynamics" / name).read_text() for name in ("report.md", "report.html")]
    assert all("82.7 (+2.7)" in page and "imulated" in page for page in pages)


def test_libraries_are_carried_to_the_other_domain(tiny, shared_out):
    done = run("transfer", shared_out, tiny)
    assert done.exit_code == 0, done.output
    for words in (
        "tfgrpo[group_size=3,experiences_per_group=2] on web, seed 0: Mean@3",
        "tfgrpo on math, seed 0: Mean@3",
        "AFM is not in the folder: 3 questions of WebWalkerQA are learned on instead",
        "Not run, so shown as published only: ReTool",
    ):
        assert words in " ".join(done.output.split()), words


def test_a_trained_model_joins_a_table_by_its_endpoint(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    with running_server() as base:
        done = run("aime", tmp_path, tiny, "--model", f"retool=openai/simulated@{base}")
    assert done.exit_code == 0, done.output
    row = next(line for line in done.output.splitlines() if line.strip().startswith("ReTool"))
    assert "67.0" in row
    assert "not run" not in row
    assert "by openai/simulated" in " ".join(done.output.split())
    assert base not in (tmp_path / "aime" / "report.md").read_text(), "an endpoint is nobody's business"


def test_a_failed_row_is_shown_as_failed(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("evals.paper.rows.paper_optimizer", lambda *_, **__: Breaking())
    done = run("cost", tmp_path, tiny)
    assert done.exit_code == ROW_FAILED
    assert "What failed" in done.output


def test_two_at_once_in_one_folder_whose_rows_they_would_share_are_refused(tiny, tmp_path):
    with holding(tmp_path):
        for name in ("cost", "dynamics"):
            done = run(name, tmp_path, tiny)
            assert done.exit_code == 2
            assert f"{tmp_path.name} is in use by another process; wait for it to end" in " ".join(done.output.split())
    assert not list(tmp_path.iterdir())


def test_a_dry_run_forecasts_and_writes_nothing(tmp_path):
    (tmp_path / "page.txt").write_text("A page.")
    done = call("transfer", "--dry-run", "--out", tmp_path / "out", "--search", f"local:{tmp_path}")
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    for words in ("100 examples x 3 epochs x G = 3", "680 x 3", "carried over", "Nothing was run"):
        assert words in said, words
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "there is no table 'nothing'; there are: aime"),
        (["aime"], "name a language model"),
        (["aime", "--lm", "simulated", "--limit", "1"], "--limit must be at least 2"),
        (["aime", "--lm", "simulated", "-k", "0"], "-k must be at least 1"),
        (["aime", "--lm", "simulated", "--data", "nowhere"], "--data must name a folder or be embedded"),
        (["aime", "--model", "gpt=openai/gpt"], "the table has no model 'gpt'"),
        (["aime", "--model", "retool"], "--model is written PAPERS=MODEL[@URL]"),
        (["aime", "--api-base", "http://127.0.0.1:1/v1"], "--api-base says nothing without --lm"),
    ],
)
def test_what_can_be_mended_is_said_in_one_sentence(arguments, said):
    done = call(*arguments, "--no-tracking")
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_a_table_whose_agent_runs_code_says_what_to_install_where_no_sandbox_is(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("programs.sandbox.bubblewrap.why_not", lambda: "the command bwrap is not installed")
    monkeypatch.setattr("programs.sandbox.deno.why_not", lambda: "Deno is not installed")
    done = run("cost", tmp_path, tiny)
    assert done.exit_code == 2
    [said] = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert "install one, e.g. `apt-get install bubblewrap`" in said


def test_a_folder_without_a_benchmark_says_which_is_missing(tmp_path):
    done = run("aime", tmp_path / "out", tmp_path)
    assert done.exit_code == 2
    assert "has no file of AIME24" in done.output


@pytest.mark.skipif(not REAL.exists(), reason="the benchmarks' files are not here")
@pytest.mark.parametrize("name", TABLES)
def test_every_table_runs_on_the_real_files(name, shared_out):
    done = run(name, shared_out, REAL, "--lm", "simulated", "-k", 1)
    assert done.exit_code == 0, done.output
    assert "SIMULATED" in done.output
    assert (shared_out / name / "report.html").exists()
