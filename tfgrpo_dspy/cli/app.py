"""The commands of `tfgrpo`. What they need is imported when they run, so that `--help` answers at once."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from tfgrpo_dspy.cli import serving
from tfgrpo_dspy.cli.attach import AttachOptions, attach_libraries
from tfgrpo_dspy.cli.boundary import Commands
from tfgrpo_dspy.cli.library import commands as library
from tfgrpo_dspy.cli.options.common import CompileOptions, DemoOptions, EvaluateOptions
from tfgrpo_dspy.cli.options.program import ACCEPTED, TakesProgramOptions
from tfgrpo_dspy.cli.options.taking import SettingsCommand, taking
from tfgrpo_dspy.cli.runs.log import show_log
from tfgrpo_dspy.cli.runs.show import show_rollout
from tfgrpo_dspy.cli.terminal import begin, for_machines, say
from tfgrpo_dspy.names.modules import find_module

_ELSEWHERE = {
    "compare": "evals.cli",
    "paper": "evals.cli",
    "list": "evals.cli",
    "audit-reward": "evals.cli",
    "problems": "programs.cli",
}
"""Command to the module, of the folders beside the library, whose `app` has it."""


class _AllCommands(Commands):
    """The library's own commands, and those of the folders beside it, which are looked for when they are asked for."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return [*super().list_commands(ctx), *_ELSEWHERE]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> object:  # type: ignore[override]
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        elsewhere = typer.main.get_command(find_module(_ELSEWHERE[cmd_name], ours=True).app)
        return elsewhere.get_command(ctx, cmd_name)  # type: ignore[attr-defined]


app = typer.Typer(
    cls=_AllCommands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(library.app, name="library")


def _show_version(asked: bool) -> None:
    if asked:
        say(f"tfgrpo-dspy {version('tfgrpo-dspy')}")
        raise typer.Exit


@app.callback()
def tfgrpo(
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Training-Free GRPO for DSPy: learn what to put into a frozen LM's context.

    Start with `tfgrpo demo`: it needs no key and no network.
    """


@app.command(cls=SettingsCommand, epilog="Example: tfgrpo demo --seed 1")
@taking(DemoOptions)
def demo(options: DemoOptions) -> None:
    """Learn a library with the embedded, simulated LM, and measure the gain: no key, no network."""
    begin("Making problems for the embedded LM")
    from tfgrpo_dspy.cli.demo import run_demo

    run_demo(options)


@app.command(
    name="compile",
    cls=TakesProgramOptions,
    context_settings=ACCEPTED,
    epilog="Example: OPENAI_API_KEY=... tfgrpo compile my_module:program train.jsonl --metric number "
    "--lm openai/gpt-4.1-mini --out out/",
)
@taking(CompileOptions)
def compile_(options: CompileOptions) -> None:
    """Learn a library for a program; writes program.json, library.json, library.md and report.md."""
    begin(f"Reading {options.program} and {options.trainset}")
    from tfgrpo_dspy.cli.compile import compile_program

    with for_machines(options.json):
        compile_program(options)


@app.command(
    cls=TakesProgramOptions,
    context_settings=ACCEPTED,
    epilog="Example: tfgrpo evaluate out/program.json test.jsonl -k 8",
)
@taking(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> None:
    """Score a program on held-out examples; a compiled one is compared with its bare self."""
    begin(f"Reading {options.program} and {options.devset}")
    from tfgrpo_dspy.cli.evaluate import evaluate_program

    with for_machines(options.json):
        evaluate_program(options)


@app.command(
    cls=TakesProgramOptions,
    context_settings=ACCEPTED,
    epilog="Example: tfgrpo attach my_module:agent math.yaml --also style.md --max-tokens 3000 --out program.json",
)
@taking(AttachOptions)
def attach(options: AttachOptions) -> None:
    """Plug one or more libraries into a program, without any LM call; writes a program.json."""
    attach_libraries(options)


app.command(epilog="Example: tfgrpo view out")(serving.view)
app.command(
    name="show-rollout",
    epilog="Example: tfgrpo show-rollout out s1/e12/r0, or tfgrpo show-rollout out s1/e12/r0 s1/e12/r3",
)(show_rollout)


app.command(name="log", epilog="Example: tfgrpo log out, or tfgrpo log out --export run.jsonl")(show_log)
app.command(epilog="Example: tfgrpo simulate --port 8765 --latency-median 0.2 --latency-p99 1.5")(serving.simulate)
app.command(epilog="Example: tfgrpo mcp out/library.json, as the command of an MCP server in your agent's settings")(
    serving.mcp
)
app.command(epilog="Example: tfgrpo ui --port 5001")(serving.ui)
