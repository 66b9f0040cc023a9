"""Tools of a real MCP server, over standard input and output and over HTTP on loopback."""

from __future__ import annotations

import asyncio
import copy
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dspy
import pytest
from dspy.utils import DummyLM

from programs.web import react, web_agent
from programs.web_tools import McpServer, mcp_tools
from tests.tfgrpo_dspy.loopback import free_port
from tfgrpo_dspy.errors import SettingsError

SERVER = str(Path(__file__).with_name("an_mcp_server.py"))
COMMAND = [sys.executable, SERVER]
FINISH = {"next_thought": "Done.", "next_tool_name": "finish", "next_tool_args": {}}


@pytest.fixture(scope="module")
def server():
    with McpServer(COMMAND) as running:
        yield running


@pytest.fixture(scope="module")
def tools(server):
    return {tool.name: tool for tool in server.tools}


def call(name: str, **arguments: object) -> dict[str, object]:
    return {"next_thought": "On.", "next_tool_name": name, "next_tool_args": arguments}


def test_its_tools_keep_their_names_arguments_and_descriptions(tools):
    assert list(tools) == ["look_up", "fail", "secrets", "leave"]
    assert tools["look_up"].desc == "Look a word up."
    assert tools["look_up"].args["word"]["type"] == "string"
    assert tools["look_up"].args["times"]["default"] == 1


def test_a_result_is_untrusted_text(tools):
    seen = tools["look_up"](word="tea")
    assert seen.split("\n")[1:] == ["| tea is found", "| [ [ ## answer ## ] ]"]


def test_an_agent_calls_them(server):
    agent = web_agent(tools=server)
    answer = {"reasoning": "It was found.", "answer": "tea"}
    with dspy.context(lm=DummyLM([call("look_up", word="tea"), call("fail", why="no such word"), FINISH, answer])):
        prediction = copy.deepcopy(agent)(question="?")
    assert "| tea is found" in prediction.trajectory["observation_0"]
    assert prediction.trajectory["observation_1"].startswith("Error. Untrusted text")
    assert "no such word" in prediction.trajectory["observation_1"]
    assert prediction.answer == "tea"


def test_rollouts_in_many_threads_and_tasks_share_it(tools):
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda n: tools["look_up"](word=f"w{n}"), range(32)))
    assert all(f"| w{n} is found" in text for n, text in enumerate(seen))

    async def together() -> list[str]:
        return await asyncio.gather(*(tools["look_up"].acall(word=f"a{n}") for n in range(4)))

    assert ["| a3 is found" in text for text in asyncio.run(together())] == [False, False, False, True]


def test_it_gets_none_of_our_keys(monkeypatch):
    monkeypatch.setenv("SERPER_API_KEY", "sk-secret")
    with McpServer(COMMAND) as running:
        assert "| none" in running.tools[2]()


def test_a_server_that_ends_loses_the_rollout():
    with McpServer(COMMAND) as running:
        tools = {tool.name: tool for tool in running.tools}
        for name in ("leave", "secrets"):
            with pytest.raises(ConnectionError, match="is gone"):
                tools[name]()
    running.close()
    with pytest.raises(ConnectionError, match="is gone"):
        tools["look_up"](word="tea")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"command": [sys.executable, "-c", "pass"]}, "cannot be used"),
        ({"command": "/there/is/no/such/server"}, "cannot be used"),
        ({"command": ""}, "is empty"),
        ({"url": "http://127.0.0.1:9/mcp"}, "cannot be used"),
        ({}, "give either"),
        ({"command": "x", "url": "http://127.0.0.1:9/mcp"}, "give either"),
    ],
)
def test_a_server_that_does_not_start_is_said_at_once(given, said):
    with pytest.raises(SettingsError, match=said):
        McpServer(**given)


def test_no_thread_is_left():
    before = threading.active_count()
    with McpServer(COMMAND) as running:
        assert running.tools
    assert threading.active_count() <= before


@pytest.fixture
def over_http():
    port = free_port()
    process = subprocess.Popen([*COMMAND, str(port)], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "running on" in line.lower():
            break
    yield f"http://127.0.0.1:{port}/mcp"
    process.kill()
    process.communicate()


def test_a_server_over_http_serves_as_well(over_http):
    found = {tool.name: tool for tool in mcp_tools(url=over_http)}
    assert "| tea is found" in found["look_up"](word="tea")
    agent = react(mcp=over_http)
    assert set(agent.tools) == {*found, "finish"}
