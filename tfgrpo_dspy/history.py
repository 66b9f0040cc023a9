"""What changed between two libraries, by id; pure."""

from __future__ import annotations

from dataclasses import dataclass

from tfgrpo_dspy.experience import Experience, ExperienceLibrary, id_number
from tfgrpo_dspy.rendering import one_line


@dataclass(frozen=True, slots=True)
class LibraryDiff:
    """How one library became another; every id of either is in exactly one of the four."""

    added: tuple[Experience, ...]
    """Only in the later library, in its order."""
    removed: tuple[Experience, ...]
    """Only in the earlier library, in its order."""
    modified: tuple[tuple[Experience, Experience], ...]
    """`(before, after)` where text, scope or pin differ, in the later library's order."""
    kept: tuple[Experience, ...]
    """The rest, in the later library's order."""

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.added or self.removed or self.modified)

    def to_text(self) -> str:
        """The changes in the manner of git, by ascending id: `- [G1] old` and `+ [G1] new` lines; empty for none."""
        lines = [(id_number(e.id), "-", e) for e in self.removed]
        lines += [(id_number(before.id), "-", before) for before, _ in self.modified]
        lines += [(id_number(after.id), "+", after) for _, after in self.modified]
        lines += [(id_number(e.id), "+", e) for e in self.added]
        ordered = sorted(lines, key=lambda line: line[0])  # stable: "-" stays before "+"
        return "".join(f"{sign} [{e.id}] {one_line(e.text)}{_marks(e)}\n" for _, sign, e in ordered)


def diff(a: ExperienceLibrary, b: ExperienceLibrary) -> LibraryDiff:
    """What turns library `a` into library `b`; provenance alone is no change."""
    before = {e.id: e for e in a}
    after = {e.id for e in b}
    shared = [(before[e.id], e) for e in b if e.id in before]
    return LibraryDiff(
        added=tuple(e for e in b if e.id not in before),
        removed=tuple(e for e in a if e.id not in after),
        modified=tuple((old, new) for old, new in shared if _visible(old) != _visible(new)),
        kept=tuple(new for old, new in shared if _visible(old) == _visible(new)),
    )


def _visible(experience: Experience) -> tuple[str, bool, str | None]:
    return experience.text, experience.pinned, experience.scope


def _marks(experience: Experience) -> str:
    marks = ["pinned"] * experience.pinned
    marks += [f"only for {experience.scope}"] if experience.scope is not None else []
    return f"  ({', '.join(marks)})" if marks else ""
