"""Rollouts on Ray: the same library as with threads, on several nodes, and when one of them dies."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import dspy
import pytest
from dspy.utils.exceptions import LMAuthError

from tests.tfgrpo_dspy.command_line import SOLVER, problems, run
from tfgrpo_dspy import Lost, ProgramError, RunStopped, Scored, SettingsError, TrainingFreeGRPO
from tfgrpo_dspy.errors import RequestError
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.rollouts.ray import RayExecutor
from tfgrpo_dspy.simulated import demo_examples, simulated_lm

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'tfgrpo-dspy[ray]'")
pytestmark = pytest.mark.slow

LOOPBACK = {"node_ip_address": "127.0.0.1", "include_dashboard": False}
SECONDS = 60


@pytest.fixture(scope="module")
def cluster():
    """A head of one CPU and a node of one CPU, on loopback."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Else Ray takes 127.0.0.1 for this machine's own address, which is not loopback.
        patch.setattr("ray._private.ray_constants.ENABLE_RAY_CLUSTER", False)
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **LOOPBACK})
        made.add_node(num_cpus=1, **LOOPBACK)
        yield made
        made.shutdown()


class Solver(dspy.Module):
    """Leaves in a folder which node each of its rollouts was begun on, and comes to no end on one of them."""

    def __init__(self, folder: Path | None = None, seconds: float = 0.0, stuck_on: str = "") -> None:
        super().__init__()
        self.solve = dspy.ChainOfThought("question -> answer")
        self.folder, self.seconds, self.stuck_on = folder, seconds, stuck_on

    def forward(self, question: str):
        if self.folder is not None:
            node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"
            (self.folder / f"{time.monotonic_ns()}-{os.getpid()}-{node}").touch()
            time.sleep(SECONDS if node == self.stuck_on else self.seconds)
        return self.solve(question=question)


class Dying(Solver):
    """Takes its process along."""

    def forward(self, question: str):
        os._exit(1)


class Refusing:
    """The engine of an endpoint that refuses the key."""

    def complete(self, request):
        raise LMAuthError("invalid key")

    def stream(self, request):
        raise NotImplementedError

    def close(self):
        pass


def compiled(executor, program, *, count=4, lm=None, **settings):
    given = {"epochs": 2, "group_size": 3, "num_threads": 4, "display_progress": False, **settings}
    with dspy.context(lm=lm or simulated_lm(3, cache=False)):
        return TrainingFreeGRPO(number, executor=executor, **given).compile(program, demo_examples(count, 3))


def rollouts_of(program):
    """All rollouts, without what is not the same twice."""
    made = [r for step in program.detailed_results.steps for group in step.groups for r in group.rollouts]
    assert all(isinstance(rollout, Scored) for rollout in made), made
    return [(r.name, r.reward, r.trajectory, r.answer, r.usage) for r in made]


def nodes_in(folder: Path) -> set[str]:
    return {path.name.rpartition("-")[2] for path in folder.iterdir()}


def test_two_nodes_learn_the_same_library_as_threads_byte_for_byte(cluster, tmp_path):
    program = compiled(RayExecutor(address=cluster.address), Solver(tmp_path, 0.02), count=8)
    same = compiled("threads", Solver(), count=8)
    assert len(same.experience_library) > 0
    assert dump_library(program.experience_library) == dump_library(same.experience_library)
    assert rollouts_of(program) == rollouts_of(same)
    assert program.detailed_results.traffic == same.detailed_results.traffic
    assert len(nodes_in(tmp_path)) == 2
    assert not ray.is_initialized()


def test_rollouts_of_a_node_that_dies_during_a_step_are_made_elsewhere(cluster, tmp_path):
    doomed = cluster.add_node(num_cpus=1, **LOOPBACK)
    died = threading.Event()

    def kill() -> None:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and doomed.node_id not in nodes_in(tmp_path):
            time.sleep(0.01)
        cluster.remove_node(doomed, allow_graceful=False)
        died.set()

    killer = threading.Thread(target=kill)
    killer.start()
    program = compiled(RayExecutor(address=cluster.address), Solver(tmp_path, 0.1, doomed.node_id), count=6)
    killer.join(SECONDS)
    assert died.is_set()
    assert doomed.node_id in nodes_in(tmp_path)
    assert len(list(tmp_path.iterdir())) > len(rollouts_of(program))  # at least one was begun twice
    same = compiled("threads", Solver(), count=6)
    assert dump_library(program.experience_library) == dump_library(same.experience_library)
    assert rollouts_of(program) == rollouts_of(same)


def test_a_refused_key_stops_the_run_and_what_is_under_way(cluster, tmp_path):
    lm = dspy.LM("refusing/model", engine=Refusing(), cache=False, num_retries=0)
    with pytest.raises(RunStopped, match="invalid key") as stopped:
        compiled(RayExecutor(address=cluster.address), Solver(tmp_path, 0.2), count=20, lm=lm)
    assert isinstance(stopped.value.__cause__, RequestError)
    assert len(list(tmp_path.iterdir())) < 20


def test_a_rollout_whose_worker_dies_each_time_is_lost_and_not_scored(cluster):
    executor = RayExecutor(address=cluster.address, max_retries=1)
    program = compiled(executor, Dying(), count=1, epochs=1, group_size=2, max_errors=10)
    lost = [r for step in program.detailed_results.steps for group in step.groups for r in group.rollouts]
    assert [type(r) for r in lost] == [Lost, Lost]
    assert {r.cause for r in lost} == {"infrastructure"}
    assert all("WorkerCrashedError" in r.error for r in lost)


def test_a_program_that_cannot_travel_is_refused_with_what_to_mend(cluster):
    program = Solver()
    program.client = threading.Lock()  # a connection would hold one
    with pytest.raises(ProgramError, match=r"the program cannot be sent to another process: .*lock"):
        compiled(RayExecutor(address=cluster.address), program)


PROGRAM = """
import dspy

from helper import ask

class Mine(dspy.Module):
    def __init__(self):
        super().__init__()
        self.solve = dspy.ChainOfThought("question -> answer")

    def forward(self, question):
        return self.solve(question=ask(question))

program = Mine()

def same(example, prediction, trace=None):
    return str(example.answer) in str(prediction.answer)
"""


def test_the_command_line_brings_a_file_and_what_lies_beside_it(tmp_path):
    Path("helper.py").write_text("def ask(question):\n    return question + ' '\n")
    Path("mine.py").write_text(PROGRAM)
    problems(4, 1)
    common = ("compile", "mine.py:program", "train.jsonl", "--metric", "mine.py:same", "--lm", "simulated")
    more = ("--epochs", "1", "--no-tracking", "--lm-option", "cache=false", "--num-threads", "2")
    for name in ("ray", "threads"):
        result = run(*common, *more, "--executor", name, "--out", name)
        assert result.exit_code == 0, result.output
    assert Path("ray/library.json").read_bytes() == Path("threads/library.json").read_bytes()
    assert not ray.is_initialized()


def test_an_address_without_a_cluster_is_refused_at_once():
    with pytest.raises(SettingsError, match=r"the Ray cluster at 127.0.0.1:1 cannot be used"):
        compiled(RayExecutor(address="127.0.0.1:1"), Solver())


def test_an_address_without_ray_is_refused():
    problems(4, 1)
    result = run("compile", SOLVER, "train.jsonl", "--lm", "simulated", "--ray-address", "127.0.0.1:1")
    assert result.exit_code == 2
    assert "--ray-address needs --executor ray" in result.output
