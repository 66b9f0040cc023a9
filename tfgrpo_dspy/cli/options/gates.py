"""Options that keep a library from doing harm, and what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfgrpo_dspy.cli.options.taking import option

if TYPE_CHECKING:
    from collections.abc import Callable

    import dspy

    from tfgrpo_dspy.gates.gate import Gate

GUARDING = "Only what helps"
JUDGE, SCREEN = "judge", "screen"


@dataclass(frozen=True, kw_only=True)
class GuardingOptions:
    """What has to be shown before something enters the library, or is returned."""

    gate: Annotated[
        list[str] | None,
        option(
            "--gate",
            metavar="FILE|judge|screen",
            panel=GUARDING,
            help="An update enters only if it is shown not to be worse on these held-out examples; `judge` lets the "
            "reflection LM look at each text, `screen` refuses answers and names of training problems. Repeatable.",
        ),
    ] = None
    require_gain: Annotated[
        bool,
        typer.Option(
            "--require-gain",
            rich_help_panel=GUARDING,
            help="Return the program as it was unless a gain shows on fresh rollouts (of --valset, or --gate FILE).",
        ),
    ] = False
    test: Annotated[
        str | None,
        option(
            "--test",
            metavar="FILE",
            panel=GUARDING,
            help="Held-out examples on which the bare and the learned program are compared at the end.",
        ),
    ] = None
    patience: Annotated[
        int | None,
        option("--patience", metavar="N", panel=GUARDING, help="Stop after N epochs in a row without progress."),
    ] = None
    on_uniform: Annotated[
        str,
        typer.Option(
            "--on-uniform",
            metavar="skip|hint",
            rich_help_panel=GUARDING,
            help="What to do with groups whose rewards are all equal.",
        ),
    ] = "skip"


def gates_of(options: GuardingOptions, examples_in: Callable[[str], list[dspy.Example]]) -> list[Gate]:
    """The gates that the options name, in their order."""
    from tfgrpo_dspy.gates.holdout import Holdout
    from tfgrpo_dspy.gates.judge import Judge
    from tfgrpo_dspy.gates.screen import Screen

    ready: dict[str, Callable[[], Gate]] = {JUDGE: Judge, SCREEN: Screen}
    return [ready[name]() if name in ready else Holdout(examples_in(name)) for name in options.gate or ()]


def settings_of(options: GuardingOptions) -> dict[str, Any]:
    """What of the options are settings."""
    return {
        "require_gain": options.require_gain,
        "patience": options.patience,
        "on_uniform": options.on_uniform,
    }
