"""Benchmarks as examples, cleaned and pinned by a hash; splits that share no problem."""

from evals.datasets.loading import Dataset, load
from evals.datasets.splits import Split, check_disjoint, split, without

__all__ = ["Dataset", "Split", "check_disjoint", "load", "split", "without"]
