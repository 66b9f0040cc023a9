"""A compiled program as a logged model of MLflow, which `mlflow models serve` can serve as it is.

Written by run id, not with MLflow's fluent API, whose active run is per thread.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dspy

from tfgrpo_dspy.errors import ProgramError
from tfgrpo_dspy.looks.secrets import SHORTEST
from tfgrpo_dspy.observers.mlflow.database import quiet
from tfgrpo_dspy.program.instructions import copy_program
from tfgrpo_dspy.reports.redaction import credentials_of
from tfgrpo_dspy.runtime.pickling import own_code_by_value

if TYPE_CHECKING:
    from tfgrpo_dspy.observers.mlflow.store import RunStore

_RECORDS = ("detailed_results", "experience_library", "candidate_programs", "trial_logs")
"""What optimizers hang on a program besides itself: large, and no part of the model."""
_OF_THE_CALL: Mapping[str, Any] = {
    "callbacks": [],
    "caller_modules": None,
    "send_stream": None,
    "stream_listeners": [],
    "trace": None,
    "usage_tracker": None,
}
"""Settings of DSPy that belong to the process, as a model is to be saved without them."""
_KEPT = frozenset(
    "_dspy_lm_class model model_type cache num_retries temperature max_tokens max_completion_tokens top_p seed "
    "reasoning_effort use_developer_role".split()
)
"""What is kept of an LM. Everything else, keys, endpoints and headers among it, is left to where it is served."""


def log_model(
    store: RunStore,
    program: dspy.Module,
    name: str,
    *,
    lm: dspy.BaseLM | None = None,
    inputs: Mapping[str, Any] | None = None,
    step: int = 0,
) -> str:
    """Record the program so that `models:/<id>` can be loaded and served.

    Of the language models go the name and the way of sampling, no key and no endpoint: the environment brings these.
    The user's own code goes along. Loading needs `MLFLOW_ALLOW_PICKLE_DESERIALIZATION=true`, as for any program of
    DSPy that MLflow has saved.

    Args:
        store: The run that it is an output of.
        program: What is recorded.
        name: Characters that MLflow takes in no model's name become hyphens.
        lm: The LM of predictors that have none of their own; None leaves it to whoever loads the model.
        inputs: An example's inputs: their names and types become the model's signature.
        step: The run's step that it comes from. One model is recorded per step.

    Returns:
        The model's id.

    Raises:
        ProgramError: A part of the program holds a key, header or endpoint of an LM.
    """
    from mlflow.dspy.save import save_model
    from mlflow.entities import LoggedModelOutput

    outputs = store.client.get_run(store.run_id).outputs
    for model in outputs.model_outputs if outputs is not None else ():
        if model.step == step:
            return str(model.model_id)
    bare = _bare(program)
    settings = dspy.context(lm=_keyless(lm), **_OF_THE_CALL)
    with tempfile.TemporaryDirectory() as folder, settings, quiet("dspy", level=logging.ERROR), own_code_by_value(bare):
        path = Path(folder) / "model"
        requirements = [f"{package}=={version(package)}" for package in ("dspy", "mlflow")]
        save_model(
            bare, str(path), signature=_signature(inputs), pip_requirements=requirements, use_dspy_model_save=True
        )
        _check_secrets(path, [lm, *(predictor.lm for predictor in program.predictors())])
        model = store.client.create_logged_model(
            store.experiment_id, re.sub(r"[/:.%\"']", "-", name), source_run_id=store.run_id
        )
        store.client.log_model_artifacts(model.model_id, str(path))
    store.client.finalize_logged_model(model.model_id, "READY")
    store.client.log_outputs(store.run_id, [LoggedModelOutput(model.model_id, step)])
    return str(model.model_id)


def _bare(program: dspy.Module) -> dspy.Module:
    """A copy without records, keys and endpoints."""
    copied = copy_program(program)
    for name in _RECORDS:
        vars(copied).pop(name, None)
    for predictor in copied.predictors():
        predictor.lm = _keyless(predictor.lm)
    return copied


def _keyless(lm: dspy.BaseLM | None) -> dspy.BaseLM | None:
    """A new LM of the same name; None for one of a kind that is not DSPy's own."""
    if lm is None or lm.__class__ is not dspy.LM:
        return None
    state = lm.dump_state()
    kept = {name: value for name, value in state.items() if name in _KEPT}
    engines = {name: state[name] for name in ("engine", "async_engine") if _is_harmless(state.get(name))}
    made: dspy.BaseLM = dspy.LM.load_state({**kept, **engines}, allow_custom_lm_class=True)
    return made


def _is_harmless(engine: Any) -> bool:
    """Whether an engine is named only, or is the embedded one: another's state may hold a secret."""
    return isinstance(engine, str) or (isinstance(engine, dict) and str(engine.get("class")).startswith("tfgrpo_dspy."))


def _check_secrets(model: Path, lms: Iterable[dspy.BaseLM | None]) -> None:
    """Code and values that travel along are the user's own: what we know to be secret must not be among them."""
    secrets = {text.encode() for text in credentials_of(lms) if len(text) >= SHORTEST}
    for path in model.rglob("*"):
        if path.is_file() and any(secret in path.read_bytes() for secret in secrets):
            raise ProgramError(
                "the program itself holds a key, a header or an endpoint of its LM, so it was not recorded as a model; "
                "read them from the environment where they are used"
            )


def _signature(inputs: Mapping[str, Any] | None) -> Any:
    """A model signature; None if there is nothing to infer it from."""
    from mlflow.exceptions import MlflowException
    from mlflow.models import infer_signature

    try:
        return infer_signature(dict(inputs)) if inputs else None
    except (MlflowException, TypeError, ValueError):  # of a type that no schema of MLflow's has
        return None
