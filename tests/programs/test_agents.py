"""An agent whose tools break."""

from __future__ import annotations

import asyncio
import copy

import dspy
import pytest
from dspy.utils import DummyLM

from programs.agents import ToolAgent
from tfgrpo_dspy import evaluate
from tfgrpo_dspy.errors import TooManyErrors
from tfgrpo_dspy.rewards.metrics import exact

CALL = {"next_thought": "I look.", "next_tool_name": "look", "next_tool_args": {"at": "x"}}
FINISH = {"next_thought": "Done.", "next_tool_name": "finish", "next_tool_args": {}}
ANSWER = {"reasoning": "It is there.", "answer": "42"}


class Lookout:
    """A tool that finds something, makes a mistake, or breaks."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.calls = error, 0

    def look(self, at: str) -> str:
        """Look at something."""
        self.calls += 1
        if self.error is not None:
            raise self.error
        return f"{at} is 42"


def agent_with(tool: Lookout) -> ToolAgent:
    return ToolAgent("question -> answer", tools=[tool.look], max_iters=3)


def solve(agent: ToolAgent, *replies: dict[str, object]) -> dspy.Prediction:
    with dspy.context(lm=DummyLM(list(replies))):
        return agent(question="?")


def test_it_works_like_react():
    prediction = solve(agent_with(Lookout()), CALL, FINISH, ANSWER)
    assert prediction.answer == "42"
    assert prediction.trajectory["observation_0"] == "x is 42"
    ours, theirs = agent_with(Lookout()), dspy.ReAct("question -> answer", tools=[Lookout().look])
    assert ours.react.signature.instructions == theirs.react.signature.instructions
    assert [name for name, _ in ours.named_predictors()] == [name for name, _ in theirs.named_predictors()]


@pytest.mark.parametrize("error", [ValueError("no such thing"), TimeoutError("slow"), FileNotFoundError("x")])
def test_a_mistake_is_an_observation(error):
    prediction = solve(agent_with(Lookout(error)), CALL, FINISH, ANSWER)
    assert prediction.answer == "42"
    assert str(error) in prediction.trajectory["observation_0"]


def test_a_broken_tool_ends_the_rollout_before_the_next_call():
    tool = Lookout(ConnectionError("the sandbox is gone"))
    lm = DummyLM([CALL, CALL, FINISH, ANSWER])
    with dspy.context(lm=lm), pytest.raises(ConnectionError, match="the sandbox is gone"):
        agent_with(tool)(question="?")
    assert (tool.calls, len(lm.history)) == (1, 1)


def test_a_broken_tool_ends_an_async_rollout_too():
    agent = agent_with(Lookout(ConnectionError("the sandbox is gone")))

    async def solved() -> dspy.Prediction:
        with dspy.context(lm=DummyLM([CALL, CALL, FINISH, ANSWER])):
            return await agent.acall(question="?")

    with pytest.raises(ConnectionError, match="the sandbox is gone"):
        asyncio.run(solved())


def test_what_broke_in_one_rollout_is_forgotten_in_the_next():
    tool = Lookout(ConnectionError("gone"))
    agent = agent_with(tool)
    with pytest.raises(ConnectionError):
        solve(agent, CALL, FINISH, ANSWER)
    tool.error = None
    assert solve(agent, CALL, FINISH, ANSWER).answer == "42"


def test_a_copy_has_its_own_tools():
    agent = agent_with(Lookout())
    twin = copy.deepcopy(agent)
    twin.tools["look"].func.__self__.error = ConnectionError("gone")
    assert solve(agent, CALL, FINISH, ANSWER).answer == "42"
    with pytest.raises(ConnectionError):
        solve(twin, CALL, FINISH, ANSWER)


def test_such_a_rollout_is_lost_and_not_scored():
    example = dspy.Example(question="?", answer="42").with_inputs("question")
    agent = agent_with(Lookout(ConnectionError("gone")))
    with dspy.context(lm=DummyLM([CALL] * 20)), pytest.raises(TooManyErrors, match=r"all 2 rollouts .* lost"):
        evaluate(agent, [example], exact, k=2)
