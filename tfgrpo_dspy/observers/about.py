"""What is recorded of a run before its first call, wherever it is recorded: its name, its parameters, no credential."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dspy

from tfgrpo_dspy.observers.mlflow.provenance import versions
from tfgrpo_dspy.reports.redaction import Redactor, credentials_of
from tfgrpo_dspy.text import counted, shorten

if TYPE_CHECKING:
    from tfgrpo_dspy.records.events import RunStarted


def redactor_of(student: dspy.Module) -> Redactor:
    """Hides what the student's LMs were made with."""
    return Redactor(credentials_of([dspy.settings.lm, *(getattr(p, "lm", None) for p in student.predictors())]))


def name_of(event: RunStarted) -> str:
    """A name for a new run, which says what it is; what differs between runs comes first, as UIs cut names."""
    settings, lms = event.settings, dict.fromkeys(event.lms.values())
    least = "" if settings.min_group_size is None else f"{settings.min_group_size}-"
    how = f"seed {settings.seed}, G={least}{settings.group_size}, {counted(settings.epochs, 'epoch')}"
    on = f"{counted(len(event.trainset), 'example')}, {type(event.student).__name__}"
    return f"{how}: {on}, {', '.join(name.rpartition('/')[2] for name in lms)}"


def params_of(event: RunStarted) -> dict[str, str]:
    """Settings, LMs, data, plan and versions by name."""
    params: dict[str, object] = {
        **event.settings.as_params(),
        **{f"lm.{role}": name for role, name in event.lms.items()},
        "student": f"{type(event.student).__module__}.{type(event.student).__qualname__}",
        "trainset.size": len(event.trainset),
        "valset.size": len(event.valset or ()),
        "planned.steps": event.steps,
        "planned.rollouts": event.rollouts,
        **{f"version.{name}": version for name, version in versions().items()},
    }
    return {name: shorten(str(value), 500) for name, value in params.items()}
