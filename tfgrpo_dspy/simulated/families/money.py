"""Prices, percentages and interest."""

from __future__ import annotations

import random
from fractions import Fraction

from tfgrpo_dspy.simulated.families.model import NAMES, Family, Fork, Numbers, Solution, show

_ITEMS = ("jacket", "bicycle", "camera", "guitar", "sofa", "lamp", "tent", "watch", "printer", "carpet")


def _share(percent: int) -> Fraction:
    return Fraction(percent, 100)


def _up_down(n: Numbers, fell: frozenset[str]) -> Solution:
    p, u, d = n["p"], n["u"], n["d"]
    if "base" in fell:
        answer = p * (1 + _share(u - d))
        return Solution(answer, (f"{u}% - {d}% = {u - d}%, and {p} * {show(1 + _share(u - d))} = {show(answer)}",))
    middle = p * (1 + _share(u))
    answer = middle * (1 - _share(d))
    steps = f"{p} * {show(1 + _share(u))} = {show(middle)}, and {show(middle)} * {show(1 - _share(d))} = {show(answer)}"
    return Solution(answer, (steps,))


UP_DOWN = Family(
    name="percent up and down",
    kinds=(
        "a price goes up by one percentage and then down by another",
        "an amount rises by a percentage and later falls by a percentage",
        "two percentage changes follow each other, first up and then down",
    ),
    topic=(
        ("percent|%", "ris|rais|up|increas|grow|gain", "fall|drop|down|decreas|cut|lower|shrink|los"),
        (
            "percentage changes?|percent changes?|percentages",
            "success|follow|one after|in a row|in turn|sequen|several|two",
        ),
    ),
    phrasings=(
        "The price of a {item} is ${p}. It rises by {u}% and later falls by {d}%. What does the {item} cost then?",
        "A {item} costs ${p}. {who} raises the price by {u}% and a month later cuts it by {d}%. What is the new price?",
        "{who}'s shares are worth ${p}. They gain {u}% in spring and lose {d}% in summer. What are they worth then?",
        "A club has {p} euros in its account. The sum grows by {u}% in one year and shrinks by {d}% in the next. "
        "How many euros are left?",
    ),
    words={"item": _ITEMS, "who": NAMES},
    draw=lambda r: {"p": r.randrange(100, 1000, 50), "u": r.randrange(10, 65, 5), "d": r.randrange(10, 65, 5)},
    solve=_up_down,
    forks=(
        Fork(
            "base",
            0.58,
            right=(
                "apply each percentage to the current amount",
                "take the second percentage of the new amount that the first change left",
                "multiply by one factor after the other so that each acts on the latest amount",
            ),
            wrong=(
                "combine the two percentages into one net change of the original amount",
                "take both percentages of the original amount",
            ),
            remedy=(
                ("each|second|every|in turn|success|one after", "current|new|latest|updated|running|changed|already"),
                ("multipl|factors?", "one after|in turn|success|each|both"),
            ),
            lure=(
                ("combin|net|subtract|cancel|add|sum", "percent|change"),
                ("original|initial|starting",),
            ),
        ),
    ),
)


def _stacked(n: Numbers, fell: frozenset[str]) -> Solution:
    p, a, b = n["p"], n["a"], n["b"]
    if "stack" in fell:
        final = p * (1 - _share(a + b))
        first = f"{a}% + {b}% = {a + b}%, and {p} * {show(1 - _share(a + b))} = {show(final)}"
    else:
        middle = p * (1 - _share(a))
        final = middle * (1 - _share(b))
        first = (
            f"{p} * {show(1 - _share(a))} = {show(middle)}, and {show(middle)} * {show(1 - _share(b))} = {show(final)}"
        )
    if "asked" in fell:
        return Solution(final, (first, f"that is {show(final)}"))
    return Solution(p - final, (first, f"{p} - {show(final)} = {show(p - final)}"))


STACKED = Family(
    name="stacked discounts",
    kinds=(
        "two discounts are taken one after the other",
        "a further discount comes on top of a first discount",
        "a second discount follows the first and the saving is wanted",
    ),
    topic=(
        (
            "discounts?|% off|markdown|reduction|rebate",
            "two|second|further|another|extra|stack|on top|one after|several|success|multiple|more than one|sav",
        ),
        ("discounts",),
    ),
    phrasings=(
        "A {item} costs ${p}. It is sold at {a}% off, and members get a further {b}% off the sale price. "
        "How many dollars does a member save?",
        "{who} buys a {item} marked ${p}. There is a discount of {a}%, then another {b}% off what remains at the till. "
        "How much does {who} save in total?",
        "A shop takes {a}% off a {item} priced at ${p} and, on Friday, an extra {b}% off the lowered price. "
        "What is the saving on Friday in dollars?",
        "The list price of a {item} is ${p}. {who} first gets {a}% off and then {b}% off the remaining price. "
        "By how many dollars is the {item} cheaper in the end?",
    ),
    words={"item": _ITEMS, "who": NAMES},
    draw=lambda r: {"p": r.randrange(100, 1000, 50), "a": r.randrange(10, 45, 5), "b": r.randrange(10, 35, 5)},
    solve=_stacked,
    forks=(
        Fork(
            "stack",
            0.38,
            right=(
                "take the second discount off the already reduced price",
                "apply each discount to the price left by the one before",
                "multiply the shares that remain after each discount",
            ),
            wrong=(
                "add the discounts and take their sum off the full price",
                "take both discounts off the full price",
            ),
            remedy=(
                (
                    "second|each|every|further|next|success|in turn",
                    "reduced|left|current|remain|new|already|discounted|lower",
                ),
                ("multipl", "remain|share|factor|left"),
            ),
            lure=(
                ("add|sum|total|combin", "discount|percent|them"),
                ("both|each|second", "full|original|initial|list"),
            ),
        ),
        Fork(
            "asked",
            0.35,
            right=(
                "subtract the final price from the full price to get the saving",
                "answer with the amount saved as the full price minus the final price",
            ),
            wrong=("give the final price as the answer", "answer with the price paid at the end"),
            remedy=(
                ("sav", "subtract|minus|difference|answer|give|report|state"),
                ("exactly|what|quantity|precisely", "asked|wanted|question asks", "answer|give|report|state"),
            ),
            lure=(("final price|price paid|reduced price|remaining price", "answer|give|report|stop"),),
        ),
    ),
)


def _compound(n: Numbers, fell: frozenset[str]) -> Solution:
    p, r, y = n["p"], n["r"], n["y"]
    if "growth" in fell:
        end = p * (1 + y * _share(r))
        first = f"{p} * {show(_share(r))} * {y} = {show(end - p)}, so the balance is {show(end)}"
    else:
        end = p * (1 + _share(r)) ** y
        first = f"{p} * {show(1 + _share(r))}^{y} = {show(end)}"
    if "asked" in fell:
        return Solution(end, (first, f"that is {show(end)}"))
    return Solution(end - p, (first, f"{show(end)} - {p} = {show(end - p)}"))


COMPOUND = Family(
    name="compound interest",
    kinds=(
        "interest is added to a balance every year",
        "money earns yearly compound interest",
        "a deposit grows with interest for several years and the interest is wanted",
    ),
    topic=(("interest|compound|deposit|savings account|loan", "year|compound|balance|interest|grow|period|earn"),),
    phrasings=(
        "{who} puts ${p} into a savings account at {r}% interest a year, added to the balance each year. "
        "How much interest has it earned after {y} years?",
        "A deposit of ${p} earns {r}% per year, compounded yearly. How many dollars of interest is it after {y} years?",
        "A bank pays {r}% compound interest every year. {who} leaves ${p} untouched for {y} years. "
        "What is the interest in dollars?",
        "{who} lends a cousin ${p} for {y} years at {r}% a year, and unpaid interest is added to the debt yearly. "
        "How much interest is owed at the end?",
    ),
    words={"who": NAMES},
    draw=lambda r: {"p": r.randrange(1000, 9000, 500), "r": r.choice((2, 4, 5, 10, 20, 30)), "y": r.choice((2, 3))},
    solve=_compound,
    forks=(
        Fork(
            "growth",
            0.38,
            right=(
                "multiply by the growth factor once for every year",
                "work out each year's interest on the balance of the year before",
                "let the interest of one year earn interest in the next",
            ),
            wrong=(
                "take the first year's interest times the number of years",
                "charge the interest on the starting sum every year",
            ),
            remedy=(
                ("factor|multipl|power|growth", "every year|each year|once for|per year|years"),
                (
                    "interest",
                    "on interest|earn interest|balance of the (?:year|prev)|new balance|current|previous|grown|updated",
                ),
            ),
            lure=(("first year|starting|initial|original|simple|same interest", "interest|sum|year"),),
        ),
        Fork(
            "asked",
            0.35,
            right=(
                "subtract the deposit so that only the interest is left",
                "report the interest alone as the balance minus the deposit",
            ),
            wrong=("give the whole end balance as the answer", "answer with the full balance at the end"),
            remedy=(
                (
                    "subtract|minus|tak|deduct|remov",
                    "starting|deposit|principal|initial|original",
                    "interest|balance|only|alone",
                ),
                ("exactly|what|quantity|precisely", "asked|wanted|question asks", "answer|give|report|state"),
            ),
            lure=(("balance|total", "whole|full|end|final|entire", "answer|give|report"),),
        ),
    ),
)


def _reverse(n: Numbers, fell: frozenset[str]) -> Solution:
    q, d = n["q"], n["d"]
    if "back" in fell:
        answer = q * (1 + _share(d))
        return Solution(answer, (f"{q} * {show(1 + _share(d))} = {show(answer)}",))
    answer = q / (1 - _share(d))
    return Solution(answer, (f"{q} / {show(1 - _share(d))} = {show(answer)}",))


def _draw_reverse(r: random.Random) -> dict[str, int]:
    d = r.choice((10, 15, 20, 25, 30, 35, 40, 60))
    return {"d": d, "q": r.randrange(20, 900, 20) * (100 - d) // 100}


REVERSE = Family(
    name="price before a discount",
    kinds=(
        "the price before a discount is wanted and the price after it is known",
        "an original amount must be found from what is left after a percentage cut",
        "a percentage cut has to be undone",
    ),
    topic=(("before|original|undo|undone|revers|earlier|backward", "discount|cut|percent|reduc|sale|left after"),),
    phrasings=(
        "After a discount of {d}% a {item} costs ${q}. What did it cost before?",
        "{who} pays ${q} for a {item} that was reduced by {d}%. What was the price before the reduction, in dollars?",
        "A {item} is on sale for ${q}, which is {d}% less than usual. What is the usual price in dollars?",
        "In a clearance the price of a {item} was cut by {d}% to ${q}. How many dollars did it cost originally?",
    ),
    words={"item": _ITEMS, "who": NAMES},
    draw=_draw_reverse,
    solve=_reverse,
    forks=(
        Fork(
            "back",
            0.58,
            right=(
                "divide the final amount by the share that remains",
                "treat the known amount as the remaining share and divide by that share",
                "divide by the fraction that is left after the cut",
            ),
            wrong=(
                "add the percentage back onto the final amount",
                "raise the final amount by the same percentage",
            ),
            remedy=(("divid", "share|remain|left|factor|fraction|percent"),),
            lure=(("add|rais|increas|put", "back|percent|same"),),
        ),
    ),
)

MONEY = (UP_DOWN, STACKED, COMPOUND, REVERSE)
