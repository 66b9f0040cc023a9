"""Each entry of the library with all that led to it."""

from __future__ import annotations

from typing import Any

from tfgrpo_dspy.history.history import Chapter, blame
from tfgrpo_dspy.history.of_run import history_of
from tfgrpo_dspy.records.result import CompileResult
from tfgrpo_dspy.records.rollouts import group_of
from tfgrpo_dspy.reports.provenance import grounds_of, texts_of, title_of


def entries_of(result: CompileResult) -> list[dict[str, Any]]:
    """The entries of the library: text, marks, effect, and each chapter with links to the groups it rests on."""
    history, effects = history_of(result), {effect.id: effect for effect in result.effects}
    shown = {group.name for step in result.steps for group in step.groups}
    entries = []
    for experience in result.library:
        effect = effects.get(experience.id)
        kind = "unsure" if effect is None else {"helps": "good", "hurts": "bad"}.get(effect.verdict, "unsure")
        entries.append(
            {
                "id": experience.id,
                "text": experience.text,
                "marks": experience.marks,
                "effect": None if effect is None else {"text": effect.to_text(), "kind": kind},
                "chapters": [_chapter(chapter, shown) for chapter in blame(history, experience.id)],
            }
        )
    return entries


def _chapter(chapter: Chapter, shown: set[str]) -> dict[str, Any]:
    before, after = texts_of(chapter)
    groups = dict.fromkeys(group_of(s.rollouts[0]) for s in chapter.change.sources if s.rollouts)
    return {
        "title": title_of(chapter),
        "before": before,
        "after": after,
        "reason": chapter.reason,
        "grounds": grounds_of(chapter),
        "groups": [name for name in groups if name in shown],
    }
