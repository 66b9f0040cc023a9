"""Measured credit: what each experience does to the reward, from rollouts that read a random part of the library; pure.

With `dropout=p` a rollout reads each entry with probability 1 - p, independently. Who read what is then decided by
chance alone, so the difference in reward with and without an entry is its causal effect (next to others that are
withheld at random), at no further LM call.

The estimate is one linear model of all rewards so far:

- *Blocks.* Rewards and what was read are centred by example and by step: problems are compared with themselves.
- *Texts.* An observation counts for the text that was read; an entry that was rewritten starts anew.
- *Where it matters.* An entry works on the few problems that it is about. Where rollouts cite it (`[G7]`), it is judged
  on the problems where another rollout cites it, and its effect elsewhere is taken to be zero; an entry that is hardly
  ever cited is judged on all problems. That *another* rollout decides keeps the comparison random.
- *Shrinkage.* Effects come from a normal prior, one for cited entries and one for others, whose variances are estimated
  from all entries together (empirical Bayes). The mean of the cited ones' prior is proportional to how the rollouts
  that followed an entry fared against those that read it and did not; the factor is fitted to the random comparison,
  which has noise of its own: where citations say nothing it comes out as nothing.
- *Clusters.* Intervals are widened by how much more the rewards of one example vary together than the model says.

Source: empirical Bayes as in Efron and Morris (1973), with covariates in the prior mean as in Fay and Herriot (1979).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tfgrpo_dspy.records.effects import REACH, TINY, Effect

if TYPE_CHECKING:
    import numpy as np

    from tfgrpo_dspy.library.library import ExperienceLibrary
    from tfgrpo_dspy.records.rollouts import Group

    Array = np.ndarray[Any, Any]

_CITED = 3
"""Citations from which an entry is judged where it is cited."""
_DOUBT = 1
"""Rollouts to each side at which half of what followers earn is believed."""
_ROUNDS = 60
"""Of expectation and maximisation, for the variances."""
_PRIOR_ENTRIES = 2
"""Entries that the prior's own guess of its variances is worth, so that few entries do not make them zero."""
_PRIOR_SHARES = (0.05, 0.0025)
"""That guess, in variances of the reward: for cited entries, where cited, and for others, over all problems."""
_CITATION = re.compile(r"\[(G(?:0|[1-9][0-9]*))\]")

Text = tuple[str, str]
"""Id and text of an experience."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One scored rollout, as evidence for what it had read."""

    example: str
    """Name of its example, e.g. `e12`; its rollouts are a cluster."""
    step: int
    reward: float
    texts: Mapping[str, str]
    """Id to text of the step's library; shared by its trials."""
    withheld: frozenset[str]
    """Ids it did not read."""
    cited: frozenset[str] = frozenset()
    """Ids that it says it followed, of those it read."""


def effects_of(trials: Sequence[Trial], library: ExperienceLibrary, dropout: float) -> tuple[Effect, ...]:
    """The measured effect of each entry, in library order.

    There is none for a text that was never read, or never withheld; and none at all while the rewards of each problem
    are equal.

    Args:
        trials: All scored rollouts so far, of any step.
        library: Whose entries are wanted, by id and text.
        dropout: Chance that an entry was withheld, in (0, 1).
    """
    import numpy as np

    if not trials:
        return ()
    table = _Table.of(trials, dropout)
    varied = [i for i, _ in enumerate(table.texts) if table.n_with[i] and table.n_without[i]]
    if not varied or np.ptp(table.centred(table.rewards)) <= TINY * max(1.0, float(abs(table.rewards).max())):
        return ()
    values, errors = _estimate(table, varied)
    made = {}
    for i, value, reach in zip(varied, map(float, values), map(float, REACH * errors), strict=True):
        counts = int(table.n_with[i]), int(table.n_without[i])
        made[table.texts[i]] = Effect(*table.texts[i], value, value - reach, value + reach, *counts)
    return tuple(made[e.id, e.text] for e in library if (e.id, e.text) in made)


def trials_of(groups: Iterable[Group], library: ExperienceLibrary, step: int) -> list[Trial]:
    """The scored rollouts of a step's groups as trials of the library that they read in part."""
    texts = {e.id: e.text for e in library}
    return [
        Trial(
            group.name.rpartition("/")[2],
            step,
            rollout.reward,
            texts,
            frozenset(rollout.withheld),
            frozenset(_CITATION.findall(rollout.trajectory)) & (texts.keys() - set(rollout.withheld)),
        )
        for group in groups
        for rollout in group.scored
    ]


def _estimate(table: _Table, columns: Sequence[int]) -> tuple[Array, Array]:
    """Value and standard error of the effect of each of these columns."""
    import numpy as np

    is_cited = table.cited[:, columns].sum(axis=0) >= _CITED
    matters = np.ones((len(table.rewards), len(columns)), dtype=bool)
    for at, column in enumerate(columns):
        if is_cited[at]:
            matters[:, at] = table.elsewhere_cited(column)
    rewards = table.centred(table.rewards)
    told = _told_by_followers(table, columns, rewards, matters & is_cited)
    own = table.centred(table.exposure[:, columns] * matters)
    design = np.column_stack([own, own @ told])
    fit = _fit(rewards, design, np.where(is_cited, 0, 1))
    there = table.there[:, columns]
    shares = (matters & there).sum(axis=0) / there.sum(axis=0)
    weights = np.column_stack([np.diag(shares), shares * told])  # from the model's coefficients to effects
    variances = np.einsum("ij,jk,ik->i", weights, fit.covariance, weights)
    return weights @ fit.mean, np.sqrt(variances * _clustering(table, rewards, design, fit))


def _told_by_followers(table: _Table, columns: Sequence[int], rewards: Array, matters: Array) -> Array:
    """How the rollouts that cite a text fared against those that only read it; near 0 for few of either.

    Both sides have read it, so this has no noise in common with the comparison of read and withheld.
    """
    import numpy as np

    read = matters & (table.exposure[:, columns] > 0)
    cited = table.cited[:, columns]
    told = np.zeros(len(columns))
    for at in range(len(columns)):
        followed, ignored = rewards[read[:, at] & cited[:, at]], rewards[read[:, at] & ~cited[:, at]]
        if len(followed) and len(ignored):
            size = 2 / (1 / len(followed) + 1 / len(ignored))
            told[at] = (followed.mean() - ignored.mean()) * size / (size + _DOUBT)
    return told


class _Fit(NamedTuple):
    """A linear model's coefficients, given the data."""

    mean: Array
    covariance: Array
    noise: float
    """Variance of a reward around the model."""


def _fit(rewards: Array, design: Array, kinds: Array) -> _Fit:
    """Normal rewards and coefficients; the prior's variances, one per kind, by expectation and maximisation.

    Args:
        rewards: Centred.
        design: Centred; a column per coefficient, the last that of the prior's mean, about which nothing is assumed.
        kinds: Of all columns but the last: 0 or 1.
    """
    import numpy as np

    squares, products = design.T @ design, design.T @ rewards
    noise = scale = max(float(rewards.var()), TINY)
    guesses = scale * np.array(_PRIOR_SHARES)
    variances = guesses.copy()
    for _ in range(_ROUNDS):
        precision = np.append(1 / variances[kinds], TINY / scale)
        covariance = np.linalg.inv(squares / noise + np.diag(precision))
        mean = covariance @ products / noise
        spread = np.diag(covariance)
        for kind, guess in enumerate(guesses):
            of_kind = np.append(kinds == kind, False)
            total = (mean[of_kind] ** 2 + spread[of_kind]).sum() + _PRIOR_ENTRIES * guess
            variances[kind] = total / (of_kind.sum() + _PRIOR_ENTRIES)
        used = float((1 - spread * precision).sum())
        noise = max(float(((rewards - design @ mean) ** 2).sum()) / max(len(rewards) - used, 1.0), TINY * scale)
    return _Fit(mean, covariance, noise)


def _clustering(table: _Table, rewards: Array, design: Array, fit: _Fit) -> float:
    """How many times as large the variances are as the model says, pooled over all columns; >= 1."""
    import numpy as np

    scores = design * (rewards - design @ fit.mean)[:, None]
    by_example = np.zeros((int(table.examples.max()) + 1, design.shape[1]))
    np.add.at(by_example, table.examples, scores)
    expected = fit.noise * (design**2).sum(axis=0)
    informed = expected > TINY
    ratios = (by_example**2).sum(axis=0)[informed] / expected[informed]
    return max(1.0, float(ratios.mean())) if informed.any() else 1.0


class _Table(NamedTuple):
    """Trials as arrays: a row per trial, a column per text."""

    texts: list[Text]
    rewards: Array
    there: Array
    """Whether it was in the library."""
    exposure: Array
    """Whether it was read, minus the chance of that; 0 where the text was not in the library."""
    cited: Array
    examples: Array
    """A number per example."""
    steps: Array
    n_with: Array
    n_without: Array

    @classmethod
    def of(cls, trials: Sequence[Trial], dropout: float) -> _Table:
        import numpy as np

        libraries = {id(trial.texts): trial.texts for trial in trials}  # one for all trials of a step
        texts = list(dict.fromkeys(text for library in libraries.values() for text in library.items()))
        columns = {text: i for i, text in enumerate(texts)}
        places = {at: {text[0]: columns[text] for text in library.items()} for at, library in libraries.items()}
        there, withheld, cited = (np.zeros((len(trials), len(texts)), dtype=bool) for _ in range(3))
        for row, trial in enumerate(trials):
            place = places[id(trial.texts)]
            there[row, list(place.values())] = True
            withheld[row, [place[id] for id in trial.withheld if id in place]] = True
            cited[row, [place[id] for id in trial.cited if id in place]] = True
        read = there & ~withheld
        exposure = np.where(there, read - (1 - dropout), 0.0)
        names = {name: i for i, name in enumerate(dict.fromkeys(trial.example for trial in trials))}
        examples = np.array([names[trial.example] for trial in trials])
        numbers = {number: i for i, number in enumerate(dict.fromkeys(trial.step for trial in trials))}
        steps = np.array([numbers[trial.step] for trial in trials])
        rewards = np.array([trial.reward for trial in trials], dtype=float)
        n_with, n_without = read.sum(axis=0), withheld.sum(axis=0)
        return cls(texts, rewards, there, exposure, cited & read, examples, steps, n_with, n_without)

    def centred(self, values: Array) -> Array:
        """The values, a row per trial, less what examples and steps explain of them."""
        values = values.copy()
        for labels in (self.examples, self.steps) * 8:
            values -= _means(values, labels)[labels]
        return values

    def elsewhere_cited(self, column: int) -> Array:
        """Per trial, whether another trial on its example cites the text."""
        import numpy as np

        cited = self.cited[:, column].astype(float)
        others: Array = np.bincount(self.examples, weights=cited)[self.examples] - cited
        return others > 0


def _means(values: Array, labels: Array) -> Array:
    import numpy as np

    counts = np.bincount(labels)
    sums = np.zeros((len(counts), *values.shape[1:]))
    np.add.at(sums, labels, values)
    return sums / counts.reshape(-1, *[1] * (values.ndim - 1))
