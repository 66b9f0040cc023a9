"""What optimizers, tasks, tools and evaluations of one's own are built with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfgrpo_dspy.names.public import lazily

if TYPE_CHECKING:
    from tfgrpo_dspy.library.file import read_utf8, write_atomically
    from tfgrpo_dspy.library.foreign.playbook import bullets_of
    from tfgrpo_dspy.lm.budget import OutOfBudget
    from tfgrpo_dspy.lm.metering import capped
    from tfgrpo_dspy.lm.usage import usage_of
    from tfgrpo_dspy.lm.verdicts.table import verdict_of
    from tfgrpo_dspy.names.plugins import load_plugin, plugins
    from tfgrpo_dspy.program.instructions import copy_program, default_conditioned
    from tfgrpo_dspy.program.transcript import render_values
    from tfgrpo_dspy.reports.redaction import safe
    from tfgrpo_dspy.rollouts.watching import Attempt, draw_lm, watch
    from tfgrpo_dspy.run.identity import identity_of
    from tfgrpo_dspy.runtime.locks import holding, put_aside
    from tfgrpo_dspy.runtime.store import Store
    from tfgrpo_dspy.signatures import SummarizeRollout
    from tfgrpo_dspy.text import count_words, counted, fingerprint, neutralise, one_line, shorten

__all__ = [
    "Attempt",
    "OutOfBudget",
    "Store",
    "SummarizeRollout",
    "bullets_of",
    "capped",
    "copy_program",
    "count_words",
    "counted",
    "default_conditioned",
    "draw_lm",
    "fingerprint",
    "holding",
    "identity_of",
    "load_plugin",
    "neutralise",
    "one_line",
    "plugins",
    "put_aside",
    "read_utf8",
    "render_values",
    "safe",
    "shorten",
    "usage_of",
    "verdict_of",
    "watch",
    "write_atomically",
]

__getattr__, __dir__ = lazily(__name__)
