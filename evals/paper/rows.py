"""From a table's lines to rows that the harness runs: students, metrics, language models, trainings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import dspy

from evals.harness.rows import LIBRARY, Row, step_library
from evals.harness.tasks import Data, Task
from evals.paper.data import EMBEDDED, Sets
from evals.paper.optimizers import FromElsewhere, paper_optimizer
from evals.paper.tables import MATH, MODELS, PROGRAMS, RL_TRAINED, WEB, Domain, Line, PaperTable, Program
from evals.verifiers.answers import math_equal
from evals.verifiers.judge import Judge
from tfgrpo_dspy.kit import copy_program, fingerprint
from tfgrpo_dspy.rewards import Metric, exact
from tfgrpo_dspy.simulated import simulated_lm

SIMULATED = "simulated"
_SET_BY_DOMAIN = {"tfgrpo", "tfgrpo-no-ground-truth"}
"""Optimizers whose settings a domain decides."""


class PaperRow(Row):
    """A row of a table in which programs and domains differ."""

    @property
    def name(self) -> str:
        """As a person would call it."""
        return f"{self.task.model}, {self.task.program}, {self.optimizer}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Model:
    """A language model that answers for one or more of the paper's."""

    name: str
    """As a table names it; no credential."""
    lm: dspy.BaseLM | None = None
    """None for the embedded one, of which every seed has its own."""

    @property
    def simulated(self) -> bool:
        """Whether it is the embedded LM, here or behind an endpoint."""
        return SIMULATED in self.name.lower()

    def of_seed(self, seed: int) -> dspy.BaseLM:
        """The LM; rollouts are drawn apart by their ids."""
        if self.lm is not None:
            return self.lm
        return simulated_lm(seed=seed, cache=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a person chose for a table."""

    models: Mapping[str, Model]
    """Name of a paper's model to ours; those left out are not run."""
    source: str | None = None
    """Where the data are; see `evals.paper.data`."""
    judge: dspy.BaseLM | None = None
    """Decides answers in prose; None for the row's own LM."""
    search: str | None = None
    """What the web student searches with; None for `ddgs`, or the embedded site under a simulated LM."""
    k: int | None = None
    limit: int | None = None
    seeds: int = 1
    out: Path = Path("out/paper")


@dataclass(frozen=True, slots=True)
class PartPlan:
    """One domain of a table: what is to be run."""

    domain: Domain
    sets: Sets
    rows: tuple[Row, ...]
    """Each once."""
    of_line: Mapping[int, tuple[Row, ...]]
    """Number of a line to its rows, one per seed; lines whose model is not run are left out."""


def plan_of(table: PaperTable, setup: Setup, sets: Mapping[str, Sets]) -> list[PartPlan]:
    """What is to be run for a table, domain by domain.

    Args:
        table: The table.
        setup: What a person chose.
        sets: Name of a domain to its examples.
    """
    return [_Rows(table, setup, domain, sets).plan() for domain in table.domains]


def rollouts_per_question(domain: Domain, setup: Setup) -> int:
    """k: as asked for, else the paper's, or fewer where problems are few or the LM is simulated."""
    if setup.k is not None:
        return setup.k
    simulated = any(model.simulated for model in setup.models.values())
    bounds = [domain.k, *([_FEW] if simulated else []), *([max(setup.limit, _LEAST)] if setup.limit else [])]
    return min(bounds)


_FEW, _LEAST = 5, 3
"""Rollouts per question of a simulated LM, and what a limit leaves at least, so that Pass@3 can be told."""


def optimizer_in(domain: Domain, optimizer: str) -> str:
    """The optimizer with the settings of a domain, where the paper's are not the usual ones."""
    return f"{optimizer}[{domain.settings}]" if domain.settings and optimizer in _SET_BY_DOMAIN else optimizer


@dataclass(frozen=True, slots=True)
class _Rows:
    table: PaperTable
    setup: Setup
    domain: Domain
    sets: Mapping[str, Sets]

    def plan(self) -> PartPlan:
        runnable = {i: line for i, line in enumerate(self.table.lines) if line.model in self.setup.models}
        of_line = {i: tuple(self._row(line, s) for s in range(self.setup.seeds)) for i, line in runnable.items()}
        unique = {row.fingerprint: row for rows in of_line.values() for row in rows}
        shared = {i: tuple(unique[row.fingerprint] for row in rows) for i, rows in of_line.items()}
        return PartPlan(self.domain, self.sets[self.domain.name], tuple(unique.values()), shared)

    def _row(self, line: Line, seed: int) -> Row:
        task, optimizer = self._task(line), optimizer_in(self.domain, line.optimizer)
        donor, own = line.learned_on, {"seed": seed, "temperature": self.domain.temperature}
        if line.after_step is not None:
            whole = self._row(replace(line, after_step=None), seed)
            make = FromElsewhere(step_library(whole.folder(self.setup.out), line.after_step), whole.optimizer)
            return PaperRow(task=task, optimizer=f"{optimizer} after step {line.after_step}", make=make, **own)
        if donor is None or donor == self.domain:
            return PaperRow(task=task, optimizer=optimizer, make=paper_optimizer, **own)
        source = _Rows(self.table, self.setup, donor, self.sets)._row(replace(line, learned_on=None), seed)
        taught = replace(task, data=partial(_taught_elsewhere, self.sets[donor.name], self.sets[self.domain.name]))
        make = FromElsewhere(source.folder(self.setup.out) / LIBRARY, f"{source.optimizer} on {donor.name}")
        return PaperRow(task=taught, optimizer=f"{source.optimizer} on {donor.name}", make=make, **own)

    def _task(self, line: Line) -> Task:
        model = self.setup.models[line.model]
        return Task(
            name=self._name(model),
            title=self.table.title,
            student=partial(student_of, self.domain.name, line.program, self._search(model), self.setup.source),
            metric=self._metric(),
            data=self.sets[self.domain.name],
            lm=model.of_seed,
            model=model.name,
            program=PROGRAMS[line.program],
            k=rollouts_per_question(self.domain, self.setup),
            simulated=model.simulated,
        )

    def _name(self, model: Model) -> str:
        """With what is searched, which decides the outcome and stands nowhere else."""
        if self.domain.name != WEB.name:
            return f"paper-{self.domain.name}"
        kind, _, place = self._search(model).partition(":")
        return f"paper-{self.domain.name}-{kind}" + (f"-{fingerprint(place)[:6]}" if place else "")

    def _search(self, model: Model) -> str:
        return self.setup.search or (EMBEDDED if model.simulated or self.setup.source == EMBEDDED else "ddgs")

    def _metric(self) -> Metric:
        if self.domain.name == MATH.name:
            return math_equal
        return exact if self.setup.source == EMBEDDED else Judge(lm=self.setup.judge)


def student_of(domain: str, program: Program, search: str, source: str | None) -> dspy.Module:
    """A new student.

    Raises:
        SettingsError: It needs a sandbox or a search service that is not there.
    """
    if domain == WEB.name:
        from programs import web

        return copy_program(_site_agent()) if search == EMBEDDED else web.react(search=search)
    from programs import math, math_world

    if program == "direct":
        return math.direct()
    return math_world.make_agent() if source == EMBEDDED else math.react()


@cache  # copies share its index, so that the site is read once and not for every row
def _site_agent() -> dspy.Module:
    from programs.web_world import make_agent

    return make_agent()


def not_run(table: PaperTable, setup: Setup) -> Iterator[str]:
    """The models of a table that nothing answers for, with what to give."""
    missing = [slot for slot in dict.fromkeys(line.model for line in table.lines) if slot not in setup.models]
    trained = any(slot in RL_TRAINED for slot in missing)
    if missing:
        yield (
            f"Not run, so shown as published only: {', '.join(MODELS[slot] for slot in missing)}. "
            + ("A model whose parameters were trained needs an endpoint of its own: " if trained else "Name it: ")
            + f"--model {missing[0]}=PROVIDER/MODEL@URL."
        )


def _taught_elsewhere(donor: Sets, own: Sets, seed: int) -> Data:
    return replace(own(seed), train=donor(seed).train)
