"""Speeds, working rates and clock times."""

from __future__ import annotations

import random
from fractions import Fraction

from tfgrpo_dspy.simulated.families.model import NAMES, Family, Fork, Numbers, Solution, show

_SPEEDS = ((40, 60), (30, 60), (20, 30), (60, 90), (10, 15), (45, 90), (20, 60), (24, 40), (50, 75), (30, 45), (42, 56))
_TIMES = (
    (3, 6),
    (4, 12),
    (6, 12),
    (10, 15),
    (5, 20),
    (6, 30),
    (12, 24),
    (8, 24),
    (9, 18),
    (14, 35),
    (15, 30),
    (21, 28),
)


def _average_speed(n: Numbers, fell: frozenset[str]) -> Solution:
    d, a, b = n["d"], n["a"], n["b"]
    if "mean" in fell:
        answer = Fraction(a + b, 2)
        return Solution(answer, (f"({a} + {b}) / 2 = {show(answer)}",))
    time = Fraction(d, a) + Fraction(d, b)
    return Solution(
        2 * d / time, (f"{d}/{a} + {d}/{b} = {show(time)} hours, and {2 * d} / {show(time)} = {show(2 * d / time)}",)
    )


def _draw_speed(r: random.Random) -> dict[str, int]:
    a, b = r.sample(r.choice(_SPEEDS), 2)
    return {"a": a, "b": b, "d": r.choice((1, 2, 3, 4, 5)) * a * b // 10}


AVERAGE_SPEED = Family(
    name="average speed",
    kinds=(
        "the same distance is covered at two different speeds",
        "a trip goes out at one speed and back at another speed",
        "an average speed is wanted over two equal distances",
    ),
    topic=(
        (
            "speed|km/h|mph|pace",
            "average|same distance|equal distance|out|back|return|round|two|different|each way|half",
        ),
    ),
    phrasings=(
        "{who} drives {d} km to a town at {a} km/h and returns on the same road at {b} km/h. "
        "What is the average speed of the whole trip in km/h?",
        "A bus covers {d} km at {a} km/h and then another {d} km at {b} km/h. What is its average speed in km/h?",
        "{who} cycles out {d} km at {a} km/h and back {d} km at {b} km/h. Find the average speed in km/h.",
        "On the way to the coast, {d} km away, {who} averages {a} km/h; on the way home {b} km/h. "
        "What was the average speed overall, in km/h?",
    ),
    words={"who": NAMES},
    draw=_draw_speed,
    solve=_average_speed,
    forks=(
        Fork(
            "mean",
            0.6,
            right=(
                "divide the total distance by the total time",
                "work out the time of each part and divide the whole distance by the whole time",
                "use the entire distance over the entire time",
            ),
            wrong=("take the mean of the two speeds", "add the two speeds and halve the sum"),
            remedy=(("(?:total|whole|entire|full|overall|combined) (?:distance|way)", "time"), ("harmonic",)),
            lure=(("mean|averag|halve|half|midpoint|middle", "speeds"),),
        ),
    ),
)


def _time_units(n: Numbers, fell: frozenset[str]) -> Solution:
    r, h, m = n["r"], n["h"], n["m"]
    if "decimal" in fell:
        hours = h + Fraction(m, 100)
        return Solution(r * 60 * hours, (f"{show(hours)} hours * 60 * {r} = {show(r * 60 * hours)}",))
    minutes = 60 * h + m
    return Solution(
        Fraction(r * minutes), (f"{h} * 60 + {m} = {minutes} minutes, and {minutes} * {r} = {r * minutes}",)
    )


TIME_UNITS = Family(
    name="hours and minutes",
    kinds=(
        "a rate per minute runs for a time in hours and minutes",
        "a time is given in hours and minutes but the rate is per minute",
        "hours and minutes have to be brought to one unit",
    ),
    topic=(
        ("hours?|minutes?|time unit|units", "minutes?|convert|unit|mixed"),
        ("convert|different|mixed|same", "units?"),
    ),
    phrasings=(
        "A machine fills {r} bottles per minute. How many bottles does it fill in {h} hours and {m} minutes?",
        "A printer produces {r} pages a minute. It runs for {h} hours {m} minutes. How many pages does it print?",
        "{who} types {r} words per minute for {h} hours and {m} minutes. How many words is that?",
        "Water flows into a tank at {r} litres per minute for {h} h {m} min. How many litres flow in?",
    ),
    words={"who": NAMES},
    draw=lambda r: {"r": r.randrange(5, 80), "h": r.randrange(1, 9), "m": r.randrange(5, 60, 5)},
    solve=_time_units,
    forks=(
        Fork(
            "decimal",
            0.52,
            right=(
                "convert the hours to minutes at sixty per hour before adding the minutes",
                "turn the whole time into minutes",
                "write the time in minutes with sixty for every hour",
            ),
            wrong=(
                "write the minutes behind the decimal point of the hours",
                "read the hours and minutes as a decimal number of hours",
            ),
            remedy=(
                ("sixty|60", "hour|minute"),
                ("convert|turn|chang|express|write|bring", "(?:in|to|into) minutes|(?:same|one|common|single) unit"),
            ),
            lure=(("decimal", "hour|minute"),),
        ),
    ),
)


def _work_rate(n: Numbers, fell: frozenset[str]) -> Solution:
    a, b = n["a"], n["b"]
    if "rates" in fell:
        hours = Fraction(a + b, 2)
        first = f"({a} + {b}) / 2 = {show(hours)} hours"
    else:
        hours = 1 / (Fraction(1, a) + Fraction(1, b))
        first = f"1 / (1/{a} + 1/{b}) = {show(hours)} hours"
    if "unit" in fell:
        return Solution(hours, (first, f"that is {show(hours)}"))
    return Solution(hours * 60, (first, f"{show(hours)} * 60 = {show(hours * 60)}"))


def _draw_work(r: random.Random) -> dict[str, int]:
    a, b = r.sample(r.choice(_TIMES), 2)
    return {"a": a, "b": b}


WORK_RATE = Family(
    name="working together",
    kinds=(
        "two people or machines do one job together",
        "two workers with known times share a job",
        "two helpers share a job that each could do alone",
    ),
    topic=(("together|shar|both|joint|side by side|at once|simultan|two", "jobs?|work|machine|pump|pipe|paint|fill"),),
    phrasings=(
        "{who} needs {a} hours to paint a hall and {other} needs {b} hours. "
        "How many minutes do they need if they paint it together?",
        "One pump empties a pool in {a} hours, another in {b} hours. How many minutes do both pumps take together?",
        "Alone, {who} finishes a job in {a} hours; {other} takes {b} hours for the same job. "
        "Working side by side, after how many minutes are they done?",
        "Printer A does a job in {a} hours and printer B in {b} hours. Both start at the same time and share the job. "
        "How many minutes does it take?",
    ),
    words={"who": NAMES, "other": NAMES},
    draw=_draw_work,
    solve=_work_rate,
    forks=(
        Fork(
            "rates",
            0.38,
            right=(
                "add the parts of the job done per hour and take the reciprocal of the sum",
                "add the two work rates and divide one job by their sum",
                "sum the shares done in one hour and invert the sum",
            ),
            wrong=("take the average of the two times", "halve the sum of the two times"),
            remedy=(("rates?|per hour|in one hour|shares?|parts?|fraction", "add|sum|combin|invert|reciprocal"),),
            lure=(("average|mean|halve|half", "times|hours|sum"),),
        ),
        Fork(
            "unit",
            0.35,
            right=(
                "turn the hours into minutes at the end because minutes are asked for",
                "multiply the hours by sixty since the answer is wanted in minutes",
            ),
            wrong=("leave the answer in hours", "give the number of hours as the answer"),
            remedy=(
                ("minutes", "convert|turn|multipl|into|chang"),
                ("units?", "asked|wanted|question|requested"),
                ("convert|turn|bring", "(?:same|one|common|single) unit"),
            ),
            lure=(("hours", "leave|give|keep|report"),),
        ),
    ),
)


def _time_zone(n: Numbers, fell: frozenset[str]) -> Solution:
    h, f, z = n["h"], n["f"], n["z"]
    if "zone" in fell:
        return Solution(Fraction((h + f) % 24), (f"{h} + {f} = {(h + f) % 24} o'clock",))
    answer = (h + f + z) % 24
    return Solution(Fraction(answer), (f"{h} + {f} = {(h + f) % 24}, and with {z} more hours {answer} o'clock",))


_CITIES = ("Lisbon", "Athens", "Doha", "Mumbai", "Hanoi", "Perth", "Tokyo", "Nairobi", "Oslo", "Cairo", "Lima", "Quito")

TIME_ZONE = Family(
    name="time zones",
    kinds=(
        "a flight ends in another time zone",
        "a local arrival time is wanted across time zones",
        "a journey crosses time zones",
    ),
    topic=(("time zones?|zones|local time|local arrival|clock",),),
    phrasings=(
        "A plane leaves {city} at {h}:00 and flies {f} hours to {town}, where clocks are {z} hours ahead. "
        "At what hour, local time (0-23), does it land?",
        "{who} boards a flight in {city} at {h}:00. The flight takes {f} hours; {town} is {z} hours ahead of {city}. "
        "What is the local hour of arrival on a 24-hour clock?",
        "A flight from {city} to {town} lasts {f} hours and starts at {h}:00. {town} is {z} hours ahead. "
        "At what local hour (0-23) does it arrive?",
        "Clocks in {town} run {z} hours ahead of those in {city}. A plane leaves {city} at {h}:00 and is in the air "
        "for {f} hours. Which hour do the clocks in {town} show on landing (0-23)?",
    ),
    words={"city": _CITIES, "town": _CITIES, "who": NAMES},
    draw=lambda r: {"h": r.randrange(0, 24), "f": r.randrange(2, 15), "z": r.randrange(1, 11)},
    solve=_time_zone,
    forks=(
        Fork(
            "zone",
            0.52,
            right=(
                "add the flight time and then shift the clock to the zone of the destination",
                "correct the arrival by the time difference of the destination",
                "change the arrival to the local time of the destination",
            ),
            wrong=(
                "give the arrival on the clock of the departure city",
                "add the flight time alone to the departure",
            ),
            remedy=(
                ("shift|correct|adjust|chang|convert|apply|account", "zone|difference|offset|local time|destination"),
            ),
            lure=(
                ("departure|home|starting|origin", "clock|zone"),
                ("flight time|travel time|duration", "only|alone|just"),
            ),
        ),
    ),
)

RATES = (AVERAGE_SPEED, TIME_UNITS, WORK_RATE, TIME_ZONE)
