"""What is checked before any call is paid: examples and language models."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence

import dspy

from tfgrpo_dspy.errors import DataError, SettingsError
from tfgrpo_dspy.lm.undocumented import keeps_its_temperature, window_of
from tfgrpo_dspy.program.instructions import check_program, library_of
from tfgrpo_dspy.program.values import texts_of
from tfgrpo_dspy.text import estimate_tokens

logger = logging.getLogger(__name__)

_NAMED = 8
"""Examples named in a message at most."""

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


def check_lms(program: dspy.Module, reflection_lm: dspy.BaseLM | None = None) -> list[dspy.BaseLM]:
    """The LM that is given, the configured one and the program's own, as far as there are any.

    Raises:
        ProgramError: It is no program.
        SettingsError: A predictor has no LM, or an LM is not a `dspy.BaseLM`.
    """
    check_program(program)
    configured = dspy.settings.lm
    own = [predictor.lm for predictor in askers(program)]
    if configured is None and any(lm is None for lm in own):
        raise SettingsError(
            "no LM is configured: call dspy.configure(lm=dspy.LM('provider/model')), or compile inside "
            "dspy.context(lm=...)"
        )
    given = [lm for lm in (reflection_lm, configured, *own) if lm is not None]
    for lm in given:
        if not isinstance(lm, dspy.BaseLM):
            raise SettingsError(f"an LM must be a dspy.LM, got {lm!r}; write dspy.LM({lm!r})")
    return given


def reflection_of(program: dspy.Module, reflection_lm: dspy.BaseLM | None) -> dspy.BaseLM:
    """The LM for reflection: the given one, the configured one, or the program's own.

    Raises:
        SettingsError: There is none; or as `check_lms`.
    """
    given = check_lms(program, reflection_lm)
    if not given:
        raise SettingsError(
            "no LM is there to compare attempts: give `reflection_lm`, or configure one: dspy.LM('provider/model')"
        )
    return given[0]


def askers(program: dspy.Module) -> list[dspy.Predict]:
    """The predictors that ask an LM of DSPy's."""
    return [predictor for predictor in program.predictors() if not getattr(predictor, "asks_elsewhere", False)]


def say_elsewhere(program: dspy.Module, caps: Collection[str]) -> None:
    """Say whose LM calls cannot be seen, and which caps therefore do not hold."""
    named = ", ".join(p.called for p in program.predictors() if getattr(p, "asks_elsewhere", False))
    if named:
        seen = [cap for cap in caps if cap != "max_seconds"]
        bound = f"; {' and '.join(seen)} bounds the rest of the run only" if seen else ""
        logger.warning(
            "what %s asks of language models is asked without DSPy: it is not counted, and drawn at a temperature of "
            "its own%s",
            named,
            bound,
        )


def say_temperatures(program: dspy.Module, temperature: float | None) -> None:
    """Say where rollouts are not drawn at the temperature that was asked for."""
    for lm in lms_of(program):
        if temperature is not None and lm is not None and keeps_its_temperature(lm):
            own = lm.kwargs.get("temperature")
            at = "its default" if own is None else f"{own:g}"
            logger.warning(
                "%s takes no temperature but its own: rollouts are drawn at %s, not at %g", lm.model, at, temperature
            )
    for name, predictor in program.named_predictors():
        own = predictor.config.get("temperature")
        if own is not None and own != temperature:
            alike = "; at 0 the rollouts of a group hardly differ" if own == 0 else ""
            logger.warning("predictor %s has a temperature of its own, %g, which its rollouts keep%s", name, own, alike)


def check_sampling(program: dspy.Module, temperature: float | None) -> None:
    """Raises `SettingsError` if an LM would answer every rollout of a group alike: its own temperature is 0."""
    for lm in {predictor.lm or dspy.settings.lm for predictor in askers(program)}:
        if temperature is None and lm.kwargs.get("temperature") == 0:
            raise SettingsError(
                f"`temperature=None` keeps the LM's own, but that of {lm.model} is 0, at which the rollouts of a group "
                "hardly differ; give a `temperature` > 0"
            )


def lms_of(program: dspy.Module, *others: dspy.BaseLM) -> list[dspy.BaseLM]:
    """The LMs that a program's predictors use, and the others, each once."""
    used = [predictor.lm or dspy.settings.lm for predictor in askers(program)]
    return list({id(lm): lm for lm in [*used, *others]}.values())


def lm_names(program: dspy.Module, reflection_lm: dspy.BaseLM) -> dict[str, str]:
    """Role (`policy`, `reflection`) to model name; several policy models are joined by commas."""
    return {"policy": policy_name(program), "reflection": reflection_lm.model}


def policy_name(program: dspy.Module) -> str:
    """Names of the models that a program's predictors ask, or of the function that asks others than DSPy's."""
    functions = {f"whatever {p.called} asks" for p in program.predictors() if getattr(p, "asks_elsewhere", False)}
    return ", ".join(sorted({lm.model for lm in lms_of(program)} | functions))


def check_room(policy: dspy.Module, examples: Sequence[dspy.Example], called: str) -> None:
    """Say which examples are longer than the program's LM reads, where DSPy knows how much that is.

    Args:
        policy: The program with its library, as it is rolled out.
        examples: What it is to be called with.
        called: What they are called.

    Raises:
        SettingsError: What every prompt holds is longer already.
    """
    predictors = policy.named_predictors()
    if not predictors or predictors[0][1] not in askers(policy):
        return
    name, predictor = predictors[0]  # those that follow read what the first makes of an example
    lm = predictor.lm or dspy.settings.lm
    window = None if lm is None else window_of(lm)
    if window is None:
        return
    held = estimate_tokens(predictor.signature.instructions)
    if held > window:
        raise SettingsError(
            f"{lm.model} reads {window:,} tokens at most, and the instructions of {name} take about {held:,} of them, "
            f"its library alone about {library_of(policy).tokens:,}: start from a smaller one, or retrieve from it "
            "(`retrieval`)"
        )
    long = []
    for at, example in enumerate(examples):
        size = sum(map(estimate_tokens, texts_of(example.inputs().values())))
        if size > window - held:
            long.append(f"{called}[{at}], about {size:,}")
    if long:
        more = f"; and {len(long) - _NAMED} more" if len(long) > _NAMED else ""
        reads = f"{lm.model} reads {window:,} tokens"
        logger.warning("%s, too few for some examples: %s%s", reads, "; ".join(long[:_NAMED]), more)
