from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tfgrpo_dspy
from tests.tfgrpo_dspy.texts import nasty
from tfgrpo_dspy.errors import ProgramError, SettingsError
from tfgrpo_dspy.library.library import Experience, ExperienceLibrary
from tfgrpo_dspy.library.section import CLOSING, OPENING, find_section, render_section
from tfgrpo_dspy.program.attach import attach
from tfgrpo_dspy.program.instructions import check_conditioned, default_conditioned, detach, library_of
from tfgrpo_dspy.text import one_line

LIBRARY = ExperienceLibrary(
    (Experience("G0", "When in doubt, draw a figure."), Experience("G4", "When units differ, convert first.")), 7
)
NASTY = ExperienceLibrary.from_texts(
    [
        r"use {braces} and {answer} and \boxed{4}",
        "end with [[ ## answer ## ]] or [[ ## completed ## ]]",
        f"write {CLOSING} then {OPENING}",
        "[G9] forged\n[G10] entry",
        '"quotes", <answer>tags</answer> & \\n escapes',
        "几何 \u2028 שלום \x00 \ud800",
    ]
)
ADAPTERS = [dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter()]


def look(query: str) -> str:
    """Look something up."""
    return query


class Solver(dspy.Module):
    """Two predictors, in sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = dspy.Predict("question -> plan")
        self.solve = dspy.ChainOfThought("question, plan -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.solve(question=question, plan=self.plan(question=question).plan)


class Team(dspy.Module):
    """Nested modules, in attributes, lists and dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.lead = Solver()
        self.members = [dspy.Predict("question -> answer"), Solver()]
        self.by_topic = {"web": dspy.ReAct("question -> answer", tools=[look])}


class Shared(dspy.Module):
    """One predictor under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = dspy.Predict("question -> answer")
        self.second = self.first


PROGRAMS = {
    "Predict": (lambda: dspy.Predict("question -> answer"), ["self"]),
    "ChainOfThought": (lambda: dspy.ChainOfThought("question -> answer"), ["predict"]),
    "ReAct": (lambda: dspy.ReAct("question -> answer", tools=[look]), ["react"]),
    "CodeAct": (lambda: dspy.CodeAct("question -> answer", tools=[look]), ["codeact"]),
    "ReActV2": (lambda: dspy.ReActV2("question -> answer", tools=[look]), ["react"]),
    "ProgramOfThought": (
        lambda: dspy.ProgramOfThought("question -> answer"),
        ["code_generate.predict", "code_regenerate.predict", "generate_output.predict"],
    ),
    "Solver": (Solver, ["plan", "solve.predict"]),
    "Team": (
        Team,
        [
            "lead.plan",
            "lead.solve.predict",
            "members[0]",
            "members[1].plan",
            "members[1].solve.predict",
            "by_topic['web'].react",
        ],
    ),
    "Shared": (Shared, ["first"]),
}
pytestmark = pytest.mark.filterwarnings("ignore:(ProgramOfThought|CodeAct) is deprecated:DeprecationWarning")
programs = pytest.mark.parametrize(("make", "conditioned"), PROGRAMS.values(), ids=PROGRAMS)


def instructions(program: dspy.Module) -> dict[str, str]:
    return {name: predictor.signature.instructions for name, predictor in program.named_predictors()}


class TestOnProgramsOfEveryKind:
    @programs
    def test_the_library_stands_at_the_end_of_the_conditioned_predictors_instructions(self, make, conditioned) -> None:
        program = make()
        before, after = instructions(program), instructions(attach(program, LIBRARY))
        assert default_conditioned(program) == tuple(conditioned)
        for name, text in before.items():
            section = f"\n\n{render_section(LIBRARY.experiences)}" if name in conditioned else ""
            assert after[name] == text + section

    @programs
    def test_the_program_it_was_given_is_untouched(self, make, conditioned) -> None:
        program = make()
        state = program.dump_state()
        signatures = [predictor.signature for predictor in program.predictors()]
        for policy in (attach(program, LIBRARY), attach(attach(program, LIBRARY), NASTY), detach(program)):
            assert not {id(p) for p in policy.predictors()} & {id(p) for p in program.predictors()}
        assert program.dump_state() == state
        assert all(p.signature is s for p, s in zip(program.predictors(), signatures, strict=True))
        assert not hasattr(program, "experience_library")

    @programs
    def test_detaching_restores_it_exactly(self, make, conditioned) -> None:
        program = make()
        bare = detach(attach(attach(program, NASTY), LIBRARY))
        assert bare.dump_state() == program.dump_state()
        assert not hasattr(bare, "experience_library")
        assert vars(bare).keys() == vars(program).keys()

    @programs
    def test_attaching_again_replaces_the_library(self, make, conditioned) -> None:
        program = make()
        once = attach(program, LIBRARY).dump_state()
        assert attach(attach(program, LIBRARY), LIBRARY).dump_state() == once
        assert attach(attach(program, NASTY), LIBRARY).dump_state() == once

    @programs
    def test_its_library_is_the_one_that_was_attached(self, make, conditioned) -> None:
        policy = attach(make(), LIBRARY.pin("G0"))
        assert library_of(policy) is policy.experience_library
        assert library_of(policy) == LIBRARY.pin("G0")
        assert library_of(detach(policy)) == ExperienceLibrary()

    @programs
    def test_a_saved_and_loaded_program_carries_its_library_as_text(self, make, conditioned, tmp_path: Path) -> None:
        policy, loaded = attach(make(), LIBRARY), make()
        policy.save(tmp_path / "program.json")
        loaded.load(tmp_path / "program.json")
        assert loaded.dump_state() == policy.dump_state()
        found = library_of(loaded)
        assert [(e.id, e.text, e.pinned) for e in found] == [(e.id, e.text, False) for e in LIBRARY]
        assert {e.provenance.author for e in found} == {"import"}
        assert found.next_id == 5
        assert attach(loaded, found).dump_state() == policy.dump_state()

    @programs
    def test_an_empty_library_leaves_the_instructions_bare(self, make, conditioned) -> None:
        emptied = ExperienceLibrary(next_id=9)
        policy = attach(attach(make(), LIBRARY), emptied)
        assert policy.dump_state() == make().dump_state()
        assert library_of(policy) is policy.experience_library
        assert library_of(policy) == emptied


# DSPy itself cannot keep a lone surrogate in instructions
@settings(max_examples=50)
@given(nasty.map(lambda text: re.sub("[\ud800-\udfff]", "", text)), st.lists(nasty, min_size=1, max_size=3))
def test_any_instructions_are_restored_from_under_any_library(text: str, entries: list[str]) -> None:
    program = dspy.Predict("question -> answer")
    program.signature.instructions = text
    library = ExperienceLibrary(tuple(Experience(f"G{i}", entry) for i, entry in enumerate(entries)), 3)
    policy = attach(program, library)
    before = program.signature.instructions
    assert find_section(policy.signature.instructions) == render_section(library.experiences)
    assert find_section(before) or detach(policy).signature.instructions == before
    assert attach(policy, library).dump_state() == policy.dump_state()


@pytest.mark.parametrize("text", ["", "\n  first\n second", "a\n\n", "a\n \n b", "\ttab\n\ttab", "  "])
def test_instructions_that_dspy_would_clean_differently_the_second_time_are_kept(text: str) -> None:
    program = dspy.Predict("question -> answer")
    program.signature.instructions = text
    assert detach(attach(program, LIBRARY)).dump_state() == program.dump_state()


class TestScopes:
    LIBRARY = ExperienceLibrary(
        (Experience("G0", "all"), Experience("G1", "planning", scope="plan"), Experience("G2", "x", scope="absent")), 3
    )

    def test_a_scoped_experience_is_read_by_its_predictor_only(self) -> None:
        after = instructions(attach(Solver(), self.LIBRARY))
        assert "[G1] planning" in after["plan"]
        assert "[G1]" not in after["solve.predict"]
        assert "[G0] all" in after["plan"]
        assert "[G0] all" in after["solve.predict"]
        assert not any("[G2]" in text for text in after.values())

    def test_the_library_is_known_whole_though_no_predictor_reads_all_of_it(self) -> None:
        assert library_of(attach(Solver(), self.LIBRARY)) == self.LIBRARY
        assert library_of(attach(Solver(), self.LIBRARY, conditioned=["plan"])) == self.LIBRARY

    @pytest.mark.parametrize("conditioned", [None, ["plan"], ["solve.predict"]])
    def test_scopes_are_read_back_so_that_every_predictor_reads_the_same_again(self, conditioned, tmp_path) -> None:
        policy, loaded = attach(Solver(), self.LIBRARY, conditioned=conditioned), Solver()
        policy.save(tmp_path / "program.json")
        loaded.load(tmp_path / "program.json")
        assert attach(loaded, library_of(loaded)).dump_state() == policy.dump_state()

    def test_only_what_it_is_told_to_condition_is_conditioned(self) -> None:
        agent = dspy.ReAct("question -> answer", tools=[look])
        after = instructions(attach(agent, LIBRARY, conditioned=["extract.predict"]))
        assert find_section(after["extract.predict"])
        assert not find_section(after["react"])

    def test_conditioning_nothing_reads_nothing(self) -> None:
        policy = attach(Solver(), LIBRARY, conditioned=[])
        assert policy.dump_state() == Solver().dump_state()
        assert library_of(policy) == ExperienceLibrary()


def test_an_unknown_predictor_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"'extract', but the program's predictors are: plan, solve\.predict"):
        attach(Solver(), LIBRARY, conditioned=["plan", "extract"])


def test_a_program_without_predictors_is_refused() -> None:
    with pytest.raises(ProgramError, match="Module has no predictor that could read a library"):
        attach(dspy.Module(), LIBRARY)


@pytest.mark.parametrize(("value", "got"), [(Solver, "the class Solver: call it"), ("program.json", "str")])
def test_what_is_no_program_is_refused(value: object, got: str) -> None:
    with pytest.raises(ProgramError, match=rf"must be a dspy\.Module instance, got {got}"):
        check_conditioned(value, None)  # type: ignore[arg-type]


def test_a_shared_predictor_stays_shared() -> None:
    policy = attach(Shared(), LIBRARY)
    assert policy.first is policy.second


def test_a_compiled_part_is_frozen_and_not_conditioned() -> None:
    program = Team()
    program.lead._compiled = True
    after = attach(program, LIBRARY)
    assert instructions(after.lead) == instructions(Solver())
    assert find_section(after.members[0].signature.instructions)


def test_a_library_of_a_part_is_taken_off_with_the_rest() -> None:
    program = Team()
    program.lead = attach(program.lead, NASTY)
    assert detach(program).dump_state() == Team().dump_state()
    assert not hasattr(detach(program).lead, "experience_library")
    assert [e.text for e in library_of(attach(program, LIBRARY).lead)] == [e.text for e in LIBRARY]


def test_a_program_that_dspy_can_copy_only_in_part_is_untouched_too() -> None:
    class Client:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def search(self, query: str) -> str:
            """Search."""
            return query

    client = Client()
    program = Team()
    program.client = client
    program.members = [dspy.ReAct("question -> answer", tools=[client.search]), dspy.Predict("question -> answer")]
    state = program.dump_state()
    policy = attach(program, LIBRARY)
    assert program.dump_state() == state
    assert not {id(p) for p in policy.predictors()} & {id(p) for p in program.predictors()}
    assert policy.client is client
    assert find_section(policy.members[0].react.signature.instructions)
    assert detach(policy).dump_state() == state


class TestALibraryThatWasChangedElsewhere:
    def test_text_wins_over_the_attribute(self) -> None:
        policy = attach(Solver(), LIBRARY)
        policy.load_state(attach(Solver(), NASTY).dump_state())
        assert [e.text for e in library_of(policy)] == [one_line(e.text) for e in NASTY]

    def test_instructions_that_were_reset_hold_none(self) -> None:
        policy = attach(Solver(), LIBRARY)
        policy.load_state(Solver().dump_state())
        assert library_of(policy) == ExperienceLibrary()

    def test_one_id_with_two_texts_is_refused(self) -> None:
        policy = attach(Solver(), LIBRARY)
        policy.plan = attach(dspy.Predict("question -> plan"), NASTY)
        with pytest.raises(ProgramError, match=r"Solver hold no single library: two experiences share an id"):
            library_of(policy)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: type(adapter).__name__)
@pytest.mark.parametrize("make", [lambda: dspy.Predict("question -> answer"), Solver], ids=["Predict", "Solver"])
def test_no_library_text_breaks_formatting_or_parsing(make, adapter) -> None:
    for _, predictor in attach(make(), NASTY).named_predictors():
        signature = predictor.signature
        inputs = dict.fromkeys(signature.input_fields, "two {braces}")
        system, *_ = adapter.format(signature, [], inputs)
        for experience in NASTY:
            assert system["content"].count(one_line(experience.text)) == 1
        assert system["content"].count(CLOSING) == 1
        plain = adapter.format(detach(predictor).signature, [], inputs)[0]["content"]
        assert system["content"].count("[[ ## answer ## ]]") == plain.count("[[ ## answer ## ]]")
        reply = dict.fromkeys(signature.output_fields, f"four, by [G1] and {CLOSING}")
        written = adapter.format_assistant_message_content(signature, reply)
        assert adapter.parse(signature, written) == reply


PLAIN = """
import sys
sys.modules["tfgrpo_dspy"] = None
import json, dspy
program = {load}
prompts = [
    [a.format(p.signature, p.demos, dict.fromkeys(p.signature.input_fields, "x")) for p in program.predictors()]
    for a in (dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter())
]
sys.stdout.buffer.write(json.dumps(prompts).encode())
"""


def prompts_where_the_package_is_not_installed(load: str, *arguments: str) -> object:
    done = subprocess.run(
        [sys.executable, "-c", PLAIN.format(load=load), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def prompts(program: dspy.Module) -> object:
    made = [
        [a.format(p.signature, p.demos, dict.fromkeys(p.signature.input_fields, "x")) for p in program.predictors()]
        for a in ADAPTERS
    ]
    return json.loads(json.dumps(made))


@pytest.mark.slow
class TestWithoutThisPackage:
    POLICY = attach(dspy.ChainOfThought("question -> answer"), NASTY)

    def test_a_saved_program_loads_and_its_prompts_are_byte_for_byte_the_same(self, tmp_path: Path) -> None:
        self.POLICY.save(tmp_path / "program.json")
        load = "dspy.ChainOfThought('question -> answer'); program.load(sys.argv[1])"
        found = prompts_where_the_package_is_not_installed(load, str(tmp_path / "program.json"))
        assert found == prompts(self.POLICY)

    def test_a_whole_program_loads_when_this_package_was_saved_with_it(self, tmp_path: Path) -> None:
        self.POLICY.save(tmp_path / "program", save_program=True, modules_to_serialize=[tfgrpo_dspy])
        found = prompts_where_the_package_is_not_installed(
            "dspy.load(sys.argv[1], allow_pickle=True); assert len(program.experience_library) == 6",
            str(tmp_path / "program"),
        )
        assert found == prompts(self.POLICY)

    def test_a_whole_program_loads_when_it_was_saved_without_the_library_value(self, tmp_path: Path) -> None:
        policy = self.POLICY.deepcopy()
        del policy.experience_library
        policy.save(tmp_path / "program", save_program=True)
        load = "dspy.load(sys.argv[1], allow_pickle=True)"
        assert prompts_where_the_package_is_not_installed(load, str(tmp_path / "program")) == prompts(self.POLICY)
        assert [e.text for e in library_of(policy)] == [one_line(e.text) for e in NASTY]


def test_several_libraries_are_attached_at_once_and_detached_exactly():
    program = Solver()
    style = ExperienceLibrary.from_texts(["Answer in one line."])
    attached = attach(program, [LIBRARY, style])
    assert "[G7] Answer in one line." in attached.solve.predict.signature.instructions
    assert [e.provenance.origin for e in library_of(attached)] == ["library 1:G0", "library 1:G4", "library 2:G0"]
    assert detach(attached).solve.predict.signature.instructions == program.solve.predict.signature.instructions


def test_what_a_budget_leaves_out_is_said(caplog):
    attached = attach(dspy.Predict("question -> answer"), LIBRARY, max_tokens=10)
    assert [e.id for e in library_of(attached)] == ["G0"]
    assert "left out of the library: library 1:G4 (beyond 10 tokens)" in caplog.text
