"""What README and docs show works from the wheel alone, in an empty folder."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.installed import ROOT, Installed, build, commands_of
from tests.tfgrpo_dspy.loopback import free_port

sys.path.insert(0, str(ROOT))
from hatch_build import FOLDERS, LIBRARY, CustomBuildHook, files_of, moved

MODULES = [path for path in files_of(ROOT) if path.suffix == ".py"]
SMALL = "--seeds 1 --train-limit 4 --test-limit 4 -k 2 --budget 60 --no-tracking"
NEEDS_MORE = re.compile(
    r"make |pip install|my_module|openai/gpt|models serve|curl |tfgrpo ui|show-rollout|playbook|export |\.yaml"
    r"|test.jsonl -k|8765  "
)
"""A key, a file of the user's, a clone, another terminal."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed.of(wheel, tmp_path_factory.mktemp("installed"))


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# --- what is in it ---


def normalised(text: str) -> str:
    """What a module does, its imports and texts with the folders named as in a clone."""
    return ast.dump(ast.parse(text)).replace(f"{LIBRARY}.programs", "programs").replace(f"{LIBRARY}.", "")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_the_same_in_the_wheel_but_for_names(path):
    text = path.read_text(encoding="utf-8")
    in_wheel = moved(text, ROOT)
    assert normalised(in_wheel) == normalised(text)
    assert moved(in_wheel, ROOT) == in_wheel, "no name is left, and none is changed twice"
    imports = [node for node in ast.walk(ast.parse(in_wheel)) if isinstance(node, ast.Import | ast.ImportFrom)]
    named = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in imports if isinstance(node, ast.ImportFrom)}
    assert not {name.partition(".")[0] for name in named} & set(FOLDERS)


def test_names_of_variables_and_files_are_left_alone():
    text = 'programs.made["x"] = "out/evals/demo", "mlflow.evals.recorded", optimizers.log\n'
    assert moved(text, ROOT) == text
    assert moved("from optimizers import rivals\n", ROOT) == "from tfgrpo_dspy.optimizers import rivals\n"
    assert moved("`python -m evals` or programs.math:react", ROOT) == (
        "`python -m tfgrpo_dspy.evals` or tfgrpo_dspy.programs.math:react"
    )


@pytest.mark.slow
def test_the_wheel_takes_one_name_at_the_top_and_has_every_file(wheel):
    names = contents(wheel)
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {LIBRARY}
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / LIBRARY).rglob("*")
        if path.suffix in {".py", ".md", ".html", ".css", ".js"}
    }
    assert ours | {f"{LIBRARY}/{path.relative_to(ROOT).as_posix()}" for path in files_of(ROOT)} <= names.keys()
    assert f"{LIBRARY}/py.typed" in names


@pytest.mark.slow
def test_the_wheel_of_the_sdist_is_the_wheel(wheel, tmp_path):
    with tarfile.open(build("sdist", tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    [tree] = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert contents(build("wheel", tmp_path / "again", tree)) == contents(wheel)


@pytest.mark.parametrize(("version", "added"), [("standard", len(list(files_of(ROOT)))), ("editable", 0)])
def test_an_editable_install_leaves_the_clone_as_it_is(version, added):
    hook, data = CustomBuildHook(str(ROOT), {}, None, None, "", "wheel"), {"force_include": {}}
    hook.initialize(version, data)
    assert len(data["force_include"]) == added
    hook.finalize(version, data, "")


# --- what it does ---

IMPORT_ALL = """
import importlib, pkgutil, tfgrpo_dspy
for folder in ("programs", "optimizers", "evals"):
    package = importlib.import_module(f"tfgrpo_dspy.{folder}")
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith((".__main__", ".math_process", ".inside")):
            importlib.import_module(found.name)
import sys
print(sorted({"programs", "optimizers", "evals"} & set(sys.modules)))
"""


@pytest.mark.slow
def test_every_module_can_be_imported_and_none_needs_the_clone(installed, tmp_path):
    (tmp_path / "all.py").write_text(IMPORT_ALL, encoding="utf-8")
    assert installed.run("python all.py", tmp_path) == "[]\n"


HELPS = """
from contextlib import suppress
from tfgrpo_dspy.cli.app import app
for words in {}:
    with suppress(SystemExit):
        app([*words, "--help"], prog_name="tfgrpo")
"""


@pytest.mark.slow
def test_every_command_that_a_page_shows_is_there(installed, tmp_path):
    blocks = [block for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")) for block in commands_of(page)]
    shown = set(re.findall(r"\btfgrpo (library \w+|(?!library)[a-z][\w-]*)", "\n".join(blocks)))
    (tmp_path / "helps.py").write_text(HELPS.format([command.split() for command in sorted(shown)]), encoding="utf-8")
    assert installed.run("python helps.py", tmp_path).count("Usage: tfgrpo ") == len(shown)


def made_small(block: str, port: str) -> str:
    """Those commands of a block that need nothing else, on little data, each server waited for."""
    lines = [line for line in block.replace("\\\n", " ").splitlines() if not NEEDS_MORE.search(line)]
    script = "\n".join(lines).replace("8765", port).replace("--train 60 --test 60", "--train 10 --test 6")
    script = re.sub(r"(tfgrpo demo) .*", r"\1 --examples 8 --held-out 4 --epochs 1 --no-tracking", script)
    script = re.sub(r"(tfgrpo compare .*)", rf"\1 {SMALL}", script)
    script = re.sub(r"(tfgrpo paper .*)", r"\1 --dry-run", script)
    waiting = f"until curl -sf http://127.0.0.1:{port}/health > /dev/null; do :; done"
    return re.sub(r"&$", f"&\n{waiting}", script, flags=re.MULTILINE)


@pytest.mark.slow
def test_the_commands_of_the_readme_and_of_the_guides_work_in_an_empty_folder(installed, tmp_path):
    pages = ("README.md", "docs/measuring.md")
    shown = [block for page in pages for block in commands_of(ROOT / page)]
    blocks = sorted(shown, key=lambda block: "tfgrpo problems" not in block)
    ran = "\n".join(made_small(block, str(free_port())) for block in blocks)
    installed.run(ran, tmp_path)
    for command in ("demo", "compare", "paper", "list", "problems", "simulate", "compile", "evaluate", "library show"):
        assert f"tfgrpo {command}" in ran, command
    assert (tmp_path / "out/evals/report.md").is_file()


@pytest.mark.slow
def test_agents_and_metrics_have_the_same_names_as_in_a_clone(installed, tmp_path):
    said = installed.run(
        """
        tfgrpo problems math --train 2 --test 2
        tfgrpo demo --examples 8 --held-out 4 --epochs 1 --no-tracking --out demo
        tfgrpo attach programs.math:react demo/library.json --unsafe-local-code --out program.json
        tfgrpo evaluate programs.math_solver:direct test.jsonl --inputs problem --metric evals.verifiers:math_equal \\
            -k 2 --lm simulated
        python -m tfgrpo_dspy.evals list
        """,
        tmp_path,
    )
    assert "Mean@2" in said
    assert "[G0]" in (tmp_path / "program.json").read_text()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="the sandbox is bubblewrap")
def test_an_agent_runs_its_code_in_the_sandbox_from_the_wheel(installed, tmp_path):
    small = "--seeds 1 --train-limit 2 --test-limit 2 -k 1 --no-tracking"
    said = installed.run(f"tfgrpo compare --task demo-math-agent --optimizers none {small}", tmp_path)
    assert "tool calls" in said


@pytest.mark.slow
def test_optimizers_are_compared_on_a_program_and_files_of_ones_own(installed, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import dspy\nprogram = dspy.ChainOfThought('question -> answer')\n"
        "def right(example, prediction, trace=None):\n    return example.answer in prediction.answer\n"
    )
    small = "--lm simulated --metric mine.py:right --seeds 1 -k 1 --budget 60 --no-tracking --optimizers none,tfgrpo"
    compare = f"tfgrpo compare mine.py:program train.jsonl --test test.jsonl {small}"
    said = installed.run(f"tfgrpo problems --train 6 --test 4\n{compare} --dry-run\n{compare} --json", tmp_path)
    assert "at most 60" in said
    [written] = [line for line in said.splitlines() if line.startswith("{")]
    assert {line["optimizer"] for line in json.loads(written)["lines"]} == {"none", "tfgrpo"}


@pytest.mark.slow
def test_another_distribution_brings_what_the_page_on_extending_says(installed, tmp_path):
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    for text in re.findall(r"^```(?:toml|python)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        path = tmp_path / "my-plugins" / text.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    [script] = commands_of(ROOT / "docs/extending.md")
    script = re.sub(r"(tfgrpo compare .*)", rf"\1 {SMALL}", script)
    script = re.sub(r"(tfgrpo compile .*)", r"\1 --no-tracking", script)
    said = installed.run(f"touch my-plugins/my_plugins/__init__.py\n{script}", tmp_path)
    for promised in ("of my-plugins", "proverb", "Scores (simulated)", "1 experience written to library.json"):
        assert promised in said, promised
    assert "second fall" in (tmp_path / "again.toml").read_text()
    assert "\nmetric: brief\n" in (tmp_path / "out/recipe.yaml").read_text()
