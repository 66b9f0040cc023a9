"""`report.md`: what a run did and learned, for a person who was not there."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from tfgrpo_dspy.library.file import to_markdown
from tfgrpo_dspy.reports import story as told
from tfgrpo_dspy.reports import verdict
from tfgrpo_dspy.reports.redaction import safe
from tfgrpo_dspy.reports.summary import SIMULATED_NOTE
from tfgrpo_dspy.text import counted, one_line

if TYPE_CHECKING:
    from tfgrpo_dspy.library.library import ExperienceLibrary, Refusal
    from tfgrpo_dspy.records.evaluation import Comparison
    from tfgrpo_dspy.reports.story import Story
    from tfgrpo_dspy.settings import Settings

GAIN_HEADING = "## Gain on held-out questions"

_ACTIVE = re.compile(r"([\\`*_<>|]|\](?=\())")
_REFUSALS_SHOWN = 40


def render_report(story: Story) -> str:
    """A run in Markdown, without credentials."""
    sections = (
        f"# Training-Free GRPO of `{story.program}`",
        SIMULATED_NOTE if story.simulated else "",
        _outcome(story),
        gain_section(story.gain) if story.gain else "",
        f"## Did it help?\n\n{_text(verdict.verdict_of(story))}",
        _settings(story),
        _steps(story),
        _library(story.result.library),
        _effects(story),
        _tabled("## Gate", verdict.GATE_COLUMNS, verdict.gate_rows(story.result)),
        _tabled("## Signs of harm", verdict.FLAG_COLUMNS, verdict.flag_rows(story.result)),
        _refusals(story),
        _failures(story),
        f"## Cost\n\n{told.usage_text(story.result.usage)}; {story.seconds:.0f} s.",
    )
    return safe("\n\n".join(part.strip() for part in sections if part) + "\n")


def gain_section(gain: Comparison, intro: str = "") -> str:
    """Bare against learned program, with the verdict in words."""
    rows = [told.evaluation_row("bare", gain.baseline), told.evaluation_row("learned", gain.candidate)]
    table = "\n".join(_table(told.EVALUATION_COLUMNS, rows))
    before = f"{intro}\n\n" if intro else ""
    return f"{GAIN_HEADING}\n\n{before}{table}\n\n**Gain {told.gain_text(gain)}.**"


def with_gain(report: str, section: str) -> str:
    """A report with that section of gain, in place of the one it may have."""
    blocks = [b for b in re.split(r"(?m)^(?=## )", report) if not b.startswith(GAIN_HEADING)]
    return f"{blocks[0].rstrip()}\n\n{section}\n\n{''.join(blocks[1:])}"


def _outcome(story: Story) -> str:
    result, started = story.result, story.started
    library = result.library
    steps = counted(started.steps, "step")
    done = steps if len(result.steps) == started.steps else f"{len(result.steps)} of {steps}"
    outcome = (
        f"{counted(len(library), 'experience')} (about {library.tokens} tokens) after {done} on "
        f"{counted(len(started.trainset), 'example')} of `{story.trainset}`, in {story.seconds:.0f} s."
    )
    lines = [f"**Stopped early:** {_text(story.stopped)}"] if story.stopped else []
    lines += [outcome, *map(_text, story.remarks)]
    return "\n\n".join(lines)


def _settings(story: Story) -> str:
    settings = story.started.settings
    rows = [
        ("LM", ", ".join(f"{role}: `{name}`" for role, name in story.started.lms.items())),
        ("metric", f"`{story.metric}`"),
        ("epochs x batch", f"{settings.epochs} x {settings.batch_size or 'all examples'}"),
        ("group size, temperature", f"{_group_size(settings)}, {settings.temperature}"),
        ("limits", _limits(story)),
        ("ground truth", "shown to reflection" if settings.use_ground_truth else "not shown to reflection"),
        ("seed", str(settings.seed)),
        ("when", time.strftime("%Y-%m-%d %H:%M")),
        ("versions", f"tfgrpo-dspy {version('tfgrpo-dspy')}, dspy {version('dspy')}"),
    ]
    if story.recorded:
        rows.append(("MLflow", story.recorded))
    if len(settings.library):
        rows.append(("started from", counted(len(settings.library), "experience")))
    return "## What was run\n\n" + "\n".join(_table(("setting", "value"), rows, escape=False))


def _group_size(settings: Settings) -> str:
    least = settings.min_group_size
    return str(settings.group_size) if least is None else f"{least} to {settings.group_size} (adaptive)"


def _limits(story: Story) -> str:
    settings = story.started.settings
    bounds = [f"{settings.max_words} words an experience"]
    bounds += [f"{settings.max_experiences} experiences"] if settings.max_experiences else []
    bounds += [f"{settings.max_library_tokens} tokens"] if settings.max_library_tokens else []
    return ", ".join(bounds)


def _steps(story: Story) -> str:
    if not story.result.steps:
        return ""
    columns, rows = story.steps_table()
    note = "The mean reward of a step is that of rollouts which read the library as it was *before* the step."
    return "## Steps\n\n" + "\n".join(_table(columns, rows)) + f"\n\n{note}"


def _library(library: ExperienceLibrary) -> str:
    origins = {e.id: f"  *{_text(told.origin_text(e))}*" for e in library}
    lines = []
    for line in to_markdown(library).splitlines():
        lines.append(line)
        if match := re.match(r"- \*\*(G\d+)\*\* ", line):
            lines[-1] += "  "  # a line break
            lines.append(origins[match[1]])
    return "\n".join(lines).replace("# Experience library", "## Library", 1)


def _effects(story: Story) -> str:
    """What each experience was measured to do, and what was taken out for it."""
    result = story.result
    pruned = [(str(record.step), change) for record in result.steps for change in record.pruned]
    if not result.effects and not pruned:
        return ""
    rows = [
        (e.id, f"{e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]", str(e.n_with), str(e.n_without)) for e in result.effects
    ]
    shown = "\n".join(_table(("experience", "effect [95% interval]", "rollouts with it", "without"), rows))
    note = (
        "Change of the mean reward over the trainset, from rollouts that read a random part of the library; an "
        "interval that spans zero says that help and harm are not distinguishable."
    )
    gone = [
        f"- {change.id} after step {step}, {change.reason}: {_text(change.before or '')}" for step, change in pruned
    ]
    taken = (
        "\n\nTaken out as harmful (`tfgrpo library rollback` brings them back):\n\n" + "\n".join(gone) if gone else ""
    )
    return f"## Measured effects\n\n{shown}\n\n{note}{taken}"


def _refusals(story: Story) -> str:
    refused = [(record.step, refusal) for record in story.result.steps for refusal in record.refusals]
    if not refused:
        return ""
    rows = [(str(step), _operation(refusal), refusal.reason) for step, refusal in refused[:_REFUSALS_SHOWN]]
    more = len(refused) - len(rows)
    rest = f"\n\nAnd {more} more, which the tables of the MLflow run list." if more else ""
    return "## Refused operations\n\n" + "\n".join(_table(("step", "operation", "why"), rows)) + rest


def _operation(refusal: Refusal) -> str:
    operation = refusal.operation
    parts = [operation.op, getattr(operation, "id", None), getattr(operation, "text", None)]
    return " ".join(part for part in parts if part)


def _tabled(heading: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A section of one table; empty without rows."""
    return f"{heading}\n\n" + "\n".join(_table(columns, rows)) if rows else ""


def _failures(story: Story) -> str:
    lost = told.lost_text(told.lost_by_cause(story.result.steps))
    lines = [f"- lost rollouts, never scored: {lost}"] if lost else []
    for failure in (*(f for s in story.result.steps for f in s.failures), *story.result.unused):
        lines.append(f"- {failure.stage} of `{failure.where}`: {_text(failure.reason)}; {_text(failure.remedy)}")
    lines += [f"- the first loss: {_text(story.first_loss)}"] if story.first_loss else []
    return "## What could not be done\n\n" + "\n".join(lines) if lines else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, escape: bool = True) -> list[str]:
    cells = [[_text(cell) if escape else cell for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *cells)]


def _text(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _ACTIVE.sub(r"\\\1", one_line(text))
