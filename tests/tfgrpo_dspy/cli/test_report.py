"""`report.md` and the figures that terminal and report share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tfgrpo_dspy.made_events import MadeRun
from tfgrpo_dspy import Add, Failure, Modify, Refusal, compare
from tfgrpo_dspy.library.library import Experience, Provenance, Source
from tfgrpo_dspy.lm.usage import Usage
from tfgrpo_dspy.records.rollouts import GroupCounts, Lost
from tfgrpo_dspy.reports import story as told
from tfgrpo_dspy.reports.markdown import gain_section, render_report, with_gain
from tfgrpo_dspy.reports.story import Story


def a_story(**more) -> Story:
    run = MadeRun(**more)
    return Story("my_module:program", "train.jsonl", "exact", run.start, run.result, 12.4)


def test_a_report_tells_the_whole_story():
    report = render_report(a_story())
    for part in (
        "# Training-Free GRPO of `my_module:program`",
        "Simulated LM",
        "8 examples of `train.jsonl`, in 12 s",
        "## What was run",
        "## Steps",
        "| step | mean reward [95% interval] |",
        "## Library",
        "## Cost",
        "did best on the validation examples",
    ):
        assert part in report
    assert "Stopped" not in report


def test_a_report_of_real_models_says_nothing_of_a_simulation():
    assert "imulated" not in render_report(a_story(lms={"policy": "openai/x", "reflection": "openai/y"}))


@pytest.mark.parametrize(("cost", "said"), [(None, "cost unknown"), (0.25, "$")])
def test_an_unknown_cost_is_said_to_be_unknown(cost, said):
    assert said in render_report(a_story(cost=cost)).partition("## Cost")[2]


def test_why_a_run_stopped_comes_first_and_without_credentials():
    story = replace(a_story(steps=2), stopped="401 for Bearer sk-abcdefgh12345 at anna:sesame@host")
    report = render_report(replace(story, started=replace(story.started, steps=3)))
    assert "**Stopped early:** 401" in report
    assert "after 2 of 3 steps" in report
    assert "sk-abcdefgh12345" not in report
    assert "sesame" not in report


def test_refusals_losses_and_failures_are_listed():
    story = a_story()
    record = story.result.steps[0]
    refusals = tuple(Refusal(Add(text=f"Tip | {i}"), "the text is *empty*") for i in range(50))
    refusals += (Refusal(Modify(id="G9", text="New."), "there is no G9"),)
    failure = Failure("extraction", "s1/e2", "no JSON", "carried to the next step")
    lost = replace(record.groups[0], rollouts=(Lost("s1/e0/r0", "infrastructure", "timeout", Usage(), 1.0),))
    record = replace(record, refusals=refusals, failures=(failure,), groups=(lost, *record.groups[1:]))
    unused = Failure("update", "s3", "its update failed", "no step was left to use it")
    report = render_report(replace(story, result=replace(story.result, steps=(record,), unused=(unused,))))
    assert r"| 1 | add Tip \| 0 | the text is \*empty\* |" in report
    assert "And 11 more" in report
    assert "- extraction of `s1/e2`: no JSON; carried to the next step" in report
    assert "- update of `s3`" in report
    assert "infrastructure" in report
    assert "- the first loss: " in report


def test_limits_and_a_library_to_start_from_are_settings_too():
    story = a_story()
    settings = replace(
        story.started.settings, max_experiences=9, max_library_tokens=300, library=story.result.library, batch_size=4
    )
    report = render_report(replace(story, started=replace(story.started, settings=settings), recorded="run 1"))
    assert "32 words an experience, 9 experiences, 300 tokens" in report
    assert "| started from | " in report
    assert "x 4 |" in report
    assert "| MLflow | run 1 |" in report


def test_a_gain_replaces_the_one_that_was_there():
    run = MadeRun()
    gain = compare(run.evaluation(0), run.evaluation(2))
    report = render_report(replace(a_story(), gain=gain))
    assert report.count("## Gain on held-out questions") == 1
    assert report.index("## Gain") < report.index("## What was run")
    again = with_gain(report, gain_section(gain, "On `other.jsonl`:"))
    assert again.count("## Gain on held-out questions") == 1
    assert "On `other.jsonl`:" in again
    assert again.index("## Gain") < again.index("## What was run")
    assert again.endswith(report.partition("## What was run")[2])


def test_a_gain_is_one_honest_sentence():
    run = MadeRun()
    same = compare(run.evaluation(0), run.evaluation(0))
    assert "not distinguishable" in told.gain_text(same)
    for verdict, (low, high) in {"better": (0.1, 0.3), "worse": (-0.3, -0.1)}.items():
        value = (low + high) / 2
        difference = replace(same.difference, value=value, low=low, high=high, p_value=1e-9)
        text = told.gain_text(replace(same, difference=difference))
        assert text == f"{value:+.3f} [{low:+.3f}, {high:+.3f}], p < 0.0001, paired over 8 questions: {verdict}"


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (GroupCounts(0, 9, 1, 0, 0), "take harder ones"),
        (GroupCounts(0, 1, 9, 0, 0), "take easier ones"),
        (GroupCounts(0, 0, 0, 0, 9), "--group-size 2"),
        (GroupCounts(0, 0, 3, 6, 0), "No group was informative (3 with all rollouts wrong, 6 with rewards otherwise"),
        (GroupCounts(1, 99, 0, 0, 0), "Only 1 of 100 groups were informative"),
    ],
)
def test_little_to_learn_from_is_said_with_its_reason(counts, said):
    assert said in told.why_little_was_learnable(counts)


@pytest.mark.parametrize("counts", [GroupCounts(1, 9, 0, 0, 0), GroupCounts(0, 0, 0, 0, 0)])
def test_enough_to_learn_from_needs_no_word(counts):
    assert told.why_little_was_learnable(counts) == ""


def test_the_choice_among_libraries_is_told():
    story = a_story()
    assert "No step did better" in replace(story, result=replace(story.result, best_step=0)).choice
    assert a_story(validated=False).choice == ""
    assert "validation" not in a_story(validated=False).steps_table()[0]


def test_where_an_experience_came_from_is_one_line():
    sources = tuple(Source(f"e{i}") for i in range(9))
    learned = Experience("G1", "x", True, "act", Provenance("updater", 1, 3, "it won", sources))
    assert told.origin_text(learned) == (
        "learned in step 1, changed in step 3, from e0, e1, e2, e3, e4, e5 and 3 more, pinned, only for act: it won"
    )
    assert told.origin_text(Experience("G2", "x")) == "written by a person"


def test_lost_rollouts_are_counted_by_cause():
    assert told.lost_text({"metric": 1, "infrastructure": 3}) == "3 infrastructure, 1 metric"
    assert told.lost_text({}) == ""
