"""One frozen LM plays every role: what a prompt asks for is told from its fields and instructions alone."""

from __future__ import annotations

import json
import random
import re

from tfgrpo_dspy.simulated.agents.playing import play
from tfgrpo_dspy.simulated.agents.turns import conclusion
from tfgrpo_dspy.simulated.attempts import read_alone, read_attempts
from tfgrpo_dspy.simulated.failings import Failings, FinishReason, broken, misspelt
from tfgrpo_dspy.simulated.judging import choose, cited, criticise
from tfgrpo_dspy.simulated.plain import reply_in_words
from tfgrpo_dspy.simulated.policy import Attempt, attempt
from tfgrpo_dspy.simulated.prompt import OutputField, Prompt, Values, options, write_reply
from tfgrpo_dspy.simulated.proposals import decision_field, is_revision, place, revise
from tfgrpo_dspy.simulated.reflection import draw_lesson, summarise
from tfgrpo_dspy.simulated.tips import write_tips
from tfgrpo_dspy.simulated.updating import update

_OPERATIONS = re.compile(r"operation|edits?$|delta", re.IGNORECASE)
_ADVICE = re.compile(
    r"experience|insight|lesson|tip|advice|guideline|heuristic|rules?$|instruction|strateg|playbook|bullet|principle|cheat_?sheet",
    re.IGNORECASE,
)
_AIM = re.compile(r"objective|purpose|goal", re.IGNORECASE)
_SUMMARY = re.compile(r"summar|observation|description", re.IGNORECASE)
_CRITIQUE = re.compile(r"critique|critici|feedback|reflection|assessment|verdict|is_correct", re.IGNORECASE)
_CHOICE = re.compile(r"best|choice|chosen|winner|index", re.IGNORECASE)
_HELPFUL = re.compile(r"^helpful", re.IGNORECASE)
_HARMFUL = re.compile(r"^harmful", re.IGNORECASE)
_ONE_LESSON = re.compile(r"^(?:lesson|insight|tip|experience)(?:_?\d+)?$", re.IGNORECASE)
_MISLED = re.compile(r"misle[a]?d", re.IGNORECASE)
_THOUGHT = re.compile(r"reason|thought|rationale|explan|steps|working|analysis|think", re.IGNORECASE)
_PREFIX = re.compile(r"prefix", re.IGNORECASE)
_INSTRUCTION = re.compile(r"instruction|cheat_?sheet", re.IGNORECASE)
_PRESENT_INSTRUCTION = re.compile(
    r"^(?:basic|current|present|old|previous)?_?(?:instructions?|cheat_?sheet)$", re.IGNORECASE
)
_TRIED = re.compile(r"\bInstruction #(\d+): (.*?)(?=\n?»|\n(?:\[\d+\]|\w+(?: Score)? #)|\Z)", re.DOTALL)
_SCORE = re.compile(r"\bScore #(\d+): (-?\d+(?:\.\d+)?)")
_CONCLUSION = re.compile(r"((?:Here |I am not sure)[^\n]*?So the answer is (?:perhaps )?(-?[\d,]+(?:\.\d+)?))\.")
_ARGUMENT = re.compile(r"\(1\) \w+.*?It takes arguments \{'(\w+)'", re.DOTALL)


def reply_to(
    prompt: Prompt, temperature: float | None, rng: random.Random, confusion: float, failings: Failings
) -> tuple[str, FinishReason]:
    """The reply to a prompt, in the format that it asks for, and how it ends."""
    values = misspelt(prompt, _play(prompt, temperature, rng, confusion), failings, rng)
    return broken(write_reply(prompt, values), failings, rng)


def _play(prompt: Prompt, temperature: float | None, rng: random.Random, confusion: float) -> Values:
    """What the reply says, in the role that the output fields call for."""
    if not prompt.outputs:
        return reply_in_words(prompt, temperature, rng)
    if (kept := _keep_library(prompt, rng, confusion)) is not None:
        return kept
    if _asks_for(prompt, _ADVICE):
        return _advise(prompt, rng, confusion)
    if _asks_for(prompt, _SUMMARY):
        return _fill(prompt, {_SUMMARY: summarise(prompt)})
    if _asks_for(prompt, _CHOICE) and len(shown := read_attempts(prompt.inputs)) > 1:
        return _fill(prompt, {_CHOICE: choose(prompt, shown, temperature, rng)})
    if _asks_for(prompt, _CRITIQUE) and (alone := read_alone(prompt.inputs)).steps:
        opinion = criticise(prompt, alone, temperature, rng)
        return {f.name: opinion.agrees if f.type == "bool" else opinion.critique for f in prompt.outputs}
    if any(field.name == "next_tool_name" for field in prompt.outputs):
        return _act(prompt, temperature, rng)
    made = _told(prompt) or _concluded(prompt.question) or attempt(prompt, prompt.question, temperature, rng)
    return {field.name: _answer(field, made) for field in prompt.outputs}


def _keep_library(prompt: Prompt, rng: random.Random, confusion: float) -> Values | None:
    """What a prompt about the library itself asks for: what it is for, a decision or operations; None for others."""
    if _asks_for(prompt, _AIM):
        return _fill(prompt, {_AIM: "Find the answer that is asked for, and give it as the expected ones are given."})
    if is_revision(prompt):
        return {field.name: revise(prompt) for field in prompt.outputs}
    if (field := decision_field(prompt)) is not None:
        return place(prompt, field, rng)
    if not _asks_for(prompt, _OPERATIONS):
        return None
    compared = any(shown.steps for shown in read_attempts(prompt.inputs))
    lessons = draw_lesson(prompt, rng, confusion).experiences if compared else []
    return _fill(prompt, {_OPERATIONS: update(prompt, rng, lessons)})


def _asks_for(prompt: Prompt, names: re.Pattern[str]) -> bool:
    return any(names.search(field.name) for field in prompt.outputs)


def _fill(
    prompt: Prompt, values: dict[re.Pattern[str], object], thought: str = "This follows from what is shown."
) -> Values:
    """The values under the output fields that their patterns name; a thought in fields for thoughts."""
    filled: dict[str, object] = {}
    for field in prompt.outputs:
        value = next((value for names, value in values.items() if names.search(field.name)), None)
        if value is not None:
            filled[field.name] = _fitting(field, value)
        elif field.type == "str":
            filled[field.name] = thought
    return filled


def _fitting(field: OutputField, value: object) -> object:
    """A list for a list, and one text for everything else."""
    if isinstance(value, list) and not field.type.lower().startswith(("list", "dict")):
        return "\n".join(f"- {item}" for item in value) or "Nothing to add."
    return value


def _advise(prompt: Prompt, rng: random.Random, confusion: float) -> Values:
    attempts = read_attempts(prompt.inputs)
    if any(shown.steps for shown in attempts):
        lesson = draw_lesson(prompt, rng, confusion)
        written, thought, misled_by = lesson.experiences, lesson.comparison, lesson.misled_by
    else:
        written, thought, misled_by = write_tips(prompt, rng), "These points come to mind for tasks of this kind.", ""
    if singly := [field for field in prompt.outputs if _ONE_LESSON.search(field.name) and field.type == "str"]:
        each = dict(zip((field.name for field in singly), [*written, *["none"] * len(singly)], strict=False))
        return {**_fill(prompt, {_MISLED: misled_by or "none"}, thought), **each}
    modules = re.findall(r"[\w.]+", prompt.inputs.get("module_names", ""))
    if any(_ADVICE.search(field.name) and field.type.lower().startswith("dict") for field in prompt.outputs):
        return _fill(prompt, {_ADVICE: {name: " ".join(written) for name in modules}}, thought)
    instruction = "\n".join([_present_instruction(prompt) or "Solve the task.", *(f"- {text}" for text in written)])
    values: dict[re.Pattern[str], object] = {
        _HELPFUL: cited(attempts, helpful=True),
        _HARMFUL: cited(attempts, helpful=False),
        _INSTRUCTION: instruction,
        _PREFIX: "Answer:",
        _ADVICE: written,
    }
    return _fill(prompt, values, thought)


def _present_instruction(prompt: Prompt) -> str:
    """The instruction that is to be improved: the one shown, or the best of several shown with their scores."""
    for name, value in prompt.inputs.items():
        if _PRESENT_INSTRUCTION.search(name):
            return value
        text = _unlisted(value)
        scores = {number: float(score) for number, score in _SCORE.findall(text)}
        tried = {
            re.sub(r"\n +", "\n", told.strip()): scores[number]
            for number, told in _TRIED.findall(text)
            if number in scores
        }
        if tried:
            return str(max(tried, key=tried.__getitem__))
    return ""


def _unlisted(text: str) -> str:
    """The items of a JSON list of texts, one after the other; any other text as it is."""
    try:
        found = json.loads(text) if text.startswith('["') else text
    except ValueError:
        return text
    return text if isinstance(found, str) else "\n".join(map(str, found))


def _act(prompt: Prompt, temperature: float | None, rng: random.Random) -> Values:
    """One turn of an agent: think and finish, or look an unknown thing up once with the first tool."""
    tools = next(options(field.type) for field in prompt.outputs if field.name == "next_tool_name")
    if (move := play(prompt, temperature, rng)) is not None:
        return {"next_thought": move.thought, "next_tool_name": move.tool, "next_tool_args": dict(move.arguments or {})}
    made = _concluded(prompt.question) or attempt(prompt, prompt.question, temperature, rng)
    looked_up = any(name.startswith("observation") for name in prompt.inputs)
    argument = _ARGUMENT.search(prompt.instructions)
    if not made.sure and not looked_up and argument and tools[0] != "finish":
        question = next(iter(prompt.inputs.values()), "")
        thought = "I am not sure about this, so I look it up first."
        return {"next_thought": thought, "next_tool_name": tools[0], "next_tool_args": {argument[1]: question}}
    finish = "finish" if "finish" in tools else tools[-1]
    return {"next_thought": made.reasoning, "next_tool_name": finish, "next_tool_args": {}}


def _told(prompt: Prompt) -> Attempt | None:
    """The conclusion of an agent's last thought, if there is one."""
    found = conclusion(prompt)
    return Attempt(*found, sure=True) if found else None


def _concluded(text: str) -> Attempt | None:
    """The conclusion of an earlier thought, if the text shows one."""
    found = _CONCLUSION.findall(text)
    return Attempt(f"{found[-1][0]}.", found[-1][1], sure=True) if found else None


def _answer(field: OutputField, made: Attempt) -> object:
    """What an attempt puts into an output field, by the field's type."""
    kind = field.type.lower()
    if _THOUGHT.search(field.name) and kind in ("str", "reasoning"):
        return made.reasoning
    if kind.startswith("bool"):
        return made.sure
    if kind.startswith("literal["):
        return next((option for option in options(field.type) if option == made.answer), options(field.type)[0])
    number = made.answer.replace(",", "")
    if kind.startswith(("int", "float")):
        return _number(number, whole=kind.startswith("int"))
    if kind.startswith("dict"):
        return {"answer": made.answer}
    return [made.answer] if kind.startswith("list") else made.answer


def _number(text: str, *, whole: bool) -> float:
    value = float(text) if re.fullmatch(r"-?\d+(?:\.\d+)?", text) else 0.0
    return round(value) if whole else value
