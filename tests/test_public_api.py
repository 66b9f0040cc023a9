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

import tfgrpo_dspy

ROOT = Path(__file__).parents[1]
PUBLIC = [
    "Add",
    "Applied",
    "BM25",
    "Budget",
    "BudgetError",
    "Change",
    "Circumstances",
    "Combined",
    "Commit",
    "Comparison",
    "CompileResult",
    "DataError",
    "Decision",
    "Delete",
    "Difference",
    "Effect",
    "Embedding",
    "Estimate",
    "Evaluation",
    "Event",
    "Experience",
    "ExperienceLibrary",
    "Failure",
    "Gain",
    "Group",
    "GroupMetric",
    "History",
    "HistoryError",
    "Holdout",
    "Judge",
    "Keep",
    "LeftOut",
    "LibraryFormatError",
    "Limits",
    "Lost",
    "MajorityVote",
    "MetricError",
    "MissingExtraError",
    "Modify",
    "Observer",
    "Operation",
    "Pluggable",
    "ProgramError",
    "Proposal",
    "Provenance",
    "Refusal",
    "Retrieving",
    "ReviewStop",
    "Rollout",
    "RunStopped",
    "Scored",
    "Screen",
    "SelfDiscrimination",
    "Settings",
    "SettingsError",
    "Source",
    "StepRecord",
    "TFGRPOError",
    "Tokenizer",
    "TooManyErrors",
    "Traffic",
    "TrainingFreeGRPO",
    "Usage",
    "attach",
    "blame",
    "combine",
    "compare",
    "detach",
    "diff",
    "evaluate",
    "history_of",
    "library_of",
    "load_history",
    "read_library",
    "rollback",
    "use_library",
    "with_libraries",
    "write_library",
]
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


def test_the_public_names_are_these():
    assert sorted(tfgrpo_dspy.__all__) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_exists_and_is_documented(name):
    thing = getattr(tfgrpo_dspy, name)
    if inspect.isclass(thing) or inspect.isfunction(thing):  # the rest are names for types
        assert (thing.__doc__ or "").strip(), name
        assert not thing.__doc__.startswith(f"{name}("), "a dataclass's generated signature is no documentation"


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


def test_the_readme_imports_only_public_names():
    code = blocks_of_readme("python")
    compile(code, "README.md", "exec")
    imported = re.findall(r"^from tfgrpo_dspy import (.+)$", code, re.MULTILINE)
    assert imported
    assert {name.strip() for names in imported for name in names.split(",")} <= set(tfgrpo_dspy.__all__)


def test_the_readme_names_only_targets_and_files_that_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b", blocks_of_readme("sh"))) <= targets
    for link in re.findall(r"\]\((?!\w+:)([^)#]+)", readme):
        assert (ROOT / link).exists(), link
