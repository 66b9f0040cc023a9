"""The groups of a run by how they turned out, each with its rollouts side by side."""

from __future__ import annotations

from typing import Any

from tfgrpo_dspy.program.transcript import Turn, first_divergence, parse_trajectory
from tfgrpo_dspy.records.result import CompileResult, StepRecord
from tfgrpo_dspy.records.rollouts import Group, Lost, Rollout, Scored, outcome_of
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
    """A group's question, and its rollouts with the best one first."""
    inputs = group.example.inputs()
    ordered = sorted(group.rollouts, key=lambda rollout: -rollout.reward if isinstance(rollout, Scored) else 1e300)
    turns = [_turns(rollout) for rollout in ordered]
    return {
        "name": group.name,
        "inputs": [(str(name), str(value)) for name, value in inputs.items()],
        "labels": [(str(name), str(value)) for name, value in group.example.labels().items()],
        "rewards": ", ".join(f"{reward:g}" for reward in group.rewards) or "none",
        "rollouts": [_rollout(each, made, turns[0], room) for each, made in zip(ordered, turns, strict=True)],
    }


def _turns(rollout: Rollout) -> tuple[Turn, ...]:
    return parse_trajectory(rollout.trajectory) if isinstance(rollout, Scored) else ()


def _rollout(rollout: Rollout, turns: tuple[Turn, ...], best: tuple[Turn, ...], room: int) -> dict[str, Any]:
    """A rollout for the template; `parts` is the number of the turn in which it leaves the best one."""
    if isinstance(rollout, Lost):
        return {"name": rollout.name, "lost": f"{rollout.cause}: {rollout.error}"}
    share = room // max(sum(len(turn.values) for turn in turns), 1)
    parts = None if turns is best else first_divergence(best, turns)
    return {
        "name": rollout.name,
        "reward": f"{rollout.reward:g}",
        "failure": rollout.policy_failure,
        "feedback": rollout.feedback,
        "withheld": ", ".join(rollout.withheld),
        "turns": [_turn(turn, at == parts, max(share, 30)) for at, turn in enumerate(turns)],
    }


def _turn(turn: Turn, parts_here: bool, room: int) -> dict[str, Any]:
    values = [(value.role, value.field, shorten(value.text, room)) for value in turn.values]
    return {"name": turn.name, "is_tool": turn.is_tool, "parts_here": parts_here, "told": values}
