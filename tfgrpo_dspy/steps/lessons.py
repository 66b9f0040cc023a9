"""Whether a text that an LM wrote can stand in a library: its length, its end, whether it speaks of its own task."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from tfgrpo_dspy.library.leaks import Known, leaked_answers, own_words
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.nearness import content_words
from tfgrpo_dspy.library.operations import Add, Delete, Modify, Operation
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.advantages import SemanticAdvantage
from tfgrpo_dspy.signatures import EXAMPLE_LESSON, ReviseLesson
from tfgrpo_dspy.steps.reading.soundness import ends_midway
from tfgrpo_dspy.steps.reading.texts import read_lesson, says_nothing
from tfgrpo_dspy.steps.reflection import Reflection, Unusable
from tfgrpo_dspy.text import count_words, neutralise, one_line, shorten

_COMMON = frozenset(
    "accounted accuracy accurate accurately achieve additionally all always answer answering answers any approach "
    "approaches areas arrive ask asked attempt attempts attention avoid become better calculate calculated "
    "calculating calculation calculations care careful carefully check checked clear clearly close comfortable "
    "compare complete concise confident consider consistently correct correctly crucial detail details double "
    "double-check each ensure error errors essential estimate every exact expected final follow followed form "
    "format formula formulas full give given go good help identify important improve improvement improvements "
    "improving information instruction instructions involved involving issue issues keep know knowledge lesson "
    "logic logical made make making mathematical mathematics method mistake mistakes multiple necessary number "
    "numbers numerical operation operations order outcome outcomes pay performance plausible practice practicing "
    "precise predict predicting prediction predictions problem problems proceed properly provided question "
    "questions read reason reasoning recheck regularly relevant remember required result results review right "
    "several single solution solutions solve solved solving source sources starting step steps successful "
    "successfully sure systematic systematically task tasks text think thorough thoroughly through throughout try "
    "understand understanding understood use used using verify what word words work working write".split()
)
"""Words that what everybody does anyway is said in; none that could name a situation, such as units or conditions."""
_LEAST_COMMON, _MOST_OWN, _OWN_SHARE = 3, 2, 0.15
"""How many of these a text has at least, and how many others (or which share) at most, that says nothing (ours)."""
_UNSEEN = re.compile(
    r"\battempts?,? (?:number |no\. ?|#)?\d+|\b(?:best|better|worst|worse|these|those) attempts?\b"
    r"|\brewards? (?:of|was|is|were|are|=) ?-?\d+(?:\.\d+)?"
    r"|\A(?:this|the|both|these) (?:\w+ )?(?:lessons?|entry|entries|experiences?) (?:also )?"
    r"(?:say|tell|provide|give|emphasi[sz]e|suggest|show|teach|explain|is|are)\w*",
    re.IGNORECASE,
)
"""Words by which a text speaks of its group or of itself: whoever reads it later has neither before them."""
_NOTHING_KNOWN = Known()
_ECHOED = 3
"""Words of the prompt's example that its task does not hold, from which a text is taken to tell of that (ours)."""
_WHY_TOKENS, _TEXT_TOKENS = 300, 60
"""Estimated tokens of a comparison that a revision is shown, and of a text that is asked again, at most (ours)."""


class Drawn(NamedTuple):
    """What a text was drawn from, and must not speak of."""

    tasks: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    """Their expected outputs that are no other task's."""
    of_all: tuple[str, ...] = ()
    """All tasks of the run: a name that several of them hold is no task's own."""

    @classmethod
    def of(cls, tasks: Mapping[str, str], known: Known) -> Drawn:
        """Of tasks by the names of their examples (`e12`)."""
        return cls(tuple(tasks.values()), known.answers_of(tasks), known.tasks)


class Fault(NamedTuple):
    """Why a text should not stand in a library as it is."""

    told: str
    """In sentences that a model can act on."""
    why: str
    """In words for who looks up what became of it; empty of a length, for which no lesson is lost."""


def revised(text: str, drawn_from: Drawn, why: str, most: int, reflection: Reflection) -> tuple[str, Usage]:
    """A lesson without its faults, as far as the LM can mend them: a short question for each, while tries are left.

    It should have at most `most` words, and teach what the comparison showed (`why`); it stays as it was if nothing
    better could be had.
    """
    spent, left = Usage(), reflection.retries
    while left and (fault := fault_of(text, drawn_from, most)):
        left -= 1
        inputs = {"why": neutralise(shorten(why, _WHY_TOKENS)), "lesson": neutralise(text), "fault": fault.told}
        try:
            answer = replace(reflection, retries=0).ask(ReviseLesson, inputs)
        except Unusable as error:
            return text, spent + error.usage
        spent += answer.usage
        said = read_lesson(answer.fields["revised"])
        if said == text or says_nothing(said):
            break
        text = said
    return text, spent


def faults_in(
    operations: Iterable[Operation],
    library: ExperienceLibrary,
    labelled: Mapping[str, SemanticAdvantage] = MappingProxyType({}),
    known: Known = _NOTHING_KNOWN,
    most: int | None = None,
) -> dict[Operation, Fault]:
    """The operations of an LM whose texts should not stand in a library as they are, with what is wrong.

    An entry that says so already may be rewritten with it. A deletion goes with a faulty text that was to say the same.

    Args:
        operations: As the LM asked for them; those of a person are not looked at.
        library: That they speak of.
        labelled: What they may rest on, by the labels that they cite; one that cites none rests on all of it.
        known: What the training examples hold.
        most: Words that a text should have; None for any number.
    """
    asked, found = tuple(operations), dict[Operation, Fault]()
    for operation in asked:
        if isinstance(operation, Add | Modify):
            cited = {label: labelled[label] for label in operation.sources if label in labelled} or labelled
            drawn = Drawn.of({a.source.example: a.task for a in cited.values()}, known)
            fault = fault_of(one_line(operation.text), drawn, most)
            old = library[operation.id].text if isinstance(operation, Modify) and operation.id in library else ""
            if fault and not (old and fault == fault_of(old, drawn)):
                found[operation] = fault
    for deletion in [o for o in asked if isinstance(o, Delete)]:
        for text, fault in [*found.items()]:
            if isinstance(text, Modify) and _is_merged_into(text, deletion):
                found[deletion] = fault
    return found


def _is_merged_into(text: Modify, deletion: Delete) -> bool:
    """Whether a deletion is part of a merger into a text, as far as it tells."""
    if text.sources and deletion.sources:
        return not set(text.sources).isdisjoint(deletion.sources)
    return deletion.reason == text.reason or text.id in deletion.reason


def told(faults: Mapping[Operation, Fault]) -> str:
    """What is wrong with texts, in sentences that a model can act on; empty for nothing."""
    said = [(o.text, fault) for o, fault in faults.items() if isinstance(o, Add | Modify)]
    return " ".join(f'"{shorten(one_line(text), _TEXT_TOKENS)}": {fault.told}' for text, fault in said)


def fault_of(text: str, drawn_from: Drawn, most: int | None = None) -> Fault | None:
    """What is wrong with a text; None if nothing is."""
    if says_nothing(text):
        return Fault("It says nothing. Write the text.", "it says nothing")
    names = own_words(text, [*drawn_from.tasks, *drawn_from.answers], drawn_from.of_all)
    if own := list(dict.fromkeys([*names, *leaked_answers(text, drawn_from.answers)])):
        listed = ", ".join(f'"{word}"' for word in own)
        said = f"It speaks of one task ({listed}). Say it for every task of the kind, without these."
        return Fault(said, f"it speaks of its own task: {', '.join(own)}")
    if unseen := _UNSEEN.search(text):
        said = f'It speaks of "{unseen[0]}", which its reader has not seen. Say when it applies and what to do then.'
        return Fault(said, f'it speaks of what its reader has not seen: "{unseen[0]}"')
    echoed = content_words(text) & content_words(EXAMPLE_LESSON)
    if len(echoed - content_words(" ".join(drawn_from.tasks))) >= _ECHOED:
        said = "It tells of a sauce, which was an example only. Say what the attempts at this task teach."
        return Fault(said, "it tells of the example in the prompt")
    if says_what_everybody_does(text):
        said = (
            "It is what everybody does anyway. Name the mistake that the worse attempts made, when it threatens, and "
            "what to do instead."
        )
        return Fault(said, "it names no particular situation and nothing particular to do")
    if ends_midway(text):
        return Fault("It breaks off. Write all of it.", "it breaks off")
    if most is not None and (words := count_words(text)) > most:
        return Fault(f"It has {words} words. Say it in one sentence of at most {most} words.", "")
    return None


def says_what_everybody_does(text: str) -> bool:
    """Whether nearly all words of a text are those of "read the question carefully and check the answer"."""
    words = content_words(text)
    most = max(_MOST_OWN, _OWN_SHARE * len(words))
    return len(words & _COMMON) >= _LEAST_COMMON and len(words - _COMMON) <= most
