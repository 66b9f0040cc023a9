"""`tfgrpo attach`: a program that reads libraries which were learned elsewhere, as a file. No LM is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tfgrpo_dspy.cli.library.tracked import read_any
from tfgrpo_dspy.cli.options.program import ProgramOptions
from tfgrpo_dspy.cli.terminal import facts, out, say, section, table_of, us, warn
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.library.combine import combine
from tfgrpo_dspy.library.formats import write_library
from tfgrpo_dspy.library.section import find_section
from tfgrpo_dspy.text import counted, one_line, show_path, visible


@dataclass(frozen=True, kw_only=True)
class AttachOptions(ProgramOptions):
    """Options of `tfgrpo attach`."""

    program: Annotated[str, typer.Argument(metavar="PROGRAM", help="package.module:attribute or file.py:attribute.")]
    library: Annotated[
        Path, typer.Argument(metavar="LIBRARY", help="Any that `tfgrpo library show` reads, e.g. youtu-agent YAML.")
    ]
    out: Annotated[Path, typer.Option(metavar="FILE", help="The program.json to write.")]
    also: Annotated[list[Path] | None, typer.Option(metavar="LIBRARY", help="A further one, after it; repeatable.")] = (
        None
    )
    max_tokens: Annotated[
        int | None,
        typer.Option(metavar="N", help="Leave out, whole and from the end, what is beyond.", min=1),
    ] = None
    conditioned: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Predictor that reads them; repeatable. Default: all."),
    ] = None
    load: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A saved program.json to load into PROGRAM first.")
    ] = None
    save_library: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the combined library here, as .json.")
    ] = None


def attach_libraries(options: AttachOptions) -> None:
    """Carry out the command."""
    from tfgrpo_dspy.cli.references import load_program
    from tfgrpo_dspy.program.attach import attach
    from tfgrpo_dspy.program.saved import load_state, save_program

    if options.out.suffix != ".json":
        raise SettingsError(f"a program is written as .json, got {options.out}; name a file such as program.json")
    program = load_program(options.program, options.program_options)
    program = load_state(program, options.load) if options.load is not None else program
    paths = [options.library, *(options.also or ())]
    read = [read_any(path) for path in paths]
    stems = [one_line(path.stem.removesuffix("_practice_agent")) or "library" for path in paths]
    names = [library.domain or stem for stem, library in zip(stems, read, strict=True)]
    made = combine(read, names=names, max_tokens=options.max_tokens)
    attached = attach(program, made.library, conditioned=options.conditioned)
    save_program(attached, options.out)
    if options.save_library is not None:
        write_library(made.library, options.save_library)
    for reason in dict.fromkeys(left.reason for left in made.left_out):
        out_of_it = [left.origin for left in made.left_out if left.reason == reason]
        warn(f"{len(out_of_it)} left out, {reason}: {visible(', '.join(out_of_it))}")
    readers = [name for name, p in attached.named_predictors() if find_section(p.signature.instructions)]
    count = counted(len(made.library), "experience")
    say(f"{count} (about {made.library.tokens} tokens) attached to {options.program}", style="bold")
    where, words = show_path(options.out), " ".join(options.program_options)
    use = f"{us()} evaluate {options.program} <examples> --load {where} {words}".strip()
    out().print(facts([("read by", ", ".join(readers)), ("written", where), ("to use it", use)]))
    if len(paths) > 1:
        ids: dict[str, list[tuple[str, str]]] = {}
        for entry in made.library:
            origin = entry.provenance.origin or ""
            ids.setdefault(origin.rpartition(":")[0], []).append((entry.id, origin))
        rows = [(f"{of[0][0]} to {of[-1][0]}", visible(f"{of[0][1]} to {of[-1][1]}")) for of in ids.values()]
        section("Where the ids come from", table_of(("in the prompt", "was"), rows))
