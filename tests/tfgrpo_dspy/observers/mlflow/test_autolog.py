"""`mlflow.dspy.autolog` records our compiles like those of DSPy's own optimizers, imported before or after us."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]

SCRIPT = """
import json, sys
from pathlib import Path

first, folder = sys.argv[1], Path(sys.argv[2])

def import_ours():
    import tfgrpo_dspy
    return tfgrpo_dspy.TrainingFreeGRPO

if first == "tfgrpo_dspy":
    import_ours()
import mlflow
mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
mlflow.set_experiment(experiment_id=mlflow.create_experiment("e", artifact_location=(folder / "artifacts").as_uri()))
mlflow.dspy.autolog(log_compiles=True, log_evals=True)
TrainingFreeGRPO = import_ours()

import dspy
from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script

engine = Engine(script())
dspy.configure(lm=engine.lm())
optimizer = TrainingFreeGRPO(exact, epochs=2, group_size=3, num_threads=4, display_progress=False)
program = optimizer.compile(dspy.ChainOfThought("question -> answer"), trainset=examples(4), valset=examples(2))
mlflow.flush_trace_async_logging()
runs = mlflow.search_runs(search_all_experiments=True)
print(json.dumps({
    "learned": len(program.detailed_results.steps[-1].library),
    "params": sorted(optimizer.get_params()),
    "statuses": list(runs["status"]) if len(runs) else [],
    "active": mlflow.active_run() is not None,
    "steps": len(program.detailed_results.steps),
    "calls": program.detailed_results.usage.lm_calls == engine.calls,
}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("first", ["tfgrpo_dspy", "mlflow"])
def test_a_compile_under_autolog_works_and_leaves_no_stray_run_whichever_was_imported_first(
    first, empty_store, tmp_path
):
    shutil.copy(empty_store, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, first, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["learned"] > 0
    assert (said["steps"], said["calls"], said["active"]) == (2, True, False)
    assert set(said["statuses"]) <= {"FINISHED"}
    if first == "tfgrpo_dspy":  # a class that exists when autolog patches has a run of its own
        assert said["statuses"]
    assert "student" not in said["params"]
