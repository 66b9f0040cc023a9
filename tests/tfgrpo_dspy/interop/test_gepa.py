"""GEPA starts from a program with a library: it rewrites what is around the library, and never the library."""

from __future__ import annotations

import dspy
from hypothesis import given
from hypothesis import strategies as st

from tests.tfgrpo_dspy.scripted import Asked, Engine, exact, examples, script
from tfgrpo_dspy import ExperienceLibrary, TrainingFreeGRPO, attach, detach, library_of
from tfgrpo_dspy.interop.gepa import KeepLibrary
from tfgrpo_dspy.library.section import find_section, remove_section
from tfgrpo_dspy.simulated import simulated_lm

QA = "question -> answer"
LIBRARY = ExperienceLibrary.from_texts(["Read {this} twice.", "Check the unit."])
SHOWN = [
    {"Inputs": {"question": "What is 3 + 4?"}, "Generated Outputs": {"answer": "8"}, "Feedback": "Wrong, it is 7."}
]


def instructions(program: dspy.Module) -> str:
    return program.predictors()[0].signature.instructions


def five(gold, pred, trace=None, pred_name=None, pred_trace=None):
    return exact(gold, pred)


def rewriting(candidate, reflective_dataset, components_to_update):
    assert not any(find_section(text) for text in candidate.values())
    return {name: f"{candidate[name]}\nRewritten." for name in components_to_update}


def test_in_better_together_gepa_goes_on_from_what_we_learned():
    train, val = examples(11)[:8], examples(11)[8:]

    def helped(asked: Asked):  # the library makes one of the valset right, and with new instructions all
        ours, theirs = "[G0]" in asked.system, "Rewritten." in asked.system
        question = asked.field("question")
        if ours and (theirs or question == val[0].question):
            return dict.fromkeys(asked.outputs, "1")
        wrong = dict.fromkeys(asked.outputs, "0")
        return wrong if question in {e.question for e in val} else script()(asked)

    lm = Engine(script(policy=helped)).lm(seed=5)
    program = dspy.ChainOfThought(QA)
    program.set_lm(lm)
    together = dspy.BetterTogether(
        metric=exact,
        tfgrpo=TrainingFreeGRPO(exact, epochs=1, group_size=3, display_progress=False),
        gepa=dspy.GEPA(five, max_metric_calls=40, reflection_lm=lm, instruction_proposer=KeepLibrary(rewriting)),
    )
    with dspy.context(lm=lm):
        best = together.compile(program, trainset=train, valset=val, strategy="tfgrpo -> gepa", seed=0)
    assert not best.flag_compilation_error_occurred
    ours = next(c["program"] for c in best.candidate_programs if c["strategy"] == "tfgrpo")
    assert best.candidate_programs[0]["strategy"] == "tfgrpo -> gepa"
    assert len(library_of(best)) == len(library_of(ours)) > 0
    assert find_section(instructions(best)) == find_section(instructions(ours))
    assert instructions(detach(best)) == f"{instructions(program)}\nRewritten."


def test_gepas_own_proposer_is_the_default():
    policy = attach(dspy.Predict(QA), LIBRARY)
    with dspy.context(lm=simulated_lm()):
        written = KeepLibrary()({"self": instructions(policy)}, {"self": SHOWN}, ["self"])
    assert written["self"].endswith(find_section(instructions(policy)))
    assert remove_section(written["self"]).strip()


@given(st.text(), st.text())
def test_whatever_is_written_the_library_stays_letter_for_letter(before, after):
    policy = attach(dspy.Predict(dspy.Signature(QA, f"Do it. {before}")), LIBRARY)
    candidate = {"self": instructions(policy)}
    keep = KeepLibrary(lambda *_: {"self": after})
    written = keep(candidate, {}, ["self"])["self"]
    assert find_section(written) == find_section(candidate["self"])
    assert remove_section(written) == after.rstrip()


def test_instructions_without_a_library_get_none():
    keep = KeepLibrary(lambda *_: {"self": "New.", "other": "New too."})
    assert keep({"self": "Old."}, {}, ["self"]) == {"self": "New.", "other": "New too."}


def test_a_library_that_a_rewriting_left_out_is_not_reported_as_read():
    policy = attach(dspy.Predict(QA), LIBRARY)
    policy.signature = policy.signature.with_instructions("Answer at once.")
    assert len(library_of(policy)) == 0
    assert instructions(detach(policy)) == "Answer at once."


def test_a_library_that_a_rewriting_shortened_is_reported_as_it_is_read():
    policy = attach(dspy.Predict(QA), LIBRARY)
    policy.signature = policy.signature.with_instructions(instructions(policy).replace("[G1] Check the unit.\n", ""))
    assert [e.text for e in library_of(policy)] == ["Read {this} twice."]
