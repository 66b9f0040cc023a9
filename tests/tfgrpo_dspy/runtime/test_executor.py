"""Where rollouts run is chosen by name or by value."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dspy
import pytest

from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script
from tfgrpo_dspy import Budget, MissingExtraError, SettingsError, TrainingFreeGRPO
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.rollouts.ray import executor as on_ray_module
from tfgrpo_dspy.rollouts.ray.executor import RayExecutor
from tfgrpo_dspy.rollouts.task import RolloutTask
from tfgrpo_dspy.runtime.executor import Pace, Roll, Threads

QA = "question -> answer"
BUDGET = Budget(max_lm_calls=10_000)


class Elsewhere:
    """An executor that notes what it is asked for, and runs it in the thread that asks."""

    def __init__(self) -> None:
        self.paces: list[Pace] = []
        self.tasks: list[RolloutTask] = []
        self.names: list[str] = []
        self.is_open = False

    @contextmanager
    def open(self, pace: Pace) -> Iterator[Elsewhere]:
        self.paces.append(pace)
        self.is_open = True
        yield self
        self.is_open = False

    def load(self, task: RolloutTask) -> Roll:
        assert self.is_open
        self.tasks.append(task)

        def roll(example, name):
            self.names.append(name)
            return task(example, name)

        return roll


def compiled(executor, **settings):
    optimizer = TrainingFreeGRPO(exact, group_size=3, epochs=2, executor=executor, display_progress=False, **settings)
    with dspy.context(lm=Engine(script()).lm()):
        return optimizer.compile(dspy.Predict(QA), examples(2))


def test_threads_are_the_default():
    assert isinstance(TrainingFreeGRPO(exact).setup.executor, Threads)
    assert isinstance(TrainingFreeGRPO(exact, executor="threads").setup.executor, Threads)


def test_any_executor_gets_one_task_a_step_and_every_rollout_by_name():
    elsewhere = Elsewhere()
    program = compiled(elsewhere, num_threads=3, seed=5, call_timeout=9, budget=BUDGET)
    assert elsewhere.paces == [Pace(3, 9, 0.0, 5, 3600.0, BUDGET)]
    assert len(elsewhere.tasks) == 2
    expected = [f"s{step}/e{e}/r{r}" for step in (1, 2) for e in range(2) for r in range(3)]
    assert sorted(elsewhere.names) == expected
    assert not elsewhere.is_open
    same = compiled("threads", num_threads=3, seed=5)
    assert dump_library(program.experience_library) == dump_library(same.experience_library)


@pytest.mark.parametrize("executor", ["dask", None, 4, object()])
def test_what_is_no_executor_is_refused(executor):
    with pytest.raises(SettingsError, match='`executor` must be `"threads"`, `"ray"` or a `RayExecutor'):
        TrainingFreeGRPO(exact, executor=executor)


def test_without_ray_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(on_ray_module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tfgrpo-dspy\[ray\]'"):
        TrainingFreeGRPO(exact, executor="ray")


@pytest.mark.parametrize("wrong", [{"num_cpus_per_worker": 0}, {"max_retries": -1}, {"max_retries": 1.5}])
def test_a_ray_executor_checks_its_values(wrong, monkeypatch):
    monkeypatch.setattr(on_ray_module, "find_spec", lambda name: name)
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        RayExecutor(**wrong)
