"""Step 2, the semantic group advantage: one summary per rollout, then why some won (paper, section 3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
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
from tfgrpo_dspy.steps.lessons import Drawn, revised, why_left_out
from tfgrpo_dspy.steps.reading.texts import read_lesson, says_nothing
from tfgrpo_dspy.steps.reflection import Answer, Reflection, Unusable
from tfgrpo_dspy.text import neutralise, shorten, tail

_TASK_TOKENS = 4_000
_FALLBACK_TOKENS = 1_000
_EXCERPT_TOKENS = 250
"""Estimated tokens of an attempt that the extractor reads word for word (ours)."""


def contrast(
    groups: Sequence[Future[Group]],
    carried: Sequence[Contrast],
    briefing: Briefing,
    reflection: Reflection,
    workers: Workers,
) -> list[Future[Contrast]]:
    """Summarise and compare each group as soon as it is whole; groups that teach nothing are passed over.

    Args:
        groups: This step's groups, under way.
        carried: Contrasts of the step before whose extraction failed; they are extracted again.
        briefing: What the prompts are told.
        reflection: The LM that answers them.
        workers: The run's pool.

    Returns:
        One future per carried contrast, then one per group, in order.
    """
    extract = partial(_extract, briefing, reflection.again(briefing.step), workers)
    again = [extract(c.group, c.to_be_extracted_again.summaries) for c in carried]
    return again + [workers.bind(g, partial(_contrast_group, briefing, reflection, workers)) for g in groups]


def _contrast_group(briefing: Briefing, reflection: Reflection, workers: Workers, group: Group) -> Future[Contrast]:
    if not group.may_teach(briefing.settings):
        return done(Contrast(group))
    asked = [_summarise(briefing, reflection, workers, group.example, rollout) for rollout in group.scored]
    extract = partial(_extract_whole, briefing, reflection, workers, group)
    return workers.bind(workers.gather(asked), extract)


def _extract_whole(
    briefing: Briefing,
    reflection: Reflection,
    workers: Workers,
    group: Group,
    summaries: Sequence[Summary],
) -> Future[Contrast]:
    """The contrast of a group all of whose summaries are there; what is left of a budget goes to such groups."""
    if not all(summary.was_tried for summary in summaries):
        return done(Contrast(group, tuple(summaries)))
    return _extract(briefing, reflection, workers, group, summaries)


def _summarise(
    briefing: Briefing, reflection: Reflection, workers: Workers, example: dspy.Example, rollout: Scored
) -> Future[Summary]:
    make = partial(_write_summary, briefing, reflection, example, rollout)
    reads = (rollout.trajectory, rollout.feedback, str(rollout.reward))
    return workers.task(f"summary {rollout.name}", Summary, make, reads=reads)


def _write_summary(briefing: Briefing, reflection: Reflection, example: dspy.Example, rollout: Scored) -> Summary:
    expected = briefing.expected(example)
    absent = [name for name, text in (("feedback", rollout.feedback), ("expected", expected)) if not text]
    summarizer = SummarizeRollout
    if not briefing.settings.show_rewards:
        absent, summarizer = list({*absent, "reward", "feedback"}), judged_without_rewards(SummarizeRollout)
    seen = briefing.seen(example)
    signature = showing(without(summarizer, *sorted(absent)), seen)
    inputs = {
        "objective": briefing.objective,
        "task": briefing.task(example),
        "reward": f"{rollout.reward:g}",
        "feedback": neutralise(shorten(rollout.feedback, _TASK_TOKENS)),
        "expected": expected,
    }
    shown = {**{name: text for name, text in inputs.items() if name not in absent}, **seen}

    def inputs_within(tokens: int) -> dict[str, Any]:
        return {**shown, "trajectory": shorten(rollout.trajectory, tokens)}

    try:
        answer = reflection.ask_within(
            briefing.settings.max_trajectory_tokens, signature, inputs_within, lambda reply: _blank(reply, "summary")
        )
        if answer.problems:
            raise Unusable(answer.problems["summary"], answer.usage)
    except Unusable as error:
        return _fall_back(rollout, error)
    return Summary(rollout.name, rollout.reward, _prose(answer.fields["summary"]), usage=answer.usage)


def _fall_back(rollout: Scored, error: Unusable) -> Summary:
    remedy = "its shortened trajectory was used instead"
    failure = Failure("summary", rollout.name, str(error), remedy, error.cause)
    text = shorten(rollout.trajectory, _FALLBACK_TOKENS)
    return Summary(rollout.name, rollout.reward, text, (failure,), error.usage)


def _extract(
    briefing: Briefing, reflection: Reflection, workers: Workers, group: Group, summaries: Sequence[Summary]
) -> Future[Contrast]:
    make = partial(_write_extraction, briefing, reflection, group, summaries)
    reads = (_experiences(briefing, group, summaries), *(f"{s.rollout} {s.reward} {s.text}" for s in summaries))
    made = workers.task(f"extraction {group.name} in s{briefing.step}", Extraction, make, reads=reads)
    return workers.bind(made, lambda extraction: done(Contrast(group, tuple(summaries), extraction)))


def _write_extraction(
    briefing: Briefing, reflection: Reflection, group: Group, summaries: Sequence[Summary]
) -> Extraction:
    signature, shown = _question(briefing, group, summaries)

    def inputs_within(tokens: int) -> dict[str, Any]:
        told = render_attempts(summaries, tokens // len(summaries), with_rewards=briefing.settings.show_rewards)
        return {**shown, "attempts": told}

    reflection = replace(reflection, kind=EXTRACTION)
    try:
        answer = reflection.ask_within(
            briefing.settings.max_trajectory_tokens, signature, inputs_within, lambda reply: _blank(reply, "comparison")
        )
    except Unusable as error:
        remedy = "its summaries are carried to the next step"
        failure = Failure("extraction", group.name, str(error), remedy, error.cause)
        return Extraction(None, (failure,), usage=error.usage)
    return _extraction(group, briefing, reflection, summaries, answer)


def _question(briefing: Briefing, group: Group, summaries: Sequence[Summary]) -> tuple[Any, dict[str, Any]]:
    """The extractor's prompt and all its inputs but the attempts."""
    settings, expected = briefing.settings, briefing.expected(group.example)
    extractor: Any = read_in_part(ExtractAdvantage) if settings.trials else ExtractAdvantage
    extractor = told_of_readers(extractor, briefing.readers) if briefing.readers else extractor
    extractor = extractor if settings.show_rewards else judged_without_rewards(extractor)
    excerpts = render_excerpts(group) if settings.show_rewards else ""
    shown = {
        "objective": briefing.objective,
        "task": briefing.task(group.example),
        "experiences": _experiences(briefing, group, summaries),
        "limits": f"at most {settings.max_words} words",
        "expected": expected,
        "excerpts": excerpts,
    }
    absent = [name for name in ("expected", "excerpts") if not shown[name]]
    absent += [] if briefing.library.experiences else ["misled_by"]
    kept = {name: text for name, text in shown.items() if name not in absent}
    seen = briefing.seen(group.example)
    asked: Any = showing(without(extractor, *absent), seen)
    return with_lessons(asked, settings.experiences_per_group), {**kept, **seen}


def _experiences(briefing: Briefing, group: Group, summaries: Sequence[Summary]) -> str:
    return briefing.experiences_about(briefing.task(group.example), *(summary.text for summary in summaries))


def _extraction(
    group: Group, briefing: Briefing, reflection: Reflection, summaries: Sequence[Summary], answer: Answer
) -> Extraction:
    """What a reply gives: lessons, revised where they have a fault; what speaks of its task to the end is left out."""
    said = [text for name, text in answer.fields.items() if name.partition("_")[0] == "lesson"]
    task, most = briefing.task(group.example), briefing.settings.max_words
    drawn_from = Drawn.of({example_of(group.name): task}, briefing.known)
    comparison, usage, kept, left_out = _prose(answer.fields["comparison"]), answer.usage, [], []
    for text in dict.fromkeys(read_lesson(text) for text in said if not says_nothing(text)):
        lesson, spent = revised(text, drawn_from, comparison, most, reflection)
        usage += spent
        if why := why_left_out(lesson, drawn_from):
            left_out.append(Fate(group.name, lesson, "refused", None, why))
        else:
            kept.append(lesson)
    source = Source(example_of(group.name), tuple(summary.rollout for summary in summaries))
    misled_by = _named(answer.fields.get("misled_by", ""), briefing)
    advantage = SemanticAdvantage(group.name, task, tuple(summaries), comparison, tuple(kept), source, misled_by)
    return Extraction(advantage, (), tuple(left_out), usage)


def _named(said: str, briefing: Briefing) -> str | None:
    """The id of a present entry that a reply names alone; None for none."""
    ids = set(re.findall(r"\bG\d+\b", said)) & {e.id for e in briefing.library}
    return ids.pop() if len(ids) == 1 else None


def _blank(reply: dspy.Prediction, field: str) -> dict[str, str]:
    return {} if reply[field].strip() else {field: f"The reply says nothing under {field}."}


def _prose(text: str) -> str:
    return restore_latex(text, one_line=False)


def render_attempts(summaries: Sequence[Summary], tokens: int, *, with_rewards: bool = True) -> str:
    """The summaries of a group as the extractor reads them, with outcomes, each within so many estimated tokens."""
    outcomes = [_outcome(summary, summaries) if with_rewards else "" for summary in summaries]
    texts = [neutralise(shorten(summary.text, tokens)) for summary in summaries]
    told = zip(outcomes, texts, strict=True)
    return "\n\n".join(f"Attempt {i}{outcome}:\n{text}" for i, (outcome, text) in enumerate(told, start=1))


def _outcome(summary: Summary, summaries: Sequence[Summary]) -> str:
    """`, which did best (reward 1)`: weak models lose track of numbers alone."""
    rewards = [other.reward for other in summaries]
    place = {max(rewards): ", which did best", min(rewards): ", which did worst"}.get(summary.reward, "")
    return f"{place if min(rewards) < max(rewards) else ''} (reward {summary.reward:g})"


def render_excerpts(group: Group) -> str:
    """How the best and the worst attempt ended, word for word; empty if none did better than another."""
    scored = list(enumerate(group.scored, start=1))
    best, worst = max(scored, key=lambda s: s[1].reward), min(scored, key=lambda s: s[1].reward)
    if best[1].reward <= worst[1].reward:
        return ""
    return "\n\n".join(
        f"{what}, number {number}:\n{neutralise(tail(rollout.trajectory, _EXCERPT_TOKENS))}"
        for what, (number, rollout) in (("The best one", best), ("The worst one", worst))
    )
