"""What a table of the paper is: lines of (model, program, optimizer) with their published figures, and columns.

Published figures are those of arXiv 2510.08191 (Cai et al., 2025), in percent. `evals/recipes/` declares the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from tfgrpo_dspy import SettingsError

Program = Literal["direct", "react"]
Kind = Literal["scores", "cost"]

SOURCE = "arXiv 2510.08191"


@dataclass(frozen=True, slots=True)
class Published:
    """What learning is reported to have taken."""

    rollouts: int
    cost_usd: float
    prompt_tokens: float
    completion_tokens: float
    seconds: float


PAPER = Published(1500, 18.0, 38e6, 6.6e6, 6 * 3600.0)
"""For mathematics with tools by DeepSeek-V3.1-Terminus: 100 problems, 3 epochs of one batch, G = 5."""
MODELS: Mapping[str, str] = {
    "deepseek": "DeepSeek-V3.1-Terminus",
    "qwen3-32b": "Qwen3-32B",
    "qwen2.5-72b": "Qwen2.5-72B-Instruct",
    "qwq-32b": "QwQ-32B",
    "retool": "ReTool (32B, RL-trained)",
    "afm": "AFM (32B, RL-trained)",
    "mirothinker": "MiroThinker (RL-trained)",
}
"""The paper's models, by the names that `--model` takes."""
RL_TRAINED = frozenset({"retool", "afm", "mirothinker"})
"""Models whose parameters were trained: `--lm` never stands in for one of them."""
PROGRAMS: Mapping[str, str] = {"direct": "Direct", "react": "ReAct"}
_SAYS: Mapping[str, str] = {
    "none": "baseline",
    "tfgrpo": "Training-Free GRPO",
    "tfgrpo-direct": "directly generated experiences",
    "tfgrpo-no-ground-truth": "without ground truth",
    "tfgrpo-no-group": "group size 1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A field of the paper: what is learned on, what is tested on, and how."""

    name: str
    trained_on: str
    """Benchmark that the training examples are drawn from; a name of `evals.datasets.benchmarks`."""
    tests: tuple[str, ...]
    """Benchmarks, all answered by the same program of one training."""
    train: int
    """Training examples drawn."""
    k: int
    """Rollouts per test question."""
    temperature: float = 0.3
    """Of the rollouts of the test, as in the authors' code; training has the paper's 0.7."""
    settings: str = ""
    """Of Training-Free GRPO there, where they are not the usual ones; as `evals.paper.optimizers` reads them."""


MATH = Domain(name="math", trained_on="dapo", tests=("aime24", "aime25"), train=100, k=32)
WEB = Domain(
    name="web",
    trained_on="afm-web",
    tests=("webwalkerqa",),
    train=100,
    k=3,
    settings="group_size=3,experiences_per_group=2",
)
"""Two experiences a query are the authors' default in their code for web search (youtu-agent, `utu/practice`)."""


@dataclass(frozen=True, slots=True)
class Column:
    """One score of a table."""

    name: str
    """As a line's `published` calls it."""
    domain: Domain
    test: str
    """One of the domain's tests."""
    passing: int | None = None
    """Pass@ so many; None for the mean over all rollouts."""


AIME = (Column("AIME24", MATH, "aime24"), Column("AIME25", MATH, "aime25"))
WEBWALKER = Column("WebWalkerQA", WEB, "webwalkerqa")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A (model, program, optimizer) triple with what was published of it."""

    model: str = "deepseek"
    """One of `MODELS`."""
    program: Program = "react"
    optimizer: str = "none"
    """As `evals.paper.optimizers` takes it."""
    learned_on: Domain | None = None
    """Whose training set the library is from; None for that of each column."""
    after_step: int | None = None
    """Tested with the library as it was after that step of the optimizer's training; None for the last."""
    says: str = ""
    """What the optimizer is called in the table; empty for its usual name."""
    published: Mapping[str, float]
    """Name of a column to percent; a figure that we have no record of is left out."""

    @property
    def title(self) -> str:
        """What was done to the model."""
        return self.says or _SAYS.get(self.optimizer, self.optimizer)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """One table, figure or claim of the paper."""

    name: str
    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    questions: int | None = None
    """Test questions drawn; None for all."""
    kind: Kind = "scores"
    """`cost` shows what the last line took, beside what the paper's run took."""
    shows_steps: bool = False
    """Whether a terminal is shown the steps of learning too; a report always has them."""
    notes: tuple[str, ...] = ()
    """What a reader must know about the published figures."""

    @property
    def domains(self) -> tuple[Domain, ...]:
        """In the order of the columns."""
        return tuple({column.domain.name: column.domain for column in self.columns}.values())

    @property
    def labels(self) -> tuple[str, ...]:
        """One per line: the parts in which the lines differ, and the optimizer; of an RL-trained model its name."""
        models, programs = ({getattr(line, part) for line in self.lines} for part in ("model", "program"))
        return tuple(
            MODELS[line.model]
            if line.model in RL_TRAINED
            else ", ".join(
                [
                    *([MODELS[line.model]] if len(models - RL_TRAINED) > 1 else []),
                    *([PROGRAMS[line.program]] if len(programs) > 1 else []),
                    line.title,
                ]
            )
            for line in self.lines
        )

    def baseline_of(self, line: Line) -> Line | None:
        """The line of the same model and program without an optimizer; None for itself or if there is none."""
        same = (other for other in self.lines if (other.model, other.program) == (line.model, line.program))
        found = next((other for other in same if other.optimizer == "none"), None)
        return None if found is line else found

    def published_gain(self, line: Line, column: str) -> float | None:
        """In points, over the published baseline of the same model and program; None where either is not known."""
        base, after = self.baseline_of(line), line.published.get(column)
        before = None if base is None else base.published.get(column)
        return None if before is None or after is None else after - before


TABLES: Mapping[str, str] = {
    "aime": "mathematics: Direct and ReAct, with and without",
    "ablation": "mathematics: ours minus one thing",
    "small-models": "mathematics with smaller models",
    "web": "web search",
    "web-ablation": "web search, 51 questions: ours minus one thing, and a model that loses",
    "transfer": "libraries swapped across domains",
    "cost": "what learning and answering take",
    "dynamics": "scores and tool calls step by step",
    "group-size": "sweep: rollouts per group",
    "epochs": "sweep: epochs, beyond the paper's 3",
}
"""Name to what it is about."""


def find_table(name: str) -> PaperTable:
    """The table of that name.

    Raises:
        SettingsError: There is none; the message lists them.
    """
    if name not in TABLES:
        raise SettingsError(f"there is no table {name!r}; there are: {', '.join(TABLES)}")
    found: PaperTable = import_module(f"..recipes.{name.replace('-', '_')}", __package__).TABLE
    return found
