"""The loop: what compile promises to a DSPy user."""

from __future__ import annotations

import inspect
import random
import threading

import dspy
import pytest
from dspy import lm15
from dspy.utils.callback import BaseCallback

import tfgrpo_dspy
from tests.tfgrpo_dspy.scripted import Asked, Engine, exact, examples, labels, script
from tfgrpo_dspy import (
    ExperienceLibrary,
    ProgramError,
    RunStopped,
    SettingsError,
    TrainingFreeGRPO,
    library_of,
)
from tfgrpo_dspy.errors import DataError, RequestError, StoreError
from tfgrpo_dspy.library.file import dump_library
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.events import (
    EpochFinished,
    GroupFinished,
    ReflectionFinished,
    RolloutFinished,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
)
from tfgrpo_dspy.runtime.store import Store
from tfgrpo_dspy.teleprompter import TrainingFreeGRPO as FromModule

QA = "question -> answer"


def compiled(engine: Engine, *, count=4, lm=None, valset=None, program=None, metric=exact, trainset=None, **settings):
    given = {"epochs": 1, "group_size": 3, "num_threads": 1, "display_progress": False, **settings}
    with dspy.context(lm=lm or engine.lm()):
        optimizer = TrainingFreeGRPO(metric, **given)
        return optimizer.compile(program or dspy.ChainOfThought(QA), trainset or examples(count), valset=valset)


def right(asked: Asked):
    return dict.fromkeys(asked.outputs, "because") | {"answer": "1"}


# --- the contract with DSPy ---


def test_the_defaults_are_the_papers():
    defaults = {p.name: p.default for p in inspect.signature(TrainingFreeGRPO.__init__).parameters.values()}
    paper = {"epochs": 3, "batch_size": None, "group_size": 5, "temperature": 0.7, "max_words": 32}
    assert {name: defaults[name] for name in paper} == paper
    assert len(defaults["library"]) == 0
    params = TrainingFreeGRPO(exact).get_params()
    assert params == params | paper
    assert FromModule is tfgrpo_dspy.TrainingFreeGRPO


def test_compile_takes_the_trainset_by_position_and_by_keyword():
    engine = Engine(script())
    optimizer, program = TrainingFreeGRPO(exact, epochs=1, display_progress=False), dspy.Predict(QA)
    with dspy.context(lm=engine.lm()):
        by_position = optimizer.compile(program, examples(2))
        by_keyword = optimizer.compile(student=program, trainset=examples(2), valset=None, teacher=None)
    assert dump_library(by_position.experience_library) == dump_library(by_keyword.experience_library)


def test_the_returned_program_is_a_copy_that_reads_the_library():
    student = dspy.ChainOfThought(QA)
    before = student.dump_state()
    program = compiled(Engine(script()), program=student)
    assert program is not student
    assert student.dump_state() == before
    assert not hasattr(student, "experience_library")
    assert len(program.experience_library) > 0
    assert library_of(program) == program.experience_library == program.detailed_results.library
    assert all(e.text in program.predict.signature.instructions for e in program.experience_library)
    assert program._compiled is False
    assert [name for name, _ in program.named_predictors()] == ["predict"]
    engine = Engine(right)
    with dspy.context(lm=engine.lm()):
        assert program(question="q?").answer == "1"
    assert program.experience_library.experiences[0].text in engine.asked[0].system


def test_the_rollouts_of_a_step_read_the_library_of_the_step_before():
    engine = Engine(script())
    program = compiled(engine, epochs=2)
    first, second = program.detailed_results.steps
    policy = [asked.system for asked in engine.of("policy")]
    assert not any("experience-library" in system for system in policy[:12])
    assert all(first.library.experiences[0].text in system for system in policy[12:])
    assert len(second.library) > len(first.library)


def test_get_params_is_a_copy():
    optimizer = TrainingFreeGRPO(exact, seed=3)
    optimizer.get_params()["student"] = "added by autolog"
    assert "student" not in optimizer.get_params()
    assert "student" not in vars(optimizer)
    assert optimizer.get_params()["metric"] == "exact"


def test_a_teacher_is_refused():
    with dspy.context(lm=Engine(script()).lm()), pytest.raises(SettingsError, match="`teacher` must be `None`"):
        TrainingFreeGRPO(exact).compile(dspy.Predict(QA), examples(1), teacher=dspy.Predict(QA))


class Compiles(BaseCallback):
    def __init__(self):
        self.seen: list[tuple] = []

    def on_compile_start(self, call_id, instance, inputs):
        self.seen.append(("start", type(instance), len(inputs["trainset"])))

    def on_compile_end(self, call_id, outputs, exception=None):
        self.seen.append(("end", type(outputs), type(exception)))


def test_dspys_compile_callbacks_fire():
    callback, student = Compiles(), dspy.Predict(QA)
    with dspy.context(callbacks=[callback]):
        compiled(Engine(script()), program=student)
        with pytest.raises(RunStopped):
            compiled(Engine(lambda asked: lm15.AuthError("wrong key")), program=student)
    assert callback.seen == [
        ("start", TrainingFreeGRPO, 4),
        ("end", dspy.Predict, type(None)),
        ("start", TrainingFreeGRPO, 4),
        ("end", type(None), RunStopped),
    ]


@pytest.mark.parametrize("strategy", ["tfgrpo -> demos", "demos -> tfgrpo"])
def test_it_chains_with_other_optimizers_in_better_together(strategy):
    def helped(asked: Asked):  # the library makes the policy right, so it is the best on the valset
        return right(asked) if "experience-library" in asked.system else script()(asked)

    engine = Engine(script(policy=helped))
    optimizers = {
        "tfgrpo": TrainingFreeGRPO(exact, epochs=1, group_size=3, display_progress=False),
        "demos": dspy.BootstrapFewShot(exact, max_bootstrapped_demos=1, max_labeled_demos=1),
    }
    lm = engine.lm(seed=5)
    program = dspy.ChainOfThought(QA)
    program.set_lm(lm)
    with dspy.context(lm=lm):
        together = dspy.BetterTogether(metric=exact, **optimizers)
        best = together.compile(program, trainset=examples(6), valset=examples(3), strategy=strategy, seed=0)
    candidates = [c["program"] for c in best.candidate_programs if "tfgrpo" in c["strategy"]]
    assert candidates
    assert all(len(library_of(candidate)) > 0 for candidate in candidates)
    both = [c["program"] for c in best.candidate_programs if c["strategy"] == strategy]
    assert both[0].predictors()[0].demos


# --- plan and order ---


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({"epochs": 3}, [5, 5, 5]),
        ({"epochs": 2, "batch_size": 2}, [2, 2, 1, 2, 2, 1]),
        ({"epochs": 1, "batch_size": 9}, [5]),
    ],
)
def test_every_epoch_goes_through_the_trainset_once_in_batches(settings, sizes):
    program = compiled(Engine(script()), count=5, **settings)
    steps = program.detailed_results.steps
    assert [len(step.groups) for step in steps] == sizes
    assert [step.step for step in steps] == list(range(1, len(sizes) + 1))
    for epoch in range(1, settings["epochs"] + 1):
        questions = [g.example.question for s in steps if s.epoch == epoch for g in s.groups]
        assert sorted(questions) == [f"q{i}?" for i in range(5)]


def orders(**settings) -> list[list[str]]:
    steps = compiled(Engine(script()), count=8, **settings).detailed_results.steps
    epochs = sorted({s.epoch for s in steps})
    return [[g.example.question for s in steps if s.epoch == e for g in s.groups] for e in epochs]


def test_with_a_batch_size_each_epoch_is_shuffled_by_seed_and_without_it_is_not():
    first, second = orders(epochs=2, batch_size=2)
    assert first != second
    assert orders(epochs=2, batch_size=2) == [first, second]
    assert orders(epochs=2, batch_size=2, seed=1) != [first, second]
    assert orders(epochs=2) == [[f"q{i}?" for i in range(8)]] * 2


def test_events_come_in_order_and_in_the_callers_thread():
    events, threads = [], set()

    def observe(event):
        events.append(event)
        threads.add(threading.get_ident())

    program = compiled(Engine(script()), epochs=2, num_threads=4, valset=examples(2), observers=[observe])
    assert threads == {threading.get_ident()}
    frame = [e for e in events if isinstance(e, RunStarted | StepStarted | StepFinished | EpochFinished | RunFinished)]
    step = [StepStarted, StepFinished, EpochFinished]
    assert [type(e) for e in frame] == [RunStarted, *step, *step, RunFinished]
    started, finished = frame[0], frame[-1]
    assert (started.steps, started.rollouts, started.lms) == (
        2, 24, {"policy": "scripted/model", "reflection": "scripted/model"})  # fmt: skip
    assert finished.program is program
    assert finished.error is None
    for event, kinds in ((GroupFinished, 1), (ReflectionFinished, 2), (RolloutFinished, 1)):
        at = [i for i, e in enumerate(events) if isinstance(e, event)]
        assert len(at) >= kinds
        assert events.index(frame[0]) < at[0]
        assert at[-1] < events.index(finished)


# --- determinism, cache, cost ---


def test_the_same_seed_learns_the_same_library_byte_for_byte_with_1_and_with_32_threads():
    libraries = {
        dump_library(compiled(Engine(script()), count=12, epochs=2, batch_size=5, num_threads=n).experience_library)
        for n in (1, 3, 32)
    }
    assert len(libraries) == 1


def test_a_second_compile_with_the_same_seed_is_answered_by_the_cache():
    engine = Engine(script())
    lm = engine.lm(cache=True)
    first = compiled(engine, lm=lm, epochs=2, valset=examples(2))
    made = engine.calls
    again = compiled(engine, lm=lm, epochs=2, valset=examples(2), num_threads=8)
    assert engine.calls == made
    assert dump_library(again.experience_library) == dump_library(first.experience_library)
    taken, usage = first.detailed_results.usage, again.detailed_results.usage
    assert usage == Usage(
        taken.lm_calls,
        taken.lm_calls,
        spared_prompt_tokens=taken.prompt_tokens + taken.spared_prompt_tokens,
        spared_completion_tokens=taken.completion_tokens + taken.spared_completion_tokens,
    )
    compiled(engine, lm=lm, epochs=1, seed=1)
    assert engine.calls > made


def test_every_lm_call_of_the_run_is_in_its_usage():
    engine = Engine(script())
    results = compiled(engine, epochs=2, batch_size=2, valset=examples(2)).detailed_results
    assert results.usage == Usage(engine.calls, 0, 10 * engine.calls, 5 * engine.calls, None)
    assert sum(s.policy_usage.lm_calls for s in results.steps) == 24


def test_no_more_lm_calls_are_in_flight_than_threads():
    engine = Engine(script())
    compiled(engine, count=12, num_threads=3)
    assert engine.most_in_flight <= 3


def test_reflection_goes_to_its_own_lm_and_both_names_are_kept_with_the_library():
    policy, reflection = Engine(script()), Engine(script())
    program = compiled(policy, lm=policy.lm("scripted/small"), reflection_lm=reflection.lm("scripted/large"))
    assert set(policy.roles) == {"policy"}
    assert set(reflection.roles) == {"summary", "extraction", "update"}
    assert program.experience_library.learned_with == ("scripted/large", "scripted/small")


# --- learning ---


def test_what_was_learned_names_the_step_the_example_and_the_rollouts_it_came_from():
    program = compiled(Engine(script()))
    step = program.detailed_results.steps[0]
    drawn_from = {advantage.source: advantage for advantage in step.advantages}
    assert len(program.experience_library) == len(drawn_from)
    for experience in program.experience_library:
        provenance = experience.provenance
        (source,) = provenance.sources
        advantage = drawn_from[source]
        assert (provenance.author, provenance.created_step) == ("updater", 1)
        assert provenance.reason == advantage.comparison
        assert advantage.source.rollouts == tuple(s.rollout for s in advantage.summaries)


def test_uniform_groups_cost_no_reflection_call_and_the_library_stays_with_a_warning(caplog):
    engine = Engine(script(policy=right))
    start = ExperienceLibrary.from_texts(["When asked, answer."])
    program = compiled(engine, library=start)
    assert engine.roles == {"policy": 12}
    assert program.experience_library == start
    assert "No group was informative (4 with all rollouts right)" in caplog.text


def test_a_program_that_fails_in_every_rollout_of_a_step_ends_the_run():
    engine = Engine(script(policy="no fields"))
    with pytest.raises(RunStopped, match=r"no rollout of step 1 came through; 12 of 12: AdapterParseError") as caught:
        compiled(engine, program=dspy.Predict("question -> answer: int"), epochs=3)
    [step] = caught.value.result.steps
    assert all(rollout.policy_failure for group in step.groups for rollout in group.scored)
    assert {asked.role for asked in engine.asked} == {"policy"}


def test_a_library_to_start_from_is_read_from_the_first_step_and_its_ids_are_kept():
    engine = Engine(script())
    start = ExperienceLibrary.from_texts(["When asked, answer.", "When lost, ask."])
    program = compiled(engine, library=start)
    assert all("[G1] When lost, ask." in asked.system for asked in engine.of("policy"))
    assert [e.id for e in program.experience_library][:3] == ["G0", "G1", "G2"]
    assert program.detailed_results.initial_library == start


def test_a_library_attached_to_the_student_is_replaced():
    student = tfgrpo_dspy.attach(dspy.ChainOfThought(QA), ExperienceLibrary.from_texts(["When old, retire."]))
    engine = Engine(script())
    program = compiled(engine, program=student)
    assert not any("When old, retire." in asked.system for asked in engine.asked)
    assert "When old, retire." not in program.predict.signature.instructions


def test_pinned_experiences_survive_every_update():
    def destroy(asked: Asked):
        modify = {"op": "modify", "id": "G1", "text": "When b, c.", "sources": labels(asked)}
        return {"operations": [{"op": "delete", "id": "G0"}, modify]}

    start = ExperienceLibrary.from_texts(["When asked, answer.", "When lost, ask."]).pin("G0")
    program = compiled(Engine(script(update=destroy)), library=start, update="batch")
    assert [e.text for e in program.experience_library] == ["When asked, answer.", "When b, c."]
    assert [r.reason for r in program.detailed_results.steps[0].refusals] == ["G0 is pinned"]


def test_the_limits_hold_after_each_update_and_every_operation_is_either_a_change_or_a_refusal():
    program = compiled(Engine(script()), count=8, max_experiences=2)
    step = program.detailed_results.steps[0]
    assert len(program.experience_library) == 2
    assert len(step.changes) + len(step.refusals) == sum(len(a.experiences) for a in step.advantages)


def test_conditioned_names_the_predictors_that_read_the_library():
    class Two(dspy.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = dspy.Predict("question -> hint"), dspy.Predict("question, hint -> answer")

        def forward(self, question):
            return self.second(question=question, hint=self.first(question=question).hint)

    program = compiled(Engine(script()), program=Two(), conditioned=["second"])
    assert "experience-library" not in program.first.signature.instructions
    assert "experience-library" in program.second.signature.instructions


@pytest.mark.parametrize(
    "adapter", [dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter()], ids=lambda a: type(a).__name__
)
def test_it_learns_under_every_adapter(adapter):
    with dspy.context(adapter=adapter):
        program = compiled(
            Engine(script(summary={"summary": "s"}, update=adding_in_turn("When x, y."))), update="batch"
        )
    assert [e.text for e in program.experience_library] == ["When x, y."]


# --- validation ---


def on_validation(good_when: str, unless: str = "nothing of the kind"):
    """Right on the question `v?` exactly when the instructions hold a text, and not another; else a guess."""

    def policy(asked: Asked):
        if "v?" in asked.user:
            is_good = good_when in asked.system and unless not in asked.system
            return dict.fromkeys(asked.outputs, "b") | {"answer": "1" if is_good else "0"}
        return script()(asked)

    return policy


VAL = [dspy.Example(question="v?", answer="1").with_inputs("question")] * 8


LABELS = ["A0", "A1", "A2", "A3"]


def adding_in_turn(*texts):
    turns = iter(texts)
    return lambda asked: {"operations": [{"op": "add", "text": next(turns), "sources": labels(asked) or LABELS}]}


def test_with_a_valset_a_library_that_was_shown_to_be_better_than_the_last_is_returned():
    texts = "When red, stop at once.", "When green, go ahead now.", "When amber, slow right down."
    engine = Engine(script(policy=on_validation("When green", unless="When amber"), update=adding_in_turn(*texts)))
    program = compiled(engine, epochs=3, valset=VAL, update="batch")
    results = program.detailed_results
    assert results.initial_validation.mean.value == 0.0
    assert [s.validation.mean.value for s in results.steps] == [0.0, 1.0, 0.0]
    assert results.best_step == 2
    assert [e.text for e in program.experience_library] == list(texts[:2])


def test_with_a_valset_the_last_library_is_returned_unless_another_is_shown_to_be_better():
    texts = "When red, stop at once.", "When green, go ahead now.", "When amber, slow right down."
    engine = Engine(script(policy=on_validation("When green"), update=adding_in_turn(*texts)))
    results = compiled(engine, epochs=3, valset=VAL, update="batch").detailed_results
    assert [s.validation.mean.value for s in results.steps] == [0.0, 1.0, 1.0]
    assert results.best_step == 3


def test_when_the_initial_library_is_shown_to_be_better_that_one_is_returned():
    engine = Engine(
        script(policy=on_validation("When asked", unless="When red"), update=adding_in_turn("When red, stop."))
    )
    start = ExperienceLibrary.from_texts(["When asked, answer."])
    program = compiled(engine, valset=VAL, library=start, update="batch")
    assert program.detailed_results.best_step == 0
    assert program.experience_library.experiences == start.experiences
    assert program.experience_library.next_id == 2, "the id of what was tried is not used again"


def test_without_a_valset_the_last_library_is_returned():
    results = compiled(Engine(script()), epochs=2).detailed_results
    assert results.best_step is None
    assert results.initial_validation is None
    assert results.library == results.steps[-1].library


# --- nothing is lost ---


def failing_once(role: str):
    """A script in which the first request of one role is answered with nonsense."""
    reply, failures = script(), []

    def once(asked: Asked):
        if asked.role == role and not failures:
            failures.append(asked)
            return "nonsense"
        return reply(asked)

    return Engine(once)


def test_what_a_failed_extraction_leaves_is_extracted_in_the_next_step():
    results = compiled(failing_once("extraction"), epochs=2, retries=0).detailed_results
    first, second = results.steps
    failed = [f.where for f in first.failures]
    assert [f.stage for f in first.failures] == ["extraction"]
    assert failed[0] not in {a.group for a in first.advantages}
    assert second.advantages[0].group == failed[0]
    assert [g.name[:3] for g in second.groups] == ["s2/"] * 4
    assert (second.failures, results.unused) == ((), ())


def test_what_a_failed_update_leaves_is_in_the_next_steps_update():
    results = compiled(failing_once("update"), epochs=2, retries=0, update="batch").detailed_results
    first, second = results.steps
    assert [(f.stage, f.where) for f in first.failures] == [("update", "s1")]
    assert len(first.library) == 0
    assert second.advantages[: len(first.advantages)] == first.advantages
    assert len(second.changes) + len(second.refusals) == sum(len(a.experiences) for a in second.advantages)
    assert results.unused == ()


def test_what_remains_when_the_last_step_ends_is_said():
    results = compiled(Engine(script(extraction="nonsense")), epochs=2, retries=0, max_errors=99).detailed_results
    informative = {g.name for s in results.steps for g in s.groups if g.is_informative(1e-9)}
    assert {f.where for f in results.unused} == informative
    assert {f.stage for f in results.unused} == {"extraction"}
    assert all(f.remedy == "no step was left to use it" for f in results.unused)


def test_every_informative_group_ends_in_an_advantage_or_is_said_to_be_unused():
    def flaky(asked: Asked):
        shown = "".join(asked.field(name) for name in ("task", "reward", "attempts", "experiences"))
        nonsense = {"summary": " "} if asked.role == "summary" else "nonsense"
        return nonsense if random.Random(shown).random() < 0.3 else script()(asked)

    engine = Engine(script(summary=flaky, extraction=flaky))
    results = compiled(engine, count=10, epochs=3, retries=0, max_errors=999).detailed_results
    informative = {g.name for s in results.steps for g in s.groups if g.is_informative(1e-9)}
    advantages = [a.group for s in results.steps for a in s.advantages]
    assert len(advantages) == len(set(advantages))
    assert set(advantages) | {f.where for f in results.unused} == informative
    assert not set(advantages) & {f.where for f in results.unused}
    summaries = [f.where for s in results.steps for f in s.failures if f.stage == "summary"]
    assert len(summaries) == len(set(summaries)) > 0
    assert results.usage.lm_calls == engine.calls


# --- stopped ---


def test_a_wrong_key_stops_the_run_at_once_with_the_providers_message():
    engine, events = Engine(lambda asked: lm15.AuthError("the key sk-... is not valid")), []
    with pytest.raises(RunStopped, match=r"LMAuthError: .*the key sk-... is not valid") as caught:
        compiled(engine, count=50, num_threads=4, observers=[events.append])
    assert engine.calls <= 4
    assert "stopped after 0 of 1 steps" in str(caught.value)
    assert caught.value.result.steps == ()
    assert not any(isinstance(e, RolloutFinished) for e in events)
    assert isinstance(events[-1].error, RequestError)


def test_a_wrong_key_of_the_reflection_lm_stops_the_run_too():
    reflection = Engine(lambda asked: lm15.BillingError("no credit left"))
    with pytest.raises(RunStopped, match="no credit left"):
        compiled(Engine(script()), count=20, reflection_lm=reflection.lm())
    assert reflection.calls == 1


def test_too_many_losses_stop_the_run_with_a_summary_by_cause_and_what_was_learned():
    def breaks_later(asked: Asked):
        return lm15.ServerError("bad gateway") if "When" in asked.system and asked.role == "policy" else script()(asked)

    events = []
    with pytest.raises(RunStopped) as caught:
        compiled(Engine(breaks_later), count=8, epochs=3, max_errors=5, max_outage=None, observers=[events.append])
    message, result = str(caught.value), caught.value.result
    assert "stopped after 1 of 3 steps" in message
    assert "more than max_errors=5 examples went wrong (trainset[" in message
    assert "x rollout lost (infrastructure), first: LMServerError" in message
    assert "bad gateway" in message
    assert len(result.steps) == 1
    assert len(result.library) == len(result.steps[0].library) > 0
    assert f"({len(result.library)} experiences)" in message
    finished = events[-1]
    assert isinstance(finished, RunFinished)
    assert (finished.program, finished.result) == (None, result)


def test_as_many_losses_as_tolerated_do_not_stop_it():
    def once(asked: Asked):
        return lm15.ServerError("busy") if "q0?" in asked.user and asked.role == "policy" else script()(asked)

    results = compiled(Engine(once), max_errors=3).detailed_results
    assert len(results.steps[0].groups[0].lost) == 3


def test_an_experience_that_was_left_out_is_no_error_of_the_run():
    cut = {"comparison": "c", "lesson": "When a, do the", "misled_by": "none"}
    results = compiled(Engine(script(extraction=cut)), count=8, retries=0, max_errors=0).detailed_results
    assert results.steps[0].failures == ()
    assert {(fate.text, fate.became) for fate in results.steps[0].fates} == {("When a, do the", "refused")}
    assert len(results.library) == 0


def test_a_metric_that_always_raises_stops_the_run_and_says_so():
    with pytest.raises(RunStopped, match=r"12 of 12: the metric raised ZeroDivisionError.*; mend the metric"):
        compiled(Engine(script()), metric=lambda e, p, t=None: 1 / 0)


def test_a_valset_that_is_lost_altogether_stops_the_run_with_what_was_learned():
    def offline(asked: Asked):
        gone = "v?" in asked.user and "When" in asked.system
        return lm15.TransportError("connection refused") if gone else script()(asked)

    with pytest.raises(RunStopped) as caught:
        compiled(Engine(offline), valset=VAL, epochs=2, max_outage=None)
    assert len(caught.value.result.steps) == 1


def test_an_interrupt_announces_the_end_with_what_was_learned_and_passes_through():
    events = []

    def observe(event):
        events.append(event)
        if isinstance(event, StepStarted) and event.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compiled(Engine(script()), epochs=2, observers=[observe])
    finished = events[-1]
    assert isinstance(finished, RunFinished)
    assert isinstance(finished.error, KeyboardInterrupt)
    assert len(finished.result.steps) == 1
    assert len(finished.result.library) > 0


def test_nobody_else_has_a_run_before_its_end_was_told(tmp_path):
    refused = []

    def observe(event):
        if isinstance(event, RunFinished):
            with pytest.raises(StoreError, match="in use"), Store(tmp_path / "log"):
                pass
            refused.append(event)

    compiled(Engine(script()), log_dir=tmp_path / "log", observers=[observe])
    assert len(refused) == 1


def test_the_same_optimizer_can_compile_again_after_a_stop():
    engine = Engine(script())
    optimizer = TrainingFreeGRPO(exact, epochs=1, max_errors=2, display_progress=False)
    with dspy.context(lm=Engine(lambda asked: lm15.ServerError("busy")).lm()):
        for _ in range(2):
            with pytest.raises(RunStopped, match="max_errors=2 examples went wrong"):
                optimizer.compile(dspy.Predict(QA), examples(4))
    with dspy.context(lm=engine.lm()):
        assert optimizer.compile(dspy.Predict(QA), examples(4)).detailed_results.steps


# --- observers ---


def test_observers_that_fail_never_stop_the_run_and_are_reported():
    def broken(event):
        raise OSError("the disk is full")

    class Half:
        unrecorded = ("2 events are kept in out/pending.jsonl",)

        def __call__(self, event):
            pass

    seen = []
    program = compiled(Engine(script()), observers=[broken, Half(), seen.append])
    assert len(program.experience_library) > 0
    assert isinstance(seen[-1], RunFinished)
    assert program.detailed_results.unrecorded == (
        "broken failed at RunStarted: OSError: the disk is full",
        "2 events are kept in out/pending.jsonl",
    )


def test_when_everything_was_recorded_nothing_is_unrecorded():
    assert compiled(Engine(script()), observers=[lambda event: None]).detailed_results.unrecorded == ()


def test_an_observer_given_as_tracking_is_called_like_any_other():
    seen = []
    compiled(Engine(script()), tracking=seen.append)
    assert isinstance(seen[0], RunStarted)


# --- what cannot be used ---


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"epochs": 0}, "`epochs` must be a whole number >= 1, got 0: passes over the trainset"),
        ({"epochs": 1.5}, "`epochs` must be a whole number >= 1, got 1.5"),
        ({"batch_size": 0}, "`batch_size` must be a whole number >= 1 or `None`, got 0"),
        ({"group_size": True}, "`group_size` must be a whole number >= 1, got True"),
        ({"temperature": 0}, "`temperature` must be a number > 0 or `None`, got 0: at 0 the rollouts"),
        ({"temperature": float("nan")}, "`temperature` must be a number > 0"),
        ({"temperature": "hot"}, "`temperature` must be a number > 0"),
        ({"max_trajectory_tokens": 10}, "`max_trajectory_tokens` must be a whole number >= 200"),
        ({"tolerance": -1}, "`tolerance` must be a number >= 0"),
        ({"failure_score": float("inf")}, "`failure_score` must be a number, got inf"),
        ({"library": ["When a, b."]}, r"`library` must be an `ExperienceLibrary`, got .*: .*read_library"),
        ({"conditioned": "predict"}, r"`conditioned` must be a list of texts or `None`, got .*\['predict'\]"),
        ({"objective": 3}, "`objective` must be a text or `None`, got 3"),
        ({"seed": "0"}, "`seed` must be a whole number, got '0'"),
        ({"use_ground_truth": "no"}, "`use_ground_truth` must be `True` or `False`, got 'no'"),
        ({"trials": "all"}, "`trials` must be `True` or `False`, got 'all'"),
        ({"groups": 5}, "there is no setting 'groups'; did you mean `group_size`?"),
        ({"tracking": 5}, "`tracking` must be"),
        ({"observers": print}, "`observers` must be a sequence"),
        ({"observers": [1]}, "`observers` must be"),
        ({"gate": print}, "gate must be a Gate or several"),
        ({"review": "me"}, "`review` must be a function"),
        ({"reflection_lm": "openai/x"}, r"`reflection_lm` must be a `dspy\.LM\(\.\.\.\)`.*, got 'openai/x'"),
        ({"metric": "exact"}, "metric must be a function"),
    ],
)  # fmt: skip
def test_an_argument_that_cannot_be_used_is_one_sentence_before_any_call(arguments, sentence):
    engine = Engine(script())
    with pytest.raises(SettingsError, match=sentence):
        compiled(engine, **arguments)
    assert engine.calls == 0


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"trainset": []}, DataError, "the trainset is empty"),
        ({"trainset": [{"question": "q"}]}, DataError, r"trainset\[0\] is a dict; make examples of its rows"),
        ({"trainset": [dspy.Example(question="q")]}, DataError, r"trainset\[0\] has no inputs; call .with_inputs"),
        ({"trainset": examples(1), "valset": []}, DataError, "the valset is empty"),
        ({"trainset": examples(1), "num_threads": 0}, SettingsError, "`num_threads` must be"),
        ({"trainset": examples(1), "seed": 0.5}, SettingsError, "`seed` must be a whole number"),
        (
            {"student": dspy.Predict, "trainset": examples(1)},
            ProgramError,
            "the program must be a dspy.Module instance",
        ),
        ({"student": dspy.Module(), "trainset": examples(1)}, ProgramError, "has no predictor"),
    ],
)
def test_what_compile_cannot_use_is_one_sentence_before_any_call(arguments, error, sentence):
    engine = Engine(script())
    with dspy.context(lm=engine.lm()), pytest.raises(error, match=sentence):
        TrainingFreeGRPO(exact).compile(**{"student": dspy.Predict(QA), **arguments})
    assert engine.calls == 0


def test_an_unknown_predictor_is_refused_with_those_that_exist():
    with pytest.raises(SettingsError, match="conditioned names 'answer', but the program's predictors are: predict"):
        compiled(Engine(script()), conditioned=["answer"])


def test_without_an_lm_it_says_how_to_configure_one():
    with pytest.raises(SettingsError, match=r"no LM is configured: call dspy\.configure\(lm=dspy\.LM"):
        TrainingFreeGRPO(exact).compile(dspy.Predict(QA), examples(1))


def test_a_configured_lm_that_is_only_its_name_is_refused():
    with dspy.context(lm="openai/x"), pytest.raises(SettingsError, match=r"write dspy\.LM\('openai/x'\)"):
        TrainingFreeGRPO(exact, reflection_lm=Engine(script()).lm()).compile(dspy.Predict(QA), examples(1))


@pytest.mark.parametrize("required", [True, False])
def test_a_single_rollout_speaks_for_itself_only_where_no_contrast_is_required(required, caplog):
    program = compiled(Engine(script()), group_size=1, require_contrast=required)
    (step,) = program.detailed_results.steps
    assert [len(advantage.summaries) for advantage in step.advantages] == ([] if required else [1] * 4)
    assert ("No group was informative" in caplog.text) == required
