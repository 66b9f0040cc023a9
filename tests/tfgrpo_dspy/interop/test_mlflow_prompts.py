from __future__ import annotations

import importlib.util
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import dspy
import httpx
import mlflow
import pytest
from mlflow.genai.scorers import scorer
from mlflow.utils import import_hooks

from tests.tfgrpo_dspy.loopback import PATIENCE, until
from tfgrpo_dspy import DataError, SettingsError, compare, evaluate
from tfgrpo_dspy.interop.mlflow_prompts import Application, TrainingFreeGRPOPromptOptimizer, without_import_hooks
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.program.attach import attach
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, running_server, simulated_lm
from tfgrpo_dspy.simulated.world import answers_match

TEMPLATE = "Answer with a number.\n\n{{question}}"
QUESTION = dspy.Signature("question -> answer")
CHAT = [{"role": "system", "content": "Answer with a number."}, {"role": "user", "content": "{{question}}"}]


def answering(candidate, records):
    """MLflow's evaluation function of an application that is always right."""
    return [result(record["inputs"], outputs="4") for record in records]


def result(inputs, **more):
    return SimpleNamespace(**{"inputs": inputs, "score": 1.0, "rationales": {}, "trace": None, **more})


def application(eval_fn=answering, templates=None, extended=None):
    records = [{"inputs": {"question": str(i)}, "outputs": str(i)} for i in range(8)]
    return Application(eval_fn, records, templates or {"qa": TEMPLATE}, extended)


@scorer
def right(outputs, expectations) -> float:
    return float(answers_match(expectations["answer"], outputs))


@pytest.mark.slow
def test_a_registered_prompt_gets_better_through_mlflow_optimize_prompts(tmp_path):
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment("prompts")
    prompt = mlflow.genai.register_prompt("demo", CHAT)
    records = [
        {"inputs": {"question": e.question}, "expectations": {"answer": e.answer}} for e in demo_examples(24, seed=0)
    ]
    with running_server() as base, httpx.Client() as client:

        def answer(question):
            asked = {"model": "simulated", "temperature": 0.7, "messages": prompt.format(question=question)}
            return client.post(f"{base}/chat/completions", json=asked).json()["choices"][0]["message"]["content"]

        made = mlflow.genai.optimize_prompts(
            predict_fn=answer,
            train_data=records,
            prompt_uris=[prompt.uri],
            scorers=[right],
            optimizer=TrainingFreeGRPOPromptOptimizer(
                dspy.LM("openai/simulated", api_base=base, api_key="none"),
                epochs=1,
                holdout=0.4,
                display_progress=False,
            ),
        )
    assert made.initial_eval_score is not None
    assert made.final_eval_score is not None
    learned = mlflow.genai.load_prompt("prompts:/demo/2").template
    assert learned[1] == CHAT[1]
    assert learned[0]["content"].startswith(CHAT[0]["content"] + "\n\n<experience-library>\n")
    assert judged(CHAT[0]["content"], learned[0]["content"]).verdict == "better"
    [run] = [run for run in mlflow.search_runs(search_all_experiments=True, output_format="list") if run.data.metrics]
    assert {"brief/mean_reward", "library/entries"} <= set(run.data.metrics), "the library and its curve are recorded"


def test_an_import_beside_an_evaluation_does_not_wait_for_the_lock_that_mlflow_imports_under():
    before = list(sys.meta_path)
    with ThreadPoolExecutor(1) as pool, without_import_hooks(), import_hooks._post_import_hooks_lock:
        assert pool.submit(importlib.util.find_spec, "no_such_module").result(timeout=PATIENCE) is None
    assert sorted(map(repr, sys.meta_path)) == sorted(map(repr, before))


def judged(*instructions):
    """The second instructions against the first, on other questions."""
    test, programs = (
        demo_examples(40, 0, "test"),
        [dspy.Predict(QUESTION.with_instructions(text)) for text in instructions],
    )
    with dspy.context(lm=simulated_lm()):
        return compare(*(evaluate(program, test, number, k=3) for program in programs))


def test_the_library_stands_at_the_end_of_a_text_prompt_and_its_variables_stay():
    learned = attach(application(), ExperienceLibrary.from_texts(["When {{x}} or {% y %} stands, mind {#it#}."]))
    text = learned.candidate()["qa"]
    assert text.startswith(TEMPLATE + "\n\n<experience-library>")
    assert "When { {x} } or { % y % } stands, mind { #it# }." in text


def test_an_empty_library_leaves_the_prompts_as_they_were():
    assert attach(application(), ExperienceLibrary()).candidate() == {"qa": TEMPLATE}


def test_only_the_named_prompts_get_the_library():
    student = application(templates={"qa": TEMPLATE, "style": "Be brief."}, extended=["qa"])
    candidate = attach(student, ExperienceLibrary.from_texts(["When in doubt, check."])).candidate()
    assert "When in doubt" in candidate["qa"]
    assert candidate["style"] == "Be brief."


def test_a_chat_prompt_gets_it_in_its_first_message():
    student = application(templates={"qa": json.dumps(CHAT)})
    first, *others = json.loads(attach(student, ExperienceLibrary.from_texts(["Check."])).candidate()["qa"])
    assert "[G0] Check." in first["content"]
    assert others == CHAT[1:]


def test_rollouts_that_wait_at_the_same_time_go_into_one_call():
    first_is_in, go_on, sizes = threading.Event(), threading.Event(), []

    def slow(candidate, records):
        sizes.append(len(records))
        first_is_in.set()
        assert go_on.wait(PATIENCE)
        return answering(candidate, records)

    student = application(slow)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(student, question="0")]
        assert first_is_in.wait(PATIENCE)
        asked += [pool.submit(student, question=str(i)) for i in range(1, 8)]
        until(lambda: len(student.shared._queue) == 7)
        go_on.set()
        assert [future.result().output for future in asked] == ["4"] * 8
    assert sizes == [1, 7]


def test_an_application_that_breaks_is_lost_and_not_wrong():
    broken = "Failed to invoke the predict_fn with {'question': '0'}: 503"
    student = application(lambda candidate, records: [result(r["inputs"], outputs=broken) for r in records])
    with pytest.raises(ConnectionError, match="503"):
        student(question="0")


def test_a_scorer_that_raises_reaches_every_rollout_of_the_call():
    def breaks(candidate, records):
        raise ZeroDivisionError("in the scorer")

    with pytest.raises(ZeroDivisionError, match="in the scorer"):
        application(breaks)(question="0")


def test_what_the_application_did_on_the_way_is_part_of_the_trajectory():
    spans = [SimpleNamespace(name=n, inputs={"q": n}, outputs=n.upper()) for n in ("root", "search")]
    traced = SimpleNamespace(data=SimpleNamespace(spans=spans))
    student = application(lambda candidate, records: [result(r["inputs"], outputs="4", trace=traced) for r in records])
    assert student(question="0").steps == "search: {'q': 'search'} -> SEARCH"


OPTIMIZER_ERRORS = [
    ({"reflection_model": "gpt"}, "openai:/gpt-4.1"),
    ({"holdout": 1.0}, "holdout"),
    ({"group_size": 0}, "group_size"),
    ({"grop_size": 5}, "grop_size"),
]


@pytest.mark.parametrize(("arguments", "told"), OPTIMIZER_ERRORS)
def test_a_wrong_argument_is_told_before_anything_is_paid(arguments, told):
    with pytest.raises(SettingsError, match=told):
        TrainingFreeGRPOPromptOptimizer(**{"reflection_model": "openai:/gpt-4.1", **arguments})


DATA_ERRORS = [
    ([], "train_data"),
    ([{"inputs": {"q": "1"}, "outputs": "a"}, {"inputs": {"q": "1"}, "outputs": "b"}], "record 2"),
]


@pytest.mark.parametrize(("records", "told"), DATA_ERRORS)
def test_records_that_cannot_be_learned_from_are_refused(records, told):
    with pytest.raises(DataError, match=told):
        TrainingFreeGRPOPromptOptimizer(simulated_lm()).optimize(answering, records, {"qa": TEMPLATE})


def test_without_a_scorer_nothing_can_win_and_that_is_said():
    records = [{"inputs": {"question": str(i)}, "outputs": str(i)} for i in range(4)]

    def unjudged(candidate, given):
        return [result(record["inputs"], outputs="4", score=None) for record in given]

    with pytest.raises(SettingsError, match="scorers"):
        TrainingFreeGRPOPromptOptimizer(simulated_lm()).optimize(unjudged, records, {"qa": TEMPLATE})
