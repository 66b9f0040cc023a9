"""The groups of a run by how they turned out, each with its rollouts side by side."""

from __future__ import annotations

from typing import Any

from tfgrpo_dspy.program.transcript import first_divergence, parse_trajectory
from tfgrpo_dspy.records.result import CompileResult, StepRecord
from tfgrpo_dspy.records.rollouts import Group, Lost, Scored, outcome_of
from tfgrpo_dspy.reports.learnable import OUTCOMES
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.statistics.estimates import full_marks
from tfgrpo_dspy.text import shorten

_ROOM = 1_500_000
"""Estimated tokens of all trajectories on a page at most: some six million characters."""
_LEAST, _MOST = 60, 2000
"""Estimated tokens of one trajectory: so many are shown of each, whatever their number, and no more of any."""


def steps_of(result: CompileResult) -> list[dict[str, Any]]:
    """Each step: its groups by outcome, the informative ones first."""
    number = sum(len(group.scored) for step in result.steps for group in step.groups)
    room = min(_MOST, max(_LEAST, _ROOM // max(number, 1)))
    return [_step(step, room) for step in result.steps]


def _step(step: StepRecord, room: int) -> dict[str, Any]:
    advantages = {advantage.group: advantage for advantage in step.advantages}
    by_outcome: dict[str, list[dict[str, Any]]] = {name: [] for name in OUTCOMES}
    full = full_marks(reward for group in step.groups for reward in group.rewards)
    for group in step.groups:
        made = advantages.get(group.name)
        lesson = None if made is None else {"comparison": made.comparison, "experiences": made.experiences}
        shown = {**_group(group, room), "lesson": lesson}
        by_outcome[outcome_of(group, Settings.tolerance, full)].append(shown)
    kinds = [{"title": OUTCOMES[name], "name": name, "groups": groups} for name, groups in by_outcome.items() if groups]
    return {"number": step.step, "text": step.to_text(), "kinds": kinds}


def _group(group: Group, room: int) -> dict[str, Any]:
    """A group's question, and its rollouts with the best one first, each with the turn in which it leaves that one."""
    ordered = sorted(group.rollouts, key=lambda rollout: -rollout.reward if isinstance(rollout, Scored) else 1e300)
    turns = [parse_trajectory(each.trajectory) if isinstance(each, Scored) else () for each in ordered]
    rollouts: list[dict[str, Any]] = []
    for each, made in zip(ordered, turns, strict=True):
        if isinstance(each, Lost):
            rollouts.append({"name": each.name, "lost": f"{each.cause}: {each.error}"})
            continue
        share = max(room // max(sum(len(turn.values) for turn in made), 1), 30)
        parts = None if made is turns[0] else first_divergence(turns[0], made)
        rollouts.append(
            {
                "name": each.name,
                "reward": f"{each.reward:g}",
                "failure": each.policy_failure,
                "feedback": each.feedback,
                "withheld": ", ".join(each.withheld),
                "turns": [
                    {
                        "name": turn.name,
                        "is_tool": turn.is_tool,
                        "parts_here": at == parts,
                        "told": [(value.role, value.field, shorten(value.text, share)) for value in turn.values],
                    }
                    for at, turn in enumerate(made)
                ],
            }
        )
    return {
        "name": group.name,
        "inputs": [(str(name), str(value)) for name, value in group.example.inputs().items()],
        "labels": [(str(name), str(value)) for name, value in group.example.labels().items()],
        "rewards": ", ".join(f"{reward:g}" for reward in group.rewards) or "none",
        "rollouts": rollouts,
    }
