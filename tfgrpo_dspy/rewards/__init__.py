"""Rewards: ready-made metrics, composite ones, those of a whole group, and whether a reward can be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfgrpo_dspy.names.public import lazily

if TYPE_CHECKING:
    from tfgrpo_dspy.rewards.audit import (
        RewardAudit,
        VerdictAudit,
        audit_groups,
        audit_reward,
        audit_verdicts,
        cohen_kappa,
    )
    from tfgrpo_dspy.rewards.composite import Brevity, Format, ToolCalls, Weighted, count_tool_calls
    from tfgrpo_dspy.rewards.groups import MajorityVote, SelfDiscrimination
    from tfgrpo_dspy.rewards.metrics import (
        exact,
        expected_and_given,
        final_part,
        judged,
        normalise,
        number,
        same_answer,
        shown,
    )
    from tfgrpo_dspy.rewards.reward import GroupMetric, Metric, Reward, check_metric, score, score_together

__all__ = [
    "Brevity",
    "Format",
    "GroupMetric",
    "MajorityVote",
    "Metric",
    "Reward",
    "RewardAudit",
    "SelfDiscrimination",
    "ToolCalls",
    "VerdictAudit",
    "Weighted",
    "audit_groups",
    "audit_reward",
    "audit_verdicts",
    "check_metric",
    "cohen_kappa",
    "count_tool_calls",
    "exact",
    "expected_and_given",
    "final_part",
    "judged",
    "normalise",
    "number",
    "same_answer",
    "score",
    "score_together",
    "shown",
]

__getattr__, __dir__ = lazily(__name__)
