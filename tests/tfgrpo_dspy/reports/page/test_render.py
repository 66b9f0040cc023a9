"""The page about a run: everything is on it, nothing on it acts, and a browser shows it."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import dspy
import pytest

from tests.tfgrpo_dspy.loopback import PATIENCE
from tests.tfgrpo_dspy.made_events import MadeRun, effect_on
from tfgrpo_dspy import ExperienceLibrary, Lost, Usage, compare
from tfgrpo_dspy.records.ended import Ended
from tfgrpo_dspy.records.result import CompileResult
from tfgrpo_dspy.reports.page.render import render_page, with_verdict
from tfgrpo_dspy.reports.story import Told, gain_section, story_of

HOSTILE = "</p><script>document.title='owned'</script><img src=x onerror=alert(1)> {{ 7 * 7 }} \x1b[31m \u202e"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="a page is looked at in Chromium, which is not installed")


def page_of(result: CompileResult | None = None, **told: object) -> str:
    run = MadeRun()
    return render_page(story_of(result or run.result, run.start, Told("mine:program", "train.jsonl", "exact", **told)))


def ids(page: str) -> set[str]:
    return set(re.findall(r'id="([^"]+)"', page))


def test_all_of_a_run_is_on_the_page():
    run = MadeRun()
    page = page_of()
    for experience in run.result.library:
        assert experience.id in ids(page)
        assert experience.text.replace("'", "&#39;") in page
    for step in run.result.steps:
        for group in step.groups:
            assert {group.name, *(rollout.name for rollout in group.rollouts)} <= ids(page)
    for part in ("Done: ", "Did it help?", "<svg", "Cost", "Groups by outcome", "informative: rewards differ"):
        assert part in page
    assert "added by the updater, step 1, commit" in page
    assert '<td data-name="operations">' in page, "a phone shows each cell under the name of its column"


def test_where_a_rollout_parts_from_the_best_one_is_marked():
    run = MadeRun()
    step = run.result.steps[0]
    told = ("asked alike", "answered one way"), ("asked alike", "answered another way")
    rollouts = tuple(
        replace(
            rollout,
            reward=1.0 - at,
            trajectory=f"Step 1: ask\n  out text: {first}\nStep 2: solve\n  out answer: {second}",
        )
        for at, (rollout, (first, second)) in enumerate(zip(step.groups[0].scored, told, strict=False))
    )
    group = replace(step.groups[0], rollouts=rollouts)
    page = page_of(replace(run.result, steps=(replace(step, groups=(group,)), *run.result.steps[1:])))
    [parted] = re.findall(r'<div class="turn parts"><h5>(.*?)</h5>', page)
    assert parted.endswith("solve")


def test_every_link_leads_somewhere_and_nothing_is_fetched():
    page = page_of()
    links = set(re.findall(r'href="([^"]+)"', page))
    assert links
    assert {link.removeprefix("#") for link in links} <= ids(page)
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert "default-src 'none'" in page


def hostile_result() -> CompileResult:
    run = MadeRun()
    step = run.result.steps[0]
    example = dspy.Example(question=HOSTILE, answer=HOSTILE).with_inputs("question")
    rollouts = tuple(
        replace(rollout, trajectory=f"Step 1: solve\n  out answer: {HOSTILE}", feedback=HOSTILE)
        if hasattr(rollout, "trajectory")
        else rollout
        for rollout in step.groups[0].rollouts
    )
    lost = Lost("s1/e0/r9", "infrastructure", HOSTILE, Usage(), 0.0)
    group = replace(step.groups[0], example=example, rollouts=(*rollouts, lost))
    return replace(run.result, steps=(replace(step, groups=(group,)), *run.result.steps[1:]))


FAILED = Ended("error", "it broke", 1, 3)


def test_text_of_models_and_data_is_shown_and_never_acts():
    page = page_of(replace(hostile_result(), ended=FAILED), why=HOSTILE)
    body = page[page.index("<body>") :]
    assert body.count("<script>") == 1
    assert "<img" not in body
    assert "{{ 7 * 7 }}" in body
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "Stopped by an error after step 1 of 3." in body


def test_credentials_are_left_out():
    page = page_of(replace(MadeRun().result, ended=FAILED), why="401 for sk-abcdefghijklmnop")
    assert "Stopped by an error after step 1 of 3. 401 for" in page
    assert "sk-abcdefghijklmnop" not in page


def test_effects_and_fates_are_told():
    run = MadeRun()
    first = run.result.library.experiences[0]
    page = page_of(replace(run.result, effects=(effect_on(first, 0.2),)))
    assert "effect undecided: +0.200 [+0.100, +0.300] where it applies" in page
    fates = page.partition('<div id="fates">')[2]
    refusals = [refusal for step in run.result.steps for refusal in step.refusals]
    assert refusals
    assert all(refusal.reason.replace("'", "&#39;") in fates for refusal in refusals)


def test_a_run_without_anything_has_a_page():
    empty = CompileResult(ExperienceLibrary(), (), ExperienceLibrary())
    page = page_of(empty)
    assert "The library is empty." in page
    assert "<svg" not in page


def test_a_gain_measured_later_takes_the_place_of_the_verdict():
    run = MadeRun()
    gain = compare(run.evaluation(0), run.evaluation(2))
    page = with_verdict(page_of(), gain_section(gain, "On other.jsonl:"))
    again = with_verdict(page, gain_section(gain, "On third.jsonl:"))
    assert again.count("Did it help?") == 1
    assert "On third.jsonl:" in again
    assert again.endswith(page_of()[-200:])


def test_a_large_run_stays_a_page_that_a_browser_opens():
    run = MadeRun()
    step = run.result.steps[0]
    long = "Step 1: solve\n  out answer: " + "word " * 40_000
    rollouts = tuple(replace(r, trajectory=long) for r in step.groups[0].scored)
    groups = tuple(replace(step.groups[0], name=f"s1/e{at}", rollouts=rollouts) for at in range(50))
    page = page_of(replace(run.result, steps=(replace(step, groups=groups), *run.result.steps[1:])))
    assert len(page) < 8_000_000
    assert "tokens left out here" in page


def seen(page: str, folder: Path, then: str, *, hash_: str = "") -> str:
    """The page's DOM in a browser, after a script of the test has run."""
    path = folder / "run.html"
    path.write_text(page.replace("</body>", f"<script>{then}</script></body>"), encoding="utf-8")
    command = [
        str(CHROMIUM),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder / 'profile'}",
    ]
    command += ["--virtual-time-budget=3000", "--dump-dom", f"{path.as_uri()}{hash_}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout


@pytest.mark.slow
@in_a_browser
def test_a_browser_searches_the_library_and_opens_what_a_link_names(tmp_path):
    run = MadeRun()
    first = run.result.library.experiences[0]
    word = first.text.split()[2]
    type_in = f"search.value = {word!r}; search.dispatchEvent(new Event('input'));"
    measure = "document.title = [...document.querySelectorAll('details.entry')].filter(e => !e.hidden).length + '|' + "
    measure += "document.documentElement.scrollWidth + '|' + innerWidth;"
    group = run.result.steps[0].groups[0].name
    dom = seen(page_of(hostile_result()), tmp_path, type_in + measure, hash_=f"#{group}")
    title = re.search(r"<title>(.*?)</title>", dom)
    assert title is not None
    shown, width, room = title[1].split("|")
    assert int(shown) == sum(word.lower() in e.text.lower() for e in run.result.library)
    assert int(width) <= int(room), "nothing makes the page wider than the window"
    assert re.search(rf'<details class="group" id="{group}" open=""', dom)
    assert "owned" not in title[1]
