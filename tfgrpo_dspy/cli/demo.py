"""`tfgrpo demo`: the whole loop on the embedded LM, from baseline to measured gain."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import dspy

from tfgrpo_dspy.cli import view
from tfgrpo_dspy.cli.compile import finish, learn, tracking_for
from tfgrpo_dspy.cli.data import described
from tfgrpo_dspy.cli.files import PROGRAM, Keeper, RunFile, check_folder, load_state
from tfgrpo_dspy.cli.job import Job
from tfgrpo_dspy.cli.lms import SIMULATED_LM
from tfgrpo_dspy.cli.terminal import say, show_warnings_of_the_library, terminal_progress, us
from tfgrpo_dspy.evaluation import compare, evaluate
from tfgrpo_dspy.records.evaluation import Comparison, Evaluation
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated.engine import simulated_lm
from tfgrpo_dspy.simulated.student import make_solver
from tfgrpo_dspy.simulated.world import demo_examples
from tfgrpo_dspy.teleprompter import TrainingFreeGRPO
from tfgrpo_dspy.text import counted

if TYPE_CHECKING:
    from tfgrpo_dspy.cli.options.common import DemoOptions

K = 5
"""Rollouts per held-out problem."""
SOLVER = "tfgrpo_dspy.simulated.student:make_solver"


def run_demo(options: DemoOptions) -> None:
    """Carry out the command."""
    show_warnings_of_the_library()
    began = time.monotonic()
    solver = make_solver()
    held_out = demo_examples(options.held_out, options.seed, "test")
    # Without DSPy's cache, so that a second run does not answer from it in no time and without tokens.
    with dspy.context(lm=simulated_lm(options.seed, cache=False)):
        job = _job(options, solver)
        _show_plan(job, options)
        before = _evaluated(solver, held_out, options)
        story = learn(job, partial(_gain, job, before=before, held_out=held_out, options=options))
    view.show_story(story, options.out, job.tracking)
    say(f"\n{time.monotonic() - began:.0f} s in all. Next: your own program, see {us()} compile --help")
    finish(story)


def _job(options: DemoOptions, solver: dspy.Module) -> Job:
    keeper = Keeper(options.out)
    optimizer = TrainingFreeGRPO(
        number,
        **options.settings,
        num_threads=options.num_threads,
        seed=options.seed,
        observers=[keeper, terminal_progress()],
        display_progress=False,
    )
    check_folder(options.out)
    tracking = tracking_for(options)
    optimizer.setup = replace(optimizer.setup, tracking=tracking or False)
    trainset = demo_examples(options.examples, options.seed)
    run = RunFile(SOLVER, "number", ("question",), "answer", SIMULATED_LM, "auto", 0.7)
    return Job(solver, trainset, None, optimizer, keeper, tracking, run, "the demo world")


def _show_plan(job: Job, options: DemoOptions) -> None:
    lms = {"policy": dspy.settings.lm.model}
    settings = job.optimizer.settings
    rollouts = options.examples * settings.epochs * settings.group_size
    rows = [
        ("student", "dspy.ChainOfThought, question -> answer"),
        ("learns from", described(job.source, job.trainset)),
        ("measured on", f"{options.held_out} other problems, {K} rollouts each, before and after"),
        ("plan", f"{counted(settings.epochs, 'epoch')}, groups of {settings.group_size}: {rollouts:,} rollouts"),
        ("LM", lms["policy"]),
    ]
    view.show_plan("Training-Free GRPO, the whole loop on the embedded LM", rows, lms)


def _evaluated(program: dspy.Module, held_out: list[dspy.Example], options: DemoOptions) -> Evaluation:
    return evaluate(program, held_out, number, k=K, seed=options.seed, num_threads=options.num_threads)


def _gain(
    job: Job, learned: dspy.Module, *, before: Evaluation, held_out: list[dspy.Example], options: DemoOptions
) -> Comparison:
    """What was saved is what is measured."""
    saved = load_state(job.program, job.keeper.folder / PROGRAM)
    return compare(before, _evaluated(saved, held_out, options))
