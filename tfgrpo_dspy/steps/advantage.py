"""Step 2, the semantic group advantage: one summary per rollout, then why some won (paper, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any

import dspy

from tfgrpo_dspy.library.experience import Source
from tfgrpo_dspy.library.latex import restore_latex
from tfgrpo_dspy.lm.budget import EXTRACTION
from tfgrpo_dspy.records.advantages import Contrast, Extraction, SemanticAdvantage, Summary
from tfgrpo_dspy.records.failures import Failure
from tfgrpo_dspy.records.fates import Fate
from tfgrpo_dspy.records.rollouts import Group, Scored
from tfgrpo_dspy.runtime.workers import Workers, done
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.signatures import ExtractAdvantage, SummarizeRollout, read_in_part, told_of_readers, with_hint, without
from tfgrpo_dspy.steps.briefing import Briefing
from tfgrpo_dspy.steps.reflection import Answer, Reflection, Unusable
from tfgrpo_dspy.text import count_words, neutralise, one_line, shorten

_TASK_TOKENS = 4_000
_FALLBACK_TOKENS = 1_000


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


def is_hinted(group: Group, briefing: Briefing) -> bool:
    """Whether a group that is all wrong is extracted from nevertheless, as the expected output shows what is right."""
    settings = briefing.settings
    if settings.on_uniform != "hint" or not group.scored or group.is_informative(settings.tolerance):
        return False
    return max(group.rewards) < 1 - settings.tolerance and bool(briefing.expected(group.example))


def _contrast_group(briefing: Briefing, reflection: Reflection, workers: Workers, group: Group) -> Future[Contrast]:
    settings = briefing.settings
    teaches = group.is_informative(settings.tolerance) or is_hinted(group, briefing)
    if not group.scored or (settings.require_contrast and not teaches):
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
    signature = without(SummarizeRollout, *absent)
    inputs = {
        "objective": briefing.objective,
        "task": briefing.task(example),
        "reward": f"{rollout.reward:g}",
        "feedback": neutralise(shorten(rollout.feedback, _TASK_TOKENS)),
        "expected": expected,
    }
    shown = {name: text for name, text in inputs.items() if name not in absent}

    def inputs_within(tokens: int) -> dict[str, str]:
        return {**shown, "trajectory": shorten(rollout.trajectory, tokens)}

    try:
        answer = reflection.ask_within(
            briefing.settings.max_trajectory_tokens, signature, inputs_within, lambda reply: _blank(reply, "summary")
        )
        if answer.problems:
            raise Unusable(answer.problems[0], answer.usage)
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
    expected = briefing.expected(group.example)
    settings = briefing.settings
    extractor: Any = read_in_part(ExtractAdvantage) if settings.trials else ExtractAdvantage
    extractor = told_of_readers(extractor, briefing.readers) if briefing.readers else extractor
    extractor = with_hint(extractor) if is_hinted(group, briefing) else extractor
    signature = extractor if expected else without(extractor, "expected")
    shown = {
        "objective": briefing.objective,
        "task": briefing.task(group.example),
        "experiences": _experiences(briefing, group, summaries),
        "limits": f"at most {settings.experiences_per_group} new, each of at most {settings.max_words} words",
        **({"expected": expected} if expected else {}),
    }

    def inputs_within(tokens: int) -> dict[str, str]:
        return {**shown, "attempts": render_attempts(summaries, tokens // len(summaries))}

    try:
        answer = replace(reflection, kind=EXTRACTION).ask_within(
            settings.max_trajectory_tokens, signature, inputs_within, lambda reply: _misfits(reply, settings)
        )
    except Unusable as error:
        remedy = "its summaries are carried to the next step"
        failure = Failure("extraction", group.name, str(error), remedy, error.cause)
        return Extraction(None, (failure,), usage=error.usage)
    advantage, left_out = _advantage(group, briefing, summaries, answer)
    return Extraction(advantage, (), left_out, answer.usage)


def _experiences(briefing: Briefing, group: Group, summaries: Sequence[Summary]) -> str:
    return briefing.experiences_about(briefing.task(group.example), *(summary.text for summary in summaries))


def _advantage(
    group: Group, briefing: Briefing, summaries: Sequence[Summary], answer: Answer
) -> tuple[SemanticAdvantage, tuple[Fate, ...]]:
    """The advantage, and candidates that are more than were asked for."""
    most = briefing.settings.experiences_per_group
    texts = [text for given in answer.fields["new_experiences"] if (text := one_line(given))]
    advantage = SemanticAdvantage(
        group.name,
        briefing.task(group.example),
        tuple(summaries),
        _prose(answer.fields["comparison"]),
        tuple(texts[:most]),
        Source(group.name.rpartition("/")[2], tuple(summary.rollout for summary in summaries)),
    )
    why = f"at most {most} of a group are taken, and this is one more"
    return advantage, tuple(Fate(group.name, text, "refused", None, why) for text in texts[most:])


def _misfits(reply: dspy.Prediction, settings: Settings) -> list[str]:
    """What is wrong with the reply, in sentences that a model can act on; it is taken in the end all the same."""
    texts = [text for text in reply["new_experiences"] if text.strip()]
    problems = _blank(reply, "comparison") + [
        f'An experience has {words} words, say the same in at most {settings.max_words}: "{one_line(text)}".'
        for text in texts
        if (words := count_words(text)) > settings.max_words
    ]
    if len(texts) > settings.experiences_per_group:
        problems.append(f"These are {len(texts)} experiences, give the best {settings.experiences_per_group} at most.")
    return problems


def _blank(reply: dspy.Prediction, field: str) -> list[str]:
    return [] if reply[field].strip() else [f"The reply says nothing under {field}."]


def _prose(text: str) -> str:
    return restore_latex(text, one_line=False)


def render_attempts(summaries: Sequence[Summary], tokens: int) -> str:
    """The summaries of a group as the extractor reads them, each within the given estimated tokens."""
    return "\n\n".join(
        f"Attempt {i} (reward {summary.reward:g}):\n{neutralise(shorten(summary.text, tokens))}"
        for i, summary in enumerate(summaries, start=1)
    )
