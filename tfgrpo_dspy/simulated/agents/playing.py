"""Which agent the embedded LM plays is told from the tools that the prompt offers."""

from __future__ import annotations

import random

from tfgrpo_dspy.simulated.agents import browser, coder
from tfgrpo_dspy.simulated.agents.deciding import Mind
from tfgrpo_dspy.simulated.agents.turns import Move, read_scene
from tfgrpo_dspy.simulated.families.browsing import BROWSING
from tfgrpo_dspy.simulated.families.coding import CODING
from tfgrpo_dspy.simulated.prompt import Prompt
from tfgrpo_dspy.simulated.world import recognise


def play(prompt: Prompt, temperature: float | None, rng: random.Random) -> Move | None:
    """The next turn of an agent that runs code or browses; None for one with other tools."""
    scene = read_scene(prompt)
    if "code" in scene.tools:
        found = recognise(scene.task, CODING)
        if found is None:
            return coder.try_unknown(scene, rng)
        return coder.next_move(Mind(scene, found[0], prompt.demos, temperature, rng), found[1])
    if {"query", "url"} <= set(scene.tools):
        asked = recognise(scene.task, BROWSING)
        if asked is None:
            return browser.try_unknown(scene, rng)
        return browser.next_move(Mind(scene, asked[0], prompt.demos, temperature, rng))
    return None
