"""One run, told once, from its records alone: sentences and tables that a terminal, a page and MLflow show alike."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version

from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.looks.look import Table
from tfgrpo_dspy.records.effects import Effect
from tfgrpo_dspy.records.ended import Ended
from tfgrpo_dspy.records.evaluation import Comparison
from tfgrpo_dspy.records.events import RunStarted
from tfgrpo_dspy.records.result import CompileResult
from tfgrpo_dspy.records.wording import estimate_text, gain_text, is_simulated, lost_text, traffic_text
from tfgrpo_dspy.reports.learnable import why_little_was_learnable
from tfgrpo_dspy.reports.tables import (
    cost_table,
    evaluations_table,
    failures_table,
    fates_table,
    fates_text,
    flags_table,
    gate_table,
    overruled_table,
    steps_table,
)
from tfgrpo_dspy.reports.verdict import verdict_of
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.text import counted, one_line

VERDICT, CANDIDATES = "Did it help?", "Candidates"
OVERRULED = "Refused, taken out by trial, condensed and trimmed"
_BEFORE = "The mean reward of a step is that of rollouts which read the library as it was before the step."
_TOLD_APART = frozenset(
    "epochs batch_size group_size min_group_size temperature use_ground_truth seed max_words library objective".split()
)
"""Settings that have a row of their own whatever they are."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the records of a run do not say, by whoever knows it."""

    program: str = ""
    """What the program is called where the run was started; empty for its class."""
    trainset: str = ""
    metric: str = ""
    why: str = ""
    """Why the run ended, and how to mend it, if that can be said better than by its records."""
    command: str = ""
    """What goes on with it."""
    recorded: str = ""
    """Where the MLflow run is."""
    gain: Comparison | None = None
    """Bare against learned program on held-out questions, if they were evaluated."""


@dataclass(frozen=True, slots=True)
class Entries:
    """The experiences of a library, with what each was measured to do."""

    library: ExperienceLibrary
    effects: Mapping[str, Effect]


Block = str | Table | Entries


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """One compile, as far as it got."""

    title: str
    simulated: bool
    """Whether any LM was the embedded one."""
    ended: Ended
    ending: tuple[str, ...]
    """How it ended and what must not be overlooked, a sentence or two each."""
    verdict: Section
    """Whether it helped."""
    setting: Section
    """What was run."""
    details: tuple[Section, ...]
    result: CompileResult
    heldout: Comparison | None = None
    """Bare against learned program on held-out questions, if they were evaluated."""


def story_of(result: CompileResult, started: RunStarted | None = None, told: Told | None = None) -> Story:
    """Tell of a run what its records hold.

    Args:
        result: As far as it got.
        started: Its first event; without, its plan, its LMs and its settings are not told.
        told: What else is known of it.
    """
    told = told or Told()
    name = told.program or (type(started.student).__name__ if started is not None else "a program")
    settings = started.settings if started is not None else Settings()
    lost = lost_text(Counter(rollout.cause for step in result.steps for group in step.groups for rollout in group.lost))
    undone = [f"Lost rollouts, never scored: {lost}; the first: {first_loss(result)}"] if lost else []
    undone += [f"Not recorded: {line}" for line in result.unrecorded]
    failures = failures_table([*(f for step in result.steps for f in step.failures), *result.unused])
    details = (
        Section("Steps", (steps_table(result.steps, settings.tolerance), *([_BEFORE] if result.steps else []))),
        _library(result),
        Section(CANDIDATES, (fates_text(result.steps), fates_table(result.steps))),
        Section("Gate", (gate_table(result.steps),)),
        Section("Worth a look", (flags_table(result.steps),)),
        Section(OVERRULED, (overruled_table(result.steps),)),
        Section("What could not be done", (*undone, failures)),
        _cost(result),
    )
    return Story(
        f"Training-Free GRPO of {name}",
        is_simulated(result.library.learned_with if started is None else started.lms.values()),
        result.ended,
        tuple(_ending(result, started, told, settings)),
        Section(VERDICT, (verdict_of(result),)) if told.gain is None else gain_section(told.gain),
        Section("What was run", (Table(("setting", "value"), tuple(_setting(result, started, told))),)),
        tuple(each for each in details if any(b.rows if isinstance(b, Table) else b for b in each.blocks)),
        result,
        told.gain,
    )


def _ending(result: CompileResult, started: RunStarted | None, told: Told, settings: Settings) -> Iterator[str]:
    ended = replace(result.ended, why=told.why) if told.why else result.ended
    if not ended.is_whole:
        yield " ".join((f"{result.ended.sentence}.", *ended.details(told.command)))
    library, seconds = result.library, sum(record.seconds for record in result.steps)
    steps = counted(len(result.steps), "step")
    if started is not None and started.steps != len(result.steps):
        steps = f"{len(result.steps)} of {counted(started.steps, 'step')}"
    data = f" on {counted(len(started.trainset), 'example')}" if started is not None else ""
    data += f" of {told.trainset}" if told.trainset else ""
    learned = f"{counted(len(library), 'experience')} (about {library.tokens} tokens)"
    yield f"{'Done: ' if ended.is_whole else ''}{learned} after {steps}{data}, in {seconds:.0f} s."
    if result.unused:
        yield f"{counted(len(result.unused), 'lesson')} never reached the library: {result.unused[0].reason}."
    little = why_little_was_learnable(result.steps, settings.tolerance) if settings.require_contrast else ""
    yield from filter(None, (little, _choice(result)))


def _choice(result: CompileResult) -> str:
    """Which library was kept, if there were validation examples to choose by; empty if not."""
    best, initial = result.best_step, result.initial_validation
    if best is None or initial is None:
        return ""
    before = f"{estimate_text(initial.mean, questions=True)} before the first step"
    if best == 0:
        return f"No step did better on the validation examples ({before}), so the initial library was kept."
    return f"The library after step {best} did best on the validation examples ({before}) and was kept."


def gain_section(gain: Comparison, intro: str = "") -> Section:
    """Whether it helped, on held-out questions: bare against learned program, with the verdict in words."""
    programs = {"bare": gain.baseline, "learned": gain.candidate}
    ended = {name: made.stopped_by for name, made in programs.items() if made.stopped_by}
    short = [f"The {name} program was not evaluated to the end: {why}." for name, why in ended.items()]
    said = f"Gain on held-out questions: {gain_text(gain.difference)}."
    return Section(VERDICT, (*([intro] if intro else []), evaluations_table(programs), *short, said))


def _setting(result: CompileResult, started: RunStarted | None, told: Told) -> Iterator[tuple[str, str]]:
    given = started.settings.objective if started is not None else None
    rows = [("metric", told.metric), ("objective", one_line(given or result.library.learned_under.objective))]
    if started is not None:
        settings, usual = started.settings, Settings().as_params()
        least, begun = settings.min_group_size, len(settings.library)
        size = str(settings.group_size) if least is None else f"{least} to {settings.group_size} (adaptive)"
        others = {k: v for k, v in settings.as_params().items() if v != usual[k] and k not in _TOLD_APART}
        rows += [
            ("LM", ", ".join(f"{role}: {name}" for role, name in started.lms.items())),
            ("epochs x batch", f"{settings.epochs} x {settings.batch_size or 'all examples'}"),
            ("group size, temperature", f"{size}, {settings.temperature}"),
            ("words of an experience", f"at most {settings.max_words}"),
            ("ground truth", "shown to reflection" if settings.use_ground_truth else "not shown to reflection"),
            ("seed", str(settings.seed)),
            ("started from", counted(begun, "experience") if begun else ""),
            ("other settings", ", ".join(f"{name}={one_line(str(value))}" for name, value in others.items())),
        ]
    rows += [
        ("when", time.strftime("%Y-%m-%d %H:%M")),
        ("versions", f"tfgrpo-dspy {version('tfgrpo-dspy')}, dspy {version('dspy')}"),
        ("taken up", started.resumed if started is not None else ""),
        ("MLflow", told.recorded),
    ]
    return (row for row in rows if row[1])


def _library(result: CompileResult) -> Section:
    library = result.library
    learned = f", learned with {', '.join(library.learned_with)}" if library.learned_with else ""
    title = f"Library: {counted(len(library), 'experience')}, about {library.tokens} tokens{learned}"
    note = (
        "Effect: mean reward of the rollouts that read an entry minus that of the others of the same groups, where it "
        "applies (the examples that it was learned from, and others as far as they are like them) and overall, each "
        "with its 95% interval; shrunken: the first, moved towards the mean of all effects by its uncertainty."
    )
    effects = {effect.id: effect for effect in result.effects}
    return Section(title, (Entries(library, effects), *([note] if effects else [])))


def _cost(result: CompileResult) -> Section:
    """What each stage took; a stage without a call is left out."""
    validations = (result.initial_validation, *(step.validation for step in result.steps))
    stages = {
        "rollouts": [step.policy_usage for step in result.steps],
        "reflection": [step.reflection_usage for step in result.steps],
        "gate": [step.gate_usage for step in result.steps],
        "validation": [validation.usage for validation in validations if validation is not None],
        "gain": [result.gain.usage] if result.gain is not None else [],
        "total": [result.usage],
    }
    table = cost_table({stage: sum(usages, Usage()) for stage, usages in stages.items()})
    return Section("Cost", (table, *filter(None, [traffic_text(result.traffic)])))


def first_loss(result: CompileResult) -> str:
    """Why the first lost rollout was lost; empty if none was."""
    return next((one_line(r.error) for step in result.steps for group in step.groups for r in group.lost), "")


def nothing_was_scored(result: CompileResult) -> bool:
    """Whether no rollout of any finished step took place."""
    return not any(group.scored for step in result.steps for group in step.groups)
