"""Where several predictors read the library, an experience may be for one of them."""

from __future__ import annotations

import dspy
import pytest
from pydantic import TypeAdapter, ValidationError

from tests.tfgrpo_dspy.scripted import Engine, script
from tests.tfgrpo_dspy.steps.test_optimisation import LIBRARY, advantage
from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.library.operations import Add, Keep, Modify, Operation, scoped_operation, settle_scope
from tfgrpo_dspy.records.updates import Proposal, Update
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.signatures import ExtractAdvantage, UpdateLibrary, told_of_readers, with_scopes
from tfgrpo_dspy.steps.briefing import Briefing
from tfgrpo_dspy.steps.optimisation import propose
from tfgrpo_dspy.steps.reflection import Reflection

READERS = ("plan", "solve")


class Planner(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.plan = dspy.Predict("question -> plan")
        self.solve = dspy.Predict("question, plan -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.solve(question=question, plan=self.plan(question=question).plan)


def decided(operations: list[dict[str, object]], readers: tuple[str, ...]) -> tuple[Engine, Proposal]:
    engine = Engine(script(update={"operations": operations}))
    settings = Settings(retries=0, update="batch")
    briefing = Briefing("answer well", LIBRARY, settings, 1, Reflection(engine.lm(), 0), readers=readers)
    with Workers(1, lambda event: None) as workers:
        return engine, propose([advantage(1, "When x, y.")], briefing, workers)


def test_the_scope_an_update_gives_reaches_the_library():
    engine, update = decided([{"op": "add", "text": "When x, y.", "scope": "plan"}], READERS)
    assert update.operations == (Add(text="When x, y.", scope="plan", sources=("A0",)),)
    applied = LIBRARY.apply(update.operations)
    assert applied.library["G3"].scope == "plan"
    assert '"scope"' in str(engine.asked[0])


def test_one_predictor_is_never_told_of_scopes():
    engine, update = decided([{"op": "add", "text": "When x, y.", "scope": "plan"}], ())
    assert update.operations == (Add(text="When x, y.", sources=("A0",)),)
    assert "scope" not in str(engine.asked[0])


def test_a_text_that_opens_with_a_predictor_is_for_it_and_loses_the_label():
    assert settle_scope(Add(text="[plan] When x, y."), READERS) == Add(text="When x, y.", scope="plan")
    assert settle_scope(Add(text="[G7] When x, y."), READERS) == Add(text="[G7] When x, y.")
    assert settle_scope(Add(text="When x.", scope="nobody"), READERS) == Add(text="When x.")
    assert settle_scope(Modify(id="G0", text="[solve] When x."), READERS) == Modify(id="G0", text="When x.")
    assert settle_scope(Keep(), READERS) == Keep()


def test_an_update_can_name_only_predictors_that_read_the_library():
    adapter: TypeAdapter[Operation] = TypeAdapter(scoped_operation(READERS))
    assert adapter.validate_python({"op": "add", "text": "t", "scope": ""}).scope is None
    with pytest.raises(ValidationError):
        adapter.validate_python({"op": "add", "text": "t", "scope": "nobody"})


def test_the_prompts_differ_only_by_the_scope():
    assert with_scopes(UpdateLibrary, READERS).instructions == UpdateLibrary.instructions
    assert "[plan], [solve]" in str(told_of_readers(ExtractAdvantage, READERS).output_fields["lesson"])


def test_a_scope_is_kept_when_an_update_is_read_back():
    adapter = TypeAdapter(Update)
    update = Update(((Add(text="t", scope="plan"),),))
    assert adapter.validate_python(adapter.dump_python(update, mode="json")) == update


def test_a_run_of_a_program_with_two_readers_learns_for_one_of_them():
    told = {"operations": [{"op": "add", "text": "When x, y.", "scope": "solve"}]}
    engine = Engine(script(update=told))
    answers = iter(range(100))

    def differs(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> float:
        return float(next(answers) % 2)

    optimizer = TrainingFreeGRPO(metric=differs, epochs=1, group_size=2, update="batch", num_threads=1)
    trainset = [dspy.Example(question="q1?", answer="1").with_inputs("question")]
    with dspy.context(lm=engine.lm()):
        better = optimizer.compile(Planner(), trainset=trainset)
    assert "When x, y." in better.solve.signature.instructions
    assert "When x, y." not in better.plan.signature.instructions
    assert better.experience_library.learned_under.student == "Planner"
