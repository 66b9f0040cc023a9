"""The options of the commands are made from declarations: one parser, one spelling, one help."""

from __future__ import annotations

import ast
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tfgrpo_dspy.command_line import ROOT, SOLVER, problems, run, the_error
from tfgrpo_dspy import BM25, Budget, Settings
from tfgrpo_dspy.cli import boundary
from tfgrpo_dspy.cli.options.common import CompileOptions, DemoOptions, EvaluateOptions
from tfgrpo_dspy.cli.options.spelling import option_of, spelled
from tfgrpo_dspy.cli.options.taken import WORDS, read
from tfgrpo_dspy.declaration import Setting, settings_of
from tfgrpo_dspy.run.setup import Setup

KNOWN = CompileOptions.known()
OPTIONS = {option_of(name) for name in KNOWN}
COMPILE = ("compile", SOLVER, "train.jsonl", "--lm", "simulated", "--no-tracking")


def shown_by(*arguments: str) -> set[str]:
    result = run(*arguments, env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.output
    return set(re.findall(r"^│ +(--?[a-z][a-z0-9-]*)", result.output, re.MULTILINE))


def a_wrong_text(one: Setting) -> str:
    return "maybe" if one.kind is bool or one.choices or one.read else "x"


# --- help ---


def test_the_help_of_compile_shows_the_dozen_options_that_most_runs_need():
    shown = shown_by("compile", "--help")
    assert len(shown) <= 15
    assert {"--metric", "--lm", "--out", "--set", "--help-all"} <= shown


@pytest.mark.parametrize(
    ("command", "options"), [("compile", CompileOptions), ("evaluate", EvaluateOptions), ("demo", DemoOptions)]
)
def test_help_all_shows_every_setting_and_help_only_some(command, options):
    everything = {option_of(name) for name in options.known() if name not in (*options.arguments, WORDS)}
    assert everything <= shown_by(command, "--help-all")
    assert len(shown_by(command, "--help")) <= 15, "asking for all does not change what is asked for next"


def test_the_help_of_an_option_is_the_sentence_of_its_setting_in_the_words_of_a_command_line():
    shown = " ".join(run("compile", "--help-all", env={"COLUMNS": "1000"}).output.split())
    for name, one in (pair for pair in KNOWN.items() if pair[0] != WORDS):
        assert " ".join(spelled(one.sentence, OPTIONS).split()) in shown, name


def test_showing_the_help_imports_neither_dspy_nor_mlflow():
    code = "import sys; from tfgrpo_dspy.cli.app import app; print({'dspy', 'mlflow', 'litellm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- every setting can be given ---


def test_every_setting_of_the_optimizer_is_an_option_but_those_that_only_a_program_can_give():
    in_python_only = {"observers", "display_progress", "budget"}
    assert settings_of(Settings, Setup).keys() - KNOWN.keys() == in_python_only
    assert settings_of(Budget).keys() <= KNOWN.keys(), "which stand for the budget"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("epochs", "2", 2),
        ("temperature", "0.5", 0.5),
        ("temperature", "none", None),
        ("tolerance", "1e-6", 1e-6),
        ("require_gain", "true", True),
        ("require_gain", "no", False),
        ("update", "batch", "batch"),
        ("conditioned", "a, b", ("a", "b")),
        ("objective", "solve it", "solve it"),
        ("retrieval", "4", BM25(4)),
        ("price_per_million", "1,2,0.5", (1.0, 2.0, 0.5)),
        ("library", "a.json", Path("a.json")),
    ],
)
def test_a_text_becomes_a_value_of_the_settings_type(name, text, value):
    assert read(KNOWN[name], text) == value


def test_a_setting_given_by_its_name_in_python_is_the_same_as_its_option():
    problems()
    plan = run(*COMPILE, "--set", "epochs=1", "--set", "group-size=3").stdout
    assert "1 epoch of 1 step, groups of 3" in " ".join(plan.split())


# --- errors ---


def test_the_page_on_the_command_line_has_every_exit_code():
    source = ast.parse(Path(boundary.__file__).read_text(encoding="utf-8"))
    (codes,) = (n.value for n in source.body if isinstance(n, ast.Assign) and "BAD_INPUT" in ast.unparse(n.targets[0]))
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == {0, *ast.literal_eval(codes)}


@pytest.mark.parametrize("name", [name for name, one in KNOWN.items() if one.kind not in (str, Path)])
def test_a_wrong_value_is_refused_in_the_words_of_a_command_line_with_what_the_setting_is(name):
    one = KNOWN[name]
    if (one.is_list and not one.choices) or name == "count_tokens":
        pytest.skip("any text will do")
    result = run(*COMPILE, "--set", f"{name}={a_wrong_text(one)}")
    said = the_error(result)
    assert result.exit_code == 2
    assert option_of(name) in said
    assert f"got '{a_wrong_text(one)}'" in said or f"('{a_wrong_text(one)}',)" in said
    assert not re.search(r"`|\bNone\b|\bTrue\b|\bFalse\b", said.replace("`BM25", "").replace("BM25(k)`", ""))
    if one.read is None:
        assert spelled(one.why or one.briefly, OPTIONS) in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--set epoch=3", "there is no setting 'epoch'; did you mean --epochs?"),
        ("--set epochs", "--set is written name=value, e.g. epochs=3"),
        ("--temperature 0", "--temperature must be a number > 0 or none, got 0.0: at 0 the rollouts of a group hardly"),
        ("--trials --group-size 1", "--trials compares the rollouts of a group, so it needs --group-size above 1"),
        ("--max-cost-usd 5", "in and out, e.g. --price-per-million 0.4,1.6, or cap --max-tokens or --max-lm-calls"),
        ("--price-per-million 1,2", "--price-per-million does nothing without --max-cost-usd"),
        ("--log-model", "--log-model records the model with MLflow, so it does not go with --no-tracking"),
        ("--ray-address auto", "--ray-address needs --executor ray"),
    ],
)
def test_what_does_not_go_together_is_said_in_the_words_of_a_command_line(given, said):
    problems()
    result = run(*COMPILE, *given.split())
    assert said in the_error(result)
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("python", "typed"),
    [
        ("`epochs` must be", "--epochs must be"),
        ("set `hedge=0.05`", "set --hedge 0.05"),
        ("`use_ground_truth=False` forbids", "--no-use-ground-truth forbids"),
        ('`update="batch"` needs', "--update batch needs"),
        ("`price_per_million=(0.4, 1.6)`", "--price-per-million 0.4,1.6"),
        ("`temperature=None` or `None`", "--temperature none or none"),
        ("`k` of `tfgrpo ui`", "`k` of `tfgrpo ui`"),
    ],
)
def test_python_between_backticks_is_spelled_as_it_is_typed(python, typed):
    assert spelled(python, OPTIONS) == typed


def texts_of_errors(path: Path) -> list[tuple[int, str]]:
    """Line and text of every error that a module makes; what is put in at run time is left out."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        is_error = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Error")
        if is_error and node.args:
            parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
            found.append((node.lineno, "".join(str(p.value) for p in parts if isinstance(p, ast.Constant))))
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "tfgrpo_dspy").rglob("*.py")), ids=lambda path: path.name)
def test_errors_put_python_between_backticks_so_that_it_can_be_spelled(path):
    names = [name for name in (*settings_of(Settings, Setup, Budget), *KNOWN) if "_" in name]
    python = re.compile(rf"\b(?:None|True|False|{'|'.join(names)})\b")
    for line, text in texts_of_errors(path):
        assert not python.search(re.sub(r"`[^`]*`", "", text)), f"{path}:{line}: {text}"


def test_a_full_disk_is_told_with_what_to_do_where_the_error_names_no_file():
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert boundary._described(error).endswith("make room on the disk and give the same command again")


SIGNALS = """
import os, signal, threading
from tfgrpo_dspy.cli.boundary import Signalled, heed_signals
signal.signal(signal.SIGHUP, signal.SIG_IGN)
heed_signals()
os.kill(os.getpid(), signal.SIGHUP)
if not os.fork():
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(0)
print(os.WTERMSIG(os.wait()[1]))
class Finalized:
    def __del__(self):
        os.kill(os.getpid(), self.number)
        self.number = None  # where the interrupt is raised, and can go nowhere
for number, interrupt in ((signal.SIGTERM, Signalled), (signal.SIGINT, KeyboardInterrupt)):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        one = Finalized()
        one.number = number
        del one
        threading.Event().wait(20)
        print("lost")
    except interrupt as error:
        print(*error.args or [2])
"""


def test_a_signal_interrupts_the_command_wherever_it_is_not_what_it_forked_nor_one_that_is_to_ignore_it():
    done = subprocess.run([sys.executable, "-c", SIGNALS], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (done.stdout.split(), done.stderr) == (["15", "15", "2"], "")


COMMAND = """
import atexit, importlib, os, signal, sys
app, main, when, sent = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)
send = lambda **given: os.kill(os.getpid(), getattr(signal, sent))
importlib.import_module(app).app = send if when == "before" else lambda **given: atexit.register(send)
importlib.import_module(main).main()
"""


@pytest.mark.parametrize(("app", "main"), [("tfgrpo_dspy.cli.app", "tfgrpo_dspy.cli"), ("evals.cli", "evals.cli")])
@pytest.mark.parametrize(
    ("when", "sent", "code"),
    [("before", "SIGINT", 130), ("before", "SIGTERM", 143), ("after", "SIGINT", -2)],
)
def test_a_signal_before_or_after_the_command_ends_the_process_without_a_traceback(app, main, when, sent, code):
    asked = [sys.executable, "-c", COMMAND, app, main, when, sent]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (code, "")
