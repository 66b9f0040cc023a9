"""Training-Free GRPO for DSPy: a frozen LLM gets better by learning what to put in its context.

    optimizer = TrainingFreeGRPO(metric=metric)
    better = optimizer.compile(program, trainset)
    print(better.experience_library)

Source of the method: Cai et al., "Training-Free Group Relative Policy Optimization", arXiv 2510.08191.
"""

from typing import TYPE_CHECKING

from tfgrpo_dspy.names.public import lazily

if TYPE_CHECKING:
    from tfgrpo_dspy.errors import (
        BudgetError,
        DataError,
        HistoryError,
        LibraryFormatError,
        MetricError,
        MissingExtraError,
        ProgramError,
        RequestError,
        ReviewStop,
        SettingsError,
        TFGRPOError,
        TooManyErrors,
    )
    from tfgrpo_dspy.evaluation import compare, evaluate
    from tfgrpo_dspy.gates.holdout import Holdout
    from tfgrpo_dspy.history.commits import Commit
    from tfgrpo_dspy.history.file import load_history
    from tfgrpo_dspy.history.history import History, blame, diff, rollback
    from tfgrpo_dspy.history.of_run import history_of
    from tfgrpo_dspy.library.apply import Change, Limits, Refusal
    from tfgrpo_dspy.library.combine import Combined, LeftOut, combine
    from tfgrpo_dspy.library.experience import Circumstances, Experience, Provenance, Source
    from tfgrpo_dspy.library.formats import read_library, write_library
    from tfgrpo_dspy.library.library import Applied, ExperienceLibrary
    from tfgrpo_dspy.library.operations import Add, Delete, Keep, Modify, Operation
    from tfgrpo_dspy.library.retrieval import BM25, Embedding
    from tfgrpo_dspy.library.tokens import Tokenizer
    from tfgrpo_dspy.lm.budget import Budget
    from tfgrpo_dspy.lm.usage import Traffic, Usage
    from tfgrpo_dspy.observers.mlflow.tracking import MLflowTracking
    from tfgrpo_dspy.observers.wandb_tracking import WandbTracking
    from tfgrpo_dspy.program.attach import attach
    from tfgrpo_dspy.program.function import student_from
    from tfgrpo_dspy.program.instructions import detach, library_of
    from tfgrpo_dspy.program.retrieving import Retrieving
    from tfgrpo_dspy.program.routing import Pluggable, use_library, with_libraries
    from tfgrpo_dspy.records.advantages import Fate
    from tfgrpo_dspy.records.decisions import Decision, Proposed
    from tfgrpo_dspy.records.effects import Effect
    from tfgrpo_dspy.records.evaluation import Comparison, Evaluation, Gain
    from tfgrpo_dspy.records.events import Event, Observer
    from tfgrpo_dspy.records.failures import Failure
    from tfgrpo_dspy.records.result import CompileResult, RunStopped, StepRecord
    from tfgrpo_dspy.records.rollouts import Group, Lost, Rollout, Scored
    from tfgrpo_dspy.rewards.groups import MajorityVote, SelfDiscrimination
    from tfgrpo_dspy.rewards.reward import GroupMetric
    from tfgrpo_dspy.rollouts.past import PastRollouts
    from tfgrpo_dspy.settings import Settings
    from tfgrpo_dspy.statistics.estimates import Difference, Estimate
    from tfgrpo_dspy.teleprompter import TrainingFreeGRPO

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
    "Fate",
    "Gain",
    "Group",
    "GroupMetric",
    "History",
    "HistoryError",
    "Holdout",
    "Keep",
    "LeftOut",
    "LibraryFormatError",
    "Limits",
    "Lost",
    "MLflowTracking",
    "MajorityVote",
    "MetricError",
    "MissingExtraError",
    "Modify",
    "Observer",
    "Operation",
    "PastRollouts",
    "Pluggable",
    "ProgramError",
    "Proposed",
    "Provenance",
    "Refusal",
    "RequestError",
    "Retrieving",
    "ReviewStop",
    "Rollout",
    "RunStopped",
    "Scored",
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
    "WandbTracking",
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
    "student_from",
    "use_library",
    "with_libraries",
    "write_library",
]

__getattr__, __dir__ = lazily(__name__)
