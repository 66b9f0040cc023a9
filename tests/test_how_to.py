"""Every Python snippet of the pages for users runs as it stands, one page after the other, on the embedded LM."""

from __future__ import annotations

import re
import subprocess
import sys

import dspy
import pytest

from tests.installed import ROOT
from tfgrpo_dspy.simulated import simulated_lm

PAGES = ("index.md", "how-to.md")
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
