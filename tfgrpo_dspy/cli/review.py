"""Review of a step's operations by a person at the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.prompt import Prompt

from tfgrpo_dspy.cli.terminal import out, say
from tfgrpo_dspy.cli.view import show_change
from tfgrpo_dspy.errors import ReviewStop
from tfgrpo_dspy.library.apply import Limits
from tfgrpo_dspy.library.library import ExperienceLibrary
from tfgrpo_dspy.library.operations import Delete, operation_id
from tfgrpo_dspy.records.decisions import Decision, Proposed
from tfgrpo_dspy.text import counted

_KEYS = "a accept, r refuse, e edit, A accept all the rest, q stop here"
_EVIDENCE_SHOWN = 3


class TerminalReview:
    """Asks about each operation in turn.

    Args:
        max_words: Words that an edited text may have.
    """

    def __init__(self, max_words: int) -> None:
        self._limits = Limits(max_words=max_words)

    def __call__(self, library: ExperienceLibrary, proposals: Sequence[Proposed]) -> list[Decision]:
        """One decision per proposal; ReviewStop when the person stops the run, or input ends."""
        who = f"Step {proposals[0].step} proposes" if proposals[0].step else "Agents propose"
        say(f"\n{who} {counted(len(proposals), 'operation')}: {_KEYS}", style="bold")
        decisions: list[Decision] = []
        for number, proposal in enumerate(proposals, start=1):
            _show(proposal, f"{number}/{len(proposals)}")
            try:
                choices = [key for key in "areAq" if key != "e" or not isinstance(proposal.operation, Delete)]
                key = Prompt.ask("  your choice", choices=choices, console=out())
                if key == "A":
                    return [*decisions, *[Decision("accept")] * (len(proposals) - len(decisions))]
                decision = self._decision(key, proposal, library) if key != "q" else None
            except EOFError:
                decision = None
            if decision is None:
                raise ReviewStop(
                    f"you stopped the run before the operations of step {proposal.step} were applied; the same command "
                    "goes on there"
                )
            decisions.append(decision)
        return decisions

    def _decision(self, key: str, proposal: Proposed, library: ExperienceLibrary) -> Decision:
        if key == "r":
            return Decision("refuse", Prompt.ask("  why", default="", show_default=False, console=out()))
        if key == "a":
            return Decision("accept")
        while True:
            text = Prompt.ask("  new text", console=out())
            operation = proposal.operation.model_copy(update={"text": text})
            refusals = library.apply([operation], limits=self._limits).refusals
            if not refusals:
                return Decision("edit", operation=operation)
            say(f"  that cannot be: {refusals[0].reason}", style="yellow")


def _show(proposal: Proposed, number: str) -> None:
    operation, evidence = proposal.operation, proposal.evidence
    head = " ".join(filter(None, [number, "", operation.op, operation_id(operation)]))
    grounds = [("why", operation.reason)]
    for found in evidence[:_EVIDENCE_SHOWN]:
        rewards = " ".join(f"{reward:g}" for reward in found.rewards)
        grounds.append(("from", f"{found.source.example} (rewards {rewards}): {found.task}"))
    more = len(evidence) - _EVIDENCE_SHOWN
    grounds += [("", f"and {more} more")] if more > 0 else []
    show_change(head, proposal.before, getattr(operation, "text", None), grounds)
