"""Training-Free GRPO on a real model behind any OpenAI-compatible endpoint: what became of each lesson, and the gain.

Nothing here is simulated. The file of problems holds one JSON object a line with `question` and `answer`, the answer
ending in `#### 18` as GSM8K's do. Every exchange is written to `--record`, one a line, so that it can be replayed.

Example: python -m benchmarks.real_model problems.jsonl --model openai/qwen --api-base http://127.0.0.1:8801/v1
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from tfgrpo_dspy import TrainingFreeGRPO, compare, evaluate
from tfgrpo_dspy.records.result import CompileResult
from tfgrpo_dspy.rewards.metrics import number


class Recorder(BaseCallback):
    """Writes each exchange with the model to a file as it ends.

    Args:
        path: One JSON object a line: `messages` and `reply`.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._open, self._lock = path, dict[str, Any](), threading.Lock()

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Keep what was asked."""
        self._open[call_id] = inputs.get("messages") or inputs.get("prompt")

    def on_lm_end(self, call_id: str, outputs: Any, exception: Exception | None = None) -> None:
        """Write what came of it."""
        replies = [getattr(output, "text", None) or output for output in outputs or []]
        line = {"messages": self._open.pop(call_id, None), "reply": replies, "error": str(exception or "")}
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")


def problems(path: Path, start: int, count: int) -> list[dspy.Example]:
    """So many problems of a file, from one on."""
    lines = path.read_text(encoding="utf-8").splitlines()[start : start + count]
    rows = [json.loads(line) for line in lines]
    return [
        dspy.Example(question=row["question"], answer=row["answer"].rpartition("####")[2].strip()).with_inputs(
            "question"
        )
        for row in rows
    ]


def fates_of(result: CompileResult) -> list[dict[str, object]]:
    """Every candidate with what became of it."""
    return [
        {"step": step.step, "from": f.group, "became": f.became, "id": f.id or "", "text": f.text, "why": f.why}
        for step in result.steps
        for f in step.fates
    ]


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--api-base")
    parser.add_argument("--train", type=int, default=12)
    parser.add_argument("--test", type=int, default=0, help="held-out problems, those after the training problems")
    parser.add_argument("--start", type=int, default=0, help="first problem of the file that is used")
    parser.add_argument("--group-size", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, help="problems a step; all of them if it is left out")
    parser.add_argument("--trials", action="store_true", help="measure each entry inside the groups")
    parser.add_argument("-k", type=int, default=2, help="rollouts of each held-out problem")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-tokens", type=int, default=500)
    parser.add_argument("--log-dir", type=Path, help="keeps results, so that an interrupted run goes on")
    parser.add_argument("--record", type=Path, default=Path("replies.jsonl"))
    return parser.parse_args(arguments)


def show(result: CompileResult, model: str, held_out: object) -> None:
    """Print what was learned, what became of each lesson, and what was not done."""
    became = Counter(fate.became for step in result.steps for fate in step.fates)
    figures = {
        "model": model,
        "groups": sum(len(step.groups) for step in result.steps),
        "informative": sum(g.is_informative(1e-9) for step in result.steps for g in step.groups),
        "candidates": sum(became.values()),
        "entries": len(result.library),
        "calls": result.usage.lm_calls,
        "held out": held_out,
    }
    undone = [{"stage": f.stage, "where": f.where, "why": f.reason} for step in result.steps for f in step.failures]
    measured = [{"id": e.id, "text": e.text, "effect": e.to_text()} for e in result.effects]
    ruled = [{"step": s.step, "did": c.kind, "id": c.id, "why": c.reason} for s in result.steps for c in s.by_trial]
    named: dict[str, Sequence[Mapping[str, object]]] = {
        "what was learned": [figures],
        "what became of each lesson": fates_of(result),
        "what each entry does": measured,
        "what was taken out or back": ruled,
        "what was not done": undone,
    }
    for title, rows in named.items():
        print(f"\n## {title}")
        for row in rows:
            print(json.dumps(row, ensure_ascii=False, default=str))


def main(arguments: Sequence[str] | None = None) -> int:
    """Learn, evaluate if asked to, and print what became of the lessons."""
    given = options(arguments)
    lm = dspy.LM(
        given.model, api_base=given.api_base, api_key="none", max_tokens=given.max_tokens, cache=False, timeout=3600
    )
    program = dspy.ChainOfThought("question -> answer")
    train = problems(given.problems, given.start, given.train)
    test = problems(given.problems, given.start + given.train, given.test)
    optimizer = TrainingFreeGRPO(
        number,
        epochs=given.epochs,
        group_size=given.group_size,
        batch_size=given.batch_size,
        trials=given.trials,
        num_threads=given.threads,
        call_timeout=3600.0,
        log_dir=given.log_dir,
        objective="Solve word problems with numbers in several steps.",
    )
    with dspy.context(lm=lm, callbacks=[Recorder(given.record)]):
        better = optimizer.compile(program, trainset=train)
        pair = [evaluate(p, test, number, k=given.k, num_threads=given.threads) for p in (program, better) if test]
    held_out = {"bare": pair[0].mean, "learned": pair[1].mean, "gain": compare(*pair).difference} if pair else {}
    show(better.detailed_results, given.model, held_out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
