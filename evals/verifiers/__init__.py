"""Metrics that tell whether an answer is right: mathematics by its meaning, prose by a language model as judge."""

from evals.verifiers.answers import f1, math_equal
from evals.verifiers.judge import Judge, Labelled, audit_judge

__all__ = ["Judge", "Labelled", "audit_judge", "f1", "math_equal"]
