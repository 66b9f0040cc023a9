"""Questions about a small organisation's site, and how its pages state the facts that answer them."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from tfgrpo_dspy.simulated.families.habits import DATED, DETAIL, NAMESAKE, SNIPPET, WANDER, likely
from tfgrpo_dspy.simulated.families.model import Family, Numbers, Solution

PLACES = (
    "Glass Museum", "Tide Observatory", "Seed Library", "Map Archive", "Clock Workshop", "Bird Station",
    "Salt Gallery", "Print Studio", "River Laboratory", "Moss Garden",
)  # fmt: skip
ITEMS = ("day ticket", "guided tour", "writing course")
YEAR = 2025
_ANY = r"[A-Z][A-Za-z ]+?"
_NOTHING = Solution(Fraction(0), ())


class Facts(NamedTuple):
    """How a text states the fact that a question asks for."""

    of_asked: re.Pattern[str]
    """About the very place of the question."""
    of_any: re.Pattern[str]
    """About whatever place; the first group is the fact in both."""


@dataclass(frozen=True, eq=False)
class BrowseFamily(Family):
    """A family that an agent answers from a site."""

    query: str = field(kw_only=True)
    """What to search for."""
    facts: tuple[str, ...] = field(kw_only=True)
    """Sentences with `{place}` and other fields, and `<>` for the fact."""
    fact: str = field(kw_only=True)
    """Regular expression of the fact."""
    link: str = ""
    """Word in the text of the link that leads on to the fact; empty if the first page has it."""

    def fields(self, text: str) -> dict[str, str] | None:
        """Places, items and years of a question found in the text; None if there is none."""
        for landmark, pattern in self.patterns:
            if landmark in text and (match := pattern.search(text)):
                return match.groupdict()
        return None

    def facts_for(self, fields: Mapping[str, str]) -> Facts:
        """How pages state the fact that a question with these fields asks for."""
        return Facts(self._stated(fields), self._stated({**fields, "place": ""}))

    def _stated(self, fields: Mapping[str, str]) -> re.Pattern[str]:
        sentences = []
        for sentence in self.facts:
            text = re.escape(sentence).replace(r"\ ", " ")
            for name, value in fields.items():
                text = text.replace(rf"\{{{name}\}}", re.escape(value).replace(r"\ ", " ") or _ANY)
            sentences.append(text.replace("<>", f"({self.fact})"))
        return re.compile("|".join(sentences))


def _unanswered(numbers: Numbers, fell: frozenset[str]) -> Solution:
    return _NOTHING  # the site knows, not the question


def _no_numbers(rng: random.Random) -> dict[str, int]:
    return {}


_WORDS = {"place": PLACES}

HEAD = BrowseFamily(
    name="holder of a post",
    kinds=("a site is searched for the holder of a post", "the holder of a post is looked up on a site"),
    topic=(("site|web|pages?|search", "posts?|holder|head"),),
    phrasings=(
        "Who is the present head of the {place}?",
        "What is the name of the person who heads the {place} now?",
        "Name the current head of the {place}.",
        "By whom is the {place} headed today?",
    ),
    words=_WORDS,
    draw=_no_numbers,
    solve=_unanswered,
    query="head of the {place}",
    facts=("head of the {place} is <>",),
    fact=r"[A-Z]\w+ [A-Z]\w+",
    link="newer version",
    forks=(SNIPPET, DATED),
)
FEE = BrowseFamily(
    name="price of an offer",
    kinds=("a site is searched for the price of an offer", "the price of an offer is looked up on a site"),
    topic=(("site|web|pages?|search", "prices?|fees?|costs?"),),
    phrasings=(
        "How many euros does a {item} cost at the {place}?",
        "What is the price of a {item} at the {place}, in euros?",
        "What does the {place} charge for a {item}, in euros?",
        "A visitor wants a {item} at the {place}. How many euros is it exactly?",
    ),
    words={**_WORDS, "item": ITEMS},
    draw=_no_numbers,
    solve=_unanswered,
    query="{place} price of a {item}",
    facts=("a {item} at the {place} costs about <> euros", "{place} charges for a {item}: <> euros"),
    fact=r"\d+",
    link="table",
    forks=(SNIPPET, DETAIL),
)
COUNT = BrowseFamily(
    name="figure of a year",
    kinds=("a site is searched for a yearly figure", "a yearly figure is looked up on a site"),
    topic=(("site|web|pages?|search", "yearly|figures?|annual"),),
    phrasings=(
        "How many visitors did the {place} have in {year}?",
        "What was the number of visitors of the {place} in {year}?",
        "How many people visited the {place} in {year}?",
        "State how many visitors came to the {place} in {year}.",
    ),
    words=_WORDS,
    draw=lambda r: {"year": YEAR},
    solve=_unanswered,
    query="{place} visitors in {year}",
    facts=("In {year} the {place} had about <> visitors", "In {year} the {place} had <> visitors"),
    fact=r"\d+",
    link="report",
    forks=(likely(SNIPPET, 0.4), DETAIL),
)
CONTACT = BrowseFamily(
    name="contact detail",
    kinds=("a site is searched for a contact detail", "a contact detail is looked up on a site"),
    topic=(("site|web|pages?|search", "contact|telephone|address"),),
    phrasings=(
        "What is the telephone number of the {place}?",
        "Under which telephone number can the {place} be reached?",
        "Which number does one dial to call the {place}?",
        "Give the phone number of the {place}.",
    ),
    words=_WORDS,
    draw=_no_numbers,
    solve=_unanswered,
    query="telephone number of the {place}",
    facts=("telephone number of the {place} is <>",),
    fact=r"\d{3}-\d{4}",
    forks=(NAMESAKE, WANDER),
)
CLOSING = BrowseFamily(
    name="closing date",
    kinds=("a site is searched for a closing date", "a closing date is looked up on a site"),
    topic=(("site|web|pages?|search", "dates?|deadline|closing"),),
    phrasings=(
        "Until which date can one apply for a place in the writing course of the {place}?",
        "When do applications to the {place} close?",
        "What is the closing date for applications to the {place}?",
        "By which day must an application to the {place} be in?",
    ),
    words=_WORDS,
    draw=_no_numbers,
    solve=_unanswered,
    query="applications to the {place} close on",
    facts=("Applications to the {place} close on <>",),
    fact=r"\d{1,2} [A-Z][a-z]+ \d{4}",
    link="newer version",
    forks=(likely(SNIPPET, 0.45), likely(DATED, 0.5)),
)

BROWSING: tuple[BrowseFamily, ...] = (HEAD, FEE, COUNT, CONTACT, CLOSING)
