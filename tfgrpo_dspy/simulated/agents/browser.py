"""An agent with a search tool and a tool that opens pages: it chooses hits and links from what it sees."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import NamedTuple

from tfgrpo_dspy.simulated.agents.deciding import Mind
from tfgrpo_dspy.simulated.agents.turns import Move, Scene
from tfgrpo_dspy.simulated.families.browsing import BrowseFamily
from tfgrpo_dspy.simulated.families.habits import DATED, DETAIL, NAMESAKE, SNIPPET, WANDER
from tfgrpo_dspy.simulated.ideas import key_words

_QUOTED = 160
"""Characters of a passage that an unsure answer quotes."""

_BAR = re.compile(r"^\| ?", re.MULTILINE)
_HIT = re.compile(r"^\| \[\d+\] (.*)\n\| (\S+)\n\| (.*)$", re.MULTILINE)
_LINK = re.compile(r"^\| \[\d+\] (.*) -> (\S+)$", re.MULTILINE)
_OPENED = re.compile(r"^Opened (\S+), part")
_FAILED = re.compile(r"^(?:Error|Execution error)")


class Hit(NamedTuple):
    """A result of a search."""

    title: str
    url: str
    snippet: str


def next_move(mind: Mind) -> Move:
    """The next turn at a question of a known family."""
    family, turns = mind.family, mind.scene.turns
    if not isinstance(family, BrowseFamily):
        raise TypeError(f"{family.name} is not a family that is answered from pages")
    fields = family.fields(" ".join(mind.scene.task.split())) or {}
    if not turns:
        return _search(mind.scene, mind.kind, family.query.format(**fields))
    if turns[-1].tool == mind.scene.tools.get("query"):
        return _choose_hit(mind, family, fields)
    return _read_page(mind, family, fields)


def _choose_hit(mind: Mind, family: BrowseFamily, fields: Mapping[str, str]) -> Move:
    seen = mind.scene.turns[-1].observation
    hits = hits_in(seen)
    if not hits:
        return _give_up(mind.scene)
    fork = next(fork for fork in family.forks if fork.name in (SNIPPET.name, NAMESAKE.name))
    decision = mind.decide(fork)
    said = f"{mind.kind} First, {decision.approach}"
    if fork.name == NAMESAKE.name:
        place = fields["place"]
        named = [hit for hit in hits if hit.title == place or hit.title.startswith(f"{place}:")]
        chosen = hits[0] if decision.fell or not named else named[0]
        return _open(mind.scene, f"{said}: {chosen.title}.", chosen.url)
    facts = family.facts_for(fields)
    found = _first(facts.of_asked, "\n".join(hit.snippet for hit in hits))
    if decision.fell and found:
        return Move(f"{said}: it says {found}. So the answer is {found}.")
    about = [hit for hit in hits if fields["place"] in hit.title] or hits
    return _open(mind.scene, f"{said}: {about[0].title}.", about[0].url)


def _read_page(mind: Mind, family: BrowseFamily, fields: Mapping[str, str]) -> Move:
    scene = mind.scene
    page = _BAR.sub("", scene.turns[-1].observation)
    facts = family.facts_for(fields)
    onward = [url for text, url in links_in(scene.turns[-1].observation) if family.link and family.link in text.lower()]
    fork = next((fork for fork in family.forks if fork.name in (DATED.name, DETAIL.name)), None)
    if fork is not None and onward and not mind.has_taken(fork):
        decision = mind.decide(fork)
        if not decision.fell:
            return _open(scene, f"{mind.kind} Next, {decision.approach}: it is linked here.", onward[0])
        found = _first(facts.of_asked, page) or _first(facts.of_any, page)
        return _answered(mind, f"Next, {decision.approach}", found)
    if WANDER in family.forks:
        return _wander(mind, family, fields, page)
    return _answered(mind, "", _first(facts.of_asked, page) or _first(facts.of_any, page))


def _wander(mind: Mind, family: BrowseFamily, fields: Mapping[str, str], page: str) -> Move:
    """Stop at the fact, or go on through all hits, as far as there are turns, and take the fact that was seen last."""
    facts, step = family.facts_for(fields), ""
    if not mind.has_taken(WANDER):
        decision = mind.decide(WANDER)
        if not decision.fell:
            return _answered(mind, f"Next, {decision.approach}", _first(facts.of_any, page))
        step = f"Next, {decision.approach}: one more. "
    rest = _unopened(mind.scene)
    if rest:
        return _open(mind.scene, f"{mind.kind} {step}".strip(), rest[0].url)
    pages = (_BAR.sub("", turn.observation) for turn in reversed(mind.scene.turns))
    return _answered(mind, "", next((found for text in pages if (found := _first(facts.of_any, text))), ""))


def _answered(mind: Mind, step: str, found: str) -> Move:
    if not found:
        return Move(
            f"{mind.kind} {step + ': nothing.' if step else ''} I am not sure. So the answer is perhaps unknown."
        )
    return Move(f"{mind.kind} {step + f': it says {found}. ' if step else ''}So the answer is {found}.")


def try_unknown(scene: Scene, rng: random.Random) -> Move:
    """A turn at a question of no known kind: a search, the first page, and what comes nearest to the question."""
    if not scene.turns:
        words = sorted(key_words(scene.task), key=scene.task.lower().index)
        return _search(scene, "I am not sure about this, so I look it up first.", " ".join(words[:12]) or scene.task)
    seen = scene.turns[-1].observation
    if len(scene.turns) == 1 and (hits := hits_in(seen)):
        return _open(scene, "The first hit may help.", hits[0].url)
    lines = [line.strip() for line in _BAR.sub("", "\n".join(seen.split("\n")[1:])).splitlines()]
    wanted = key_words(scene.task)
    told = [line for line in lines if wanted & key_words(line) and "->" not in line]
    if _FAILED.match(seen) or not told:
        return _give_up(scene)
    nearest = max(told, key=lambda line: len(wanted & key_words(line)))[:_QUOTED].strip(" .:#|")
    return Move(f"I am not sure. This comes nearest to the question. So the answer is perhaps {nearest}.")


def _give_up(scene: Scene) -> Move:
    return Move("Nothing that helps was found, and I do not know it myself. So the answer is perhaps unknown.")


def _search(scene: Scene, thought: str, query: str) -> Move:
    return Move(thought, scene.tools["query"], {"query": query})


def _open(scene: Scene, thought: str, url: str) -> Move:
    return Move(thought, scene.tools["url"], {"url": url})


def hits_in(observation: str) -> list[Hit]:
    """The results that a search shows."""
    return [Hit(*found) for found in _HIT.findall(observation)]


def links_in(observation: str) -> list[tuple[str, str]]:
    """Text and address of the links that a page shows."""
    return _LINK.findall(observation)


def opened_in(scene: Scene) -> set[str]:
    """Addresses of the pages that were opened."""
    return {found[1] for turn in scene.turns if (found := _OPENED.match(turn.observation))}


def _unopened(scene: Scene) -> list[Hit]:
    hits = (hit for turn in scene.turns for hit in hits_in(turn.observation))
    return [hit for hit in hits if hit.url not in opened_in(scene)]


def _first(pattern: re.Pattern[str], text: str) -> str:
    """What the first match found; empty if there is none."""
    found = pattern.search(text)
    return next((group for group in found.groups() if group), "") if found else ""
