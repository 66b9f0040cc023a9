"""A recipe: all that a run was told, as a YAML file that people read and edit, and `compile --recipe` takes.

Every line is a setting by its name in Python, below its sentence. Values are numbers, words, texts and lists of them,
so reading a recipe runs nothing; the program and the metric that it names are imported as if they had been typed.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tfgrpo_dspy.cli.options.spelling import in_yaml
from tfgrpo_dspy.cli.options.taken import Taken, read
from tfgrpo_dspy.declaration import GROUPS, Setting, settings_of, unknown
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.reports.redaction import safe
from tfgrpo_dspy.settings import WHOLES, Settings

RECIPE = "recipe.yaml"
_HEAD = """\
# The run whose results lie beside this file. To make it again:  tfgrpo compile --recipe {name}
# What the command line says besides wins; paths and modules are looked for from where the command is given.
"""
_WIDTH = 116


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a file says, and where."""

    path: Path | None = None
    written: Mapping[str, Any] = field(default_factory=dict)
    """Name to value, as YAML has it."""
    lines: Mapping[str, int] = field(default_factory=dict)

    def beside(self, typed: Collection[str]) -> Mapping[str, Any]:
        """What it says where nothing else was typed; typing `auto` takes the place of all single settings of wholes."""
        wholes = {name for whole in WHOLES.values() for name in whole} if "auto" in typed else set()
        return {name: value for name, value in self.written.items() if name not in wholes}

    def place(self, error: SettingsError, typed: Collection[str]) -> None:
        """Say in an error which line of the file it is about, unless that was typed."""
        named = re.findall(r"`(\w+)", str(error))
        for name in named if self.path is not None else ():
            if name in self.lines and name not in typed:
                error.args = (f"{self.path}, line {self.lines[name]}: {in_yaml(str(error))}",)
                return


def read_recipe(path: Path, known: Mapping[str, Setting]) -> Recipe:
    """What a recipe says; nothing that it names is looked at.

    Raises:
        SettingsError: It is none, or a line says what cannot be; the message names file, line and setting.
    """
    written: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for name, value, line in _entries(path):
        where = f"{path}, line {line}: "
        if name not in known:
            raise SettingsError(where + in_yaml(str(unknown(name, known))))
        if name in written:
            raise SettingsError(f"{where}{name} stands there twice, first in line {lines[name]}; delete one of the two")
        one = known[name]
        try:
            read(one, value)
        except SettingsError as error:
            hint = "; put it between quotes" if one.kind is str and isinstance(value, bool | int | float) else ""
            raise SettingsError(f"{where}{in_yaml(str(error))}{hint}") from error
        written[name], lines[name] = value, line
    return Recipe(path, written, lines)


def render_recipe(options: Taken, settings: Settings, path: Path) -> str:
    """The recipe, to stand at that path, that makes a run again.

    What was left out is written down too, as the run's `settings` have it, lest another default change it.
    """
    lines = [_HEAD.format(name=path).rstrip()]
    group = ""
    for name, one in options.repeated().items():
        if name == "auto":  # which is written as the single settings that it stands for
            continue
        value = options.written.get(name)
        if name in settings_of(type(options)):
            value = getattr(options, name)
        elif one.read is None and name in settings_of(Settings):
            value = getattr(settings, name)
        if one.group != group:
            group = one.group
            lines += ["", f"# --- {group}: {GROUPS[group]}"]
        sentence = textwrap.wrap(in_yaml(one.sentence), _WIDTH, break_on_hyphens=False, break_long_words=False)
        lines += ["", *(f"# {line}" for line in sentence), _line(name, value)]
    return "\n".join(lines) + "\n"


def _line(name: str, value: Any) -> str:
    plain = str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
    texts = plain if isinstance(plain, list) else [plain]
    if any(isinstance(text, str) and safe(text) != text for text in texts):
        return f"# {name}: was given, and is not written here because it may hold a secret; give it again"
    text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=10**6)
    return f"{name}: {text.removesuffix('...' + chr(10)).rstrip()}"


def _entries(path: Path) -> Iterator[tuple[str, Any, int]]:
    """Name, value and line of each entry."""
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise SettingsError(f"{path} is no recipe: it must hold lines such as epochs: 3")
        for key, value in node.value:
            line = key.start_mark.line + 1
            parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
            if not all(isinstance(part, yaml.ScalarNode) for part in (key, *parts)):
                raise SettingsError(f"{path}, line {line}: a value is a number, a word, a text or a list of these")
            yield str(key.value), loader.construct_object(value, deep=True), line
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is no recipe: it is not UTF-8 text") from error
    except (yaml.MarkedYAMLError, RecursionError, ValueError) as error:
        if isinstance(error, SettingsError):
            raise
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark is not None else str(path)
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise SettingsError(f"{where}: this is not YAML as a recipe has it: {problem}") from error
