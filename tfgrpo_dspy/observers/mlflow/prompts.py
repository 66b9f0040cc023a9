"""Libraries as versions of a prompt in MLflow's Prompt Registry, where two versions can be compared line by line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tfgrpo_dspy.library.file import to_text
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.observers.mlflow.database import quiet
from tfgrpo_dspy.records.result import StepRecord, operations_text

if TYPE_CHECKING:
    from tfgrpo_dspy.observers.mlflow.store import RunStore

BEST = "best"
"""The alias of the version with the highest score of those that runs returned, or of the last one."""
SCORE, SCORED_ON = "score", "scored_on"
"""Tags: mean reward on the validation examples, and which these are."""
_KEY_TAG = "mlflow.tfgrpo.key"  # the UI hides tags of this prefix
_LINKED_TAG = "mlflow.linkedPrompts"
_EXPERIMENTS_TAG = "_mlflow_experiment_ids"  # which experiments' pages list the prompt
_ROOM = 95_000  # MLflow refuses a prompt of more than 100 000 characters
_LINKS = 50  # a tag holds 8000 characters


@dataclass(frozen=True, slots=True)
class LibraryVersion:
    """A library as it enters the registry."""

    prompt: str
    """Name of the prompt; see `prompt_name`."""
    moment: str
    """Which one of its run: `epoch_02`, `returned`. Unique within a run, so that a repeated write adds nothing."""
    template: str
    message: str
    is_returned: bool = False
    """Whether it may be what the alias `best` stands for."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Shown as its metadata: run, seed, score."""


def prompt_name(*parts: str) -> str:
    """A name that the registry takes: letters, digits, dots, hyphens and underscores."""
    return "-".join(re.sub(r"[^A-Za-z0-9_.]+", "-", part).strip("-") for part in parts if part) or "library"


def template_of(library: ExperienceLibrary) -> str:
    """One item per experience, so that it reads well as text, as Markdown and in a diff.

    Double braces are set apart, as they would be variables there.
    """
    text = "\n".join(f"- {line}" for line in to_text(library).splitlines()) or "(no experience)"
    while "{{" in text or "}}" in text:
        text = text.replace("{{", "{ {").replace("}}", "} }")
    lines, room = text.split("\n"), _ROOM
    kept = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    left_out = len(lines) - len(kept)
    return "\n".join([*kept, f"({left_out} more experiences: see the run's artifacts)"] if left_out else kept)


def message_of(epoch: int, records: Sequence[StepRecord]) -> str:
    """The commit message of an epoch: its steps, and what they did to the library."""
    did = operations_text(*records) or "no operation"
    steps = [record.step for record in records]
    when = f"step {steps[0]}" if len(steps) == 1 else f"steps {min(steps)} to {max(steps)}" if steps else "no step"
    return f"epoch {epoch}, {when}: {did}"


def put_version(store: RunStore, version: LibraryVersion) -> None:
    """Register a version and link it to the run; one that this run has registered already is not made again."""
    client, run_id = store.client, store.run_id
    key = f"{run_id}/{version.moment}"
    made = _find(client, version.prompt, key)
    if made is None:
        tags = {_KEY_TAG: key, _EXPERIMENTS_TAG: f",{store.experiment_id},", **version.facts}
        with quiet("mlflow.store.model_registry.abstract_store"):  # it says for how long it would wait
            made = client.register_prompt(version.prompt, version.template, version.message, tags)
    _link(store, version.prompt, str(made.version))
    if version.is_returned and not _is_worse(client, version):
        client.set_prompt_alias(version.prompt, BEST, int(made.version))


def _is_worse(client: Any, version: LibraryVersion) -> bool:
    """Whether the version that is called the best now scored higher on the same examples."""
    from mlflow.exceptions import MlflowException

    if SCORE not in version.facts:
        return False
    try:
        there = client.get_prompt_version_by_alias(version.prompt, BEST).tags
    except MlflowException:  # no version has been returned yet
        return False
    same = there.get(SCORED_ON) == version.facts.get(SCORED_ON)
    return same and SCORE in there and float(there[SCORE]) > float(version.facts[SCORE])


def _find(client: Any, prompt: str, key: str) -> Any:
    """The version of that key; None if there is none."""
    if not client.search_prompts(filter_string=f"name = '{prompt}'"):
        return None
    found = client.search_prompt_versions(prompt, max_results=1000)
    return next((version for version in found if version.tags.get(_KEY_TAG) == key), None)


def _link(store: RunStore, prompt: str, version: str) -> None:
    # As `MlflowClient.link_prompt_version_to_run` would, which looks for the run in the process's own store instead
    # of the client's.
    entry = {"name": prompt, "version": version}
    linked = json.loads(store.client.get_run(store.run_id).data.tags.get(_LINKED_TAG, "[]"))
    if entry not in linked:
        store.put_tags({_LINKED_TAG: json.dumps([*linked, entry][-_LINKS:])})
