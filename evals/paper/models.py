"""Which of our models answers for which of the paper's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from evals.paper.rows import SIMULATED, Model
from evals.paper.tables import MODELS, RL_TRAINED, PaperTable
from tfgrpo_dspy import SettingsError
from tfgrpo_dspy.cli import make_lm

if TYPE_CHECKING:
    import dspy


def models_of(
    table: PaperTable,
    *,
    lm: str | None,
    named: Iterable[str] = (),
    api_base: str | None = None,
    more: Iterable[str] = (),
) -> dict[str, Model]:
    """Name of each of the table's models to ours; those that nothing answers for are left out.

    Ours of one name behind several endpoints are told apart by whom they answer for.

    Args:
        table: Whose lines name the models.
        lm: For the first frozen model of the table, unless one is named for that; the others stay unrun, since what one
            model does is no figure of another. `simulated`, or provider/model.
        named: `qwen3-32b=openai/qwen@http://127.0.0.1:8000/v1`, each.
        api_base: Endpoint of `lm`.
        more: Further arguments of every LM, `name=value` each.

    Raises:
        SettingsError: A name, an LM or an endpoint cannot be used, or a model is not in the table.
    """
    if api_base is not None and lm is None:
        raise SettingsError("--api-base says nothing without --lm; name the LM too")
    slots = dict.fromkeys(line.model for line in table.lines)
    own = dict(_split(text, slots) for text in named)
    placed = {slot: _placed(text) for slot, text in own.items()}
    stands_in = next((slot for slot in slots if slot not in RL_TRAINED), None)
    if lm is not None and stands_in is not None:
        placed.setdefault(stands_in, (lm, api_base))
    made = {place: _model(place[0], place[1], more) for place in set(placed.values())}
    names = [model.name for model in made.values()]
    return {
        slot: made[place] if names.count(place[0]) == 1 else replace(made[place], name=f"{place[0]} for {slot}")
        for slot, place in sorted(placed.items(), key=lambda item: list(slots).index(item[0]))
    }


def lm_named(text: str, more: Iterable[str] = ()) -> dspy.BaseLM:
    """The LM of `provider/model@URL` or `simulated`.

    Raises:
        SettingsError: It cannot be used.
    """
    name, api_base = _placed(text)
    return make_lm(name, api_base=api_base, more=more)


def _model(name: str, api_base: str | None, more: Iterable[str]) -> Model:
    if name == SIMULATED:
        return Model(name)
    return Model(name, make_lm(name, api_base=api_base, more=more))


def _split(text: str, slots: Iterable[str]) -> tuple[str, str]:
    slot, equals, model = text.partition("=")
    if not equals or not model:
        raise SettingsError(f"--model is written PAPERS=MODEL[@URL], e.g. qwen3-32b=openai/qwen3-32b, got {slot!r}")
    if slot not in set(slots):
        raise SettingsError(f"the table has no model {slot!r}; it has {', '.join(slots)} (of {', '.join(MODELS)})")
    return slot, model


def _placed(text: str) -> tuple[str, str | None]:
    """Model and endpoint; an @ within a model's name stays there."""
    name, found, rest = text.partition("@http")
    return name, f"http{rest}" if found else None
