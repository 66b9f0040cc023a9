"""ACE: a generator, a reflector and a curator write a playbook, one task at a time (arXiv 2510.04618).

Own implementation. As in the paper: sections, counters that the generator sees, a playbook that only grows, repeats
left out, and rounds in which the generator tries a failed task again with the reflection in hand. It goes on from a
playbook that there is already: a student's library, or a file (`ACE(playbook=Playbook.read(path))`). Different: bullets
that say the same in other words are not merged by embeddings, which the authors' code leaves off too.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.notes import practise, told_of, until_spent, with_notes
from optimizers.scaling import AtBudget, Examples, Fitted, Task
from optimizers.signatures import SECTIONS, CuratePlaybook, ReflectOnTrajectory
from tfgrpo_dspy import Add, ExperienceLibrary, Scored, detach, library_of, read_library
from tfgrpo_dspy.kit import bullets_of, one_line, read_utf8, write_atomically
from tfgrpo_dspy.rewards import Metric

EPOCHS = 5
"""Passes over the trainset at most (the paper's offline adaptation)."""
ROUNDS = 5
"""Reflections on one task at most (the paper; its code takes 3 unless told otherwise)."""
SOLVED = 1.0
"""Reward from which a task is not tried again."""

_HEADING = "A playbook from earlier tasks; the counters say how often a bullet helped and harmed. Use what applies:"


@dataclass(frozen=True, slots=True)
class Bullet:
    """One line of a playbook."""

    id: str
    text: str
    section: str = SECTIONS[0]
    helpful: int = 0
    harmful: int = 0

    def __str__(self) -> str:
        return f"[{self.id}] {self.text} (helpful {self.helpful}, harmful {self.harmful})"

    @property
    def as_in_files(self) -> str:
        """Its line in the files of ACE's own code."""
        return f"[{self.id}] helpful={self.helpful} harmful={self.harmful} :: {self.text}"


@dataclass(frozen=True, slots=True)
class Playbook:
    """Bullets with counters, in sections; it only grows."""

    bullets: tuple[Bullet, ...] = ()

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Playbook:
        """The playbook of a file: text or JSON of ACE's own code, as `write` writes it, or any other library.

        Raises:
            LibraryFormatError: No bullet is found.
            OSError: The file cannot be read.
        """
        library = read_library(path)
        if not (found := bullets_of(read_utf8(path), Path(path).name)):
            return cls.of(library)
        return cls(
            tuple(
                Bullet(b.id, one_line(b.text), b.section or SECTIONS[-1], b.helpful or 0, b.harmful or 0) for b in found
            )
        )

    @classmethod
    def of(cls, library: ExperienceLibrary) -> Playbook:
        """The experiences of a library as bullets that were never counted."""
        return cls(tuple(Bullet(f"g-{int(entry.id[1:]):05d}", entry.text) for entry in library))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write it as ACE's own code does, as text."""
        write_atomically(f"{self.rendered(lambda bullet: bullet.as_in_files)}\n", path)

    def rendered(self, line: Callable[[Bullet], str] = str) -> str:
        """One bullet a line with its counters, under the headings of the sections that have any."""
        found: dict[str, list[str]] = {b.section: [] for b in self.bullets if b.section not in SECTIONS}
        found.update((section, []) for section in SECTIONS)
        for bullet in self.bullets:
            found[bullet.section].append(line(bullet))
        return "\n\n".join("\n".join([f"## {name}", *lines]) for name, lines in found.items() if lines) or "(none yet)"

    def marked(self, helpful: Sequence[str], harmful: Sequence[str]) -> Playbook:
        """The playbook with those bullets counted once more; ids that it does not have are passed over."""
        good, bad = ({id.strip("[] ") for id in ids} for ids in (helpful, harmful))
        return Playbook(
            tuple(
                replace(b, helpful=b.helpful + (b.id in good), harmful=b.harmful + (b.id in bad)) for b in self.bullets
            )
        )

    def grown(self, texts: Sequence[str], section: str = SECTIONS[0]) -> Playbook:
        """The playbook with those bullets at the end of a section, of any length; repeats are left out."""
        said = dict.fromkeys(one_line(text) for text in texts)
        new = [text for text in said if text and text not in {b.text for b in self.bullets}]
        at = 1 + max((int(re.sub(r"\D", "", b.id) or 0) for b in self.bullets), default=0)
        slug = re.sub(r"[^a-z]", "", section.lower())[:3] or "new"
        return Playbook((*self.bullets, *(Bullet(f"{slug}-{at + i:05d}", t, section) for i, t in enumerate(new))))

    def section_named(self, said: str) -> str:
        """The section that a curator means: one that there is or may be, else the last."""
        known = sorted({*SECTIONS, *(b.section for b in self.bullets)}, key=len, reverse=True)
        return next((name for name in known if name.upper() in one_line(said).upper()), SECTIONS[-1])


class ACE(Teleprompter):
    """Learns a playbook from up to five passes over the trainset.

    The returned program reads the playbook with its counters, and has it as `playbook`.

    Args:
        playbook: What it starts from; None for the library that the student reads, if it reads one, else nothing.
        metric: Scores the attempts; a reward of 1 ends the rounds on a task.
        calls: LM calls at most; None for all passes.
        per_rollout: LM calls that one attempt takes.
        rounds: Reflections on one task at most, >= 1.
        seed: Draws the order of the tasks.
    """

    def __init__(
        self,
        metric: Metric,
        *,
        playbook: Playbook | None = None,
        calls: float | None = None,
        per_rollout: float = 1.0,
        rounds: int = ROUNDS,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.playbook = playbook
        self.metric, self.calls, self.per_rollout, self.rounds, self.seed = metric, calls, per_rollout, rounds, seed

    def compile(
        self,
        student: dspy.Module,
        trainset: Examples,
        *,
        teacher: dspy.Module | None = None,
        valset: Examples | None = None,
    ) -> dspy.Module:
        """The student with its playbook."""
        playbook = Playbook.of(library_of(student)) if self.playbook is None else self.playbook
        student = detach(student)
        course = _Course(self, student, playbook)
        with until_spent():
            for example in _passes(trainset, self.seed):
                if not course.has_room:
                    break
                course.take(example)
        program = with_notes(student, "playbook", _HEADING, course.playbook.rendered())
        program.playbook = course.playbook
        return program


def _passes(trainset: Examples, seed: int) -> Iterator[dspy.Example]:
    draw = random.Random(seed)
    for _ in range(EPOCHS):
        yield from draw.sample(trainset, len(trainset))


@dataclass
class _Course:
    """One compile under way: the playbook, and what has been spent on it."""

    ace: ACE
    student: dspy.Module
    playbook: Playbook
    spent: float = 0.0
    attempts: int = 0

    @property
    def has_room(self) -> bool:
        """Whether the calls allow an attempt, a reflection on it and the curator's call."""
        return self.ace.calls is None or self.spent + self.ace.per_rollout + 2 <= self.ace.calls

    def take(self, example: dspy.Example) -> None:
        """One task: attempts with reflections between them until one is right, then what is worth writing down."""
        reflected: dspy.Prediction | None = None
        for _ in range(self.ace.rounds):
            if not self.has_room:
                break
            attempt = self._attempt(example, reflected.reflection if reflected else "")
            if attempt is None or (reflected and attempt.reward >= SOLVED):
                break
            reflected = self._reflect(example, attempt)
            if attempt.reward >= SOLVED:
                break
        if reflected:
            self._curate(reflected)

    def _attempt(self, example: dspy.Example, reflection: str) -> Scored | None:
        """What the generator does with the playbook, and the reflection on its last attempt; None if it was lost."""
        notes = self.playbook.rendered() + (
            f"\n\nOf your last attempt at this very task:\n{reflection}" * bool(reflection)
        )
        generator = with_notes(self.student, "playbook", _HEADING, notes)
        (made,) = practise(generator, [example], self.ace.metric, self.ace.seed, self.attempts)
        self.attempts += 1
        self.spent += self.ace.per_rollout
        return made[0] if made else None

    def _reflect(self, example: dspy.Example, attempt: Scored) -> dspy.Prediction:
        told = told_of(example, attempt)
        reflected = dspy.Predict(ReflectOnTrajectory)(**told, playbook=self.playbook.rendered())
        self.playbook = self.playbook.marked(reflected.helpful_bullets, reflected.harmful_bullets)
        self.spent += 1
        return reflected

    def _curate(self, reflected: dspy.Prediction) -> None:
        curated = dspy.Predict(CuratePlaybook)(
            playbook=self.playbook.rendered(),
            reflection=reflected.reflection,
            insights="\n".join(f"- {text}" for text in reflected.insights) or "(none)",
        )
        section = self.playbook.section_named(curated.section)
        self.playbook = self.playbook.grown([o.text for o in curated.operations if isinstance(o, Add)], section)
        self.spent += 1


def ace(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """ACE; a budget sets how many tasks are taken, each with its attempts, reflections and a call of the curator."""
    return AtBudget(_fit, metric, seed, calls)


def _fit(task: Task) -> Fitted:
    task.check_covers(task.per_rollout + 2, "an attempt, a reflection on it and the curator's call")
    optimizer = ACE(task.metric, calls=task.calls, per_rollout=task.per_rollout, seed=task.seed)
    return Fitted(optimizer, {"trainset": task.trainset})
