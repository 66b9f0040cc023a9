"""A recipe holds all that a run was told: every run writes one, --recipe reads it, a wrong line is told by number."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.tfgrpo_dspy.command_line import SOLVER, problems, results_in, run, the_error
from tfgrpo_dspy import TrainingFreeGRPO, read_library
from tfgrpo_dspy.cli.options.common import CompileOptions, MomentOptions
from tfgrpo_dspy.cli.options.recipe import RECIPE, read_recipe, render_recipe
from tfgrpo_dspy.cli.options.spelling import in_yaml
from tfgrpo_dspy.declaration import settings_of
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.simulated import running_server

GIVEN = ("--metric", "number", "--lm", "simulated", "--no-tracking", "--epochs", "2", "--group-size", "4")
KNOWN = CompileOptions.repeated()
OUT = Path("out") / RECIPE


@pytest.fixture(autouse=True)
def inputs():
    problems()


def compiled(*arguments: str, out: str = "out") -> str:
    result = run("compile", *arguments, "--out", out)
    assert result.exit_code == 0, result.output
    return result.stdout


def rendered(**written: object) -> str:
    options = CompileOptions.asked({"program": "a:b", "trainset": "t.jsonl", **written})
    return render_recipe(options, Settings.chosen(options.settings), OUT)


def a_recipe(*lines: str) -> str:
    Path("run.yaml").write_text("\n".join((f"program: {SOLVER}", "trainset: train.jsonl", *lines)), encoding="utf-8")
    return "run.yaml"


# --- what a run writes ---


def test_a_run_leaves_the_recipe_that_makes_it_again():
    compiled(SOLVER, "train.jsonl", *GIVEN, "--seed", "3", "--set", "retrieval=4")
    compiled("--recipe", str(OUT), out="again")
    assert Path("again/library.json").read_bytes() == Path("out/library.json").read_bytes()
    again = Path("again/recipe.yaml").read_text(encoding="utf-8")
    assert again.replace("again/", "out/").replace("out: again", "out: out") == OUT.read_text(encoding="utf-8")
    assert len(read_library("again/library.json"))


def test_the_recipe_in_the_folder_of_its_run_takes_the_run_up():
    compiled(SOLVER, "train.jsonl", *GIVEN)
    made = results_in("out/log")
    compiled("--recipe", str(OUT))
    assert results_in("out/log") == made


def test_the_demo_is_made_again_by_its_recipe():
    assert run("demo", "--examples", "8", "--held-out", "4", "--epochs", "1", "--no-tracking").exit_code == 0
    compiled("--recipe", "out/demo/recipe.yaml")
    assert Path("out/library.json").read_bytes() == Path("out/demo/library.json").read_bytes()


def test_a_run_at_an_endpoint_is_made_again_and_evaluated_there():
    with running_server() as url:
        endpoint = ("--lm", "openai/simulated", "--api-base", url, "--lm-option", "cache=false")
        result = run("compile", SOLVER, "train.jsonl", *GIVEN, *endpoint, env={"OPENAI_API_KEY": "x"})
        assert result.exit_code == 0, result.output
        again = run("compile", "--recipe", str(OUT), "--out", "again", env={"OPENAI_API_KEY": "x"})
        assert again.exit_code == 0, again.output
        judged = run("evaluate", "out/program.json", "test.jsonl", "-k", "1", env={"OPENAI_API_KEY": "x"})
        assert judged.exit_code == 0, judged.output
    assert read_library("again/library.json").learned_with == ("openai/simulated",)


def test_every_setting_stands_in_it_below_its_sentence():
    text = rendered()
    for name, one in ((name, one) for name, one in KNOWN.items() if name != "auto"):  # which stands for others
        comment, line = re.search(rf"((?:^# .*\n)+)^(?:# )?{name}: (.*)$", text, re.MULTILINE).groups()
        assert " ".join(comment.replace("# ", "").split()) == " ".join(in_yaml(one.sentence).split())
        assert line
    assert not set(yaml.safe_load(text)) & settings_of(MomentOptions).keys(), "what one command wanted is no part of it"


def test_what_was_not_given_is_written_down_as_it_was_taken():
    values = yaml.safe_load(rendered())
    for name in settings_of(Settings).keys() & values.keys():
        if settings_of(Settings)[name].is_plain:
            default = getattr(Settings, name)
            assert values[name] == (list(default) if isinstance(default, tuple) else default), name


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("objective", 'two\nlines: "quoted" # not a comment'),
        ("objective", "no"),
        ("objective", "ünïcode – “so”"),
        ("tolerance", "1e-12"),
        ("inputs", ["question=prompt.0.content", "context"]),
        ("retrieval", "8"),
        ("price_per_million", "0.4,1.6"),
        ("temperature", "none"),
        ("log_dir", "a folder/log"),
    ],
)
def test_values_are_read_back_as_they_were_written(name, written):
    options = CompileOptions.asked({"program": "a:b", "trainset": "t", name: written})
    Path("r.yaml").write_text(rendered(**{name: written}), encoding="utf-8")
    again = CompileOptions.asked(read_recipe(Path("r.yaml"), KNOWN).written)
    value = getattr(again, name, again.settings.get(name))
    assert value == getattr(options, name, options.settings.get(name))
    assert value is not None or written == "none"


@pytest.mark.parametrize(
    ("name", "secret"),
    [("tracking_uri", "postgresql://anna:sesame@db/mlflow"), ("objective", "call it with sk-abcdefgh12345678")],
)
def test_what_may_hold_a_secret_is_left_out_and_the_recipe_says_so(name, secret):
    text = rendered(**{name: secret})
    assert "sesame" not in text
    assert "sk-abcdefgh" not in text
    assert f"# {name}: was given, and is not written here because it may hold a secret; give it again" in text


# --- what is typed besides ---


def test_what_is_typed_wins_over_the_recipe():
    text = compiled("--recipe", a_recipe("metric: number", "lm: simulated", "tracking: false", "epochs: 3"), *GIVEN)
    assert "2 epochs of 1 step, groups of 4" in " ".join(text.split())


def test_a_whole_that_is_typed_takes_the_place_of_single_settings_of_the_recipe():
    compiled(SOLVER, "train.jsonl", *GIVEN[:5], "--auto", "light")
    recipe = yaml.safe_load(OUT.read_text(encoding="utf-8"))
    assert (recipe["epochs"], recipe["min_group_size"], recipe.get("auto")) == (2, 2, None)
    assert "3 epochs of 1 step, groups of 5" in compiled("--recipe", str(OUT), "--auto", "medium", out="again")
    assert "1 epoch of 1 step, groups of 2 to 5" in compiled("--recipe", str(OUT), "--epochs", "1", out="once")


def test_a_program_and_examples_that_are_typed_win_as_well():
    Path("few.jsonl").write_text("".join(Path("train.jsonl").read_text().splitlines(keepends=True)[:3]))
    assert "3 examples of few.jsonl" in compiled("--recipe", a_recipe("epochs: 3"), SOLVER, "few.jsonl", *GIVEN)


def test_options_of_the_program_are_kept_and_can_be_typed_anew():
    Path("made.py").write_text(
        "import dspy\ndef solver(style: str = 'plain'):\n    return dspy.ChainOfThought('question -> answer')\n"
    )
    compiled("made.py:solver", "train.jsonl", *GIVEN, "--style", "terse")
    assert "made.py:solver --style terse" in compiled("--recipe", str(OUT), out="again")
    assert "made.py:solver --style florid" in compiled("--recipe", str(OUT), "--style", "florid", out="other")


# --- what is wrong in one ---


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("epoch: 3", "run.yaml, line 3: there is no setting 'epoch'; did you mean epochs?"),
        ("epochs: 0", "run.yaml, line 3: epochs must be a whole number >= 1, got 0: passes over the trainset"),
        ("epochs: many", "run.yaml, line 3: epochs must be a whole number >= 1, got 'many'"),
        ("temperature: 0", "run.yaml, line 3: temperature must be a number > 0 or null, got 0"),
        ("objective: 3", "run.yaml, line 3: objective must be a text or null, got 3: what the program is meant to do"),
        ("objective: no", "put it between quotes"),
        ("update: pray", "run.yaml, line 3: update must be each or batch, got 'pray'"),
        ("max_cost_usd: -1", "run.yaml, line 3: max_cost_usd must be a number > 0 or null, got -1"),
        ("seed: 1\nseed: 2", "run.yaml, line 4: seed stands there twice, first in line 3; delete one of the two"),
        (
            "trials: true\ngroup_size: 1",
            "run.yaml, line 3: trials compares the rollouts of a group, so it needs group_size above 1",
        ),
        ("seed: 1\nrequire_gain: true", "run.yaml, line 4: require_gain needs problems to measure it on"),
        ("inputs:\n  - [a]", "run.yaml, line 3: a value is a number, a word, a text or a list of these"),
        ("budget: {max_tokens: 3}", "run.yaml, line 3: a value is a number, a word, a text or a list of these"),
        (
            "epochs: !!python/object/apply:os.system ['touch owned']",
            "run.yaml, line 3: this is not YAML as a recipe has",
        ),
        ("epochs: [3", "this is not YAML as a recipe has it"),
        ("dry_run: true", "there is no setting 'dry_run'"),
    ],
)
def test_a_wrong_line_is_told_by_file_line_setting_and_remedy(line, said):
    result = run("compile", "--recipe", a_recipe(line), "--lm", "simulated", "--no-tracking")
    assert said in the_error(result)
    assert result.exit_code == 2
    assert not Path("owned").exists()
    assert not Path("out").exists() or not any(Path("out").iterdir())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"- a\n- b\n", "run.yaml is no recipe: it must hold lines such as epochs: 3"),
        (b"", "run.yaml is no recipe"),
        (b"\xff\xfe\x00", "run.yaml is no recipe: it is not UTF-8 text"),
        (b"[" * 5000, "run.yaml: this is not YAML as a recipe has it"),
        (b"epochs: 3\n", "there is no PROGRAM: name it, on the command line or in a recipe"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_sentence(content, said):
    Path("run.yaml").write_bytes(content)
    result = run("compile", "--recipe", "run.yaml")
    assert said in the_error(result)
    assert result.exit_code == 2


def test_a_recipe_that_is_not_there_is_one_sentence():
    assert "nowhere.yaml" in the_error(run("compile", "--recipe", "nowhere.yaml"))


def test_an_error_about_what_was_typed_does_not_blame_the_recipe():
    result = run("compile", "--recipe", a_recipe("epochs: 3"), "--set", "epochs=0")
    assert the_error(result).startswith("--epochs must be")


def test_reading_a_recipe_imports_nothing_that_it_names():
    Path("trap.py").write_text("raise SystemExit('imported')\n")
    Path("r.yaml").write_text("program: trap.py:solver\ntrainset: train.jsonl\nmetric: trap.py:metric\n")
    assert read_recipe(Path("r.yaml"), KNOWN).written["program"] == "trap.py:solver"


def test_the_optimizer_gets_from_a_recipe_what_it_gets_from_options(monkeypatch):
    seen = []
    original = TrainingFreeGRPO.compile
    monkeypatch.setattr(
        TrainingFreeGRPO,
        "compile",
        lambda self, *given, **more: seen.append(self.settings) or original(self, *given, **more),
    )
    compiled(SOLVER, "train.jsonl", *GIVEN, "--max-words", "20", "--max-lm-calls", "500", "--conditioned", "predict")
    compiled("--recipe", str(OUT), out="again")
    assert seen[0] == seen[1]
    assert seen[1].budget.max_lm_calls == 500
