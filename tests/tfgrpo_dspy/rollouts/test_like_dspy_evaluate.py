"""Programs that sample, compare and evaluate by themselves score in rollouts what they score under `dspy.Evaluate`."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import dspy
import pytest

from tests.tfgrpo_dspy.scripted import Asked, Engine, exact, examples
from tfgrpo_dspy import evaluate

QA = "question -> answer"


def every_other() -> Callable[[Asked], dict[str, str]]:
    """Of the answers to one question the first is wrong, the second right, and so on; every fourth one is hard."""
    counts, lock = Counter[str](), threading.Lock()

    def reply(asked: Asked) -> dict[str, str]:
        question = next(f"q{i}?" for i in range(20) if f"q{i}?" in asked.user)
        if "rationale" in asked.outputs:
            return {"rationale": "both were read", "answer": "1" if "prediction is 1" in asked.user else "0"}
        if "advice" in asked.outputs:
            return {"discussion": "hm", "advice": "{}"}
        with lock:
            counts[question] += 1
            is_right = counts[question] % 2 == 0 and question not in {"q3?", "q7?"}
        return dict.fromkeys(asked.outputs, "hm") | {"answer": "1" if is_right else "0"}

    return reply


def is_right(args, prediction):
    return float(prediction.answer == "1")


class Compares(dspy.Module):
    def __init__(self):
        super().__init__()
        self.attempt = dspy.ChainOfThought(QA)
        self.compare = dspy.MultiChainComparison(QA, M=2)

    def forward(self, question):
        made = [self.attempt(question=question) for _ in range(2)]
        return self.compare([dspy.Prediction(rationale=m.reasoning, answer=m.answer) for m in made], question=question)


class InParallel(dspy.Module):
    def __init__(self):
        super().__init__()
        self.attempt = dspy.Predict(QA)

    def forward(self, question):
        run = dspy.Parallel(num_threads=2, disable_progress_bar=True)
        made = run([(self.attempt, {"question": question})] * 2)
        return dspy.Prediction(answer=max(m.answer for m in made))


class EvaluatesWithin(dspy.Module):
    """Takes the answer that a nested evaluation of two attempts found to be worth something."""

    def __init__(self):
        super().__init__()
        self.attempt = dspy.Predict(QA)

    def forward(self, question):
        data = [dspy.Example(question=question, answer="1").with_inputs("question")]
        found = evaluate(self.attempt, data, exact, k=2, num_threads=1, display_progress=False)
        return dspy.Prediction(answer="1" if found.mean.value else "0")


class ReadsTheTrace(dspy.Module):
    def __init__(self):
        super().__init__()
        self.attempt = dspy.Predict(QA)

    def forward(self, question):
        for _ in range(2):
            self.attempt(question=question)
        return dspy.settings.trace[-1][2]


PROGRAMS = {
    "best of n": lambda: dspy.BestOfN(module=dspy.Predict(QA), N=3, reward_fn=is_right, threshold=1.0),
    "best of n, in vain": lambda: dspy.BestOfN(module=dspy.Predict(QA), N=1, reward_fn=is_right, threshold=1.0),
    "refine": lambda: dspy.Refine(module=dspy.Predict(QA), N=3, reward_fn=is_right, threshold=1.0),
    "compares": Compares,
    "in parallel": InParallel,
    "evaluates": EvaluatesWithin,
    "reads the trace": ReadsTheTrace,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_scores_what_it_scores_under_dspys_evaluate(name):
    data = examples(8)
    with dspy.context(lm=Engine(every_other()).lm()):
        theirs = dspy.Evaluate(devset=data, metric=exact, num_threads=1, display_progress=False)(PROGRAMS[name]()).score
    with dspy.context(lm=Engine(every_other()).lm()):
        ours = evaluate(PROGRAMS[name](), data, exact, k=1, num_threads=1, display_progress=False)
    assert (100 * ours.mean.value, ours.policy_failures, dict(ours.lost)) == (theirs, 0, {})
    assert theirs == (0.0 if name == "best of n, in vain" else 75.0)
