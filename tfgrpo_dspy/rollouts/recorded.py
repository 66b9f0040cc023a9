"""The rollouts that a run's journal holds, for reading: no LM is asked, and nothing is written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tfgrpo_dspy.errors import DataError
from tfgrpo_dspy.records.rollouts import Made, Rollout, Unscored
from tfgrpo_dspy.rollouts.group_scoring import Verdict, settled

_NAME = re.compile(r"(?P<purpose>.*): (?P<rollout>s\d+/e\d+/r\d+) [0-9a-f]+")
_VERDICT = re.compile(r"(?P<purpose>.*): (?P<group>s\d+/e\d+) [0-9a-f]+ [0-9a-f]+ rewards")
_ROLLOUT_NAME = re.compile(r"s\d+/e\d+/r\d+")


class Recorded(NamedTuple):
    """A rollout as a run's journal holds it."""

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
        return self.name.rpartition("/")[0]

    @property
    def example(self) -> str:
        """`e12`."""
        return self.name.split("/")[1]

    @property
    def step(self) -> int:
        """From 1; 0 for what was made before the first."""
        return int(self.name.split("/")[0][1:])


def journal_in(folder: str | os.PathLike[str]) -> Path:
    """The journal of a run, by the run's folder or by the journal's own.

    Raises:
        DataError: There is none.
    """
    places = [Path(folder) / "log" / "journal.jsonl", Path(folder) / "journal.jsonl"]
    for place in places:
        if place.is_file():
            return place
    raise DataError(
        f"there is no journal of a run in {folder}; name the --out folder of tfgrpo compile, or its --log-dir"
    )


def recorded_rollouts(
    folder: str | os.PathLike[str], groups: Sequence[str] = (), *, purpose: str = "training"
) -> list[Recorded]:
    """The rollouts of a run, by step, example and index. A run may be going on meanwhile.

    Args:
        folder: The run's folder, or its journal's.
        groups: Names of the groups to read (`s1/e12`); empty for all.
        purpose: What they were made for, or how that begins: `training`, `validation`, `gate`, ...; if a name was used
            twice, the later one counts.

    Raises:
        DataError: There is no journal.
        OSError: It cannot be read.
    """
    made: dict[str, Made] = {}
    purposes: dict[str, str] = {}
    verdicts: dict[str, Verdict] = {}
    for name, value in _values(journal_in(folder), purpose, groups):
        if (found := _NAME.fullmatch(name)) is not None:
            made[found["rollout"]] = _adapter(Made).validate_python(value)
            purposes[found["rollout"]] = found["purpose"]
        elif (found := _VERDICT.fullmatch(name)) is not None:
            verdicts[found["group"]] = _adapter(Verdict).validate_python(value)
    ordered = sorted(made, key=_order)
    waiting = {name: list[str]() for name in verdicts}
    for name in ordered:
        if isinstance(made[name], Unscored):
            waiting.setdefault(_group_of(name), []).append(name)
    return [Recorded(purposes[name], _with_reward(made[name], waiting, verdicts)) for name in ordered]


def other_purposes(folder: str | os.PathLike[str]) -> dict[str, int]:
    """What the rollouts of a run were made for, with how many there are."""
    counts: dict[str, int] = {}
    with journal_in(folder).open("rb") as lines:
        for line in lines:
            if (found := _NAME.fullmatch(_name_of(line))) is not None:
                what = found["purpose"].partition(" seed ")[0]
                counts[what] = counts.get(what, 0) + 1
    return counts


def is_rollout_name(name: str) -> bool:
    """Whether it has the form `s1/e12/r0`."""
    return _ROLLOUT_NAME.fullmatch(name) is not None


def lms_of(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Role to names of the LMs of a run; empty where its journal does not say."""
    with suppress(ValueError, KeyError, TypeError, AttributeError, OSError):
        document = json.loads(journal_in(folder).with_name("run.json").read_text(encoding="utf-8"))
        return {role: ", ".join(map(str, names)) for role, names in document["identity"]["lms"].items()}
    return {}


def _with_reward(made: Made, waiting: dict[str, list[str]], verdicts: dict[str, Verdict]) -> Rollout | Unscored:
    verdict = verdicts.get(_group_of(made.name))
    if not isinstance(made, Unscored) or verdict is None:
        return made
    position = waiting[_group_of(made.name)].index(made.name)
    known = verdict.lost is not None or position < len(verdict.rewards)
    return settled(made, verdict, position) if known else made


def _group_of(name: str) -> str:
    return name.rpartition("/")[0]


def _order(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", name))


def _values(path: Path, purpose: str, groups: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Names and values of the lines asked for; others are not parsed, as a journal may be large."""
    with path.open("rb") as lines:
        for line in lines:
            name = _name_of(line)
            what, _, rest = name.partition(": ")
            wanted = not groups or any(rest.startswith((f"{group}/", f"{group} ")) for group in groups)
            if what.startswith(purpose) and wanted:
                with suppress(ValueError):  # the last line of a run that goes on, or was killed, may be torn
                    yield name, json.loads(line)["value"]


def _name_of(line: bytes) -> str:
    head = line.removeprefix(b'{"name": "').partition(b'", "value"')[0]
    return head.decode("utf-8", "replace") if len(head) < len(line) else ""


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
