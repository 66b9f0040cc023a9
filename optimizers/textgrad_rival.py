"""TextGrad: instructions as a variable that textual gradients improve (arXiv 2406.07496), with its own package.

The student runs as the forward pass; the loss is what the metric says. DSPy's LM of the context writes gradients and
new instructions. As in TextGrad's prompt optimization, a step that scores lower on held-out examples is taken back.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.notes import describe_task, practise, until_spent
from optimizers.scaling import AtBudget, Examples, Fitted, Task, own_copy
from tfgrpo_dspy import MissingExtraError, Scored
from tfgrpo_dspy.kit import default_conditioned
from tfgrpo_dspy.rewards import Metric

logger = logging.getLogger(__name__)

BATCH = 3
"""Examples per step, as in TextGrad's own prompt optimization."""
_LEAST_HELD_OUT = 16


class TextGrad(Teleprompter):
    """Rewrites the instructions of the student's first conditioned predictor, step by step.

    Args:
        metric: Its score and feedback are the loss.
        steps: Updates of the instructions.
        seed: Draws rollouts; batches go through the trainset in order.
    """

    def __init__(self, metric: Metric, *, steps: int = 12, seed: int = 0) -> None:
        super().__init__()
        self.metric, self.steps, self.seed = metric, steps, seed

    def compile(
        self,
        student: dspy.Module,
        trainset: Examples,
        *,
        teacher: dspy.Module | None = None,
        valset: Examples | None = None,
    ) -> dspy.Module:
        """The student with the best instructions, by their mean reward on the valset (the trainset without one)."""
        textgrad = load_textgrad()
        name = default_conditioned(student)[0]
        prompt = textgrad.Variable(
            dict(student.named_predictors())[name].signature.instructions,
            role_description="system prompt that tells a language model how to do the task",
        )
        engine = _engine(textgrad)
        descent = textgrad.TGD(parameters=[prompt], engine=engine)
        held_out = valset or trainset
        best = prompt.value
        best_score = _mean(practise(instructed(student, name, best), held_out, self.metric, self.seed))
        with until_spent():
            for step in range(1, self.steps + 1):
                batch = [trainset[i % len(trainset)] for i in range((step - 1) * BATCH, step * BATCH)]
                groups = practise(instructed(student, name, best), batch, self.metric, self.seed, 2 * step)
                rolled = [(example, scored[0]) for example, scored in zip(batch, groups, strict=True) if scored]
                gradients = [_gradients(textgrad, prompt, example, rollout, engine) for example, rollout in rolled]
                prompt.gradients = [gradient for made in gradients for gradient in made]  # a set has no order to repeat
                if not _stepped(descent):
                    continue
                stepped = instructed(student, name, prompt.value)
                scored = practise(stepped, held_out, self.metric, self.seed, 2 * step + 1)
                if all(scored) and _mean(scored) > best_score:  # one that a budget cut short is not compared
                    best, best_score = prompt.value, _mean(scored)
                prompt.set_value(best)
        return instructed(student, name, best)


def _mean(groups: Sequence[Sequence[Scored]]) -> float:
    rewards = [rollout.reward for scored in groups for rollout in scored]
    return sum(rewards) / len(rewards) if rewards else 0.0


def _gradients(textgrad: Any, prompt: Any, example: dspy.Example, rollout: Scored, engine: Any) -> list[Any]:
    """What is to be improved about the prompt, by one rollout: a call for its answer and one for the prompt."""
    llm_ops, string_ops = (import_module(f"textgrad.autograd.{name}") for name in ("llm_ops", "string_based_ops"))
    prompt.gradients = set()
    run = llm_ops.LLMCall(_Said(rollout.answer), prompt)
    task = textgrad.Variable(describe_task(dict(example.inputs())), requires_grad=False, role_description="the task")
    answer = run(task, response_role_description="answer of the language model to the task")
    verdict = f"reward: {rollout.reward:g}\nfeedback: {rollout.feedback}"
    loss = string_ops.StringBasedFunction(lambda answer: verdict, "score of the answer; higher is better")
    loss({"answer": answer}).backward(engine)
    return list(prompt.gradients)


def _stepped(descent: Any) -> bool:
    """Take a step; False if the LM's reply does not hold the new text where it was asked for."""
    try:
        descent.step()
    except IndexError:  # raised by TextGrad for such a reply
        logger.warning("textgrad: a reply without the improved instructions was passed over")
        return False
    return True


def instructed(student: dspy.Module, name: str, text: str) -> dspy.Module:
    """A copy of the student whose named predictor has these instructions."""
    program = own_copy(student)
    predictor = dict(program.named_predictors())[name]
    predictor.signature = predictor.signature.with_instructions(text)
    return program


class _Said:
    """Stands in for an engine where the answer is there already."""

    def __init__(self, answer: str) -> None:
        self.answer = answer

    def __call__(self, prompt: str, system_prompt: str | None = None) -> str:
        return self.answer


def _engine(textgrad: Any) -> Any:
    """TextGrad's engine, answered by DSPy's LM of the context in a plain prompt."""

    class ContextLM(textgrad.EngineLM):
        model_string = "dspy"

        def generate(self, prompt: str, system_prompt: str | None = None, **_: Any) -> str:
            return _ask(prompt, system_prompt)

        def __call__(self, prompt: str, system_prompt: str | None = None, **_: Any) -> str:
            return _ask(prompt, system_prompt)

    return ContextLM()


def _ask(prompt: str, system_prompt: str | None) -> str:
    reply = dspy.settings.lm(f"{system_prompt}\n\n{prompt}" if system_prompt else prompt)[0]
    return reply if isinstance(reply, str) else str(reply["text"])


def load_textgrad() -> Any:
    """The package, without the log folder that importing it makes where it stands.

    Raises:
        MissingExtraError: It is not installed.
    """
    if find_spec("textgrad") is None:
        raise MissingExtraError("textgrad needs its package: pip install 'tfgrpo-dspy[optimizers]'")
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it imports litellm, which would ask the network
    before = os.environ.get("TEXTGRAD_LOG_DIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TEXTGRAD_LOG_DIR"] = folder
        try:
            textgrad = import_module("textgrad")
        finally:
            if before is None:
                del os.environ["TEXTGRAD_LOG_DIR"]
            else:
                os.environ["TEXTGRAD_LOG_DIR"] = before
        log = logging.getLogger("textgrad")
        for handler in [h for h in log.handlers if isinstance(h, logging.FileHandler) and folder in h.baseFilename]:
            log.removeHandler(handler)
            handler.close()
    return textgrad


def textgrad_rival(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    """TextGrad; a budget sets the steps and the size of the valset."""
    load_textgrad()
    return AtBudget(_fit, metric, seed, calls)


def _fit(task: Task) -> Fitted:
    trainset, valset = task.split(20 if task.calls is None else max(_LEAST_HELD_OUT, task.affordable(task.calls) // 20))
    optimizer = TextGrad(task.metric, seed=task.seed)
    if task.calls is not None:
        step = BATCH * (task.per_rollout + 2) + 1 + len(valset) * task.per_rollout
        task.check_covers(step + len(valset) * task.per_rollout, "one step")
        optimizer.steps = int((task.calls - len(valset) * task.per_rollout) / step)
    return Fitted(optimizer, {"trainset": trainset, "valset": valset})
