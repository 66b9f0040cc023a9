"""What a table allows to say, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evals.scoring.gains import POWER, questions_needed
from evals.scoring.table import LEVEL, Line, Table, Winner
from optimizers.registry import known_entry
from tfgrpo_dspy import Difference, Estimate
from tfgrpo_dspy.kit import counted

_TARGET = 0.03
"""A gain of the size that the literature reports."""
_FEW_SEEDS = 3
_MANY = 5
"""Lines of one verdict from which on a sentence only names them."""


def headline(table: Table) -> str:
    """The one sentence to remember."""
    winner = table.winner
    base = table.baseline.label if table.baseline is not None else "the baseline"
    if winner is not None and winner.gain is not None and winner.line.verdict == "better":
        found, score = winner.gain.difference, winner.mean.value
        return (
            f"{winner.line.label} did best{_beside(winner)}: {score:.3f} against {score - found.value:.3f} of {base}, "
            f"a gain of {signed_text(found)} on fresh rollouts."
        )
    if not table.comparisons:
        return "Nothing was compared: there is no baseline with a score beside another optimizer with one."
    if any(line.verdict == "better" for line in table.lines):
        names = _joined([line.label for line in table.ranked if line.verdict == "better"])
        return f"Better than {base}: {names}."
    if len(table.seeds) < _FEW_SEEDS:
        few = counted(len(table.seeds), "training seed")
        return f"{few} can hardly tell an optimizer from {base}: run --seeds {_FEW_SEEDS} or more."
    return f"No optimizer could be told from {base} to its advantage."


def findings(table: Table) -> Iterator[str]:
    """What else there is to say: by verdict, then how the winner fared on fresh rollouts."""
    base = table.baseline.label if table.baseline is not None else "the baseline"
    groups = {"better": "Better than", "worse": "Worse than", "not distinguishable": "Not distinguishable from"}
    for verdict, words in groups.items():
        lines = [line for line in table.ranked if line.verdict == verdict]
        if lines:
            named = [line.label if len(lines) > _MANY else _with_gain(line) for line in lines]
            yield f"{words} {base}: {_joined(named)}."
    if table.winner is not None:
        yield from _of_winner(table.winner, len([line for line in table.lines if line.mean is not None]))
    yield from power(table)


def warnings(table: Table) -> Iterator[str]:
    """What a reader must not overlook."""
    if table.failures:
        names = _joined([f"{row.optimizer} (seed {row.seed})" for row in table.failures])
        yield f"{counted(len(table.failures), 'row')} failed and are missing from every figure: {names}."
    for line in table.lines:
        lost = sum(line.lost.values())
        if lost:
            yield f"{line.label} lost {lost} of {lost + line.rollouts} test rollouts; they are not part of its score."
    for line in table.lines:
        over = [row for row in line.rows if table.calls is not None and row.training.usage.lm_calls > table.calls]
        if over:
            most = max(row.training.usage.lm_calls for row in over)
            yield f"{line.label} took {most:,} LM calls to learn, more than the budget of {table.calls:,}."
    busy = [line.label for line in table.lines if _works_at_inference(line)]
    if busy:
        yield f"{_joined(busy)} work at inference too: each answer takes further calls (see calls per answer)."
    if len(table.seeds) < _FEW_SEEDS:
        yield (
            f"{counted(len(table.seeds), 'training seed')}: how much luck in training matters is hardly known; "
            "--seeds 3 or more would tell."
        )


def statistics(table: Table) -> Iterator[str]:
    """How the figures were made, for a reader who wants to check them."""
    yield (
        f"Mean@{table.k} is the mean over questions of the mean reward of {table.k} independent rollouts; its interval "
        "treats questions as the sample, and is that of these trained programs. "
        f"Pass@{table.k} is the unbiased estimate of the chance that one of {table.k} rollouts is fully right."
    )
    if len(table.seeds) > 1:
        yield (
            "A gain is the mean difference to the baseline over the same questions under the same seeds. Its interval "
            "counts questions and training seeds as two crossed samples: what seeds add beyond the luck of single "
            "questions is estimated from all optimizers of the table together, or from an optimizer's own seeds where "
            "these differ more than the others' can explain; degrees of freedom are Satterthwaite's."
        )
    else:
        yield (
            "A gain is the mean difference to the baseline over the same questions, with a t interval over questions. "
            "With one training seed it speaks of this one trained program, not of the optimizer in general."
        )
    several = counted(table.comparisons, "comparison")
    yield (
        f"p-values and intervals of gains are corrected by Holm's method for {several}; "
        "an interval has the level at which its gain is tested, and leaves out zero exactly where the verdict does. "
        "Every row has rollouts of its own, none "
        "is shared with training, and the winner's are drawn once more because the highest of several noisy scores "
        "is too high."
    )


def signed_text(found: Difference) -> str:
    """`+0.031 [-0.005, +0.067]`."""
    value, low, high = (round(number, 3) + 0.0 for number in (found.value, found.low, found.high))  # no -0.000
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def estimate_text(estimate: Estimate) -> str:
    """`0.831 [0.774, 0.880]`."""
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def p_text(p_value: float) -> str:
    """`< 0.001`, `0.042`."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"  # noqa: PLR2004 - as papers print it


def _beside(winner: Winner) -> str:
    if winner.ahead is None or winner.runner_up is None or winner.ahead.difference.verdict == "better":
        return ""
    return f", not distinguishable from {winner.runner_up.label}"


def _of_winner(winner: Winner, lines: int) -> Iterator[str]:
    first = winner.line.mean.value if winner.line.mean is not None else 0.0
    told = f"{winner.line.label} had the highest of {lines} scores, {first:.3f}. Drawn again, it scored "
    told += f"{estimate_text(winner.mean)}"
    if winner.ahead is None or winner.runner_up is None:
        yield told + "."
        return
    ahead = winner.ahead.difference
    verdict = (
        "ahead of"
        if ahead.verdict == "better"
        else "behind"
        if ahead.verdict == "worse"
        else "not distinguishable from"
    )
    second = f"{winner.runner_up.label} ({signed_text(ahead)}, p {_equals(ahead.p_value)})"
    yield f"{told}: {verdict} the runner-up {second}."


def power(table: Table) -> Iterator[str]:
    """What gain these questions could show, and how many would show one of the size that papers report."""
    gains = [line.gain for line in table.lines if line.gain is not None]
    found = [gain.detectable for gain in gains if gain.detectable]
    rests = f"with {table.questions} questions and {counted(len(table.seeds), 'seed')}"
    if blind := sum(gain.is_blind for gain in gains):
        yield (
            f"What this comparison could not see: {rests}, no gain that rewards allow would be called significant "
            f"{POWER:.0%} of the time for {blind} of {counted(len(gains), 'optimizer')}; more seeds and questions help."
        )
    if not found:
        return
    low, high = min(found), max(found)
    span = f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}, by optimizer,"
    yield (
        f"What this comparison could see: {rests}, a "
        f"true gain of {span} would be called significant {POWER:.0%} of the time (at {1 - LEVEL:.0%}, before "
        "correction)."
    )
    if len(table.seeds) == 1 and low > _TARGET:  # what seeds add does not shrink with more questions
        needed = questions_needed(_TARGET, low, table.questions)
        yield f"To see a gain of {_TARGET:.2f}, as papers report it, would take about {needed:,} questions like these."


def _with_gain(line: Line) -> str:
    return line.label if line.gain is None else f"{line.label} {signed_text(line.gain.difference)}"


def _works_at_inference(line: Line) -> bool:
    entry = known_entry(line.optimizer)
    return entry is not None and entry.at_inference


def _equals(p_value: float) -> str:
    text = p_text(p_value)
    return text if text.startswith("<") else f"= {text}"


def _joined(names: Sequence[str]) -> str:
    return (
        names[0]
        if len(names) == 1
        else f"{'; '.join(names[:-1])}; and {names[-1]}"
        if any("[" in name for name in names)
        else f"{', '.join(names[:-1])} and {names[-1]}"
    )
