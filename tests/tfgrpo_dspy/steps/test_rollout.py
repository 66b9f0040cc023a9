"""Step 1: rollouts are drawn apart, scored once, and a rollout that did not happen is no zero."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter

import dspy
import pytest
from dspy import lm15
from dspy.utils.callback import BaseCallback

from tests.tfgrpo_dspy.scripted import Asked, Engine, exact, examples
from tfgrpo_dspy.errors import RequestError
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.lm.scope import Draw, scope_here
from tfgrpo_dspy.program.attach import attach
from tfgrpo_dspy.records.events import GroupFinished, RolloutFinished
from tfgrpo_dspy.records.rollouts import Group, GroupCounts, Lost, Scored, count_groups
from tfgrpo_dspy.rollouts.sampling import Query, Sampling
from tfgrpo_dspy.runtime.workers import Workers
from tfgrpo_dspy.steps.rollout import roll_out

QA = "question -> answer"


def sampling(**changes) -> Sampling:
    given = {"purpose": "training seed 0", "step": 1, "size": 3, "temperature": 0.7, "failure_score": 0.0}
    return Sampling(**{**given, **changes})


def groups_of(program, lm=None, *, metric=exact, count=2, threads=1, announce=lambda e: None, **changes) -> list[Group]:
    context = {} if lm is None else {"lm": lm}
    with dspy.context(**context), Workers(threads, announce) as workers:
        queries = [Query(i, example) for i, example in enumerate(examples(count))]
        return workers.results(roll_out(program, queries, metric, workers, sampling(**changes)))


def rollouts_of(*args, **kwargs) -> list:
    return [rollout for group in groups_of(*args, **kwargs) for rollout in group.rollouts]


def answering(text: str = "1"):
    return Engine(lambda asked: dict.fromkeys(asked.outputs, text))


# --- drawn apart ---


def draws_of(**changes) -> list[Draw]:
    drawn = []

    def reply(asked):
        drawn.append(scope_here().draw)
        return {"answer": "1"}

    groups_of(dspy.Predict(QA), Engine(reply).lm(), **changes)
    return drawn


def test_each_rollout_of_a_run_is_a_draw_of_its_own():
    purposes = ("training seed 0", "training seed 1", "validation seed 0", "evaluation 0", "evaluation seed 0")
    drawn = [d for purpose in purposes for step in (1, 2) for d in draws_of(purpose=purpose, step=step, count=3)]
    assert len({d.name for d in drawn}) == len({d.seed for d in drawn}) == len(drawn) == 5 * 2 * 3 * 3


def test_the_same_rollout_is_the_same_draw_whatever_the_threads():
    assert set(draws_of(threads=8, count=4)) == set(draws_of(threads=1, count=4))


def test_a_second_sampling_is_answered_by_the_cache_and_is_the_same():
    engine = Engine(lambda asked: {"answer": str(engine.calls)})
    lm = engine.lm(cache=True, seed=None)
    first = groups_of(dspy.Predict(QA), lm)
    assert engine.calls == 6  # a group is not answered from the cache
    again = groups_of(dspy.Predict(QA), lm)
    assert engine.calls == 6
    assert [r.answer for g in again for r in g.rollouts] == [r.answer for g in first for r in g.rollouts]
    assert len({r.answer for g in first for r in g.rollouts}) == 6
    assert all(r.usage.cached_calls == 1 for g in again for r in g.rollouts)


def test_a_seed_varies_with_the_rollout_if_and_only_if_the_lm_has_one():
    for seed, distinct in ((7, 6), (None, 1)):
        engine = answering()
        groups_of(dspy.Predict(QA), engine.lm(seed=seed))
        seeds = {asked.seed for asked in engine.asked}
        assert len(seeds) == distinct
        assert (seeds == {None}) is (seed is None)
        assert all(s is None or 0 <= s < 2**31 for s in seeds)


@pytest.mark.parametrize(("asked_for", "sent"), [(0.7, 0.7), (None, 0.3)])
def test_rollouts_are_sampled_at_the_given_temperature_or_at_the_lms_own(asked_for, sent):
    engine = answering()
    groups_of(dspy.Predict(QA), engine.lm(temperature=0.3), temperature=asked_for)
    assert {asked.temperature for asked in engine.asked} == {sent}


def test_predictors_with_an_lm_of_their_own_are_drawn_apart_as_well():
    own, configured = answering(), answering()

    class Two(dspy.Module):
        def __init__(self):
            super().__init__()
            self.first = dspy.Predict("question -> hint")
            self.second = dspy.Predict("question, hint -> answer")
            self.first.lm = own.lm(cache=True, seed=3)

        def forward(self, question):
            return self.second(question=question, hint=self.first(question=question).hint)

    program = Two()
    lm_before = program.first.lm
    groups_of(program, configured.lm())
    assert own.calls == configured.calls == 6
    assert len({asked.seed for asked in own.asked}) == 6
    assert program.first.lm is lm_before
    assert lm_before.kwargs["seed"] == 3


def test_no_lm_needs_to_be_configured_when_every_predictor_has_its_own():
    program = dspy.Predict(QA)
    program.lm = answering().lm()
    assert [r.reward for r in rollouts_of(program)] == [1.0] * 6


# --- what is scored, what is lost ---


def test_a_rollout_says_what_it_did_and_what_it_earned():
    def graded(example, prediction, trace=None):
        return dspy.Prediction(score=0.5, feedback="half right")

    first = rollouts_of(dspy.ChainOfThought(QA), answering("two").lm(), metric=graded)[0]
    assert isinstance(first, Scored)
    assert (first.name, first.reward, first.feedback) == ("s1/e0/r0", 0.5, "half right")
    assert first.answer == "reasoning: two\nanswer: two"
    assert "in question: q0?" in first.trajectory
    assert first.usage.lm_calls == 1
    assert first.policy_failure is None
    assert first.seconds >= 0


def test_the_metric_is_called_once_per_rollout():
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    def counting(example, prediction, trace=None):
        with lock:
            seen[example.question] += 1
        return len(seen) % 2

    groups_of(dspy.Predict(QA), answering().lm(), metric=counting, threads=4, count=5)
    assert seen == {f"q{i}?": 3 for i in range(5)}


class Broken(dspy.Module):
    def __init__(self, error: BaseException):
        super().__init__()
        self.ask = dspy.Predict(QA)
        self.error = error

    def forward(self, question):
        raise self.error


def test_an_unparseable_answer_is_a_scored_failure_with_what_was_said():
    rollouts = rollouts_of(dspy.Predict("question -> answer: int"), answering("many").lm(), failure_score=-1.0)
    assert {(r.reward, r.answer) for r in rollouts} == {(-1.0, "")}
    assert all(r.policy_failure.startswith("AdapterParseError") for r in rollouts)
    assert all("many" in r.trajectory and "The attempt failed" in r.feedback for r in rollouts)


@pytest.mark.parametrize("error", [ValueError("no submit call"), KeyError("answer"), ZeroDivisionError()])
def test_an_exception_of_the_program_is_a_scored_failure_and_the_metric_is_not_asked(error):
    rollouts = rollouts_of(Broken(error), answering().lm(), metric=lambda e, p, t=None: pytest.fail("asked"))
    assert all(isinstance(r, Scored) and r.reward == 0.0 for r in rollouts)
    assert {r.policy_failure for r in rollouts} == {f"{type(error).__name__}: {error}"}


def test_a_prompt_that_outgrows_the_context_window_is_the_policys_failure():
    rollouts = rollouts_of(dspy.Predict(QA), Engine(lambda asked: lm15.ContextLengthError("too long")).lm())
    assert all(r.reward == 0.0 and "ContextWindowExceededError" in r.policy_failure for r in rollouts)


@pytest.mark.parametrize(
    "error",
    [
        lm15.TimeoutError("no answer in 60 s"),
        lm15.RateLimitError("slow down"),
        lm15.ServerError("bad gateway"),
        lm15.TransportError("connection refused"),
        lm15.InvalidRequestError("of no known wording"),
        RuntimeError("a bug of the engine"),
    ],
)
def test_an_infrastructure_failure_is_lost_not_scored(error):
    rollouts = rollouts_of(dspy.Predict(QA), Engine(lambda asked: error).lm())
    assert all(isinstance(r, Lost) and r.cause == "infrastructure" for r in rollouts)
    assert all(str(error) in r.error and r.usage.lm_calls == 1 for r in rollouts), "its LM repeats nothing"


@pytest.mark.parametrize("error", [TimeoutError("tool"), ConnectionResetError("tool")])
def test_a_network_error_of_the_programs_own_tools_is_lost_too(error):
    assert all(
        isinstance(r, Lost) and r.cause == "infrastructure" for r in rollouts_of(Broken(error), answering().lm())
    )


def test_an_infrastructure_failure_that_the_program_wrapped_in_its_own_error_is_still_lost():
    class Wrapping(Broken):
        def forward(self, question):
            try:
                return self.ask(question=question)
            except Exception as error:
                raise RuntimeError("my agent gave up") from error

    rollouts = rollouts_of(Wrapping(ValueError()), Engine(lambda asked: lm15.ServerError("bad gateway")).lm())
    assert all(isinstance(r, Lost) and "my agent gave up" in r.error for r in rollouts)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (lm15.AuthError("wrong key"), "check the key"),
        (lm15.BillingError("no credit left"), "check the account's credit"),
        (lm15.ConfigurationError("no such option"), "make the LM as the message says"),
        (lm15.NotConfiguredError("no key"), "make the LM as the message says"),
        (lm15.UnsupportedModelError("no such model"), "check the model's name"),
        (lm15.InvalidRequestError("temperature must be 1", status=400), "temperature=None"),
    ],
)
def test_what_no_rollout_can_survive_is_raised_at_the_first_and_nothing_is_scored(error, remedy):
    engine, announced, asked = Engine(lambda asked: error), [], []
    said = re.escape(error.message.partition("\n\n")[0])
    with pytest.raises(RequestError, match=f"{said}.*{remedy}"):
        groups_of(dspy.Predict(QA), engine.lm(), announce=announced.append, count=40, metric=lambda *a: asked.append(1))
    assert engine.calls == 1
    assert announced == []
    assert asked == []


def test_a_wrapped_fatal_error_is_fatal_too():
    class Wrapping(Broken):
        def forward(self, question):
            try:
                return self.ask(question=question)
            except Exception as error:
                raise RuntimeError("my agent gave up") from error

    with pytest.raises(RequestError, match="wrong key"):
        groups_of(Wrapping(ValueError()), Engine(lambda asked: lm15.AuthError("wrong key")).lm())


@pytest.mark.parametrize(
    "metric", [lambda e, p, t=None: 1 / 0, lambda e, p, t=None: "yes", lambda e, p, t=None: 10**400]
)
def test_a_rollout_that_the_metric_could_not_score_is_lost_to_the_metric(metric):
    rollouts = rollouts_of(dspy.Predict(QA), answering().lm(), metric=metric)
    assert all(isinstance(r, Lost) and r.cause == "metric" and r.usage.lm_calls == 1 for r in rollouts)


def judged_by_lm(example, prediction, trace=None):
    return dspy.Predict("answer -> verdict: bool")(answer=prediction.answer).verdict


def test_a_metric_that_asks_an_lm_uses_the_callers_and_leaves_no_trace_in_the_trajectory():
    engine = Engine(lambda asked: {"verdict": "True"} if "verdict" in asked.outputs else {"answer": "1"})
    rollouts = rollouts_of(dspy.Predict(QA), engine.lm(temperature=0.0), metric=judged_by_lm)
    assert all(r.reward == 1.0 and "verdict" not in r.trajectory for r in rollouts)
    assert all(r.usage.lm_calls == 2 for r in rollouts)  # its calls are paid, so they are counted
    assert {a.temperature for a in engine.asked if "verdict" in a.outputs} == {0.0}


def test_a_judge_without_a_key_stops_the_run_like_any_other_lm():
    engine = Engine(lambda asked: lm15.AuthError("wrong key") if "verdict" in asked.outputs else {"answer": "1"})
    with pytest.raises(RequestError, match="wrong key"):
        groups_of(dspy.Predict(QA), engine.lm(), metric=judged_by_lm)


def test_a_judge_that_times_out_loses_the_rollout():
    engine = Engine(lambda asked: lm15.TimeoutError("late") if "verdict" in asked.outputs else {"answer": "1"})
    assert all(
        isinstance(r, Lost) and r.cause == "infrastructure" and "the metric raised LMTimeoutError: " in r.error
        for r in rollouts_of(dspy.Predict(QA), engine.lm(), metric=judged_by_lm)
    )


# --- programs of every kind ---


class SyncOnly(dspy.Module):
    def __init__(self):
        super().__init__()
        self.ask = dspy.Predict(QA)

    def forward(self, question):
        return self.ask(question=question)


class AsyncOnly(dspy.Module):
    def __init__(self):
        super().__init__()
        self.ask = dspy.Predict(QA)

    async def aforward(self, question):
        return await self.ask.acall(question=question)


class Coroutine(AsyncOnly):
    """As some write a program that awaits."""

    async def forward(self, question):
        return await self.aforward(question)


class RunsCode(dspy.Module):
    """As `dspy.ProgramOfThought` works, without its interpreter: code, its result, then an answer."""

    def __init__(self):
        super().__init__()
        self.generate = dspy.ChainOfThought("question -> code")
        self.run = dspy.Tool(self.execute, name="python")
        self.answer = dspy.ChainOfThought("question, code, output -> answer")

    @staticmethod
    def execute(code: str) -> str:
        return str(eval(code, {"__builtins__": {}}))

    def forward(self, question):
        code = self.generate(question=question).code
        return self.answer(question=question, code=code, output=self.run(code=code))


def act(asked: Asked) -> dict:
    if "next_tool_name" in asked.outputs:
        tool = ("finish", {}) if "observation_0" in asked.user else ("double", {"n": 21})
        return {"next_thought": "hm", "next_tool_name": tool[0], "next_tool_args": tool[1]}
    if "tool_calls" in asked.outputs:
        doubled = '"value": 42' in asked.user or "text='42'" in asked.user
        tool = {"name": "submit", "args": {"answer": "1"}} if doubled else {"name": "double", "args": {"n": 21}}
        return {"next_thought": "hm", "tool_calls": {"tool_calls": [tool]}}
    return dict.fromkeys(asked.outputs, "1") | ({"code": "6 * 7"} if "code" in asked.outputs else {})


def double(n: int) -> int:
    """Twice n."""
    return 2 * n


async def slowly_double(n: int) -> int:
    """Twice n, as an MCP tool gives it."""
    await asyncio.sleep(0)
    return 2 * n


@pytest.mark.parametrize(
    ("program", "calls", "tools"),
    [
        (dspy.Predict(QA), 1, 0),
        (dspy.ChainOfThought(QA), 1, 0),
        (SyncOnly(), 1, 0),
        (AsyncOnly(), 1, 0),
        (Coroutine(), 1, 0),
        (dspy.ReAct(QA, tools=[double]), 3, 1),
        (dspy.ReActV2(QA, tools=[double]), 2, 1),
        (dspy.ReAct(QA, tools=[dspy.Tool(slowly_double, name="double")]), 3, 1),
        (dspy.ReActV2(QA, tools=[dspy.Tool(slowly_double, name="double")]), 2, 1),
        (RunsCode(), 2, 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, dspy.Module) else str(value),
)
@pytest.mark.parametrize(
    "adapter", [dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter()], ids=lambda a: type(a).__name__
)
def test_programs_of_every_kind_roll_out_under_every_adapter(program, calls, tools, adapter):
    with dspy.context(adapter=adapter):
        policy = attach(program, ExperienceLibrary.from_texts(["When in doubt, look twice."]))
        engine = Engine(act)
        rollouts = rollouts_of(policy, engine.lm(), threads=2)
    assert [(r.reward, r.policy_failure) for r in rollouts] == [(1.0, None)] * 6
    assert {(r.usage.lm_calls, r.tool_calls) for r in rollouts} == {(calls, tools)}
    assert all("42" in r.trajectory for r in rollouts if tools)
    assert all("look twice" in engine.asked[0].system for r in rollouts)
    assert all("history" not in r.answer and "trajectory" not in r.answer for r in rollouts)


def test_an_agent_that_exhausts_its_steps_without_an_answer_is_a_scored_failure():
    def never(asked: Asked) -> dict:
        return {"next_thought": "hm", "tool_calls": {"tool_calls": [{"name": "double", "args": {"n": 1}}]}}

    rollouts = rollouts_of(dspy.ReActV2(QA, tools=[double], max_iters=2), Engine(never).lm())
    assert all(r.reward == 0.0 and "no submit call" in r.policy_failure and r.tool_calls == 2 for r in rollouts)


def test_what_a_program_returns_instead_of_a_prediction_is_kept_as_text():
    class Plain(SyncOnly):
        def forward(self, question):
            return self.ask(question=question).answer

    rollouts = rollouts_of(Plain(), answering("1").lm(), metric=lambda e, p, t=None: p == "1")
    assert [(r.reward, r.answer) for r in rollouts] == [(1.0, "1")] * 6


def test_the_program_is_not_changed_by_being_rolled_out():
    program = RunsCode()
    before, attributes = program.dump_state(), set(vars(program))
    groups_of(program, Engine(act).lm(), threads=4)
    assert program.dump_state() == before
    assert set(vars(program)) == attributes
    assert not program._compiled


# --- the caller's context ---


def test_the_callers_adapter_callbacks_and_usage_tracker_reach_the_worker_threads():
    heard: list[str] = []

    class Hears(BaseCallback):
        def on_lm_start(self, call_id, instance, inputs):
            heard.append(call_id)

    engine, main = answering(), threading.get_ident()
    threads: set[int] = set()

    def metric(example, prediction, trace=None):
        threads.add(threading.get_ident())
        return isinstance(dspy.settings.adapter, dspy.JSONAdapter)

    context = dspy.context(adapter=dspy.JSONAdapter(), callbacks=[Hears()])
    with context, dspy.track_usage() as tracker:
        rollouts = rollouts_of(dspy.Predict(QA), engine.lm(), metric=metric, threads=3)
    assert [r.reward for r in rollouts] == [1.0] * 6
    assert all("JSON object" in asked.system for asked in engine.asked)
    assert len(heard) == 6
    assert tracker.get_total_tokens()["scripted/model"]["prompt_tokens"] == 60
    assert main not in threads


def test_the_callers_trace_is_not_filled_by_rollouts():
    trace: list = []
    with dspy.context(trace=trace):
        groups_of(dspy.Predict(QA), answering().lm())
    assert trace == []


# --- announcements, groups ---


def test_each_rollout_is_announced_and_then_its_group():
    announced: list = []
    groups = groups_of(dspy.Predict(QA), answering().lm(), announce=announced.append, threads=4)
    for group in groups:
        names = [r.name for r in group.rollouts]
        own = [
            e.rollout.name if isinstance(e, RolloutFinished) else "whole"
            for e in announced
            if (isinstance(e, RolloutFinished) and e.rollout.name in names)
            or (isinstance(e, GroupFinished) and e.group is group)
        ]
        assert sorted(own[:-1]) == names
        assert own[-1] == "whole"


def group(*rewards: float) -> Group:
    def rollout(i: int, reward: float) -> Scored:
        return Scored(f"s1/e0/r{i}", reward, "", "", "", 0, answering_usage, 0.0)

    return Group("s1/e0", examples(1)[0], tuple(rollout(i, r) for i, r in enumerate(rewards)))


answering_usage = None


@pytest.mark.parametrize(
    ("rewards", "informative"),
    [
        ((0.0, 1.0), True),
        ((1.0, 1.0), False),
        ((0.0, 0.0), False),
        ((0.5, 0.5), False),
        ((-3.0, -2.0), True),
        ((-1.0, -1.0), False),
        ((100.0, 101.0), True),
        ((0.5, 0.5 + 1e-12), False),
        ((1.0,), False),
        ((), False),
    ],
)
def test_a_group_is_informative_when_any_real_rewards_differ_by_more_than_the_tolerance(rewards, informative):
    assert group(*rewards).is_informative(1e-9) is informative


def test_the_tolerance_is_the_callers():
    assert group(0.5, 0.55).is_informative(0.01)
    assert not group(0.5, 0.55).is_informative(0.1)


def test_every_group_is_counted_once():
    groups = [group(0, 1), group(1, 1), group(1.2, 1.2), group(0, 0), group(0.5, 0.5), group(1), group()]
    counts = count_groups(groups, 1e-9)
    assert counts == GroupCounts(informative=1, all_right=2, all_wrong=1, otherwise_equal=1, too_few=2)
    assert sum(counts) == len(groups)


@pytest.mark.parametrize(
    ("groups", "counts"),
    [
        ([group(30, 30), group(85, 85)], GroupCounts(0, 0, 0, 2, 0)),
        ([group(100, 100), group(0, 0), group(1, 1)], GroupCounts(0, 1, 1, 1, 0)),
        ([group(-1, -1), group(0, 0)], GroupCounts(0, 0, 0, 2, 0)),
    ],
)
def test_what_is_right_and_wrong_depends_on_the_scale_of_the_metric(groups, counts):
    assert count_groups(groups, 1e-9) == counts


def test_a_group_keeps_its_lost_rollouts_apart():
    def half(asked: Asked):
        return lm15.ServerError("busy") if asked.draw().random() < 0.5 else {"answer": "1"}

    for one in groups_of(dspy.Predict(QA), Engine(half).lm(), size=20):
        assert len(one.scored) + len(one.lost) == len(one.rollouts) == 20
        assert len(one.rewards) == len(one.scored)
        assert 0 < len(one.lost) < 20
        assert not one.is_informative(1e-9)
