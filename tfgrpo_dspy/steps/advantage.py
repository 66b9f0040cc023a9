"""Step 2, the semantic group advantage: one summary per rollout, then why some won (paper, section 3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import dspy

from tfgrpo_dspy.library.experience import Source
from tfgrpo_dspy.library.latex import restore_latex
from tfgrpo_dspy.lm.budget import EXTRACTION
from tfgrpo_dspy.records.advantages import Contrast, Extraction, Fate, SemanticAdvantage, Summary
from tfgrpo_dspy.records.failures import Failure
from tfgrpo_dspy.records.rollouts import Group, Scored, example_of
from tfgrpo_dspy.runtime.workers import Workers, done
from tfgrpo_dspy.signatures import (
    ExtractAdvantage,
    SummarizeRollout,
    judged_without_rewards,
    read_in_part,
    showing,
    told_of_readers,
    with_lessons,
    without,
)
from tfgrpo_dspy.steps.briefing import Briefing
from tfgrpo_dspy.steps.lessons import Drawn, fault_of, revised
from tfgrpo_dspy.steps.reading.texts import read_lesson, says_nothing
from tfgrpo_dspy.steps.reflection import Answer, Unusable
from tfgrpo_dspy.text import neutralise, shorten, tail

_FEEDBACK_TOKENS = 4_000
_FALLBACK_TOKENS = 1_000
_EXCERPT_TOKENS = 250
"""Estimated tokens of an attempt that the extractor reads word for word (ours)."""


def contrast(
    groups: Sequence[Future[Group]], carried: Sequence[Contrast], briefing: Briefing, workers: Workers
) -> list[Future[Contrast]]:
    """Summarise and compare each group as soon as it is whole; groups that teach nothing are passed over.

    Those that the step before carried, whose extraction failed, are extracted again and come first.
    """
    again = briefing.asking_again()
    extracted = [_extract(again, workers, c.group, c.to_be_extracted_again.summaries) for c in carried]
    return extracted + [workers.bind(group, partial(_contrast_group, briefing, workers)) for group in groups]


def _contrast_group(briefing: Briefing, workers: Workers, group: Group) -> Future[Contrast]:
    if not group.may_teach(briefing.settings):
        return done(Contrast(group))

    def summary(rollout: Scored) -> Callable[[], Summary]:
        make = partial(_summarise, briefing, group.example, rollout)
        reads = (rollout.trajectory, rollout.feedback, str(rollout.reward))
        return workers.asking(f"summary {rollout.name}", Summary, make, reads=reads)

    def compare(summaries: Sequence[Summary]) -> Future[Contrast]:
        if all(one.was_tried for one in summaries):
            return _extract(briefing, workers, group, summaries)
        return done(Contrast(group, tuple(summaries)))  # what is left of the budget goes to groups that are whole

    return workers.bind(workers.submit_all([summary(rollout) for rollout in group.scored]), compare)


def _summarise(briefing: Briefing, example: dspy.Example, rollout: Scored) -> Summary:
    """s_i = M(p_summary, q, o_i); the shortened trajectory stands for one that cannot be had."""
    settings, seen = briefing.settings, briefing.seen(example)
    inputs = {
        "objective": briefing.objective,
        "task": briefing.task(example),
        "reward": f"{rollout.reward:g}",
        "feedback": neutralise(shorten(rollout.feedback, _FEEDBACK_TOKENS)),
        "expected": briefing.expected(example),
    }
    absent = {name for name in ("feedback", "expected") if not inputs[name]}
    absent |= set() if settings.show_rewards else {"reward", "feedback"}
    summarizer: Any = SummarizeRollout if settings.show_rewards else judged_without_rewards(SummarizeRollout)
    shown = {**{name: text for name, text in inputs.items() if name not in absent}, **seen}
    try:
        answer = briefing.reflection.ask_within(
            settings.max_trajectory_tokens,
            showing(without(summarizer, *sorted(absent)), seen),
            lambda tokens: {**shown, "trajectory": shorten(rollout.trajectory, tokens)},
            partial(_blank, "summary"),
        )
        if answer.problems:
            raise Unusable(answer.problems["summary"], answer.usage)
    except Unusable as error:
        remedy = "its shortened trajectory was used instead"
        failure = Failure("summary", rollout.name, str(error), remedy, error.cause)
        text = shorten(rollout.trajectory, _FALLBACK_TOKENS)
        return Summary(rollout.name, rollout.reward, text, (failure,), error.usage)
    return Summary(rollout.name, rollout.reward, _prose(answer.fields["summary"]), usage=answer.usage)


def _extract(briefing: Briefing, workers: Workers, group: Group, summaries: Sequence[Summary]) -> Future[Contrast]:
    """A_text = M(p_extract, q, s_1..s_G, E), as a task of its own."""
    make = partial(_compare, briefing.asking(kind=EXTRACTION), group, summaries)
    reads = (_experiences(briefing, group, summaries), *(f"{s.rollout} {s.reward} {s.text}" for s in summaries))
    made = workers.task(f"extraction {group.name} in s{briefing.step}", Extraction, make, reads=reads)
    return workers.bind(made, lambda extraction: done(Contrast(group, tuple(summaries), extraction)))


def _compare(briefing: Briefing, group: Group, summaries: Sequence[Summary]) -> Extraction:
    signature, shown = _question(briefing, group, summaries)
    settings = briefing.settings

    def inputs_within(tokens: int) -> dict[str, Any]:
        attempts = _attempts(summaries, tokens // len(summaries), with_rewards=settings.show_rewards)
        return {**shown, "attempts": attempts}

    try:
        answer = briefing.reflection.ask_within(
            settings.max_trajectory_tokens, signature, inputs_within, partial(_blank, "comparison")
        )
    except Unusable as error:
        remedy = "its summaries are carried to the next step"
        failure = Failure("extraction", group.name, str(error), remedy, error.cause)
        return Extraction(None, (failure,), usage=error.usage)
    return _extraction(briefing, group, summaries, answer)


def _question(briefing: Briefing, group: Group, summaries: Sequence[Summary]) -> tuple[Any, dict[str, Any]]:
    """The extractor's prompt and all its inputs but the attempts."""
    settings, seen = briefing.settings, briefing.seen(group.example)
    extractor: Any = read_in_part(ExtractAdvantage) if settings.trials else ExtractAdvantage
    extractor = told_of_readers(extractor, briefing.readers) if briefing.readers else extractor
    extractor = extractor if settings.show_rewards else judged_without_rewards(extractor)
    shown = {
        "objective": briefing.objective,
        "task": briefing.task(group.example),
        "experiences": _experiences(briefing, group, summaries),
        "limits": f"at most {settings.max_words} words",
        "expected": briefing.expected(group.example),
        "excerpts": _excerpts(group) if settings.show_rewards else "",
    }
    absent = [name for name in ("expected", "excerpts") if not shown[name]]
    kept = {name: text for name, text in shown.items() if name not in absent}
    absent += [] if briefing.library.experiences else ["misled_by"]
    asked: Any = showing(without(extractor, *absent), seen)
    return with_lessons(asked, settings.experiences_per_group), {**kept, **seen}


def _experiences(briefing: Briefing, group: Group, summaries: Sequence[Summary]) -> str:
    return briefing.experiences_about(briefing.task(group.example), *(summary.text for summary in summaries))


def _extraction(briefing: Briefing, group: Group, summaries: Sequence[Summary], answer: Answer) -> Extraction:
    """What a reply gives: lessons, revised where they have a fault; what speaks of its task to the end is left out."""
    example, task, most = example_of(group.name), briefing.task(group.example), briefing.settings.max_words
    drawn_from = Drawn.of({example: task}, briefing.known)
    said = [text for name, text in answer.fields.items() if name.partition("_")[0] == "lesson"]
    comparison, usage, kept, left_out = _prose(answer.fields["comparison"]), answer.usage, [], []
    for text in dict.fromkeys(read_lesson(text) for text in said if not says_nothing(text)):
        lesson, spent = revised(text, drawn_from, comparison, most, briefing.reflection)
        usage += spent
        if fault := fault_of(lesson, drawn_from):
            left_out.append(Fate(group.name, lesson, "refused", None, fault.why))
        else:
            kept.append(lesson)
    source = Source(example, tuple(summary.rollout for summary in summaries))
    named = set(re.findall(r"\bG\d+\b", answer.fields.get("misled_by", ""))) & {e.id for e in briefing.library}
    misled_by = named.pop() if len(named) == 1 else None
    advantage = SemanticAdvantage(group.name, task, tuple(summaries), comparison, tuple(kept), source, misled_by)
    return Extraction(advantage, (), tuple(left_out), usage)


def _blank(field: str, reply: dspy.Prediction) -> dict[str, str]:
    return {} if reply[field].strip() else {field: f"The reply says nothing under {field}."}


def _prose(text: str) -> str:
    return restore_latex(text, one_line=False)


def _attempts(summaries: Sequence[Summary], tokens: int, *, with_rewards: bool) -> str:
    """The summaries of a group, each within so many estimated tokens: `Attempt 1, which did best (reward 1): ...`.

    Weak models lose track of numbers alone.
    """
    rewards = [summary.reward for summary in summaries]
    best, worst, told = max(rewards), min(rewards), []
    for i, summary in enumerate(summaries, start=1):
        place = {best: ", which did best", worst: ", which did worst"}.get(summary.reward, "") if worst < best else ""
        outcome = f"{place} (reward {summary.reward:g})" if with_rewards else ""
        told.append(f"Attempt {i}{outcome}:\n{neutralise(shorten(summary.text, tokens))}")
    return "\n\n".join(told)


def _excerpts(group: Group) -> str:
    """How the best and the worst attempt ended, word for word; empty if none did better than another."""
    scored = list(enumerate(group.scored, start=1))
    best, worst = max(scored, key=lambda s: s[1].reward), min(scored, key=lambda s: s[1].reward)
    if best[1].reward <= worst[1].reward:
        return ""
    return "\n\n".join(
        f"{what}, number {number}:\n{neutralise(tail(rollout.trajectory, _EXCERPT_TOKENS))}"
        for what, (number, rollout) in (("The best one", best), ("The worst one", worst))
    )
