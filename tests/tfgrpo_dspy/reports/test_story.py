"""A run's story, and what a page, a terminal and MLflow make of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tfgrpo_dspy.made_events import MadeRun
from tfgrpo_dspy import Add, Failure, Modify, Refusal, compare
from tfgrpo_dspy.library.experience import Experience, Provenance, Source
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records import wording
from tfgrpo_dspy.records.ended import Ended
from tfgrpo_dspy.records.evaluation import Gain
from tfgrpo_dspy.records.result import StepRecord
from tfgrpo_dspy.records.rollouts import Lost
from tfgrpo_dspy.reports.learnable import why_little_was_learnable
from tfgrpo_dspy.reports.markdown import render_report, with_gain
from tfgrpo_dspy.reports.story import Story, Told, gain_section, story_of
from tfgrpo_dspy.reports.verdict import verdict_of
from tfgrpo_dspy.statistics.estimates import Difference

TOLD = Told("my_module:program", "train.jsonl", "exact")
NO_GAIN = Gain(Difference(0.01, -0.02, 0.04, 0.5, 30), "a gain was required, and what was learned is not better")


def a_story(told: Told = TOLD, **more) -> Story:
    run = MadeRun(**more)
    return story_of(run.result, run.start, told)


def told_of(told: Told = TOLD, **changed) -> str:
    """The report of a made run whose result is changed."""
    run = MadeRun()
    return render_report(story_of(replace(run.result, **changed), run.start, told))


def test_a_report_tells_the_whole_story():
    report = render_report(a_story())
    for part in (
        "# Training-Free GRPO of my_module:program",
        "Simulated LM",
        "8 examples of train.jsonl, in 44 s",
        "## What was run",
        "## Steps",
        "| step | mean reward [95% interval] |",
        "## Library: 3 experiences",
        "## Cost",
        "did best on the validation examples",
    ):
        assert part in report
    assert "early" not in report


def test_a_result_alone_has_a_story():
    report = render_report(story_of(MadeRun().result))
    assert "# Training-Free GRPO of a program" in report
    assert "## Steps" in report


def test_a_report_of_real_models_says_nothing_of_a_simulation():
    assert "imulated" not in render_report(a_story(lms={"policy": "openai/x", "reflection": "openai/y"}))


@pytest.mark.parametrize(("cost", "said"), [(None, "| unknown |"), (0.25, "$")])
def test_an_unknown_cost_is_said_to_be_unknown(cost, said):
    assert said in render_report(a_story(cost=cost)).partition("## Cost")[2]


def test_each_stage_has_its_cost_and_the_stages_add_up():
    rows = [line.split("|")[1:3] for line in render_report(a_story()).partition("## Cost")[2].splitlines()[4:8]]
    calls = {stage.strip(): int(number) for stage, number in rows}
    assert calls == {"rollouts": 120, "reflection": 36, "validation": 160, "total": 316}


def test_why_a_run_stopped_comes_first_and_without_credentials():
    run = MadeRun(steps=2)
    told = replace(TOLD, why="401 for Bearer sk-abcdefgh12345 at anna:sesame@host; check the key")
    ended = Ended("error", "LMAuthError: 401", 2, 3, "one more of 3 steps")
    story = story_of(replace(run.result, ended=ended), replace(run.start, steps=3), told)
    report = render_report(story)
    assert report.split("\n\n")[2].startswith("Stopped by an error after step 2 of 3. 401 for ")
    assert "check the key" in report
    assert "after 2 of 3 steps" in report
    assert "sk-abcdefgh12345" not in report
    assert "sesame" not in report


def test_a_limit_that_ended_a_run_is_the_first_thing_said():
    run = MadeRun()
    ended = Ended("limit", "max_lm_calls=60: 40 calls were made", 1, 3, "2 more of 3 steps", "9 results, in log")
    story = story_of(replace(run.result, ended=ended), run.start, replace(TOLD, command="tfgrpo compile --x 120"))
    assert story.ending[0] == (
        "Stopped by max_lm_calls=60 after step 1 of 3. max_lm_calls=60: 40 calls were made. Not done: 2 more of 3 "
        "steps. Kept: 9 results, in log. To go on, raise the limit and run the same again: tfgrpo compile --x 120"
    )
    assert render_report(story).split("\n\n")[2].startswith("Stopped by max")


def test_refusals_losses_and_failures_are_listed():
    record = MadeRun().records[0]
    refusals = tuple(Refusal(Add(text=f"Tip | {i}"), "the text is *empty*") for i in range(50))
    refusals += (Refusal(Modify(id="G9", text="New."), "there is no G9"),)
    failure = Failure("extraction", "s1/e2", "no JSON", "carried to the next step")
    lost = replace(record.groups[0], rollouts=(Lost("s1/e0/r0", "infrastructure", "timeout", Usage(), 1.0),))
    record = replace(record, refusals=refusals, failures=(failure,), groups=(lost, *record.groups[1:]))
    unused = Failure("update", "s3", "its update failed", "no step was left to use it")
    report = told_of(steps=(record,), unused=(unused,))
    assert r"| 1 | add |  | refused: the text is \*empty\* | Tip \| 0 |" in report
    assert "And 11 more." in report
    assert "| extraction | s1/e2 | no JSON | carried to the next step |" in report
    assert "| update | s3 |" in report
    assert "Lost rollouts, never scored: 2 infrastructure; the first: timeout" in report


def test_settings_that_are_not_the_usual_ones_are_all_shown():
    run = MadeRun()
    more = {"max_experiences": 9, "max_library_tokens": 300, "library": run.result.library, "batch_size": 4}
    started = replace(run.start, settings=replace(run.settings, **more))
    report = render_report(story_of(run.result, started, replace(TOLD, recorded="run 1")))
    assert "max_experiences=9, max_library_tokens=300" in report
    assert "| started from | 3 experiences |" in report
    assert "x 4 |" in report
    assert "| MLflow | run 1 |" in report


def test_a_gain_replaces_the_verdict_that_was_there():
    run = MadeRun()
    gain = compare(run.evaluation(0), run.evaluation(2))
    report = told_of(replace(TOLD, gain=gain))
    assert report.count("## Did it help?") == 1
    assert report.index("## Did it help?") < report.index("## What was run")
    again = with_gain(report, gain_section(gain, "On other.jsonl:"))
    assert again.count("## Did it help?") == 1
    assert "On other.jsonl:" in again
    assert again.endswith(report.partition("## What was run")[2])


def test_a_gain_is_one_honest_sentence():
    run = MadeRun()
    same = compare(run.evaluation(0), run.evaluation(0))
    assert "not distinguishable" in wording.gain_text(same.difference)
    for verdict, (low, high) in {"better": (0.1, 0.3), "worse": (-0.3, -0.1)}.items():
        value = (low + high) / 2
        difference = replace(same.difference, value=value, low=low, high=high, p_value=1e-9)
        text = wording.gain_text(difference)
        assert text == f"{value:+.3f} [{low:+.3f}, {high:+.3f}], p < 0.0001, paired over 8 questions: {verdict}"


def test_an_evaluation_that_a_limit_cut_short_says_so():
    run = MadeRun()
    cut = replace(run.evaluation(0), stopped_by="max_lm_calls=9")
    told = gain_section(compare(cut, run.evaluation(2)))
    assert "The bare program was not evaluated to the end: max_lm_calls=9." in told.blocks


def steps_with(*rewards: tuple[float, ...]) -> tuple[StepRecord, ...]:
    """A step of groups with these rewards."""
    record = MadeRun(steps=1, queries=1).records[0]
    (group,) = record.groups
    made = [
        replace(
            group,
            rollouts=tuple(
                replace(group.scored[0], reward=r, policy_failure=None, trajectory=f"way {i}")
                for i, r in enumerate(each)
            ),
        )
        for each in rewards
    ]
    return (replace(record, groups=tuple(made)),)


@pytest.mark.parametrize(
    ("rewards", "said"),
    [
        ([(1.0, 1.0)] * 9 + [(0.0, 0.0)], "take harder ones"),
        ([(1.0, 1.0)] + [(0.0, 0.0)] * 9, "take easier ones"),
        ([(1.0,)] * 9, "a group size of 2"),
        ([(0.0, 0.0)] * 3 + [(0.5, 0.5)] * 6, "No group was informative (3 with all rollouts wrong, 6 with rewards o"),
        ([(0.0, 1.0)] + [(1.0, 1.0)] * 99, "Only 1 of 100 groups were informative"),
    ],
)
def test_little_to_learn_from_is_said_with_its_reason(rewards, said):
    assert said in why_little_was_learnable(steps_with(*rewards), 1e-9)


@pytest.mark.parametrize("rewards", [[(0.0, 1.0)] + [(1.0, 1.0)] * 9, []])
def test_enough_to_learn_from_needs_no_word(rewards):
    assert why_little_was_learnable(steps_with(*rewards), 1e-9) == ""


def test_the_choice_among_libraries_is_told():
    assert "No step did better" in told_of(best_step=0)
    assert "on the validation examples" not in render_report(a_story(validated=False))


def test_where_an_experience_came_from_is_one_line():
    sources = tuple(Source(f"e{i}") for i in range(9))
    learned = Experience("G1", "x", True, "act", Provenance("updater", 1, 3, "it won", sources))
    assert wording.origin_text(learned) == (
        "learned in step 1, changed in step 3, from e0, e1, e2, e3, e4, e5 and 3 more, pinned, only for act: it won"
    )
    assert wording.origin_text(Experience("G2", "x")) == "written by a person"


def test_lost_rollouts_are_counted_by_cause():
    assert wording.lost_text({"metric": 1, "infrastructure": 3}) == "3 infrastructure, 1 metric"
    assert wording.lost_text({}) == ""


# Whether it helped


def test_without_anything_held_out_nothing_is_called_better():
    assert verdict_of(MadeRun(validated=False).result).startswith("Not measured")


def test_what_is_not_better_is_not_called_better():
    said = verdict_of(replace(MadeRun().result, gain=NO_GAIN))
    assert said.startswith("Not shown to be better")
    assert "+0.010 [-0.020, +0.040]" in said
    gain = Gain(Difference(0.1, 0.05, 0.15, 0.001, 30), "")
    assert verdict_of(replace(MadeRun().result, gain=gain)).startswith("Better: +0.100")


def test_no_gain_is_told_on_examples_that_chose_the_step():
    said = verdict_of(replace(MadeRun().result, best_step=2))
    assert said.startswith("Not measured: ")
    assert "they flatter what they chose" in said
