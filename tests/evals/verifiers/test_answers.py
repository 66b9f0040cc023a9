"""Verifiers prove themselves: every gold answer is right, a known wrong one is not, in worker threads and in time."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.verifiers.answers import equivalent, f1, math_equal
from evals.verifiers.math_pool import MathPool, Undecided
from tfgrpo_dspy.errors import MetricError

REAL = Path(__file__).parents[3] / "../shared/data"


def judged(answer: str, said: str | None, metric=math_equal) -> dspy.Prediction:
    example = dspy.Example(question="?", answer=answer).with_inputs("question")
    return metric(example, dspy.Prediction(answer=said))


def score(answer: str, said: str | None, metric=math_equal) -> float:
    return judged(answer, said, metric).score


# --- mathematics ---


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("025", "25"),
        ("25", "The answer is \\boxed{025}."),
        ("336", "336^\\circ"),
        ("336^\\circ", "336°"),
        ("-7", "\u22127"),
        ("1234", "1{,}234"),
        ("\\frac{14}{3}", "14/3"),
        ("\\frac{3}{4}", "0.75"),
        ("3/4", "So we get \\boxed{\\dfrac34}"),
        ("2\\sqrt{3}", "\\sqrt{12}"),
        ("x^5 - x + 1", "1 - x + x^5"),
        ("x=5", "5"),
        ("\\{1,2\\}", "\\{2,1\\}"),
        ("[0,1)", "[0, 1)"),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3, \\pi/2)"),
        ("\\begin{pmatrix} -1/3 \\\\ 2/3 \\end{pmatrix}", "\\begin{pmatrix} -\\frac13 \\\\ \\frac23 \\end{pmatrix}"),
        ("1 \\pm \\sqrt{19}", "1-\\sqrt{19}, 1+\\sqrt{19}"),
        ("50\\%", "0.5"),
        ("50\\%", "50"),
        ("5", "5 \\text{ cm}"),
        ("5", "5 cm"),
        ("\\text{east}", "east"),
        ("2516_8", "2516_{8}"),
        ("\\frac13", "It is $\\frac{2}{6}$, as each is equally likely."),
    ],
)
def test_equal_answers_are_right_however_they_are_written(answer, said):
    assert score(answer, said) == 1.0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("25", "250"),
        ("25", ""),
        ("25", None),
        ("25", "I do not know"),
        ("\\frac{14}{3}", "4.6"),
        ("x^4", "x^{5}"),
        ("4", "x^{4}"),
        ("[0,1)", "[0,1]"),
        ("(2,1)", "(1,2)"),
        ("\\text{east}", "west"),
        ("2516_8", "2516_9"),
        ("\\frac{1}{3}", "\\frac{"),
        ("\\frac{1}{3}", "\\frac{\\frac{\\sqrt{"),
    ],
)
def test_other_answers_are_wrong_and_feedback_says_both(answer, said):
    verdict = judged(answer, said)
    assert verdict.score == 0.0
    assert "Wrong: expected" in verdict.feedback


@pytest.mark.parametrize("answer", ["", "see the text", "3" * 400 + "x" * 2000])
def test_an_expected_answer_that_is_no_mathematics_is_an_error_and_no_wrong_answer(answer):
    with pytest.raises(MetricError, match="expected answer"):
        score(answer, "5")


@given(number=st.integers(-(10**12), 10**12), zeros=st.integers(0, 3))
def test_integers_are_compared_by_value(number, zeros):
    written = f"{'-' if number < 0 else ''}{'0' * zeros}{abs(number)}"
    assert score(written, str(number)) == 1.0
    assert score(written, str(number + 1)) == 0.0


def test_answers_neither_of_which_is_known_to_be_right_can_be_compared_for_a_vote():
    assert equivalent("\\boxed{\\frac{1}{2}}", "0.5")
    assert equivalent("Paris", "paris.")
    assert not equivalent("see the text", "5")
    assert not equivalent("", "5")


# --- bounded ---


@pytest.fixture
def pool() -> Iterator[MathPool]:
    """One process, one second for each comparison."""
    made = MathPool(1, 1.0)
    yield made
    made.close()


HOSTILE = ["9^{9^{9^9}}", "(10^{10^6})!"]


@pytest.mark.skipif(os.name != "posix", reason="elsewhere the clock bounds a comparison, not its computing")
def test_hostile_answers_are_given_up_and_the_next_is_compared(pool):
    for hostile in HOSTILE:
        with pytest.raises(Undecided, match="more than 1 s or too much memory"):
            pool.compare("\\frac{1}{2}", hostile)
    assert pool.compare("\\frac{1}{2}", "0.5")


@pytest.mark.parametrize("nested", ["(" * 3000 + "1" + ")" * 3000])
def test_deep_nesting_ends_no_process_that_matters(pool, nested):
    with suppress(Undecided):  # deep enough to take the process with it
        assert not pool.compare("7", nested)
    assert pool.compare("7", "7.0")


def test_a_comparison_that_could_not_be_made_is_a_wrong_answer_that_says_so(monkeypatch):
    def give_up(self, gold, given):
        raise Undecided("it took more than 2 s or too much memory")

    monkeypatch.setattr(MathPool, "compare", give_up)
    verdict = judged("\\frac{5}{7}", "9^{9^{9^9}}")
    assert (verdict.score, "could not be compared" in verdict.feedback) == (0.0, True)


def test_a_pool_that_was_closed_starts_again(pool):
    assert pool.compare("\\frac12", "0.5")
    pool.close()
    assert pool.compare("\\frac12", "0.5")


def test_more_threads_than_processes_wait_for_their_turn(pool):
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda i: pool.compare(f"\\frac{{{i}}}{{7}}", f"{i}/7"), range(1, 25)))


def test_integers_start_no_process(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: pytest.fail("a process was started"))
    assert score("025", "25") == 1.0
    assert score("25", "26") == 0.0


# --- the real answers ---


def gold_answers() -> list[tuple[str, str]]:
    """Every gold answer with one that is wrong."""
    rows = [
        (f"{folder}/{name}.jsonl", read)
        for folder, name, read in [
            ("aime", "aime_2024", lambda row: row["answer"]),
            ("aime", "aime_2025", lambda row: row["answer"]),
            ("gsm8k", "gsm8k_test_100", lambda row: row["answer"]),
            ("math500", "math500_100", lambda row: row["answer"]),
            ("dapo", "dapo_math_17k_svs_1000", lambda row: row["reward_model"]["ground_truth"]),
        ]
    ]
    return [
        (answer, wrong(answer))
        for path, read in rows
        for line in (REAL / path).read_text(encoding="utf-8").splitlines()
        for answer in [read(json.loads(line))]
    ]


def wrong(answer: str) -> str:
    final = answer.rpartition("####")[2].strip().replace(",", "") if "####" in answer else answer
    if final.lstrip("-").isdigit():
        return str(int(final) + 1)
    return "west" if "\\text" in final else f"{final}+17" if not final.startswith(("(", "\\left", "\\begin")) else "17"


@pytest.mark.skipif(not REAL.exists(), reason="needs the benchmark data")
def test_every_gold_answer_is_right_and_a_perturbed_one_wrong_in_eight_threads():
    answers = gold_answers()
    assert len(answers) == 30 + 30 + 100 + 100 + 1000
    in_threads = set()

    def verify(pair: tuple[str, str]) -> tuple[float, float]:
        in_threads.add(threading.current_thread() is threading.main_thread())
        answer, mistaken = pair
        said = answer.rpartition("####")[2]
        return score(answer, f"Thus \\boxed{{{said.strip()}}}"), score(answer, mistaken)

    with ThreadPoolExecutor(8) as threads:
        scores = list(threads.map(verify, answers))
    assert in_threads == {False}
    assert [pair for pair, verdict in zip(answers, scores, strict=True) if verdict != (1.0, 0.0)] == []


# --- words ---


@pytest.mark.parametrize(
    ("answer", "said", "expected"),
    [
        ("the red house", "The red house.", 1.0),
        ("the red house", "a red house", 2 * 2 / 6),
        ("the red house", "", 0.0),
        ("北京大学", "北京", 2 * 2 / 6),
        ("42", "forty-two", 0.0),
    ],
)
def test_f1_counts_the_words_in_common(answer, said, expected):
    assert score(answer, said, f1) == pytest.approx(expected)


@given(answer=st.text(min_size=1), said=st.text())
def test_f1_is_symmetric_and_within_0_and_1(answer, said):
    one = score(answer, said, f1)
    assert 0.0 <= one <= 1.0
    assert one == pytest.approx(score(said, answer, f1))
