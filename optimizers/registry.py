"""The line-up for ablations: a name stands for a teleprompter, and all run through the same `compile` call."""

from __future__ import annotations

import inspect
import re
from functools import partial

from dspy.teleprompt import Teleprompter

from optimizers.chains import ARROW, chain
from optimizers.line_up import ENTRIES, Entry, group_size
from optimizers.scaling import capped_at
from tfgrpo_dspy import SettingsError
from tfgrpo_dspy.kit import load_plugin, one_line, plugins
from tfgrpo_dspy.rewards import Metric

__all__ = ["LINE_UP", "Entry", "find_entry", "known_entry", "make_optimizer"]

_SINGLE = {entry.name: entry for entry in ENTRIES}


def find_entry(name: str) -> Entry:
    """The entry of that name, which may be parametrised (`tfgrpo-group-size-4`) or a chain (`a->b`).

    Raises:
        SettingsError: There is none of that name; the message lists them.
    """
    if ARROW in name:
        return _chain([find_entry(part.strip()) for part in name.split(ARROW)])
    if sized := re.fullmatch(r"tfgrpo-group-size-([1-9]\d*)", name):
        return group_size(int(sized[1]))
    if name in _SINGLE:
        return _SINGLE[name]
    brought = plugins("optimizers")
    if name in brought:
        return _brought(name)
    raise SettingsError(
        f"there is no optimizer {name!r}; the line-up is: {', '.join([*_SINGLE, *brought])}, tfgrpo-group-size-N, "
        f"and chains such as tfgrpo{ARROW}bootstrap-fewshot"
    )


def known_entry(name: str) -> Entry | None:
    """The entry of that name; None if there is none, as for an optimizer that a recipe brings."""
    try:
        return find_entry(name)
    except SettingsError:
        return None


def _brought(name: str) -> Entry:
    """The entry of an optimizer that another distribution brings: a function of metric, seed and calls."""
    make = load_plugin("optimizers", name)
    if not callable(make):
        raise SettingsError(
            f"{name!r}, an optimizer of another distribution, is of type {type(make).__name__}; it must be a function "
            "of metric, seed and calls that returns a teleprompter"
        )
    described = (inspect.getdoc(make) or "An optimizer of another distribution.").partition("\n\n")[0]
    return Entry(name=name, description=one_line(described), family="plug-in", make=partial(capped_at, make))


def _chain(parts: list[Entry]) -> Entry:
    return Entry(
        name=ARROW.join(part.name for part in parts),
        description=f"{', then '.join(part.name for part in parts)}. "
        "Budget: a tenth for a part that takes few calls, the rest shared out equally.",
        family="chain",
        make=partial(chain, [(part.make, part.spends) for part in parts]),
        needs_extra=next((part.needs_extra for part in parts if part.needs_extra), None),
        at_inference=any(part.at_inference for part in parts),
    )


_CHAINS = (f"tfgrpo{ARROW}bootstrap-fewshot", f"bootstrap-fewshot{ARROW}tfgrpo")
LINE_UP: dict[str, Entry] = _SINGLE | {name: find_entry(name) for name in _CHAINS}
"""Name to entry, in the order of a table; those that other distributions bring are found by `find_entry`."""


def make_optimizer(name: str, metric: Metric, seed: int = 0, *, calls: int | None = None) -> Teleprompter:
    """The optimizer of that name, ready to `compile(student, trainset=..., valset=...)`.

    Args:
        name: As `find_entry` takes it.
        metric: Higher is better; rivals of DSPy take 1 for right.
        seed: Draws rollouts, batches and examples, as far as the optimizer can be told.
        calls: LM calls that compile may take, counted at the endpoint: entries scale their settings to it as well as
            these permit, and none exceeds it. None for each one's own defaults.

    Raises:
        SettingsError: There is none of that name; the message lists them.
        MissingExtraError: It needs a package that is not installed.
    """
    return find_entry(name).make(metric, seed, calls)
