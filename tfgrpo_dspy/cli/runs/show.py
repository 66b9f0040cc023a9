"""`tfgrpo show-rollout`: one rollout of a run, or two of one example side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tfgrpo_dspy.cli.terminal import SIMULATED, facts, out, say, table_of, us
from tfgrpo_dspy.errors import DataError, TFGRPOError
from tfgrpo_dspy.history.file import history_path, load_history
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.records.rollouts import example_of, group_of
from tfgrpo_dspy.records.wording import is_simulated
from tfgrpo_dspy.rollouts.recorded import Recorded, is_rollout_name, lms_of, other_purposes, recorded_rollouts
from tfgrpo_dspy.text import visible

if TYPE_CHECKING:
    from tfgrpo_dspy.program.transcript import Turn

_WIDE = 100
"""Columns from which two rollouts stand side by side."""
_LINES = 30
"""Lines of one value that are shown unless all are asked for."""
_WORDS = {"next_thought": "thought", "next_tool_name": "calls", "next_tool_args": "with"}
"""What an agent's own fields are called here."""
_STYLES = {"failed": "red", "observation": "green", "thought": "cyan", "reasoning": "cyan", "calls": "yellow"}
_STYLES["with"] = _STYLES["calls"]
_CITATION = r"\[G[0-9]+\]"
_TO_COMPARE = 2


def show_rollout(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run's folder, or its store's.")],
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="ROLLOUT", help="Step, example and index: s1/e12/r0. None lists them."),
    ] = None,
    purpose: Annotated[
        str, typer.Option("--of", metavar="WORD", help="What it was made for: training, validation, gate, gain.")
    ] = "training",
    full: Annotated[bool, typer.Option("--full", help="Show long texts to their end.")] = False,
) -> None:
    """Show a rollout of a run: thoughts, tool calls, observations, reward, and the experiences it cites.

    With two rollouts of one example: side by side, with the first turn marked in which they differ.
    """
    found = _found(folder, names := list(names or ()), purpose)
    if is_simulated(lms_of(folder).values()):
        say(SIMULATED, style="yellow")
    if not names:
        rows = [(each.name, *_figures(each), f"{each.rollout.seconds:.1f} s", _remark(each)) for each in found]
        out().print(table_of(("rollout", "reward", "tool calls", "time", ""), rows, numeric=(1, 2, 3)))
        say(f"{len(found)} rollouts of {visible(purpose)}", style="dim")
    elif len(names) == 1:
        _show_one(found[0], _library_read(folder, found[0]), full=full)
    else:
        _show_two(found, _library_read(folder, found[0]), full=full)


def _found(folder: Path, names: Sequence[str], purpose: str) -> list[Recorded]:
    """The rollouts of these names, of which two at most are compared; all of that purpose if none is named."""
    if len(names) > _TO_COMPARE:
        raise DataError(f"one rollout is shown, or two are compared; {len(names)} were named")
    for name in names:
        if not is_rollout_name(name):
            raise DataError(f"{visible(name)!r} is no name of a rollout; one is s1/e12/r0: step, example, index")
    if len({example_of(name) for name in names}) > 1:
        other = f"{group_of(names[0])}/r{int(names[0].endswith('/r0'))}"
        raise DataError(
            f"{' and '.join(names)} answer different questions; compare two of one example, e.g. {names[0]} {other}"
        )
    groups = [group_of(name) for name in names]
    there = {each.name: each for each in recorded_rollouts(folder, groups, purpose=purpose)}
    if missing := next((name for name in names if name not in there), None):
        group = group_of(missing)
        known = [name for name in there if name.startswith(f"{group}/")]
        offer = f"{group} has {', '.join(known)}" if known else f"`{us()} show-rollout {folder}` lists what there is"
        raise DataError(f"the run holds no rollout {missing} of {visible(purpose)}; {offer}")
    if not there:
        held = ", ".join(f"{n} of {what}" for what, n in other_purposes(folder).items()) or "no rollout yet"
        raise DataError(f"the run holds no rollout of {visible(purpose)}; it holds {visible(held)} (--of WORD)")
    return [there[name] for name in names] if names else list(there.values())


def _show_one(each: Recorded, library: ExperienceLibrary | None, *, full: bool, marked: int | None = None) -> None:
    """A rollout, turn by turn, with the texts that it cites; `marked` is where it leaves the one compared with it."""
    from tfgrpo_dspy.program.transcript import citations, parse_trajectory

    turns, console = parse_trajectory(getattr(each.rollout, "trajectory", "")), out()
    console.print(Text(f"Rollout {each.name}", style="bold"), Text(f"({visible(each.purpose)})", style="dim"))
    withheld = ", ".join(getattr(each.rollout, "withheld", ()))
    cited = [*citations(turns)]
    if library is not None:
        read = {entry.id: visible(entry.text) for entry in library}
        cited = [f"{id}  {read.get(id, '(not in the library it read)')}" for id in cited]
    known = [("cited", "\n".join(cited) or "no experience"), ("not read", withheld)]
    console.print(facts([*_facts(each, full=full), *known]))
    for position in range(len(turns)):
        console.print(_cell(turns, position, marked=position == marked, full=full))


def _show_two(pair: Sequence[Recorded], library: ExperienceLibrary | None, *, full: bool) -> None:
    """Side by side where there is room, else one below the other."""
    from tfgrpo_dspy.program.transcript import first_divergence, parse_trajectory

    console, sides = out(), [parse_trajectory(getattr(each.rollout, "trajectory", "")) for each in pair]
    at = first_divergence(*sides)
    if console.width < _WIDE:
        for each in pair:
            _show_one(each, library, full=full, marked=at)
    else:
        table = Table.grid(padding=(0, 4), expand=True)
        for _ in pair:
            table.add_column(ratio=1, overflow="fold")
        table.add_row(*(Text(each.name, style="bold") for each in pair))
        table.add_row(*(facts(_facts(each, full=full)) for each in pair))
        for position in range(max(map(len, sides))):
            table.add_row(*(_cell(turns, position, marked=position == at, full=full) for turns in sides))
        console.print(table)
    said = "the same in every turn" if at is None else f"they part at turn {at + 1}"
    rewards = " and ".join(_figures(each)[0] for each in pair)
    say(f"{' and '.join(each.name for each in pair)}: {said}; rewards {rewards}", style="bold")


def _cell(turns: Sequence[Turn], position: int, *, marked: bool, full: bool) -> Group | Text:
    if position >= len(turns):
        return Text("\n(ended before)", style="dim")
    turn = turns[position]
    values = _values(turn, position + 1 < len(turns) and turns[position + 1].is_tool, full=full)
    kind = "tool " if turn.is_tool else ""
    style = "bold red" if marked else "bold yellow" if turn.is_tool else "bold blue"
    text = Text(visible(f"{'≠ ' if marked else ''}{position + 1} {kind}{turn.name}"), style=style)
    return Group(Text(), text.append(" (they part here)") if marked else text, values)


def _values(turn: Turn, is_followed_by_tool: bool, *, full: bool) -> Table:
    """What a call was given and gave; a tool's name and arguments only where the tool itself does not show them."""
    table = Table.grid(padding=(0, 2, 0, 2))
    table.add_column(style="dim", no_wrap=True, max_width=18)
    table.add_column(overflow="fold")
    for value in turn.values:
        if is_followed_by_tool and value.field in {"next_tool_name", "next_tool_args"}:
            continue
        label = visible(_WORDS.get(value.field, value.field)) or "gave"
        label = "observation" if turn.is_tool and value.role == "out" else label
        label = "failed" if value.role == "failed" else label
        text = Text(_cut(visible(value.text), full=full), style=_STYLES.get(label, ""))
        if value.role == "out":
            text.highlight_regex(_CITATION, "bold magenta")
        table.add_row(Text(label), text)
    return table


def _cut(text: str, *, full: bool) -> str:
    lines = text.split("\n")
    if full or len(lines) <= _LINES:
        return text
    return "\n".join([*lines[:_LINES], f"... {len(lines) - _LINES} more lines; --full shows them"])


def _facts(each: Recorded, *, full: bool) -> list[tuple[str, str]]:
    made, (reward, tools) = each.rollout, _figures(each)
    calls = f"{made.usage.lm_calls} LM calls, {tools} tool calls, {made.seconds:.1f} s"
    texts = [(name, str(getattr(made, name, "") or "")) for name in ("feedback", "answer")]
    shown = [(name, _cut(visible(text), full=full)) for name, text in texts]
    return [("reward", reward), *shown, ("failed", visible(_remark(each))), ("took", calls)]


def _figures(each: Recorded) -> tuple[str, str]:
    """Its reward, and how many tools it called."""
    made, reward = each.rollout, getattr(each.rollout, "reward", None)
    without = "lost" if hasattr(made, "error") else "none"
    return without if reward is None else f"{reward:.4g}", str(getattr(made, "tool_calls", 0))


def _remark(each: Recorded) -> str:
    made = each.rollout
    text = getattr(made, "error", None) or getattr(made, "policy_failure", None) or ""
    return re.sub(r"\s+", " ", visible(text))


def _library_read(folder: Path, each: Recorded) -> ExperienceLibrary | None:
    """The library before the rollout's step, if the run's history tells."""
    from tfgrpo_dspy.cli.files import LIBRARY

    beside = history_path(folder / LIBRARY)
    if not beside.is_file() or not each.purpose.startswith("training"):
        return None
    try:
        return load_history(beside).at(each.step - 1)
    except TFGRPOError:
        return None  # the texts are an extra: a damaged or short history is no reason not to show the rollout
