"""What an optimizer put into a program, read off the program: a library, new instructions, demonstrations."""

from __future__ import annotations

from collections.abc import Iterator

import dspy

from evals.harness.rows import Learned, Point
from tfgrpo_dspy import CompileResult, ExperienceLibrary, StepRecord, detach
from tfgrpo_dspy.kit import one_line, shorten
from tfgrpo_dspy.statistics import mean_at_k

_PART_TOKENS = 600
_DEMO_TOKENS = 60


def learned_by(student: dspy.Module, program: dspy.Module) -> Learned:
    """What the program says that the student does not."""
    library = getattr(program, "experience_library", None)
    entries = [(e.id, one_line(e.text)) for e in library] if isinstance(library, ExperienceLibrary) else []
    before = {name: predictor.signature.instructions for name, predictor in detach(student).named_predictors()}
    said = [part for name, predictor in detach(program).named_predictors() for part in _parts(name, predictor, before)]
    if not entries and not said:
        return Learned()
    return Learned("library" if entries else "prompt", (*entries, *said))


def curve_of(program: dspy.Module) -> tuple[Point, ...]:
    """The steps of a program that Training-Free GRPO compiled; empty for others."""
    result = getattr(program, "detailed_results", None)
    return tuple(map(_point, result.steps)) if isinstance(result, CompileResult) else ()


def _point(record: StepRecord) -> Point:
    groups = record.groups
    scored = [rollout.tool_calls for group in groups for rollout in group.scored]
    calls = sum(scored) / len(scored) if scored else 0.0
    rewards = [group.fair_rewards for group in groups if group.fair_rewards]
    return Point(record.step, mean_at_k(rewards) if rewards else None, len(record.library), calls)


def _parts(name: str, predictor: dspy.Predict, before: dict[str, str]) -> Iterator[tuple[str, str]]:
    instructions = predictor.signature.instructions
    if instructions != before.get(name):
        yield f"instructions of {name}", shorten(instructions, _PART_TOKENS)
    for number, demo in enumerate(predictor.demos, 1):
        shown = (f"{field}: {shorten(one_line(str(value)), _DEMO_TOKENS)}" for field, value in _fields(demo))
        yield f"demonstration {number} of {name}", "\n".join(shown)


def _fields(demo: object) -> Iterator[tuple[str, object]]:
    items = dict(demo.items() if hasattr(demo, "items") else {})  # examples, predictions and plain dictionaries
    return ((str(name), value) for name, value in items.items() if name not in {"augmented", "dspy_uuid", "dspy_split"})
