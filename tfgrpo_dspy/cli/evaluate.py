"""`tfgrpo evaluate`: fresh rollouts of a program, and of the program it was learned from, with error bars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import dspy
import typer
from rich.text import Text

from tfgrpo_dspy.cli import view
from tfgrpo_dspy.cli.boundary import AWAY, ENDED_EARLY, TOO_LOW
from tfgrpo_dspy.cli.compile import budget_of
from tfgrpo_dspy.cli.files import PROGRAM, add_gain
from tfgrpo_dspy.cli.heldout import add_to_run, run_of
from tfgrpo_dspy.cli.lms import check_configured, lm_of
from tfgrpo_dspy.cli.named import check_named, note_named
from tfgrpo_dspy.cli.options.common import CompileOptions, DataOptions, EvaluateOptions, LMOptions
from tfgrpo_dspy.cli.options.recipe import RECIPE, read_recipe
from tfgrpo_dspy.cli.options.taken import WORDS
from tfgrpo_dspy.cli.references import described, examples_for, load_metric, load_program
from tfgrpo_dspy.cli.terminal import err, say, show_warnings_of_the_library, warn, write_json
from tfgrpo_dspy.declaration import settings_of
from tfgrpo_dspy.errors import DataError
from tfgrpo_dspy.evaluation import compare, evaluate
from tfgrpo_dspy.library.section import find_section
from tfgrpo_dspy.lm.budget import Budget, Reason
from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking
from tfgrpo_dspy.program.checks import policy_name
from tfgrpo_dspy.program.instructions import detach
from tfgrpo_dspy.program.saved import load_state
from tfgrpo_dspy.records.evaluation import Comparison, Evaluation
from tfgrpo_dspy.records.wording import gain_text
from tfgrpo_dspy.reports.document import earlier_rewards, scores_document
from tfgrpo_dspy.reports.redaction import safe
from tfgrpo_dspy.reports.story import Section, gain_section
from tfgrpo_dspy.reports.tables import cost_table, evaluations_table
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.statistics.estimates import paired_difference
from tfgrpo_dspy.text import counted, show_path


def evaluate_program(options: EvaluateOptions) -> None:
    """Carry out the command."""
    options = _completed(options)
    show_warnings_of_the_library()
    bare = load_program(options.program, options.program_options)
    metric = load_metric(options.metric)
    note_named(options.written)
    learned = load_state(bare, options.load) if options.load is not None else None
    with dspy.context(**lm_of(options, options.settings.get("seed", Settings.seed))):
        check_configured(learned or bare)
        devset = examples_for(bare, options.devset, options)
        if options.no_worse_than is not None:
            earlier_rewards(options.no_worse_than, (one.inputs() for one in devset))  # told before anything is paid
        lms = {"policy": policy_name(bare)}
        temperature = options.settings.get("temperature", Settings.temperature)
        rows = [("data", described(options.devset, devset)), ("metric", options.metric), ("LM", lms["policy"])]
        rows.append(("plan", f"{counted(options.k, 'rollout')} a question at temperature {temperature}"))
        view.show_plan(f"Evaluation of {_title(options)}", rows, lms)
        reads = any(find_section(p.signature.instructions) for p in bare.predictors())
        programs = {"with its library" if reads else "bare": bare} if learned is None else {"learned": learned}
        if learned is not None and options.baseline:
            programs = {"bare": detach(bare), **programs}
        given = {"seed": Settings.seed, **options.settings}
        settings = {name: value for name, value in given.items() if name not in settings_of(Budget)}
        made = {
            name: evaluate(program, devset, metric, k=options.k, budget=budget_of(given), **settings)
            for name, program in programs.items()
        }
    gain = compare(made["bare"], made["learned"]) if len(made) > 1 else None
    used = cost_table({name: each.usage for name, each in made.items()})
    took = ", ".join(f"{name} {each.seconds:.0f} s" for name, each in made.items())
    view.show_section(Section("Cost", (used, took)))
    view.show_section(Section("Result", (evaluations_table(made),)) if gain is None else gain_section(gain))
    if gain is not None and options.load is not None:
        written = add_gain(gain_section(gain, f"On {options.devset}:"), options.load.parent)
        if written:
            say(f"The gain was added to {' and '.join(map(show_path, written))}")
    if options.json:
        write_json(scores_document(made, gain))
    _record(options, made, gain)
    _check(made.get("learned", next(iter(made.values()))), options)
    if reasons := [each.stopped_by for each in made.values() if each.stopped_by]:
        warn(f"not evaluated to the end: {safe(reasons[0])}")
        raise typer.Exit(AWAY if Reason(reasons[0]).how in {"outage", "disk"} else ENDED_EARLY)


def _check(made: Evaluation, options: EvaluateOptions) -> None:
    """Exit with a code of its own if the scores are not what was asked for."""
    short = []
    if options.fail_under is not None and made.mean.value < options.fail_under:
        short.append(f"the mean reward {made.mean.value:.3f} is below {options.fail_under:g}")
    if options.no_worse_than is not None:
        difference = paired_difference(
            earlier_rewards(options.no_worse_than, (group.example.inputs() for group in made.groups)), made.rewards
        )
        said = f"against {show_path(options.no_worse_than)}: {gain_text(difference)}"
        say(said)
        short += [said] if difference.verdict == "worse" else []
    for line in short:
        err().print(Text.assemble(("Too low: ", "bold red"), line), soft_wrap=True)
    if short:
        raise typer.Exit(TOO_LOW)


def _record(options: EvaluateOptions, made: Mapping[str, Evaluation], gain: Comparison | None) -> None:
    """Add the scores to the MLflow run that learned the program, or to a new one if that is asked for."""
    if options.tracking is False:
        return
    run = run_of(options.load.parent, options.tracking_uri) if options.load is not None else None
    if run is None and options.tracking:
        name = f"evaluation of {_title(options)}, k={options.k}"
        run = MLflowTracking(options.experiment, tracking_uri=options.tracking_uri, run_name=name)
    if run is not None:
        add_to_run(run, made, gain)


def _completed(options: EvaluateOptions) -> EvaluateOptions:
    """With a `program.json`, or its folder, for a program: what its recipe says where the command line does not."""
    path = Path(options.program)
    if path.is_dir():
        path /= PROGRAM
    if path.suffix != ".json":
        if options.load is not None and not options.load.is_file():
            raise DataError(f"there is no file {options.load} to load; check the path")
        return options
    if not path.is_file():
        raise DataError(f"there is no file {path}; tfgrpo compile writes one into its --out folder")
    beside = path.with_name(RECIPE)
    if not beside.is_file():
        raise DataError(
            f"{path} holds a program's state only, and there is no {RECIPE} beside it; "
            f"name the program too: tfgrpo evaluate module:attribute DEVSET --load {path}"
        )
    made_by = read_recipe(beside, CompileOptions.repeated()).written
    check_named(made_by, options.written, path)
    taken = {*settings_of(DataOptions), WORDS} - {"limit", "split"}
    if options.lm is None:  # an endpoint belongs to the model that was asked there
        taken |= settings_of(LMOptions).keys()
    said = {name: value for name, value in made_by.items() if name in taken}
    return EvaluateOptions.asked({**said, **options.written, "program": made_by["program"], "load": str(path)})


def _title(options: EvaluateOptions) -> str:
    return f"{options.program} with {show_path(options.load)}" if options.load is not None else options.program
