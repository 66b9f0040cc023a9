"""Where each experience of a library comes from: every text of it, when, by whom, why, and on what evidence."""

from __future__ import annotations

from collections.abc import Iterator

from tfgrpo_dspy.history.commits import WORDS
from tfgrpo_dspy.history.history import Chapter, blame
from tfgrpo_dspy.history.of_run import history_of
from tfgrpo_dspy.library.file import escape_markdown
from tfgrpo_dspy.records.result import CompileResult
from tfgrpo_dspy.text import counted, one_line

_BY = {"updater": "the updater", "person": "a person", "gate": "a check of the run", "import": "an import"}
_EVIDENCE_SHOWN = 6


def render_provenance(result: CompileResult) -> str:
    """A page about the library of a run: each experience with its effect and all that led to it."""
    history, effects = history_of(result), {effect.id: effect for effect in result.effects}
    parts = [f"# Where {counted(len(result.library), 'experience')} came from\n"]
    for experience in result.library:
        chapters = blame(history, experience.id)
        parts.append(f"## {experience.id}\n\n{escape_markdown(one_line(experience.marked_text))}\n")
        measured = effects[experience.id].to_text() if experience.id in effects else "not measured"
        effect = [f"- effect on the reward: {measured}"] if effects else []
        parts.append("\n".join([*effect, *_lines(chapters)]) + "\n")
    return "\n".join(parts)


def title_of(chapter: Chapter) -> str:
    """`changed by the updater, step 2, commit 4a2dd83998`."""
    commit = chapter.commit
    parts = [f"{WORDS[chapter.change.kind]} by {_BY[chapter.author]}", commit.when, f"commit {commit.id}"]
    return ", ".join(filter(None, parts))


def texts_of(chapter: Chapter) -> tuple[str | None, str | None]:
    """The text that a change took away and the one that it brought; None where it did not."""
    change = chapter.change
    before = change.before if change.kind in {"modify", "delete"} else None
    after = change.after.text if change.kind in {"add", "modify", "restore"} and change.after is not None else None
    return before, after


def grounds_of(chapter: Chapter) -> list[str]:
    """What a change rests on, a line or two a group: its task, and the rewards of its rollouts."""
    known, sources = {e.source: e for e in chapter.evidence}, chapter.change.sources
    told = []
    for source in sources[:_EVIDENCE_SHOWN]:
        if (found := known.get(source)) is None or not source.rollouts:
            told.append(": ".join([source.example, *filter(None, [", ".join(source.rollouts)])]))
            continue
        named = zip(source.rollouts, found.rewards, strict=False)
        rewards = ", ".join(f"{name.rpartition('/')[2]} {reward:g}" for name, reward in named)
        told.append(f"{source.example}: {found.task}\nrewards in {source.rollouts[0].rpartition('/')[0]}: {rewards}")
    more = len(sources) - _EVIDENCE_SHOWN
    return [*told, *([f"and {more} more"] if more > 0 else [])]


def _lines(chapters: tuple[Chapter, ...]) -> Iterator[str]:
    for chapter in chapters:
        yield f"- {title_of(chapter)}"
        before, after = texts_of(chapter)
        yield from ([f"    - before: {_safe(before)}"] if before is not None else [])
        yield from ([f"    - text: {_safe(after)}"] if after is not None and len(chapters) > 1 else [])
        yield from ([f"    - why: {_safe(chapter.reason)}"] if chapter.reason else [])
        yield from (f"    - from {_safe(ground)}" for ground in grounds_of(chapter))


def _safe(text: str) -> str:
    return escape_markdown(one_line(text.replace("\n", "; ")))
