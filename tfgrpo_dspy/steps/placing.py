"""The update as many small questions: what becomes of one candidate, shown the entries nearest to it.

Candidates that are alike are asked about one after the other, so that each sees what became of those before; bundles of
them side by side. No prompt grows with the batch or with the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import dspy

from tfgrpo_dspy.library.draft import Draft
from tfgrpo_dspy.library.experience import Experience
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.nearness import Nearness
from tfgrpo_dspy.library.operations import Add, Keep, Modify, Operation, settle_scope
from tfgrpo_dspy.library.section import render_lines
from tfgrpo_dspy.lm.budget import UPDATE
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.advantages import Fate, SemanticAdvantage, by_label
from tfgrpo_dspy.records.failures import Cause, failures_of
from tfgrpo_dspy.records.rollouts import step_of
from tfgrpo_dspy.records.updates import Update
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.signatures import PlaceLesson, SettleContradiction, WeighLesson, with_effects
from tfgrpo_dspy.steps.batch import told_in_full
from tfgrpo_dspy.steps.briefing import Briefing
from tfgrpo_dspy.steps.lessons import faults_in, told
from tfgrpo_dspy.steps.reading.texts import read_lesson, says_nothing
from tfgrpo_dspy.steps.reflection import Unusable
from tfgrpo_dspy.text import neutralise, one_line, shorten

_SHOWN = 5
"""Entries that a question shows at most, besides those that misled (ours)."""
_MOST_IN_A_BUNDLE = 8
"""Candidates that are asked about one after the other at most (ours)."""
_WHY_TOKENS = 400
"""Estimated tokens of a comparison that a question shows at most (ours)."""
_REASON_TOKENS = 200
"""Estimated tokens of a comparison that stand for a reason, where none was given (ours)."""
_SAYS_NOTHING = "it says nothing that a reader would not do anyway"


class _Candidate(NamedTuple):
    """One experience that an extraction gave."""

    label: str
    """Stands for its group in operations."""
    advantage: SemanticAdvantage
    text: str

    def only(self) -> SemanticAdvantage:
        """Its advantage, with this candidate alone."""
        return replace(self.advantage, experiences=(self.text,))

    def added(self, briefing: Briefing, reason: str = "") -> Operation:
        """It as an entry of its own."""
        return settle_scope(Add(text=self.text, reason=reason, sources=(self.label,)), briefing.readers)

    def fate(self, became: Any, id: str | None = None, why: str = "") -> Fate:
        """What became of it."""
        return Fate(self.advantage.group, self.text, became, id, why)


class _Bundle(NamedTuple):
    """Candidates that are alike, and the part of the library that is near to any of them."""

    candidates: tuple[_Candidate, ...]
    near: ExperienceLibrary
    """Its entries that are near, with its next id."""
    nearest: tuple[tuple[str, ...], ...]
    """Per candidate the ids of entries near to it, nearest first."""


@dataclass
class _Placing:
    """A bundle under way."""

    briefing: Briefing
    draft: Draft
    undecided: list[SemanticAdvantage] = field(default_factory=list)
    decided: list[Fate] = field(default_factory=list)
    whys: list[tuple[Cause, str]] = field(default_factory=list)
    usage: Usage = Usage()


def place_each(advantages: Sequence[SemanticAdvantage], briefing: Briefing, workers: Workers) -> Update:
    """Decide about each candidate; of two that change one entry the second is asked about again, on what it became."""
    candidates = [_Candidate(label, a, text) for label, a in by_label(advantages).items() for text in a.experiences]
    library, made, rounds, decided = briefing.library, list[Update](), list[tuple[Operation, ...]](), list[Fate]()
    while candidates:
        now = replace(briefing, library=library)
        bundles = _bundled(candidates, now, together=bool(rounds))
        answered = workers.results([_asked(i, b, now, workers) for i, b in enumerate(bundles)])
        kept, late = _without_clashes([o for update in answered for round in update.rounds for o in round])
        made, rounds = [*made, *answered], [*rounds, kept]
        library = library.apply(kept, limits=briefing.settings.limits).library
        candidates = [c for c in candidates if c.label in late]
        again = {(c.advantage.group, c.text) for c in candidates}
        told = [*decided, *(fate for update in answered for fate in update.decided)]
        decided = [fate for fate in told if (fate.group, fate.text) not in again]
    return Update(
        tuple(rounds),
        tuple(advantage for update in made for advantage in update.undecided),
        tuple(decided),
        tuple(failure for update in made for failure in update.failures),
        sum((update.usage for update in made), Usage()),
    )


def _bundled(candidates: Sequence[_Candidate], briefing: Briefing, *, together: bool) -> list[_Bundle]:
    """Candidates that are alike, or all of them together, with the entries near to them; without a model."""
    library, shelf = briefing.library, briefing.shelf
    nearness = Nearness([(e.id, e.text) for e in library], [c.text for c in candidates])

    def near(candidate: _Candidate) -> tuple[str, ...]:
        found = nearness.near(candidate.text, _SHOWN)
        misled_by = candidate.advantage.misled_by
        if misled_by is not None and misled_by not in found and misled_by in library:
            found.insert(0, misled_by)
        if shelf is not None:
            found += [e.id for e in shelf.select(candidate.text) if e.id not in found and e.id in library]
        return tuple(found[: 2 * _SHOWN])

    bundles = []
    for group in [candidates] if together else nearness.bundled(candidates, lambda c: c.text, _MOST_IN_A_BUNDLE):
        nearest = tuple(map(near, group))
        wanted = {id for ids in nearest for id in ids}
        part = replace(library, experiences=tuple(e for e in library if e.id in wanted))
        bundles.append(_Bundle(tuple(group), part, nearest))
    return bundles


def _asked(number: int, bundle: _Bundle, briefing: Briefing, workers: Workers) -> Any:
    make = partial(_place_bundle, bundle, briefing.asking(kind=UPDATE))
    reads = (
        render_lines(bundle.near),
        str(bundle.near.next_id),
        *(f"{c.label} {told_in_full(c.only())}" for c in bundle.candidates),
    )
    return workers.task(f"update s{briefing.step} b{number}", Update, make, reads=reads)


def _place_bundle(bundle: _Bundle, briefing: Briefing) -> Update:
    """One question per candidate, each on the library as the answers before it make it."""
    sources = {c.label: c.advantage.source for c in bundle.candidates}
    if all(step_of(c.advantage.group) != briefing.step for c in bundle.candidates):
        briefing = briefing.asking_again()  # carried: DSPy's cache may hold the reply that could not be used
    placing = _Placing(briefing, Draft(bundle.near, bundle.near))
    before, limits = {e.id for e in bundle.near}, briefing.settings.limits
    for candidate, nearest in zip(bundle.candidates, bundle.nearest, strict=True):
        now = placing.draft.now
        shown = tuple(e for e in now if e.id in nearest or e.id not in before)
        try:
            operation = _decide(placing, candidate, replace(now, experiences=shown))
        except Unusable as error:
            placing.usage += error.usage
            placing.whys.append((error.cause, str(error)))
            if error.cause != "budget":
                placing.undecided.append(candidate.only())
                continue
            operation = candidate.added(briefing, "No budget was left to ask about it.")
        if operation is not None:
            placing.draft = placing.draft.then(
                [operation], "update", step=briefing.step, limits=limits, sources=sources
            )
    net = placing.draft.net(sources)
    refused = tuple(refusal.operation for refusal in net.refusals)
    remedy = "carried to the next step" if placing.undecided else "added as it is"
    failures = failures_of(f"s{briefing.step}", placing.whys, remedy)
    operations = (*net.operations, *refused)  # what is refused here is refused there, with the same reason
    return Update((operations,), tuple(placing.undecided), tuple(placing.decided), failures, placing.usage)


def _decide(placing: _Placing, candidate: _Candidate, shown: ExperienceLibrary) -> Operation | None:
    """The operation that a candidate asks for; None if it says nothing."""
    cited = (candidate.label,)
    new = candidate.added(placing.briefing)
    tried = shown.apply([new], limits=placing.briefing.settings.limits)
    twin = next((refusal.repeats for refusal in tried.refusals if refusal.repeats), None)
    if twin is not None:
        return Keep(id=twin, reason="It says nearly the same words.", sources=cited)
    answer = _ask(placing, candidate, shown, PlaceLesson if len(shown) else WeighLesson)
    decision, thought = answer["decision"], answer["thought"]
    reason = thought or one_line(shorten(candidate.advantage.comparison, _REASON_TOKENS))
    entry = _entry_named(answer.get("entry", ""), shown)
    if decision == "says nothing":
        placing.decided.append(candidate.fate("refused", None, thought or _SAYS_NOTHING))
        return None
    if decision == "new" or entry is None:
        return new.model_copy(update={"reason": reason})
    if decision == "said already":
        return Keep(id=entry, reason=reason, sources=cited)
    if decision == "corrects":
        return _settle(placing, candidate, shown[entry], reason)
    sharpened = Modify(id=entry, text=read_lesson(answer["text"]), reason=reason, sources=cited)
    return sharpened if _may_stand(placing, candidate, sharpened, shown) else new.model_copy(update={"reason": reason})


def _settle(placing: _Placing, candidate: _Candidate, entry: Experience, reason: str) -> Operation | None:
    """What becomes of a lesson and an entry that it contradicts: both are shown, alone, before one of them goes."""
    alone = replace(placing.draft.now, experiences=(entry,))
    answer = {} if entry.pinned else _ask(placing, candidate, alone, SettleContradiction)
    why = answer.get("thought") or reason
    if answer.get("holds") == "the entry":
        placing.decided.append(candidate.fate("refused", entry.id, f"it contradicts {entry.id}, which holds: {why}"))
        return None
    cited, text = (candidate.label,), read_lesson(answer.get("text", ""))
    both = Modify(id=entry.id, text=text, reason=why, sources=cited)
    if answer.get("holds") == "each in its own cases" and _may_stand(placing, candidate, both, alone):
        return both
    placing.decided.append(candidate.fate("corrected", entry.id, reason))
    return Modify(id=entry.id, text=candidate.text, reason=reason, sources=cited)


def _ask(placing: _Placing, candidate: _Candidate, shown: ExperienceLibrary, signature: Any) -> dict[str, Any]:
    """The answer about one candidate and the entries shown; its thought on one line, empty for none."""
    briefing = placing.briefing
    inputs = {
        "objective": briefing.objective,
        "lesson": neutralise(candidate.text),
        "why": neutralise(shorten(candidate.advantage.comparison, _WHY_TOKENS)),
    }
    if len(shown):
        inputs["entries"] = render_lines(shown)
        inputs["limits"] = f"at most {briefing.settings.max_words} words"
        if effects := briefing.effects_of(shown):
            inputs["effects"], signature = effects, with_effects(signature)
    answer = briefing.reflection.ask(signature, inputs, partial(_misfits, briefing, candidate, shown))
    placing.usage += answer.usage
    thought = answer.fields.get("thought", "")
    return {**answer.fields, "thought": "" if says_nothing(thought) else one_line(thought)}


def _misfits(
    briefing: Briefing, candidate: _Candidate, shown: ExperienceLibrary, reply: dspy.Prediction
) -> dict[str, str]:
    """What is wrong with an answer, in sentences that a model can act on."""
    decision = reply.get("decision", "sharpens" if reply.get("holds") == "each in its own cases" else "new")
    if decision in ("new", "says nothing"):
        return {}
    entry = _entry_named(reply.get("entry", ""), shown)
    if entry is None:
        ids = ", ".join(e.id for e in shown)
        return {"entry": f"Say which entry is meant, by its id: one of {ids}."}
    if decision != "sharpens":
        return {}
    if says_nothing(reply["text"]):
        return {"text": "Write the one text that says both what the lesson and what the entry says."}
    both = Modify(id=entry, text=read_lesson(reply["text"]), sources=(candidate.label,))
    faults = faults_in(
        [both], shown, {candidate.label: candidate.advantage}, briefing.known, briefing.settings.max_words
    )
    return {"text": told(faults)} if faults else {}


def _entry_named(said: str, shown: ExperienceLibrary) -> str | None:
    """The id of a shown entry that a reply names; where one alone is shown, that one."""
    if len(shown) == 1:
        return shown.experiences[0].id
    words = said.replace("[", " ").replace("]", " ").replace(",", " ").split()
    return next((e.id for word in words for e in shown if word.strip(".:;'\"`*()").upper() in (e.id, e.id[1:])), None)


def _may_stand(placing: _Placing, candidate: _Candidate, both: Modify, shown: ExperienceLibrary) -> bool:
    """Whether an entry may take a lesson in: a pinned one may not, and no text with a fault may replace one."""
    drawn_from = {candidate.label: candidate.advantage}
    return not shown[both.id].pinned and not faults_in([both], shown, drawn_from, placing.briefing.known)


def _without_clashes(operations: Sequence[Operation]) -> tuple[tuple[Operation, ...], set[str]]:
    """Of side-by-side answers those that can be carried out together; the labels of candidates to ask about again.

    Of several that change one entry the first is kept.
    """
    changed, kept, late = set[str](), list[Operation](), set[str]()
    for operation in operations:
        entries = {operation.id} if isinstance(operation, Modify) else set[str]()
        if entries & changed:
            late |= set(operation.sources)
        else:
            changed |= entries
            kept.append(operation)
    return tuple(kept), late
