"""One library out of two: the first keeps its ids, the second's experiences get new ones that say what they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tfgrpo_dspy.library.apply import Limits
from tfgrpo_dspy.library.combine import Merged, _renamed, union
from tfgrpo_dspy.library.experience import Experience, Source
from tfgrpo_dspy.library.library import Change, ExperienceLibrary, Refusal
from tfgrpo_dspy.library.operations import Add, Modify, Operation
from tfgrpo_dspy.library.retrieval import BM25, Shelf
from tfgrpo_dspy.library.section import render_lines
from tfgrpo_dspy.library.similarity import TokenIndex
from tfgrpo_dspy.lm.meter import UPDATE
from tfgrpo_dspy.signatures import UpdateLibrary
from tfgrpo_dspy.steps.reflection import Reflection

OBJECTIVE = "do well at the tasks that the experiences of both libraries speak of"
"""What the updater is told that the merged library is for, unless it is told otherwise."""
_AT_ONCE = 40
"""Experiences of the second library that the updater is asked about at once (ours)."""
_SHOWN_WHOLE, _SHOWN = 200, 8
"""Entries up to which the updater is shown the whole first library; of a larger one, how many for each candidate."""


def reconcile(
    a: ExperienceLibrary, b: ExperienceLibrary, name: str, reflection: Reflection, objective: str = OBJECTIVE
) -> Merged:
    """The first library, brought up to date with the second's experiences by the updater.

    Each experience of the second is a candidate: it is added, sharpens an entry, takes the place of one that it
    contradicts, or is said already. One that the updater passes over is added; nothing is dropped in silence.

    Args:
        a: The first library; its pinned experiences stay as they are.
        b: The second; its pinned experiences are added as they are.
        name: What the second is called, e.g. its file's name.
        reflection: The LM that answers.
        objective: What the merged library is for.

    Raises:
        Unusable: The LM gave no usable reply.
    """
    index = TokenIndex([(e.id, e.text) for e in a], [e.text for e in b])
    twins = {e.id: index.near_duplicate(e.text, leaving_out=None) for e in b}
    asked = [e for e in b if twins[e.id] is None and not e.pinned]
    known = {id: twin for id, twin in twins.items() if twin is not None}
    library, settled = a, set(known)
    changes: list[Change] = []
    refusals: list[Refusal] = []
    for start in range(0, len(asked), _AT_ONCE):
        part = {f"B{start + i}": e for i, e in enumerate(asked[start : start + _AT_ONCE])}
        operations = _ask(library, part, reflection, objective)
        sources = {label: Source(f"{e.id} of {name}") for label, e in part.items()}
        applied = library.apply(operations, sources=sources, limits=Limits(max_words=None))
        library = _with_provenance(applied.library, library, part, operations, name)
        changes += [change for change in applied.changes if change.kind != "keep"]
        refusals += applied.refusals
        settled |= {part[label].id for o in operations for label in o.sources if label in part}
    left = union(library, replace(b, experiences=tuple(e for e in b if e.id not in settled)), name)
    names = tuple(sorted({*library.learned_with, *b.learned_with, reflection.lm.model}))
    whole = replace(left.library, learned_with=names)
    return Merged(whole, (*changes, *left.changes), tuple(refusals), {**known, **left.repeats})


def _ask(
    library: ExperienceLibrary, candidates: Mapping[str, Experience], reflection: Reflection, objective: str
) -> tuple[Operation, ...]:
    texts = [e.text for e in candidates.values()]
    shown = library.experiences if len(library) <= _SHOWN_WHOLE else Shelf(library, BM25(_SHOWN)).select(*texts)
    told = "\n\n".join(
        f"{label} (of another library)\nWhy: {e.provenance.reason or 'not known'}\nCandidates:\n- {e.text}"
        for label, e in candidates.items()
    )
    pinned = [e.id for e in shown if e.pinned]
    inputs = {
        "objective": objective,
        "experiences": render_lines(shown) or "(none yet)",
        "advantages": told,
        "limits": f"pinned, not to be changed: {', '.join(pinned)}" if pinned else "none",
    }
    operations: Sequence[Operation] = replace(reflection, role=UPDATE).ask(UpdateLibrary, inputs).fields["operations"]
    return tuple(operations)


def _with_provenance(
    after: ExperienceLibrary,
    before: ExperienceLibrary,
    candidates: Mapping[str, Experience],
    operations: Sequence[Operation],
    name: str,
) -> ExperienceLibrary:
    """The library whose new texts also have the provenance of the candidates that they rest on."""
    labels = {
        o.text: [label for label in o.sources if label in candidates] for o in operations if isinstance(o, Add | Modify)
    }
    known = {e.id: e.text for e in before}
    entries = []
    for entry in after:
        rests_on = (
            [candidates[label] for label in labels.get(entry.text, ())] if known.get(entry.id) != entry.text else []
        )
        exact = next((e for e in rests_on if e.text == entry.text and entry.id not in known), None)
        if exact is not None:
            entry = _renamed(exact, entry.id, name)
        more = [s for e in rests_on for s in e.provenance.sources if s not in entry.provenance.sources]
        provenance = replace(entry.provenance, sources=(*entry.provenance.sources, *dict.fromkeys(more)))
        entries.append(replace(entry, provenance=provenance))
    return replace(after, experiences=tuple(entries))
