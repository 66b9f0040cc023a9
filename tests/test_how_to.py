"""Every Python snippet of the pages for users runs as it stands, one page after the other, on the embedded LM."""

from __future__ import annotations

import re
import subprocess
import sys

import dspy
import pytest

from tests.installed import ROOT
from tfgrpo_dspy import library_of
from tfgrpo_dspy.simulated import simulated_lm

PAGES = ("index.md", "how-to.md", "libraries.md", "runs.md")
_SECTION = re.compile(r"^## (.*)$", re.MULTILINE)
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets():
    """Page, section and snippet, in order."""
    for page in PAGES:
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        parts = _SECTION.split(text)
        for title, body in [("", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]:
            for number, snippet in enumerate(_PYTHON.findall(body)):
                yield pytest.param(snippet, id=f"{page} {title} {number}")


@pytest.mark.parametrize("snippet", list(snippets()))
def test_a_snippet_runs_as_it_stands(snippet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dspy, "configure", lambda **_: None)
    with dspy.context(lm=simulated_lm(seed=0)):
        exec(compile(snippet, "snippet", "exec"), {"__name__": "snippet"})


FRAMEWORKS = {"LangChain": "langchain_core", "pydantic-ai": "pydantic_ai", "OpenAI Agents SDK": "agents"}
"""Section of the page on other frameworks to the package that its snippet needs."""


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_agent_of_another_framework_learns_as_the_page_on_it_says(framework, tmp_path, monkeypatch):
    pytest.importorskip(FRAMEWORKS[framework], reason=f"{framework} is not installed: pip install 'tfgrpo-dspy[dev]'")
    monkeypatch.chdir(tmp_path)
    parts = re.split(r"^##+ (.*)$", (ROOT / "docs/other-frameworks.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    names = {"__name__": "snippet"}
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        if title == framework or title not in FRAMEWORKS:
            for snippet in _PYTHON.findall(body):
                exec(compile(snippet, title, "exec"), names)
    assert len(names["better"].experience_library) > 0
    assert len(library_of(names["again"])) == len(names["better"].experience_library)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "metric" in (tmp_path / "site/reference/index.html").read_text(encoding="utf-8")


def test_every_page_of_the_site_is_there_and_every_page_is_in_the_site():
    import yaml

    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = {page for part in nav for pages in part.values() for page in pages}
    assert listed == {path.name for path in (ROOT / "docs").glob("*.md")}
