"""Students that are functions: agents of other frameworks, whose LM calls are their own."""

from __future__ import annotations

import asyncio
import copy
import threading

import dspy
import httpx
import pytest

from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script
from tfgrpo_dspy import (
    Budget,
    ExperienceLibrary,
    ProgramError,
    RequestError,
    SettingsError,
    TrainingFreeGRPO,
    attach,
    detach,
    evaluate,
    library_of,
    student_from,
)
from tfgrpo_dspy.library.retrieval import BM25
from tfgrpo_dspy.lm.verdicts.table import verdict_of

LIBRARY = ExperienceLibrary.from_texts(["When trains meet, add their speeds.", "When a garden is fenced, count posts."])


def telling(inputs, experiences):
    return f"{inputs['question']}|{experiences}"


async def telling_later(inputs, experiences):
    await asyncio.sleep(0)
    return telling(inputs, experiences)


class Telling:
    """An object with a method, and something that no copy survives."""

    def __init__(self):
        self.connection = threading.Lock()

    def run(self, inputs, experiences):
        with self.connection:
            return telling(inputs, experiences)


FUNCTIONS = [telling, telling_later, Telling().run, lambda inputs, experiences: telling_later(inputs, experiences)]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_given_the_inputs_and_the_library_as_a_prompt_takes_it(function):
    student = student_from(function, "question -> answer")
    assert student(question="q").answer == "q|"
    policy = attach(student, LIBRARY)
    assert policy(question="q").answer == f"q|{LIBRARY.render()}"
    assert asyncio.run(policy.acall(question="q")).answer == f"q|{LIBRARY.render()}"
    assert student(question="q").answer == detach(policy)(question="q").answer == "q|"


def test_a_program_may_be_called_where_a_loop_is_running():
    async def main():
        return student_from(telling_later, "question -> answer")(question="q").answer

    assert asyncio.run(main()) == "q|"


def test_all_coroutines_run_in_one_loop_so_that_clients_keep_their_connections():
    loops = set()

    async def noting(inputs, experiences):
        loops.add(asyncio.get_running_loop())

    student = student_from(noting, "question -> answer")
    threads = [threading.Thread(target=student, kwargs={"question": "q"}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loops) == 1


def test_what_is_retrieved_for_a_query_is_what_the_function_reads():
    policy = attach(student_from(telling, "question -> answer"), LIBRARY, retrieval=BM25(1))
    said = policy(question="Two trains meet.").answer
    assert "[G0]" in said
    assert "[G1]" not in said


@pytest.mark.parametrize(
    ("output", "outputs"),
    [
        ({"answer": 1, "why": 2, "trajectory": ["looked it up"]}, {"answer": 1, "why": 2}),
        (dspy.Prediction(answer=1, why=2), {"answer": 1, "why": 2}),
    ],
)
def test_outputs_are_taken_by_name(output, outputs):
    made = student_from(lambda *_: output, "question -> answer, why")(question="q")
    assert outputs.items() <= dict(made.items()).items()


@pytest.mark.parametrize("output", [7, None, ["a"], {"not": "a field"}])
def test_the_only_output_needs_no_name(output):
    assert student_from(lambda *_: output, "question -> answer")(question="q").answer == output


@pytest.mark.parametrize("output", ["text", {"answer": 1}, dspy.Prediction(answer=1)])
def test_what_is_missing_from_the_output_is_named(output):
    with pytest.raises(ProgramError, match="must return a mapping with answer, why"):
        student_from(lambda *_: output, "question -> answer, why")(question="q")


@pytest.mark.parametrize(
    ("function", "why"), [(lambda inputs: "4", "too many"), (lambda a, b, c: "4", "missing a required")]
)
def test_a_function_that_takes_something_else_is_refused_before_it_is_asked(function, why):
    with pytest.raises(ProgramError, match=f"inputs and experiences: {why}"):
        student_from(function, "question -> answer")


def test_what_is_no_function_is_refused():
    with pytest.raises(ProgramError, match="got str"):
        student_from("my_agent", "question -> answer")


def test_copies_share_the_function_and_nothing_else():
    agent = Telling()
    student = student_from(agent.run, "question -> answer")
    copied = copy.deepcopy(student)
    assert copied.function.__self__ is agent
    copied.demos.append(dspy.Example(question="q"))
    assert student.demos == []


def test_a_learned_program_is_saved_and_loaded_like_any(tmp_path):
    attach(student_from(telling, "question -> answer"), LIBRARY).save(tmp_path / "agent.json")
    again = student_from(telling, "question -> answer")
    again.load(tmp_path / "agent.json")
    assert [e.text for e in library_of(again)] == [e.text for e in LIBRARY]
    assert again(question="q").answer == f"q|{LIBRARY.render()}"
    assert repr(again) == "student_from(telling, 'question -> answer')"


def answering(inputs, experiences):
    return "right" if experiences else "wrong"


def is_right(example, prediction, trace=None):
    return prediction.answer == "right"


def learned(function, **settings):
    engine = Engine(script())
    optimizer = TrainingFreeGRPO(is_right, reflection_lm=engine.lm(), epochs=1, num_threads=1, group_size=2, **settings)
    return optimizer.compile(student_from(function, "question -> answer"), examples(2))


def alternating():
    """Answers that differ within a group, so that there is something to compare."""
    lock, calls = threading.Lock(), []

    def answer(inputs, experiences):
        with lock:
            calls.append(experiences)
            return "right" if len(calls) % 2 else "wrong"

    return answer, calls


def test_it_learns_without_any_lm_configured_and_says_what_is_not_counted(caplog):
    answer, calls = alternating()
    better = learned(answer, budget=Budget(max_lm_calls=500, max_seconds=600))
    assert len(calls) == 4
    said = [message for message in caplog.messages if "asked without DSPy" in message]
    assert said == [
        "what answer asks of language models is asked without DSPy: it is not counted, and drawn at a temperature of "
        "its own; max_lm_calls bounds the rest of the run only"
    ]
    usage = better.detailed_results.usage
    assert (usage.calls_elsewhere, usage.cost_usd) == (4, None)
    assert "4 calls outside DSPy not counted" in repr(better.detailed_results)
    assert "whatever answer asks" in better.experience_library.learned_with


def test_a_forecast_says_what_it_cannot_see_and_times_it():
    answer, calls = alternating()
    with dspy.context(lm=Engine(script()).lm()):
        made = TrainingFreeGRPO(exact, epochs=1, group_size=2, num_threads=1).forecast(
            student_from(answer, "question -> answer"), examples(2)
        )
    assert len(calls) == 4
    assert "rollouts" not in made.stages
    assert made.seconds is not None
    assert [note for note in made.notes if "outside DSPy" in note or "pays for them again" in note] == [
        "DSPy's cache does not keep the pilot's rollouts, so the run pays for them again",
        "what the program asks outside DSPy is in none of the calls, tokens and costs",
    ]


def test_without_an_lm_to_compare_attempts_it_is_said_before_any_call():
    answer, calls = alternating()
    with pytest.raises(SettingsError, match="reflection_lm"):
        TrainingFreeGRPO(exact).compile(student_from(answer, "question -> answer"), examples(1))
    assert calls == []


def test_an_evaluation_needs_no_lm_and_counts_what_it_cannot_see():
    made = evaluate(student_from(answering, "question -> answer"), examples(3), exact, k=2)
    assert made.usage.calls_elsewhere == 6


def test_an_lm_call_that_a_function_makes_by_dspy_is_counted_and_drawn_like_any():
    engine = Engine(script())

    async def asking(inputs, experiences):
        return (await dspy.Predict("question -> answer").acall(**inputs)).answer

    with dspy.context(lm=engine.lm()):
        made = evaluate(student_from(asking, "question -> answer"), examples(1), exact, k=3)
    assert made.usage.lm_calls == engine.calls == 3


def raising(error):
    def fails(inputs, experiences):
        raise error

    return fails


def test_a_failure_of_the_agent_is_sorted_like_any():
    made = evaluate(student_from(raising(KeyError("tool")), "question -> answer"), examples(2), exact, k=1)
    assert (made.policy_failures, made.lost) == (2, {})


def of_pydantic_ai(status, body):
    errors = pytest.importorskip("pydantic_ai.exceptions", reason="pydantic-ai is not installed")
    return errors.ModelHTTPError(status, "openai:gpt", body)


def of_openai(status):
    openai = pytest.importorskip("openai")
    response = httpx.Response(status, request=httpx.Request("POST", "http://127.0.0.1/v1/responses"))
    kinds = {429: openai.RateLimitError, 401: openai.AuthenticationError, 500: openai.InternalServerError}
    return kinds[status]("said no", response=response, body=None)


def of_agents(name, *arguments):
    errors = pytest.importorskip("agents.exceptions", reason="the OpenAI Agents SDK is not installed")
    return getattr(errors, name)(*arguments)


def of_langchain():
    errors = pytest.importorskip("langchain_core.exceptions", reason="LangChain is not installed")
    return errors.OutputParserException("no JSON in it")


def of_pydantic_ai_itself():
    errors = pytest.importorskip("pydantic_ai.exceptions", reason="pydantic-ai is not installed")
    return errors.UnexpectedModelBehavior("Exceeded maximum retries (1) for output validation")


@pytest.mark.parametrize(
    ("make", "taken_for"),
    [
        (lambda: of_pydantic_ai(429, {"error": {"message": "slow down"}}), "infrastructure"),
        (lambda: of_pydantic_ai(503, None), "infrastructure"),
        (lambda: of_pydantic_ai(401, {"error": {"message": "bad key"}}), "request"),
        (lambda: of_pydantic_ai(404, {"error": {"code": "model_not_found", "message": "no such model"}}), "request"),
        (of_pydantic_ai_itself, "policy"),
        (lambda: of_agents("MaxTurnsExceeded", "Max turns (10) exceeded"), "policy"),
        (lambda: of_agents("ModelBehaviorError", "Tool foo not found in agent"), "policy"),
        (lambda: of_openai(429), "infrastructure"),
        (lambda: of_openai(401), "request"),
        (of_langchain, "policy"),
    ],
)
def test_what_a_framework_raises_is_sorted_by_the_one_table(make, taken_for):
    assert verdict_of(make()).taken_for == taken_for


def test_a_wrong_key_of_an_agent_ends_the_run():
    with pytest.raises(RequestError, match="check the key"):
        evaluate(student_from(raising(of_openai(401)), "question -> answer"), examples(2), exact)
