"""What `combine` made of several libraries, gone through by the updater: it sees what no comparison of words does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from tfgrpo_dspy.library.apply import Change, Limits, Refusal
from tfgrpo_dspy.library.combine import Combined, LeftOut
from tfgrpo_dspy.library.experience import Experience, Source
from tfgrpo_dspy.library.library import Applied, ExperienceLibrary
from tfgrpo_dspy.library.operations import Add, Delete, Operation
from tfgrpo_dspy.library.retrieval import BM25, Shelf
from tfgrpo_dspy.library.section import render_lines, told_pinned
from tfgrpo_dspy.lm.budget import UPDATE
from tfgrpo_dspy.signatures import UpdateLibrary
from tfgrpo_dspy.steps.lessons import faults_in
from tfgrpo_dspy.steps.reading.odd import Items
from tfgrpo_dspy.steps.reflection import Reflection
from tfgrpo_dspy.text import one_line

OBJECTIVE = "do well at the tasks that the experiences of both libraries speak of"
"""What the updater is told that the library is for, unless it is told otherwise."""
_AT_ONCE = 40
"""Experiences of later libraries that the updater is asked about at once (ours)."""
_SHOWN_WHOLE, _SHOWN = 200, 8
"""Entries up to which the updater is shown the whole library; of a larger one, how many for each candidate."""


class Reconciled(NamedTuple):
    """What `reconcile` returns."""

    library: ExperienceLibrary
    left_out: tuple[LeftOut, ...]
    """Those of `combine`, and what other entries say now."""
    changes: tuple[Change, ...] = ()
    """Of the updater, in their order."""
    refusals: tuple[Refusal, ...] = ()
    """What it asked for in vain."""


def reconcile(
    combined: Combined, first: ExperienceLibrary, reflection: Reflection, objective: str = OBJECTIVE
) -> Reconciled:
    """Have the updater compare what later libraries brought with the first one.

    Each of their experiences is a candidate: it stays as it is, sharpens an entry, takes the place of one that it
    contradicts, or is said already. One that the updater passes over stays; nothing is dropped in silence.

    Args:
        combined: What `combine` made of the libraries. Pinned experiences stay as they are.
        first: The first of the libraries.
        reflection: The LM that answers.
        objective: What the library is for.

    Raises:
        Unusable: The LM gave no usable reply.
        MissingExtraError: Of a first library this large a part is shown, which needs bm25s.
    """
    ids = {e.id for e in first}
    asked = [e for e in combined.library if e.id not in ids and not e.pinned]
    others = tuple(e for e in combined.library if e.id in ids or e.pinned)
    library = replace(combined.library, experiences=others)
    left_out, changes, refusals = [*combined.left_out], list[Change](), list[Refusal]()
    for start in range(0, len(asked), _AT_ONCE):
        part = {f"B{start + i}": e for i, e in enumerate(asked[start : start + _AT_ONCE])}
        texts = {one_line(e.text) for e in part.values()}
        answered = _ask(library, part, reflection, objective)
        changing = [o for o in answered if not (isinstance(o, Add) and one_line(o.text) in texts)]  # it stays
        faulty = faults_in(changing, library)
        operations = [o for o in changing if o not in faulty]
        sources = {label: Source(_origin(e)) for label, e in part.items()}
        applied = library.apply(operations, sources=sources, limits=Limits(max_words=None))
        said_by = _said_by(operations, applied, part)
        staying = [e for label, e in part.items() if label not in said_by]
        entries = [
            _resting_on(e, [part[label] for label in part if said_by.get(label) == e.id]) for e in applied.library
        ]
        library = replace(applied.library, experiences=(*entries, *staying))
        left_out += [LeftOut(_origin(part[label]), part[label].text, f"said by {id}") for label, id in said_by.items()]
        changes += [change for change in applied.changes if change.kind != "keep"]
        refusals += applied.refusals
    names = tuple(sorted({*library.learned_with, reflection.lm.model}))
    return Reconciled(replace(library, learned_with=names), tuple(left_out), tuple(changes), tuple(refusals))


def _origin(e: Experience) -> str:
    return e.provenance.origin or e.id


def _ask(
    library: ExperienceLibrary, candidates: Mapping[str, Experience], reflection: Reflection, objective: str
) -> tuple[Operation, ...]:
    texts = [e.text for e in candidates.values()]
    shown = library.experiences if len(library) <= _SHOWN_WHOLE else Shelf(library, BM25(_SHOWN)).select(*texts)
    told = "\n\n".join(
        f"{label} (of another library)\nWhy: {e.provenance.reason or 'not known'}\nCandidates:\n- {e.text}"
        for label, e in candidates.items()
    )
    inputs = {
        "objective": objective,
        "experiences": render_lines(shown) or "(none yet)",
        "advantages": told,
        "limits": told_pinned(shown) or "none",
    }
    items: Items = replace(reflection, kind=UPDATE).ask(UpdateLibrary, inputs).fields["operations"]
    return items.operations


def _said_by(operations: Sequence[Operation], applied: Applied, labels: Mapping[str, object]) -> dict[str, str]:
    """Labels of candidates to the entry that says each now: an operation that cites the label wrote it, or named it."""
    written = {change.after: change.id for change in applied.changes if change.kind in {"add", "modify"}}
    in_vain = {id(refusal.operation): refusal for refusal in applied.refusals}
    said: dict[str, str] = {}
    for operation in operations:
        if id(operation) in in_vain:
            by = in_vain[id(operation)].repeats
        elif isinstance(operation, Delete):
            by = None
        else:
            by = operation.id if operation.op == "keep" else written.get(one_line(operation.text))
        if by is not None and by in applied.library:
            said |= {label: by for label in operation.sources if label in labels and label not in said}
    return said


def _resting_on(entry: Experience, candidates: Sequence[Experience]) -> Experience:
    """An entry whose provenance has the sources of the candidates that it says, too."""
    sources = dict.fromkeys([*entry.provenance.sources, *(s for e in candidates for s in e.provenance.sources)])
    return replace(entry, provenance=replace(entry.provenance, sources=tuple(sources)))
