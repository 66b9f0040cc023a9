"""What is checked before any call is paid: examples and language models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dspy

from tfgrpo_dspy.errors import DataError, SettingsError

_MADE_OF_ROWS = "make examples of its rows with tfgrpo_dspy.data.load_examples(rows, inputs=[...], answer=...)"
_MADE_ONE_BY_ONE = "make it a dspy.Example(**fields).with_inputs('name of each input')"


def check_examples(examples: Iterable[dspy.Example], called: str) -> tuple[dspy.Example, ...]:
    """The examples as a tuple; what can be read once only is read here.

    Raises:
        DataError: There are none, or one is no `dspy.Example` or has no inputs.
    """
    if hasattr(examples, "columns") or hasattr(examples, "column_names") or not isinstance(examples, Iterable):
        raise DataError(f"the {called} is a {type(examples).__name__}; {_MADE_OF_ROWS}")
    examples = tuple(examples)
    if not examples:
        raise DataError(f"the {called} is empty; give at least one dspy.Example(...).with_inputs(...)")
    for i, example in enumerate(examples):
        if not isinstance(example, dspy.Example):
            raise DataError(
                f"{called}[{i}] is a {type(example).__name__}; "
                f"{_MADE_OF_ROWS if isinstance(example, Mapping) else _MADE_ONE_BY_ONE}"
            )
        if not getattr(example, "_input_keys", None) or not dict(example.inputs()):
            raise DataError(f"{called}[{i}] has no inputs; call .with_inputs('name of each input') on the example")
    return examples


def check_lms(program: dspy.Module, reflection_lm: dspy.BaseLM | None = None) -> dspy.BaseLM:
    """The LM for reflection: the given one, the configured one, or the program's own.

    Raises:
        SettingsError: A predictor has no LM, or an LM is not a `dspy.BaseLM`.
    """
    configured = dspy.settings.lm
    own = [predictor.lm for predictor in program.predictors()]
    if configured is None and any(lm is None for lm in own):
        raise SettingsError(
            "no LM is configured: call dspy.configure(lm=dspy.LM('provider/model')), or compile inside "
            "dspy.context(lm=...)"
        )
    given = [lm for lm in (reflection_lm, configured, *own) if lm is not None]
    for lm in given:
        if not isinstance(lm, dspy.BaseLM):
            raise SettingsError(f"an LM must be a dspy.LM, got {lm!r}; write dspy.LM({lm!r})")
    return given[0]


def check_sampling(program: dspy.Module, temperature: float | None) -> None:
    """Raises `SettingsError` if an LM would answer every rollout of a group alike: its own temperature is 0."""
    for lm in {predictor.lm or dspy.settings.lm for predictor in program.predictors()}:
        if temperature is None and lm.kwargs.get("temperature") == 0:
            raise SettingsError(
                f"`temperature=None` keeps the LM's own, but that of {lm.model} is 0, at which the rollouts of a group "
                "hardly differ; give a `temperature` > 0"
            )


def lms_of(program: dspy.Module, *others: dspy.BaseLM) -> list[dspy.BaseLM]:
    """The LMs that a program's predictors use, and the others, each once."""
    used = [predictor.lm or dspy.settings.lm for predictor in program.predictors()]
    return list({id(lm): lm for lm in [*used, *others]}.values())


def lm_names(program: dspy.Module, reflection_lm: dspy.BaseLM) -> dict[str, str]:
    """Role (`policy`, `reflection`) to model name; several policy models are joined by commas."""
    lms = [predictor.lm or dspy.settings.lm for predictor in program.predictors()]
    return {"policy": ", ".join(sorted({lm.model for lm in lms})), "reflection": reflection_lm.model}
