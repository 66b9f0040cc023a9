"""What a run leaves in its folder, and reading it back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import dspy

from tfgrpo_dspy.cli.options.recipe import RECIPE
from tfgrpo_dspy.cli.terminal import show_path, warn
from tfgrpo_dspy.errors import DataError, ProgramError, SettingsError
from tfgrpo_dspy.history.file import save_tracked
from tfgrpo_dspy.history.history import History
from tfgrpo_dspy.history.of_run import add_step, begin, choose
from tfgrpo_dspy.library.experience import Experience, Provenance, id_number
from tfgrpo_dspy.library.file import save_library, to_markdown, write_atomically
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.section import append_section, find_section, parse_lines, render_section
from tfgrpo_dspy.program.retrieving import Retrieving, holds_memory, library_in, with_library_in
from tfgrpo_dspy.records.events import Event, RunFinished, RunStarted, StepFinished
from tfgrpo_dspy.records.result import CompileResult
from tfgrpo_dspy.reports.markdown import render_report, with_gain
from tfgrpo_dspy.reports.page.render import render_page, with_verdict
from tfgrpo_dspy.reports.story import Section, Story
from tfgrpo_dspy.runtime.locks import remove_what_killed_writers_left

PROGRAM, LIBRARY, LIBRARY_TEXT = "program.json", "library.json", "library.md"
REPORT, PAGE = "report.md", "run.html"
_SECRETS = ("api_key", "api_base", "base_url", "headers", "extra_headers", "default_headers", "api_version")


class Keeper:
    """An observer that keeps what is known of a run, and writes the library and how it is made after every step.

    Args:
        folder: Where to.
        base: The history of the library that the run starts from, if it has one.
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


def save_program(program: dspy.Module, path: Path) -> None:
    """`program.save`, without the endpoints and keys of LMs that the program may have of its own.

    DSPy leaves out keys when it saves an LM, but neither addresses nor headers; it ignores them when loading.
    """
    with tempfile.TemporaryDirectory(prefix="tfgrpo-") as private:
        draft = Path(private) / PROGRAM
        program.save(str(draft))
        state = json.loads(draft.read_text(encoding="utf-8"))
    write_atomically(json.dumps(_without_secrets(state), indent=2, ensure_ascii=False) + "\n", path)


def load_state(program: dspy.Module, path: Path) -> dspy.Module:
    """A copy of the program with the state of a saved `program.json`; its LMs stay those that its code made.

    A saved LM has no address, as that may hold credentials: loaded, it would ask its provider's public endpoint, with
    whatever key is in the environment.

    Raises:
        DataError: The file cannot be read.
        ProgramError: It is the state of another program.
    """
    state = read_json(path)
    copy = Retrieving(program) if holds_memory(state) else program.deepcopy()
    names = {name for name, _ in copy.named_parameters()}
    saved = {"self"} if _has_signature(state) else set(state) - {"metadata"}
    if saved != names:
        raise ProgramError(
            f"{path} holds the state of a program with {', '.join(sorted(saved)) or 'no predictor'}, "
            f"but this program has {', '.join(sorted(names))}; load it into the program it was compiled from"
        )
    own = {name: predictor.lm for name, predictor in copy.named_predictors()}
    try:
        copy.load_state(_without_lms(state))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProgramError(f"{path} cannot be loaded into this program: {type(error).__name__}: {error}") from error
    for name, predictor in copy.named_predictors():
        predictor.lm = own[name]
    return copy


def _without_lms(state: Any) -> Any:
    if not isinstance(state, dict):
        return state
    return {name: None if name == "lm" else _without_lms(value) for name, value in state.items()}


def library_of_program(path: Path) -> ExperienceLibrary | None:
    """The library that a saved program reads, its provenance left behind; None if the file holds no program."""
    try:
        state = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else None
    except ValueError:
        return None  # whatever it is, the reader of libraries says what is wrong with it
    if isinstance(state, dict) and holds_memory(state):
        return library_in(state)
    signatures = _signatures(state) if isinstance(state, dict) else {}
    if not signatures:
        return None
    found = {entry for s in signatures.values() for entry in parse_lines(find_section(str(s.get("instructions", ""))))}
    read = sorted(found, key=lambda entry: id_number(entry[0]))
    experiences = tuple(Experience(id, text, provenance=Provenance("import")) for id, text in read)
    return ExperienceLibrary(experiences, next_id=id_number(read[-1][0]) + 1 if read else 0)


def refresh_files(library: ExperienceLibrary, path: Path) -> list[str]:
    """Bring what was made of a library file up to it: `library.md` and the library that `program.json` reads.

    Returns:
        Names of the files that could not be, because no predictor of the program is known to read a library.

    Raises:
        DataError: `program.json` is damaged.
    """
    text, program = path.with_name(LIBRARY_TEXT), path.with_name(PROGRAM)
    if path.name != LIBRARY:
        return []
    if text.is_file():
        write_atomically(to_markdown(library), text)
    if not program.is_file():
        return []
    state = read_json(program)
    if holds_memory(state):
        write_atomically(json.dumps(with_library_in(state, library), indent=2, ensure_ascii=False) + "\n", program)
        return []
    signatures = _signatures(state)
    reading = {name: s for name, s in signatures.items() if find_section(str(s.get("instructions", "")))}
    if not reading and len(signatures) == 1:
        reading = signatures
    for name, signature in reading.items():
        section = render_section(library.scoped_to(name))
        signature["instructions"] = append_section(str(signature.get("instructions", "")), section)
    write_atomically(json.dumps(state, indent=2, ensure_ascii=False) + "\n", program)
    return [] if reading else [PROGRAM]


def _signatures(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Signatures by the name of their predictor; DSPy saves a bare `dspy.Predict`, called `self`, without its name."""
    states = {"self": state} if _has_signature(state) else state
    return {name: value["signature"] for name, value in states.items() if _has_signature(value)}


def _has_signature(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("signature"), dict)


def read_json(path: Path, mend: str = "restore it or compile again") -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        DataError: There is none; the message ends with how to `mend` that.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{show_path(path)} is no valid JSON ({error}); {mend}") from error
    if not isinstance(document, dict):
        raise DataError(f"{show_path(path)} must hold a JSON object; {mend}")
    return document


def _without_secrets(state: Any) -> Any:
    """The state with the LMs of predictors cut down to what says nothing of keys and endpoints."""
    if isinstance(state, list):
        return [_without_secrets(value) for value in state]
    if not isinstance(state, dict):
        return state
    cleaned = {name: _without_secrets(value) for name, value in state.items()}
    if isinstance(cleaned.get("lm"), dict):
        cleaned["lm"] = {name: value for name, value in cleaned["lm"].items() if name not in _SECRETS}
    return cleaned
