"""The progress display on a terminal and off it, drawn into strings."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from tests.tfgrpo_dspy.made_events import MadeRun
from tfgrpo_dspy.observers.progress import ProgressBar
from tfgrpo_dspy.records.advantages import Extraction
from tfgrpo_dspy.records.ended import Ended
from tfgrpo_dspy.records.events import ReflectionFinished, RolloutFinished, StepFinished
from tfgrpo_dspy.records.failures import Failure


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=220, color_system=None, legacy_windows=False)


def show(run: MadeRun, *, terminal: bool = False, error: BaseException | None = None) -> str:
    drawn = console(terminal=terminal)
    bar = ProgressBar(drawn)
    for event in run.events(error=error):
        bar(event)
    return drawn.file.getvalue()


def test_without_a_terminal_each_step_is_one_line():
    lines = show(MadeRun(steps=3)).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "Training-Free GRPO",
        "step 1/3",
        "step 2/3",
        "step 3/3",
        "Done",
    ]
    assert not [line for line in lines if "\x1b" in line]


def test_a_step_line_says_what_was_learned_and_what_it_took():
    run = MadeRun(steps=1, cost=0.01)
    line = run.records[0].to_text(run.settings.tolerance)
    parts = [part.strip() for part in line.split(";")]
    assert parts[0].startswith("reward 0.")
    assert parts[0].endswith("n=8")
    assert parts[1].endswith("/8 groups informative")
    assert parts[2:6] == ["1 lost", "1 failed", "2 added, 1 refused", "2 experiences"]
    assert parts[6].startswith("validation 0.")
    assert parts[7:] == ["47,840 tokens, $0.9200", "13.5 s"]


def test_an_unknown_cost_is_said():
    assert "cost unknown" in show(MadeRun(steps=1, cost=None))


@pytest.mark.parametrize(("lms", "said"), [(None, True), ({"policy": "openai/x", "reflection": "openai/y"}, False)])
def test_a_simulated_lm_is_named_as_such(lms, said):
    first = show(MadeRun(steps=1, lms=lms)).splitlines()[0]
    assert ("simulated LM" in first) is said
    assert "40 rollouts, 8 examples" in first


def test_markup_in_a_models_name_is_shown_as_it_is():
    lms = {"policy": "[bold]x[/bold]", "reflection": "[/red]"}
    assert "[bold]x[/bold] and [/red]" in show(MadeRun(steps=1, lms=lms))


def test_a_stopped_run_says_why_on_one_line():
    first, why, _ = show(MadeRun(steps=1), error=RuntimeError("no\ncredit")).splitlines()[-3:]
    assert first.startswith("Stopped by an error after step 1 of 1: 2 experiences")
    assert why == "  RuntimeError: no credit."


ENDED = Ended("limit", "max_lm_calls=60: 55 were made", 1, 3, "2 steps")


def test_a_run_that_a_limit_ended_is_not_called_done():
    drawn = console(terminal=False)
    bar = ProgressBar(drawn)
    *events, last = MadeRun(steps=1).events()
    for event in (*events, replace(last, result=replace(last.result, ended=ENDED))):
        bar(event)
    *_, first, why, left = drawn.file.getvalue().splitlines()
    assert first.startswith("Stopped by max_lm_calls=60 after step 1 of 3: 2 experiences")
    assert (why, left) == ("  max_lm_calls=60: 55 were made.", "  Not done: 2 steps.")


def test_on_a_terminal_the_bar_counts_rollouts_rewards_and_losses():
    drawn, run = console(terminal=True), MadeRun(steps=1, cost=None, validated=False)
    bar = ProgressBar(drawn)
    with bar:
        for event in run.events():
            if isinstance(event, StepFinished):
                break
            bar(event)
        bar._bars.refresh()
        text = drawn.file.getvalue()
    rewards = [r for g in run.records[0].groups for r in g.rewards]
    assert f"reward {sum(rewards) / len(rewards):.2f} ±" in text
    assert "40/40" in text
    assert "(n=39)" in text
    assert "1 lost" in text
    assert "/8 groups informative" in text
    assert "summaries" in text
    assert "cost unknown" in text


def test_a_validation_has_a_bar_of_its_own():
    drawn, run = console(terminal=True), MadeRun(steps=1)
    bar = ProgressBar(drawn)
    titles = []
    for event in run.events():
        bar(event)
        if isinstance(event, RolloutFinished):
            task = bar._bars.tasks[-1]
            titles.append((task.fields["title"], task.total, task.completed))
    assert titles[0] == ("validation", 40, 1)
    assert titles[40] == ("step 1/1", 40, 1)
    assert titles[79] == ("step 1/1", 40, 40)
    assert titles[80] == ("validation", 40, 1)
    assert titles[-1] == ("validation", 40, 40)


def test_failures_are_counted():
    drawn, run = console(terminal=True), MadeRun(steps=1, validated=False)
    with ProgressBar(drawn) as bar:
        for event in run.events():
            if isinstance(event, StepFinished):
                break
            bar(event)
        bar(ReflectionFinished(Extraction(None, (Failure("extraction", "s1/e1", "no reply", "carried"),))))
        bar._bars.refresh()
    assert "1 failed" in drawn.file.getvalue()


@pytest.mark.parametrize("error", [None, RuntimeError("x")])
def test_the_terminal_is_given_back_when_the_run_is_over(error):
    drawn, run = console(terminal=True), MadeRun(steps=1)
    bar = ProgressBar(drawn)
    for event in run.events(error=error):
        bar(event)
    text = drawn.file.getvalue()
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h"), "the cursor is shown again as often as it was hidden"
    bar.close()


def interrupt(drawn: Console, run: MadeRun) -> None:
    with ProgressBar(drawn) as bar:
        for event in run.events():
            bar(event)
            if isinstance(event, RolloutFinished):
                raise KeyboardInterrupt


def test_an_interrupted_run_gives_the_terminal_back():
    drawn = console(terminal=True)
    with pytest.raises(KeyboardInterrupt):
        interrupt(drawn, MadeRun(steps=1))
    text = drawn.file.getvalue()
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1


def test_one_bar_can_show_two_runs():
    drawn = console(terminal=False)
    bar = ProgressBar(drawn)
    for run in (MadeRun(steps=1), MadeRun(steps=2)):
        for event in run.events():
            bar(event)
    assert drawn.file.getvalue().count("Done: ") == 2


def test_the_default_goes_to_standard_error(capsys):
    bar = ProgressBar()
    for event in MadeRun(steps=1).events():
        bar(event)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "step 1/1" in captured.err


def test_a_run_that_ends_before_it_began_is_shown():
    drawn = console(terminal=True)
    *_, last = MadeRun(steps=0, validated=False).events(error=RuntimeError("early"))
    ProgressBar(drawn)(last)
    assert "Stopped by an error before the end of step 1 of 0: " in drawn.file.getvalue()
