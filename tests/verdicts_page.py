"""Writes docs/verdicts.md from the table of verdicts: `python -m tests.verdicts_page`."""

from __future__ import annotations

from pathlib import Path

from tfgrpo_dspy.lm.verdicts.replies import REPLY_RULES
from tfgrpo_dspy.lm.verdicts.table import CONSEQUENCES, RULES, Taken

PAGE = Path(__file__).parents[1] / "docs" / "verdicts.md"
TAKEN_FOR: dict[Taken, str] = {
    "policy": "the model's result",
    "infrastructure": "infrastructure, lost",
    "request": "fatal for every rollout",
}
INTRODUCTION = """# Verdicts

Whatever goes wrong in a rollout, in a metric that asks an LM, in reflection, in an evaluation or in a judge is one of
three things. This page is made from the table in `tfgrpo_dspy/lm/verdicts/` by `python -m tests.verdicts_page`, and a
test compares the two.
"""
ERRORS = """## Errors

The first row that holds decides. An error is looked at from the outside in: it, what it was raised from or while
handling, the members of a group; the first that the table knows is the one that counts. What a program catches itself
(an agent is shown its tool's error and goes on) is no failure of the rollout, unless no model answered it at all: what
it then makes of an outage is no answer, and neither is a reward that a metric makes of one.

"An LM's endpoint" is one that DSPy, LiteLLM, or the SDK of a provider asked; of other services the words say nothing
about the request, so their errors are told apart by status and class only.
"""
REPLIES = """## Replies

Of what came with success, these are not answers, or not whole ones. Tool calls without text are an answer.
"""
REFLECTION = """## In reflection

Calls of summaries, extraction, updates and judges are sorted by the same tables. A reply that has not the form, or was
cut at its bound, is asked for again with the error shown; a prompt that is too long is made shorter; what is filtered
or lost falls back (a summary to the shortened trajectory, an extraction to the next step) and is recorded; a request
that cannot succeed stops the run.

## When it adds up

An example is one error, in however many of its rollouts, summaries and extractions something is lost; so is an update.
`max_errors` bounds these errors (`None`: a tenth of the examples, and no fewer than DSPy's setting), and the message
names the examples. A step of which no rollout comes through, for whatever reason, ends the run: what follows would
learn from nothing.
"""


def page() -> str:
    """The whole page."""
    summary = ["| taken for | what the run does |", "|---|---|"]
    summary += [f"| {TAKEN_FOR[taken]} | {does} |" for taken, does in CONSEQUENCES.items()]
    return (
        "\n".join(
            [
                INTRODUCTION,
                *summary,
                f"\n{ERRORS}",
                *_table([(rule.fact, rule.taken_for, rule.remark) for rule in RULES]),
                f"\n{REPLIES}",
                *_table([(rule.fact, rule.taken_for, rule.remark) for rule in REPLY_RULES]),
                f"\n{REFLECTION}",
            ]
        ).rstrip("\n")
        + "\n"
    )


def _table(rows: list[tuple[str, Taken, str]]) -> list[str]:
    head = ["| fact | taken for | what to change; or why, where that is in doubt |", "|---|---|---|"]
    return head + [f"| {fact} | {TAKEN_FOR[taken]} | {remark} |" for fact, taken, remark in rows]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
