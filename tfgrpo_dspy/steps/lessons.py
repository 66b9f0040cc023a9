"""Whether a lesson can stand in a library: its length, its end, and whether it speaks of its own task."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from tfgrpo_dspy.library.latex import restore_latex
from tfgrpo_dspy.library.leaks import leaked_answers, own_words
from tfgrpo_dspy.library.nearness import content_words
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.signatures import EXAMPLE_LESSON, ReviseLesson
from tfgrpo_dspy.steps.reading.soundness import ends_midway
from tfgrpo_dspy.steps.reading.values import says_nothing
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
_ECHOED = 3
"""Words of the prompt's example from which a text is taken to tell of that (ours)."""
_WHY_TOKENS = 300
"""Estimated tokens of a comparison that a revision is shown at most (ours)."""


class Drawn(NamedTuple):
    """What a lesson was drawn from, and must not speak of."""

    task: str
    answers: tuple[str, ...]
    """Expected outputs that are no other task's."""
    tasks: tuple[str, ...] = ()
    """All tasks of the run: a name that several of them hold is no task's own."""


def revised(text: str, drawn_from: Drawn, why: str, most: int, reflection: Reflection) -> tuple[str, Usage]:
    """A lesson without its faults, as far as the LM can mend them: a short question for each, while tries are left.

    Args:
        text: The lesson, on one line.
        drawn_from: The task.
        why: What the comparison showed.
        most: Words that a lesson should have.
        reflection: The LM that answers.

    Returns:
        The lesson, as it was if nothing better could be had.
    """
    spent = Usage()
    for _ in range(reflection.retries):
        fault = fault_of(text, drawn_from, most)
        if not fault:
            break
        inputs = {"why": neutralise(shorten(why, _WHY_TOKENS)), "lesson": neutralise(text), "fault": fault}
        try:
            answer = replace(reflection, retries=0).ask(ReviseLesson, inputs)
        except Unusable as error:
            spent += error.usage
            break
        spent += answer.usage
        said = one_line(restore_latex(answer.fields["revised"]))
        if said == text or says_nothing(said):
            break
        text = said
    return text, spent


def why_left_out(text: str, drawn_from: Drawn) -> str:
    """Why a lesson cannot stand in a library as it is; empty if it can. Its length is no reason."""
    if own := _own(text, drawn_from):
        return f"it speaks of its own task: {', '.join(own)}"
    if unseen := speaks_of_unseen(text):
        return f'it speaks of what its reader has not seen: "{unseen}"'
    if _tells_the_example(text, drawn_from):
        return "it tells of the example in the prompt"
    if says_what_everybody_does(text):
        return "it names no particular situation and nothing particular to do"
    return "it breaks off" if ends_midway(text) else ""


def speaks_of_unseen(text: str) -> str:
    """The words by which a text speaks of attempts, rewards or lessons that its reader has not seen; empty for none."""
    found = _UNSEEN.search(text)
    return found[0] if found else ""


def unseen_fault(words: str) -> str:
    """A sentence that a model can act on."""
    return f'It speaks of "{words}", which its reader has not seen. Say itself when it applies and what to do then.'


def says_what_everybody_does(text: str) -> bool:
    """Whether nearly all words of a text are those of "read the question carefully and check the answer"."""
    words = content_words(text)
    most = max(_MOST_OWN, _OWN_SHARE * len(words))
    return len(words & _COMMON) >= _LEAST_COMMON and len(words - _COMMON) <= most


def fault_of(text: str, drawn_from: Drawn, most: int) -> str:
    """What is wrong with a lesson, in sentences that a model can act on; empty if nothing is."""
    if own := _own(text, drawn_from):
        listed = ", ".join(f'"{word}"' for word in own)
        return f"It speaks of one task ({listed}). Say it for every task of the kind, without these."
    if unseen := speaks_of_unseen(text):
        return unseen_fault(unseen)
    if _tells_the_example(text, drawn_from):
        return "It tells of a sauce, which was an example only. Say what the attempts at this task teach."
    if says_what_everybody_does(text):
        return (
            "It is what everybody does anyway. Name the mistake that the worse attempts made, when it threatens, and "
            "what to do instead."
        )
    if ends_midway(text):
        return "It breaks off. Write the whole lesson."
    words = count_words(text)
    return f"It has {words} words. Say it in one sentence of at most {most} words." if words > most else ""


def _tells_the_example(text: str, drawn_from: Drawn) -> bool:
    """Whether a text gives back words of the prompt's own example that its task does not hold."""
    return len((content_words(text) & content_words(EXAMPLE_LESSON)) - content_words(drawn_from.task)) >= _ECHOED


def _own(text: str, drawn_from: Drawn) -> list[str]:
    own = own_words(text, [drawn_from.task, *drawn_from.answers], drawn_from.tasks)
    return list(dict.fromkeys([*own, *leaked_answers(text, drawn_from.answers)]))
