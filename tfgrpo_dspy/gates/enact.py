"""The one door to the library: a proposal is reviewed, kept to its size and ruled on, and what is left is enacted.

Whoever rules sees the operations on E and the library E' that they would make; nothing edits E' afterwards.
"""

from __future__ import annotations

from dataclasses import replace

from tfgrpo_dspy.gates.flags import flags_of
from tfgrpo_dspy.gates.gate import Gate, Hearing
from tfgrpo_dspy.library.apply import Refusal
from tfgrpo_dspy.library.leaks import Known
from tfgrpo_dspy.library.operations import Add, Keep, Modify, Operation
from tfgrpo_dspy.library.section import tokens_of
from tfgrpo_dspy.records.decisions import Review
from tfgrpo_dspy.records.updates import Enacted, Ruling


def enact(review: Review | None, gate: Gate | None, hearing: Hearing, known: Known) -> Enacted:
    """What becomes of a proposal.

    A person rules first, the gate on what they let pass.

    Raises:
        SettingsError: The review returned something else than a decision per proposal.
        ReviewStop: A person ended the run.
    """
    ruling = Ruling(hearing.operations)
    if review is not None and ruling.operations:
        from tfgrpo_dspy.gates.review import reviewed

        ruling = ruling.then(reviewed(review, hearing))
    ruling = ruling.then(_within_size(replace(hearing, operations=ruling.operations)))
    if gate is not None and ruling.operations:
        ruling = ruling.then(_gated(gate, replace(hearing, operations=ruling.operations)))
    keeps = [operation for operation in hearing.proposal.operations if isinstance(operation, Keep)]
    library, changes, refusals = hearing.proposal.after((*ruling.operations, *keeps))
    refused = (*hearing.proposal.refusals, *ruling.refusals, *refusals)
    return Enacted(library, changes, refused, ruling.trials, ruling.usage, flags_of(changes, known))


def _gated(gate: Gate, hearing: Hearing) -> Ruling:
    """What passes the gate; nothing, if the library would be too large without what it refused."""
    ruling = gate.rule(hearing)
    said = [replace(refusal, reason=f"the gate refused it: {refusal.reason}") for refusal in ruling.refusals]
    if _exceeds(hearing, ruling.operations):
        why = "what the gate refused had made room for it: the library would exceed max_library_tokens"
        said += [Refusal(operation, why) for operation in ruling.operations]
        ruling = replace(ruling, operations=())
    return replace(ruling, refusals=tuple(said))


def _within_size(hearing: Hearing) -> Ruling:
    """Without the last operations that lengthen the library, where a person refused what had made room for them."""
    kept, refused = list(hearing.operations), []
    growing = [operation for operation in kept if isinstance(operation, Add | Modify)]
    while growing and _exceeds(hearing, kept):
        last = growing.pop()
        kept = [operation for operation in kept if operation is not last]
        refused.append(Refusal(last, "the library would exceed max_library_tokens"))
    return Ruling(tuple(kept), tuple(refused))


def _exceeds(hearing: Hearing, operations: list[Operation] | tuple[Operation, ...]) -> bool:
    """Whether these operations would make the library larger than allowed, and larger than it is."""
    settings = hearing.briefing.settings
    most, count = settings.max_library_tokens, settings.count_tokens
    if most is None:
        return False
    would_be = tokens_of(hearing.after(operations), count)
    return would_be > max(most, tokens_of(hearing.library, count))
