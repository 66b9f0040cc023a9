"""`tfgrpo demo`: the whole loop on the embedded LM, from baseline to measured gain."""

from __future__ import annotations

import json
import time
from pathlib import Path

import dspy

from tfgrpo_dspy.cli import view
from tfgrpo_dspy.cli.compile import finish, learn, measured, prepare, show_plan
from tfgrpo_dspy.cli.files import PROGRAM, check_folder
from tfgrpo_dspy.cli.lms import SIMULATED_LM, lm_of
from tfgrpo_dspy.cli.options.common import CompileOptions, DemoOptions
from tfgrpo_dspy.cli.references import load_program
from tfgrpo_dspy.cli.terminal import say, show_warnings_of_the_library, us
from tfgrpo_dspy.library.file import write_atomically
from tfgrpo_dspy.program.saved import load_state
from tfgrpo_dspy.simulated.world import Split, demo_examples

SOLVER = "tfgrpo_dspy.simulated.student:make_solver"


def run_demo(options: DemoOptions) -> None:
    """Carry out the command."""
    show_warnings_of_the_library()
    began = time.monotonic()
    check_folder(options.out)
    asked = _as_compile(options)
    program = load_program(SOLVER)
    with dspy.context(**lm_of(asked, options.seed)):
        job = prepare(program, asked, is_kept=False)
        show_plan(job, asked, "Training-Free GRPO, the whole loop on the embedded LM")
        # What was saved is what is measured.
        story = learn(job, lambda learned: measured(job, load_state(learned, job.keeper.folder / PROGRAM)))
    view.show_story(story, options.out, job.tracking)
    say(f"\n{time.monotonic() - began:.0f} s in all. Next: your own program, see {us()} compile --help")
    finish(story)


def _as_compile(options: DemoOptions) -> CompileOptions:
    """The same as `tfgrpo compile` says it, on problems that are written beside the results."""
    own = {name: value for name, value in options.written.items() if name in CompileOptions.known()}
    demo = {
        "program": SOLVER,
        "trainset": str(_write_problems(options, "train", options.examples)),
        "test": str(_write_problems(options, "test", options.held_out)),
        "metric": "number",
        "lm": SIMULATED_LM,
        "lm_option": ["cache=false"],  # else a second run would be answered in no time and without tokens
        "num_threads": options.num_threads,
        "out": str(options.out),
    }
    return CompileOptions.asked({**demo, **own})


def _write_problems(options: DemoOptions, split: Split, number: int) -> Path:
    path = options.out / f"{split}.jsonl"
    rows = [json.dumps(dict(example.items())) for example in demo_examples(number, options.seed, split)]
    write_atomically("".join(f"{row}\n" for row in rows), path)
    return path
