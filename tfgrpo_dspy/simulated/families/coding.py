"""Problems as in competitions for which code is natural: each family writes Python from its own numbers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from math import isqrt

from tfgrpo_dspy.simulated.families.habits import (
    CHECK,
    FLOAT,
    IMPORT,
    NEEDLESS,
    ORDER,
    OVERLAP,
    PRINT,
    RANGE,
)
from tfgrpo_dspy.simulated.families.model import NAMES, Family, Numbers, Solution

Fell = frozenset[str]


@dataclass(frozen=True, eq=False)
class CodeFamily(Family):
    """A family that an agent solves by code."""

    code: Callable[[Numbers, Fell], str] = field(kw_only=True)
    """(numbers, names of the forks taken wrongly) -> imports first, and what is wanted printed by the last line."""


def _solved(compute: Callable[[Numbers, Fell], int]) -> Callable[[Numbers, Fell], Solution]:
    return lambda numbers, fell: Solution(Fraction(compute(numbers, fell)), ())


def _multiples(n: Numbers, fell: Fell) -> int:
    last = n["b"] + ("range" not in fell)
    return sum(x % n["m"] == 0 and x % n["k"] != 0 for x in range(n["a"], last))


def _multiples_code(n: Numbers, fell: Fell) -> str:
    end = n["b"] if "range" in fell else f"{n['b']} + 1"
    test = f"x % {n['m']} == 0 and x % {n['k']} != 0"
    return f"found = [x for x in range({n['a']}, {end}) if {test}]\nprint(len(found))"


def _draw_multiples(r: random.Random) -> dict[str, int]:
    m, k = r.randrange(3, 10), r.choice((11, 13, 17))
    b = m * r.choice([q for q in range(30, 120) if q % k])
    return {"a": r.randrange(1, 60), "b": b, "m": m, "k": k}


MULTIPLES = CodeFamily(
    name="integers of an interval",
    kinds=("code counts the integers of an interval", "integers between two bounds are counted by code"),
    topic=(("code|program|script|python", "interval|bounds|between"),),
    phrasings=(
        "How many integers from {a} to {b} inclusive are multiples of {m} but not of {k}?",
        "Find the number of integers n with {a} <= n <= {b} such that {m} divides n and {k} does not.",
        "Of the integers from {a} up to and including {b}, how many are divisible by {m} and not divisible by {k}?",
        "Let S be the set of multiples of {m} in the closed interval [{a}, {b}]. How many members of S are not "
        "multiples of {k}?",
    ),
    draw=_draw_multiples,
    solve=_solved(_multiples),
    code=_multiples_code,
    forks=(RANGE, PRINT),
)


def _digits(n: Numbers, fell: Fell) -> int:
    return sum(sum(map(int, str(x))) == n["s"] for x in range(1, n["b"] + ("range" not in fell)))


def _digits_code(n: Numbers, fell: Fell) -> str:
    end = n["b"] if "range" in fell else f"{n['b']} + 1"
    return (
        f"def total(x):\n    return sum(int(c) for c in str(x))\n\nprint(sum(total(x) == {n['s']} "
        f"for x in range(1, {end})))"
    )


def _draw_digits(r: random.Random) -> dict[str, int]:
    b = r.randrange(200, 5000)
    return {"b": b, "s": sum(map(int, str(b)))}


DIGITS = CodeFamily(
    name="digit sums",
    kinds=("code searches numbers by their digits", "numbers with a given digit sum are counted by code"),
    topic=(("code|program|script|python", "digits?"),),
    phrasings=(
        "How many positive integers up to and including {b} have digits that add up to {s}?",
        "Find the number of integers from 1 to {b} inclusive whose digit sum is {s}.",
        "Among the positive integers not exceeding {b}, how many have the sum of digits {s}?",
        "For how many of the numbers 1, 2, ..., {b} is the sum of the decimal digits equal to {s}?",
    ),
    draw=_draw_digits,
    solve=_solved(_digits),
    code=_digits_code,
    forks=(RANGE, CHECK),
)


def _power(n: Numbers, fell: Fell) -> int:
    return int(float(n["a"]) ** n["e"] % n["m"]) if "float" in fell else pow(n["a"], n["e"], n["m"])


def _power_code(n: Numbers, fell: Fell) -> str:
    if "float" in fell:
        return f"print(int({n['a']}.0 ** {n['e']} % {n['m']}))"
    return f"print(pow({n['a']}, {n['e']}, {n['m']}))"


POWER = CodeFamily(
    name="remainder of a power",
    kinds=("code computes a remainder of a huge power", "a huge power is reduced by code"),
    topic=(("code|program|script|python", "power|remainder"),),
    phrasings=(
        "What is the remainder when {a}^{e} is divided by {m}?",
        "Find the remainder of {a}^{e} on division by {m}.",
        "Compute {a}^{e} modulo {m}.",
        "The number {a}^{e} is divided by {m}. Which remainder is left?",
    ),
    draw=lambda r: {"a": r.randrange(3, 20), "e": r.randrange(40, 150), "m": r.randrange(11, 500)},
    solve=_solved(_power),
    code=_power_code,
    forks=(FLOAT, PRINT),
)


def _dice(n: Numbers, fell: Fell) -> int:
    hits, all_ = sum(sum(r) == n["t"] for r in product(range(1, n["s"] + 1), repeat=n["d"])), n["s"] ** n["d"]
    share = Fraction(str(round(hits / all_, 2))) if "float" in fell else Fraction(hits, all_)
    return share.numerator + share.denominator


def _dice_code(n: Numbers, fell: Fell) -> str:
    share = f"hits / {n['s']} ** {n['d']}"
    share = f"Fraction(str(round({share}, 2)))" if "float" in fell else f"Fraction(hits, {n['s']} ** {n['d']})"
    return (
        f"from fractions import Fraction\nfrom itertools import product\n"
        f"rolls = product(range(1, {n['s']} + 1), repeat={n['d']})\n"
        f"hits = sum(sum(roll) == {n['t']} for roll in rolls)\n"
        f"share = {share}\nprint(share.numerator + share.denominator)"
    )


def _draw_dice(r: random.Random) -> dict[str, int]:
    d, s = r.choice((2, 3)), r.choice((4, 6, 8, 10))
    return {"d": d, "s": s, "t": r.randrange(d + 1, d * s)}


DICE = CodeFamily(
    name="probability by enumeration",
    kinds=("code enumerates the outcomes of a random experiment", "a probability is found by enumeration in code"),
    topic=(("code|program|script|python", "probabilit|outcomes|enumerat"),),
    phrasings=(
        "{who} rolls {d} fair {s}-sided dice. The probability that the sum is {t} is m/n in lowest terms. Find m + n.",
        "When {d} fair dice with {s} sides each are thrown, the total is {t} with probability m/n, where m and n are "
        "coprime. What is m + n?",
        "The chance that {d} fair {s}-sided dice show a total of {t} is the reduced fraction m/n. Compute m + n.",
        "{who} throws {d} fair dice, each numbered 1 to {s}. Write the probability of a total of {t} as a fraction m/n "
        "in lowest terms and give m + n.",
    ),
    words={"who": NAMES},
    draw=_draw_dice,
    solve=_solved(_dice),
    code=_dice_code,
    forks=(IMPORT, FLOAT),
)

ROOT = CodeFamily(
    name="root of a huge number",
    kinds=("code takes the root of a huge number", "the root of a huge integer is computed by code"),
    topic=(("code|program|script|python", "roots?|square"),),
    phrasings=(
        "What is the largest integer whose square does not exceed {v}?",
        "Find the greatest integer n with n^2 <= {v}.",
        "Compute the integer part of the square root of {v}.",
        "Let n be the largest integer with n * n at most {v}. Find n.",
    ),
    draw=lambda r: {"v": r.randrange(3 * 10**15, 9 * 10**15) ** 2 - 1},
    solve=_solved(lambda n, fell: isqrt(n["v"]) + ("float" in fell)),
    code=lambda n, fell: f"import math\nprint({'int(math.sqrt' if 'float' in fell else 'int(math.isqrt'}({n['v']})))",
    forks=(IMPORT, FLOAT),
)

PLAIN = CodeFamily(
    name="plain arithmetic",
    kinds=("plain arithmetic is all that is asked", "the task is one line of plain arithmetic"),
    topic=(("plain|simple", "arithmetic|calculation|sums?"),),
    phrasings=(
        "What is {a} times {b}, less {c}?",
        "Subtract {c} from the product of {a} and {b}.",
        "Compute {a} * {b} - {c}.",
        "By how much does the product of {a} and {b} exceed {c}?",
    ),
    draw=lambda r: {"a": r.randrange(12, 90), "b": r.randrange(12, 90), "c": r.randrange(2, 140)},
    solve=_solved(lambda n, fell: n["a"] * n["b"] - n["c"]),
    code=lambda n, fell: f"print({n['a']} * {n['b']} - {n['c']})",
    forks=(NEEDLESS, PRINT),
)


def _either(n: Numbers, fell: Fell) -> int:
    both = 1 if "overlap" not in fell else 2
    numbers = range(1, n["b"] + 1)
    return sum(x * min(both, (x % n["m"] == 0) + (x % n["k"] == 0)) for x in numbers)


def _either_code(n: Numbers, fell: Fell) -> str:
    numbers = f"range(1, {n['b']} + 1)"
    if "overlap" in fell:
        one, two = (f"sum(x for x in {numbers} if x % {d} == 0)" for d in (n["m"], n["k"]))
        return f"one = {one}\ntwo = {two}\nprint(one + two)"
    return f"print(sum(x for x in {numbers} if x % {n['m']} == 0 or x % {n['k']} == 0))"


EITHER = CodeFamily(
    name="either of two conditions",
    kinds=("code sums numbers under either of two conditions", "numbers that meet either condition are summed by code"),
    topic=(("code|program|script|python", "either|conditions?"),),
    phrasings=(
        "Find the sum of all positive integers up to {b} that are divisible by {m} or {k}.",
        "What is the sum of the multiples of {m} or {k} among the numbers from 1 to {b}?",
        "Each of the integers from 1 to {b} that {m} or {k} divides is written down. What is the sum of these numbers?",
        "Add up every positive integer at most {b} that is a multiple of {m} or of {k}. What is the result?",
    ),
    draw=lambda r: {"b": r.randrange(100, 900), "m": r.randrange(3, 6), "k": r.choice((7, 8, 11))},
    solve=_solved(_either),
    code=_either_code,
    forks=(OVERLAP, CHECK),
)


def _coins(n: Numbers, fell: Fell) -> int:
    ways, coins = [1] + [0] * n["c"], (n["x"], n["y"], n["z"])
    amounts = range(1, n["c"] + 1)
    pairs = product(amounts, coins) if "order" in fell else ((amount, coin) for coin in coins for amount in amounts)
    for amount, coin in pairs:
        ways[amount] += ways[amount - coin] if amount >= coin else 0
    return ways[-1]


def _coins_code(n: Numbers, fell: Fell) -> str:
    loops = [f"for coin in ({n['x']}, {n['y']}, {n['z']}):", f"for amount in range(1, {n['c']} + 1):"]
    first, second = loops[::-1] if "order" in fell else loops
    step = "if amount >= coin:\n            ways[amount] += ways[amount - coin]"
    return f"ways = [1] + [0] * {n['c']}\n{first}\n    {second}\n        {step}\nprint(ways[{n['c']}])"


def _draw_coins(r: random.Random) -> dict[str, int]:
    x, y, z = r.choice(((1, 2, 5), (2, 3, 5), (1, 5, 10), (2, 5, 10), (3, 4, 7), (1, 3, 8)))
    return {"c": r.randrange(18, 60), "x": x, "y": y, "z": z}


COINS = CodeFamily(
    name="ways to pay",
    kinds=("code counts the ways to make up an amount", "ways to pay an amount are counted by code"),
    topic=(("code|program|script|python", "ways|amount|pay"),),
    phrasings=(
        "In how many ways can {c} cents be paid with coins of {x}, {y} and {z} cents?",
        "How many collections of {x}-, {y}- and {z}-cent coins are worth exactly {c} cents?",
        "Find the number of ways to change {c} cents into coins of {x}, {y} and {z} cents, in whatever order.",
        "{who} pays {c} cents with coins worth {x}, {y} and {z} cents only. How many sets of coins can {who} use?",
    ),
    words={"who": NAMES},
    draw=_draw_coins,
    solve=_solved(_coins),
    code=_coins_code,
    forks=(ORDER, PRINT),
)

CODING: tuple[CodeFamily, ...] = (MULTIPLES, DIGITS, POWER, DICE, ROOT, PLAIN, EITHER, COINS)
