"""The line-up for ablations: a name stands for a teleprompter, and all run through the same `compile` call."""

from __future__ import annotations

import re
from functools import partial

from dspy.teleprompt import Teleprompter

from optimizers.chains import ARROW, chain
from optimizers.line_up import ENTRIES, Entry, group_size
from tfgrpo_dspy import SettingsError
from tfgrpo_dspy.rewards import Metric

__all__ = ["LINE_UP", "Entry", "find_entry", "make_optimizer"]

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
    if name not in _SINGLE:
        raise SettingsError(
            f"there is no optimizer {name!r}; the line-up is: {', '.join(_SINGLE)}, tfgrpo-group-size-N, "
            f"and chains such as tfgrpo{ARROW}bootstrap-fewshot"
        )
    return _SINGLE[name]


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
"""Name to entry, in the order of a table."""


def make_optimizer(name: str, metric: Metric, seed: int = 0, *, calls: int | None = None) -> Teleprompter:
    """The optimizer of that name, ready to `compile(student, trainset=..., valset=...)`.

    Args:
        name: As `find_entry` takes it.
        metric: Higher is better; rivals of DSPy take 1 for right.
        seed: Draws rollouts, batches and examples, as far as the optimizer can be told.
        calls: LM calls that compile may take. Entries scale their settings to it as well as these permit, and `tfgrpo`
            and its ablations never exceed it; the others may by a few percent. None for each one's own defaults.

    Raises:
        SettingsError: There is none of that name; the message lists them.
        MissingExtraError: It needs a package that is not installed.
    """
    return find_entry(name).make(metric, seed, calls)
