"""`tfgrpo compile`: what it writes, what it says, and how it ends."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import dspy
import pytest

from tests.tfgrpo_dspy.command_line import (
    KEY,
    ROOT,
    SOLVER,
    files_with,
    problems,
    process_environment,
    results_in,
    run,
    started,
    the_error,
)
from tests.tfgrpo_dspy.loopback import PATIENCE, until
from tfgrpo_dspy import TrainingFreeGRPO, read_library
from tfgrpo_dspy.simulated import Latency, running_server

DATA = ROOT.parent / "shared" / "data"
QUICK = ("--metric", "number", "--epochs", "2", "--group-size", "4")


@pytest.fixture(autouse=True)
def inputs():
    problems()


def compiled(*arguments: str | Path, **environment: str):
    result = run("compile", SOLVER, "train.jsonl", *QUICK, *arguments, env=environment)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def url():
    with running_server() as address:
        yield address


@pytest.mark.parametrize("engine", ["auto", "litellm"])
def test_it_learns_over_real_http_and_leaves_no_secret(url, engine):
    endpoint = ("--lm", "openai/simulated", "--api-base", url, "--engine", engine, "--lm-option", "cache=false")
    result = compiled(*endpoint, OPENAI_API_KEY=KEY)
    assert "SIMULATED" in result.stdout
    assert "8 examples of train.jsonl (question -> answer)" in result.stdout
    assert "tfgrpo ui" in result.stdout
    assert "tfgrpo evaluate out/program.json <held-out examples>" in result.stdout
    library = read_library("out/library.json")
    assert len(library)
    assert library.learned_with == ("openai/simulated",)
    assert sorted(path.name for path in Path("out").glob("[!.]*")) == [
        "library.history.jsonl",
        "library.json",
        "library.md",
        "log",
        "mlflow.json",
        "program.json",
        "recipe.yaml",
        "report.md",
        "run.html",
    ]
    assert not files_with(KEY)
    assert files_with("127.0.0.1", Path("out")) == [Path("out/recipe.yaml")], "which is to make the run again"


def test_the_saved_program_reads_the_library_and_the_report_can_be_read_without_the_terminal():
    compiled("--lm", "simulated", "--no-tracking")
    program = dspy.ChainOfThought("question -> answer")
    program.load("out/program.json")
    instructions = program.predict.signature.instructions
    assert all(e.text in instructions for e in read_library("out/library.json"))
    report = Path("out/report.md").read_text(encoding="utf-8")
    for heading in ("# Training-Free GRPO of programs.demo_world:solver", "## Steps", "## Library", "## Cost"):
        assert heading in report
    assert "Simulated LM" in report
    assert "| unknown |" in report
    assert "- **G0** " in report
    assert "learned in step 1, from e" in report


def test_it_says_how_every_step_went(url):
    result = compiled("--lm", "simulated", "--no-tracking", "--batch-size", "4", "--valset", "test.jsonl")
    assert "2 epochs of 2 steps, groups of 4 at temperature 0.7: 64 rollouts" in " ".join(result.stdout.split())
    assert "validation on 8 of test.jsonl" in result.stdout
    assert "of 4 " in result.stdout
    assert "on the validation examples (0." in " ".join(result.stdout.split())
    assert "validation" in Path("out/report.md").read_text(encoding="utf-8")
    assert "MLflow" not in result.stdout


def test_the_same_seed_learns_the_same_library_whatever_the_threads():
    for threads in ("1", "8", "32"):
        compiled("--lm", "simulated", "--no-tracking", "--num-threads", threads, "--out", threads)
    assert len({Path(threads, "library.json").read_bytes() for threads in ("1", "8", "32")}) == 1


def test_it_starts_from_a_library_in_any_format():
    Path("tips.txt").write_text("When in doubt, read the question again.\n", encoding="utf-8")
    result = compiled("--lm", "simulated", "--no-tracking", "--library", "tips.txt")
    assert "1 experience of tips.txt" in result.stdout
    assert read_library("out/library.json")["G0"].text == "When in doubt, read the question again."


def test_options_reach_the_optimizer(monkeypatch):
    seen = {}
    original = TrainingFreeGRPO.compile

    def spy(self, student, trainset, **more):
        seen.update(self.settings.as_params(), reflection=self.setup.reflection_lm, lm=dspy.settings.lm)
        return original(self, student, trainset, **more)

    monkeypatch.setattr(TrainingFreeGRPO, "compile", spy)
    options = "--max-words 20 --max-experiences 2 --max-library-tokens 90 --no-use-ground-truth --objective x --seed 4"
    more = (
        "--experiences-per-group 2 --max-errors 3 --reflection-lm simulated --lm-option max_tokens=99 --temperature 0.9"
    )
    compiled("--lm", "simulated", "--no-tracking", *options.split(), *more.split())
    wanted = {"max_words": 20, "max_experiences": 2, "max_library_tokens": 90, "use_ground_truth": False, "seed": 4}
    wanted |= {"objective": "x", "experiences_per_group": 2, "max_errors": 3, "temperature": 0.9, "epochs": 2}
    assert {name: seen[name] for name in wanted} == wanted
    assert seen["reflection"] is not None
    assert seen["lm"].kwargs["max_tokens"] == 99
    assert len(read_library("out/library.json")) <= 2


def test_when_nothing_could_be_learned_it_says_why():
    Path("hard.jsonl").write_text('{"question": "What is the meaning of life?", "answer": "42"}\n', encoding="utf-8")
    result = run("compile", SOLVER, "hard.jsonl", *QUICK, "--lm", "simulated", "--no-tracking")
    assert result.exit_code == 0
    assert "No group was informative (2 with all rollouts wrong)" in " ".join(result.stdout.split())
    assert "take easier ones" in Path("out/report.md").read_text(encoding="utf-8")
    assert Path("out/program.json").exists()


def test_a_program_that_always_fails_is_told_from_one_that_is_always_wrong():
    options = ("--lm", "openai/x", "--lm-option", "model_type=3", "--no-tracking")
    result = run("compile", SOLVER, "train.jsonl", *QUICK, *options, env={"OPENAI_API_KEY": KEY})
    assert "no rollout of step 1 came through; 32 of 32: " in the_error(result)
    assert result.exit_code == 2
    assert "The program failed in every rollout" in Path("out/report.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not here")
@pytest.mark.parametrize("file", ["dapo/dapo_math_17k_sample.jsonl", "gsm8k/gsm8k_test_100.jsonl"])
def test_real_columns_are_read(file):
    arguments = ("--metric", "number", "--limit", "4", "--epochs", "1", "--lm", "simulated", "--no-tracking")
    result = run("compile", SOLVER, DATA / file, *arguments)
    assert result.exit_code == 0, result.output
    assert "4 examples of" in result.stdout


def test_a_program_with_its_own_lm_keeps_its_secrets_to_itself(url):
    Path("own.py").write_text(
        f"import dspy\nsolver = dspy.ChainOfThought('question -> answer')\n"
        f"solver.predict.lm = dspy.LM('openai/simulated', api_key={KEY!r}, api_base={url!r}, "
        f"headers={{'x-secret': 'sesame-open'}})\n",
        encoding="utf-8",
    )
    result = run("compile", "own.py:solver", "train.jsonl", *QUICK)
    assert result.exit_code == 0, result.output
    for secret in (KEY, "sesame-open"):
        assert [path for path in files_with(secret) if path.name != "own.py" and path.suffix != ".pyc"] == []
    assert not files_with(url, Path("out")), "an endpoint that only the program knows is nobody else's business"
    assert json.loads(Path("out/program.json").read_text())["predict"]["lm"]["model"] == "openai/simulated"


def test_what_could_not_be_recorded_is_said_and_changes_the_exit_code(monkeypatch):
    def fails(library, folder):
        raise OSError("no space left")

    monkeypatch.setattr("tfgrpo_dspy.cli.files.Keeper.__call__", _failing_keeper())
    result = run("compile", SOLVER, "train.jsonl", *QUICK, "--lm", "simulated", "--no-tracking")
    assert result.exit_code == 3
    assert "not recorded: Keeper failed at StepFinished: OSError: no space left" in result.stderr
    assert Path("out/program.json").exists()


def _failing_keeper():
    from tfgrpo_dspy.cli.files import Keeper
    from tfgrpo_dspy.records.events import StepFinished

    original = Keeper.__call__

    def take(self, event):
        if isinstance(event, StepFinished):
            raise OSError("no space left")
        original(self, event)

    return take


def test_a_run_that_stops_late_leaves_what_it_learned(monkeypatch):
    calls = {"left": 8 * 4 + 12}

    def number_until_it_breaks(example, prediction, trace=None):
        from tfgrpo_dspy.rewards.metrics import number

        calls["left"] -= 1
        if calls["left"] < 0:
            raise RuntimeError("the metric broke")
        return number(example, prediction)

    monkeypatch.setattr("tfgrpo_dspy.cli.references.BUILT_IN", {"number": number_until_it_breaks})
    result = run(
        "compile",
        SOLVER,
        "train.jsonl",
        *QUICK,
        "--lm",
        "simulated",
        "--no-tracking",
        "--num-threads",
        "1",
        "--max-errors",
        "3",
    )
    said = the_error(result)
    assert "the metric broke" in said
    assert said.startswith("Stopped by an error after step 1 of 2. What was learned (")
    assert "is in out/. " in said
    assert said.endswith("To go on once that is mended, run the same again: tfgrpo compile --recipe out/recipe.yaml")
    assert result.exit_code == 2
    library = read_library("out/library.json")
    assert len(library)
    assert "Stopped by an error after step 1 of 2. " in Path("out/report.md").read_text(encoding="utf-8")
    assert (
        library["G0"].text in json.loads(Path("out/program.json").read_text())["predict"]["signature"]["instructions"]
    )


def test_files_that_a_killed_run_never_finished_are_cleared_away():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    half = Path(f"out/.library.json.{ended.pid}-140.tmp")
    half.parent.mkdir()
    half.write_text("{", encoding="utf-8")
    compiled("--lm", "simulated", "--no-tracking")
    assert not half.exists()


def test_a_run_that_stops_at_once_leaves_earlier_results_alone():
    compiled("--lm", "simulated", "--no-tracking")
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    other = ("--lm", "openai/gpt-4.1-mini", "--no-tracking", "--log-dir", "other")
    said = the_error(run("compile", SOLVER, "train.jsonl", *QUICK, *other))
    assert "No step had been finished yet, so there is no program." in said
    assert said.endswith("To go on once that is mended, run the same again.")
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before


def test_the_same_command_takes_a_run_up_and_another_one_is_refused_unless_it_starts_over():
    compiled("--lm", "simulated", "--no-tracking")
    learned = Path("out/library.json").read_bytes()
    made = results_in("out/log")
    compiled("--lm", "simulated", "--no-tracking")
    assert results_in("out/log") == made
    assert Path("out/library.json").read_bytes() == learned
    changed = ("--lm", "simulated", "--no-tracking", "--seed", "7")
    assert "seed was 0, is 7" in the_error(run("compile", SOLVER, "train.jsonl", *QUICK, *changed))
    compiled(*changed, "--restart")
    assert results_in("out/log.1") == made
    assert results_in("out/log") != made


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_interrupting_a_process_leaves_what_it_learned(sent, code):
    with running_server(latency=Latency(0.05)) as url:
        endpoint = ("--lm", "openai/simulated", "--api-base", url, "--epochs", "50", "--num-threads", "16")
        arguments = ("compile", SOLVER, "train.jsonl", "--metric", "number", *endpoint, "--no-tracking")
        process = started(*arguments, OPENAI_API_KEY=KEY)
        until(lambda: process.poll() is not None or Path("out/library.json").exists())
        process.send_signal(getattr(signal, sent))
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, said
    shown = " ".join(said.split())
    assert re.search(r"Interrupted after step \d+ of 50\. What was learned \(\d+ experiences?\) is in out/\.", shown)
    assert re.search(r"Kept: [\d,]+ results and what they cost, in out/log/run\.db\.", shown)
    assert "To go on, run the same again: tfgrpo compile --recipe out/recipe.yaml" in shown
    assert "Traceback" not in said
    assert "Interrupted after step" in Path("out/report.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_installed_command_learns_and_shows_the_gain(url):
    command = [str(Path(sys.executable).with_name("tfgrpo"))]
    endpoint = ["--api-base", url]
    learning = ["compile", SOLVER, "train.jsonl", *QUICK, "--lm", "openai/simulated", *endpoint, "--no-tracking"]
    judging = ["evaluate", "out/program.json", "test.jsonl", "-k", "8", *endpoint]
    for arguments in (learning, judging):
        done = subprocess.run(
            command + arguments,
            env=process_environment(OPENAI_API_KEY=KEY),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert KEY not in done.stdout + done.stderr
    assert "Gain on held-out questions: +" in done.stdout
    assert not files_with(KEY)
    assert str(ROOT) not in Path("out/recipe.yaml").read_text()


@pytest.mark.slow
def test_an_interrupt_waits_for_no_call_and_the_run_is_taken_up():
    slow = Latency(2.0)
    with running_server(latency=slow) as url:
        endpoint = ("--lm", "openai/simulated", "--api-base", url, "--epochs", "1", "--num-threads", "8")
        arguments = ("compile", SOLVER, "train.jsonl", "--metric", "number", *endpoint, "--no-tracking")
        process = started(*arguments, OPENAI_API_KEY=KEY)
        until(lambda: process.poll() is not None or (Path("out/log/run.db").exists() and results_in("out/log")))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    kept = results_in("out/log")
    assert kept
    with running_server() as url:
        compiled_again = run(
            *("compile", SOLVER, "train.jsonl", "--metric", "number", "--lm", "openai/simulated", "--api-base", url),
            *("--epochs", "1", "--num-threads", "8", "--no-tracking"),
            env={"OPENAI_API_KEY": KEY},
        )
    assert compiled_again.exit_code == 0, compiled_again.stderr
    assert results_in("out/log")[: len(kept)] == kept


def test_an_interrupt_while_the_learned_program_is_compared_says_where_it_is(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tfgrpo_dspy.cli.compile.measured", interrupted)
    result = run("compile", SOLVER, "train.jsonl", *QUICK, "--lm", "simulated", "--no-tracking", "--test", "test.jsonl")
    assert result.exit_code == 130
    said = " ".join(result.stderr.split())
    assert "what was learned is in out/, and was not compared yet: tfgrpo evaluate out/program.json" in said
