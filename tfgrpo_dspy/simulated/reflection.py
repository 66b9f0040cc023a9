"""Reflecting on attempts: summaries, and where better attempts part from worse ones. All from the text shown."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tfgrpo_dspy.simulated.attempts import (
    Shown,
    judge,
    listed_attempts,
    read_alone,
    read_reward,
    reward_in,
    told_attempts,
)
from tfgrpo_dspy.simulated.policy import advice_in, explained
from tfgrpo_dspy.simulated.prompt import Prompt
from tfgrpo_dspy.simulated.steps import Step
from tfgrpo_dspy.simulated.understanding import FAMILY, Stance, family_of, meaning, stances
from tfgrpo_dspy.simulated.world import answers_match, recognise

VAGUE = 0.08
"""Chance that a contrast is put so vaguely that nothing can be learned from it."""
CLEAR = 1 / 3
"""A step is held decisive when the share of better attempts that took it exceeds that of worse ones by this much."""
INSIGHT = 0.6
"""Chance of finding the way to an expected answer, for each task of which a poor attempt is shown."""
EQUAL = 1e-9
"""Rewards that differ by no more count as equal."""
COMMONPLACES = (
    "When solving a problem, check the calculation carefully.",
    "When solving a problem, read the text carefully before calculating.",
    "When working on a task, go step by step and verify each of the steps.",
    "When answering a question, make sure that the result is plausible.",
)
"""Advice without content: what is left to say where nothing can be compared."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A step at which better and worse attempts part."""

    kind: str
    """The kind of task, completes "When ..."."""
    better: str
    worse: str
    """What the worse ones did instead; empty when they show no such step."""
    gain: float
    """Share of the better attempts that took the step minus that of the worse ones."""
    misled_by: str
    """Label of the advice that the worse ones followed; empty if none."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """The outcome of a comparison."""

    comparison: str
    experiences: list[str]
    misled_by: str = ""
    """Label of the advice that the worse attempts followed; empty if none."""


def summarise(prompt: Prompt) -> str:
    """An attempt step by step, with its outcome as far as it is shown."""
    shown = read_alone(prompt.inputs)
    kind = f"The task was read as one where {shown.kind}." if shown.kind else ""
    steps = " ".join(_say(i, step) for i, step in enumerate(shown.steps)) or "No steps of reasoning are shown."
    answer = f"The attempt answered {shown.answer}." if shown.answer else "No final answer is shown."
    return " ".join(part for part in (kind, steps, answer, _outcome(prompt)) if part)


def _say(index: int, step: Step) -> str:
    followed = f" (following [{step.followed}])" if step.followed else ""
    return f"{'Next' if index else 'First'}, {step.approach}{followed}: {step.calculation}."


def _outcome(prompt: Prompt) -> str:
    return outcome(read_reward(prompt.inputs), prompt.inputs.get("expected", ""))


def outcome(reward: float | None, expected: str = "") -> str:
    """A sentence on how an attempt turned out."""
    if reward is None:
        return "No score is shown, so how good it was cannot be said."
    wrong = f"; expected was {' '.join(expected.split())}" if expected and reward < 1 else ""
    verdict = "so this way of working held up" if reward >= 1 else f"so something above went wrong{wrong}"
    return f"It earned {reward:g}, {verdict}."


def draw_lesson(prompt: Prompt, rng: random.Random, confusion: float = 0.0) -> Lesson:
    """Why some attempts did better than others, and what to remember from that.

    Confused, which it is with the given chance, it takes the losers' way for what made the winners win.
    """
    told = told_attempts(prompt.inputs)
    attempts = judge([shown for _, shown in told], prompt.inputs.get("expected", ""))
    if prompt.learns != "contrast":
        attempts = _with_hindsight(prompt, [text for text, _ in told], attempts, rng)
    if confusion and rng.random() < confusion:
        attempts = _mistaken(attempts)
    differences = sorted(contrast(attempts), key=lambda d: -d.gain)
    if not differences or rng.random() < VAGUE:
        return Lesson(_no_contrast(attempts), _new([rng.choice(COMMONPLACES)], prompt))
    said = " ".join(_explain(difference) for difference in differences)
    written = [text for d in differences if (text := phrase(d, max_words(prompt)))]
    return Lesson(said, _new(written, prompt), next((d.misled_by for d in differences if d.misled_by), ""))


_EXPECTED = re.compile(r"expected|gold|reference|label|oracle", re.IGNORECASE)
_SAID_EXPECTED = re.compile(
    r"\b(?:expected|gold|correct answer|right answer|should (?:be|have been))\b\D{0,40}?(-?\d[\d,]*(?:\.\d+)?)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def _with_hindsight(prompt: Prompt, texts: Sequence[str], attempts: Sequence[Shown], rng: random.Random) -> list[Shown]:
    """The attempts, or the poor ones of who learns from no contrast, and the ways found to expected answers."""
    shared = "\n".join(listed_attempts(value).rest for value in prompt.inputs.values())
    expected = "\n".join(value for name, value in prompt.inputs.items() if _EXPECTED.search(name))
    told = [replace(shown, reward=_reward_of(text, shown)) for text, shown in zip(texts, attempts, strict=True)]
    ways: dict[str, Shown | None] = {}
    for text, shown in zip(texts, told, strict=True):
        if not shown.is_poor:
            continue
        task = text if recognise(text) else shared
        if (found := recognise(task)) is None:
            continue
        made = explained(*found, task)
        wanted = _NUMBER.findall(expected) or _SAID_EXPECTED.findall(text)
        if made.reasoning not in ways and any(answers_match(number, made.answer) for number in wanted):
            ways[made.reasoning] = Shown.of(made.reasoning, 1.0) if rng.random() < INSIGHT else None
    kept = told if prompt.learns == "both" else [shown for shown in told if shown.is_poor]
    return [*kept, *(way for way in ways.values() if way is not None)]


def said_expected(text: str) -> str:
    """The answer that feedback in a text says was expected; empty if it says none."""
    found = _SAID_EXPECTED.search(text)
    return found[1] if found else ""


def _reward_of(text: str, shown: Shown) -> float | None:
    return shown.reward if shown.reward is not None else reward_in("", text)


def contrast(attempts: Sequence[Shown]) -> list[Difference]:
    """Every step at which the better attempts part from the worse, per kind of task."""
    by_kind: dict[str, list[Shown]] = {}
    for shown in attempts:
        family = family_of(shown.kind)
        by_kind.setdefault(family.name if family else shown.kind, []).append(shown)
    return [difference for name, group in by_kind.items() for difference in _part(name, group)]


def _part(family: str, group: Sequence[Shown]) -> Iterable[Difference]:
    better, worse = _sides(group)
    for i in range(max((len(shown.steps) for shown in better), default=0)):
        good = [shown.steps[i] for shown in better if i < len(shown.steps)]
        bad = [shown.steps[i] for shown in worse if i < len(shown.steps)]
        chosen, count = Counter(_gist(step, family) for step in good).most_common(1)[0]
        others = [step for step in bad if _gist(step, family) != chosen]
        gain = count / len(better) - (len(bad) - len(others)) / len(worse)
        if gain >= CLEAR:
            approach = next(step.approach for step in good if _gist(step, family) == chosen)
            common = Counter(step.approach for step in others).most_common(1)
            followed = next((step.followed for step in others if step.followed), "")
            yield Difference(better[0].kind, approach, common[0][0] if common else "", gain, followed)


def _gist(step: Step, family: str) -> object:
    """What a step amounts to, so that two wordings of one approach count as the same."""
    return (stances(step.approach, family) if family in FAMILY else None) or step.approach


def _sides(group: Sequence[Shown]) -> tuple[list[Shown], list[Shown]]:
    """Better and worse attempts: by reward, or by the majority's answer when no rewards are shown."""
    rewards = [shown.reward for shown in group if shown.reward is not None]
    if rewards:
        middle = (max(rewards) + min(rewards)) / 2
        if max(rewards) - min(rewards) <= EQUAL:
            return [], []
        known = [(shown, shown.reward) for shown in group if shown.reward is not None]
        return [s for s, r in known if r >= middle], [s for s, r in known if r < middle]
    answers = Counter(shown.answer for shown in group if shown.answer)
    if len(answers) <= 1:
        return [], []
    chosen = answers.most_common(1)[0][0]
    return [s for s in group if s.answer == chosen], [s for s in group if s.answer and s.answer != chosen]


def _mistaken(attempts: Sequence[Shown]) -> list[Shown]:
    """The attempts with best and worst rewards exchanged; as they are when no rewards are shown."""
    rewards = [shown.reward for shown in attempts if shown.reward is not None]
    if not rewards:
        return list(attempts)
    both = max(rewards) + min(rewards)
    return [shown if shown.reward is None else replace(shown, reward=both - shown.reward) for shown in attempts]


def _explain(d: Difference) -> str:
    instead = f", while the worse ones chose to {d.worse}" if d.worse else ""
    misled = f" They followed [{d.misled_by}], which misled them." if d.misled_by else ""
    return f"The better attempts chose to {d.better}{instead}.{misled}"


def _no_contrast(attempts: Sequence[Shown]) -> str:
    rewards = {shown.reward for shown in attempts if shown.reward is not None}
    if len(attempts) <= 1:
        return "There is only one attempt, so there is nothing to compare it with."
    if rewards and max(rewards) <= 0:
        return "All attempts were wrong, and none shows what would have been right."
    if len(rewards) == 1:
        return "All attempts did equally well, so no step can be told apart as decisive."
    return "The attempts took much the same steps; a slip in the arithmetic may have made the difference."


def phrase(d: Difference, words: int) -> str:
    """The experience that a difference teaches, within the number of words; empty if it cannot be put so briefly."""
    kind = d.kind or "solving a task like this"
    options = [f"When {kind}, {d.better}."]
    if d.worse:
        options.insert(0, f"When {kind}, {d.better}; do not {d.worse}.")
    return next((text for text in options if len(text.split()) <= words), "")


def _new(written: Sequence[str], prompt: Prompt) -> list[str]:
    """The experiences that the present ones do not say yet, as many as are allowed."""
    shown = [value for name, value in prompt.inputs.items() if _PRESENT.search(name)]
    fenced = FENCED.search(prompt.question)
    present = [text for value in (*shown, fenced[1] if fenced else "") for _, text, _ in advice_in(value)]
    known = frozenset[Stance]().union(*(meaning(text) for text in present))
    lacking = [text for text in written if text not in present and not _is_said(text, known)]
    return lacking[: max_experiences(prompt)]


FENCED = re.compile(r"```[a-z]*\n(.*?)```", re.DOTALL)
"""A block between fences, such as the present instructions in a plain prompt."""

_PRESENT = re.compile(r"experience|librar|playbook|memor|instruction|current|present|existing|known", re.IGNORECASE)
_WORDS = re.compile(r"(\d+)\s+words", re.IGNORECASE)
_COUNT = re.compile(
    r"(\d+)\s+(?:new\b|(?:candidate|further|general)?\s*(?:experience|insight|tip|lesson|rule))", re.IGNORECASE
)


def _is_said(text: str, known: frozenset[Stance]) -> bool:
    """Whether the known stances cover all that a text recommends."""
    wanted = {(s.family, s.fork, s.helps) for s in meaning(text)}
    return bool(wanted) and wanted <= {(s.family, s.fork, s.helps) for s in known}


def max_words(prompt: Prompt, default: int = 32) -> int:
    """The limit on words that the prompt states."""
    found = _WORDS.search(prompt.inputs.get("limits", "") or f"{prompt.question}\n{prompt.instructions}")
    return int(found[1]) if found else default


def max_experiences(prompt: Prompt, default: int = 3) -> int:
    """The limit on the number of experiences that the prompt states."""
    found = _COUNT.search(prompt.inputs.get("limits", "") or prompt.instructions)
    return int(found[1]) if found else default
