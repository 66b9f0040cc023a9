"""What a run leaves in its folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

import dspy

from tfgrpo_dspy.cli.options.recipe import RECIPE
from tfgrpo_dspy.cli.terminal import warn
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.history.file import save_tracked
from tfgrpo_dspy.history.history import History
from tfgrpo_dspy.history.of_run import add_step, begin, choose
from tfgrpo_dspy.library.file import save_library, to_markdown, write_atomically
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.program.saved import save_library_in, save_program
from tfgrpo_dspy.records.events import Event, RunFinished, RunStarted, StepFinished
from tfgrpo_dspy.records.result import CompileResult
from tfgrpo_dspy.reports.markdown import render_report, with_gain
from tfgrpo_dspy.reports.page.render import render_page, with_verdict
from tfgrpo_dspy.reports.story import Section, Story
from tfgrpo_dspy.runtime.locks import remove_what_killed_writers_left
from tfgrpo_dspy.text import show_path

PROGRAM, LIBRARY, LIBRARY_TEXT = "program.json", "library.json", "library.md"
REPORT, PAGE = "report.md", "run.html"


class Keeper:
    """An observer that keeps what is known of a run, and writes the library and how it is made after every step.

    Its history goes on with the `base` of the library that the run starts from, if that has one.
    """

    def __init__(self, folder: Path, base: History | None = None) -> None:
        self.folder = folder
        self.history = base or History()
        self.recipe = ""
        """What makes the run again."""
        self.has_recipe = False
        """Whether the folder has it by now."""
        self.started: RunStarted | None = None
        self.result: CompileResult | None = None

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case RunStarted():
                self.started = event
                self.history = begin(event.library, self.history)
                if not (self.folder / LIBRARY).exists():  # of another run, which this one may yet leave alone
                    self._write_recipe()
            case StepFinished(record=record):
                self.history = add_step(self.history, record)
                self._write(is_final=False)
            case RunFinished(result=result):
                self.result = result
                if result.steps:
                    self.history = choose(self.history, result)
                    self._write(is_final=True)

    def _write(self, *, is_final: bool) -> None:
        aside = save_tracked(self.history, self.folder / LIBRARY, is_final=is_final)
        if aside is not None:
            warn(f"another library was in {show_path(self.folder)}; it was put aside as {aside.name}")
        write_atomically(to_markdown(self.history.library), self.folder / LIBRARY_TEXT)
        self._write_recipe()

    def _write_recipe(self) -> None:
        write_atomically(self.recipe, self.folder / RECIPE)
        self.has_recipe = True


def check_folder(folder: Path) -> None:
    """Make the folder now, so that a run is not paid for in vain, and clear away what killed writers left in it.

    Raises:
        SettingsError: It cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            remove_what_killed_writers_left(folder)
    except OSError as error:
        raise SettingsError(
            f"{folder} cannot be written to ({error.strerror}); name another folder with --out"
        ) from error


def write_library_files(library: ExperienceLibrary, folder: Path) -> None:
    """`library.json` and `library.md`."""
    save_library(library, folder / LIBRARY)
    write_atomically(to_markdown(library), folder / LIBRARY_TEXT)


def write_run(folder: Path, program: dspy.Module, story: Story) -> None:
    """Program, library, report and page."""
    save_program(program, folder / PROGRAM)
    write_library_files(story.result.library, folder)
    write_story(story, folder)


def write_story(story: Story, folder: Path) -> None:
    """What a person reads of a run: `report.md` and `run.html`."""
    write_atomically(render_report(story), folder / REPORT)
    write_atomically(render_page(story), folder / PAGE)


def add_gain(section: Section, folder: Path) -> list[Path]:
    """Put whether it helped into the report and the page of a folder, as far as they are there; those that were."""
    written = []
    for name, put in ((REPORT, with_gain), (PAGE, with_verdict)):
        if (path := folder / name).is_file():
            write_atomically(put(path.read_text(encoding="utf-8"), section), path)
            written.append(path)
    return written


def refresh_files(library: ExperienceLibrary, path: Path) -> bool:
    """Bring what was made of a library file up to it: `library.md`, and the library that `program.json` reads.

    Returns:
        Whether nothing is left behind: no predictor of a saved program may be known to read a library.

    Raises:
        DataError: `program.json` is damaged.
    """
    text, program = path.with_name(LIBRARY_TEXT), path.with_name(PROGRAM)
    if path.name == LIBRARY and text.is_file():
        write_atomically(to_markdown(library), text)
    return path.name != LIBRARY or not program.is_file() or save_library_in(program, library)
