"""The site of a small organisation, made from a seed: pages with facts, and the questions that they answer.

Every fact stands on one page and, in an older, rougher or namesake form, on a page that is easier to find.
"""

from __future__ import annotations

import html
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from tfgrpo_dspy.simulated.families.browsing import (
    BROWSING,
    CLOSING,
    CONTACT,
    COUNT,
    FEE,
    HEAD,
    ITEMS,
    PLACES,
    YEAR,
    BrowseFamily,
)
from tfgrpo_dspy.simulated.families.model import NAMES
from tfgrpo_dspy.simulated.world import Problem, Split, split_of

_SURNAMES = (
    "Adler",
    "Brandt",
    "Costa",
    "Duval",
    "Egger",
    "Falk",
    "Garnier",
    "Holm",
    "Ibsen",
    "Jansen",
    "Keller",
    "Lund",
)
_MONTHS = ("March", "April", "May", "June", "September", "October")
_FILLER = (
    "The collection is shown in changing rooms, and school classes are welcome in the morning.",
    "Bicycles can be left in the yard. Dogs have to wait outside.",
    "The building was put up in four parts and has been mended many times.",
)


Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it is served."""

    media_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """What is true of one place, and what is said of it elsewhere."""

    name: str
    facts: Mapping[str, str]
    """Family, or family and item, to the fact."""
    stale: Mapping[str, str]
    """The same keys to what is old, rough or of a namesake."""

    @property
    def path(self) -> str:
        """Folder of its pages."""
        return f"/{self.name.lower().replace(' ', '-')}"


def make_site(seed: int = 0) -> dict[str, Page]:
    """Path to page; the same seed makes the same bytes."""
    places = _places(seed)
    pages = {"/": _html("Bureau of Small Collections", _FILLER[:1], [(p.name, f"{p.path}/") for p in places])}
    for place in places:
        pages |= dict(_pages_of(place))
    return pages


def site_problems(n: int, seed: int, split: Split = "train", *, site: int = 0) -> list[Problem]:
    """Questions about the site of the seed `site`, balanced over the families, none twice.

    Args:
        n: How many, >= 0.
        seed: The same seed gives the same list.
        split: No question of one split is ever in the other.
        site: Seed of the site.

    Raises:
        ValueError: More than there are.
    """
    rng, questions = random.Random(f"{seed}/{split}"), {}
    for family in BROWSING:
        questions[family.name] = [p for p in _questions(family, site) if split_of(p.question) == split]
        rng.shuffle(questions[family.name])
    most = max(map(len, questions.values()))
    found = [q[i] for i in range(most) for q in questions.values() if i < len(q)]
    if n > len(found):
        raise ValueError(f"the site has {len(found)} {split} questions, not {n}; ask for fewer")
    return found[:n]


def _questions(family: BrowseFamily, site: int) -> Iterator[Problem]:
    for place, phrasing in product(_places(site), family.phrasings):
        for item in ITEMS if family is FEE else ("",):
            question = phrasing.format(place=place.name, item=item, year=YEAR)
            yield Problem(question, place.facts[family.name + item], family.name)


def _places(seed: int) -> list[Place]:
    rng = random.Random(f"site/{seed}")
    return [Place(name, *_drawn(rng)) for name in PLACES]


def _drawn(rng: random.Random) -> tuple[dict[str, str], dict[str, str]]:
    first, second = rng.sample(NAMES, 2)
    last, former = rng.sample(_SURNAMES, 2)
    visitors, phone, day = rng.randrange(1203, 9800), rng.randrange(1000, 9000), rng.randrange(1, 14)
    true = {
        HEAD.name: f"{first} {last}",
        COUNT.name: str(visitors),
        CONTACT.name: f"{rng.randrange(200, 999)}-{phone}",
        CLOSING.name: f"{day + 14} {rng.choice(_MONTHS)} {YEAR + 1}",
    }
    stale = {
        HEAD.name: f"{second} {former}",
        COUNT.name: str(visitors // 100 * 100 + rng.choice((-200, 300))),
        CONTACT.name: f"{rng.randrange(200, 999)}-{phone + 7}",
        CLOSING.name: f"{day} {rng.choice(_MONTHS)} {YEAR}",
    }
    for item in ITEMS:
        price = rng.randrange(11, 96)
        true[FEE.name + item], stale[FEE.name + item] = str(price), str(price + rng.choice((-3, -2, 2, 4)))
    return true, stale


def _pages_of(p: Place) -> Iterator[tuple[str, Page]]:
    true, stale, path = p.facts, p.stale, p.path
    links = [
        ("Head and staff", f"{path}/head-old"),
        ("Prices in a table", f"{path}/prices"),
        (f"Annual report {YEAR} (PDF)", f"{path}/report.pdf"),
        ("Applications", f"{path}/applications-old"),
        (f"Friends of the {p.name}", f"{path}/friends"),
    ]
    costs = [f"According to our leaflet, a {i} at the {p.name} costs about {stale[FEE.name + i]} euros." for i in ITEMS]
    rough = f"In {YEAR} the {p.name} had about {stale[COUNT.name]} visitors, by a first count of visitors in {YEAR}."
    called = f"The telephone number of the {p.name} is {true[CONTACT.name]}."
    yield f"{path}/", _html(p.name, [called, *costs, rough, *_FILLER], links)
    friends = f"The telephone number of the Friends of the {p.name} is {stale[CONTACT.name]}."
    more = f"Whoever wants to reach the Friends of the {p.name} dials this telephone number; to call is to be helped."
    yield f"{path}/friends", _html(f"Friends of the {p.name}", [friends, more], [(p.name, f"{path}/")])
    head, applied = f"The head of the {p.name} is {{}}.", f"Applications to the {p.name} close on {{}}."
    yield f"{path}/head-old", _dated(f"{p.name}: head", head.format(stale[HEAD.name]), f"{path}/head")
    yield f"{path}/head", _html(f"{p.name}: staff", [head.format(true[HEAD.name]), *_FILLER])
    applications = applied.format(stale[CLOSING.name])
    yield f"{path}/applications-old", _dated(f"{p.name}: applications", applications, f"{path}/applications")
    yield f"{path}/applications", _html(f"{p.name}: how to apply", [applied.format(true[CLOSING.name]), *_FILLER])
    rows = [(i, f"The {p.name} charges for a {i}: {true[FEE.name + i]} euros") for i in ITEMS]
    yield f"{path}/prices", _html("Tables", [*_FILLER, "Valid from January."], rows=rows)
    counted = f"In {YEAR} the {p.name} had {true[COUNT.name]} visitors."
    yield f"{path}/report.pdf", Page("application/pdf", make_pdf([f"Report {YEAR}", *_FILLER, counted, *_FILLER]))


def _dated(title: str, sentence: str, newer: str) -> Page:
    """An old page with a link to the page that replaced it."""
    return _html(title, [sentence, f"Last changed in May {YEAR - 2}."], [("Newer version of this page", newer)])


def _html(title: str, lines: Sequence[str], links: Pairs = (), rows: Pairs = ()) -> Page:
    told = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    cells = "".join(f"<tr><td>{html.escape(a)}</td><td>{html.escape(b)}</td></tr>" for a, b in rows)
    table = f"<table>{cells}</table>" if cells else ""
    listed = "".join(f'<li><a href="{html.escape(url)}">{html.escape(text)}</a></li>' for text, url in links)
    body = f"<h1>{html.escape(title)}</h1>{told}{table}<ul>{listed}</ul>"
    document = (
        f"<!doctype html><html><head><title>{html.escape(title)}</title></head><body><main>{body}</main></body></html>"
    )
    return Page("text/html; charset=utf-8", document.encode())


def make_pdf(lines: list[str]) -> bytes:
    """A PDF of one page with a line of plain ASCII text each."""
    shown = "".join(f"({line.translate({40: None, 41: None, 92: None})}) Tj T*\n" for line in lines)
    text = f"BT /F1 10 Tf 14 TL 50 780 Td\n{shown}ET".encode("ascii", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    entries = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    table = b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, entries)
    return out + table + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(out))
