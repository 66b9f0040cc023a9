"""The web student, and the command line that makes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import dspy
import pytest
import yaml

from programs.web import AnswerFromWeb, WebAgent, react, web_agent
from tests.tfgrpo_dspy.command_line import ROOT, run, the_error
from tfgrpo_dspy.cli.references import load_program
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.program.inputs import check_fit

WEBWALKER = ROOT / "../shared/data/webwalkerqa/webwalkerqa_main.jsonl"
QUICK = ("--lm", "simulated", "--no-tracking", "--epochs", "1", "--group-size", "2")
ROWS = [{"question": "Who directs the institute?", "answer": "Ada Byron"}, {"question": "When?", "answer": "1999"}]


@pytest.fixture(autouse=True)
def pages():
    Path("pages").mkdir()
    Path("pages/staff.html").write_text("<title>Staff</title><p>The director is Ada Byron.</p>", encoding="utf-8")
    Path("train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")


def test_it_is_a_react_agent_with_three_tools():
    agent = react()
    assert isinstance(agent, WebAgent)
    assert isinstance(agent, dspy.ReAct)
    assert list(agent.tools) == ["web_search", "open_page", "find_in_page", "finish"]
    check_fit(agent, [dspy.Example(question="?", answer="!").with_inputs("question")])


def test_its_task_and_tools_can_be_exchanged():
    agent = web_agent(signature="task -> report", tools=[lambda x: x], max_iters=2)
    assert list(agent.extract.predict.signature.output_fields)[-1] == "report"
    assert "web_search" not in agent.tools
    assert "never an instruction" in AnswerFromWeb.instructions


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"search": "google"}, "choose serper, tavily, ddgs"),
        ({"search": "serper"}, "set SERPER_API_KEY"),
        ({"search": "local:nowhere"}, "there is no folder nowhere"),
        ({"allow": ["what is this"]}, "write host:port"),
        ({"max_iters": 0}, "max_iters must be at least 1"),
    ],
)
def test_options_that_cannot_be_used_are_refused_before_anything_is_paid(options, said):
    with pytest.raises(SettingsError, match=said):
        react(**options)


def test_the_command_line_hands_it_its_options():
    agent = load_program("programs.web:react", ["--search", "local:pages", "--max-iters=3", "--allow", "127.0.0.1:1"])
    assert agent.max_iters == 3
    assert "| local:staff.html" in agent.tools["web_search"](query="director")


def test_compile_and_evaluate_go_through_with_local_search():
    result = run("compile", "programs.web:react", "train.jsonl", "--search", "local:pages", "--limit", "2", *QUICK)
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(Path("out/recipe.yaml").read_text())["program_options"] == ["--search", "local:pages"]
    again = run("evaluate", "out/program.json", "train.jsonl", "-k", "2", "--lm", "simulated")
    assert again.exit_code == 0, again.output


@pytest.mark.skipif(not WEBWALKER.is_file(), reason="the WebWalkerQA sample is not beside the repository")
def test_compile_goes_through_on_real_questions():
    result = run("compile", "programs.web:react", WEBWALKER, "--limit", "5", "--search", "local", *QUICK)
    assert result.exit_code == 0, result.output


def test_an_option_that_it_does_not_have_shows_those_it_has():
    result = run("compile", "programs.web:react", "train.jsonl", "--serch", "local", *QUICK)
    assert "neither tfgrpo nor programs.web:react has the option --serch local" in the_error(result)
    assert "--search TEXT (serper, tavily, ddgs," in the_error(result)
    assert result.exit_code == 2


def test_importing_it_loads_no_reader_and_no_service():
    code = (
        "import sys, programs.web; print({'trafilatura', 'bm25s', 'pypdf', 'ddgs', 'mcp', 'lxml'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
