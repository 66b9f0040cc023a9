"""Runs that are disturbed at random have to end as the undisturbed one did, and pay for next to nothing twice.

Each round takes a scenario (plain, a gate, trials, retrieval, a review, agents with a sandbox, a comparison), disturbs
it one to four times at random moments (SIGKILL, SIGTERM, Ctrl-C, an outage of the endpoint, a full disk, a damaged
record or page, a second process on the same run), gives the same command again until it is done, and compares: what was
learned, byte for byte, and the calls that the endpoint answered. A call is paid twice at most for what was in flight.

Example: nice python -m benchmarks.soak --rounds 50
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.common import Figures, Target, progress, report
from benchmarks.soak.processes import Endpoint, serving
from benchmarks.soak.rounds import Round, Whole, disturbed, undisturbed
from benchmarks.soak.scenarios import SCENARIOS


def soak(names: Sequence[str], rounds: range, endpoint: Endpoint, folder: Path) -> list[Round]:
    """So many rounds over these scenarios in turn; a round of a number is the same whenever it is run."""
    wholes: dict[str, Whole] = {}
    made = []
    for number in rounds:
        name = names[number % len(names)]
        if name not in wholes:
            wholes[name] = undisturbed(SCENARIOS[name], endpoint, _made(folder / name))
        draws = random.Random(f"soak/{number}")
        one = disturbed(SCENARIOS[name], wholes[name], endpoint, _made(folder / str(number)), draws)
        said = one.wrong or f"{one.starts} starts, {one.paid_twice} calls paid twice"
        progress(f"{number}: {name}, {', '.join(one.disturbances)}: {said}")
        made.append(one)
    return made


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def rows_of(rounds: Sequence[Round]) -> list[dict[str, object]]:
    """A line of the table for each scenario."""
    rows = []
    for name in dict.fromkeys(one.scenario for one in rounds):
        of_it = [one for one in rounds if one.scenario == name]
        rows.append(
            {
                "scenario": name,
                "rounds": len(of_it),
                "disturbances": sum(len(one.disturbances) for one in of_it),
                "starts": sum(one.starts for one in of_it),
                "calls paid twice": sum(one.paid_twice for one in of_it),
                "of at most": sum(one.allowed for one in of_it),
                "wrong": sum(bool(one.wrong) for one in of_it),
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds; the exit code says whether all came out as they should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50, help="(default: 50)")
    parser.add_argument("--first", type=int, default=0, help="number of the first round (default: 0)")
    parser.add_argument("--scenarios", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--keep", type=Path, help="folder for what the runs leave; none by default")
    options = parser.parse_args(arguments)
    numbers = range(options.first, options.first + options.rounds)
    with TemporaryDirectory(ignore_cleanup_errors=True) as temporary, serving() as endpoint:
        rounds = soak(options.scenarios, numbers, endpoint, options.keep or Path(temporary))
    for one in rounds:
        if one.wrong:
            print(f"{one.scenario}, {', '.join(one.disturbances)}: {one.wrong}")
    return report("soak", [Figures("rounds", rows_of(rounds))], [Target("rounds gone wrong", _wrong(rounds), 0)])


def _wrong(rounds: Sequence[Round]) -> int:
    return sum(bool(one.wrong) for one in rounds)


if __name__ == "__main__":
    sys.exit(main())
