"""Each entry of the library with all that led to it."""

from __future__ import annotations

from typing import Any

from tfgrpo_dspy.history.history import Chapter, blame
from tfgrpo_dspy.history.of_run import history_of
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.records.result import CompileResult
from tfgrpo_dspy.records.rollouts import group_of
from tfgrpo_dspy.reports.provenance import grounds_of, texts_of, title_of


def entries_of(result: CompileResult) -> list[dict[str, Any]]:
    """The entries of the library: text, marks, effect, and each chapter with links to the groups it rests on."""
    history, effects = history_of(result), {effect.id: effect for effect in result.effects}
    shown = {group.name for step in result.steps for group in step.groups}
    return [
        {
            "id": experience.id,
            "text": experience.text,
            "marks": experience.marks,
            "effect": _effect(effects.get(experience.id)),
            "chapters": [_chapter(chapter, shown) for chapter in blame(history, experience.id)],
        }
        for experience in result.library
    ]


def _chapter(chapter: Chapter, shown: set[str]) -> dict[str, Any]:
    before, after = texts_of(chapter)
    groups = [group_of(s.rollouts[0]) for s in chapter.change.sources if s.rollouts]
    links = [name for name in dict.fromkeys(groups) if name in shown]
    return {
        "title": title_of(chapter),
        "before": before,
        "after": after,
        "reason": chapter.reason,
        "grounds": grounds_of(chapter),
        "groups": links,
    }


def _effect(effect: Effect | None) -> dict[str, str] | None:
    if effect is None:
        return None
    return {"text": effect.to_text(), "kind": {"helps": "good", "hurts": "bad"}.get(effect.verdict, "unsure")}
