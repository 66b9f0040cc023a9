"""What becomes of one piece of advice beside others; if it is *right* the LM cannot tell: its traps are its own."""

from __future__ import annotations

import random
import re

from tfgrpo_dspy.simulated.ideas import is_general, take_apart
from tfgrpo_dspy.simulated.policy import advice_in
from tfgrpo_dspy.simulated.prompt import OutputField, Prompt, Values, options
from tfgrpo_dspy.simulated.understanding import meaning
from tfgrpo_dspy.simulated.updating import OVERLOOKED, contradicts, is_covered, says_same, shortest

TAKEN_FOR_ADVICE = 0.1
"""Chance that advice without content is taken for advice."""

_PROPOSED = re.compile(r"lesson|candidate|proposed|insight|advice", re.IGNORECASE)
_CHOICES = {
    "new": re.compile(r"^(?:new|add)\b", re.IGNORECASE),
    "said": re.compile(r"said|already|known|duplicate|same", re.IGNORECASE),
    "sharper": re.compile(r"sharpen|refine|extend|improve|merge", re.IGNORECASE),
    "wrong": re.compile(r"correct|contradict|replace|wrong", re.IGNORECASE),
    "empty": re.compile(r"nothing|vague|empty|useless", re.IGNORECASE),
}
"""What options come to, by the words that such options are put in."""
_REVISED = re.compile(r"revis|rewrit|mended|better", re.IGNORECASE)
_FAULT = re.compile(r"fault|flaw|defect|wrong", re.IGNORECASE)
_WHICH = re.compile(r"entry|^id$|which|target", re.IGNORECASE)
_TEXT = re.compile(r"text|wording|version|both", re.IGNORECASE)


def decision_field(prompt: Prompt) -> OutputField | None:
    """The output that asks what becomes of a piece of advice; None if the prompt asks something else."""
    for field in prompt.outputs:
        if field.type.lower().startswith("literal[") and {"new", "empty"} <= _meant(field).keys():
            return field if any(_PROPOSED.search(name) for name in prompt.inputs) else None
    return None


def place(prompt: Prompt, field: OutputField, rng: random.Random) -> Values:
    """What becomes of the advice that a prompt shows, given the advice with labels that it shows beside it."""
    proposed = next(value for name, value in prompt.inputs.items() if _PROPOSED.search(name))
    entries = {
        label: text
        for name, value in prompt.inputs.items()
        if not _PROPOSED.search(name)
        for label, text, _ in advice_in(value)
        if label
    }
    choice, id, text, thought = _judged(proposed, entries, rng)
    meant = _meant(field)
    said: dict[str, object] = {}
    for output in prompt.outputs:
        if output.name == field.name:
            said[output.name] = meant.get(choice, meant["new"])
        elif _WHICH.search(output.name):
            said[output.name] = id or "none"
        elif _TEXT.search(output.name):
            said[output.name] = text or "none"
        else:
            said[output.name] = thought
    return said


def is_revision(prompt: Prompt) -> bool:
    """Whether a prompt shows a piece of advice with what is wrong with it, and asks for a better one."""
    asked = any(_REVISED.search(field.name) for field in prompt.outputs)
    return asked and all(any(names.search(name) for name in prompt.inputs) for names in (_PROPOSED, _FAULT))


def revise(prompt: Prompt) -> str:
    """The advice without what is named between quotation marks, and shorter where a limit is exceeded."""
    text = next(value for name, value in prompt.inputs.items() if _PROPOSED.search(name))
    fault = next(value for name, value in prompt.inputs.items() if _FAULT.search(name))
    for word in re.findall(r'"([^"]+)"', fault):
        text = re.sub(rf",?[^,;.]*(?<!\w){re.escape(word)}(?!\w)[^,;.]*", "", text)
    limit = re.search(r"at most (\d+) words", fault)
    return shortest(text) if limit and len(text.split()) > int(limit[1]) else text


def _meant(field: OutputField) -> dict[str, str]:
    """What each kind of choice is called here."""
    found: dict[str, str] = {}
    for option in options(field.type):
        kind = next((kind for kind, words in _CHOICES.items() if words.search(option)), None)
        if kind is not None:
            found.setdefault(kind, option)
    return found


def _judged(proposed: str, entries: dict[str, str], rng: random.Random) -> tuple[str, str, str, str]:
    """Choice, label of the entry concerned, a text that holds both, and a thought."""
    if not meaning(proposed) and is_general(take_apart(proposed).condition):
        if rng.random() >= TAKEN_FOR_ADVICE:
            return "empty", "", "", "It names neither a kind of task nor anything particular to do."
        return "new", "", "", "Nothing here says it."
    wrong = next((id for id, text in entries.items() if contradicts(proposed, text)), "")
    if wrong:
        return "wrong", wrong, "", f"[{wrong}] leads to the other side; the attempts that did otherwise won."
    alike = next((id for id, text in entries.items() if says_same(text, proposed)), "")
    if alike and rng.random() >= OVERLOOKED:
        if meaning(entries[alike]) < meaning(proposed):
            return "sharper", alike, proposed, f"It also says what to avoid, which [{alike}] does not."
        return "said", alike, "", f"[{alike}] says it; it was borne out again."
    covered = next((id for id, text in entries.items() if is_covered(proposed, text)), "")
    if covered:
        return "said", covered, "", f"[{covered}] says it, and more."
    return "new", "", "", "Better attempts did this and worse ones did not."
