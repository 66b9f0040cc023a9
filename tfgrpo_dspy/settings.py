"""The settings of a run: each declared once, frozen, checked before any call is paid.

To add one, declare it in the class of its group (that of the records is `run.setup.Setup`) and name it in the
constructor of `TrainingFreeGRPO`; to delete one, delete both. `docs/options.md` is made from here:
`python -m tests.options_page`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tfgrpo_dspy.declaration import (
    AUTHORS,
    PAPER,
    above,
    at_least,
    check_settings,
    like,
    setting,
    settings_of,
    share,
    those_of,
)
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.library.apply import Limits
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.retrieval import Retrieval, can_retrieve, check_retrieval, described, name_of, read_bm25
from tfgrpo_dspy.library.section import tokens_of
from tfgrpo_dspy.lm.budget import Budget
from tfgrpo_dspy.looks.look import call_text

if TYPE_CHECKING:
    from tfgrpo_dspy.lm.meter import Meter


def _are_seen(kinds: object) -> bool:
    return isinstance(kinds, list | tuple | set) and {"image", "audio", "file"}.issuperset(kinds)


def _tokenizer(model: str) -> Callable[[str], int]:
    from tfgrpo_dspy.library.tokens import Tokenizer

    return Tokenizer(model)


@dataclass(frozen=True, kw_only=True)
class RolloutSettings:
    """How a rollout is sampled and scored, in training as in an evaluation."""

    group: ClassVar[str] = "method"

    temperature: float | None = setting(
        0.7,
        "Rollout temperature; `None` keeps each LM's own.",
        above(0),
        source=PAPER,
        why="at 0 the rollouts of a group hardly differ; the paper uses 0.7, and `None` keeps the LM's own",
    )
    failure_score: float = setting(0.0, "Reward of a rollout in which the program itself failed.")
    seed: int = setting(0, "Draws the rollouts and the batches.")


@dataclass(frozen=True, kw_only=True)
class MethodSettings(RolloutSettings):
    """What is learned from, and how."""

    group: ClassVar[str] = "method"

    epochs: int = setting(3, "Passes over the trainset.", at_least(1), source=PAPER)
    batch_size: int | None = setting(
        None, "Examples per step; `None` for one batch per epoch.", at_least(1), source=PAPER
    )
    group_size: int = setting(
        5,
        "G, rollouts per example: 5 for mathematics, 3 for web search. With 1 no group can differ, so nothing is "
        "learned unless `require_contrast=False`.",
        at_least(1),
        source=PAPER,
    )
    min_group_size: int | None = setting(
        None,
        "Adaptive groups: rollouts that each starts with. One at a time is added until rewards differ, the group is "
        "hopeless or it has `group_size`. `None` makes all at once.",
        at_least(2),
    )
    require_contrast: bool = setting(
        True,
        "Whether groups whose rewards do not differ are passed over; `False` also extracts from those, each rollout "
        "then speaking for itself, which is what is left of the method at G = 1.",
        source=PAPER,
    )
    experiences_per_group: int = setting(1, "Candidate experiences that a group may give.", at_least(1))
    update: Literal["each", "batch"] = setting(
        "each",
        'How step 3 decides: `"each"` asks about each candidate by itself, shown the entries nearest to it, side by '
        'side; `"batch"` asks the paper\'s single question about all candidates and the whole library.',
    )
    max_words: int = setting(
        32,
        "Words that an experience is asked to have at most: a longer one is asked to be shortened, and kept if that is "
        "in vain.",
        at_least(1),
        source=AUTHORS,
    )
    max_experiences: int | None = setting(None, "Entries of the library at most; `None` for no bound.", at_least(1))
    max_library_tokens: int | None = setting(
        None,
        "Tokens of the library at most: what exceeds it after an update is condensed, then trimmed; `None` for no "
        "bound.",
        at_least(1),
    )
    count_tokens: Callable[[str], int] | None = setting(
        None,
        'Counts tokens for `max_library_tokens`, e.g. `Tokenizer("openai/gpt-4.1-mini")`, as a text the name of the '
        "model; `None` estimates them.",
        like("a function of a text", where=callable),
        read=_tokenizer,
        metavar="MODEL",
        param=lambda count: None if count is None else name_of(count),
    )
    retrieval: Retrieval | None = setting(
        None,
        "How the entries that a query reads are chosen, in training and by the program that is returned; reflection "
        "is shown those that fit what it is about. With `tokens` instead of `k` as many are read as fit into so many "
        "tokens, first those that fit the query. `None` reads all; as a text, K stands for `BM25(K)`, `K tokens` for "
        "`BM25(tokens=K)`.",
        like(
            "`BM25(k)`, `BM25(tokens=...)`, `Embedding(model, k)`, or a function of query and library that returns ids",
            where=can_retrieve,
        ),
        param=described,
        read=read_bm25,
        metavar="K",
    )
    conditioned: Sequence[str] | None = setting(
        None, "Names of the predictors that read the library; `None` for all (of a ReAct agent the acting one)."
    )
    library: ExperienceLibrary = setting(
        ExperienceLibrary(),
        "The library to start from; empty by default.",
        like("an `ExperienceLibrary`", ExperienceLibrary),
        source=PAPER,
        why="read one from a file with `read_library(path)`",
        param=len,
    )
    objective: str | None = setting(
        None,
        "What the program is meant to do well, for the three prompts; `None` takes its own instructions. Where these "
        "only name its fields, a run of 300 rollouts or more asks the reflection LM once, given examples and what the "
        "metric says of itself.",
    )
    learning_objective: str | None = setting(
        None, "What is to be learned from the attempts, told to the prompts beside the objective, e.g. how to search."
    )
    use_ground_truth: bool = setting(
        True, "Whether summarizer and extractor are shown the expected outputs.", source=PAPER
    )
    reflection_sees: Sequence[str] = setting(
        (),
        "What of an example the reflection LM is shown itself, whole and once, beside its name in the texts: of "
        "`image`, `audio`, `file`. The others are names only, e.g. `<image 1: 640x480 png>`.",
        like("of `image`, `audio` and `file`", where=_are_seen),
    )
    show_rewards: bool = setting(
        True,
        "Whether summarizer and extractor are told what each rollout earned. `False` lets the LM judge by itself and "
        "extracts from every group, as the paper's runs without ground truth do.",
    )
    tolerance: float = setting(1e-9, "Rewards of a group that differ by no more count as equal.", at_least(0))
    retries: int = setting(
        2, "Further tries for a reflection reply that does not validate, each shown the error.", at_least(0)
    )
    max_trajectory_tokens: int = setting(
        16_000,
        "Estimated tokens of a trajectory that the summarizer is shown at most; longer ones lose their middle.",
        at_least(200),
    )
    validation_rollouts: int = setting(1, "Rollouts per example of the valset after each step.", at_least(1))


@dataclass(frozen=True, kw_only=True)
class SafeguardSettings:
    """What must be shown before something enters the library or is returned."""

    group: ClassVar[str] = "safeguards"

    trials: bool = setting(
        False,
        "Whether new and changed experiences are on trial: of each group some rollouts read one and some do not, "
        "which measures what it does at no further call. What hurts or does nothing is taken out, a change that hurts "
        "is taken back. Of several epochs the last is for what is in doubt by then: it is rolled out three times "
        "at most, twice with adaptive groups, on the examples that tell, and nothing is learned from that.",
    )
    patience: int | None = setting(
        None,
        "Epochs in a row in which the reward did not rise, on the `valset` or in training, after which the run ends; "
        "`None` makes all of them.",
        at_least(1),
    )
    require_gain: bool = setting(
        False,
        "Whether the untouched program is returned unless a final comparison on fresh rollouts shows a gain. Half of "
        "the `valset`, or of the held-out examples of a `gate`, is put aside for it and chooses nothing.",
    )


@dataclass(frozen=True, kw_only=True)
class DecidingSettings(MethodSettings, SafeguardSettings):
    """What decides which library a run ends with: part of its identity, and not to be changed when it is taken up."""


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """Where a run ends early."""

    group: ClassVar[str] = "limits"

    budget: Budget | None = setting(
        None,
        "Caps on calls, tokens, US dollars and time. Nothing new starts that would exceed one; the run then ends in "
        "good order with the library it has, and says what came next.",
        like("a `Budget`, e.g. `Budget(max_lm_calls=200)`", Budget),
    )
    max_outage: float | None = setting(
        3600.0,
        "Seconds that an endpoint which answered before may be away, where every request fails, is refused or times "
        "out. The run waits so long, asks with one call at growing intervals and goes on; then it ends in good order. "
        "`None` waits for none: what that loses counts as errors. The same for a disk that takes no more of `log_dir`.",
        above(0),
        metavar="SECONDS",
    )
    max_errors: int | None = setting(
        None,
        "Examples that may go wrong (lost rollouts, failed summaries and extractions; a failed update counts as one) "
        "before the run is stopped; `None` tolerates a tenth of them, and no fewer than DSPy's setting.",
        at_least(0),
    )


@dataclass(frozen=True, kw_only=True)
class EndpointSettings:
    """How calls are made, and what becomes of slow ones."""

    group: ClassVar[str] = "endpoint"

    num_threads: int | None = setting(
        None, "Tasks at once, which bounds LM calls at once; `None` takes DSPy's setting.", at_least(1)
    )
    hedge: float = setting(
        0.0,
        "Share of the calls that may be sent a second time because they are slow; the first answer counts, and both "
        "are paid.",
        share(may_be_all=True),
    )
    call_timeout: float | None = setting(
        None,
        "Seconds that an LM call of a rollout may take, over connecting, headers and body; one of reflection may take "
        "at least four times as long. `None` learns both from the latency observed.",
        above(0),
    )
    rollout_timeout: float | None = setting(
        None,
        "Seconds that a rollout may take with its metric; a longer one is lost, and what hangs in it is left behind "
        "in a thread of its own. `None` for no limit.",
        above(0),
    )


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings(DecidingSettings, LimitSettings, EndpointSettings):
    """Everything that a run is told besides student, data, metric, LMs and who looks on.

    `DecidingSettings` holds what decides the library; the rest only changes how it is come by.

    Raises:
        SettingsError: A value is out of its range; the message says which and why.
    """

    group: ClassVar[str] = "method"

    auto: Literal["light", "medium", "heavy"] | None = setting(
        None,
        'A whole of settings: `"light"` spends the least that was measured to learn nearly as much, `"medium"`, which '
        '`None` means too, is the paper\'s, `"heavy"` measures what each experience does and keeps what helps. '
        "Single settings override it.",
        common=True,
    )

    def __post_init__(self) -> None:
        check_settings(self)
        check_retrieval(self.retrieval)
        _check_library_tokens(self)
        if self.min_group_size is not None and self.min_group_size >= self.group_size:
            raise SettingsError(
                f"`min_group_size` must be below `group_size={self.group_size}`, got {self.min_group_size}: a group "
                "starts with so many rollouts and grows while their rewards are equal; `None` makes them all at once"
            )
        if self.trials and self.group_size == 1:
            raise SettingsError(
                "`trials` compares the rollouts of a group, so it needs `group_size` above 1: leave one of the two out"
            )

    def __repr__(self) -> str:
        """What is otherwise than by default."""
        told = {name: (getattr(self, name), one.default) for name, one in settings_of(Settings).items()}
        return call_text("Settings", {name: value for name, (value, usual) in told.items() if value != usual})

    @classmethod
    def chosen(cls, given: Mapping[str, Any]) -> Settings:
        """The settings among the keywords of a constructor, those left out as `auto` has them, else by default."""
        own = those_of(cls, given)
        return cls(**{**WHOLES.get(own.get("auto") or "medium", {}), **own})

    def overridden(self, values: Mapping[str, Any]) -> Settings:
        """These settings with the given values in place of theirs; a None value leaves a setting as it is."""
        return replace(self, **{name: value for name, value in values.items() if value is not None})

    @property
    def limits(self) -> Limits:
        """The library's bounds, to be kept by every update; its tokens are bounded after it.

        Words are none of them: a longer text is asked to be shortened, and no lesson is dropped for its length.
        """
        return Limits(self.max_experiences, None, None)

    @property
    def learning_epochs(self) -> int:
        """Epochs that are learned from: what the last of several taught would be tried by none (ours)."""
        return self.epochs - (self.trials and self.epochs > 1)

    @property
    def settling_rounds(self) -> int:
        """Times at most that what is in doubt after these is rolled out; 0 without `trials`."""
        if self.learning_epochs == self.epochs:
            return int(self.trials)
        return 3 if self.min_group_size is None else 2  # adaptive groups are for who would rather save

    def as_params(self, declared_by: type | None = None) -> dict[str, object]:
        """Name to value, for records, of all settings or those of one class; of objects what can be told of them."""
        declared = settings_of(declared_by or type(self))
        return {name: one.shown(getattr(self, name)) for name, one in declared.items()}


WHOLES: Mapping[str, Mapping[str, object]] = {
    "light": {"epochs": 2, "min_group_size": 2},
    "medium": {},
    "heavy": {"trials": True},
}
"""What each value of `auto` sets otherwise than by default; `benchmarks/README.md` has what each gained."""


@contextmanager
def naming_the_whole(given: Mapping[str, Any]) -> Iterator[None]:
    """Say in an error about a setting that nobody wrote that it came with `auto`, and how to be rid of it."""
    try:
        yield
    except SettingsError as error:
        for name, value in WHOLES.get(given.get("auto") or "medium", {}).items():
            if name not in given and f"`{name}" in str(error):
                default = f"`{name}={getattr(Settings, name)!r}`"
                came = f"`{name}={value!r}` came with `auto={given['auto']!r}`; to leave it out, give {default} too"
                error.args = (f"{error} ({came})",)
                break
        raise


def _check_library_tokens(settings: Settings) -> None:
    if settings.max_library_tokens is None:
        return
    pinned = tokens_of((e for e in settings.library if e.pinned), settings.count_tokens)
    if pinned > settings.max_library_tokens:
        raise SettingsError(
            f"the pinned experiences alone take {pinned} tokens, but `max_library_tokens` is "
            f"{settings.max_library_tokens}, and pinned ones are never taken out: unpin some, or allow more tokens"
        )


def meter_for(settings: Settings, num_threads: int) -> Meter:
    """The meter of a run or an evaluation with these settings."""
    from tfgrpo_dspy.lm.meter import Meter

    return Meter(
        settings.budget,
        most=num_threads,
        call_timeout=settings.call_timeout,
        hedge=settings.hedge,
        seed=settings.seed,
        max_outage=settings.max_outage,
    )
