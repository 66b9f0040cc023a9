"""What a run takes hold of in DSPy, name by name: when DSPy moves, the test that fails says what to do."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import threading
from pathlib import Path

import dspy
import pytest
from dspy._vendor.lm15.providers.openai_chat import OpenAIChatLM
from dspy.clients import base_lm, capabilities, costs, engines, execution, model_metadata
from dspy.lm15 import RouterConfig
from tqdm import tqdm

from tests.tfgrpo_dspy.lm.test_engine import ask, metered
from tests.tfgrpo_dspy.lm.test_over_http import OK, failing, lm, stub
from tests.tfgrpo_dspy.loopback import PATIENCE
from tests.tfgrpo_dspy.scripted import Engine, script
from tfgrpo_dspy.lm import host, undocumented
from tfgrpo_dspy.lm.meter import Meter
from tfgrpo_dspy.lm.metering import metering
from tfgrpo_dspy.lm.undocumented import keeps_its_temperature

LIBRARY = Path(host.__file__).parents[1]
OF_DSPY = {
    "dspy.clients": {"undocumented.py"},
    "dspy.clients.engines": {"errands.py", "host.py"},
    "dspy.clients.capabilities": {"undocumented.py"},
    "dspy.clients.costs": {"undocumented.py"},
    "dspy.clients.model_metadata": {"undocumented.py"},
    "dspy._vendor.lm15.transports": {"undocumented.py"},
}
"""Modules of DSPy that it does not document for users, and the files of `lm/` that may know them."""


def imports_of(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def test_what_dspy_does_not_document_is_known_in_one_file_only():
    for path in sorted((LIBRARY / "lm").glob("*.py")):
        inner = {name for name in imports_of(path) if name.startswith(("dspy.clients", "dspy._vendor"))}
        assert all(path.name in OF_DSPY.get(name, set()) for name in inner), (path.name, inner)
    source = "".join(path.read_text(encoding="utf-8") for path in LIBRARY.rglob("*.py"))
    for gone in ("clients.execution", "clients._deprecation"):
        assert gone not in source
    assert source.count("GLOBAL_HISTORY") == 1


def test_dspys_list_of_calls_goes_by_this_name_and_is_not_missed(monkeypatch):
    """Should it move, look for what `dspy.inspect_history` shows; until then long runs take more memory."""
    monkeypatch.setattr(base_lm, "GLOBAL_HISTORY", list(range(10)))
    undocumented.forget_calls_before(20)
    assert len(base_lm.GLOBAL_HISTORY) == 10
    undocumented.forget_calls_before(3)
    assert base_lm.GLOBAL_HISTORY == [7, 8, 9]
    monkeypatch.delattr(base_lm, "GLOBAL_HISTORY")
    undocumented.forget_calls_before(3)


def test_a_bar_that_dspys_parallel_forgot_in_another_thread_fails_no_rollout():
    """Should tqdm name them otherwise, `undocumented.keep_bars_apart` can go if this passes without."""

    class Forgotten(tqdm):
        @classmethod
        def _get_free_pos(cls, instance=None):
            tqdm._instances.clear()
            return super()._get_free_pos(instance)

    with metered(Engine(script()).lm()):
        Forgotten(disable=True)


@pytest.mark.parametrize("name", ["LM15Engine", "LiteLLMEngine", "LegacyEngine"])
def test_engines_make_one_attempt_by_complete(name):
    """If not: `host._ENGINES` and `_METHODS` name the classes and methods through which DSPy sends each request."""
    for engine in (getattr(engines, name), getattr(engines, f"Async{name}")):
        assert list(inspect.signature(engine.complete).parameters) == ["self", "request"]
        assert inspect.iscoroutinefunction(engine.complete) is engine.__name__.startswith("Async")
        assert engine in host._ENGINES


def test_complete_legacy_is_asked_with_the_lm_and_the_body():
    """From 3.5 on there is none: drop `errands._of_body`, `_read_result` and the name from `host._METHODS`."""
    for engine in (engines.LiteLLMEngine, engines.LegacyEngine):
        assert list(inspect.signature(engine.complete_legacy).parameters)[:3] == ["self", "lm", "request"]


def test_the_native_engine_is_made_of_a_config_that_takes_a_transport():
    """If not: `errands._Native` makes DSPy's engine again with connections that have an end."""
    engine = engines.LM15Engine(RouterConfig(), model_type="chat")
    assert (engine.config.transport, engine.config.timeouts, engine.model_type) == (None, None, "chat")
    assert {"connect_timeout", "read_timeout"} <= inspect.signature(
        undocumented.StdlibTransport.__init__
    ).parameters.keys()
    assert isinstance(engine.config.transport_kwargs(), dict)
    assert engine.resolve("openai/gpt-4o-mini").provider == "openai-chat"


def test_dspy_plans_the_calls_of_a_run_with_one_provider():
    """If not: each call costs DSPy a provider that it makes and throws away; look for what `plan` makes use of."""
    made, begin = [], OpenAIChatLM.__post_init__
    with stub(lambda n: (200, OK, {})) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenAIChatLM, "__post_init__", lambda self: made.append(self) or begin(self))
        with metered(lm(server.api_base)):
            for _ in range(5):
                ask()
    assert len(made) == 3  # of the first plan, of its engine, and of ours


@pytest.mark.parametrize("name", ["stream", "_open", "_send_request"])
def test_a_connection_is_opened_and_a_request_sent_by_these_methods(name):
    """If not: `undocumented.Transport` puts a socket with a deadline in, and tells it which request it serves."""
    assert callable(getattr(undocumented.StdlibTransport, name))
    assert name in vars(undocumented.Transport)


def test_a_coroutine_streams_through_this_method():
    """If not: `undocumented.AsyncTransport` bounds what it reads."""
    assert inspect.iscoroutinefunction(undocumented.StdlibAsyncTransport._do_stream)


def test_the_socket_of_a_connection_is_the_one_with_the_deadline():
    """If not: a call that drips hangs, whatever `call_timeout` says; see `undocumented.Transport._open`."""
    opened = []
    with stub(lambda n: (200, OK, {})) as server, metered(lm(server.api_base)):
        original = undocumented._Socket.recv
        undocumented._Socket.recv = lambda self, size: opened.append(self.flight) or original(self, size)
        try:
            ask()
        finally:
            undocumented._Socket.recv = original
    assert opened
    assert None not in opened


def test_prices_are_found_by_provider_and_model():
    """If not: `undocumented._rates` and `price_of`, which a cap in US dollars needs before the first call."""
    assert model_metadata.rate(model_metadata.model_info("openai-chat", "gpt-4o-mini"), "input_cost_per_token") > 0
    assert capabilities.resolve(dspy.LM("openai/gpt-4o-mini")).model == "gpt-4o-mini"
    assert {"provider", "requested_model", "request"} <= inspect.signature(costs.estimate_cost).parameters.keys()


def test_while_a_run_is_under_way_the_price_list_is_looked_through_once_for_a_model(monkeypatch):
    """If not: each reply of a model that is not on it takes DSPy a millisecond more; see `undocumented.PRICE_LIST`."""
    owner, name = undocumented.PRICE_LIST
    original, looks = getattr(owner, name), []
    look = lambda *args, **kwargs: looks.append(args) or original(*args, **kwargs)  # noqa: E731
    monkeypatch.setattr(owner, name, look)
    with stub(lambda n: (200, OK, {})) as server, metered(lm(server.api_base)):
        for _ in range(5):
            ask()
    assert 0 < len(looks) == len(set(looks))
    assert getattr(owner, name) is look


def test_the_engines_of_an_lm_are_kept_by_these_names():
    """If not: `undocumented.engines_of` finds the engines of the user's own by them."""
    engine = Engine(script())
    model = engine.lm()
    assert model.engine is model._engine_spec is engine
    assert type(model._async_engine_spec).__name__ == "AsyncEngine"
    assert hasattr(dspy.utils.DummyLM([{"answer": "a"}]), "_engine_spec")


def test_dspy_repeats_what_may_pass_with_the_same_request_after_the_wait_that_the_error_names():
    """If not: `engine._remember` leaves repeating to DSPy and waiting to us; then each wait would be waited twice."""
    assert execution._delay(failing_error(retry_after=0.0), 3) == 0.0
    with stub(lambda n: failing(503, "no") if n < 3 else (200, OK, {})) as server:
        with metered(lm(server.api_base, num_retries=3)) as meter:
            ask()
        assert (server.requests, meter.traffic.retries) == (3, 2)


def failing_error(**details):
    return dspy.utils.exceptions.LMServerError("no", **details)


def test_settings_that_a_context_sets_reach_dspys_own_threads():
    """If not: `scope.KEY` stands in DSPy's context, so that its threads know what run and draw they work for."""
    seen = []

    class Notes(dspy.Module):
        def forward(self, question):
            seen.append(dspy.settings.get("tfgrpo_scope"))

    with metering(Meter()):
        dspy.Parallel(num_threads=2, disable_progress_bar=True)([(Notes(), {"question": "q"})] * 2)
    assert len(seen) == 2
    assert None not in seen


def test_nothing_is_held_when_no_run_is_under_way_also_after_two_at_once_and_an_error():
    def held() -> list[bool]:
        return [hasattr(getattr(engine, "complete", None), "original") for engine in host._ENGINES]

    assert not any(held())
    with metering(Meter()):
        with pytest.raises(ZeroDivisionError), metering(Meter()):
            1 / 0  # noqa: B018
        assert all(held())
    assert not any(held())


def test_what_others_wrapped_around_a_held_method_meanwhile_stays():
    original, calls = engines.LM15Engine.complete, []
    with metering(Meter()):
        ours = engines.LM15Engine.complete
        engines.LM15Engine.complete = lambda self, request: calls.append(1) or ours(self, request)
    try:
        with stub(lambda n: (200, OK, {})) as server, dspy.context(lm=lm(server.api_base)):
            ask()
        assert calls == [1]
    finally:
        engines.LM15Engine.complete = original


def test_a_call_of_no_run_is_let_through_while_one_is_under_way():
    """In a thread that was there before, by an LM that the run does not know."""
    begun, told = threading.Event(), []
    with stub(lambda n: (200, OK, {})) as server:
        model = lm(server.api_base)

        def other() -> None:
            begun.wait(PATIENCE)
            told.append(model("hello"))

        thread = threading.Thread(target=other)
        thread.start()
        with metering(meter := Meter()):
            begun.set()
            thread.join()
    assert told
    assert meter.traffic.calls == 0


WITHOUT = """
import sys
import dspy
from dspy.clients import _deprecation, execution

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name in {"dspy.clients._deprecation", "dspy.clients.execution"}:
            raise ModuleNotFoundError(f"{name} is not there any more", name=name)

for name in ("dspy.clients._deprecation", "dspy.clients.execution"):
    del sys.modules[name]
sys.meta_path.insert(0, Refuses())
dspy.clients.__dict__.pop("_deprecation", None)
dspy.clients.__dict__.pop("execution", None)

import tfgrpo_dspy
from tfgrpo_dspy import *
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
import tfgrpo_dspy.cli, tfgrpo_dspy.interop, tfgrpo_dspy.forecast

del sys.meta_path[0]  # DSPy itself still needs them
sys.modules["dspy.clients._deprecation"], sys.modules["dspy.clients.execution"] = _deprecation, execution
with dspy.context(lm=simulated_lm(0)):
    made = TrainingFreeGRPO(lambda e, p, trace=None: float(len(p.answer) % 2), epochs=1, group_size=2, num_threads=4,
        display_progress=False).compile(dspy.Predict("question -> answer"), demo_examples(4, 0))
print(made.detailed_results.traffic.calls)
"""


def test_the_package_works_without_the_modules_that_dspy_says_it_will_take_away():
    ended = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) >= 8


def test_what_is_no_text_stands_between_marks_in_dspys_texts():
    """If not: `program.values` knows by them what must not reach a prompt of reflection as text."""
    text = str(dspy.Image(url="data:image/png;base64,AAAA"))
    assert text.startswith(undocumented.CONTENT_BEGINS)
    assert text.endswith(undocumented.CONTENT_ENDS)


def test_dspy_knows_the_context_of_models():
    """If not: `undocumented.window_of` gives None, and nothing is said of examples that are too long."""
    assert undocumented.window_of(dspy.LM("openai/gpt-4o-mini", api_key="x")) == 128_000
    assert undocumented.window_of(dspy.LM("openai/of-my-own", api_key="x")) is None


def test_dspy_makes_no_lm_of_a_reasoning_model_with_another_temperature():
    """If not: `models.keeps_its_temperature` takes every model for one that takes any."""
    assert keeps_its_temperature(dspy.LM("openai/gpt-5", api_key="x"))
