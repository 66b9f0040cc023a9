"""The paper's update: one question for all of a batch, read item by item; what is odd is asked again alone."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Add, Delete, Keep, Operation, settle_scope
from tfgrpo_dspy.library.section import tokens_of, told_pinned
from tfgrpo_dspy.library.similarity import normalised_tokens, overlap
from tfgrpo_dspy.lm.budget import UPDATE
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.advantages import SemanticAdvantage, by_label
from tfgrpo_dspy.records.failures import Cause, failures_of
from tfgrpo_dspy.records.rollouts import step_of
from tfgrpo_dspy.records.updates import Update
from tfgrpo_dspy.signatures import UpdateLibrary, with_correction, with_effects, with_scopes
from tfgrpo_dspy.steps.briefing import Briefing
from tfgrpo_dspy.steps.lessons import faults_in, told
from tfgrpo_dspy.steps.reading.odd import Items
from tfgrpo_dspy.steps.reflection import Unusable
from tfgrpo_dspy.text import counted, neutralise, one_line, shorten

_UPDATE_TOKENS = 60_000
"""Estimated tokens of advantages that an update is shown at most; beyond, comparisons lose their middle (ours)."""
_LABEL = re.compile(r"\bA\d+\b")
_ALIKE = 0.5
"""Token overlap from which an operation without labels is taken to speak for a candidate (ours)."""
_PASSED_OVER = "Your last reply said nothing about these candidates: decide about each of them."

Labelled = Mapping[str, SemanticAdvantage]


class _Part(NamedTuple):
    """Some of a batch's advantages, to be asked about in one question."""

    labelled: Labelled
    tries: int
    """How often it may be asked again."""
    correction: str = ""
    """What was odd about the last reply, a sentence or several."""

    def halves(self) -> list[_Part]:
        """It in two questions."""
        items = list(self.labelled.items())
        middle = len(items) // 2
        return [self._replace(labelled=dict(half)) for half in (items[:middle], items[middle:])]


@dataclass
class _Asking:
    """An update under way: the library as far as it has come, and what is known of the questions."""

    briefing: Briefing
    library: ExperienceLibrary
    rounds: list[tuple[Operation, ...]] = field(default_factory=list)
    undecided: dict[str, SemanticAdvantage] = field(default_factory=dict)
    """Label to the candidates about which nothing could be had."""
    whys: list[tuple[Cause, str]] = field(default_factory=list)
    """Why not."""
    usage: Usage = Usage()


def update_at_once(advantages: Sequence[SemanticAdvantage], briefing: Briefing) -> Update:
    """One question for the whole batch; one that is answered in part is asked again about what is left.

    Operations that can be read are kept, whatever stands beside them. A reply that broke off is asked again in halves.
    """
    labelled = by_label(advantages)
    if all(step_of(advantage.group) != briefing.step for advantage in advantages):
        briefing = briefing.asking_again()  # all are carried: the prompt may be that of the failed update
    asking = _Asking(briefing.asking(kind=UPDATE, can_split=True), briefing.library)
    parts = deque([_Part(labelled, briefing.reflection.retries)])
    while parts:
        parts.extendleft(reversed(_ask(asking, parts.popleft())))
    undecided = tuple(asking.undecided[label] for label in labelled if label in asking.undecided)
    left = counted(sum(len(a.experiences) for a in undecided), "candidate")
    failures = failures_of(f"s{briefing.step}", asking.whys, f"{left} carried to the next step")
    return Update(tuple(asking.rounds), undecided, (), failures, asking.usage)


def _ask(asking: _Asking, part: _Part) -> list[_Part]:
    """Ask about some advantages; returns what is to be asked further."""
    briefing, labelled = asking.briefing, part.labelled
    now = replace(briefing, library=asking.library) if asking.rounds else briefing
    shown = {
        "objective": briefing.objective,
        "experiences": experiences_about(now, labelled.values()),
        "limits": _limits(now),
    }
    signature: Any = with_scopes(UpdateLibrary, briefing.readers) if briefing.readers else UpdateLibrary
    if effects := briefing.effects_of(briefing.library):
        shown["effects"], signature = effects, with_effects(signature)
    if part.correction:
        shown["correction"], signature = part.correction, with_correction(signature)

    def inputs_within(tokens: int) -> dict[str, str]:
        told = [_as_told(label, advantage, tokens // len(labelled)) for label, advantage in labelled.items()]
        return {**shown, "advantages": "\n\n".join(told)}

    try:
        answer = briefing.reflection.ask_within(_UPDATE_TOKENS, signature, inputs_within)
    except Unusable as error:
        asking.usage += error.usage
        if error.broke_off and len(labelled) > 1:
            return part.halves()
        asking.undecided |= labelled
        asking.whys.append((error.cause, str(error)))
        return []
    asking.usage += answer.usage
    return _take(asking, part, answer.fields["operations"])


def _take(asking: _Asking, part: _Part, items: Items) -> list[_Part]:
    """Keep what was decided; returns what is to be asked again: odd items, faulty texts, what is passed over or cut.

    After the last try an over-long text is kept as it is, and a candidate that is passed over still, or for which no
    text came that may stand, is added: only what was answered in a way that cannot be read is undecided.
    """
    briefing, is_last = asking.briefing, part.tries <= 0
    settled = [settle_scope(operation, briefing.readers) for operation in items.operations]
    made = [_citing(o, [label for label in part.labelled if label in _spoken_for([o], part.labelled)]) for o in settled]
    most = None if is_last else briefing.settings.max_words
    faults = faults_in(made, asking.library, part.labelled, briefing.known, most)
    faulty = {label: f"The update's own text was left out: {f.why}." for o, f in faults.items() for label in o.sources}
    named = {label for odd in items.odd for label in _LABEL.findall(odd.raw)}
    good = [o for o in made if o not in faults]
    open_ = _open(part, good, named if is_last else named | faulty.keys())
    if is_last:
        good += [
            Add(text=text, reason=faulty.get(label, "The update passed it over."), sources=(label,))
            for label, advantage in open_.items()
            if label not in named and items.is_whole and not (items.odd and not made)
            for text in advantage.experiences
        ]
    chosen = tuple(_citing(operation, [*part.labelled]) for operation in good)
    if chosen:
        asking.rounds.append(chosen)
        asking.library = asking.library.apply(chosen, limits=asking.briefing.settings.limits).library
    wrong = " ".join([*(odd.why for odd in items.odd), *filter(None, [told(faults)])])
    if is_last:
        decided = _spoken_for(good, part.labelled)
        asking.undecided |= {label: a for label, a in open_.items() if label not in decided}
        asking.whys += [] if decided >= open_.keys() else [("reply", wrong or "the reply broke off")]
        return []
    if not open_:
        return []
    rest = _Part(open_, part.tries - 1, wrong or _PASSED_OVER)
    return [rest] if items.is_whole or len(open_) == 1 else rest.halves()


def _open(part: _Part, good: Sequence[Operation], named: set[str]) -> Labelled:
    """Advantages with those of their candidates that no good operation speaks for; whole where something odd names one.

    All of them if nothing was read.
    """
    found = dict[str, SemanticAdvantage]()
    for label, advantage in part.labelled.items():
        spoken = [o for o in good if label in _spoken_for([o], part.labelled)]
        left = advantage.experiences
        if label not in named:
            has_each = len(spoken) >= len(left)
            left = () if has_each else tuple(t for t in left if not any(_speaks_for(o, t) for o in spoken))
        if left or label in named:
            found[label] = replace(advantage, experiences=left)
    return found


def _speaks_for(operation: Operation, text: str) -> bool:
    return isinstance(operation, Keep | Delete) or _is_alike(text, operation.text)


def _spoken_for(operations: Iterable[Operation], labelled: Labelled) -> set[str]:
    """Labels of the advantages that operations rest on; of one that cites none those whose candidates it repeats."""
    found: set[str] = set()
    for operation in operations:
        cited = {label for label in operation.sources if label in labelled}
        if cited or len(labelled) == 1:
            found |= cited or labelled.keys()
        elif isinstance(operation, Keep) and operation.id is None:
            found |= labelled.keys()
        else:
            text = getattr(operation, "text", "")
            found |= {label for label, a in labelled.items() if any(_is_alike(text, own) for own in a.experiences)}
    return found


def _is_alike(a: str, b: str) -> bool:
    return overlap(normalised_tokens(a), normalised_tokens(b)) >= _ALIKE


def _citing(operation: Operation, labels: Sequence[str]) -> Operation:
    """The operation; one that cites none of the labels rests on all of them."""
    known = any(label in labels for label in operation.sources)
    return operation if known or not labels else operation.model_copy(update={"sources": tuple(labels)})


def experiences_about(briefing: Briefing, advantages: Iterable[SemanticAdvantage]) -> str:
    """The present library, or what of it fits the advantages."""
    return briefing.experiences_about(*(text for a in advantages for text in (a.task, *a.experiences)))


def _as_told(label: str, advantage: SemanticAdvantage, tokens: int) -> str:
    """An advantage as the updater reads it, within about the given estimated tokens."""
    return "\n".join(
        [
            f"{label} (task: {one_line(shorten(advantage.task, 60))})",
            f"Why some won: {shorten(neutralise(advantage.comparison), tokens)}",
            "Candidates:",
            *([f"- {text}" for text in advantage.experiences] or ["(none)"]),
        ]
    )


def told_in_full(advantage: SemanticAdvantage) -> str:
    """All of an advantage that an update may depend on."""
    return "\n".join([advantage.group, advantage.task, advantage.comparison, *advantage.experiences])


def _limits(briefing: Briefing) -> str:
    """The bounds of the library in words, with how much of them is used."""
    settings, library = briefing.settings, briefing.library
    said = [f"each text at most {settings.max_words} words"]
    if settings.max_experiences is not None:
        said.append(f"at most {settings.max_experiences} entries (now {len(library)})")
    if settings.max_library_tokens is not None:
        said.append(f"at most {settings.max_library_tokens} tokens (now {tokens_of(library, settings.count_tokens)})")
    return "; ".join(filter(None, [*said, told_pinned(library)]))
