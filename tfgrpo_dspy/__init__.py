"""Training-Free GRPO for DSPy: a frozen LLM gets better by learning what to put in its context.

    optimizer = TrainingFreeGRPO(metric=metric)
    better = optimizer.compile(program, trainset)
    print(better.experience_library)

Source of the method: Cai et al., "Training-Free Group Relative Policy Optimization", arXiv 2510.08191.
"""

from tfgrpo_dspy.conditioning import attach, detach, library_of
from tfgrpo_dspy.errors import (
    DataError,
    LibraryFormatError,
    MetricError,
    MissingExtraError,
    ProgramError,
    RunStopped,
    SettingsError,
    TFGRPOError,
    TooManyErrors,
)
from tfgrpo_dspy.estimates import Difference, Estimate
from tfgrpo_dspy.evaluation import Comparison, Evaluation, compare, evaluate
from tfgrpo_dspy.events import CompileResult, Event, Failure, Observer, StepRecord, Usage
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
from tfgrpo_dspy.history import diff
from tfgrpo_dspy.operations import Add, Delete, Keep, Modify, Operation
from tfgrpo_dspy.rollout import Group, Lost, Rollout, Scored
from tfgrpo_dspy.settings import Settings
from tfgrpo_dspy.teleprompter import TrainingFreeGRPO

__all__ = [
    "Add",
    "Applied",
    "Change",
    "Comparison",
    "CompileResult",
    "DataError",
    "Delete",
    "Difference",
    "Estimate",
    "Evaluation",
    "Event",
    "Experience",
    "ExperienceLibrary",
    "Failure",
    "Group",
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
    "Provenance",
    "Refusal",
    "Rollout",
    "RunStopped",
    "Scored",
    "Settings",
    "SettingsError",
    "Source",
    "StepRecord",
    "TFGRPOError",
    "TooManyErrors",
    "TrainingFreeGRPO",
    "Usage",
    "attach",
    "compare",
    "detach",
    "diff",
    "evaluate",
    "library_of",
    "read_library",
    "write_library",
]
