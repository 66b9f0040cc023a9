"""A story as one self-contained HTML page: a template, its style and its script in one file, every text escaped."""

from __future__ import annotations

import re
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfgrpo_dspy.looks.look import Table
from tfgrpo_dspy.reports.page.curve import draw_curve
from tfgrpo_dspy.reports.page.groups import steps_of
from tfgrpo_dspy.reports.page.origins import entries_of
from tfgrpo_dspy.reports.redaction import safe
from tfgrpo_dspy.reports.story import CANDIDATES, OVERRULED, Entries, Section, Story
from tfgrpo_dspy.text import visible

if TYPE_CHECKING:
    from jinja2 import Template

_HERE = Path(__file__).parent
_VERDICT = re.compile(r"(<!-- verdict -->).*?(<!-- /verdict -->)", re.DOTALL)


def render_page(story: Story) -> str:
    """A run as an HTML page, without credentials."""
    result = story.result
    fates = [each for each in story.details if each.title in (CANDIDATES, OVERRULED)]
    library = [each for each in story.details if any(isinstance(block, Entries) for block in each.blocks)]
    others = [each for each in story.details if each not in (*fates, *library)]  # the page tells more of the library
    html = _template("page.html").render(
        story=story,
        verdict=_shown(story.verdict),
        setting=_shown(story.setting),
        sections=[_shown(each) for each in others],
        curve=draw_curve(result),
        entries=entries_of(result),
        fates=[_shown(each) for each in fates],
        steps=steps_of(result),
        style=(_HERE / "page.css").read_text(encoding="utf-8"),
        script=(_HERE / "page.js").read_text(encoding="utf-8"),
    )
    return safe(html)


def with_verdict(page: str, section: Section) -> str:
    """A page with that section of its gain in place of the one that it has."""
    new = _template("verdict.html").render(verdict=_shown(section))
    return _VERDICT.sub(lambda match: f"{match[1]}\n{safe(new)}\n{match[2]}", page)


def _shown(section: Section) -> dict[str, Any]:
    """A section for the template; each block is a table or a paragraph."""
    tables = [asdict(block) if isinstance(block, Table) else {"text": block} for block in section.blocks]
    return {"title": section.title, "blocks": tables}


@cache
def _template(name: str) -> Template:
    import jinja2  # only a page needs it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.finalize = lambda value: visible(value) if type(value) is str else value
    return environment.get_template(name)
