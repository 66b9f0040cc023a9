"""`tfgrpo compile`: learn a library for a program, and leave program, library and report in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import dspy
import typer

from tfgrpo_dspy.cli import view
from tfgrpo_dspy.cli.boundary import AWAY, ENDED_EARLY, UNUSED, Interrupted, Waiting, check_recorded, why
from tfgrpo_dspy.cli.files import PROGRAM, Keeper, check_folder, write_run, write_story
from tfgrpo_dspy.cli.heldout import note_run
from tfgrpo_dspy.cli.lms import check_configured, lm_named, lm_of
from tfgrpo_dspy.cli.named import note_named
from tfgrpo_dspy.cli.options.common import CompileOptions, TrackingOptions
from tfgrpo_dspy.cli.options.recipe import RECIPE, render_recipe
from tfgrpo_dspy.cli.references import described, examples_for, load_metric, load_program
from tfgrpo_dspy.cli.review import TerminalReview
from tfgrpo_dspy.cli.terminal import say, show_warnings_of_the_library, terminal_progress, us, warn, write_json
from tfgrpo_dspy.declaration import those_of
from tfgrpo_dspy.errors import ReviewStop, SettingsError, TooManyErrors
from tfgrpo_dspy.evaluation import compare, evaluate
from tfgrpo_dspy.forecast.forecast import Forecast
from tfgrpo_dspy.gates.holdout import Holdout
from tfgrpo_dspy.gates.review_file import FileReview
from tfgrpo_dspy.history.file import history_path, load_tracked
from tfgrpo_dspy.library.formats import read_library
from tfgrpo_dspy.lm.budget import Budget
from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking
from tfgrpo_dspy.observers.wandb_tracking import WandbTracking
from tfgrpo_dspy.program.checks import lm_names, reflection_of
from tfgrpo_dspy.program.instructions import detach
from tfgrpo_dspy.records.decisions import Review
from tfgrpo_dspy.records.ended import Ended
from tfgrpo_dspy.records.evaluation import Comparison
from tfgrpo_dspy.records.planned import Planned, auto_text
from tfgrpo_dspy.records.result import RunStopped
from tfgrpo_dspy.reports.document import run_document
from tfgrpo_dspy.reports.redaction import safe
from tfgrpo_dspy.reports.story import Story, Told, first_loss, nothing_was_scored, story_of
from tfgrpo_dspy.rollouts.ray.executor import RayExecutor
from tfgrpo_dspy.run.policy import as_policy
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.teleprompter import TrainingFreeGRPO
from tfgrpo_dspy.text import counted, show_path


@dataclass(frozen=True, slots=True)
class Job:
    """A compile that has been checked and can start."""

    program: dspy.Module
    trainset: list[dspy.Example]
    valset: list[dspy.Example] | None
    optimizer: TrainingFreeGRPO
    keeper: Keeper
    tracking: MLflowTracking | None
    options: CompileOptions
    """What was asked for."""
    testset: list[dspy.Example] | None = None
    """Held-out examples for the comparison at the end."""

    def forecast(self) -> Forecast:
        """Roll out the pilot."""
        price = self.options.settings.get("price_per_million")
        return self.optimizer.forecast(
            self.program, self.trainset, valset=self.valset, pilot=self.options.pilot, price_per_million=price
        )

    @property
    def command(self) -> str:
        """What goes on with the run, under a higher limit if one ended it; empty if nothing more can be said of it."""
        if self.optimizer.setup.log_dir is None or not self.keeper.has_recipe:
            return ""
        recipe = show_path(self.keeper.folder / RECIPE)
        again = f"{us()} compile --recipe {recipe}"
        ended = self.keeper.result.ended if self.keeper.result is not None else Ended()
        name, _, value = ended.why.partition(":")[0].partition("=")
        if ended.how not in {"limit", "patience"} or not name.startswith(("max_", "patience")):
            return again
        more = f"{again} --{name.replace('_', '-')} {2 * float(value):g}"
        return f"{more} --accept-changes" if ended.how == "patience" else more

    def story(self, why: str = "", gain: Comparison | None = None) -> Story | None:
        """What is known of the run, with why it ended if that can be said better than by its records.

        None if no rollout of a finished step took place.
        """
        result = self.keeper.result
        if result is None or nothing_was_scored(result):
            return None
        recorded = view.mlflow_text(self.tracking)
        told = Told(self.options.program, self.options.trainset, self.options.metric, why, self.command, recorded, gain)
        return story_of(result, self.keeper.started, told)


def compile_program(options: CompileOptions) -> None:
    """Carry out the command."""
    show_warnings_of_the_library()
    program = load_program(options.program, options.program_options)
    with dspy.context(**lm_of(options, options.settings.get("seed", Settings.seed))):
        check_configured(program)
        job = prepare(program, options)
        show_plan(job, options)
        if options.dry_run:
            forecast = job.forecast()
            view.show_forecast(forecast)
            if options.json:
                write_json(forecast)
            return
        if options.confirm_above is not None:
            made = job.forecast()
            view.confirm(made, options.confirm_above)
            job.optimizer.spent = made.spent
        story = learn(job, partial(measured, job) if job.testset is not None else None)
    view.show_story(story, job.keeper.folder, job.tracking)
    say(f"\nNext: {us()} evaluate {show_path(job.keeper.folder / PROGRAM)} <held-out examples>")
    if options.json:
        write_json(run_document(story, job.keeper.folder))
    finish(story)


def learn(job: Job, measure: Callable[[dspy.Module], Comparison] | None = None) -> Story:
    """Compile, and write what was learned, also if the run stops early; then `measure` it against the bare program.

    Raises:
        RunStopped: It did; the message says why and where everything is.
        Waiting: A review did, or is to be made.
        Interrupted: The user stopped it.
    """
    try:
        better = job.optimizer.compile(job.program, job.trainset, valset=job.valset)
    except RunStopped as error:
        if isinstance(error.__cause__, ReviewStop):
            raise Waiting(_leave(job, str(error.__cause__))) from error
        cause = why(error.__cause__ or error)
        raise RunStopped(_leave(job, cause), error.result) from error
    except KeyboardInterrupt as error:
        raise Interrupted(_leave(job)) from error
    job.keeper.result = better.detailed_results  # knows what was not recorded
    story = job.story()
    if story is None:
        first = first_loss(better.detailed_results)
        raise TooManyErrors(f"every rollout was lost, first: {first}; nothing was learned or written")
    write_run(job.keeper.folder, better, story)
    note_run(job.tracking, job.keeper.folder)
    if measure is not None:
        try:
            gain = _measured(job, better, measure)
        except KeyboardInterrupt as error:
            program = show_path(job.keeper.folder / PROGRAM)
            said = f"what was learned is in {show_path(job.keeper.folder)}/, and was not compared yet"
            raise Interrupted(f"interrupted; {said}: {us()} evaluate {program} <held-out examples>") from error
        evaluations, result = {"bare": gain.baseline, "learned": gain.candidate}, better.detailed_results
        if job.tracking is not None and not job.tracking.record_heldout(evaluations, gain):
            job.keeper.result = replace(result, unrecorded=tuple({*result.unrecorded, *job.tracking.unrecorded}))
        story = job.story(gain=gain) or story
        write_story(story, job.keeper.folder)
    return story


def _measured(job: Job, better: dspy.Module, measure: Callable[[dspy.Module], Comparison]) -> Comparison:
    if job.tracking is not None and job.tracking.was_left:
        raise KeyboardInterrupt  # whoever waits no longer for records waits for no comparison
    return measure(better)


def measured(job: Job, learned: dspy.Module) -> Comparison:
    """Bare against learned program on the test set, with fresh rollouts of both."""
    settings = job.optimizer.settings
    bare, better = (
        evaluate(
            program,
            job.testset or [],
            job.optimizer.setup.metric,
            temperature=settings.temperature,
            failure_score=settings.failure_score,
            seed=settings.seed,
            num_threads=settings.num_threads,
            max_errors=settings.max_errors,
        )
        for program in (detach(job.program), learned)
    )
    return compare(bare, better)


def finish(story: Story) -> None:
    """End with a code of its own if something was not recorded, a limit ended the run, or lessons were not used."""
    check_recorded(story.result.unrecorded)
    if story.ended.how in {"outage", "disk"}:
        raise typer.Exit(AWAY)
    if not story.ended.is_whole:
        raise typer.Exit(ENDED_EARLY)
    if story.result.unused:
        raise typer.Exit(UNUSED)


def tracking_for(options: TrackingOptions) -> MLflowTracking | None:
    """The MLflow recorder that the options ask for.

    Raises:
        MissingExtraError: Tracking was asked for and MLflow is not installed.
        SettingsError: The experiment has no name, or a model is to be recorded and nothing is.
    """
    if options.tracking is False:
        if options.log_model:
            raise SettingsError("`log_model` records the model with MLflow, so it does not go with `tracking=False`")
        return None
    if options.tracking is None and not options.log_model and find_spec("mlflow") is None:
        warn("MLflow is not installed, so the run is not tracked: pip install 'tfgrpo-dspy[mlflow]'")
        return None
    return MLflowTracking(options.experiment, tracking_uri=options.tracking_uri, log_model=options.log_model)


def budget_of(settings: Mapping[str, Any], *, is_forecast: bool = False) -> Budget | None:
    """The caps that are set; None for none."""
    caps = those_of(Budget, settings)
    if caps.get("max_cost_usd") is None and is_forecast:
        caps.pop("price_per_million", None)  # it is for the forecast alone
    return Budget(**caps) if any(cap is not None for cap in caps.values()) else None


def _objects(options: CompileOptions, examples_in: Callable[[str], list[dspy.Example]]) -> dict[str, Any]:
    """Keywords of the optimizer that are objects in Python, made of what a command line can say."""
    if options.ray_address is not None and options.executor != "ray":
        raise SettingsError('`ray_address` needs `executor="ray"`')
    if options.review and options.review_file is not None:
        raise SettingsError("`review` asks at the terminal, `review_file` in a file; choose one of the two")
    name, given = options.reflection_lm, options.settings
    review: Review | None = FileReview(options.review_file) if options.review_file is not None else None
    return {
        "reflection_lm": lm_named(name, options, given.get("seed", Settings.seed)) if name is not None else None,
        "budget": budget_of(given, is_forecast=options.dry_run or options.confirm_above is not None),
        "executor": options.executor if options.ray_address is None else RayExecutor(address=options.ray_address),
        "gate": [Holdout(examples_in(file)) for file in options.gate or ()],
        "review": TerminalReview(given.get("max_words", Settings.max_words)) if options.review else review,
    }


def prepare(program: dspy.Module, options: CompileOptions, *, is_kept: bool = True) -> Job:
    """Read and check everything that the run needs, before anything is paid."""
    metric, start, history = load_metric(options.metric), options.library, None
    if start is not None and history_path(start).is_file():
        library, history, _ = load_tracked(start)
    else:
        library = read_library(start) if start is not None else Settings.library
    note_named(options.written)
    keeper = Keeper(options.out, history)
    examples = partial(examples_for, program, options=options)
    trainset = examples(options.trainset)
    valset = examples(options.valset) if options.valset is not None else None
    watching = [WandbTracking(options.wandb)] if options.wandb is not None and not options.dry_run else []
    optimizer = TrainingFreeGRPO(
        metric,
        **those_of(Settings, options.settings),
        **_objects(options, examples),
        library=library,
        log_dir=(options.log_dir or options.out / "log") if is_kept else None,
        restart=options.restart,
        accept_changes=options.accept_changes,
        identity=options.identity,
        observers=[keeper, terminal_progress(still=options.review), *watching],
        display_progress=False,
    )
    keeper.recipe = render_recipe(options, optimizer.settings, options.out / RECIPE)
    tracking = None
    if not options.dry_run:
        check_folder(options.out)
        tracking = tracking_for(options)
    optimizer.setup = replace(optimizer.setup, tracking=tracking or False)
    testset = examples(options.test) if options.test is not None else None
    return Job(program, trainset, valset, optimizer, keeper, tracking, options, testset)


def show_plan(job: Job, options: CompileOptions, title: str = "") -> None:
    """What is about to be done."""
    settings, examples = job.optimizer.settings, len(job.trainset)
    batches = -(-examples // (settings.batch_size or examples))
    planned = Planned.of(settings, examples)
    lms = lm_names(job.program, reflection_of(job.program, job.optimizer.setup.reflection_lm))
    size, most = str(settings.group_size), ""
    if settings.min_group_size is not None:
        size, most = f"{settings.min_group_size} to {size}", "at most "
    plan = (
        f"{counted(settings.learning_epochs, 'epoch')} of {counted(batches, 'step')}, groups of {size} at temperature "
        f"{settings.temperature}: {most}{planned.rollouts:,} rollouts, then reflection on those that differ"
    )
    plan += f"; at most {planned.settled:,} more of what is in doubt" if planned.settled else ""
    data = described(options.trainset, job.trainset)
    data += f"; validation on {len(job.valset)} of {options.valset}" if job.valset is not None else ""
    asked = [f"{role} {name}" for role, name in lms.items()] if len(set(lms.values())) > 1 else lms.values()
    rows = [("data", data), ("metric", options.metric), ("LM", ", ".join(dict.fromkeys(asked))), ("plan", plan)]
    rows.append(("auto", auto_text(settings, examples)))
    if len(settings.library):
        rows.append(("start", f"{counted(len(settings.library), 'experience')} of {options.library}"))
    named = f"Training-Free GRPO of {' '.join((options.program, *options.program_options))}"
    view.show_plan(title or named, rows, lms)


def _leave(job: Job, why: str = "") -> str:
    """Write what a run learned before it stopped; what is said of that, and of how to go on."""
    story, result, folder = job.story(why=safe(why)), job.keeper.result, job.keeper.folder
    if result is None:  # before its first call
        return why or "interrupted; nothing had been begun"
    ended = replace(result.ended, why=safe(why)) if why else result.ended
    learned = "No step had been finished yet, so there is no program."
    if story is not None:
        library = story.result.library
        write_run(folder, as_policy(detach(job.program), library, job.optimizer.settings, job.trainset), story)
        learned = f"What was learned ({counted(len(library), 'experience')}) is in {show_path(folder)}/."
    return " ".join((f"{result.ended.sentence}.", learned, *ended.details(job.command)))
