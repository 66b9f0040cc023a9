"""What users can rely on: the public names, their documentation, and files that are the same on every machine."""

from __future__ import annotations

import doctest
import inspect
import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IN_THE_WHEEL = ("tfgrpo_dspy.programs", "tfgrpo_dspy.optimizers", "tfgrpo_dspy.evals")
"""Folders of the clone, and their names where the wheel is installed."""
API = ROOT / "docs" / "api.md"
PAGES = sorted(
    path for pattern in ("*.md", "docs/*.md", "docs/*.ipynb", "benchmarks/*.md") for path in ROOT.glob(pattern)
)
IGNORED_WITHOUT_GIT = {".git", ".hypothesis", ".venv", "build", "dist", "htmlcov", "mlruns", "out"}
# Brackets around a character keep the patterns from finding themselves.
FOREIGN = re.compile(
    r"(?<![\w.-])/(?:[r]oot|[h]ome|[U]sers)/\w"  # somebody's home
    r"|(?<![\w.-])/(?:[w]ork/(?:main|shared)|[o]pt/(?:wheels|pypi))"  # where this was once built
    r"|--(?:extra-)?[i]ndex-url|--[f]ind-links|[p]ythonhosted\.org|://[\w.-]*[p]ypi"
)


def modules() -> list[str]:
    paths = (path.relative_to(ROOT).with_suffix("") for path in sorted((ROOT / "tfgrpo_dspy").rglob("*.py")))
    return [".".join(path.parts).removesuffix(".__init__") for path in paths if path.name != "__main__"]


def packages() -> list[Path]:
    return [path.parent for path in sorted((ROOT / "tfgrpo_dspy").rglob("__init__.py"))]


def files_of_the_repository() -> list[Path]:
    """What git would commit; in an unpacked archive, everything but what runs and builds leave behind."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        paths = [ROOT / name for name in listed.split("\0") if name]
    else:
        paths = [p for p in ROOT.rglob("*") if not {*p.relative_to(ROOT).parts} & IGNORED_WITHOUT_GIT]
        paths = [p for p in paths if not any(part.endswith("_cache") for part in p.parts) and p.suffix != ".pyc"]
    return [path for path in paths if path.is_file()]


def texts() -> dict[str, str]:
    found = {}
    for path in files_of_the_repository():
        try:
            found[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # not text
    return found


def blocks_of_readme(language: str) -> str:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", readme, re.MULTILINE | re.DOTALL))


def documented() -> dict[str, list[str]]:
    """Public names by their room, as docs/api.md lists them: in its headings, and in its lists between backticks."""
    _, *parts = re.split(r"^## ", API.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {part.partition("\n")[0]: re.findall(r"`(\w+)`", part.partition("\n- ")[2]) for part in parts}
    return {room: [name for name in names if name != "mlflow"] for room, names in found.items()}  # an extra's name


def rooms() -> dict[str, list[str]]:
    """Folders of the package that say which names of theirs are public."""
    made = {path: import_module(".".join(path.relative_to(ROOT).parts)) for path in packages()}
    return {module.__name__: list(module.__all__) for module in made.values() if hasattr(module, "__all__")}


def test_the_public_names_are_those_that_are_documented():
    assert {room: sorted(names) for room, names in documented().items()} == {
        room: sorted(names) for room, names in rooms().items()
    }


@pytest.mark.parametrize(("room", "name"), [(room, name) for room, names in documented().items() for name in names])
def test_each_public_name_exists_and_is_documented(room, name):
    thing = getattr(import_module(room), name)
    if inspect.isclass(thing) or inspect.isfunction(thing):  # the rest are constants, and names for types
        assert (thing.__doc__ or "").strip(), name
        assert not thing.__doc__.startswith(f"{name}("), "a dataclass's generated signature is no documentation"


@pytest.mark.parametrize("room", documented())
def test_a_room_shows_its_public_names_and_loads_them_when_they_are_used(room):
    module = import_module(room)
    assert set(module.__all__) <= {*dir(module), "main"}
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018


@pytest.mark.parametrize("module", modules())
def test_examples_in_docstrings_hold(module):
    assert doctest.testmod(import_module(module)).failed == 0


@pytest.mark.parametrize("text", ["see /~root/x", "'/~home/me'", "--extra-~index-url", "https://~pypi.example/simple"])
def test_the_pattern_for_foreign_text_finds_it(text):
    assert FOREIGN.search(text.replace("~", ""))  # written so that this file does not hold what it looks for


def test_no_file_knows_a_machine_or_a_package_index():
    here = [str(ROOT)] if len(ROOT.parts) > 2 else []  # "/" and "/app" could stand anywhere
    found = [
        f"{name}: {match}"
        for name, text in texts().items()
        for match in [*FOREIGN.findall(text), *(path for path in here if path in text)]
    ]
    assert found == []


def test_the_readme_compiles():
    compile(blocks_of_readme("python"), "README.md", "exec")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_import_only_public_names(path):
    text = path.read_text(encoding="utf-8").replace("\\n", "\n").replace('\\"', '"')  # a notebook is JSON
    for room, names in re.findall(r"\bfrom (tfgrpo_dspy[\w.]*) import ([\w, ]+)", text):
        if room.startswith(IN_THE_WHEEL):
            module = import_module(room.removeprefix("tfgrpo_dspy."))
            assert all(hasattr(module, name.strip()) for name in names.split(",")), f"{room}: {names}"
            continue
        assert {name.strip() for name in names.split(",")} <= set(documented().get(room, ())), f"{room}: {names}"
    for dotted in re.findall(r"`(tfgrpo_dspy\.[\w.]+)[`(]", text):
        room, _, name = dotted.rpartition(".")
        assert dotted in documented() or name in documented().get(room, ()), dotted


def test_the_readme_is_read_to_its_end():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


def test_the_readme_names_only_targets_and_files_that_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b", blocks_of_readme("sh"))) <= targets
    for link in re.findall(r"\]\((?!\w+:)([^)#]+)", readme):
        assert (ROOT / link).exists(), link
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md", "reference.md"}  # which gather others
    assert {name for name in pages if f"](docs/{name})" in readme} == pages
