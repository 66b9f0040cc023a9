"""The layout of DESIGN.md section 3, as claims about imports."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "tfgrpo_dspy"
MAY_IMPORT = {
    "tfgrpo_dspy": set(),
    "programs": {"tfgrpo_dspy"},
    "optimizers": {"tfgrpo_dspy", "programs"},
    "evals": {"tfgrpo_dspy", "programs", "optimizers"},
}
CORE = {
    "application",
    "combining",
    "commits",
    "credit",
    "crediting",
    "effects_file",
    "entry",
    "errors",
    "estimates",
    "experience",
    "formats",
    "history",
    "history_file",
    "library_checks",
    "library_file",
    "operations",
    "pruning",
    "rendering",
    "similarity",
}
HEAVY = {"datasets", "litellm", "matplotlib", "mlflow", "pandas", "scipy", "starlette", "typer", "uvicorn"}


def modules_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def nodes_of(tree: ast.AST, *, at_import: bool) -> Iterator[ast.AST]:
    """All nodes below; `at_import` leaves out what an import of the module does not run."""
    for node in ast.iter_child_nodes(tree):
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_for_type_checkers(node)
        if not (at_import and later):
            yield node
            yield from nodes_of(node, at_import=at_import)


def imports_of(path: Path, *, at_import: bool = False) -> set[str]:
    """Dotted names that a module imports: `a.b` and `a.b.c` for `from a.b import c`, relative ones made absolute."""
    package = path.relative_to(ROOT).parent.parts
    names: set[str] = set()
    for node in nodes_of(ast.parse(path.read_text(encoding="utf-8")), at_import=at_import):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def packages_in(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def parts_in(names: set[str]) -> set[str]:
    """Modules and subpackages of the library among dotted names, by the word after `tfgrpo_dspy.`."""
    known = {path.stem for path in LIBRARY.iterdir() if path.suffix == ".py" or path.is_dir()}
    return {name.split(".")[1] for name in names if name.startswith("tfgrpo_dspy.")} & known


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package):
    for path in modules_of(ROOT / package):
        ours = packages_in(imports_of(path)) & {*MAY_IMPORT, "tests"}
        assert ours <= MAY_IMPORT[package] | {package}, label(path)


@pytest.mark.parametrize("module", sorted(CORE))
def test_the_core_is_pure(module):
    imported = imports_of(LIBRARY / f"{module}.py", at_import=True)
    assert not packages_in(imported) & {"dspy", *HEAVY}
    assert parts_in(imported) <= CORE, "the core knows only the core"


@pytest.mark.parametrize("path", modules_of(LIBRARY), ids=label)
def test_only_the_observers_know_mlflow(path):
    if LIBRARY / "observers" not in path.parents and path.stem != "mlflow_prompts":  # which is a class of MLflow's
        assert "mlflow" not in packages_in(imports_of(path))


@pytest.mark.parametrize("path", modules_of(LIBRARY), ids=label)
def test_nothing_is_printed_by_the_library(path):
    calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


def test_observers_listen_and_never_steer():
    for path in modules_of(LIBRARY / "observers"):
        steering = {"optimisation", "reflection", "run", "teleprompter", "workers"}
        assert not parts_in(imports_of(path)) & steering, label(path)


def test_the_simulated_lm_knows_neither_the_optimizer_nor_its_prompts():
    for path in modules_of(LIBRARY / "simulated"):
        assert parts_in(imports_of(path)) <= {"errors", "simulated"}, label(path)


def test_modules_of_the_library_form_no_import_cycle():
    graph = {}
    for path in modules_of(LIBRARY):
        imported = imports_of(path, at_import=True)
        graph[module_name(path)] = {other for other in map(module_name, modules_of(LIBRARY)) if other in imported}
    graph.pop("tfgrpo_dspy")  # `__init__` gathers the public names; importing a name from it would be the cycle
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


REPORT = """
import json, logging, random, sys, threading
state = random.getstate()
import tfgrpo_dspy
print(json.dumps({
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    "handlers": [str(h) for h in logging.getLogger("tfgrpo_dspy").handlers],
    "threads": threading.active_count(),
    "seeded": random.getstate() != state,
}))
"""


def test_importing_the_library_does_nothing(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
    del environment["DSPY_CACHEDIR"]
    done = subprocess.run(
        [sys.executable, "-W", "error:::tfgrpo_dspy", "-c", REPORT],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert not set(seen["modules"]) & HEAVY
    assert (seen["handlers"], seen["threads"], seen["seeded"]) == ([], 1, False)
    assert list(tmp_path.rglob("*")) == [home]
