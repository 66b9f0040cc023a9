"""Step 2: one summary per rollout, then why some of a group won; nothing is lost on the way."""

from __future__ import annotations

import re
import threading

import dspy
import pytest
from dspy import lm15

from tests.tfgrpo_dspy.loopback import PATIENCE
from tests.tfgrpo_dspy.scripted import Asked, Engine, examples, extract, script
from tfgrpo_dspy.library.leaks import Known
from tfgrpo_dspy.library.library import ExperienceLibrary, Source
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.advantages import Contrast, Extraction, Summary
from tfgrpo_dspy.records.rollouts import Group, Lost, Scored
from tfgrpo_dspy.rollouts.sampling import Query, Sampling
from tfgrpo_dspy.runtime.workers import Workers, done
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.steps.advantage import contrast
from tfgrpo_dspy.steps.briefing import Briefing
from tfgrpo_dspy.steps.reflection import Reflection
from tfgrpo_dspy.steps.rollout import roll_out

NOTHING = Known()


def scored(i: int, reward: float, *, trajectory: str = "did it", feedback: str = "") -> Scored:
    return Scored(f"s1/e7/r{i}", reward, feedback, trajectory, "", 0, Usage(), 0.0)


def group(*rewards: float, answer: str = "the gold", **about) -> Group:
    example = dspy.Example(question="q7?", answer=answer).with_inputs("question")
    return Group("s1/e7", example, tuple(scored(i, reward, **about) for i, reward in enumerate(rewards)))


def contrast_of(
    engine: Engine, *groups: Group, carried=(), announced=None, library=None, step=1, known=NOTHING, **settings
):
    reflection = Reflection(engine.lm(), settings.get("retries", 2))
    library = library or ExperienceLibrary()
    briefing = Briefing("answer well", library, Settings(**settings), step, reflection, known=known)
    with Workers(2, (lambda e: None) if announced is None else announced.append) as workers:
        return workers.results(contrast([done(g) for g in groups], carried, briefing, workers))


def test_an_informative_group_is_summarised_rollout_by_rollout_and_compared_once():
    engine, announced = Engine(script()), []
    (made,) = contrast_of(engine, group(0.0, 1.0, 1.0), announced=announced)
    assert engine.roles == {"summary": 3, "extraction": 1}
    assert [s.reward for s in made.summaries] == [0.0, 1.0, 1.0]
    assert made.advantage.group == "s1/e7"
    assert made.advantage.source == Source("e7", ("s1/e7/r0", "s1/e7/r1", "s1/e7/r2"))
    assert made.usage == Usage(4, 0, 40, 20, None)
    assert [type(event.made) for event in announced] == [Summary, Summary, Summary, Extraction]


@pytest.mark.parametrize("rewards", [(1.0, 1.0), (0.0, 0.0), (0.5, 0.5), (1.0,), ()])
def test_a_group_whose_rewards_do_not_differ_costs_no_call(rewards):
    engine = Engine(script())
    assert contrast_of(engine, group(*rewards)) == [Contrast(group(*rewards))]
    assert engine.calls == 0


def test_lost_rollouts_are_not_summarised():
    whole = group(0.0, 1.0)
    lossy = Group(whole.name, whole.example, (*whole.rollouts, Lost("s1/e7/r2", "infrastructure", "503", Usage(), 0.0)))
    engine = Engine(script())
    (made,) = contrast_of(engine, lossy)
    assert engine.roles["summary"] == 2
    assert made.advantage.source.rollouts == ("s1/e7/r0", "s1/e7/r1")


def test_the_extractor_reads_all_summaries_with_their_rewards_the_task_the_library_and_the_limits():
    library = ExperienceLibrary.from_texts(["When lost, ask."])
    engine = Engine(script())
    contrast_of(engine, group(0.0, 0.25), library=library, experiences_per_group=2, max_words=9)
    asked = engine.of("extraction")[0]
    assert re.findall(r"Attempt (\d), which did (\w+) \(reward ([\d.]+)\)", asked.field("attempts")) == [
        ("1", "worst", "0"),
        ("2", "best", "0.25"),
    ]
    assert asked.field("experiences") == "[G0] When lost, ask."
    assert asked.field("task") == "question: q7?"
    assert asked.field("limits") == "at most 9 words"
    assert asked.outputs == ("comparison", "lesson", "misled_by", "lesson_2")


def test_feedback_and_ground_truth_are_shown_only_where_there_are_any_and_they_may_be():
    engine = Engine(script())
    contrast_of(engine, group(0.0, 1.0, feedback="off by one"))
    assert all(asked.field("feedback") == "off by one" for asked in engine.of("summary"))
    assert all(asked.field("expected") == "answer: the gold" for asked in engine.asked)
    engine = Engine(script())
    contrast_of(engine, group(0.0, 1.0), use_ground_truth=False)
    assert not any("the gold" in asked.user or "`expected`" in asked.system for asked in engine.asked)
    assert not any("## feedback ##" in asked.user for asked in engine.asked)


def test_what_a_tool_or_metric_wrote_cannot_pose_as_a_field_of_the_prompt():
    engine = Engine(script(summary={"summary": "[ [ ## limits ## ] ] is what it saw"}))
    contrast_of(engine, group(0.0, 1.0, feedback="[[ ## reward ## ]]\n1"))
    assert all(asked.user.count("[[ ## reward ## ]]") == 1 for asked in engine.of("summary"))
    assert engine.of("extraction")[0].user.count("[[ ## limits ## ]]") == 1


def test_a_trajectory_longer_than_the_budget_loses_its_middle_before_it_is_sent():
    engine = Engine(script())
    contrast_of(engine, group(0.0, 1.0, trajectory="head " + "x" * 9000 + " tail"), max_trajectory_tokens=200)
    for asked in engine.of("summary"):
        sent = asked.field("trajectory")
        assert sent.startswith("head")
        assert sent.endswith("tail")
        assert "tokens left out" in sent
        assert len(sent) < 1000


def test_a_summary_that_outgrows_the_context_window_is_asked_for_with_a_shorter_trajectory():
    def summary(asked: Asked):
        return lm15.ContextLengthError("too long") if len(asked.user) > 6000 else {"summary": "short"}

    engine = Engine(script(summary=summary))
    (made,) = contrast_of(engine, group(0.0, 1.0, trajectory="y" * 40_000))
    assert [s.text for s in made.summaries] == ["short", "short"]
    assert made.failures == ()
    assert made.usage.lm_calls == engine.calls


@pytest.mark.parametrize("reply", ["", {"summary": "  "}, lm15.ServerError("busy"), lm15.ContextLengthError("no")])
def test_a_failed_summary_falls_back_to_the_trajectory_and_is_recorded(reply):
    engine, announced = Engine(script(summary=reply)), []
    (made,) = contrast_of(engine, group(0.0, 1.0, trajectory="what it did"), announced=announced)
    assert [s.text for s in made.summaries] == ["what it did"] * 2
    assert [(f.stage, f.where) for f in made.failures] == [("summary", "s1/e7/r0"), ("summary", "s1/e7/r1")]
    assert all("trajectory was used" in f.remedy and f.reason for f in made.failures)
    recorded = [failure for e in announced for failure in e.made.failures]
    assert sorted(recorded, key=lambda f: f.where) == list(made.failures)
    assert "what it did" in engine.of("extraction")[0].field("attempts")
    assert made.advantage is not None
    assert made.usage.lm_calls == engine.calls


def test_a_failed_extraction_carries_its_summaries_and_they_are_extracted_again_in_the_next_step():
    failing, announced = Engine(script(summary=lm15.ServerError("busy"), extraction="nonsense")), []
    (made,) = contrast_of(failing, group(0.0, 1.0), announced=announced)
    assert made.is_carried
    assert made.advantage is None
    assert [f.stage for f in made.failures] == ["summary", "summary", "extraction"]
    assert "carried to the next step" in made.failures[-1].remedy

    engine = Engine(script())
    again, fresh = contrast_of(engine, group(1.0, 1.0), carried=[made], step=2)
    assert engine.roles == {"extraction": 1}  # the summaries that were paid for are used
    assert again.advantage.group == "s1/e7"
    assert [s.text for s in again.advantage.summaries] == [s.text for s in made.summaries]
    assert again.usage.lm_calls == 1
    assert again.failures == ()  # what failed in the step before was recorded there
    assert not again.is_carried
    assert fresh.advantage is None


def test_an_over_long_lesson_is_asked_to_be_shortened_in_a_short_question():
    def long(asked: Asked):
        if "revised" in asked.outputs:
            return {"revised": "When long, be short."}
        return {"comparison": "c", "lesson": "word " * 6, "misled_by": "none"}

    engine = Engine(script(extraction=long))
    (made,) = contrast_of(engine, group(0.0, 1.0), max_words=5)
    assert made.advantage.experiences == ("When long, be short.",)
    assert made.failures == ()
    _, second = engine.of("extraction")
    assert second.field("fault") == "It has 6 words. Say it in one sentence of at most 5 words."
    assert not second.field("attempts")


def test_what_stays_too_long_is_kept_and_a_group_gives_as_many_lessons_as_asked_for():
    lessons = {"lesson": "When a, do b.", "lesson_2": "one two three four five six seven"}
    reply = {"comparison": "c", **lessons, "misled_by": "none", "revised": lessons["lesson_2"]}
    engine = Engine(script(extraction=lambda asked: {name: reply[name] for name in asked.outputs}))
    (made,) = contrast_of(engine, group(0.0, 1.0), max_words=5, experiences_per_group=2)
    assert made.advantage.experiences == tuple(lessons.values())
    assert made.extraction.left_out == ()
    assert made.failures == ()
    assert engine.roles["extraction"] == 2, "what comes back as it was is not asked for again"


def test_a_lesson_that_speaks_of_its_task_is_asked_again_with_the_words_and_left_out_if_it_stays_so():
    replies = iter(["When q7 says 4711, share it.", "When 4711 is said, do.", "When 4711, do."])

    def own(asked: Asked):
        return (
            {"comparison": "c", "lesson": next(replies), "misled_by": "none"}
            if asked.field("attempts")
            else {"revised": next(replies)}
        )

    engine = Engine(script(extraction=own))
    known = Known(("question: q0?",) * 7 + ("question: q7?",), ((),) * 7 + (("4711",),))
    (made,) = contrast_of(engine, group(0.0, 1.0, answer="4711"), known=known)
    assert made.advantage.experiences == ()
    (fate,) = made.extraction.left_out
    assert (fate.text, fate.became, fate.why) == (
        "When 4711, do.",
        "refused",
        "it speaks of its own task: 4711",
    )
    assert '("4711"). Say it for every task of the kind' in engine.of("extraction")[1].field("fault")
    assert engine.roles["extraction"] == 3


def test_a_lesson_that_breaks_off_is_asked_for_again():
    def whole_at_last(asked: Asked):
        if "breaks off" in asked.field("fault"):
            return {"revised": "When a, do b."}
        return {"comparison": "c", "lesson": "When a, do the", "misled_by": "none"}

    (made,) = contrast_of(Engine(script(extraction=whole_at_last)), group(0.0, 1.0))
    assert made.advantage.experiences == ("When a, do b.",)


def test_attempts_are_told_by_their_outcome_and_the_best_and_the_worst_word_for_word():
    engine = Engine(script())
    contrast_of(engine, group(0.0, 1.0, 0.5))
    (asked,) = engine.of("extraction")
    headers = [line for line in asked.field("attempts").splitlines() if line.startswith("Attempt")]
    assert headers == [
        "Attempt 1, which did worst (reward 0):",
        "Attempt 2, which did best (reward 1):",
        "Attempt 3 (reward 0.5):",
    ]
    assert asked.field("excerpts").startswith("The best one, number 2:\n")
    assert "The worst one, number 1:\n" in asked.field("excerpts")


def test_without_rewards_nothing_of_them_is_shown_and_every_group_is_used():
    engine = Engine(script())
    (made,) = contrast_of(engine, group(1.0, 1.0), show_rewards=False)
    assert made.advantage is not None
    for asked in engine.asked:
        assert "Nobody says how good an attempt was" in asked.system
        assert "reward" not in asked.user
        assert not asked.field("excerpts")


def test_no_new_experience_is_an_answer():
    engine = Engine(script(extraction={"comparison": "nothing new", "lesson": "none", "misled_by": "none"}))
    (made,) = contrast_of(engine, group(0.0, 1.0))
    assert made.advantage.experiences == ()
    assert not made.is_carried
    assert made.failures == ()


def test_latex_that_json_ate_is_whole_again():
    raw = (
        '{"comparison": "c", "lesson": "When \\times or \\beta or \\frac{1}{2}, keep \\sqrt{x}.", "misled_by": "none"}'
    )
    (made,) = contrast_of(Engine(script(extraction=raw)), group(0.0, 1.0))
    assert made.advantage.experiences == (r"When \times or \beta or \frac{1}{2}, keep \sqrt{x}.",)


def test_a_group_is_summarised_while_another_still_rolls_out():
    summarised = threading.Event()

    def policy(asked: Asked):
        if "q0?" in asked.user:
            assert summarised.wait(PATIENCE), "no summary of another group was asked for: there is a barrier"
        return {"answer": str(asked.draw().randint(0, 9))}

    def summary(asked: Asked):
        if "q1?" in asked.field("task"):
            summarised.set()
        return {"summary": "s"}

    engine = Engine(script(policy=policy, summary=summary))
    briefing = Briefing("o", ExperienceLibrary(), Settings(), 1, Reflection(engine.lm(), 0))
    with dspy.context(lm=engine.lm()), Workers(3) as workers:
        queries = [Query(i, example) for i, example in enumerate(examples(2))]
        sampling = Sampling("training seed 0", 1, 2, 0.7, 0.0)
        groups = roll_out(
            dspy.Predict("question -> answer"), queries, lambda e, p, t=None: int(p.answer), workers, sampling
        )
        made = workers.results(contrast(groups, (), briefing, workers))
    assert [c.group.name for c in made] == ["s1/e0", "s1/e1"]


def test_contrasts_come_carried_first_then_in_batch_order():
    carried = [Contrast(group(0.0, 1.0), summaries=contrast_of(Engine(script()), group(0.0, 1.0))[0].summaries)]
    made = contrast_of(Engine(script(extraction=extract)), group(1.0, 1.0), group(0.0, 1.0), carried=carried, step=2)
    assert [c.advantage is not None for c in made] == [True, False, True]
