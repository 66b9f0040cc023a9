"""Every fact has its readers: a field of a result that changes changes what each surface shows, or says why not."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import dspy
import pytest
from rich.console import Console

from tests.tfgrpo_dspy.made_events import MadeRun, effect_on
from tfgrpo_dspy import Add, ExperienceLibrary, Failure, Fate
from tfgrpo_dspy.cli import view
from tfgrpo_dspy.library.experience import Circumstances, Experience, Provenance, Source
from tfgrpo_dspy.library.leaks import Flag
from tfgrpo_dspy.library.library import Change
from tfgrpo_dspy.lm.usage import Traffic, Usage
from tfgrpo_dspy.observers import wandb_tracking
from tfgrpo_dspy.observers.mlflow.records import Records, Wanted
from tfgrpo_dspy.observers.mlflow.tracking import _entries as entries_of
from tfgrpo_dspy.observers.progress import ProgressBar
from tfgrpo_dspy.observers.wandb_tracking import WandbTracking
from tfgrpo_dspy.records.advantages import SemanticAdvantage, Summary
from tfgrpo_dspy.records.ended import Ended
from tfgrpo_dspy.records.evaluation import Evaluation, Gain
from tfgrpo_dspy.records.events import (
    EpochFinished,
    Event,
    ObjectiveDerived,
    RolloutFinished,
    RunFinished,
    StepFinished,
)
from tfgrpo_dspy.records.result import CompileResult, StepRecord
from tfgrpo_dspy.records.rollouts import Group, Lost, Scored
from tfgrpo_dspy.records.updates import Trial
from tfgrpo_dspy.reports.document import run_document
from tfgrpo_dspy.reports.story import Told, story_of
from tfgrpo_dspy.statistics.estimates import Difference

PAGE, SUMMARY = "put_text('run.html'", "put_text('summary.md'"
TOLD = Told("my_module:program", "train.jsonl", "exact")
START = MadeRun(queries=3, group_size=3, steps=2).start
SPENT = Usage(40, 10, 16_000, 4_800, 1.0, 500, 3_000, 900, 2, 1)


def everything() -> CompileResult:
    """What a run leaves to which all happened that can happen."""
    run = MadeRun(queries=3, group_size=3, steps=2, cost=0.01)
    first, last = run.records
    group = first.groups[0]
    full = replace(group.rollouts[0], parts=(("format", 0.5), ("right", 1.0)), withheld=("G0",), usage=SPENT)
    group = replace(group, rollouts=(full, *group.rollouts[1:]), first=2)
    first = replace(
        first,
        groups=(group, *first.groups[1:]),
        advantages=(replace(first.advantages[0], misled_by="G0"), *first.advantages[1:]),
        changes=(Change("modify", "G1", "Long.", "Short.", "too long", (Source("e1", ("s1/e1/r0",)),), "condense"),),
        trials=(Trial(3, "worse", Difference(-0.2, -0.3, -0.1, 0.001, 40), -0.31, 0.1, 2, 160),),
        gate_usage=SPENT,
        policy_usage=SPENT,
        reflection_usage=SPENT,
        fates=(Fate("s1/e1", "Be careful.", "refused", "G0", "it says nothing"),),
        flags=(Flag("leaked answer", "G0", "it holds '42', the answer of a training problem"),),
        effects=(replace(effect_on(last.library["G0"]), against="An older text."),),
    )
    return replace(
        run.result,
        steps=(first, last),
        gain=Gain(Difference(0.01, -0.02, 0.04, 0.5, 30), "a gain was required, and it is not better", SPENT),
        unused=(Failure("update", "s2", "its update failed", "no step was left to use it"),),
        unrecorded=("the summary: no space",),
        ended=Ended("limit", "max_lm_calls=60: 55 were made", 2, 3, "one more of 3 steps", "9 results, in log"),
        traffic=Traffic(320, retries=3, hedges=2, failures={"timeout": 2}),
        effects=(effect_on(last.library["G0"]),),
    )


class Recorded:
    """A store of MLflow that remembers whatever is written."""

    is_ours = True

    def __init__(self) -> None:
        self.written: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **more: self.written.append(f"{name}{args}{more}")


def recorded(result: CompileResult) -> tuple[str, str]:
    """The page about a run and its summary, and all else that is recorded of it in MLflow."""
    records = Records(START, wanted=Wanted(False, 0, False), clock=lambda: 0)
    store, entries = Recorded(), [*records.start()]
    for step in result.steps:
        entries += [*records.step(step), *records.epoch(EpochFinished(step.epoch, step.library))]
    for entry in (*entries, *records.end(RunFinished(result, None))):
        if "learning_curve" not in entry.description and not entry.description.startswith(("prompt", "the trace")):
            entry.write(store)
    pages = [line for line in store.written if line.startswith((PAGE, SUMMARY))]
    return "".join(pages), "".join(line for line in store.written if line not in pages)


class _Wandb:
    """W&B, as far as a run makes use of it, that remembers what it is given."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.summary, self.id = self, "1"

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def take(*args: Any, **more: Any) -> Any:
            self.written.append(f"{name}{args[:1] if name != 'log_artifact' else ''}{more}")
            return self

        return take

    def __enter__(self) -> _Wandb:
        return self

    def __exit__(self, *_: object) -> None: ...


def in_wandb(events: Iterable[Event]) -> str:
    wandb = _Wandb()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(wandb_tracking, "_wandb", lambda: wandb)
        tracking = WandbTracking("algebra")
        for event in events:
            tracking(event)
    assert tracking.unrecorded == ()
    return "".join(wandb.written)


def events_of(result: CompileResult) -> list[Event]:
    steps = [(StepFinished(step), EpochFinished(step.epoch, step.library)) for step in result.steps]
    return [START, *(event for step in steps for event in step), RunFinished(result, None)]


def in_the_terminal(result: CompileResult) -> str:
    written = io.StringIO()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tfgrpo_dspy.cli.terminal.out", lambda: Console(file=written, width=400))
        view.show_story(story_of(result, START, TOLD), Path("out"), None)
    return written.getvalue() + "".join(step.to_text() for step in result.steps)


def shown(result: CompileResult, path: Sequence[Any]) -> dict[str, str]:
    """What each surface shows of a result; `repr` of the value at a place in it."""
    page, mlflow = recorded(result)
    return {
        "page": page,
        "MLflow": mlflow,
        "W&B": in_wandb(events_of(result)),
        "terminal": in_the_terminal(result),
        "repr": repr(at(result, path)),
        "--json": repr(run_document(story_of(result, START, TOLD), Path("out"))),
        "to_dict": repr(result.to_dict()),
    }


def at(value: Any, path: Sequence[Any]) -> Any:
    for name in path:
        value = value[name] if isinstance(value, tuple) else getattr(value, name)
    return value


def values_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value of data within a value, and where it is."""
    if is_dataclass(value):
        yield path, value
        for field in fields(value):
            yield from values_in(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, tuple):
        for at, one in enumerate(value):
            yield from values_in(one, (*path, at))


def changed_at(value: Any, path: Sequence[Any], new: Any) -> Any:
    if not path:
        return new
    if isinstance(value, tuple):
        return (*value[: path[0]], changed_at(value[path[0]], path[1:], new), *value[path[0] + 1 :])
    return replace(value, **{path[0]: changed_at(getattr(value, path[0]), path[1:], new)})


def another(value: Any) -> Any:
    """A value of the same type that is not that."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return 3 * value + 3
    if isinstance(value, str):
        return f"Changed {value}"
    if isinstance(value, tuple):
        return value[:-1]
    if isinstance(value, Mapping):
        return {**value, "another": 5}
    name = next(f.name for f in fields(value) if another(getattr(value, f.name)) != getattr(value, f.name))
    return replace(value, **{name: another(getattr(value, name))})


OTHER: Mapping[str, Any] = {
    "CompileResult.library": ExperienceLibrary.from_texts(["Read twice."]),
    "CompileResult.ended": Ended(),
    "CompileResult.initial_validation": MadeRun(seed=7, queries=3, group_size=3).initial,
    "StepRecord.validation": MadeRun(seed=7, queries=3, group_size=3).initial,
    "CompileResult.best_step": None,
    "CompileResult.initial_library": ExperienceLibrary.from_texts(["Read twice."]),
    "StepRecord.library": ExperienceLibrary.from_texts(["Read twice."]),
    "ExperienceLibrary.learned_with": ("openai/m",),
    "ExperienceLibrary.domain": "sums",
    "Experience.scope": "solve",
    "Experience.provenance": Provenance("person"),
    "Provenance.author": "person",
    "Provenance.origin": "another library",
    "Group.example": dspy.Example(question="Another?", answer="3").with_inputs("question"),
    "Scored.policy_failure": "it gave up",
    "Summary.failures": (Failure("summary", "s1/e1/r0", "no reply", "carried"),),
    "Change.kind": "delete",
    "Refusal.operation": Add(text="Read twice."),
    "Refusal.repeats": "G1",
    "Effect.against": "An older text.",
    "Evaluation.stopped_by": "max_lm_calls=9: 9 were made",
    "Usage.estimated_calls": 0,
    "Fate.group": "s1/e3",
    "Ended.how": "patience",
}
"""Where no value of the same type would do."""


PLACES: Mapping[type, tuple[Any, ...]] = {
    Usage: ("steps", 0, "policy_usage"),
    Failure: ("steps", 0, "failures", 0),
    Evaluation: ("steps", 0, "validation"),
    Group: ("steps", 0, "groups", 0),
    Scored: ("steps", 0, "groups", 0, "rollouts", 0),
    Lost: ("steps", 0, "groups", 2, "rollouts", 0),
    Source: ("library", "experiences", 0, "provenance", "sources", 0),
}
"""Where to change a value of a kind, if not at the place that is nearest to the result."""
NOT_ALONE = {"CompileResult.steps", "Experience.id"}
"""What nothing else of a result would fit if it changed."""


def kinds_of(result: CompileResult) -> dict[type, tuple[Any, ...]]:
    """Each type of data within a result, and one place of it."""
    places: dict[type, tuple[Any, ...]] = {}
    for path, value in sorted(values_in(result), key=lambda found: len(found[0])):
        places.setdefault(type(value), path)
    return places | PLACES


RESULT = everything()
KINDS = kinds_of(RESULT)


BEFORE: dict[tuple[Any, ...], dict[str, str]] = {}


def unseen(kind: type, name: str) -> set[str]:
    """Surfaces that show the same when a field has another value."""
    path, field = KINDS[kind], f"{kind.__name__}.{name}"
    new = OTHER[field] if field in OTHER else another(getattr(at(RESULT, path), name))
    if path not in BEFORE:
        BEFORE[path] = shown(RESULT, path)
    before, after = BEFORE[path], shown(changed_at(RESULT, (*path, name), new), path)
    return {surface for surface in before if before[surface] == after[surface]}


MANY = (Group, Scored, Lost, SemanticAdvantage, Summary, Source, Provenance, Circumstances)
KINDS_UNSEEN = {
    "terminal": (
        (*MANY, Fate),
        "more than a screen holds: the page, the report, MLflow's tables and `tfgrpo show-rollout` have them",
    ),
    "repr": ((*MANY, StepRecord, ExperienceLibrary, Experience), "a screenful, which parts are attributes of"),
    "--json": (set(KINDS) - {CompileResult}, "it is of the run: `to_dict()` and `tfgrpo log --export` have all of it"),
}
"""By surface: of which types fields may be left out, and why."""
LEVEL = "95% everywhere, which the heads of columns say"
IN_RUN = "of a step's validation the mean is told; `tfgrpo evaluate` tells the rest of its own"
TRACED = "the page shows the turns and the feedback; MLflow's tables have the figures"
TURNS = "the page, the store and traces have the turns; a table of all would be too large"
SUMMED = "summed up, of its step"
UNSEEN: Mapping[str, tuple[str, str]] = {
    "CompileResult.initial_library": ("terminal repr --json", "the settings name the file"),
    "CompileResult.unrecorded": ("MLflow", "it is what MLflow lacks"),
    "CompileResult.traffic": ("repr", "its calls and tokens are told"),
    "ExperienceLibrary.next_id": ("page terminal", "which ids were ever used matters to the file alone"),
    "ExperienceLibrary.domain": ("terminal", "`tfgrpo library show` has it"),
    "ExperienceLibrary.learned_under": ("terminal", "`tfgrpo library show` has it"),
    "Evaluation.k": ("page MLflow terminal", IN_RUN),
    "Evaluation.seconds": ("page MLflow terminal", IN_RUN),
    "Evaluation.stopped_by": ("page terminal", "of a validation the end of its run says it"),
    "Evaluation.traffic": ("page MLflow terminal repr", "of a validation it is part of the run's"),
    "Gain.withheld": ("MLflow", "the summary there has it"),
    "Gain.usage": ("repr", "the run's calls and tokens are told"),
    "StepRecord.advantages": ("terminal", "the page has them"),
    "StepRecord.effects": ("terminal", "those of the run are told"),
    "Estimate.level": ("page MLflow terminal", LEVEL),
    "Difference.level": ("page MLflow terminal", LEVEL),
    "Difference.p_value": ("page terminal", "the interval and the verdict are told"),
    "Effect.level": ("page MLflow terminal", LEVEL),
    "Effect.text": ("page MLflow terminal", "the entry has it"),
    "Effect.prior": ("page MLflow terminal", "it is of all entries together, and weighs when a trial ends"),
    "Usage.spared_prompt_tokens": ("page MLflow terminal", "a forecast reckons with it"),
    "Usage.spared_completion_tokens": ("page MLflow terminal", "a forecast reckons with it"),
    "Failure.cause": ("page MLflow terminal", "the reason says it in words"),
    "Experience.provenance": ("terminal", "`tfgrpo library blame` has it"),
    "Group.name": ("MLflow", "each rollout's name begins with it"),
    "SemanticAdvantage.task": ("page", "the group's inputs are there"),
    "SemanticAdvantage.summaries": ("page", "the rollouts that they sum up are there"),
    "SemanticAdvantage.source": ("page MLflow", "the changes that it led to name it"),
    "SemanticAdvantage.misled_by": ("page", "MLflow's table of advantages and its `repr` have it"),
    "Change.before": ("page terminal", "`tfgrpo library log` and `diff` have it"),
    "Change.sources": ("terminal", "`tfgrpo library blame` has them"),
    "Refusal.repeats": ("terminal", "the reason names it"),
    "Scored.trajectory": ("MLflow", TURNS),
    "Scored.answer": ("page", TRACED),
    "Scored.tool_calls": ("page", TRACED),
    "Scored.seconds": ("page", TRACED),
    "Scored.parts": ("page", TRACED),
    "Scored.usage": ("page MLflow", SUMMED),
    "Scored.withheld": ("MLflow", "the effects that it is for are there"),
    "Lost.usage": ("page MLflow", SUMMED),
    "Lost.seconds": ("page", TRACED),
    "Summary.rollout": ("page", "the rollouts that they sum up are there"),
    "Summary.reward": ("page", "the rollouts that they sum up are there"),
    "Summary.text": ("page", "the rollouts that they sum up are there"),
    "Summary.failures": ("page MLflow", SUMMED),
    "Summary.usage": ("page MLflow", SUMMED),
}
"""By field: surfaces that do not show it, and why."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_field_is_seen_on_each_surface_or_there_is_a_reason(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda *_: "now")
    Path("out").mkdir()
    left_out = {surface for surface, (kinds, _) in KINDS_UNSEEN.items() if kind in kinds}
    for field in fields(kind):
        name = f"{kind.__name__}.{field.name}"
        if name not in NOT_ALONE:
            known = set(UNSEEN.get(name, ("", ""))[0].split())
            found = unseen(kind, field.name)
            assert (found - left_out) - {"W&B"} == known - left_out, name
            assert "W&B" not in found or "page" in found, f"{name}: W&B has the page"


def test_each_reason_is_of_a_field_that_there_is():
    assert set(UNSEEN) | set(OTHER) | NOT_ALONE <= {f"{k.__name__}.{f.name}" for k in KINDS for f in fields(k)}


# Events


RUN = MadeRun(queries=3, group_size=3, steps=2)
EVENTS: list[Event] = [
    replace(RUN.start, token="t1", resumed="3 results of before"),
    ObjectiveDerived("To add."),
    *list(RUN.events())[1:-1],
    RunFinished(RESULT, None),
]
FIRST = {type(event): place for place, event in reversed(list(enumerate(EVENTS)))}
"""Where an event of each type is first."""
OTHER_EVENTS: Mapping[str, Any] = {
    "RunStarted.settings": replace(START.settings, seed=7, group_size=4),
    "RunStarted.student": dspy.Predict("question -> answer"),
    "RunStarted.trainset": (*START.trainset, START.trainset[0]),
    "RunStarted.valset": (*(START.valset or ()), START.trainset[0]),
    "RunStarted.library": ExperienceLibrary.from_texts(["Read twice."]),
    "RolloutFinished.rollout": RUN.records[0].groups[2].rollouts[0],
    "RunStarted.lms": {"policy": "openai/m"},
    "RolloutFinished.dataset": "trainset",
    "StepFinished.record": RUN.records[1],
    "GroupFinished.group": RUN.records[0].groups[2],
    "ReflectionFinished.made": Summary("s1/e1/r0", 1.0, "text", (), SPENT),
    "EpochFinished.library": ExperienceLibrary.from_texts(["Read twice."]),
    "RunFinished.program": RUN.student,
    "RunFinished.error": KeyboardInterrupt(),
}


def told_of(events: Sequence[Event]) -> dict[str, str]:
    """What each surface that hears a run shows of it."""
    written, moments = io.StringIO(), iter(range(0, 10**9, 61))
    bar = ProgressBar(Console(file=written, width=400), lines=True, clock=lambda: next(moments))
    for event in events:
        bar(event)
    start, *rest = events
    records = Records(start, wanted=Wanted(True, 1, True), clock=lambda: 0)
    entries, store = list(records.start()), Recorded()
    for event in rest:
        if isinstance(event, RolloutFinished | StepFinished | EpochFinished | RunFinished):
            entries += entries_of(records, event)
    for entry in entries:
        if entry.description.startswith(("prompt", "the trace", "the model", "figures")):
            store.written.append(f"{entry.description} {getattr(entry.write, 'keywords', '')}")
        else:
            entry.write(store)
    mlflow = re.sub(r" at 0x\w+", "", "".join(store.written))
    return {"terminal": written.getvalue(), "MLflow": mlflow, "W&B": in_wandb(events)}


MOMENTS = "it has what a step came to, not each of its moments"
PLAN = "what is planned stands before the run's first line; the report has it"
UNHEARD: Mapping[str, tuple[str, str]] = {
    "RunStarted.settings": ("terminal", PLAN),
    "RunStarted.student": ("terminal", PLAN),
    "RunStarted.library": ("terminal W&B", "each step's record has the library that came of it"),
    "RunStarted.token": ("terminal MLflow", "it names the run in the store, whose tag the store itself writes"),
    "ObjectiveDerived.objective": ("MLflow W&B", "the library's circumstances have it"),
    "StepStarted.epoch": ("terminal MLflow W&B", "the step's record has it"),
    "StepStarted.step": ("MLflow W&B", MOMENTS),
    "StepStarted.examples": ("terminal MLflow W&B", "a group's size is told from it where groups may grow"),
    "StepStarted.rollouts": ("MLflow W&B", MOMENTS),
    "RolloutFinished.step": ("terminal MLflow W&B", "the rollout's name has it"),
    "RolloutFinished.rollout": ("W&B", MOMENTS),
    "RolloutFinished.is_remembered": ("terminal W&B", "the first line of a run that is taken up counts them"),
    "RolloutFinished.dataset": ("terminal W&B", "a validation is a phase of its own"),
    "GroupFinished.step": ("terminal MLflow W&B", "the group's name has it"),
    "GroupFinished.group": ("MLflow W&B", MOMENTS),
    "ReflectionFinished.made": ("MLflow W&B", MOMENTS),
    "ReflectionFinished.is_remembered": ("terminal MLflow W&B", "for observers of one's own"),
    "EpochFinished.epoch": ("terminal", "the line of its last step tells"),
    "EpochFinished.library": ("terminal", "the line of its last step tells"),
    "RunFinished.program": ("terminal W&B", "the command says where it is"),
    "RunFinished.error": ("terminal MLflow", "how the run ended says it, in `result.ended`"),
}
"""By field of an event: surfaces that do not show it, and why."""


@pytest.mark.parametrize("kind", FIRST, ids=lambda kind: kind.__name__)
def test_each_field_of_an_event_is_heard_on_each_surface_or_there_is_a_reason(kind, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda *_: "now")
    place = FIRST[kind]
    before = told_of(EVENTS)
    for field in fields(kind):
        name = f"{kind.__name__}.{field.name}"
        new = OTHER_EVENTS[name] if name in OTHER_EVENTS else another(getattr(EVENTS[place], field.name))
        changed = replace(EVENTS[place], **{field.name: new})
        after = told_of([*EVENTS[:place], changed, *EVENTS[place + 1 :]])
        unheard = {surface for surface in before if before[surface] == after[surface]}
        assert unheard == set(UNHEARD.get(name, ("", ""))[0].split()), name
