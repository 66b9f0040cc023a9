"""Add, Delete, Modify and Keep: what an update may do to a library (paper, section 3, step 3).

One pydantic type per case, told apart by `op`, so that a signature can use `list[Operation]` as its output type
and a reply that does not fit is refused with an error that can be shown to the model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, create_model
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import CoreSchema
from typing_extensions import TypeAliasType

from tfgrpo_dspy.library.latex import restore_latex

Prose = Annotated[str, BeforeValidator(lambda value: restore_latex(value) if isinstance(value, str) else value)]
"""Text written by a model inside JSON, with its LaTeX restored."""


def _without_brackets(value: object) -> object:
    return value.strip().removeprefix("[").removesuffix("]") if isinstance(value, str) else value


def _none_if_blank(value: object) -> object:
    return _without_brackets(value) or None


def _as_labels(value: object) -> object:
    if isinstance(value, dict) and value.keys() == {"item"}:  # DSPy's XMLAdapter does not unpack a list below a union
        value = value["item"]
    return re.findall(r"[^\s,;\[\]]+", value) if isinstance(value, str) else value


EntryId = Annotated[str, BeforeValidator(_without_brackets)]
"""Id of an experience as a model writes it: `G7`, or `[G7]` as prompts show it."""
Labels = Annotated[tuple[str, ...], BeforeValidator(_as_labels)]
"""Labels as a model writes them: a list, or a text such as `A0, A3`."""


def _as_shown(schema: dict[str, Any]) -> None:
    # Strict structured outputs refuse defaults; and without `op` the cases cannot be told apart.
    del schema["title"]
    for shown in schema["properties"].values():
        shown.pop("title", None)
        shown.pop("default", None)
    schema["required"] = ["op", *schema.get("required", [])]


class _Operation(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, json_schema_extra=_as_shown)

    reason: Prose = ""
    """Why, in one sentence; kept as provenance."""
    sources: Labels = ()
    """Labels of the semantic advantages it rests on, e.g. `("A0", "A3")`."""


class Add(_Operation):
    """Append a new experience; the library gives it the next id."""

    op: Literal["add"] = "add"
    text: Prose
    scope: Annotated[SkipJsonSchema[str | None], BeforeValidator(_none_if_blank)] = None
    """Name of the only predictor that is to read it; None for all. Prompts show it only where there is a choice."""


class Modify(_Operation):
    """Replace the text of an experience: a refinement, or the merger of several insights."""

    op: Literal["modify"] = "modify"
    id: EntryId
    text: Prose


class Delete(_Operation):
    """Remove an experience that misleads or that another one covers."""

    op: Literal["delete"] = "delete"
    id: EntryId


class Keep(_Operation):
    """Change nothing: said of one experience (`id`), or of the whole library."""

    op: Literal["keep"] = "keep"
    id: Annotated[str | None, BeforeValidator(_none_if_blank)] = None


class _AnyOf:
    """Shows the alternatives as `anyOf`: strict structured outputs refuse `oneOf` and `discriminator`."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        shown = handler(schema)
        shown.pop("discriminator", None)
        return {"anyOf": shown.pop("oneOf"), **shown}


Operation = TypeAliasType("Operation", Annotated[Add | Modify | Delete | Keep, Field(discriminator="op"), _AnyOf])
"""Any of the four operations of the paper, told apart by `op`. A named alias, so that prompts call it by its name."""


def operation_id(operation: Operation) -> str | None:
    """The id an operation names; None for an Add."""
    return None if isinstance(operation, Add) else operation.id


@lru_cache(maxsize=8)
def scoped_operation(readers: tuple[str, ...]) -> Any:
    """`Operation` for a program of which several predictors read the library: an Add may be for one of them only."""
    scope: Any = (Annotated[Literal[readers] | None, BeforeValidator(_none_if_blank)], None)
    add = create_model("Add", __base__=Add, scope=scope)
    alternatives: Any = add | Modify | Delete | Keep
    return TypeAliasType("Operation", Annotated[alternatives, Field(discriminator="op"), _AnyOf])


_LABELLED = re.compile(r"\s*\[([^\[\]]+)\]:?\s+(\S.*)", re.DOTALL)


def settle_scope(operation: Operation, readers: Sequence[str]) -> Operation:
    """An operation as the library takes it: a text that opens with `[predictor]` is for that predictor.

    Args:
        operation: As a model wrote it.
        readers: Names of the predictors that read the library, if there are several; a scope that is none of them is
            dropped.
    """
    if not isinstance(operation, Add | Modify):
        return operation
    found = _LABELLED.fullmatch(operation.text)
    label, text = (found[1], found[2]) if found and found[1] in readers else (None, operation.text)
    if isinstance(operation, Modify):  # which keeps the scope of its entry
        return operation if label is None else operation.model_copy(update={"text": text})
    scope = operation.scope if operation.scope in readers else label
    return Add(text=text, scope=scope, reason=operation.reason, sources=operation.sources)
