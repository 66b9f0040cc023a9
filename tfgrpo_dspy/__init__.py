"""Training-Free GRPO for DSPy: a frozen LLM gets better by learning what to put in its context.

    optimizer = TrainingFreeGRPO(metric=metric)
    better = optimizer.compile(program, trainset)
    print(better.experience_library)

Source of the method: Cai et al., "Training-Free Group Relative Policy Optimization", arXiv 2510.08191.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfgrpo_dspy.budget import Budget
    from tfgrpo_dspy.chronicle import history_of
    from tfgrpo_dspy.combining import Combined, LeftOut, combine
    from tfgrpo_dspy.commits import Commit
    from tfgrpo_dspy.conditioning import attach, detach, library_of
    from tfgrpo_dspy.credit import Effect
    from tfgrpo_dspy.errors import (
        BudgetError,
        DataError,
        HistoryError,
        LibraryFormatError,
        MetricError,
        MissingExtraError,
        ProgramError,
        ReviewStop,
        RunStopped,
        SettingsError,
        TFGRPOError,
        TooManyErrors,
    )
    from tfgrpo_dspy.estimates import Difference, Estimate
    from tfgrpo_dspy.evaluation import Comparison, Evaluation, compare, evaluate
    from tfgrpo_dspy.events import CompileResult, Event, Failure, Observer, StepRecord
    from tfgrpo_dspy.experience import (
        Applied,
        Change,
        Circumstances,
        Experience,
        ExperienceLibrary,
        Limits,
        Provenance,
        Refusal,
        Source,
    )
    from tfgrpo_dspy.flagging import Screen
    from tfgrpo_dspy.formats import read_library, write_library
    from tfgrpo_dspy.gain import Gain
    from tfgrpo_dspy.group import Group, Lost, Rollout, Scored
    from tfgrpo_dspy.groupwise import MajorityVote, SelfDiscrimination
    from tfgrpo_dspy.history import History, blame, diff, rollback
    from tfgrpo_dspy.history_file import load_history
    from tfgrpo_dspy.holdout import Holdout
    from tfgrpo_dspy.operations import Add, Delete, Keep, Modify, Operation
    from tfgrpo_dspy.plugins import LibraryRouter, Pluggable, use_library, with_libraries
    from tfgrpo_dspy.retrieval import BM25, Embedding
    from tfgrpo_dspy.retrieving import Retrieving
    from tfgrpo_dspy.review import Decision, Proposal
    from tfgrpo_dspy.reward import GroupMetric
    from tfgrpo_dspy.screening import Judge
    from tfgrpo_dspy.settings import Settings
    from tfgrpo_dspy.teleprompter import TrainingFreeGRPO
    from tfgrpo_dspy.tokens import Tokenizer
    from tfgrpo_dspy.usage import Traffic, Usage

__all__ = [
    "BM25",
    "Add",
    "Applied",
    "Budget",
    "BudgetError",
    "Change",
    "Circumstances",
    "Combined",
    "Commit",
    "Comparison",
    "CompileResult",
    "DataError",
    "Decision",
    "Delete",
    "Difference",
    "Effect",
    "Embedding",
    "Estimate",
    "Evaluation",
    "Event",
    "Experience",
    "ExperienceLibrary",
    "Failure",
    "Gain",
    "Group",
    "GroupMetric",
    "History",
    "HistoryError",
    "Holdout",
    "Judge",
    "Keep",
    "LeftOut",
    "LibraryFormatError",
    "LibraryRouter",
    "Limits",
    "Lost",
    "MajorityVote",
    "MetricError",
    "MissingExtraError",
    "Modify",
    "Observer",
    "Operation",
    "Pluggable",
    "ProgramError",
    "Proposal",
    "Provenance",
    "Refusal",
    "Retrieving",
    "ReviewStop",
    "Rollout",
    "RunStopped",
    "Scored",
    "Screen",
    "SelfDiscrimination",
    "Settings",
    "SettingsError",
    "Source",
    "StepRecord",
    "TFGRPOError",
    "Tokenizer",
    "TooManyErrors",
    "Traffic",
    "TrainingFreeGRPO",
    "Usage",
    "attach",
    "blame",
    "combine",
    "compare",
    "detach",
    "diff",
    "evaluate",
    "history_of",
    "library_of",
    "load_history",
    "read_library",
    "rollback",
    "use_library",
    "with_libraries",
    "write_library",
]

_HOMES = {
    "budget": ("Budget",),
    "chronicle": ("history_of",),
    "combining": (
        "Combined",
        "LeftOut",
        "combine",
    ),
    "commits": ("Commit",),
    "conditioning": (
        "attach",
        "detach",
        "library_of",
    ),
    "credit": ("Effect",),
    "errors": (
        "BudgetError",
        "DataError",
        "HistoryError",
        "LibraryFormatError",
        "MetricError",
        "MissingExtraError",
        "ProgramError",
        "ReviewStop",
        "RunStopped",
        "SettingsError",
        "TFGRPOError",
        "TooManyErrors",
    ),
    "estimates": (
        "Difference",
        "Estimate",
    ),
    "evaluation": (
        "Comparison",
        "Evaluation",
        "compare",
        "evaluate",
    ),
    "events": (
        "CompileResult",
        "Event",
        "Failure",
        "Observer",
        "StepRecord",
    ),
    "experience": (
        "Applied",
        "Change",
        "Circumstances",
        "Experience",
        "ExperienceLibrary",
        "Limits",
        "Provenance",
        "Refusal",
        "Source",
    ),
    "flagging": ("Screen",),
    "gain": ("Gain",),
    "holdout": ("Holdout",),
    "screening": ("Judge",),
    "formats": (
        "read_library",
        "write_library",
    ),
    "history": (
        "History",
        "blame",
        "diff",
        "rollback",
    ),
    "history_file": ("load_history",),
    "operations": (
        "Add",
        "Delete",
        "Keep",
        "Modify",
        "Operation",
    ),
    "group": (
        "Group",
        "Lost",
        "Rollout",
        "Scored",
    ),
    "groupwise": (
        "MajorityVote",
        "SelfDiscrimination",
    ),
    "plugins": (
        "LibraryRouter",
        "Pluggable",
        "use_library",
        "with_libraries",
    ),
    "review": (
        "Decision",
        "Proposal",
    ),
    "reward": ("GroupMetric",),
    "settings": ("Settings",),
    "teleprompter": ("TrainingFreeGRPO",),
    "retrieval": ("BM25", "Embedding"),
    "retrieving": ("Retrieving",),
    "tokens": ("Tokenizer",),
    "usage": ("Traffic", "Usage"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use, so that importing the package costs next to nothing (PEP 562)."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
