"""Rows: trained, scored, kept, taken up again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dspy.utils.exceptions import LMAuthError

from evals.harness import running
from evals.harness.rows import AGAIN, PROGRAM, QUESTIONS, ROW, SCORING, Row, read_questions, read_row
from evals.harness.running import Harness, Listener, Programs, run_rows, score_again
from evals.harness.tasks import TASKS
from evals.harness.training import Unanswered
from tests.evals.small import ADVICE, Advising, Breaking, Heard, constant_lm, make, small_row, small_task
from tfgrpo_dspy import CompileResult, ExperienceLibrary, StepRecord
from tfgrpo_dspy.library.file import load_library
from tfgrpo_dspy.records.ended import Ended
from tfgrpo_dspy.simulated import simulated_lm


def run(row, tmp_path, **harness):
    return run_rows([row], Harness(**{"num_threads": 2, **harness}, out=tmp_path), Programs())[0]


def test_a_row_is_trained_and_scored_on_k_rollouts_per_question(tmp_path):
    result = run(small_row("advising", make=make), tmp_path)
    assert result.error is None
    assert [len(question.rewards) for question in result.questions] == [2] * 6
    assert (result.training.usage.lm_calls, result.evaluation.usage.lm_calls) == (1, 12)
    assert result.evaluation.usage.prompt_tokens > 0
    assert ADVICE in result.learned.parts[0][1]
    assert result.learned.kind == "prompt"


def test_a_finished_row_is_read_back_and_not_run_again(tmp_path):
    row = small_row("advising", make=make)
    first = run(row, tmp_path)
    heard = Heard()
    again = run(replace(row, make=lambda *_, **__: Breaking()), tmp_path, listeners=[heard])
    assert again == first
    assert heard.ended == [("advising, seed 0", False)]


def test_fresh_puts_a_finished_row_aside(tmp_path):
    row = small_row("advising", make=make)
    run(row, tmp_path)
    heard = Heard()
    run(row, tmp_path, listeners=[heard], fresh=True)
    assert heard.ended == [("advising, seed 0", True)]
    assert heard.phases == {"training", "evaluation"}
    assert len(list((tmp_path / "rows").iterdir())) == 2


def test_a_row_that_fails_is_recorded_without_secrets_and_the_others_go_on(tmp_path):
    rows = [small_row(name, make=make) for name in ("breaking", "advising")]
    broken, fine = run_rows(rows, Harness(out=tmp_path, num_threads=2), Programs())
    assert broken.error == "RuntimeError: the optimizer broke, key [redacted]"
    assert fine.error is None
    assert "sk-abc" not in (rows[0].folder(tmp_path) / ROW).read_text()
    assert read_row(rows[0].folder(tmp_path)) is None, "a failed row is tried again"


def test_a_refused_key_stops_the_comparison(tmp_path):
    class Refused(Advising):
        def compile(self, student, trainset, **_):
            raise LMAuthError("no such key", model="m")

    with pytest.raises(LMAuthError):
        run(small_row("advising", make=lambda *_, **__: Refused()), tmp_path)


def test_an_evaluation_goes_on_at_its_next_question(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_BLOCK", 2)  # two questions a block
    row = small_row("advising", make=make)
    whole = run(row, tmp_path)
    path = row.folder(tmp_path) / QUESTIONS
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:4]) + lines[4][:20])  # killed in the middle of a write
    asked = []
    real = running.evaluate

    def counting(program, devset, *args, **kwargs):
        asked.append(len(devset))
        return real(program, devset, *args, **kwargs)

    monkeypatch.setattr(running, "evaluate", counting)
    resumed = run(row, tmp_path)
    assert asked == [2]
    assert resumed.questions[:4] == whole.questions[:4]
    assert len(resumed.questions) == 6


def test_a_row_that_an_outage_or_a_full_disk_cut_short_has_no_score_and_goes_on(tmp_path, monkeypatch):
    row = small_row("advising", make=make)
    asked, real = [], running.evaluate

    def cut_short(*args, **kwargs):
        asked.append("rollouts")
        return replace(real(*args, **kwargs), stopped_by="max_outage=3600: the endpoint was away for 3600 s")

    monkeypatch.setattr(running, "evaluate", cut_short)
    with pytest.raises(Unanswered, match="the endpoint was away"):
        run_rows([row, small_row("none", make=make)], Harness(out=tmp_path, num_threads=2), Programs())
    assert asked == ["rollouts"], "no other row can succeed either"
    assert read_row(row.folder(tmp_path)) is None
    assert not (row.folder(tmp_path) / QUESTIONS).exists()

    class CutShort(Advising):
        def compile(self, student, trainset, **_):
            program = super().compile(student, trainset)
            ended = Ended("disk", "run.db cannot be written: the disk is full")
            program.detailed_results = CompileResult(ExperienceLibrary(), (), ExperienceLibrary(), ended=ended)
            return program

    with pytest.raises(Unanswered, match="the disk is full"):
        run(small_row("cut", make=lambda *_, **__: CutShort()), tmp_path)
    monkeypatch.setattr(running, "evaluate", real)
    assert len(run(row, tmp_path).questions) == 6


def killed_while_scoring(row, folder, calls):
    """A run that is killed in its evaluation, after so many scored rollouts."""
    made = []
    real = row.task.metric

    def metric(example, prediction, trace=None):
        made.append(example)
        if len(made) == calls:
            raise KeyboardInterrupt
        return real(example, prediction)

    with pytest.raises(KeyboardInterrupt):
        run(replace(row, task=replace(row.task, metric=metric)), folder, num_threads=1)


def test_an_evaluation_that_was_killed_makes_no_rollout_twice(tmp_path, monkeypatch):
    row = small_row("none", make=make)
    whole = run(row, tmp_path / "whole")
    monkeypatch.setattr(Row, "fingerprint", "the same with another metric")
    killed_while_scoring(row, tmp_path / "killed", calls=8)
    scored = []
    real = row.task.metric

    def metric(example, prediction, trace=None):
        scored.append(example)
        return real(example, prediction)

    resumed = run(replace(row, task=replace(row.task, metric=metric)), tmp_path / "killed")
    assert len(scored) == sum(len(q.rewards) for q in whole.questions) - 7
    assert len(resumed.questions) == len(whole.questions)
    assert not (row.folder(tmp_path / "killed") / SCORING).exists()


@pytest.mark.parametrize("wrong", ["{not json", "\0" * 40, '{"rewards": "x"}'])
def test_a_damaged_line_of_scores_costs_that_line_and_what_follows(tmp_path, wrong):
    row = small_row("none", make=make)
    whole = run(row, tmp_path)
    path = row.folder(tmp_path) / QUESTIONS
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:3], f"{wrong}\n", *lines[4:]]))
    assert len(read_questions(path)) == 3
    again = run(row, tmp_path)
    assert again.questions[:3] == whole.questions[:3]
    assert len(again.questions) == len(read_questions(path)) == len(whole.questions)


def test_what_an_evaluation_comes_to_does_not_depend_on_the_number_of_threads(tmp_path):
    row = small_row("none", make=make, task=small_task(lm=simulated_lm))
    few, many = run(row, tmp_path / "few", num_threads=1), run(row, tmp_path / "many", num_threads=16)
    assert [q.answers for q in few.questions] == [q.answers for q in many.questions]


def test_scores_of_another_program_are_not_continued(tmp_path):
    row = small_row("advising", make=make)
    run(row, tmp_path)
    folder = row.folder(tmp_path)
    (folder / ROW).unlink()
    (folder / PROGRAM).write_text("{}")
    (folder / QUESTIONS).write_text("".join((folder / QUESTIONS).read_text().splitlines(keepends=True)[:4]))
    before = read_questions(folder / QUESTIONS)
    again = run(row, tmp_path)
    assert len(again.questions) == 6
    assert again.questions[0].took != before[0].took, "scored anew"


class _Kill:
    def __call__(self, event):
        record = getattr(event, "record", None)
        if isinstance(record, StepRecord) and record.step == 2:
            raise KeyboardInterrupt


class _Killer(Listener):
    def begins(self, row):
        return [_Kill()]


def test_a_killed_compile_of_ours_is_taken_up_from_its_store(tmp_path):
    row = small_row("tfgrpo")
    with pytest.raises(KeyboardInterrupt):
        run(row, tmp_path, listeners=[_Killer()])
    assert read_row(row.folder(tmp_path)) is None
    result = run(row, tmp_path)
    assert result.resumed
    assert [point.step for point in result.curve] == [1, 2, 3]
    library = load_library(row.folder(tmp_path) / "library.json")
    assert [name for name, _ in result.learned.parts] == [e.id for e in library]


def test_every_row_has_rollouts_of_its_own(tmp_path):
    rows = [small_row(name, make=make) for name in ("none", "advising")]  # both give the same program
    a, b = run_rows(rows, Harness(out=tmp_path, num_threads=2), Programs())
    assert [q.answers for q in a.questions] != [q.answers for q in b.questions]


def test_a_winner_is_scored_again_on_other_rollouts(tmp_path):
    row, programs = small_row("advising", make=make), Programs()
    harness = Harness(out=tmp_path, num_threads=2)
    first = run_rows([row], harness, programs)[0]
    again = score_again(row, harness, programs)
    assert again is not None
    assert [q.answers for q in again] != [q.answers for q in first.questions]
    assert score_again(row, harness, Programs()) == again, "kept on disk"
    (row.folder(tmp_path) / AGAIN).unlink()
    assert score_again(row, harness, Programs()) is not None, "the saved program is read back"


def test_failures_and_losses_are_told_apart_from_wrong_answers(tmp_path):
    def metric(example, prediction, trace=None):
        if prediction.answer == "lost":
            raise ValueError("the metric broke")
        return 0.0

    def lm(answer):
        return lambda seed: constant_lm(answer)

    lost = run(small_row("advising", make=make, task=small_task(metric=metric, lm=lm("lost"))), tmp_path / "a")
    assert lost.error is not None
    assert "metric" in lost.error
    wrong = run(small_row("advising", make=make, task=small_task(metric=metric, lm=lm("7"))), tmp_path / "b")
    assert (wrong.failed, sum(wrong.lost.values()), set(wrong.questions[0].rewards)) == (0, 0, {0.0})


def test_a_listener_that_breaks_costs_no_row(tmp_path):
    class Broken(Listener):
        def begins(self, row):
            raise RuntimeError("x")

        def ends(self, row, result, program):
            raise RuntimeError("y")

    assert run(small_row("advising", make=make), tmp_path, listeners=[Broken()]).error is None


def test_every_setting_that_matters_changes_the_fingerprint():
    row = small_row("tfgrpo")
    others = [
        replace(row, seed=1),
        replace(row, calls=50),
        replace(row, test=5),
        replace(row, train=5),
        replace(row, temperature=0.3),
        replace(row, optimizer="none"),
        replace(row, task=replace(row.task, k=3)),
        replace(row, task=replace(row.task, model="another")),
    ]
    assert len({other.fingerprint for other in [row, *others]}) == len(others) + 1
    assert replace(row).fingerprint == row.fingerprint


def test_a_test_set_is_the_same_under_every_seed_and_shares_no_question_with_training():
    data = [TASKS["demo"].data(seed) for seed in (0, 1)]
    assert data[0].test == data[1].test
    assert data[0].train != data[1].train
    asked = {example.question for example in data[0].test}
    assert not asked & {example.question for d in data for example in d.train}


def test_an_optimizer_that_fits_itself_to_the_budget_has_a_store_too(tmp_path):
    row = small_row("tfgrpo", calls=200)
    result = run(row, tmp_path)
    assert result.error is None
    assert (row.folder(tmp_path) / "log" / "run.db").exists()
    assert 0 < result.training.usage.lm_calls <= 200
