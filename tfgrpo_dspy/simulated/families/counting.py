"""Posts, pages, seats and overlapping groups."""

from __future__ import annotations

import random
from fractions import Fraction

from tfgrpo_dspy.simulated.families.model import NAMES, Family, Fork, Numbers, Solution, show


def _posts(n: Numbers, fell: frozenset[str]) -> Solution:
    length, gap = n["l"], n["s"]
    gaps = length // gap
    row = gaps if "ends" in fell else gaps + 1
    first = f"{length} / {gap} = {gaps}" + ("" if "ends" in fell else f", and {gaps} + 1 = {row}")
    if "sides" in fell:
        return Solution(Fraction(row), (first, f"that is {row}"))
    return Solution(Fraction(2 * row), (first, f"2 * {row} = {2 * row}"))


def _draw_posts(r: random.Random) -> dict[str, int]:
    gap = r.randrange(3, 16)
    return {"s": gap, "l": gap * r.randrange(6, 41)}


POSTS = Family(
    name="posts along a line",
    kinds=(
        "things stand at equal gaps along a line with one at each end",
        "posts are set evenly along both sides of a way",
        "trees or lamps are spaced evenly from one end of a road to the other",
    ),
    topic=(
        ("posts?|trees?|lamps?|poles?|flags?|things|objects", "gap|interval|equal|spac|even|end|along|apart|row"),
        ("gaps|spaced|spacing|intervals|fence",),
    ),
    phrasings=(
        "Trees are planted every {s} m along both sides of a straight road of {l} m, from one end to the other. "
        "How many trees are there?",
        "A path is {l} m long. On each of its two sides a lamp stands every {s} m, also at both ends. How many lamps?",
        "{who} puts flags along both edges of a {l} m track, one every {s} m, from the start line to the "
        "finish line, both included. How many flags are needed?",
        "Both sides of a {l} m bridge get posts {s} m apart, the first and the last right at the ends. "
        "How many posts are that?",
    ),
    words={"who": NAMES},
    draw=_draw_posts,
    solve=_posts,
    forks=(
        Fork(
            "ends",
            0.38,
            right=(
                "add one to the number of gaps because both ends carry one",
                "count the gaps and then one more for the starting end",
                "take one more than there are gaps",
            ),
            wrong=("take the number of gaps as the count", "divide the length by the gap and stop there"),
            remedy=(("add one|add 1|plus one|plus 1|one more|one extra|\\+ ?1|adding one",),),
            lure=(("gaps", "as the|equal"), ("divid", "stop|nothing more|only|just")),
        ),
        Fork(
            "sides",
            0.35,
            right=("double the count because there are two sides", "count the row on both sides"),
            wrong=("count a single side only", "leave the count at one row"),
            remedy=(("both|two|doubl|twice|second", "sides?|rows?|edges?"),),
            lure=(("single|one|only|just|leave", "side|row"),),
        ),
    ),
)


def _inclusive(n: Numbers, fell: frozenset[str]) -> Solution:
    a, b = n["a"], n["b"]
    if "ends" in fell:
        return Solution(Fraction(b - a), (f"{b} - {a} = {b - a}",))
    return Solution(Fraction(b - a + 1), (f"{b} - {a} + 1 = {b - a + 1}",))


def _draw_inclusive(r: random.Random) -> dict[str, int]:
    a = r.randrange(3, 300)
    return {"a": a, "b": a + r.randrange(8, 150)}


INCLUSIVE = Family(
    name="counting a range",
    kinds=(
        "numbered pages or tickets are counted from a first to a last one",
        "a range is counted with its first and last item included",
        "the items from one number up to another are counted inclusively",
    ),
    topic=(
        (
            "pages?|tickets?|numbered|range|numbers|items|lockers?|days|dates|houses",
            "first|last|from|both|inclusive|included|range|count",
        ),
    ),
    phrasings=(
        "{who} reads from page {a} up to and including page {b}. How many pages is that?",
        "Tickets number {a} to {b} were sold, both included. How many tickets were sold?",
        "The houses with the numbers {a} through {b} get new doors. How many houses is that?",
        "{who} paints the lockers from number {a} to number {b}, including both. How many lockers does {who} paint?",
    ),
    words={"who": NAMES},
    draw=_draw_inclusive,
    solve=_inclusive,
    forks=(
        Fork(
            "ends",
            0.56,
            right=(
                "subtract the first number from the last and add one",
                "add one to the difference so that both ends count",
                "count the first one too by adding one to the difference",
            ),
            wrong=("subtract the first number from the last", "take the plain difference of the two numbers"),
            remedy=(
                ("add one|add 1|plus one|plus 1|one more|one extra|\\+ ?1|adding one",),
                ("both ends|both endpoints", "count|includ"),
            ),
            lure=(("subtract|difference",),),
        ),
    ),
)


def _seats(n: Numbers, fell: frozenset[str]) -> Solution:
    people = n["n"] if "adults" in fell else n["n"] + n["t"]
    who = f"only the {n['n']}" if "adults" in fell else f"{n['n']} + {n['t']} = {people}"
    c = n["c"]
    count = people // c if "round" in fell else -(-people // c)
    return Solution(Fraction(count), (who, f"{people} / {c} = {show(Fraction(people, c))}, which makes {count}"))


def _draw_seats(r: random.Random) -> dict[str, int]:
    c, full, t = r.randrange(8, 55), r.randrange(3, 12), r.randrange(3, 8)
    return {"c": c, "t": t, "n": c * full - r.randrange(0, t)}


SEATS = Family(
    name="filling vehicles",
    kinds=(
        "a group must fit into vehicles of a fixed size",
        "people fill vehicles or boats and none may stay behind",
        "children and adults are spread over vehicles with a fixed number of seats",
    ),
    topic=(
        (
            "bus|buses|vehicles?|containers?|boxes|vans?|boats?|cars?|tables|rooms|seats?|cabins?",
            "fit|fill|size|hold|capacity|fixed|group|people|behind|carr|spread|number|into",
        ),
        ("whole|cannot be split|indivisible|remainder", "thing|unit|vehicle|item|divi|people"),
    ),
    phrasings=(
        "{n} children and {t} adults go on a trip by bus. Each bus seats {c} people. How many buses are needed?",
        "A school outing has {n} pupils and {t} teachers. A boat carries {c} people. How many boats must be booked?",
        "{who} plans a camp for {n} scouts with {t} leaders, who all travel in vans for {c}. How many vans is that?",
        "A theatre group of {n} children, with {t} adults, rides in gondolas that hold {c} people each. "
        "How many gondolas does it take?",
    ),
    words={"who": NAMES},
    draw=_draw_seats,
    solve=_seats,
    forks=(
        Fork(
            "adults",
            0.38,
            right=("count everyone who travels before dividing", "add the adults to the group first"),
            wrong=("divide the number of children alone", "count only the children"),
            remedy=(
                (
                    "everyone|everybody|all people|all travel|adults?|teachers?|leaders?|accompan|staff",
                    "count|add|includ|before|total|first",
                ),
            ),
            lure=(("children|pupils|kids|students", "alone|only|just"),),
        ),
        Fork(
            "round",
            0.35,
            right=(
                "round the quotient up to the next whole number",
                "take one more for those who are left over",
                "add a further vehicle for the remainder",
            ),
            wrong=("drop the remainder of the division", "round the quotient down"),
            remedy=(
                ("round", "up|next whole|higher"),
                ("one more|extra|additional|another|further", "remainder|left|rest"),
            ),
            lure=(("drop|ignor|cut off", "remainder|decimal|rest"), ("round", "down|off")),
        ),
    ),
)


def _overlap(n: Numbers, fell: frozenset[str]) -> Solution:
    total, a, b, c = n["n"], n["a"], n["b"], n["c"]
    if "twice" in fell:
        return Solution(Fraction(total - a - b), (f"{a} + {b} = {a + b}, and {total} - {a + b} = {total - a - b}",))
    either = a + b - c
    return Solution(
        Fraction(total - either), (f"{a} + {b} - {c} = {either}, and {total} - {either} = {total - either}",)
    )


def _draw_overlap(r: random.Random) -> dict[str, int]:
    a, b = r.randrange(12, 60), r.randrange(12, 60)
    return {"a": a, "b": b, "c": r.randrange(3, min(a, b)), "n": a + b + r.randrange(2, 40)}


_HOBBIES = ("chess", "tennis", "painting", "hiking", "music", "dancing", "cooking", "rowing")

OVERLAP = Family(
    name="overlapping groups",
    kinds=(
        "two groups overlap and those in neither are counted",
        "some people belong to both of two groups",
        "members of overlapping groups are counted",
    ),
    topic=(("both of|overlap|either|neither|in both|belong to both|sets",),),
    phrasings=(
        "Of {n} people {a} like {x}, {b} like {y} and {c} like both. How many like neither?",
        "A club has {n} members. {a} do {x}, {b} do {y}, and {c} of them do both. How many members do neither?",
        "In a survey of {n} students, {a} chose {x} and {b} chose {y}; {c} chose both. How many chose neither of them?",
        "{n} guests stay at a hotel: {a} signed up for {x}, {b} for {y}, and {c} for both. "
        "How many guests signed up for neither?",
    ),
    words={"x": _HOBBIES, "y": _HOBBIES},
    draw=_draw_overlap,
    solve=_overlap,
    forks=(
        Fork(
            "twice",
            0.55,
            right=(
                "subtract the overlap so that nobody is counted twice",
                "take those in both groups off the sum of the groups once",
                "count the people in both groups a single time",
            ),
            wrong=("add the two groups as they are", "use the plain sum of the two groups"),
            remedy=(("overlap|both|twice|doubl", "subtract|once|single|take|remov|deduct"),),
            lure=(("add|sum", "as they are|plain|simply|groups"),),
        ),
    ),
)

COUNTING = (POSTS, INCLUSIVE, SEATS, OVERLAP)
