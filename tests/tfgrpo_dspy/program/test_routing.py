from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import dspy
import pytest
from dspy.utils import DummyLM

from tfgrpo_dspy import detach, library_of, use_library, with_libraries
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.library.library import ExperienceLibrary

MATH = ExperienceLibrary.from_texts(["Draw a figure."])
WEB = ExperienceLibrary.from_texts(["Open the newest page."])
STYLE = ExperienceLibrary.from_texts(["Answer in one line."])
LIBRARIES = {"math": MATH, "web": [WEB, STYLE]}


class Told(dspy.Module):
    """Answers with the instructions that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.solve = dspy.Predict("question -> answer")

    def forward(self, question: str) -> str:
        return self.solve.signature.instructions

    async def aforward(self, question: str) -> str:
        await asyncio.sleep(0)
        return self.solve.signature.instructions


def test_a_program_reads_the_library_that_is_in_use():
    agent = with_libraries(Told(), LIBRARIES)
    with use_library("math"):
        assert "Draw a figure." in agent(question="?")
        with use_library("web"):
            told = agent(question="?")
            assert "[G0] Open the newest page." in told
            assert "[G1] Answer in one line." in told
        assert "Draw a figure." in agent(question="?")
    assert "experience-library" not in agent(question="?")


def test_a_library_that_the_program_does_not_know_can_be_used_and_so_can_none():
    agent = with_libraries(Told(), LIBRARIES, default="math")
    assert "Draw a figure." in agent(question="?")
    with use_library(STYLE):
        assert "Answer in one line." in agent(question="?")
    with use_library(None):
        assert "experience-library" not in agent(question="?")


def test_the_choice_holds_in_the_threads_of_parallel_and_not_in_others():
    agent = with_libraries(Told(), LIBRARIES)
    questions = [(agent, dspy.Example(question=str(i)).with_inputs("question")) for i in range(6)]
    with use_library("math"):
        told = dspy.Parallel(num_threads=3, disable_progress_bar=True)(questions)
        with ThreadPoolExecutor(1) as pool:
            elsewhere = pool.submit(agent, question="?").result()
    assert all("Draw a figure." in each for each in told)
    assert "experience-library" not in elsewhere


def test_asynchronous_calls_do_not_disturb_each_other():
    agent = with_libraries(Told(), LIBRARIES)

    async def ask(name: str) -> str:
        with use_library(name):
            await asyncio.sleep(0)
            return await agent.acall(question="?")

    async def ask_all() -> list[str]:
        return await asyncio.gather(*(ask(name) for name in ["math", "web"] * 4))

    told = asyncio.run(ask_all())
    assert ["Draw a figure." in each for each in told] == [True, False] * 4


def test_a_function_of_the_inputs_may_choose():
    agent = with_libraries(Told(), LIBRARIES, choose=lambda question: "math" if "+" in question else None)
    assert "Draw a figure." in agent(question="1 + 1")
    assert "experience-library" not in agent(question="who?")
    assert "Draw a figure." in asyncio.run(agent.acall(question="1 + 1"))


class Asks(dspy.Module):
    """Has an LM say which library a question is for."""

    def __init__(self) -> None:
        super().__init__()
        self.which = dspy.Predict("question -> library")

    def forward(self, question: str) -> str:
        return self.which(question=question).library

    async def aforward(self, question: str) -> str:
        return (await self.which.acall(question=question)).library


def test_a_module_that_asks_an_lm_may_choose():
    agent = with_libraries(Told(), LIBRARIES, choose=Asks(), default="web")
    with dspy.context(lm=DummyLM([{"library": "math"}] * 2)):
        assert "Draw a figure." in agent(question="1 + 1")
        assert "Draw a figure." in asyncio.run(agent.acall(question="1 + 1"))


def test_a_name_that_is_not_there_is_refused_with_those_that_are():
    agent = with_libraries(Told(), LIBRARIES)
    with use_library("maths"), pytest.raises(SettingsError, match="this program has math, web"):
        agent(question="?")
    with pytest.raises(SettingsError, match="default is 'maths'"):
        with_libraries(Told(), LIBRARIES, default="maths")
    with pytest.raises(SettingsError, match="no library to choose"):
        with_libraries(Told(), {})


def test_it_is_saved_and_loaded_like_any_program(tmp_path):
    with_libraries(Told(), LIBRARIES).save(str(tmp_path / "agent.json"))
    other = with_libraries(Told(), {"math": STYLE, "web": STYLE})
    other.load(str(tmp_path / "agent.json"))
    with use_library("math"):
        assert "Draw a figure." in other(question="?")
    assert [e.text for e in library_of(other.programs["web"])] == ["Open the newest page.", "Answer in one line."]


def test_the_given_program_is_untouched_and_detaching_leaves_no_library():
    program = Told()
    before = program.solve.signature.instructions
    agent = detach(with_libraries(program, LIBRARIES))
    assert program.solve.signature.instructions == before
    with use_library("math"):
        assert agent(question="?") == before
