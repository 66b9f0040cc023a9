"""What decides the outcome of a run: each thing told by value, the same in any process, and another once it differs."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import subprocess
import sys
import threading
from abc import ABC
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from types import ModuleType
from typing import Any

import dspy
import numpy as np
import pytest

from evals.verifiers.answers import math_equal
from programs.math_solver import react as math_react
from programs.web import react as web_react
from tests.tfgrpo_dspy.scripted import examples
from tfgrpo_dspy import BM25, Holdout, MajorityVote, SelfDiscrimination, Settings, TrainingFreeGRPO
from tfgrpo_dspy.errors import StoreError
from tfgrpo_dspy.rewards.metrics import exact, number
from tfgrpo_dspy.run.by_value import ByValue
from tfgrpo_dspy.run.identity import identity_of

ROOT = Path(__file__).parents[3]
USERS = '''
import dspy, functools
TOLERANCE = {tolerance}
def close(a, b):
    """{comment}"""
    return abs(float(a) - float(b)) < TOLERANCE  # {comment}
def calls_helper(example, prediction, trace=None): return close(example.answer, prediction.answer)
def with_parameter(example, prediction, trace=None, tolerance=0): return tolerance
cached = functools.cache(lambda example, prediction, trace=None: {tolerance})
partial = functools.partial(with_parameter, tolerance={tolerance})
default = lambda example, prediction, trace=None, tolerance={tolerance}: tolerance
def factory(tolerance):
    def metric(example, prediction, trace=None): return tolerance
    return metric
closure = factory({tolerance})
class Metric:
    def __init__(self, tolerance): self.tolerance, self.asked = tolerance, []
    def __call__(self, example, prediction, trace=None):
        self.asked.append(example)
        return abs(float(example.answer)) < self.tolerance
instance = Metric({tolerance})
class Other:
    def __call__(self, example, prediction, trace=None): return {tolerance}
code_of_instance = Other()
class Heir(Other): pass
code_of_a_base = Heir()
class Slots:
    __slots__ = ("tolerance",)
    def __init__(self): self.tolerance = {tolerance}
    def __call__(self, example, prediction, trace=None): return self.tolerance
slots = Slots()
bound = Metric({tolerance}).__call__
def tool(x: str) -> str:
    """Looks up."""
    return x * int({tolerance} * 10)
agent = dspy.ReAct("question -> answer", tools=[tool])
def helper(q): return q + "!" * int({tolerance} * 10)
class Program(dspy.Module):
    def __init__(self, **held):
        super().__init__()
        self.p, self.held = dspy.Predict("question -> answer"), held
    def forward(self, question): return self.p(question=helper(question))
program = Program()
class Plain(dspy.Module):
    def __init__(self, held):
        super().__init__()
        self.p, self.held = dspy.Predict("question -> answer"), held
holder = Plain({{"tolerance": {tolerance}}})
reward = dspy.BestOfN(dspy.Predict("question -> answer"), 2, factory({tolerance}), 1.0)
'''
METRICS = "calls_helper cached partial default closure instance code_of_instance code_of_a_base slots bound".split()
PROGRAMS = "agent program holder reward".split()


def users(folder: Path, tolerance: float, comment: str = "") -> ModuleType:
    """A user's file, as it is at some time."""
    path = folder / f"users_{tolerance}_{len(comment)}.py".replace(".", "_", 1)
    path.write_text(USERS.format(tolerance=tolerance, comment=comment))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    made = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = made
    spec.loader.exec_module(made)
    return made


def identity(metric=exact, student=None, trainset=None, lm=None, settings=None) -> dict[str, Any]:
    student = student or dspy.Predict("question -> answer")
    lms = {"policy": [lm] if lm is not None else []}
    return identity_of(settings or Settings(), student, metric, trainset or examples(1), None, lms)


@pytest.mark.parametrize("name", [*METRICS, *PROGRAMS])
def test_code_and_what_it_refers_to_are_told_apart_and_comments_are_not(name, tmp_path):
    role = "metric" if name in METRICS else "student"
    one, same, other = users(tmp_path, 0.1), users(tmp_path, 0.1, "said otherwise"), users(tmp_path, 0.9)
    told = [identity(**{role: getattr(module, name)})[role] for module in (one, same, other)]
    if name != "calls_helper":  # its docstring is one of the constants that it compiles to
        assert told[0] == told[1]
    assert told[0] != told[2]
    assert " at 0x" not in "".join(told)


@dataclass(frozen=True)
class Mixed:
    """A composite metric."""

    parts: Any
    weight: float = 1.0

    def __call__(self, example, prediction, trace=None):
        return self.weight


def same(one: str, other: str) -> bool:
    return one == other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (exact, number),
        (MajorityVote(), SelfDiscrimination()),
        (MajorityVote(), MajorityVote(field="city")),
        (MajorityVote(), MajorityVote(equivalent=same)),
        (SelfDiscrimination(lm=dspy.LM("a/b")), SelfDiscrimination(lm=dspy.LM("a/c"))),
        (Mixed({"a": (exact, 1.0)}), Mixed({"a": (exact, 2.0)})),
        (Mixed({"a": (exact, 1.0)}), Mixed({"a": (number, 1.0)})),
        (Mixed([exact]), Mixed([exact], weight=2)),
        (Mixed([ip_network("10.0.0.0/8")]), Mixed([ip_network("10.0.0.0/9")])),
        (re.compile("yes").search, re.compile("no").search),
        ({"a": 1.0}.get, {"a": 2.0}.get),
    ],
)
def test_metrics_that_differ_have_other_identities(one, other):
    assert identity(one)["metric"] != identity(other)["metric"]


@pytest.mark.parametrize("make", [lambda: exact, MajorityVote, lambda: Mixed({"a": (exact, MajorityVote())})])
def test_equal_metrics_have_one_and_no_address_is_in_it(make):
    assert identity(make())["metric"] == identity(make())["metric"]


def test_no_credential_of_an_lm_is_in_it():
    given = {
        "api_key": "sk-secret",
        "headers": {"X-Auth": "secret"},
        "api_base": "http://anna:secret@host/v1?key=secret",
    }
    told = identity(SelfDiscrimination(lm=dspy.LM("a/b", **given)), lm=dspy.LM("a/c", max_tokens=77, **given))
    assert "secret" not in repr(told)
    assert "http://host/v1" in repr(told)
    assert "77" in repr(told)


@pytest.mark.parametrize(
    "option",
    [
        {"presence_penalty": 1.5},
        {"extra_body": {"enable_thinking": True}},
        {"n": 3},
        {"stop": ["x"]},
        {"max_tokens": 7},
        {"api_base": "http://two/v1"},
        {"model_type": "text"},
    ],
)
def test_each_option_of_a_request_is_part_of_it(option):
    usual = {"api_base": "http://one/v1", "api_key": "x"}
    one, other = dspy.LM("openai/m", **usual), dspy.LM("openai/m", **{**usual, **option})
    assert identity(lm=one)["lms"] != identity(lm=other)["lms"]


@pytest.mark.parametrize("option", [{"num_retries": 7}, {"cache": False}, {"api_key": "y"}, {"timeout": 3}])
def test_what_changes_no_answer_is_not(option):
    one, other = (dspy.LM("openai/m", **{"api_key": "x", **more}) for more in ({}, option))
    assert identity(lm=one)["lms"] == identity(lm=other)["lms"]


def test_a_server_on_this_machine_is_the_same_on_another_port():
    one, other = (dspy.LM("openai/m", api_base=f"http://127.0.0.1:{port}/v1") for port in (1234, 4321))
    assert identity(lm=one) == identity(lm=other)


def test_adapter_versions_and_settings_are_part_of_it():
    with dspy.context(adapter=dspy.JSONAdapter()):
        other = identity()
    assert other["adapter"] != identity()["adapter"]
    assert set(other["versions"]) == {"tfgrpo-dspy", "dspy", "python"}
    assert (
        identity(settings=Settings(retrieval=BM25(2)))["retrieval"]
        != identity(settings=Settings(retrieval=BM25(3)))["retrieval"]
    )
    told = ByValue()
    assert told(Holdout(examples(2)), "gate") != told(Holdout(examples(3)), "gate")


class Ticket:
    def __init__(self, number: int) -> None:
        self.number = number


VALUES = [
    ({"a", "b", "c"}, {"a", "b", "d"}),
    (Ticket(1), Ticket(2)),
    ([Ticket(1)], [Ticket(2)]),
    (np.arange(3), np.arange(4)),
    (np.array([{"a": 1}], dtype=object), np.array([{"a": 2}], dtype=object)),
    (b"a", b"b"),
    (dspy.Image(url="http://x/1"), dspy.Image(url="http://x/2")),
    (dspy.Example(a=1), dspy.Example(a=2)),
    (functools.partial(int, base=2), functools.partial(int, base=3)),
]


@pytest.mark.parametrize(("value", "other"), VALUES)
def test_data_is_told_by_content(value, other):
    told = [identity(trainset=[dspy.Example(question="q", x=x).with_inputs("question")]) for x in (value, value, other)]
    assert told[0] == told[1] != told[2]


def test_a_frame_is_told_by_content():
    pandas = pytest.importorskip("pandas")
    one, same_again, other = (pandas.DataFrame({"a": [1, last]}) for last in (2, 2, 3))
    told = ByValue()
    assert told(one, "x") == told(same_again, "x") != told(other, "x")


def test_an_object_that_holds_itself_can_be_told():
    one, other = Ticket(1), Ticket(2)
    one.number, other.number = [one], [other]
    assert ByValue()(one, "x") == ByValue()(other, "x")


def test_what_a_metric_writes_down_for_itself_does_not_change_what_it_is(tmp_path):
    metric, asked = users(tmp_path, 0.5).instance, []

    def noting(example, prediction, trace=None):
        asked.append(example)
        return 1.0

    before = identity(metric), identity(noting)
    metric(dspy.Example(answer="1"), None)
    noting(None, None)
    assert (identity(metric), identity(noting)) == before


def test_it_is_the_same_in_every_process(tmp_path):
    script = """
import dspy
from tests.tfgrpo_dspy.run.test_identity import *
from pathlib import Path
import tempfile
made = users(Path(tempfile.mkdtemp()), 0.5)
data = [dspy.Example(question="q", x=[a for a, b in VALUES]).with_inputs("question")]
for name in METRICS: print(identity(getattr(made, name), trainset=data))
for name in PROGRAMS: print(identity(student=getattr(made, name)))
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1
    assert " at 0x" not in said.pop()


class Client:
    """Stands for something installed that nobody can look into."""


Client.__module__ = "sqlite3"


def test_what_cannot_be_told_is_named_and_can_be_told_by_hand(caplog):
    program = dspy.Predict("question -> answer")

    class Desk(dspy.Module):
        def __init__(self):
            super().__init__()
            self.answer, self.index, self.lock = program, Client(), threading.Lock()
            self.asked_by, self.abstract = ContextVar("asked_by"), type("Abstract", (ABC,), {"__slots__": ("x",)})

        def forward(self, question):
            return self.answer(question=question)

    def opened(**given):
        with dspy.context(lm=dspy.utils.DummyLM([{"answer": "1"}] * 99)):
            optimizer = TrainingFreeGRPO(exact, epochs=1, group_size=2, log_dir="log", display_progress=False, **given)
            return optimizer.compile(Desk(), examples(1))

    opened()
    (said,) = [record.message for record in caplog.records if "cannot be told" in record.message]
    assert "Desk.index (sqlite3.Client)" in said
    for decides_nothing in ("lock", "asked_by", "abstract"):
        assert decides_nothing not in said
    caplog.clear()
    with pytest.raises(StoreError, match='named was null, is "2026-05"'):
        opened(identity="2026-05")
    opened(identity="2026-05", accept_changes=True)
    opened(identity="2026-05")
    assert not [record for record in caplog.records if "cannot be told" in record.message]


@pytest.mark.parametrize("make", [lambda: math_equal, math_react, lambda: web_react(search="local")])
def test_all_that_the_papers_tables_run_can_be_told(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("page.md").write_text("a page to search in", encoding="utf-8")
    tell = ByValue()
    assert tell(make(), "") == ByValue()(make(), "")
    assert not tell.untold
