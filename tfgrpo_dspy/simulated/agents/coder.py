"""An agent with a tool that runs Python: it writes code, reads what came of it, mends it, and concludes."""

from __future__ import annotations

import json
import random
import re

from tfgrpo_dspy.simulated.agents.deciding import Decision, Mind
from tfgrpo_dspy.simulated.agents.turns import Move, Scene, Turn
from tfgrpo_dspy.simulated.families.coding import CodeFamily
from tfgrpo_dspy.simulated.families.habits import CHECK, NEEDLESS
from tfgrpo_dspy.simulated.families.model import Numbers, show
from tfgrpo_dspy.simulated.policy import guess

MENDED = 0.55
"""Chance that code which failed or printed nothing is mended and run again; else the answer is guessed."""
BLIND = 0.2
"""Chance that a check repeats the mistake that it should find."""
MOST_RUNS = 3
"""Runs after which failing code is given up."""

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_WHOLE = re.compile(r"(?<![\d.])\d{1,6}(?![\d.])")
_SILENT = re.compile(r"nothing was printed", re.IGNORECASE)
_UNDEFINED = re.compile(r"NameError", re.IGNORECASE)
_FAILED = re.compile(r"^(?:Execution error|Error)\b|^\w*Error:", re.MULTILINE)
_LAST_PRINT = re.compile(r"print\((.*)\)\Z", re.DOTALL)
_LAST_LINE = re.compile(r"(.+)\Z")
_IMPORTS = re.compile(r"^(?:import|from) .*\n", re.MULTILINE)


def next_move(mind: Mind, numbers: Numbers) -> Move:
    """The next turn at a problem of a known family."""
    family, turns = mind.family, mind.scene.turns
    if not isinstance(family, CodeFamily):
        raise TypeError(f"{family.name} is not a family that is solved by code")
    if not turns:
        return _begin(mind, family, numbers)
    seen = turns[-1].observation
    if _SILENT.search(seen) or _FAILED.search(seen):
        return _mend(mind, family, numbers)
    found = _NUMBER.findall(seen)
    if not found:
        return Move(guess(mind.scene.task, mind.rng).reasoning)
    if CHECK in family.forks and not mind.has_taken(CHECK):
        return _check(mind, family, numbers, found[-1])
    return _conclude(mind, found[-1])


def _begin(mind: Mind, family: CodeFamily, numbers: Numbers) -> Move:
    decisions: list[Decision] = []
    for fork in family.forks:
        if fork is not CHECK and not (decisions and decisions[0].fork is NEEDLESS and not decisions[0].fell):
            decisions.append(mind.decide(fork))
    if decisions[0].fork is NEEDLESS and not decisions[0].fell:
        answer = show(family.solve(numbers, frozenset()).answer)
        return Move(f"{mind.kind} First, {decisions[0].approach}: it comes to {answer}. So the answer is {answer}.")
    steps = (f"{'Next' if i else 'First'}, {d.approach}: see the code." for i, d in enumerate(decisions))
    code = _written(family, numbers, frozenset(d.fork.name for d in decisions if d.fell))
    return _run(mind.scene, f"{mind.kind} {' '.join(steps)}", code)


def _written(family: CodeFamily, numbers: Numbers, fell: frozenset[str]) -> str:
    """The family's code, with the mistakes that any code can have."""
    code = family.code(numbers, fell)
    if "import" in fell:
        code = _IMPORTS.sub("", code)
    return _LAST_PRINT.sub(r"\1", code) if "print" in fell else code


def _mend(mind: Mind, family: CodeFamily, numbers: Numbers) -> Move:
    """Run the code of the last turn again, mended, or give up."""
    turns = mind.scene.turns
    seen, code = turns[-1].observation, code_of(turns[-1])
    is_known = bool(_SILENT.search(seen) or _UNDEFINED.search(seen))
    if not (is_known and code) or len(turns) >= MOST_RUNS or mind.rng.random() >= MENDED:
        return Move(f"The code gave no result. {guess(mind.scene.task, mind.rng).reasoning}")
    if _SILENT.search(seen):
        mended = _LAST_LINE.sub(r"print(\1)", code)
        return _run(mind.scene, "Nothing was printed, so the code is run again with a print.", mended)
    imports = "".join(_IMPORTS.findall(family.code(numbers, frozenset())))
    return _run(mind.scene, "A name is not defined, so the code is run again with its imports.", imports + code)


def _check(mind: Mind, family: CodeFamily, numbers: Numbers, value: str) -> Move:
    decision = mind.decide(CHECK)
    said = f"{mind.kind} Finally, {decision.approach}: the first output was {value}."
    if decision.fell:
        return Move(f"{said} So the answer is {value}.")
    # What it did in its own code is all that can be repeated: the thought shows it.
    slipped = (fork.name for fork in family.forks if any(wrong in mind.scene.thoughts for wrong in fork.wrong))
    fell = frozenset(slipped) if mind.rng.random() < BLIND else frozenset[str]()
    return _run(mind.scene, said, family.code(numbers, fell))


def _conclude(mind: Mind, value: str) -> Move:
    return Move(f"{mind.kind} The output is {value}. So the answer is {value}.")


def try_unknown(scene: Scene, rng: random.Random) -> Move:
    """A turn at a problem of no known kind: one small calculation, and an honest guess from what it prints."""
    if scene.turns:
        found = _NUMBER.findall(scene.turns[-1].observation)
        if not found or _FAILED.search(scene.turns[-1].observation):
            return Move(guess(scene.task, rng).reasoning)
        return Move(
            f"I am not sure how to solve this. The output {found[-1]} is a guess. So the answer is perhaps {found[-1]}."
        )
    guessed = guess(scene.task, rng)
    if guessed.answer == "unknown":
        return Move(f"{guessed.reasoning} So the answer is perhaps unknown.")
    return _run(
        scene, "I do not know this kind of problem; a small calculation may help.", f"print({_some_sum(scene, rng)})"
    )


def _some_sum(scene: Scene, rng: random.Random) -> str:
    """A plain calculation with two of the problem's last numbers; small ones, so that it ends at once."""
    numbers = [str(int(n)) for n in _WHOLE.findall(scene.task)][-6:] or ["1"]
    return f" {rng.choice('+-*')} ".join(rng.choices(numbers, k=2))


def _run(scene: Scene, thought: str, code: str) -> Move:
    return Move(thought, scene.tools["code"], {"code": code})


def code_of(turn: Turn) -> str:
    """The code that a turn ran; empty if it ran none."""
    try:
        arguments = json.loads(turn.arguments)
    except ValueError:
        return ""
    return str(arguments.get("code", "")) if isinstance(arguments, dict) else ""
