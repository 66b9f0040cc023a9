"""Conservation: whatever a reply does with its items, every candidate has exactly one fate, and none is lost."""

from __future__ import annotations

import json
import re
from collections import Counter

import dspy
import pytest

from tests.tfgrpo_dspy.scripted import Asked, Engine, add_all, exact, examples, script
from tfgrpo_dspy import ExperienceLibrary, TrainingFreeGRPO
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, make_solver
from tfgrpo_dspy.simulated.engine import MODEL, AsyncSimulatedEngine, SimulatedEngine


def compiled(engine: Engine, **settings):
    optimizer = TrainingFreeGRPO(
        exact, **{"epochs": 1, "update": "batch", "num_threads": 2, "display_progress": False, **settings}
    )
    with dspy.context(lm=engine.lm()):
        return optimizer.compile(dspy.Predict("question -> answer"), trainset=examples(8)).detailed_results


def of(results, step=0):
    return Counter(fate.became for fate in results.steps[step].fates)


def test_each_candidate_has_one_fate_with_the_entry_that_it_became():
    results = compiled(Engine(script()))
    (step,) = results.steps
    given = [(a.group, text) for a in step.advantages for text in a.experiences]
    assert given
    assert [(fate.group, fate.text) for fate in step.fates] == given
    assert {(fate.became, step.library[fate.id].text) for fate in step.fates} == {("added", t) for _, t in given}


def test_of_candidates_that_one_entry_is_made_of_the_nearest_was_added_and_the_others_merged():
    def one(asked: Asked):
        made = add_all(asked)["operations"]
        labels = [label for op in made for label in op["sources"]]
        return {"operations": [{**made[-1], "sources": labels}]}

    (step,) = compiled(Engine(script(update=one))).steps
    assert Counter(fate.became for fate in step.fates) == {"added": 1, "merged": len(step.fates) - 1}
    assert next(f for f in step.fates if f.became == "added").text == step.library.experiences[0].text
    assert {fate.id for fate in step.fates} == {"G0"}


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_what_every_reply_passes_over_is_added_in_the_end(kept):
    def quarter(asked: Asked):
        return {"operations": add_all(asked)["operations"][:kept]}

    results = compiled(Engine(script(update=quarter)))
    assert of(results) == {"added": len(results.library)}
    assert len(results.library) == sum(len(a.experiences) for a in results.steps[0].advantages)


def test_a_candidate_that_an_entry_says_is_said_already_by_it():
    def kept(asked: Asked):
        return {"operations": [{**op, "op": "keep", "id": "G0"} for op in add_all(asked)["operations"]]}

    results = compiled(Engine(script(update=kept)), library=ExperienceLibrary.from_texts(["When asked, answer."]))
    assert {(fate.became, fate.id) for fate in results.steps[0].fates} == {("said already", "G0")}


def test_what_could_not_be_decided_is_carried_and_added_in_the_end(caplog):
    results = compiled(Engine(script(update="nonsense")), epochs=2, max_errors=99)
    assert set(of(results)) == {"carried"}
    assert set(of(results, 1)) == {"added"}
    assert len(results.library) == sum(of(results, 1).values()) > sum(of(results).values())
    assert results.unused == ()
    assert f"step 1: the update failed for {sum(of(results).values())} candidates" in caplog.text


SPOILT = {
    "a merger": lambda ops: ops.append(
        {"op": "merge", "id": "G1", "text": "When adding, do it.", "merged_from": ["G1"]}
    ),
    "an extra key": lambda ops: ops[0].update(title="One"),
    "a modify without an id": lambda ops: ops.append({"op": "modify", "text": "When adding, do it."}),
    "an update": lambda ops: ops.append({"op": "update", "id": "G1", "text": "When adding, do it."}),
    "capitals": lambda ops: [op.update(op=op["op"].upper()) for op in ops],
    "a quarter of them": lambda ops: ops.__delitem__(slice(max(1, len(ops) // 4), None)),
    "long texts": lambda ops: [
        op.update(text=f"{op['text']} {'and so on as before ' * 4}") for op in ops if "text" in op
    ],
}
_OPERATIONS = re.compile(r"(\[\[ ## operations ## \]\]\n)(.*?)(\n\n\[\[ ## completed)", re.DOTALL)


class Spoilt(SimulatedEngine):
    """The embedded LM, with every reply to an update spoilt in the same way."""

    how = None
    calls = 0

    def complete(self, request):
        response = super().complete(request)
        self.calls += 1
        found = _OPERATIONS.search(response.text)
        if self.how is None or found is None:
            return response
        operations = json.loads(found[2])
        self.how(operations)
        text = f"{found[1]}{json.dumps(operations)}{found[3]}"
        message = dspy.lm15.Message.assistant([dspy.lm15.TextPart(text)])
        return dspy.lm15.Response(id=None, model=MODEL, message=message, finish_reason="stop", usage=response.usage)


def spoilt_run(how):
    engine = Spoilt(0)
    engine.how = how
    lm = dspy.LM(MODEL, engine=engine, async_engine=AsyncSimulatedEngine(engine), seed=0, cache=False)
    optimizer = TrainingFreeGRPO(number, epochs=2, update="batch", num_threads=2, seed=0, display_progress=False)
    with dspy.context(lm=lm):
        return optimizer.compile(make_solver(), trainset=demo_examples(24, 0)).detailed_results, engine.calls


def test_no_way_of_spoiling_every_reply_costs_more_than_an_entry_or_a_tenth_of_the_calls():
    plain, calls = spoilt_run(None)
    for name, how in SPOILT.items():
        results, made = spoilt_run(how)
        assert len(results.library) >= 0.9 * len(plain.library), name  # other texts, other rollouts
        assert made <= 1.1 * calls, name
        assert results.unused == (), name
        refused = {fate.why for step in results.steps for fate in step.fates if fate.became == "refused"}
        assert refused <= {"it names no particular situation and nothing particular to do"}, name
