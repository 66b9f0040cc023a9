"""Rollouts on Ray: the same library as with threads, on several nodes, and when one of them dies."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import dspy
import pytest
from dspy.utils.exceptions import LMAuthError
from filelock import FileLock, Timeout

from tests.tfgrpo_dspy.command_line import SOLVER, problems, run
from tests.tfgrpo_dspy.lm.raw import PATIENCE, watchdog
from tests.tfgrpo_dspy.lm.test_caps import CAPS, ROOT, keeps
from tests.tfgrpo_dspy.lm.test_over_http import OK, failing, lm, stub
from tfgrpo_dspy import Budget, Lost, ProgramError, RunStopped, Scored, SettingsError, TrainingFreeGRPO
from tfgrpo_dspy.errors import RequestError
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.rollouts.ray.executor import RayExecutor
from tfgrpo_dspy.simulated import demo_examples, running_server, simulated_lm

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'tfgrpo-dspy[ray]'")
pytestmark = pytest.mark.slow

LOOPBACK = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def alone():
    """No other process of the suite has a cluster meanwhile, and Ray kills nothing because others take memory."""
    lock = FileLock(Path(tempfile.gettempdir()) / "tfgrpo-ray-tests.lock")
    try:
        held = lock.acquire(timeout=PATIENCE)
    except Timeout:  # the other may itself wait for what this one is to run next
        pytest.skip("another process of the suite has a Ray cluster")
    with pytest.MonkeyPatch.context() as patch, held:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")
        yield patch
        ray.shutdown()


@pytest.fixture(scope="module")
def cluster(alone):
    """A head of one CPU and a node of one CPU, on loopback."""
    from ray.cluster_utils import Cluster

    # Else Ray takes 127.0.0.1 for this machine's own address, which is not loopback.
    alone.setattr("ray._private.ray_constants.ENABLE_RAY_CLUSTER", False)
    try:
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **LOOPBACK})
        made.add_node(num_cpus=1, **LOOPBACK)
    except Exception as error:  # noqa: BLE001 - of a machine that lacks what it needs
        pytest.skip(f"no Ray cluster can be started on this machine: {error}")
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def on_ray(cluster):
    """Rollouts on both nodes, where workers wait for them."""
    return ready(RayExecutor(address=cluster.address, max_retries=1), 2)


def ready(executor: RayExecutor, count: int) -> RayExecutor:
    """Workers are there before the first rollout is dealt out, however slowly they start."""
    executor.connect()
    hired = [executor.hire()[0] for _ in range(count)]
    ray.get([worker.ready.remote() for worker in hired], timeout=PATIENCE)
    for worker in hired:
        executor.dismiss(worker)
    return executor


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
            time.sleep(PATIENCE if node == self.stuck_on else self.seconds)
        return self.solve(question=question)


class Dying(Solver):
    """Takes its process along when it is asked one of the questions."""

    def __init__(self, deadly: str) -> None:
        super().__init__()
        self.deadly = deadly

    def forward(self, question: str):
        if question == self.deadly:
            os._exit(1)
        return super().forward(question)


class Refusing:
    """The engine of an endpoint that refuses the key."""

    def complete(self, request):
        raise LMAuthError("invalid key")

    def stream(self, request):
        raise NotImplementedError

    def close(self):
        pass


def compiled(executor, program, *, count=4, model=None, **settings):
    given = {"epochs": 2, "group_size": 3, "num_threads": 4, "display_progress": False, **settings}
    with dspy.context(lm=model or simulated_lm(3, cache=False)):
        return TrainingFreeGRPO(number, executor=executor, **given).compile(program, demo_examples(count, 3))


def rollouts_of(program):
    """All rollouts, without what is not the same twice."""
    made = [r for step in program.detailed_results.steps for group in step.groups for r in group.rollouts]
    assert all(isinstance(rollout, Scored) for rollout in made), made
    return [(r.name, r.reward, r.trajectory, r.answer, r.usage) for r in made]


def nodes_in(folder: Path) -> set[str]:
    return {path.name.rpartition("-")[2] for path in folder.iterdir()}


def test_two_nodes_learn_the_same_library_as_threads_byte_for_byte(on_ray, tmp_path):
    program = compiled(on_ray, Solver(tmp_path, 0.02), count=8)
    same = compiled("threads", Solver(), count=8)
    assert len(same.experience_library) > 0
    assert dump_library(program.experience_library) == dump_library(same.experience_library)
    assert rollouts_of(program) == rollouts_of(same)
    assert program.detailed_results.traffic == same.detailed_results.traffic
    assert len(nodes_in(tmp_path)) == 2


def test_rollouts_of_a_node_that_dies_during_a_step_are_made_elsewhere(cluster, tmp_path):
    doomed = cluster.add_node(num_cpus=1, **LOOPBACK)
    executor = ready(RayExecutor(address=cluster.address), 3)
    died = threading.Event()

    def kill() -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and doomed.node_id not in nodes_in(tmp_path):
            time.sleep(0.01)
        cluster.remove_node(doomed, allow_graceful=False)
        died.set()

    killer = threading.Thread(target=kill)
    killer.start()
    program = compiled(executor, Solver(tmp_path, 0.1, doomed.node_id), count=6)
    killer.join(PATIENCE)
    assert died.is_set()
    assert doomed.node_id in nodes_in(tmp_path)
    assert len(list(tmp_path.iterdir())) > len(rollouts_of(program))  # at least one was begun twice
    same = compiled("threads", Solver(), count=6)
    assert dump_library(program.experience_library) == dump_library(same.experience_library)
    assert rollouts_of(program) == rollouts_of(same)


def test_a_refused_key_stops_the_run_and_what_is_under_way(on_ray, tmp_path):
    model = dspy.LM("refusing/model", engine=Refusing(), cache=False, num_retries=0)
    with pytest.raises(RunStopped, match="invalid key") as stopped:
        compiled(on_ray, Solver(tmp_path, 0.2), count=20, model=model)
    assert isinstance(stopped.value.__cause__, RequestError)
    assert len(list(tmp_path.iterdir())) < 20


def test_a_rollout_whose_worker_dies_each_time_is_lost_and_those_that_shared_the_worker_are_not(on_ray):
    deadly = demo_examples(4, 3)[0].question
    program = compiled(on_ray, Dying(deadly), epochs=1, group_size=2, num_threads=8, max_errors=10)
    groups = {group.example.question: group.rollouts for group in program.detailed_results.steps[0].groups}
    assert [(type(r), r.cause) for r in groups.pop(deadly)] == [(Lost, "infrastructure")] * 2
    assert all(isinstance(rollout, Scored) for rollouts in groups.values() for rollout in rollouts)


def test_a_program_that_cannot_travel_is_refused_with_what_to_mend(cluster):
    program = Solver()
    program.client = threading.Lock()  # a connection would hold one
    with pytest.raises(ProgramError, match=r"the program cannot be sent to another process: .*lock"):
        compiled(RayExecutor(address=cluster.address), program)


# Limits.


@pytest.mark.parametrize("cap", CAPS)
def test_every_cap_holds_at_the_server_and_everything_is_counted(on_ray, cap):
    served: list = []
    with watchdog(), running_server(seed=0, on_exchange=served.append) as url:
        made = compiled(
            on_ray, Solver(), count=6, epochs=1, num_threads=8, budget=CAPS[cap], model=lm(url, num_retries=3)
        )
    result = made.detailed_results
    assert result.traffic.calls == len(served)
    keeps(CAPS[cap], len(served), result.usage)


def test_a_run_that_a_cap_ended_goes_on_to_the_library_of_threads_with_experiences_on_trial(on_ray, tmp_path):
    given = {"count": 5, "epochs": 2, "group_size": 4, "trials": True, "log_dir": tmp_path / "run"}
    first = compiled(on_ray, Solver(), budget=Budget(max_lm_calls=45), **given).detailed_results
    assert "max_lm_calls=45" in first.ended.why
    assert 0 < first.traffic.calls <= 45
    program = compiled(on_ray, Solver(), **given)
    assert program.detailed_results.traffic.calls > 0
    same = compiled("threads", Solver(), **{**given, "log_dir": None})
    assert len(same.experience_library) > 0
    assert dump_library(program.experience_library) == dump_library(same.experience_library)
    assert rollouts_of(program) == rollouts_of(same)


def test_waits_in_workers_end_with_the_time_of_the_run(on_ray):
    def busy(n: int):
        return failing(429, "slow down", **{"Retry-After": "100"})

    with watchdog(), stub(busy) as server:
        started = time.monotonic()
        budget = Budget(max_seconds=1.0)
        made = compiled(on_ray, Solver(), budget=budget, max_errors=100, model=lm(server.api_base, num_retries=3))
        assert time.monotonic() - started < 100  # as the endpoint asked for
    assert "max_seconds=1" in made.detailed_results.ended.why


def test_an_endpoint_that_goes_away_is_waited_for_and_people_hear_what_workers_say(on_ray, caplog):
    def away_for_a_while(n: int):
        return failing(503, "nobody there") if 3 < n < 10 else (200, {**OK, "usage": None}, {})

    with watchdog(), stub(away_for_a_while) as server:
        made = compiled(on_ray, dspy.Predict("question -> answer"), epochs=1, model=lm(server.api_base, num_retries=3))
    assert len(rollouts_of(made)) == 12
    assert "does not report its tokens" in caplog.text


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


def test_the_command_line_brings_a_file_and_what_lies_beside_it(cluster):
    Path("helper.py").write_text("def ask(question):\n    return question + ' '\n")
    Path("mine.py").write_text(PROGRAM)
    problems(4, 1)
    common = ("compile", "mine.py:program", "train.jsonl", "--metric", "mine.py:same", "--lm", "simulated")
    more = ("--epochs", "1", "--no-tracking", "--lm-option", "cache=false", "--num-threads", "2")
    for out, where in (("ray", ("--executor", "ray", "--ray-address", cluster.address)), ("threads", ())):
        result = run(*common, *more, *where, "--out", out)
        assert result.exit_code == 0, result.output
    assert Path("ray/library.json").read_bytes() == Path("threads/library.json").read_bytes()


TWICE = """
import os

import dspy
import ray

from tfgrpo_dspy import TrainingFreeGRPO
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import demo_examples, simulated_lm

class Keyed(dspy.Module):
    def __init__(self, key):
        super().__init__()
        self.solve, self.key = dspy.ChainOfThought("question -> answer"), key

    def forward(self, question):
        assert os.environ["LATE_KEY"] == self.key
        return self.solve(question=question)

clusters = set()
for key in ("first", "second"):
    os.environ["LATE_KEY"] = key
    with dspy.context(lm=simulated_lm(3, cache=False)):
        optimizer = TrainingFreeGRPO(number, executor="ray", epochs=1, num_threads=2, display_progress=False)
        optimizer.compile(Keyed(key), demo_examples(1, 3))  # raises if every rollout fails
    clusters.add(ray.get_runtime_context().gcs_address)
assert len(clusters) == 1, clusters
"""


def test_a_cluster_of_this_process_is_used_again_with_the_environment_of_now(alone):
    """In a process of its own: Ray makes no actors in one that comes back to a cluster after another."""
    ended = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr


def test_an_address_without_a_cluster_is_refused_at_once():
    with pytest.raises(SettingsError, match=r"the Ray cluster at 127.0.0.1:1 cannot be used"):
        compiled(RayExecutor(address="127.0.0.1:1"), Solver())


def test_an_address_without_ray_is_refused():
    problems(4, 1)
    result = run("compile", SOLVER, "train.jsonl", "--lm", "simulated", "--ray-address", "127.0.0.1:1")
    assert result.exit_code == 2
    assert "--ray-address needs --executor ray" in result.output
