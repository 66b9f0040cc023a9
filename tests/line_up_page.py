"""Writes docs/line-up.md from the registry and the modules of the entries: `python -m tests.line_up_page`."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path

from optimizers.line_up import Entry
from optimizers.registry import LINE_UP

PAGE = Path(__file__).parents[1] / "docs" / "line-up.md"
INTRODUCTION = """# The line-up

What `tfgrpo compare --optimizers a,b,c` can run, each at the same budget of LM calls: its own settings are fitted to
it. `a->b` chains two, `tfgrpo-group-size-N` sets a group size, and other distributions bring further ones
([extending](extending.md)). This page is made from the code by `python -m tests.line_up_page`, and a test compares the
two.

No default of Training-Free GRPO reaches another entry: a playbook's bullets, a cheatsheet and instructions may be as
long as their optimizer writes them. What an entry has in common with its source, and what is different, stands below
the table; DSPy's own are DSPy's, unchanged.
"""


def page() -> str:
    """The whole page."""
    rows = [f"| `{entry.name}` | {entry.family} | {entry.description} |" for entry in LINE_UP.values()]
    table = "\n".join(["| entry | family | what it learns from; what a budget sets |", "|---|---|---|", *rows])
    told = dict.fromkeys(source for entry in LINE_UP.values() if (source := _source(entry)))
    return "\n\n".join([INTRODUCTION.strip(), table, "## Sources and differences", *told]) + "\n"


def _source(entry: Entry) -> str:
    """What the module of an entry says of itself; nothing for chains and for what DSPy brings."""
    make = entry.make.func if isinstance(entry.make, partial) else entry.make
    module = inspect.getmodule(make)
    named = module.__name__.rpartition(".")[2]
    return "" if named in {"chains", "rivals", "line_up"} else f"### {named}\n\n{inspect.getdoc(module)}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
