"""Writes docs/options.md from the declarations of the settings: `python -m tests.options_page`."""

from __future__ import annotations

from pathlib import Path

from tfgrpo_dspy.declaration import GROUPS, Setting, settings_of
from tfgrpo_dspy.run.setup import Setup
from tfgrpo_dspy.settings import WHOLES, Settings

PAGE = Path(__file__).parents[1] / "docs" / "options.md"
INTRODUCTION = """# Options

Every keyword of `TrainingFreeGRPO(metric, ...)`, by group. This page is made from the declarations in
`tfgrpo_dspy/settings.py` and `tfgrpo_dspy/run/setup.py` by `python -m tests.options_page`, and a test compares the two.

*From* says where the default comes from: the paper (its settings for mathematics), the authors' code, or us. A run is
taken up after a kill only with the same values of what is *part of its identity*; everything else may be changed.

On the command line (`tfgrpo compile --help-all`) `max_words=20` is `--max-words 20` or `--set max_words=20`, and `None`
is `none`; in a recipe it is `max_words: 20`, and `null`. Every run writes `recipe.yaml` into its folder, each setting
below its sentence: `tfgrpo compile --recipe out/recipe.yaml` makes the run again, and what is typed besides wins.
"""


def page() -> str:
    """The whole page."""
    known = settings_of(Settings, Setup).values()
    groups = [group for group in GROUPS if any(one.group == group for one in known)]
    return "\n".join([INTRODUCTION, wholes(), *(section(group, known) for group in groups)])


def wholes() -> str:
    """What each value of `auto` stands for."""
    rows = [
        f'| `auto="{name}"` | {", ".join(f"`{one}={value!r}`" for one, value in whole.items()) or "the paper"} |'
        for name, whole in WHOLES.items()
    ]
    return "\n".join(["| whole | what it sets |", "|---|---|", *rows, ""])


def section(group: str, settings) -> str:
    head = f"## {group.capitalize()}\n\n{GROUPS[group][:1].upper()}{GROUPS[group][1:]}.\n"
    rows = [row(one) for one in settings if one.group == group]
    return "\n".join([head, "| setting | must be | default | from | what it is |", "|---|---|---|---|---|", *rows, ""])


def row(one: Setting) -> str:
    cells = (f"`{one.name}`", one.expected, f"`{one.default_text}`", one.source, one.sentence)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
