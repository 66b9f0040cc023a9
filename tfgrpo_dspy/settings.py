"""The settings of a run: frozen, checked before any call is paid."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import UnionType
from typing import Any

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.library.harm import KINDS
from tfgrpo_dspy.library.library import ExperienceLibrary, Limits
from tfgrpo_dspy.library.retrieval import Retrieval, check_retrieval, described, name_of
from tfgrpo_dspy.library.tokens import tokens_of
from tfgrpo_dspy.lm.budget import Budget
from tfgrpo_dspy.lm.meter import Meter

ON_UNIFORM = ("skip", "hint")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides a run's outcome, besides student, data, metric and LMs.

    Raises:
        SettingsError: A value is out of its range; the message says which and why.
    """

    epochs: int = 3
    """Passes over the trainset, >= 1 (paper: 3)."""
    batch_size: int | None = None
    """Examples per step, >= 1; None for one batch per epoch (paper)."""
    group_size: int = 5
    """G, rollouts per example, >= 1 (paper: 5 for mathematics, 3 for web search). With 1 no group can differ, so
    nothing is learned unless `require_contrast` is False."""
    min_group_size: int | None = None
    """Adaptive groups (ours): rollouts that each starts with, >= 2 and < `group_size`. One at a time is added until
    rewards differ, the group is hopeless (see `adaptive`) or it has `group_size`. None makes all at once (paper)."""
    require_contrast: bool = True
    """Whether groups whose rewards do not differ are passed over (paper); False also extracts from those, each rollout
    then speaking for itself, which is what is left of the method at G = 1 (the paper's ablation)."""
    temperature: float | None = 0.7
    """Rollout temperature, > 0 (paper: 0.7); None keeps each LM's own."""
    experiences_per_group: int = 1
    """Candidate experiences a group may give, >= 1 (ours)."""
    max_words: int = 32
    """Words per experience, >= 1 (paper's prompt: 32)."""
    max_experiences: int | None = None
    """Entries of the library at most; None for no bound."""
    max_library_tokens: int | None = None
    """Tokens of the library at most: what exceeds it after an update is condensed, then trimmed (see `fitting`); None
    for no bound."""
    count_tokens: Callable[[str], int] | None = None
    """Counts tokens for `max_library_tokens`, e.g. `Tokenizer("openai/gpt-4.1-mini")`; None estimates them."""
    retrieval: Retrieval | None = None
    """How the entries that a query reads are chosen, e.g. `BM25(8)`, in training and by the program that is returned;
    reflection is shown those that fit what it is about. None reads all (paper)."""
    max_trajectory_tokens: int = 16_000
    """Estimated tokens of a trajectory that the summarizer is shown at most; longer ones lose their middle (ours)."""
    objective: str | None = None
    """What the program is meant to do well, for the three prompts; None takes the student's own instructions."""
    use_ground_truth: bool = True
    """Whether summarizer and extractor are shown the expected outputs."""
    failure_score: float = 0.0
    """Reward of a policy failure, finite."""
    tolerance: float = 1e-9
    """Rewards of a group that differ by no more count as equal, >= 0 (ours)."""
    retries: int = 2
    """Further tries for a reply that does not validate, each shown the error, >= 0 (ours)."""
    validation_rollouts: int = 1
    """Rollouts per valset example after each step, >= 1 (ours)."""
    conditioned: tuple[str, ...] | None = None
    """Names of the predictors that read the library; None for all (for ReAct the acting one)."""
    library: ExperienceLibrary = field(default_factory=ExperienceLibrary)
    """The library to start from (paper: empty)."""
    num_threads: int | None = None
    """Concurrent tasks, which bounds concurrent LM calls, >= 1; None takes DSPy's setting."""
    max_errors: int | None = None
    """Lost rollouts, failed summaries, extractions and updates that stop the run when exceeded, >= 0; None takes
    DSPy's setting."""
    budget: Budget | None = None
    """Caps on calls, tokens, US dollars and time; the run ends with what it has when one is reached. None for none."""
    dropout: float = 0.0
    """Chance that a rollout of training does not read an entry, in [0, 1): measures what each does (ours, see
    `credit`). 0 measures nothing (paper)."""
    prune: str | None = None
    """`harmful` deletes entries whose measured effect is below zero (see `pruning`), for which it needs `dropout`; None
    deletes none."""
    on_uniform: str = "skip"
    """What becomes of groups whose rewards are all equal, one of `ON_UNIFORM`: `skip` passes them over (paper);
    `hint` lets the extractor find out from the expected output what went wrong where all did."""
    patience: int | None = None
    """Epochs in a row without progress after which the run ends, >= 1 (see `gain`); None makes all of them (paper)."""
    require_gain: bool = False
    """Whether the untouched student is returned when a final comparison on fresh rollouts does not show a gain."""
    screen: tuple[str, ...] = ()
    """Signs of harm (of `harm.KINDS`) for which operations are refused; all are flagged anyway."""
    max_drift: float = 0.5
    """Share of the library, in [0, 1], that a step may change without being flagged."""
    hedge: float = 0.0
    """Share of the calls that may be sent a second time because they are slow, in [0, 1]; the first answer counts."""
    call_timeout: float | None = None
    """Seconds that an LM call may take, > 0; None learns it from the latency observed (ours)."""
    rollout_timeout: float | None = None
    """Seconds that a rollout may take with its metric, > 0; a longer one is lost. None for no limit."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "group_size", "experiences_per_group", "max_words", "validation_rollouts"):
            self._at_least(name, 1)
        for name in ("batch_size", "max_experiences", "max_library_tokens", "num_threads"):
            self._at_least(name, 1, optional=True)
        self._at_least("max_trajectory_tokens", 200)
        self._at_least("retries", 0)
        self._at_least("max_errors", 0, optional=True)
        self._check_endpoint_settings()
        self._check_min_group_size()
        self._check_credit()
        check_retrieval(self.retrieval)
        if self.count_tokens is not None and not callable(self.count_tokens):
            raise SettingsError(f"count_tokens must be a function of a text, or None, got {self.count_tokens!r}")
        self._check_library_tokens()
        self._check_safeguards()
        if not _is_number(self.failure_score):
            raise SettingsError(f"failure_score must be a finite number, got {self.failure_score!r}")
        if not _is_number(self.tolerance) or self.tolerance < 0:
            raise SettingsError(f"tolerance must be a finite number >= 0, got {self.tolerance!r}")
        if self.temperature is not None and (not _is_number(self.temperature) or self.temperature <= 0):
            raise SettingsError(
                f"temperature must be > 0 to sample a group, got {self.temperature!r}: at 0 its rollouts hardly "
                "differ; the paper uses 0.7, and None keeps the LM's own"
            )
        if not isinstance(self.library, ExperienceLibrary):
            raise SettingsError(
                f"library must be an ExperienceLibrary, got {type(self.library).__name__}; "
                "read one from a file with read_library(path)"
            )
        self._is("seed", int, "a whole number")
        self._is("use_ground_truth", bool, "True or False")
        self._is("require_contrast", bool, "True or False")
        self._is("objective", str | None, "text or None")

    def _check_endpoint_settings(self) -> None:
        if self.budget is not None and not isinstance(self.budget, Budget):
            raise SettingsError(f"budget must be a Budget, e.g. Budget(max_lm_calls=200), got {self.budget!r}")
        if not _is_number(self.hedge) or not 0 <= self.hedge <= 1:
            raise SettingsError(f"hedge is a share of the calls, from 0 (none) to 1, got {self.hedge!r}")
        for name in ("call_timeout", "rollout_timeout"):
            seconds = getattr(self, name)
            if seconds is not None and not (_is_number(seconds) and seconds > 0):
                raise SettingsError(f"{name} must be a number of seconds > 0 or None, got {seconds!r}")

    def _check_min_group_size(self) -> None:
        self._at_least("min_group_size", 2, optional=True)
        if self.min_group_size is not None and self.min_group_size >= self.group_size:
            raise SettingsError(
                f"min_group_size must be below group_size={self.group_size}, got {self.min_group_size}: a group starts "
                "with so many rollouts and grows while their rewards are equal; None makes them all at once"
            )

    def _check_library_tokens(self) -> None:
        if self.max_library_tokens is None or not isinstance(self.library, ExperienceLibrary):
            return
        pinned = tokens_of((e for e in self.library if e.pinned), self.count_tokens)
        if pinned > self.max_library_tokens:
            raise SettingsError(
                f"the pinned experiences alone take {pinned} tokens, but max_library_tokens is "
                f"{self.max_library_tokens}, and pinned ones are never taken out: unpin some, or allow more tokens"
            )

    def _check_credit(self) -> None:
        if not _is_number(self.dropout) or not 0 <= self.dropout < 1:
            raise SettingsError(
                f"dropout is the chance that a rollout does not read an experience, >= 0 and below 1, got "
                f"{self.dropout!r}; 0.3 measures effects well"
            )
        if self.dropout and self.retrieval is not None:
            raise SettingsError(
                "dropout and retrieval exclude each other: effects are measured by withholding entries at random, and "
                "retrieval withholds them by what the query is about; measure first, then retrieve"
            )
        if self.prune not in (None, "harmful"):
            raise SettingsError(f'prune must be "harmful" or None, got {self.prune!r}')
        if self.prune is not None and not self.dropout:
            raise SettingsError("prune needs measured effects: set dropout above 0 too, e.g. dropout=0.3")

    def _check_safeguards(self) -> None:
        self._at_least("patience", 1, optional=True)
        self._is("require_gain", bool, "True or False")
        if self.on_uniform not in ON_UNIFORM:
            raise SettingsError(f"on_uniform must be one of {', '.join(ON_UNIFORM)}, got {self.on_uniform!r}")
        if self.on_uniform == "hint" and not self.use_ground_truth:
            raise SettingsError('on_uniform="hint" shows the expected output, which use_ground_truth=False forbids')
        if not _is_number(self.max_drift) or not 0 <= self.max_drift <= 1:
            raise SettingsError(f"max_drift is a share of the library, from 0 to 1, got {self.max_drift!r}")
        unknown = [kind for kind in self.screen if kind not in KINDS]
        if unknown:
            raise SettingsError(f"there is no sign of harm {unknown[0]!r} to screen for; there are: {', '.join(KINDS)}")

    @classmethod
    def checked(cls, **values: Any) -> Settings:
        """The settings of these names and values; an unknown name is a `SettingsError` that lists the known ones."""
        known = [f.name for f in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise SettingsError(f"there is no setting {unknown[0]!r}; the settings are: {', '.join(known)}")
        return cls(**values)

    def overridden(self, values: Mapping[str, Any]) -> Settings:
        """These settings with the given values in place of theirs; a None value leaves a setting as it is."""
        return replace(self, **{name: value for name, value in values.items() if value is not None})

    @property
    def limits(self) -> Limits:
        """The library's bounds, to be kept by every update; its tokens are bounded after it."""
        return Limits(self.max_experiences, None, self.max_words)

    def as_params(self) -> dict[str, object]:
        """Name to value, for records; the library as its number of entries."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["count_tokens"] = None if self.count_tokens is None else name_of(self.count_tokens)
        return {**values, "library": len(self.library), "retrieval": described(self.retrieval)}

    def _is(self, name: str, kind: type | UnionType, expected: str) -> None:
        value = getattr(self, name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise SettingsError(f"{name} must be {expected}, got {value!r}")

    def _at_least(self, name: str, least: int, *, optional: bool = False) -> None:
        value = getattr(self, name)
        if optional and value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            or_none = " or None" if optional else ""
            raise SettingsError(f"{name} must be a whole number >= {least}{or_none}, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def meter_for(settings: Settings, num_threads: int) -> Meter:
    """The meter of a run or an evaluation with these settings."""
    return Meter(
        settings.budget,
        most=num_threads,
        call_timeout=settings.call_timeout,
        hedge=settings.hedge,
        seed=settings.seed,
    )
