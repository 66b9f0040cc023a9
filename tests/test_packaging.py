"""What is installed with the package, and what the package says of itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
OURS = ("tfgrpo_dspy", "programs", "optimizers", "evals")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    """Every distribution that the project asks for, in an extra or without."""
    asked = [*PROJECT["dependencies"], *(line for lines in PROJECT["optional-dependencies"].values() for line in lines)]
    return {canonical(re.match(r"[\w.-]+", line)[0]) for line in asked}


def imported(path: Path) -> Iterator[str]:
    """Top names of the packages that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", OURS)
def test_whatever_is_imported_is_asked_for(package):
    installed = packages_distributions()
    names = {name for path in (ROOT / package).rglob("*.py") for name in imported(path)}
    for name in names - set(sys.stdlib_module_names) - set(OURS):
        asked = {canonical(distribution) for distribution in installed.get(name, [name])}
        assert asked & declared(), f"{name} is imported and comes along by chance: name it in pyproject.toml"


def test_the_versions_of_python_are_those_that_may_be_used():
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if line.startswith("Programming Language ::")]
    assert PROJECT["requires-python"] == ">=3.11"
    assert named == ["3", "3.11", "3.12", "3.13"]


def test_who_cites_it_cites_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["version"], cited["license"]) == (PROJECT["version"], PROJECT["license"])
    assert cited["references"][0]["url"] == PROJECT["urls"]["Paper"]


@pytest.mark.parametrize("needed", [*PROJECT["dependencies"], *(one for several in EXTRAS.values() for one in several)])
def test_whatever_is_asked_for_has_a_version_from_which_it_is_known_to_work(needed):
    assert re.match(r"tfgrpo-dspy\[|pydantic-core|types-PyYAML|[\w.-]+(\[\w+\])?>=\d", needed), needed


RELEASE = ROOT / ".github" / "workflows" / "release.yml"


def test_a_release_is_tested_built_tried_and_published_without_any_secret():
    text = RELEASE.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    jobs = workflow["jobs"]
    ran = [step.get("run", step.get("uses", "")) for step in jobs["build"]["steps"]]
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML takes `on` for a truth value
    assert "secrets" not in text
    assert (jobs["publish"]["needs"], jobs["publish"]["permissions"]) == ("build", {"id-token": "write"})
    assert "id-token" not in jobs["build"]["permissions"]
    order = [
        next(at for at, run in enumerate(ran) if part in run) for part in (".ci/run", "twine check", "fresh", "upload")
    ]
    assert order == sorted(order)


@pytest.mark.parametrize(("tag", "passes"), [(f"v{PROJECT['version']}", True), ("v9.9.9", False)])
def test_only_a_tag_of_the_version_is_released(tag, passes):
    steps = yaml.safe_load(RELEASE.read_text(encoding="utf-8"))["jobs"]["build"]["steps"]
    check = next(step["run"] for step in steps if step.get("name") == "The tag is the version")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    env = {"GITHUB_REF_NAME": tag, "PATH": path}
    done = subprocess.run(["bash", "-e", "-c", check], cwd=ROOT, env=env, check=False)
    assert (done.returncode == 0) == passes
