"""The language models that a command line names. Keys are left to DSPy, which reads them from the environment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tfgrpo_dspy.errors import SettingsError

if TYPE_CHECKING:
    import dspy

    from tfgrpo_dspy.cli.options.common import LMOptions

ENGINES = ("auto", "lm15", "litellm")
SIMULATED_LM = "simulated"
_SECRET = re.compile(r"key|(?<!max_)token(?!s)|secret|password|credential|headers", re.IGNORECASE)
_OWN_OPTIONS = {"base_url": "api_base", "model": "lm", **{name: name for name in ("api_base", "engine", "temperature")}}


def _keywords(pairs: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Names and values of `name=value`: `4000`, `true` and `null` as JSON has them, anything else a text."""
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            raise SettingsError(f"`lm_option` is written name=value, e.g. `max_tokens=4000`, got {name!r}")
        if _SECRET.search(name):
            raise SettingsError(
                f"{name} is a secret, and a command line is no place for one: "
                "put the key into the environment, e.g. OPENAI_API_KEY"
            )
        if name in _OWN_OPTIONS:
            raise SettingsError(f"{name} has an option of its own: `{_OWN_OPTIONS[name]}`")
        try:
            yield name, json.loads(value)
        except ValueError:
            yield name, value


def make_lm(
    model: str, *, api_base: str | None = None, engine: str = "auto", seed: int = 0, more: Iterable[str] = ()
) -> dspy.BaseLM:
    """The LM of that name.

    Args:
        model: `provider/model`, or `simulated` for the embedded one.
        api_base: Endpoint of an OpenAI-compatible server.
        engine: DSPy's transport.
        seed: Of the embedded LM.
        more: Further arguments of `dspy.LM`, `name=value` each.

    Raises:
        SettingsError: The name, the engine or an argument cannot be used.
    """
    import dspy

    arguments = dict(_keywords(more))
    if model == SIMULATED_LM:
        from tfgrpo_dspy.simulated.engine import simulated_lm

        return simulated_lm(seed, **arguments)
    if "/" not in model:
        raise SettingsError(f"an LM is named provider/model, e.g. openai/gpt-4.1-mini, got {model!r}")
    if engine not in ENGINES:
        raise SettingsError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    if api_base is not None:
        if not api_base.startswith(("http://", "https://")):
            raise SettingsError("`api_base` must start with http:// or https://, e.g. http://127.0.0.1:8000/v1")
        if "@" in urlsplit(api_base).netloc:  # which DSPy's own engine would take for a host name, and ask a DNS server
            raise SettingsError("`api_base` must hold no user and password; put a key into the environment instead")
        arguments = {"api_base": api_base, **arguments}
    try:
        return dspy.LM(model, engine=engine, **arguments)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{model} cannot be set up: {error}") from error


def lm_named(model: str, options: LMOptions, seed: int) -> dspy.BaseLM:
    """The LM of that name, with the endpoint, engine and further arguments of the command line; see `make_lm`."""
    more = options.lm_option or ()
    return make_lm(model, api_base=options.api_base, engine=options.engine, seed=seed, more=more)


def lm_of(options: LMOptions, seed: int) -> dict[str, dspy.BaseLM]:
    """Keywords for `dspy.context`: the LM that is named, or none if the program is to bring its own.

    Raises:
        SettingsError: As `make_lm`; or options speak of an LM that is not named.
    """
    if options.lm is not None:
        return {"lm": lm_named(options.lm, options, seed)}
    if options.api_base or options.lm_option:
        raise SettingsError("`api_base` and `lm_option` say nothing without `lm`; name the LM too")
    return {}


def check_configured(program: dspy.Module) -> None:
    """Check that every predictor has an LM.

    Raises:
        SettingsError: One has none.
    """
    import dspy

    from tfgrpo_dspy.program.checks import askers

    if dspy.settings.lm is None and any(predictor.lm is None for predictor in askers(program)):
        raise SettingsError(
            "no LM is configured: name one, e.g. `lm='openai/gpt-4.1-mini'` with its key in the environment, "
            "or `lm='simulated'` to try things out without a key"
        )
