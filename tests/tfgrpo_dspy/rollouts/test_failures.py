"""What programs raise, or make None of: `dspy.Parallel` and `BestOfN` catch errors, on which a program then fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import dspy
import httpx
import pytest

from tests.tfgrpo_dspy.lm.test_over_http import OK, failing, lm, stub
from tests.tfgrpo_dspy.scripted import exact, examples
from tfgrpo_dspy import Budget, TrainingFreeGRPO, evaluate
from tfgrpo_dspy.errors import RequestError

QA = "question -> answer"


class Asks(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ask = dspy.Predict(QA)

    def forward(self, question):
        return self.after(question)


class Fans(Asks):
    def after(self, question):
        calls = [(self.ask, {"question": f"{question} {i}"}) for i in range(2)]
        return max(dspy.Parallel(num_threads=2, disable_progress_bar=True)(calls), key=lambda made: made.answer)


class FansUntilOneFails(Asks):
    def after(self, question):
        calls = [(self.ask, {"question": question})]
        return dspy.Parallel(num_threads=1, max_errors=1, disable_progress_bar=True)(calls)[0]


class Chooses(Asks):
    def __init__(self) -> None:
        super().__init__()
        self.ask = dspy.BestOfN(dspy.Predict(QA), 2, lambda args, made: 1.0, 1.0)

    def after(self, question):
        return self.ask(question=question)


class GoesOnWithNothing(Asks):
    def after(self, question):
        try:
            made = self.ask(question=question)
        except Exception:  # noqa: BLE001 - as users write it
            made = None
        return dspy.Prediction(answer=made["answer"])


class AnswersAnyway(Asks):
    def after(self, question):
        try:
            return self.ask(question=question)
        except Exception:  # noqa: BLE001 - as users write it
            return dspy.Prediction(answer="no idea")


class AsksAgain(Asks):
    def after(self, question):
        try:
            return self.ask(question=question)
        except Exception:  # noqa: BLE001 - as users write it
            return self.ask(question=f"{question} Once more.")


class Passages(dspy.Module):
    def forward(self, question):
        if question.startswith("q1"):
            raise httpx.ConnectError("the retriever is down")
        return "passages"


class Retrieves(Asks):
    def __init__(self) -> None:
        super().__init__()
        self.find = Passages()

    def after(self, question):
        found = dspy.Parallel(num_threads=1, disable_progress_bar=True)([(self.find, {"question": question})])
        return self.ask(question=f"{question} {found[0].strip()}")


class Made(Asks):
    def after(self, question):
        return dspy.Predict(QA)(question=question)


class Deep(Asks):
    def __init__(self) -> None:
        super().__init__()
        self.steps = {"a": [dspy.Predict(QA)]}

    def after(self, question):
        return self.steps["a"][0](question=question)


class Copies(Asks):
    def after(self, question):
        return self.ask.deepcopy()(question=question)


PROGRAMS = [Fans, FansUntilOneFails, Chooses, GoesOnWithNothing, AnswersAnyway]


def scored(program: dspy.Module, reply: Callable, metric=exact, count: int = 3):
    with stub(reply) as server, dspy.context(lm=lm(server.api_base)):
        return evaluate(
            program, examples(count), metric, k=1, num_threads=1, max_outage=None, display_progress=False,
        )  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_outage_that_a_program_made_nothing_of_is_lost_and_not_scored(program):
    made = scored(program(), lambda n: failing(503, "busy") if n <= 2 else (200, OK, {}), count=4)
    assert set(made.lost) == {"infrastructure"}
    assert made.policy_failures == 0
    assert made.mean.value == 1.0
    assert "busy" in next(r.error for group in made.groups for r in group.lost)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_request_that_cannot_succeed_stops_the_run_though_the_program_caught_it(program):
    with pytest.raises(RequestError, match="check the key"):
        scored(program(), lambda n: failing(401, "bad key"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_a_program_catches_and_survives_is_no_failure(program):
    assert scored(program(), lambda n: (200, OK, {})).rewards == ((1.0,),) * 3


def test_a_program_that_another_call_answered_has_answered():
    assert scored(AsksAgain(), lambda n: failing(503, "busy") if n % 2 else (200, OK, {})).rewards == ((1.0,),) * 3


def test_a_retriever_that_failed_within_parallel_is_lost_as_it_would_be_without():
    made = scored(Retrieves(), lambda n: (200, OK, {}))
    assert dict(made.lost) == {"infrastructure": 1}
    assert made.policy_failures == 0


def judged_in_parallel(example, made, trace=None):
    (grade,) = dspy.Parallel(num_threads=1, disable_progress_bar=True)([(dspy.Predict("a -> answer"), {"a": "x"})])
    return grade.answer == "1"


def judged_anyway(example, made, trace=None):
    try:
        return dspy.Predict("a -> answer")(a="x").answer == "1"
    except Exception:  # noqa: BLE001 - as users write it
        return 0.0


@pytest.mark.parametrize("judged", [judged_in_parallel, judged_anyway])
def test_a_metric_that_made_something_of_an_outage_is_lost_to_that(judged):
    made = scored(dspy.Predict(QA), lambda n: failing(503, "busy") if n == 2 else (200, OK, {}), judged)
    assert dict(made.lost) == {"infrastructure": 1}


@pytest.mark.parametrize("error", [SystemExit(2), asyncio.CancelledError("late")])
def test_a_program_that_exits_or_is_cancelled_has_failed_and_ends_no_run(error):
    """As where a tool parses arguments, or runs what the model wrote."""

    class Ends(Asks):
        def after(self, question):
            if question.startswith("q1"):
                raise error
            return self.ask(question=question)

    made = scored(Ends(), lambda n: (200, OK, {}))
    assert made.rewards == ((1.0,), (0.0,), (1.0,))
    assert made.policy_failures == 1


def test_a_budget_that_ends_among_tasks_is_no_failure_of_theirs():
    """`asyncio.TaskGroup`, and what stands on anyio, raise a group of what its tasks raised."""

    class Groups(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = dspy.Predict(QA)

        async def aforward(self, question):
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(self.ask.acall(question=question)) for _ in range(2)]
            return asked[0].result()

    with stub(lambda n: (200, OK, {})) as server, dspy.context(lm=lm(server.api_base)):
        made = evaluate(
            Groups(), examples(3), exact, k=1, num_threads=1, budget=Budget(max_lm_calls=3), display_progress=False
        )
    assert (made.rewards, dict(made.lost)) == (((1.0,), (), ()), {"budget": 2})
    assert server.requests <= 3  # the group cancels what was not sent yet


@pytest.mark.parametrize(
    ("program", "is_said"), [(Made, True), (Deep, True), (Copies, False), (Fans, False), (Chooses, False)]
)
def test_predictors_that_can_read_no_library_are_said_when_one_is_learned(program, is_said, caplog):
    with stub(lambda n: (200, OK, {})) as server, dspy.context(lm=lm(server.api_base)):
        TrainingFreeGRPO(exact, epochs=1, group_size=2, display_progress=False).compile(program(), examples(2))
    said = "the program calls predictors that DSPy does not list among its: question -> answer. They read no library"
    assert (said in caplog.text) is is_said


class PastDSPy(dspy.BaseLM):
    def __call__(self, prompt=None, messages=None, **options):
        return ["[[ ## answer ## ]]\n1"]


@pytest.mark.parametrize("is_past", [True, False])
def test_an_lm_whose_calls_cannot_be_seen_is_said(is_past, caplog):
    with stub(lambda n: (200, OK, {})) as server, dspy.context(lm=PastDSPy("own") if is_past else lm(server.api_base)):
        evaluate(Chooses(), examples(2), exact, k=1, num_threads=1, display_progress=False)
    assert ("no cap holds for it" in caplog.text) is is_past
