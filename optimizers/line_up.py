"""The entries of the line-up, in the order of a table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from dspy.teleprompt import Teleprompter

from optimizers import rivals
from optimizers.ablations import DirectTips, Nothing, add_only, no_ground_truth, no_group, tfgrpo
from optimizers.ace import ace
from optimizers.authors import authors
from optimizers.best_of_n import best_of_n, dspy_best_of_n, dspy_refine, self_consistency
from optimizers.cheatsheet import dynamic_cheatsheet
from optimizers.icrl import icrl
from optimizers.nearest import nearest_attempts
from optimizers.reasoning_bank import reasoning_bank
from optimizers.refining import reflexion, self_refine
from optimizers.scaling import AtBudget, Make, capped_at
from optimizers.textgrad_rival import textgrad_rival
from tfgrpo_dspy.rewards import Metric

Family = Literal["baseline", "ours", "ablation", "dspy", "neighbour", "chain", "plug-in"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One optimizer of the line-up."""

    name: str
    description: str
    """What it learns and from what, and what a budget sets."""
    family: Family
    make: Make
    needs_extra: str | None = None
    """Extra of this package to install for it."""
    at_inference: bool = False
    """Whether the program it returns spends more LM calls on a question than the student does."""
    spends: bool = True
    """Whether a larger budget of compile lets it do more."""
    takes: Literal["nothing", "a call", "a pass"] = "nothing"
    """Where it does not: the calls that compile makes anyway; a pass is a rollout of every training example."""


def _nothing(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    return Nothing()


def _labeled(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    return AtBudget(rivals.labeled, metric, seed)  # no call to make, so none to measure what a rollout takes


def _direct(metric: Metric, seed: int, calls: int | None) -> Teleprompter:
    return capped_at(lambda *_: DirectTips(seed=seed), metric, seed, calls)


def group_size(size: int) -> Entry:
    """The entry `tfgrpo-group-size-N`."""
    return Entry(
        name=f"tfgrpo-group-size-{size}",
        description=f"Training-Free GRPO with groups of {size}. Budget: training examples.",
        family="ablation",
        make=partial(tfgrpo, group_size=size),
    )


ENTRIES = (
    Entry(
        name="none",
        description="The student as it is. Budget: takes no call.",
        family="baseline",
        make=_nothing,
        spends=False,
    ),
    Entry(
        name="tfgrpo",
        description="Training-Free GRPO with the paper's settings (3 epochs, one batch each, G = 5). "
        "Budget: how many training examples; the valset is left out, as in the paper.",
        family="ours",
        make=tfgrpo,
    ),
    Entry(
        name="tfgrpo-authors",
        description="The paper's own code, stage by stage: an operation from each comparison, one call that revises. "
        "Budget: training examples.",
        family="ours",
        make=authors,
    ),
    Entry(
        name="tfgrpo-authors-2026",
        description="The authors' later code: experiences of a group, its operations, and one call that merges all. "
        "Budget: training examples.",
        family="ours",
        make=partial(authors, version="2026"),
    ),
    Entry(
        name="tfgrpo-direct",
        description="Experiences written straight away, in one call without rollouts. Budget: takes one call.",
        family="ablation",
        make=_direct,
        spends=False,
        takes="a call",
    ),
    Entry(
        name="tfgrpo-no-ground-truth",
        description="No expected output is shown, and the majority of the group is the reward. "
        "Budget: training examples.",
        family="ablation",
        make=no_ground_truth,
    ),
    Entry(
        name="tfgrpo-no-group",
        description="Groups of one: an experience from each rollout alone. Budget: training examples.",
        family="ablation",
        make=no_group,
    ),
    group_size(3),
    group_size(8),
    Entry(
        name="tfgrpo-one-epoch",
        description="One epoch instead of three. Budget: training examples.",
        family="ablation",
        make=partial(tfgrpo, epochs=1),
    ),
    Entry(
        name="tfgrpo-batch-update",
        description="The paper's single update of a batch, not a question per candidate. Budget: training examples.",
        family="ablation",
        make=partial(tfgrpo, update="batch"),
    ),
    Entry(
        name="tfgrpo-add-only",
        description="The library only grows: modifications are added, deletions refused. Budget: training examples.",
        family="ablation",
        make=add_only,
    ),
    Entry(
        name="labeled-fewshot",
        description="DSPy's LabeledFewShot: four labelled examples. Budget: takes no call.",
        family="dspy",
        make=_labeled,
        spends=False,
    ),
    Entry(
        name="bootstrap-fewshot",
        description="DSPy's BootstrapFewShot: up to four rollouts that the metric accepted. "
        "Budget: takes one pass over the trainset at most.",
        family="dspy",
        make=rivals.fitted(rivals.bootstrap),
        spends=False,
        takes="a pass",
    ),
    Entry(
        name="bootstrap-rs",
        description="DSPy's BootstrapFewShotWithRandomSearch: the best of many such sets. "
        "Budget: sets, and examples they are scored on.",
        family="dspy",
        make=rivals.fitted(rivals.bootstrap_rs),
    ),
    Entry(
        name="copro",
        description="DSPy's COPRO: instructions written from those that scored best. "
        "Budget: breadth, and examples they are scored on.",
        family="dspy",
        make=rivals.fitted(rivals.copro),
    ),
    Entry(
        name="miprov2",
        description="DSPy's MIPROv2: instructions and demonstrations, combined by Bayesian search. "
        "Budget: trials, and examples they are scored on.",
        family="dspy",
        make=rivals.fitted(rivals.mipro, needs="optuna"),
        needs_extra="optimizers",
    ),
    Entry(
        name="infer-rules",
        description="DSPy's InferRules: rules induced from labelled examples, with demonstrations. "
        "Budget: candidates, and examples they are scored on.",
        family="dspy",
        make=rivals.fitted(rivals.infer_rules),
    ),
    Entry(
        name="simba",
        description="DSPy's SIMBA: rules and demonstrations from rollouts that differ. Budget: batch and steps.",
        family="dspy",
        make=rivals.fitted(rivals.simba, needs="numpy"),
        needs_extra="optimizers",
    ),
    Entry(
        name="gepa",
        description="DSPy's GEPA: instructions rewritten from outputs with feedback, kept on a Pareto front. "
        "Budget: metric calls, and examples of the front.",
        family="dspy",
        make=rivals.fitted(rivals.gepa),
    ),
    Entry(
        name="ace",
        description="ACE: a growing playbook in sections with counters; tasks are tried again with the reflection in "
        "hand. Budget: tasks.",
        family="neighbour",
        make=ace,
    ),
    Entry(
        name="reflexion",
        description="Reflexion: up to three trials with reflections between them. No answer is known at inference, so "
        "the LM judges its own trials. Budget: takes no call to compile.",
        family="neighbour",
        make=reflexion,
        at_inference=True,
        spends=False,
    ),
    Entry(
        name="self-refine",
        description="Self-refine: an answer, criticised and revised up to twice by the LM itself. "
        "Budget: takes no call to compile.",
        family="neighbour",
        make=self_refine,
        at_inference=True,
        spends=False,
    ),
    Entry(
        name="best-of-n",
        description="Five answers, of which the LM chooses one. Budget: takes no call to compile.",
        family="neighbour",
        make=best_of_n,
        at_inference=True,
        spends=False,
    ),
    Entry(
        name="self-consistency",
        description="Five answers, of which the most common is taken. Budget: takes no call to compile.",
        family="neighbour",
        make=self_consistency,
        at_inference=True,
        spends=False,
    ),
    Entry(
        name="dspy-best-of-n",
        description="DSPy's BestOfN: up to three answers, until the LM takes one for right. "
        "Budget: takes no call to compile.",
        family="dspy",
        make=dspy_best_of_n,
        at_inference=True,
        spends=False,
    ),
    Entry(
        name="dspy-refine",
        description="DSPy's Refine: as BestOfN, with advice to each module between the answers. "
        "Budget: takes no call to compile.",
        family="dspy",
        make=dspy_refine,
        at_inference=True,
        spends=False,
    ),
    Entry(
        name="textgrad",
        description="TextGrad: instructions improved by textual gradients, kept when they score higher. "
        "Budget: steps, and examples they are scored on.",
        family="neighbour",
        make=textgrad_rival,
        needs_extra="optimizers",
    ),
    Entry(
        name="reasoning-bank",
        description="ReasoningBank: items from attempts that the LM judged itself, those of the nearest task shown. "
        "Budget: training examples.",
        family="neighbour",
        make=reasoning_bank,
        needs_extra="retrieval",
    ),
    Entry(
        name="dynamic-cheatsheet",
        description="Dynamic Cheatsheet: a text rewritten after every task, without reward or label. Budget: tasks.",
        family="neighbour",
        make=dynamic_cheatsheet,
    ),
    Entry(
        name="nearest-attempts",
        description="Summaries of past attempts that earned something, the three nearest shown with a task. "
        "Budget: attempts per example.",
        family="neighbour",
        make=nearest_attempts,
        needs_extra="retrieval",
    ),
    Entry(
        name="icrl",
        description="In-context RL, explorative: a draw of past answers that earned a reward in every prompt. "
        "Budget: episodes.",
        family="neighbour",
        make=icrl,
    ),
)
"""Single optimizers; chains of them are made by `registry`."""
