"""The embedded LM as a DSPy engine: a canonical request in, a canonical response out."""

from __future__ import annotations

import hashlib
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from dspy.lm15 import Message, Request, Response, TextPart, Usage, response_to_events

from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.simulated.failings import Failings
from tfgrpo_dspy.simulated.prompt import Learns, read_prompt
from tfgrpo_dspy.simulated.roles import reply_to

if TYPE_CHECKING:
    import dspy

MODEL = "simulated/frozen-lm"
"""Name under which the embedded LM runs."""

CHARACTERS_PER_TOKEN = 4
"""For the token counts it reports: an estimate, as for English text."""


class SimulatedEngine:
    """A frozen LM simulated by its behaviour; see `README.md` in this folder.

    The reply depends on the engine's seed, the request's text, its temperature and its `seed`. A request without a
    `seed` gets another reply each time it comes, in a sequence that the engine's seed decides.

    Args:
        seed: Decides everything that is drawn.
        confusion: Chance, in [0, 1], that a comparison takes the losers' way for the winners': a model too weak to
            reflect.
        failings: What it does wrong besides, and how often.
        learns: What its reflection can learn from.
    """

    def __init__(
        self,
        seed: int = 0,
        confusion: float = 0.0,
        failings: Failings | None = None,
        learns: Learns = "contrast",
    ) -> None:
        if not 0 <= confusion <= 1:
            raise ValueError(f"confusion is a chance, from 0 (never) to 1 (always), got {confusion!r}")
        if learns not in get_args(Learns):
            raise SettingsError(f"learns must be one of {', '.join(get_args(Learns))}, got {learns!r}")
        self.seed, self.confusion, self.failings, self.learns = seed, confusion, failings or Failings(), learns
        self._seen: Counter[bytes] = Counter()
        self._lock = threading.Lock()

    def complete(self, request: Request) -> Response:
        """The reply to one request."""
        prompt = replace(read_prompt(request), slip=self.failings.slip, learns=self.learns)
        config = request.config
        shown = text_of(request)
        draws = self._draws_for(shown, config.seed, config.temperature)
        text, finish = reply_to(prompt, config.temperature, draws, self.confusion, self.failings)
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant([TextPart(text)]),
            finish_reason=finish,
            usage=Usage(input_tokens=_tokens(shown), output_tokens=_tokens(text)),
        )

    def stream(self, request: Request) -> Iterator[Any]:
        """The reply as events."""
        return iter(response_to_events(self.complete(request)))

    def close(self) -> None:
        """Nothing to release."""

    def dump_state(self) -> dict[str, Any]:
        """What `load_state` needs; holds no secret."""
        failings = self.failings.told()
        own = {"confusion": self.confusion, "failings": failings, "learns": self.learns}
        usual = {"confusion": 0.0, "failings": {}, "learns": "contrast"}
        return {"seed": self.seed, **{name: value for name, value in own.items() if value != usual[name]}}

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> SimulatedEngine:
        """An engine that behaves as the one that was saved."""
        return cls(**{**state, "failings": Failings(**state.get("failings", {}))})

    def __reduce__(self) -> tuple[type[SimulatedEngine], tuple[int, float, Failings, Learns]]:
        return type(self), (self.seed, self.confusion, self.failings, self.learns)

    def __deepcopy__(self, memo: dict[int, Any]) -> SimulatedEngine:
        # A copied LM must not start its sequence of replies anew.
        return self

    def _draws_for(self, shown: str, seed: int | None, temperature: float | None) -> random.Random:
        key = hashlib.blake2b(f"{self.seed}/{seed}/{temperature}/{shown}".encode("utf-8", "replace"), digest_size=16)
        if seed is None:
            with self._lock:
                times = self._seen[key.digest()]
                self._seen[key.digest()] += 1
            key.update(str(times).encode())
        return random.Random(key.digest())


class AsyncSimulatedEngine:
    """The async counterpart; shares the sequence of replies with its sync engine."""

    def __init__(self, engine: SimulatedEngine) -> None:
        self._engine = engine

    async def complete(self, request: Request) -> Response:
        """The reply to one request."""
        return self._engine.complete(request)

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """The reply as events."""
        for event in self._engine.stream(request):
            yield event

    async def aclose(self) -> None:
        """Nothing to release."""

    def dump_state(self) -> dict[str, Any]:
        """What `load_state` needs; holds no secret."""
        return self._engine.dump_state()

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> AsyncSimulatedEngine:
        """An engine that behaves as the one that was saved."""
        return cls(SimulatedEngine.load_state(state))


def simulated_lm(
    seed: int = 0,
    *,
    fixed_seed: bool = True,
    confusion: float = 0.0,
    failings: Failings | None = None,
    learns: Learns = "contrast",
    **kwargs: Any,
) -> dspy.LM:
    """The embedded LM as a `dspy.LM`, ready for `dspy.context(lm=...)`; needs neither key nor network.

    Args:
        seed: Of the engine.
        fixed_seed: Whether the LM sends its seed with every request, as with a provider's `seed`: replies are then
            a function of the request alone, whatever the order of calls. False sends none: the same request gets
            another reply each time, which suits callers that sample by repeating a request.
        confusion: Chance, in [0, 1], that its comparisons take the losers' way for the winners'.
        failings: What it does wrong besides, and how often.
        learns: What its reflection can learn from: better attempts beside worse ones (`contrast`), a poor attempt
            beside the expected answer (`answer`), or `both`. It decides which methods fare well.
        **kwargs: Further arguments of `dspy.LM`, e.g. `temperature`.
    """
    import dspy

    engine = SimulatedEngine(seed, confusion, failings, learns)
    if fixed_seed:
        kwargs.setdefault("seed", seed)
    return dspy.LM(MODEL, engine=engine, async_engine=AsyncSimulatedEngine(engine), **kwargs)


def text_of(request: Request) -> str:
    """All that the LM reads."""
    system = request.system or ""
    if not isinstance(system, str):
        system = "".join(getattr(part, "text", "") for part in system)
    return "\n".join([system, *(f"{m.role}: {m.text or ''}" for m in request.messages)])


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)
