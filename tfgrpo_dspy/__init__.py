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
    from tfgrpo_dspy.commits import Commit
    from tfgrpo_dspy.conditioning import attach, detach, library_of
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
        Experience,
        ExperienceLibrary,
        Limits,
        Provenance,
        Refusal,
        Source,
    )
    from tfgrpo_dspy.formats import read_library, write_library
    from tfgrpo_dspy.group import Group, Lost, Rollout, Scored
    from tfgrpo_dspy.history import History, blame, diff, rollback
    from tfgrpo_dspy.history_file import load_history
    from tfgrpo_dspy.operations import Add, Delete, Keep, Modify, Operation
    from tfgrpo_dspy.review import Decision, Proposal
    from tfgrpo_dspy.settings import Settings
    from tfgrpo_dspy.teleprompter import TrainingFreeGRPO
    from tfgrpo_dspy.usage import Traffic, Usage

__all__ = [
    "Add",
    "Applied",
    "Budget",
    "BudgetError",
    "Change",
    "Commit",
    "Comparison",
    "CompileResult",
    "DataError",
    "Decision",
    "Delete",
    "Difference",
    "Estimate",
    "Evaluation",
    "Event",
    "Experience",
    "ExperienceLibrary",
    "Failure",
    "Group",
    "History",
    "HistoryError",
    "Keep",
    "LibraryFormatError",
    "Limits",
    "Lost",
    "MetricError",
    "MissingExtraError",
    "Modify",
    "Observer",
    "Operation",
    "ProgramError",
    "Proposal",
    "Provenance",
    "Refusal",
    "ReviewStop",
    "Rollout",
    "RunStopped",
    "Scored",
    "Settings",
    "SettingsError",
    "Source",
    "StepRecord",
    "TFGRPOError",
    "TooManyErrors",
    "Traffic",
    "TrainingFreeGRPO",
    "Usage",
    "attach",
    "blame",
    "compare",
    "detach",
    "diff",
    "evaluate",
    "history_of",
    "library_of",
    "load_history",
    "read_library",
    "rollback",
    "write_library",
]

_HOMES = {
    "budget": ("Budget",),
    "chronicle": ("history_of",),
    "commits": ("Commit",),
    "conditioning": (
        "attach",
        "detach",
        "library_of",
    ),
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
        "Experience",
        "ExperienceLibrary",
        "Limits",
        "Provenance",
        "Refusal",
        "Source",
    ),
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
    "review": (
        "Decision",
        "Proposal",
    ),
    "settings": ("Settings",),
    "teleprompter": ("TrainingFreeGRPO",),
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
