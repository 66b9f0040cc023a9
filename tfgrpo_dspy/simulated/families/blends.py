"""Averages of groups, solutions, areas and ages."""

from __future__ import annotations

import random
from fractions import Fraction

from tfgrpo_dspy.simulated.families.model import NAMES, Family, Fork, Numbers, Solution, show


def _weighted(n: Numbers, fell: frozenset[str]) -> Solution:
    m, a, k, b = n["m"], n["a"], n["k"], n["b"]
    if "equal" in fell:
        answer = Fraction(a + b, 2)
        return Solution(answer, (f"({a} + {b}) / 2 = {show(answer)}",))
    answer = Fraction(m * a + k * b, m + k)
    return Solution(answer, (f"({m} * {a} + {k} * {b}) / {m + k} = {show(answer)}",))


WEIGHTED = Family(
    name="combined average",
    kinds=(
        "the averages of two groups of different size are combined",
        "two groups with their own averages are merged",
        "one average is wanted for groups of unequal size",
    ),
    topic=(("averages?|means?", "groups?|class|team|size|merg|combin|pool|unequal"),),
    phrasings=(
        "A class of {m} students scores {a} points on average, another class of {k} students scores {b}. "
        "What is the average of all students?",
        "{m} workers of a firm are {a} years old on average and the other {k} workers {b} years. "
        "What is the average age of all workers?",
        "{who}'s team of {m} players averages {a} goals, the rival team of {k} players {b} goals. "
        "What is the average over all players of both teams?",
        "In one village {m} homes use {a} kWh on average; in the next one {k} homes use {b} kWh on average. "
        "What is the average over all homes in kWh?",
    ),
    words={"who": NAMES},
    draw=lambda r: {
        "m": r.randrange(5, 40),
        "k": r.randrange(5, 40),
        "a": r.randrange(20, 60),
        "b": r.randrange(40, 95),
    },
    solve=_weighted,
    forks=(
        Fork(
            "equal",
            0.57,
            right=(
                "weight each average by the size of its group",
                "add up the totals of both groups and divide by the number of all members",
                "multiply each average by its number of members before adding",
            ),
            wrong=("take the mean of the two averages", "add the averages and divide by two"),
            remedy=(("weight",), ("totals?", "divid"), ("multipl", "size|number|members|count")),
            lure=(("mean|average|halve|divide by two|middle", "averages|means"),),
        ),
    ),
)


def _dilute(n: Numbers, fell: frozenset[str]) -> Solution:
    v, a, b = n["v"], n["a"], n["b"]
    if "solute" in fell:
        total = v + v * Fraction(a - b, 100)
        first = f"{a} - {b} = {a - b} points, and {v} + {v} * {show(Fraction(a - b, 100))} = {show(total)}"
    else:
        pure = v * Fraction(a, 100)
        total = pure / Fraction(b, 100)
        first = f"{v} * {show(Fraction(a, 100))} = {show(pure)}, and {show(pure)} / {show(Fraction(b, 100))}"
        first += f" = {show(total)}"
    if "asked" in fell:
        return Solution(total, (first, f"that is {show(total)}"))
    return Solution(total - v, (first, f"{show(total)} - {v} = {show(total - v)}"))


def _draw_dilute(r: random.Random) -> dict[str, int]:
    b = r.choice((5, 8, 10, 12, 15, 20, 25, 30))
    return {"v": r.randrange(2, 41), "b": b, "a": b + r.choice((5, 10, 15, 20, 25, 30, 40))}


DILUTE = Family(
    name="dilution",
    kinds=(
        "water is added to dilute a solution",
        "a solution is thinned to a lower concentration",
        "a mixture gets water until its concentration is lower",
    ),
    topic=(
        (
            "water|solution|dilut|mixture|concentrat|acid|syrup|brine",
            "add|dilut|thin|lower|concentrat|mix|weaker|strength",
        ),
    ),
    phrasings=(
        "How many litres of water must be added to {v} litres of a {a}% salt solution to bring it down to {b}%?",
        "{who} has {v} litres of syrup with {a}% sugar and wants {b}% sugar. How many litres of water must {who} add?",
        "A tank holds {v} litres of {a}% acid. How many litres of pure water turn it into {b}% acid?",
        "A cleaner of {a}% strength is to be thinned with water to {b}%. There are {v} litres of it. "
        "How many litres of water does that take?",
    ),
    words={"who": NAMES},
    draw=_draw_dilute,
    solve=_dilute,
    forks=(
        Fork(
            "solute",
            0.4,
            right=(
                "keep the dissolved amount fixed and divide it by the new concentration",
                "let the pure substance stay the same and set it against the new total",
                "divide the unchanged amount of pure substance by the new share",
            ),
            wrong=(
                "add the difference of the percentages as a share of the volume",
                "take the drop in percentage points of the volume",
            ),
            remedy=(("pure|dissolved|solute|substance", "fixed|same|unchanged|constant|conserv|stay|keep"),),
            lure=(("difference|drop|percentage points", "percent|volume|share"),),
        ),
        Fork(
            "asked",
            0.35,
            right=(
                "subtract the old volume so that only the added water is left",
                "answer with the added part as the new volume minus the old one",
            ),
            wrong=("give the new total volume as the answer", "answer with the volume of the whole mixture"),
            remedy=(
                ("subtract|minus|tak|deduct|difference", "old|start|original|initial|first", "volume|water|added"),
                ("exactly|what|quantity|precisely", "asked|wanted|question asks", "answer|give|report|state"),
            ),
            lure=(("total|whole|new", "volume|mixture", "answer|give|report"),),
        ),
    ),
)


def _area(n: Numbers, fell: frozenset[str]) -> Solution:
    c, k = n["c"], n["k"]
    if "linear" in fell:
        return Solution(Fraction(c * k), (f"{c} * {k} = {c * k}",))
    return Solution(Fraction(c * k * k), (f"{k} * {k} = {k * k}, and {c} * {k * k} = {c * k * k}",))


AREA = Family(
    name="scaled area",
    kinds=(
        "the sides of a shape are scaled and its area decides",
        "a flat shape is enlarged and the cost goes with its area",
        "all side lengths grow by a factor and the area matters",
    ),
    topic=(
        ("areas?|shapes?|sides?|floors?|flat", "areas?|scal|enlarg|times as long|bigger|doubl|tripl|lengths?|factor"),
    ),
    phrasings=(
        "Tiling a square floor costs ${c}. What does it cost to tile a square floor whose sides are {k} times as long?",
        "{who} needs {c} g of paint for a poster. How many grams does a poster take that is {k} times as wide "
        "and {k} times as high?",
        "A round lawn needs {c} kg of seed. How many kg does a round lawn need whose diameter is {k} times as large?",
        "A quilt of a certain shape takes {who} {c} patches. How many patches of the same size does a quilt take "
        "with all lengths {k} times as long?",
    ),
    words={"who": NAMES},
    draw=lambda r: {"c": r.randrange(12, 240), "k": r.randrange(2, 9)},
    solve=_area,
    forks=(
        Fork(
            "linear",
            0.6,
            right=(
                "multiply by the square of the scale factor",
                "scale the area by the factor squared",
                "use the factor twice as length and width both grow",
            ),
            wrong=("multiply by the scale factor itself", "let it grow in step with the side length"),
            remedy=(
                ("squar", "factor|scale|ratio"),
                ("twice|both", "length|width|dimension|direction|factor"),
            ),
            lure=(("factor|scale|side|length|linear", "itself|in step|proportion|once|direct|linear"),),
        ),
    ),
)


def _ages(n: Numbers, fell: frozenset[str]) -> Solution:
    d, y, s = n["d"], n["y"], n["s"]
    times = 1 if "once" in fell else 2
    today = s - times * y
    answer = Fraction(today + d, 2)
    taken = f"{s} - {y}" if times == 1 else f"{s} - 2 * {y}"
    return Solution(answer, (f"{taken} = {today}, and ({today} + {d}) / 2 = {show(answer)}",))


def _draw_ages(r: random.Random) -> dict[str, int]:
    young, d, y = r.randrange(4, 40), r.randrange(2, 30), r.randrange(2, 15)
    return {"d": d, "y": y, "s": 2 * young + d + 2 * y}


AGES = Family(
    name="sum of ages",
    kinds=(
        "the ages of two people are added up some years from now",
        "a sum of two ages in the future is known",
        "two people grow older and the sum of their ages is given",
    ),
    topic=(("ages?|years old|older|birthday", "sum|add|total|future|years|together|two|both|people"),),
    phrasings=(
        "{who} is {d} years older than {other}. In {y} years their ages will add up to {s}. How old is {who} now?",
        "In {y} years {who} and {other} will be {s} years old together. {who} is {d} years older. How old is {who}?",
        "{other} is {d} years younger than {who}. The sum of their ages in {y} years is {s}. How old is {who} today?",
        "The ages of {who} and {other} will sum to {s} in {y} years, and {who} was born {d} years before {other}. "
        "How old is {who} at present?",
    ),
    words={"who": NAMES, "other": NAMES},
    draw=_draw_ages,
    solve=_ages,
    forks=(
        Fork(
            "once",
            0.57,
            right=(
                "let the years pass for both people",
                "take the years away once for each person",
                "subtract the years twice because both grow older",
            ),
            wrong=("take the years off the sum a single time", "let the years pass just once in the sum"),
            remedy=(("both|each|every|twice", "years?|person|people|older|ages?"),),
            lure=(("once|single|one time", "years?|sum"),),
        ),
    ),
)

BLENDS = (WEIGHTED, DILUTE, AREA, AGES)
