"""Gates: what an update must show before it enters, what becomes of the rest, and what a run does without a gain."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import dspy
import pytest

from benchmarks.gate import Sizes
from benchmarks.gate import run as weak_run
from tests.tfgrpo_dspy.scripted import Asked, Engine, exact, examples, script
from tfgrpo_dspy import Add, Budget, Delete, ExperienceLibrary, Refusal, SettingsError, TrainingFreeGRPO, history_of
from tfgrpo_dspy.gates.gate import All, Hearing, Tried, check_gate
from tfgrpo_dspy.gates.holdout import Holdout
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.observers.metrics import final_metrics, step_metrics
from tfgrpo_dspy.records.updates import Proposal, Ruling
from tfgrpo_dspy.run.ending import epochs_without_progress
from tfgrpo_dspy.run.gain import gain_rollouts, gate_rollouts, powers
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.steps.briefing import Briefing

RIGHT, WRONG, IDLE = "When red, say one.", "When blue, say zero.", "When green, think of the sea."
Chance = Callable[[ExperienceLibrary], float]


def by_text(library: ExperienceLibrary) -> float:
    """The chance of a right answer: good advice raises it, bad advice lowers it."""
    texts = " ".join(e.text for e in library)
    return 0.5 + 0.4 * ("say one" in texts) - 0.4 * ("say zero" in texts)


class FakeEvaluator:
    """Rewards drawn by a chance that the library's texts decide; remembers the purposes."""

    def __init__(self, chance: Chance = by_text, seed: int = 0, *, whole: bool = True) -> None:
        self.chance, self.rng, self.whole = chance, random.Random(seed), whole
        self.purposes: list[tuple[str, int]] = []

    def try_out(self, libraries, examples, *, purpose, step, k):
        self.purposes.append((purpose, step))
        return [
            Tried(self._rewards(self.chance(library), len(examples), k), Usage(k), self.whole) for library in libraries
        ]

    def _rewards(self, chance: float, questions: int, k: int) -> list[list[float]]:
        if not self.whole:
            return [[] for _ in range(questions)]
        return [[float(self.rng.random() < chance) for _ in range(k)] for _ in range(questions)]


def hearing(*texts: str, evaluator: Any = None, library: ExperienceLibrary | None = None, step: int = 1) -> Hearing:
    nobody: Any = SimpleNamespace()
    briefing = Briefing("do well", library or ExperienceLibrary(), Settings(), step, nobody)
    operations = tuple(Add(text=text) for text in texts)
    proposal = Proposal(briefing.library, step, operations)
    return Hearing(proposal, operations, briefing, {}, tuple(examples(3)), nobody, evaluator or FakeEvaluator())


def held(n: int = 80, **settings: Any) -> Holdout:
    return Holdout(examples(n), **settings)


def texts(operations: Any) -> list[str]:
    return [operation.text for operation in operations]


# --- Holdout ---


def test_what_helps_enters_and_what_harms_is_refused_with_the_figures():
    assert texts(held().rule(hearing(RIGHT)).operations) == [RIGHT]
    ruling = held().rule(hearing(WRONG))
    assert ruling.operations == ()
    assert ruling.trials[0].verdict == "worse"
    assert "held-out problems" in ruling.refusals[0].reason
    assert ruling.trials[0].difference.high < 0


def test_a_clear_case_is_stopped_early_and_what_does_nothing_takes_all_problems():
    clear, idle = held(k=1, looks=8), held(k=1, looks=8)
    assert clear.rule(hearing(WRONG)).trials[0].looks < 8
    assert idle.rule(hearing(IDLE)).trials[0].looks == 8


def test_a_proposal_enters_whole_or_not_at_all():
    ruling = held(200, margin=0.0).rule(hearing(RIGHT, WRONG))
    assert (ruling.operations, len(ruling.trials), len(ruling.refusals)) == ((), 1, 2)


def test_what_does_nothing_passes_the_margin_and_not_without_one():
    assert held(400, k=4, margin=0.0).rule(hearing(IDLE)).operations == ()
    assert texts(held(400, k=4).rule(hearing(IDLE)).operations) == [IDLE]


@pytest.mark.parametrize(("n", "k", "gain"), [(60, 2, 0.05), (100, 2, 0.0), (100, 4, 0.05), (40, 2, -0.1)])
def test_the_power_that_is_said_beforehand_is_the_share_that_passes(n, k, gain):
    def chance(library: ExperienceLibrary) -> float:
        return 2 / 3 + gain * bool(library.experiences)

    gate = held(n, k=k, looks=1)
    passed = sum(
        bool(gate.rule(hearing(IDLE, evaluator=FakeEvaluator(chance, seed))).operations) for seed in range(150)
    )
    assert abs(passed / 150 - gate.power(gain)) < 0.12


def test_the_power_is_a_sentence():
    said = held(100).power_text()
    assert said == (
        "the gate, with 100 problems and k=2, lets an update pass: one that gains 0.05 in 89%, one that changes "
        "nothing in 56%, one that loses 0.1 in 3% of cases"
    )


def test_a_gate_that_lets_little_pass_is_warned_of_before_the_run(caplog):
    with caplog.at_level(logging.WARNING, "tfgrpo_dspy"):
        powers(held(160, k=4))
        assert not caplog.text
        powers(held(20))
    assert "with 20 problems and k=2, lets an update pass" in caplog.text


def test_lost_rollouts_count_against_whoever_would_profit():
    class Losing(FakeEvaluator):
        """Loses the wrong answers of what has a library."""

        def try_out(self, libraries, examples, *, purpose, step, k):
            before, after = super().try_out(libraries, examples, purpose=purpose, step=step, k=k)
            return [before, after._replace(rewards=[[r for r in row if r == 1.0] for row in after.rewards])]

    evaluator = Losing(lambda library: 0.5)
    (trial,) = held(100, margin=0.0).rule(hearing(IDLE, evaluator=evaluator)).trials
    assert trial.difference.low > 0, "as if it were better"
    assert trial.verdict == "not shown"


def test_a_worse_library_enters_in_no_more_than_alpha_of_the_steps_however_often_it_is_looked_at():
    def worse_by_the_margin(library: ExperienceLibrary) -> float:
        return 0.5 if library.experiences else 0.6

    gate = held(30, k=1, alpha=0.1, looks=10)
    wrong = sum(
        bool(
            gate.rule(
                hearing(RIGHT, WRONG, IDLE, "When so, so.", evaluator=FakeEvaluator(worse_by_the_margin, seed))
            ).operations
        )
        for seed in range(150)
    )
    assert wrong <= 0.1 * 150


def test_no_trial_is_answered_from_the_rollouts_of_another():
    evaluator = FakeEvaluator()
    for step in (1, 2):
        held().rule(hearing(WRONG, IDLE, WRONG + " Now.", IDLE + " Or not.", evaluator=evaluator, step=step))
    assert len(set(evaluator.purposes)) == len(evaluator.purposes) >= 2


def test_a_trial_that_the_budget_did_not_allow_keeps_the_library():
    ruling = held().rule(hearing(RIGHT, IDLE, evaluator=FakeEvaluator(whole=False)))
    assert ruling.operations == ()
    assert [trial.verdict for trial in ruling.trials] == ["not measured"], "and nothing more is tried"


def test_operations_that_change_nothing_are_left_to_the_library_to_refuse():
    evaluator = FakeEvaluator()
    ruling = held().rule(replace(hearing(evaluator=evaluator), operations=(Delete(id="G9"),)))
    assert ruling.operations == (Delete(id="G9"),)
    assert evaluator.purposes == []


def test_rewards_beyond_the_bounds_widen_the_bet_rather_than_end_the_run():
    class Tenfold(FakeEvaluator):
        def _rewards(self, chance, questions, k):
            return [[10 * r for r in row] for row in super()._rewards(chance, questions, k)]

    assert texts(held().rule(hearing(RIGHT, evaluator=Tenfold())).operations) == [RIGHT]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"k": 0}, "k of Holdout"),
        ({"alpha": 1.5}, "alpha"),
        ({"margin": 1.0}, "margin"),
        ({"bounds": (1.0, 0.0)}, "bounds"),
        ({"looks": 0}, "looks"),
    ],
)
def test_a_holdout_that_cannot_work_says_what_to_mend(wrong, said):
    with pytest.raises(SettingsError, match=said):
        held(**wrong)


# --- several gates ---


class Refuse:
    """Refuses texts that hold a word."""

    def __init__(self, word: str) -> None:
        self.word = word

    def rule(self, hearing: Hearing) -> Ruling:
        passed = tuple(o for o in hearing.operations if self.word not in o.text)
        refused = tuple(Refusal(o, f"it says {self.word}") for o in hearing.operations if self.word in o.text)
        return Ruling(passed, refused, usage=Usage(1))


def test_gates_compose_and_each_rules_on_what_the_ones_before_let_pass():
    ruling = All((Refuse("blue"), Refuse("green"))).rule(hearing(RIGHT, WRONG, IDLE))
    assert texts(ruling.operations) == [RIGHT]
    assert [r.reason for r in ruling.refusals] == ["it says blue", "it says green"]
    assert ruling.usage.lm_calls == 2
    assert All((Refuse("When"), Refuse("x"))).rule(hearing(RIGHT)).usage.lm_calls == 1, "nothing was left to ask about"


def test_a_gate_that_is_none_is_refused_before_anything_is_paid():
    with pytest.raises(SettingsError, match="gate must be"):
        TrainingFreeGRPO(exact, gate="holdout")
    with pytest.raises(SettingsError, match="gate must be"):
        TrainingFreeGRPO(exact, gate=Refuse)
    assert check_gate(None) is None
    gates = Refuse("a"), Refuse("b")
    assert check_gate(gates) == All(gates)


# --- in a run ---


def answer(asked: Asked) -> Mapping[str, Any]:
    chance = by_text(ExperienceLibrary.from_texts([asked.system]))
    return dict.fromkeys(asked.outputs, "because") | {"answer": int(asked.draw().random() < chance)}


def update(*texts: str) -> Mapping[str, Any]:
    every = [f"A{i}" for i in range(4)]
    return {"operations": [{"op": "add", "text": text, "sources": every, "reason": "it won"} for text in texts]}


def learned(proposed: Mapping[str, Any], *, compiled: Mapping[str, Any] | None = None, engine=None, **settings):
    engine = engine or Engine(script(policy=answer, update=proposed))
    given = {"epochs": 1, "group_size": 4, "update": "batch", "num_threads": 2, "display_progress": False, **settings}
    with dspy.context(lm=engine.lm()):
        optimizer = TrainingFreeGRPO(exact, **given)
        return optimizer.compile(dspy.Predict("question -> answer"), examples(4), **(compiled or {}))


def test_a_run_refuses_what_its_gate_refuses_and_records_why_and_at_what_cost():
    engine = Engine(script(policy=answer, update=update(RIGHT, WRONG)))
    program = learned({}, engine=engine, gate=[Refuse("blue"), Holdout(examples(120), k=2)])
    result = program.detailed_results
    (record,) = result.steps
    assert [e.text for e in program.experience_library] == [RIGHT]
    assert [r.operation.text for r in record.refusals] == [WRONG]
    assert record.refusals[0].reason.startswith("the gate refused it: ")
    made = sum(trial.rollouts for trial in record.trials)
    assert record.gate_usage.lm_calls == made + 1, "what Refuse says that it took"
    assert result.usage.lm_calls == len(engine.asked) + 1
    assert made <= gate_rollouts(Holdout(examples(120), k=2))[1]
    numbers = step_metrics(record, Settings())
    assert numbers["gate/trials"] == len(record.trials)
    assert numbers["gate/refused"] == 1
    assert list(history_of(result))[-1].refusals == record.refusals


def test_a_gated_run_that_was_cut_off_ends_in_the_same_library_and_pays_for_nothing_twice(tmp_path):
    gate, proposed = Holdout(examples(40), k=1), update(RIGHT, IDLE)
    whole = Engine(script(policy=answer, update=proposed))
    once = learned({}, engine=whole, gate=gate)
    cut, rest = (Engine(script(policy=answer, update=proposed)) for _ in range(2))
    learned({}, engine=cut, gate=gate, log_dir=tmp_path, budget=Budget(max_lm_calls=60))
    again = learned({}, engine=rest, gate=gate, log_dir=tmp_path)
    assert dump_library(again.experience_library) == dump_library(once.experience_library)
    assert cut.calls + rest.calls == whole.calls


def test_a_required_gain_that_does_not_show_returns_the_untouched_student(caplog):
    with caplog.at_level(logging.WARNING, "tfgrpo_dspy"):
        valset = {"valset": examples(20), "require_gain": True}
        start = ExperienceLibrary.from_texts(["When asked, answer."])
        program = learned(update(IDLE), compiled=valset, library=start, validation_rollouts=2)
    result = program.detailed_results
    assert program.experience_library.experiences == start.experiences
    assert result.gain.withheld
    assert "the student is returned as it was" in caplog.text
    assert history_of(result).library.experiences == start.experiences
    assert program.experience_library.next_id == 2, "ids are never used again"


def test_a_gain_that_shows_on_fresh_rollouts_is_returned_with_its_interval():
    engine = Engine(script(policy=answer, update=update(RIGHT)))
    program = learned({}, engine=engine, gate=Holdout(examples(160)), compiled={"require_gain": True})
    gain = program.detailed_results.gain
    assert [e.text for e in program.experience_library] == [RIGHT]
    assert (gain.withheld, gain.difference.verdict) == ("", "better")
    assert program.detailed_results.usage.lm_calls == len(engine.asked)
    assert gain.usage.lm_calls == gain_rollouts(Settings(), Holdout(examples(80)), examples(80)) == 320
    assert gain.difference.n == 80, "the half that did not rule on updates"
    assert final_metrics(program.detailed_results)["heldout/gain_low"] > 0


def test_a_required_gain_needs_something_to_measure_it_on():
    with pytest.raises(SettingsError, match="`require_gain` needs"):
        learned(update(RIGHT), compiled={"require_gain": True})


def test_patience_ends_a_run_whose_reward_does_not_rise_whatever_becomes_of_its_texts():
    def always_another(asked: Asked):
        text = f"When asked {len(asked.field('experiences'))} times, wait."
        return {"operations": [{"op": "add", "text": text, "reason": "Why not.", "sources": ["A0"]}]}

    program = learned(always_another, epochs=6, patience=2)
    result = program.detailed_results
    assert len(result.steps) < 6
    assert len(program.experience_library) > 1
    assert "patience=2" in result.stopped_by
    assert epochs_without_progress(result.steps, None) == 2


# --- the weak model (a small benchmarks/gate.py) ---


def test_a_weak_model_loses_by_the_papers_rule_and_not_through_the_gate():
    sizes = Sizes(train=16, gate=24, test=60)
    made = {rule: [weak_run(rule, seed, sizes).gain.difference.value for seed in (1, 7)] for rule in ("paper", "gate")}
    assert sum(made["paper"]) / 2 < -0.03
    assert min(made["gate"]) >= 0
