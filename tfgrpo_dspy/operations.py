"""Add, Delete, Modify and Keep: what an update may do to a library (paper, section 3, step 3).

One pydantic type per case, told apart by `op`, so that a signature can use `list[Operation]` as its output type
and a reply that does not fit is refused with an error that can be shown to the model.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema
from typing_extensions import TypeAliasType

_UNAMBIGUOUS = {"\b": r"\b", "\f": r"\f"}
_COMMANDS_AFTER = {
    "\t": r"t(?:imes|heta|au|an|anh|ext(?:bf|it|rm)?|frac|binom|riangle(?:q|left|right)?|o|op|ilde|herefore|wo)",
    "\n": r"n(?:u|e|eq|abla|ot|otin|mid|leq|geq|exists|parallel|earrow|warrow|subseteq)",
    "\r": r"r(?:ho|ight|ightarrow|angle|ceil|floor|oot|eals|brace|brack|Vert|vert)",
}
_EATEN = re.compile("|".join(f"{control}(?={pattern[1:]}(?![A-Za-z]))" for control, pattern in _COMMANDS_AFTER.items()))


def restore_latex(text: str) -> str:
    r"""Undo what a JSON parser does to LaTeX that a model wrote with single backslashes.

    `\times`, `\beta`, `\nu`, `\rho` and `\frac` start with valid JSON escapes, so a parser turns them into a tab,
    backspace, newline, carriage return and form feed. A backspace or form feed is never wanted in prose; the
    other three are restored only where a LaTeX command follows.

    >>> restore_latex("a \times b, \x0crac{1}{2}")
    'a \\times b, \\frac{1}{2}'
    """
    for control, escape in _UNAMBIGUOUS.items():
        text = text.replace(control, escape)
    return _EATEN.sub(lambda match: {"\t": r"\t", "\n": r"\n", "\r": r"\r"}[match.group()], text)


def _restore(value: object) -> object:
    return restore_latex(value) if isinstance(value, str) else value


Prose = Annotated[str, BeforeValidator(_restore)]
"""Text written by a model inside JSON, with its LaTeX restored."""


class _Operation(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Prose = ""
    """Why, in one sentence; kept as provenance."""
    sources: tuple[str, ...] = ()
    """Labels of the semantic advantages it rests on, e.g. `("A0", "A3")`."""


class Add(_Operation):
    """Append a new experience; the library gives it the next id."""

    op: Literal["add"] = "add"
    text: Prose


class Modify(_Operation):
    """Replace the text of an experience: a refinement, or the merger of several insights."""

    op: Literal["modify"] = "modify"
    id: str
    text: Prose


class Delete(_Operation):
    """Remove an experience that misleads or that another one covers."""

    op: Literal["delete"] = "delete"
    id: str


class Keep(_Operation):
    """Change nothing: said of one experience (`id`), or of the whole library."""

    op: Literal["keep"] = "keep"
    id: str | None = None


class _AnyOf:
    """Shows the alternatives as `anyOf`: strict structured outputs refuse `oneOf` and `discriminator`."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        shown = handler(schema)
        shown.pop("discriminator", None)
        return {"anyOf": shown.pop("oneOf"), **shown}


Operation = TypeAliasType("Operation", Annotated[Add | Modify | Delete | Keep, Field(discriminator="op"), _AnyOf])
"""Any of the four operations of the paper, told apart by `op`. A named alias, so that prompts call it by its name."""
