"""What the tables declare: published figures, models, optimizers, data."""

from __future__ import annotations

import dspy
import pytest

from evals.paper.data import EMBEDDED, find_file, nominal_sets, sets_of
from evals.paper.forecast import expect
from evals.paper.models import models_of
from evals.paper.optimizers import FromElsewhere, paper_optimizer, settings_in
from evals.paper.rows import Setup, plan_of
from evals.paper.tables import MATH, MODELS, RL_TRAINED, TABLES, WEB, find_table
from evals.texts import problem_key, problem_of
from tfgrpo_dspy import DataError, SettingsError, TrainingFreeGRPO
from tfgrpo_dspy.rewards.metrics import number
from tfgrpo_dspy.simulated import simulated_lm

GAINS = {  # over the baseline of the same model and program, as the paper prints them
    "aime": {"AIME24": {2.7}, "AIME25": {5.4}},
    "small-models": {"AIME24": {4.4, 5.9}, "AIME25": {1.4, 1.8}},
    "web": {"WebWalkerQA": {4.6}},
    "web-ablation": {"Pass@1": {-2.0}, "Pass@3": set()},
}


@pytest.mark.parametrize("name", GAINS)
def test_published_gains_are_those_that_the_paper_prints(name):
    table = find_table(name)
    for column, gains in GAINS[name].items():
        found = [table.published_gain(line, column) for line in table.lines]
        assert {round(gain, 1) for gain in found if gain is not None} == gains


@pytest.mark.parametrize("name", TABLES)
def test_every_table_names_what_there_is(name):
    table = find_table(name)
    assert table.name == name
    assert len(set(table.labels)) == len(table.lines)
    columns = {column.name for column in table.columns}
    for line in table.lines:
        assert line.model in MODELS
        assert set(line.published) <= columns
        assert paper_optimizer(line.optimizer, number) is not None
        assert line.optimizer == "none" or line.model not in RL_TRAINED


def test_an_lm_stands_for_frozen_models_and_never_for_trained_ones():
    table = find_table("aime")
    assert set(models_of(table, lm="simulated")) == {"deepseek"}
    named = models_of(table, lm="simulated", named=["retool=openai/retool@http://127.0.0.1:1/v1"])
    assert {slot: model.name for slot, model in named.items()} == {"deepseek": "simulated", "retool": "openai/retool"}
    assert named["retool"].lm.kwargs["api_base"] == "http://127.0.0.1:1/v1"


@pytest.mark.parametrize("name", TABLES)
def test_an_lm_answers_for_one_frozen_model_and_the_others_are_not_run(name):
    table = find_table(name)
    frozen = [line.model for line in table.lines if line.model not in RL_TRAINED]
    assert list(models_of(table, lm="simulated")) == frozen[:1]
    for other in set(frozen[1:]) - {frozen[0]}:
        assert set(models_of(table, lm=None, named=[f"{other}=openai/m"])) == {other}


def test_what_was_measured_is_told_under_the_name_of_the_model_that_answered(tmp_path):
    table = find_table("small-models")
    setup = Setup(models=models_of(table, lm="simulated"), source=EMBEDDED, limit=2, k=1, out=tmp_path)
    plans = plan_of(table, setup, {"math": sets_of(MATH, EMBEDDED, limit=2)})
    assert {row.task.model for row in plans[0].rows} == {"simulated"}
    assert set(plans[0].of_line) == {0, 1}


def test_models_of_one_name_at_two_endpoints_are_told_apart():
    named = [f"{slot}=openai/m@http://127.0.0.1:{port}/v1" for port, slot in enumerate(("qwen3-32b", "qwen2.5-72b"), 1)]
    found = models_of(find_table("small-models"), lm=None, named=named)
    assert [model.name for model in found.values()] == ["openai/m for qwen3-32b", "openai/m for qwen2.5-72b"]


def test_another_search_is_another_row():
    table = find_table("web")
    models, sets = models_of(table, lm="simulated"), {"web": nominal_sets(WEB, limit=2)}
    plans = [plan_of(table, Setup(models=models, search=search), sets)[0] for search in (None, "ddgs")]
    assert len({row.fingerprint for plan in plans for row in plan.rows}) == 4


def test_settings_in_a_name_reach_the_optimizer():
    assert settings_in("tfgrpo[epochs=5,group_size=3]") == {"epochs": 5, "group_size": 3}
    made = paper_optimizer("tfgrpo[epochs=5]", number).plan(_task())
    assert isinstance(made.optimizer, TrainingFreeGRPO)
    assert made.optimizer.settings.epochs == 5
    with pytest.raises(SettingsError, match="settings of gepa cannot be changed"):
        paper_optimizer("gepa[epochs=5]", number)


@pytest.mark.parametrize(("name", "steps"), [("dynamics", [1, 2]), ("epochs", [1, 3, 5])])
def test_the_steps_of_one_training_are_tested_and_no_training_per_step(name, steps, tmp_path):
    table = find_table(name)
    setup = Setup(models=models_of(table, lm="simulated"), source=EMBEDDED, limit=2, k=1, out=tmp_path)
    [plan] = plan_of(table, setup, {"math": sets_of(MATH, EMBEDDED, limit=2)})
    carried = [row for row in plan.rows if isinstance(row.make, FromElsewhere)]
    [trained] = [row for row in plan.rows if row not in carried and row.optimizer != "none"]
    assert [row.make.path for row in carried] == [trained.folder(tmp_path) / "steps" / f"{step}.json" for step in steps]
    assert [expected.learning.calls for expected in expect(plan)].count(0) == len(plan.rows) - 1


def test_rows_are_tested_at_the_authors_temperature_and_reflected_on_at_theirs():
    table = find_table("aime")
    (plan,) = plan_of(table, Setup(models=models_of(table, lm="simulated")), {"math": nominal_sets(MATH, limit=2)})
    assert {row.temperature for row in plan.rows} == {0.3}
    with dspy.context(lm=simulated_lm(temperature=0.5)):
        for name in ("tfgrpo", "tfgrpo[epochs=5]", "tfgrpo-no-ground-truth"):
            made = paper_optimizer(name, number).plan(_task()).optimizer
            assert made.setup.reflection_lm.kwargs["temperature"] == 0
            assert made.settings.temperature == 0.7
        assert paper_optimizer("none", number).compile(dspy.Predict("problem -> answer"), []) is not None


def test_a_library_that_was_not_learned_cannot_be_carried_over(tmp_path):
    with pytest.raises(DataError, match="tfgrpo on web left no library"):
        FromElsewhere(tmp_path / "library.json", "tfgrpo on web")("x", number)


@pytest.mark.parametrize("has_direct", [True, False])
def test_embedded_problems_of_training_and_test_are_apart(has_direct):
    sets = sets_of(MATH, EMBEDDED, limit=10, has_direct=has_direct)
    keys = [[problem_key(problem_of(e)) for e in part] for part in (sets.pool, *(t.examples for t in sets.tests))]
    assert len({key for part in keys for key in part}) == sum(map(len, keys))
    assert [len(t.examples) for t in sets.tests] == [10, 10]
    assert sets.of("aime25") == slice(10, 20)
    assert sets(0).test == sets(1).test
    assert sets(0).train != sets(1).train


def test_the_largest_file_of_a_benchmark_is_taken(tmp_path):
    for name, size in (("dapo_sample.jsonl", 3), ("dapo_all.jsonl", 9), ("dapo.txt", 99)):
        (tmp_path / name).write_text("x" * size)
    assert find_file("dapo", str(tmp_path)).name == "dapo_all.jsonl"
    assert find_file("afm-web", str(tmp_path)) is None


def test_a_forecast_of_the_papers_training_comes_near_its_cost():
    table = find_table("cost")
    setup = Setup(models=models_of(table, lm="simulated"), k=1)
    (plan,) = plan_of(table, setup, {"math": nominal_sets(MATH)})
    baseline, trained = expect(plan)
    assert (baseline.learning.calls, baseline.questions) == (0, 60)
    assert trained.learning.cost_usd == pytest.approx(18, rel=0.05)
    assert trained.answering.cost_usd == pytest.approx(60 * 0.024, rel=0.05)


def test_a_domain_has_the_papers_sizes():
    assert [len(t.examples) for t in nominal_sets(MATH).tests] == [30, 30]
    assert len(nominal_sets(WEB, questions=51).tests[0].examples) == 51


def _task():
    from optimizers.scaling import Task

    example = dspy.Example(problem="1 + 1", answer="2").with_inputs("problem")
    return Task(number, 0, [example], None)
