"""The rollouts that a run's store holds, for reading: no LM is asked, and nothing is written."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from tfgrpo_dspy.records.rollouts import Made, Rollout, Unscored, example_of, group_of, step_of
from tfgrpo_dspy.runtime.stored import reading

_NAME = re.compile(r"(?P<purpose>.*): (?P<rollout>s\d+/e\d+/r\d+) [0-9a-f]+(?P<scored> [0-9a-f]+ scored)?")
_ROLLOUT_NAME = re.compile(r"s\d+/e\d+/r\d+")


class Recorded(NamedTuple):
    """A rollout as a run's store holds it."""

    purpose: str
    """What it was made for, with the run's seed: `training seed 0`, `validation seed 0`, ..."""
    rollout: Rollout | Unscored
    """Unscored only if its group never got its rewards."""

    @property
    def name(self) -> str:
        """`s1/e12/r0`: step, example, index in its group."""
        return self.rollout.name

    @property
    def group(self) -> str:
        """`s1/e12`."""
        return group_of(self.name)

    @property
    def example(self) -> str:
        """`e12`."""
        return example_of(self.name)

    @property
    def step(self) -> int:
        """From 1; 0 for what was made before the first."""
        return step_of(self.name)


def recorded_rollouts(
    folder: str | os.PathLike[str], groups: Sequence[str] = (), *, purpose: str = "training"
) -> list[Recorded]:
    """The rollouts of a run, by step, example and index. A run may be going on meanwhile.

    Args:
        folder: The run's folder, or its store's.
        groups: Names of the groups to read (`s1/e12`); empty for all.
        purpose: What they were made for, or how that begins: `training`, `validation`, `gate`, ...; if a name was used
            twice, the later one counts.

    Raises:
        DataError: There is no store.
        StoreError: It cannot be read.
    """
    with reading(folder) as stored:
        found = {
            named["rollout"]: (named["purpose"], name, named["scored"])
            for name in stored.names()
            if (named := _NAME.fullmatch(name)) is not None
            and named["purpose"].startswith(purpose)
            and (not groups or group_of(named["rollout"]) in groups)
        }
        return [
            Recorded(what, stored.result(name, Rollout if scored else Made))
            for what, name, scored in (found[rollout] for rollout in sorted(found, key=_order))
        ]


def other_purposes(folder: str | os.PathLike[str]) -> dict[str, int]:
    """What the rollouts of a run were made for, with how many there are."""
    counts: dict[str, int] = {}
    with reading(folder) as stored:
        for name in stored.names():
            if (found := _NAME.fullmatch(name)) is not None and not found["scored"]:
                what = found["purpose"].partition(" seed ")[0]
                counts[what] = counts.get(what, 0) + 1
    return counts


def is_rollout_name(name: str) -> bool:
    """Whether it has the form `s1/e12/r0`."""
    return _ROLLOUT_NAME.fullmatch(name) is not None


def lms_of(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Role to names of the LMs of a run; empty where its store does not say."""
    with reading(folder) as stored:
        named = stored.facts.get("identity", {}).get("lms", {})
    return {role: ", ".join(map(str, names)) for role, names in named.items()}


def _order(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", name))
