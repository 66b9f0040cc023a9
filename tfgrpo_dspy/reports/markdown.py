"""A story as Markdown: `report.md`, and the page that MLflow shows of a run."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tfgrpo_dspy.library.file import escape_markdown
from tfgrpo_dspy.looks.look import Table
from tfgrpo_dspy.records.wording import origin_text
from tfgrpo_dspy.reports.redaction import safe
from tfgrpo_dspy.reports.story import VERDICT, Block, Section, Story
from tfgrpo_dspy.text import one_line

SIMULATED_NOTE = (
    "**Simulated LM.** These answers come from a behavioural simulation: they show that the machinery works, "
    "never how good a real model would be."
)
_ROWS_SHOWN = 40


def render_report(story: Story) -> str:
    """A run in Markdown, without credentials."""
    head = [f"# {_text(story.title)}", *([SIMULATED_NOTE] if story.simulated else []), *map(_text, story.ending)]
    sections = (story.verdict, story.setting, *story.details)
    return safe("\n\n".join([*head, *map(render_section, sections)]) + "\n")


def render_section(section: Section) -> str:
    """One section, without a line break at its end."""
    return "\n\n".join([f"## {_text(section.title)}", *("\n".join(_lines(block)) for block in section.blocks)]).rstrip()


def with_gain(report: str, section: Section) -> str:
    """A report with that section of its gain, in place of the one it may have."""
    blocks = [b for b in re.split(r"(?m)^(?=## )", report) if not b.startswith(f"## {VERDICT}")]
    return safe(f"{blocks[0].rstrip()}\n\n{render_section(section)}\n\n{''.join(blocks[1:])}")


def _lines(block: Block) -> Iterator[str]:
    if isinstance(block, str):
        yield _text(block)
    elif isinstance(block, Table):
        cells = [[_text(cell).replace("|", r"\|") for cell in row] for row in block.rows[:_ROWS_SHOWN]]
        yield from (f"| {' | '.join(row)} |" for row in (block.columns, ["---"] * len(block.columns), *cells))
        if len(block.rows) > _ROWS_SHOWN:
            yield f"\nAnd {len(block.rows) - _ROWS_SHOWN} more."
    else:
        for experience in block.library:
            effect = block.effects.get(experience.id)
            told = [f"- **{experience.id}** {_text(experience.text)}", f"*{_text(origin_text(experience))}*"]
            yield "  \n  ".join([*told, *([f"effect {effect.to_text()}"] if effect else [])])


def _text(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return escape_markdown(one_line(text))
