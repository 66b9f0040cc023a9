"""What a person named on a command line, here, before: code and endpoints that a folder may name again.

The folder of a run names its program, its metric and its endpoint, and a folder may come from anywhere. A note that
lies in it proves nothing, so the notes are the user's own (`$XDG_STATE_HOME/tfgrpo/named`): a folder's word is taken
where the same was typed in the same directory, and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from tfgrpo_dspy.cli.options.taken import WORDS
from tfgrpo_dspy.cli.terminal import us
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.rewards.metrics import BUILT_IN

_ENDPOINT = ("lm", "api_base", "lm_option")
_NEEDED = ("metric", "inputs", "answer", *_ENDPOINT)


def note_named(said: Mapping[str, Any]) -> None:
    """Note the program, metric and endpoint that a command line named; where that cannot be written, nothing is."""
    with suppress(OSError):
        for _, what in _named(said):
            note(*what)


def note(*what: Any) -> None:
    """Note one thing that was named here.

    Raises:
        OSError: It cannot be written.
    """
    path = _note_of(what)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)


def was_named(*what: Any) -> bool:
    """Whether it was noted in this directory."""
    return _note_of(what).is_file()


def check_named(recipe: Mapping[str, Any], typed: Mapping[str, Any], of: Path) -> None:
    """Check that what a folder's recipe names, and is not typed now, was named here before.

    Raises:
        SettingsError: It was not; the message holds the command in which a person names it.
    """
    said = {name: value for name, value in typed.items() if name not in {"program", "devset"}}
    unknown = [what for name, what in _named(recipe) if name not in said and not was_named(*what)]
    if unknown:
        named = ", ".join(" ".join(str(word) for one in what[1:] for word in _listed(one)) for what in unknown)
        say = {**recipe, **said}
        options = [(f"--{name.replace('_', '-')}", str(v)) for name in _NEEDED for v in _listed(say.get(name))]
        command = [us(), "evaluate", say.get("program"), typed["devset"], *_listed(say.get(WORDS)), "--load", of]
        raise SettingsError(
            f"the folder of {of} names code or an endpoint that you have not named here before ({named}), so nothing "
            f"of it is run; if you trust it, name it yourself: {shlex.join(map(str, [*command, *chain(*options)]))}"
        )


def _named(said: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    """What of it runs code or is sent keys and data, by the setting that names it."""
    yield "program", ("program", said.get("program"), *_listed(said.get(WORDS)))
    metric = said.get("metric")
    if metric is not None and metric not in BUILT_IN:
        yield "metric", ("metric", metric)
    if said.get("api_base") or said.get("lm_option"):
        yield "lm", ("lm", *(said.get(name) for name in _ENDPOINT))


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _note_of(what: Sequence[Any]) -> Path:
    plain = json.dumps([str(Path.cwd().resolve()), *(_listed(value) for value in what)])
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "tfgrpo" / "named" / hashlib.blake2b(plain.encode(), digest_size=20).hexdigest()
