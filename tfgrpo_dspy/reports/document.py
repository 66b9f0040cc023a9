"""Results for other programs, as one JSON document: what a run came to, how programs did."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfgrpo_dspy.errors import DataError
from tfgrpo_dspy.looks.value import plain
from tfgrpo_dspy.records.evaluation import Comparison, Evaluation
from tfgrpo_dspy.reports.story import Story
from tfgrpo_dspy.text import show_path


def run_document(story: Story, folder: Path) -> dict[str, Any]:
    """What a run came to, and the files that it left."""
    result, gain = story.result, story.heldout
    return {
        "ended": story.ended.how,
        "ending": list(story.ending),
        "simulated": story.simulated,
        "best_step": result.best_step,
        "steps": result.rows(),
        "library": result.library.rows(),
        "usage": plain(result.usage),
        "gain": plain(result.gain.difference) if result.gain is not None else None,
        "heldout": None if gain is None else scores_document({"bare": gain.baseline, "learned": gain.candidate}, gain),
        "effects": plain(result.effects),
        "flags": plain([flag for step in result.steps for flag in step.flags]),
        "unused": plain(result.unused),
        "traffic": plain(result.traffic),
        "unrecorded": list(result.unrecorded),
        "files": sorted(show_path(path) for path in folder.iterdir() if path.is_file()),
    }


def scores_document(evaluations: Mapping[str, Evaluation], gain: Comparison | None) -> dict[str, Any]:
    """How programs did: means with intervals, losses, cost, and each question's rewards."""
    return {
        "programs": {
            name: {
                "mean": plain(made.mean),
                "k": made.k,
                "lost": dict(made.lost),
                "failed": made.policy_failures,
                "ended_early": made.stopped_by,
                "usage": plain(made.usage),
                "questions": [{"inputs": plain(g.example.inputs()), "rewards": list(g.rewards)} for g in made.groups],
            }
            for name, made in evaluations.items()
        },
        "gain": None if gain is None else {**plain(gain.difference), "verdict": gain.verdict},
    }


def earlier_rewards(path: Path, inputs: Iterable[object]) -> Sequence[Sequence[float]]:
    """The rewards of these questions in a `scores_document` that was kept, of its learned program if any.

    Raises:
        DataError: The file holds no evaluation, or one of other questions.
    """
    try:
        programs = json.loads(path.read_text(encoding="utf-8"))["programs"]
        questions = programs.get("learned", next(iter(programs.values())))["questions"]
        known = {json.dumps(one["inputs"], sort_keys=True): one["rewards"] for one in questions}
    except FileNotFoundError:
        raise DataError(f"there is no file {show_path(path)} to compare with; check the path") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise DataError(
            f"{show_path(path)} holds no evaluation ({type(error).__name__}); `tfgrpo evaluate ... --json > FILE` "
            "writes one"
        ) from error
    asked = [json.dumps(plain(one), sort_keys=True) for one in inputs]
    if missing := [text for text in asked if text not in known]:
        raise DataError(
            f"{show_path(path)} is an evaluation of other questions: {len(missing)} of {len(asked)} are not in it; "
            "evaluate both on the same examples"
        )
    return [known[text] for text in asked]
