"""The math agent's world, with the real sandbox."""

from __future__ import annotations

import dspy
import pytest

from programs.math_world import make_agent, math_examples
from programs.sandbox import bubblewrap
from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.program.recorder import Recorder
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import simulated_lm


@pytest.fixture(autouse=True)
def bubblewrapped():
    if reason := bubblewrap.why_not():
        pytest.skip(f"bubblewrap cannot be used here: {reason}")


def learn(threads: int) -> dspy.Module:
    optimizer = TrainingFreeGRPO(metric=number, epochs=1, group_size=4, seed=3)
    with dspy.context(lm=simulated_lm(seed=1, cache=False), num_threads=threads):
        return optimizer.compile(make_agent(), trainset=math_examples(8, 5))


def test_the_answer_comes_out_of_the_sandbox():
    example = next(e for e in math_examples(16, 0) if "divided by" in e.problem or "modulo" in e.problem)
    with dspy.context(lm=simulated_lm(seed=0, fixed_seed=False, cache=False)):
        agent = make_agent()
        replies = [agent(**example.inputs()) for _ in range(6)]
    ended = [reply for reply in replies if reply.trajectory.get("tool_name_1") == "finish"]
    assert {reply.answer for reply in ended} & {reply.trajectory["observation_0"] for reply in ended}
    assert {number(example, reply).score for reply in replies} == {0.0, 1.0}


@pytest.mark.slow
def test_what_is_learned_speaks_of_code_and_does_not_depend_on_threads():
    program = learn(8)
    library = program.experience_library
    assert dump_library(library) == dump_library(learn(1).experience_library)
    assert any("code" in experience.text for experience in library)
    (record,) = program.detailed_results.steps
    calls = [rollout.tool_calls for group in record.groups for rollout in group.scored]
    assert len(calls) == 32
    assert sum(calls) > 0


def test_tool_calls_are_seen():
    recorder = Recorder()
    with recorder.recording(lm=simulated_lm(seed=0, cache=False)):
        reply = make_agent()(**math_examples(1, 1)[0].inputs())
    made = sum(k.startswith("tool_name") and name == "run_python" for k, name in reply.trajectory.items())
    assert recorder.tool_calls == made
