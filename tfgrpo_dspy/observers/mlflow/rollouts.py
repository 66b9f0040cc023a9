"""A rollout as one MLflow trace, as it happens: what it was asked, did and said, and what the metric made of it.

So that MLflow's own filters, evaluation pages and datasets work on the rollouts of a run.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dspy

from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.observers.mlflow.traces import Besides, digest, put_trace, rollout_node
from tfgrpo_dspy.program.values import Things, as_text
from tfgrpo_dspy.records.rollouts import Rollout, Scored, group_of, step_of

if TYPE_CHECKING:
    from tfgrpo_dspy.observers.mlflow.store import RunStore
    from tfgrpo_dspy.observers.mlflow.tables import Safe


def put_rollout(store: RunStore, *, rollout: Rollout, example: dspy.Example, dataset: str, at: int, safe: Safe) -> None:
    """Record a rollout as a trace of the run; the same trace again if it is repeated.

    Args:
        store: The run.
        rollout: As it was scored or lost.
        example: What it was about.
        dataset: What that is part of, `trainset` or `valset`.
        at: When it ended, in milliseconds since 1970; it began as long before as it took.
        safe: Takes credentials out of a text.
    """
    things = Things()
    task = {name: as_text(value, things) for name, value in dict(example.inputs()).items()}
    name = rollout.name if dataset == "trainset" else f"{rollout.name} of the {dataset}"
    tree = replace(rollout_node(rollout), name=name, inputs=task)
    besides = Besides(
        preview=task,
        assessments=_assessments(rollout, f"{store.run_id} {name}", safe),
        metadata={"mlflow.trace.tokenUsage": json.dumps(_tokens(rollout.usage))},
        tags={"group": group_of(rollout.name), "step": str(step_of(rollout.name)), "dataset": dataset},
    )
    put_trace(store, tree=tree, at=at, safe=safe, besides=besides)


def _assessments(rollout: Rollout, key: str, safe: Safe) -> list[Any]:
    """The reward, with what the metric said as its reason; none of a rollout that was lost."""
    if not isinstance(rollout, Scored):
        return []
    from mlflow.entities import AssessmentSource, Feedback

    source = AssessmentSource("CODE", "metric")
    named = [("reward", rollout.reward), *rollout.parts]
    reason = safe(rollout.feedback or rollout.policy_failure or "") or None
    made = [
        Feedback(name, value, source=source, rationale=reason if name == "reward" else None) for name, value in named
    ]
    for feedback in made:
        feedback.assessment_id = f"a-{digest(f'{key} {feedback.name}', 16)}"  # a repetition is the same one
    return made


def _tokens(usage: Usage) -> dict[str, int]:
    given, said = usage.prompt_tokens, usage.completion_tokens
    return {"input_tokens": given, "output_tokens": said, "total_tokens": given + said}
