"""The progress display on a terminal and off it, drawn into strings."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from tests.tfgrpo_dspy.made_events import MadeRun
from tfgrpo_dspy.observers.phase import Pace
from tfgrpo_dspy.observers.progress import ProgressBar, bars
from tfgrpo_dspy.records.advantages import Extraction
from tfgrpo_dspy.records.ended import Ended
from tfgrpo_dspy.records.events import ReflectionFinished, RolloutFinished, StepFinished
from tfgrpo_dspy.records.failures import Failure


def console(*, terminal: bool, width: int = 220) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None, legacy_windows=False)


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


def test_of_an_error_one_line_says_that_it_stopped_the_run_as_the_exception_says_why():
    last = show(MadeRun(steps=1), error=RuntimeError("no\ncredit")).splitlines()[-1]
    assert last.startswith("Stopped by an error after step 1 of 1: 2 experiences")


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


@pytest.mark.parametrize(
    ("width", "also"), [(60, []), (80, ["reward 0."]), (140, ["reward 0.", "± 0.", "tokens, cost unknown", "1 lost"])]
)
def test_step_count_and_clock_keep_their_places_at_any_width(width, also):
    drawn, run, times = console(terminal=True, width=width), MadeRun(steps=2, cost=None, validated=False), [0.0]
    with ProgressBar(drawn, clock=lambda: times[0]) as bar:
        for event in run.events():
            if isinstance(event, RolloutFinished):
                times[0] += 3.0
                if event.rollout.name.endswith("e7/r4"):
                    break
            bar(event)
        bar._bars.refresh()
    row = [line for line in drawn.file.getvalue().replace("\r", "\n").splitlines() if "step 1/2" in line][-1]
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", row)
    assert len(text.rstrip()) <= width
    for part in ("step 1/2", "39/40", "2:03 left", *also):
        assert part in text, text


def test_without_a_terminal_a_long_step_gives_a_line_a_minute():
    drawn, run, times = console(terminal=False), MadeRun(steps=1, validated=False), [0.0]
    bar = ProgressBar(drawn, clock=lambda: times[0])
    for event in run.events():
        times[0] += 10.0 * isinstance(event, RolloutFinished)
        bar(event)
    lines = [line for line in drawn.file.getvalue().splitlines() if "rollouts ·" in line]
    assert len(lines) == 6, "one after each minute of the 400 seconds"
    assert lines[0].startswith("step 1/1: 6/40 rollouts · 5:40 left · reward ")


def test_lines_go_to_logging_at_info_and_are_not_printed_twice(caplog, capsys):
    with caplog.at_level("INFO", "tfgrpo_dspy"):
        bar = ProgressBar()
        for event in MadeRun(steps=1).events():
            bar(event)
    said = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert said == ["Training-Free GRPO", "step 1/1", "Done"]
    assert capsys.readouterr().err == ""


def test_colours_are_left_out_where_nobody_wants_them(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    drawn = Console(file=io.StringIO(), force_terminal=True, width=80)
    with bars(drawn, title="evaluating") as progress:
        progress.add_task("reward 0.5", total=3, left="")
        progress.refresh()
    assert not re.search(r"\x1b\[(?:3[0-7]|38;)", drawn.file.getvalue())


def test_an_evaluation_counts_its_rollouts_in_a_line_a_minute():
    drawn, run, times = console(terminal=False), MadeRun(steps=1), [0.0]
    count = ProgressBar(drawn, clock=lambda: times[0]).count(40)
    for event in run.events():
        times[0] += 10.0 * isinstance(event, RolloutFinished)
        count(event)
    first = drawn.file.getvalue().splitlines()[0]
    assert first.startswith("evaluating: 6/40 rollouts · 5:40 left · reward ")


@pytest.mark.parametrize(
    ("done", "now", "left"), [(4, 40.0, ""), (5, 50.0, "15:50 left"), (50, 7200.0, "2:00:00 left"), (100, 9.0, "")]
)
def test_the_time_left_is_what_the_rest_takes_at_the_pace_so_far(done, now, left):
    assert Pace(0.0, 100).left(done, now) == left


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
