"""The tutorial does what it says: its commands are run as they stand, and its files written as they stand."""

from __future__ import annotations

import ast
import io
import json
import re
from contextlib import redirect_stdout
from importlib import import_module

import pytest

from tests.installed import ROOT, Installed, build, commands_of
from tests.tfgrpo_dspy.loopback import free_port

TUTORIAL = ROOT / "docs/tutorial.md"
SERVE = "mlflow models serve"
_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(*kinds: str) -> list[str]:
    """The fenced blocks of these kinds, in order."""
    return [text for kind, text in _FENCED.findall(TUTORIAL.read_text(encoding="utf-8")) if kind in kinds]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each shell block of the tutorial prints where the wheel is installed, by block."""
    wheel = build("wheel", tmp_path_factory.mktemp("wheel"))
    installed = Installed.of(wheel, tmp_path_factory.mktemp("installed"))
    folder = tmp_path_factory.mktemp("user")
    work = folder / "tutorial"
    work.mkdir()
    for text in blocks("python"):
        (work / text.splitlines()[0].removeprefix("# ")).write_text(text, encoding="utf-8")
    said: dict[str, str] = {}
    for script in commands_of(TUTORIAL):
        model = re.search(r"models:/m-[0-9a-f]+", "".join(said.values()))
        script = script.replace("models:/m-...", model[0] if model else "")
        script = script.replace("5002", str(free_port()))
        inside = folder if "tfgrpo problems" in script or "PATH=" in script else work
        said[script] = installed.run(script, inside)
    return said


@pytest.mark.slow
def test_the_commands_of_the_tutorial_do_what_it_says(output):
    text = "\n".join(output.values())
    for promised in (
        "question,answer,family",
        "Forecast of the whole run (simulated)",
        "models:/m-",
        "SIMULATED",
        "Gain",
        "paired over 24 questions: better",
        "G0 is in the library",
        "Check the unit that the question asks for.",
        "person",
    ):
        assert promised in text, promised


@pytest.mark.slow
def test_the_program_of_the_tutorial_is_used_and_served(output):
    used, served = (next(said for script, said in output.items() if word in script) for word in ("use.py", SERVE))
    assert used.startswith("308.75\n")
    assert "following [G" in used
    assert json.loads(served[served.index("{") :])["predictions"]["answer"] == "103"


def test_the_fragments_of_the_tutorial_name_what_there_is():
    for text in blocks("py"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                assert all(hasattr(import_module(node.module), alias.name) for alias in node.names)


def test_every_file_of_the_tutorial_says_its_name():
    assert [text.splitlines()[0] for text in blocks("python")] == ["# solver.py", "# use.py"]


def test_the_notebook_holds_what_its_code_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "docs/tutorial.ipynb").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        with redirect_stdout(io.StringIO()) as printed:
            exec("".join(cell["source"]), names)
        assert {output["output_type"] for output in cell["outputs"]} <= {"stream"}, "no error, no warning"
        assert printed.getvalue() == "".join(line for output in cell["outputs"] for line in output["text"])


def test_the_notebook_says_that_it_is_simulated_and_names_no_place():
    text = (ROOT / "docs/tutorial.ipynb").read_text(encoding="utf-8")
    assert "Every number below is\\n" in text
    assert "**simulated**" in text
    assert not re.search(r"/(home|root|tmp|work|Users|usr)\b|://", text)
