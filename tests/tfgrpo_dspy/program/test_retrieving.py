"""Programs that read what fits a query: what they show, how they are saved, and what they keep of the demo's gain."""

from __future__ import annotations

import asyncio
import copy
import json
import re

import dspy
import pytest

from benchmarks.distractors import distracted
from tests.tfgrpo_dspy.made_events import effect_on
from tests.tfgrpo_dspy.scripted import Engine
from tfgrpo_dspy import (
    ExperienceLibrary,
    ProgramError,
    Settings,
    SettingsError,
    TrainingFreeGRPO,
    attach,
    detach,
    library_of,
)
from tfgrpo_dspy.cli.files import refresh_files
from tfgrpo_dspy.library.file import save_library
from tfgrpo_dspy.library.operations import Modify
from tfgrpo_dspy.library.retrieval import BM25
from tfgrpo_dspy.library.section import OPENING
from tfgrpo_dspy.program.retrieving import Retrieving, with_library_in
from tfgrpo_dspy.program.saved import load_state, saved_library
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.rollouts.sampling import Policy
from tfgrpo_dspy.run.policy import as_policy
from tfgrpo_dspy.simulated import demo_examples, simulated_lm
from tfgrpo_dspy.simulated.student import make_solver

TEXTS = ["Always state the unit.", "When trains meet, add their speeds.", "When a garden is fenced, count the posts."]
LIBRARY = ExperienceLibrary.from_texts(TEXTS).pin("G0")
QUERY = {"question": "Two trains drive towards each other."}


def answering(asked):
    return dict.fromkeys(asked.outputs, "1")


def retrieving(**more):
    return attach(dspy.ChainOfThought("question -> answer"), LIBRARY, retrieval=BM25(1), **more)


def shown_to(engine):
    return [re.findall(r"^ *\[(G\d+)\] ", asked.system, re.MULTILINE) for asked in engine.asked]


def called(program, engine=None, **inputs):
    engine = engine or Engine(answering)
    with dspy.context(lm=engine.lm()):
        program(**(inputs or QUERY))
    return engine


@pytest.mark.parametrize("adapter", [None, dspy.JSONAdapter(), dspy.XMLAdapter()])
def test_a_query_reads_pinned_experiences_and_those_that_fit_it(adapter):
    engine = Engine(answering)
    with dspy.context(lm=engine.lm(), adapter=adapter):
        retrieving()(**QUERY)
        retrieving()(question="How many posts has the garden?")
    assert shown_to(engine) == [["G0", "G1"], ["G0", "G2"]]


def test_prompts_begin_alike_up_to_what_is_chosen():
    engine = Engine(answering)
    for question in ("Trains meet.", "A garden is fenced."):
        called(retrieving(), engine, question=question)
    first, second = (asked.system for asked in engine.asked)
    common = next(i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    assert first.index(OPENING) < first.index("[G0]") < common
    assert "[G1]" in first[common - 4 :]


def test_asynchronous_calls_and_threads_each_read_their_own():
    engine, program = Engine(answering), retrieving()
    with dspy.context(lm=engine.lm()):
        asyncio.run(program.acall(**QUERY))
        dspy.Parallel(num_threads=2, disable_progress_bar=True)(
            [(program, {"question": text}) for text in ("A train.", "The garden.")]
        )
    assert sorted(shown_to(engine)) == [["G0", "G1"], ["G0", "G1"], ["G0", "G2"]]


def test_other_predictors_and_other_scopes_read_nothing_of_it():
    class Two(dspy.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = dspy.Predict("question -> answer"), dspy.Predict("question -> answer")

        def forward(self, question):
            self.second(question=question)
            return self.first(question=question)

    engine = called(attach(Two(), LIBRARY, retrieval=BM25(1), conditioned=["first"]))
    assert shown_to(engine) == [[], ["G0", "G1"]]


def test_an_agent_reads_the_same_in_all_its_turns():
    moves = iter(["look", "finish"])

    def script(asked):
        if "next_tool_name" in asked.outputs:
            return {"next_thought": "garden posts", "next_tool_name": next(moves), "next_tool_args": {}}
        return answering(asked)

    def look():
        """Look."""
        return "a fenced garden with posts"

    engine = called(attach(dspy.ReAct("question -> answer", [look]), LIBRARY, retrieval=BM25(1)), Engine(script))
    assert shown_to(engine) == [["G0", "G1"], ["G0", "G1"], []], "the extractor reads no library"


def test_callbacks_of_adapters_are_told_once():
    told = []

    class Listener(dspy.utils.callback.BaseCallback):
        def on_adapter_format_start(self, call_id, instance, inputs):
            told.append(type(instance).__name__)

    with dspy.context(callbacks=[Listener()]):
        called(retrieving())
    assert told == ["ChatAdapter"]


def test_it_is_saved_and_loaded_with_its_library(tmp_path):
    known = {"cues": {"G2": ("Two trains.",)}, "worth": {"G1": 0.25}}
    program = Retrieving(dspy.ChainOfThought("question -> answer"), LIBRARY, BM25(1), **known)
    program.save(str(tmp_path / "program.json"))
    loaded = Retrieving(dspy.ChainOfThought("question -> answer"))
    loaded.load(str(tmp_path / "program.json"))
    assert library_of(loaded) == LIBRARY
    assert loaded.memory.shelf == program.memory.shelf
    assert shown_to(called(loaded)) == shown_to(called(program))
    assert "Retrieving(program).load" in json.loads((tmp_path / "program.json").read_text())["memory"]["needs"]


def test_files_do_not_get_mixed_up(tmp_path):
    bare, file = dspy.ChainOfThought("question -> answer"), str(tmp_path / "program.json")
    bare.save(file)
    with pytest.raises(ProgramError, match="without Retrieving"):
        Retrieving(bare).load(file)
    retrieving().save(file)
    with pytest.raises(KeyError):  # DSPy's: rather than run without its library
        bare.load(file)
    attach(bare, LIBRARY, retrieval=lambda query, library: ["G1"]).save(file)
    with pytest.raises(SettingsError, match="give it again"):
        Retrieving(bare).load(file)


def test_the_command_line_reads_and_refreshes_its_files(tmp_path):
    retrieving().save(str(tmp_path / "program.json"))
    assert saved_library(tmp_path / "program.json") == LIBRARY
    changed = LIBRARY.pin("G1")
    save_library(changed, tmp_path / "library.json")
    assert refresh_files(changed, tmp_path / "library.json")
    loaded = load_state(dspy.ChainOfThought("question -> answer"), tmp_path / "program.json")
    assert library_of(loaded) == changed


def test_a_text_that_was_rewritten_loses_what_it_was_worth():
    program = Retrieving(dspy.ChainOfThought("question -> answer"), LIBRARY, BM25(1), worth={"G1": 0.2, "G2": 0.3})
    new = LIBRARY.apply([Modify(id="G2", text="When a garden is fenced, count its corners.")]).library
    assert with_library_in(program.dump_state(), new)["memory"]["worth"] == {"G1": 0.2}


def test_detaching_restores_the_program_and_attaching_again_replaces():
    student = dspy.ChainOfThought("question -> answer")
    program = attach(student, LIBRARY, retrieval=BM25(1))
    assert detach(program).dump_state() == student.dump_state()
    whole = attach(program, LIBRARY)
    assert [name for name, _ in whole.named_predictors()] == ["predict"]
    assert library_of(whole) == LIBRARY
    assert shown_to(called(whole)) == [["G0", "G1", "G2"]]
    assert library_of(copy.deepcopy(program)) == LIBRARY


def test_the_store_tells_apart_what_reads_differently():
    programs = [retrieving(), attach(detach(retrieving()), LIBRARY.pin("G1"), retrieval=BM25(1))]
    programs.append(attach(detach(retrieving()), LIBRARY, retrieval=BM25(2)))
    assert len({Policy.of(program).fingerprint for program in programs}) == 3
    assert Policy.of(retrieving()).fingerprint == Policy.of(retrieving()).fingerprint


@pytest.fixture(scope="module")
def among_distractors():
    start = distracted(ExperienceLibrary(), 5000, seed=0)
    with dspy.context(lm=simulated_lm(0, cache=False)):
        optimizer = TrainingFreeGRPO(
            number, epochs=1, num_threads=2, display_progress=False, library=start, retrieval=BM25(8)
        )
        return optimizer.compile(make_solver(), demo_examples(36, 0))


def test_among_5000_distractors_new_experiences_are_learned_and_found(among_distractors):
    result = among_distractors.detailed_results
    learned = [e for e in result.library if e.provenance.author == "updater"]
    assert len(learned) >= 10
    assert all(e.id in result.library for e in learned)
    found = [
        any(e.provenance.author == "updater" for e in among_distractors.read_for(question=example.question))
        for example in demo_examples(30, 0, "test")
    ]
    assert sum(found) >= 27


def test_reflection_is_shown_what_its_subject_is_about(among_distractors):
    shown = []

    class Listener(dspy.utils.callback.BaseCallback):
        def on_module_start(self, call_id, instance, inputs):
            shown.append(inputs["kwargs"].get("experiences"))

    settings = {"epochs": 1, "num_threads": 1, "display_progress": False}
    library = among_distractors.experience_library
    with dspy.context(lm=simulated_lm(0, cache=False), callbacks=[Listener()]):
        optimizer = TrainingFreeGRPO(number, library=library, retrieval=BM25(4), **settings)
        optimizer.compile(make_solver(), demo_examples(4, 3))
    prompts = [text for text in shown if text is not None]
    assert prompts
    assert all(0 < text.count("[G") < 100 for text in prompts)
    assert all("more about other things, not shown" in text for text in prompts)


def test_what_was_measured_to_mislead_is_read_less_by_the_program_that_is_returned():
    wrong = "When trains meet, subtract their speeds."
    library = ExperienceLibrary.from_texts([wrong, TEXTS[1]])
    program = as_policy(
        dspy.ChainOfThought("question -> answer"),
        library,
        Settings(retrieval=BM25(1)),
        [],
        [effect_on(library["G0"], -0.1), effect_on(library["G1"], 0.05)],
    )
    assert [e.id for e in program.read_for(**QUERY)] == ["G1"]
    assert program.memory.shelf.worth == {"G0": pytest.approx(0.0025, abs=0.0001)}, "nothing is taken from what helps"


def test_a_forecast_knows_who_reads_what_is_retrieved():
    settings = {"group_size": 3, "num_threads": 1, "display_progress": False}
    with dspy.context(lm=simulated_lm(0, cache=False)):
        optimizer = TrainingFreeGRPO(number, retrieval=BM25(4), library=LIBRARY, **settings)
        forecast = optimizer.forecast(make_solver(), demo_examples(8, 0), pilot=4)
    assert forecast.stages["rollouts"].calls.high == 3 * 8 * 3
