"""Good manners: a pace per host, and robots.txt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from urllib.robotparser import RobotFileParser

import httpx

from programs.web_tools.errors import WebError
from programs.web_tools.fetching.addresses import port_of
from programs.web_tools.fetching.fetcher import Fetcher, user_agent

__all__ = ["Pace", "Robots"]

_MOST_HOSTS = 10_000
_LONGEST_WAIT = 30.0  # seconds
_MOST_RULES = 100_000  # characters of a robots.txt that are heeded


class Pace:
    """Spaces requests to one host, over all rollouts.

    Args:
        seconds: Between two requests to a host; 0 for no pace.
        now: A clock, in seconds.
        sleep: Waits some seconds.
    """

    def __init__(
        self,
        seconds: float,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.seconds, self._now, self._sleep = seconds, now, sleep
        self._next: dict[str, float] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Pace], tuple[float]]:
        return Pace, (self.seconds,)

    def wait(self, host: str) -> None:
        """Return when it is this caller's turn.

        Raises:
            WebError: The queue for this host is too long.
        """
        if not self.seconds:
            return
        with self._lock:
            now = self._now()
            turn = max(self._next.get(host, now), now)
            if turn - now > _LONGEST_WAIT:
                raise WebError(f"too many pages of {host} are being opened at once; open another page or try later")
            if len(self._next) >= _MOST_HOSTS:
                self._next = {name: at for name, at in self._next.items() if at > now}
            self._next[host] = turn + self.seconds
        if turn > now:
            self._sleep(turn - now)


class Robots:
    """What sites ask of robots, read once per site.

    A site without the file asks nothing; one that fails to answer is left alone (RFC 9309).

    Args:
        fetcher: Reads the files.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._known: dict[str, RobotFileParser | None] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Robots], tuple[Fetcher]]:
        return Robots, (self._fetcher,)

    def check(self, url: httpx.URL) -> None:
        """Check that the site lets robots read the page.

        Raises:
            WebError: It does not, or it cannot be asked.
        """
        site = f"{url.scheme}://{_netloc(url)}"
        with self._lock:
            is_known, rules = site in self._known, self._known.get(site)
        if not is_known:
            rules = self._read(f"{site}/robots.txt")
            with self._lock:
                if len(self._known) >= _MOST_HOSTS:
                    self._known.clear()
                self._known[site] = rules
        if rules is not None and not rules.can_fetch(user_agent(), str(url)):
            raise WebError(f"{url.host} asks robots not to read {url.path[:200]} (robots.txt); open another page")

    def _read(self, address: str) -> RobotFileParser | None:
        try:
            fetched = self._fetcher.fetch(address)
        except WebError as error:
            if error.status is not None and HTTPStatus.BAD_REQUEST <= error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                return None
            raise WebError(f"the site's robots.txt could not be read, so it is left alone: {error}") from error
        rules = RobotFileParser()
        rules.parse(fetched.body.decode("utf-8", "replace")[:_MOST_RULES].splitlines())
        return rules


def _netloc(url: httpx.URL) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{host}:{port_of(url)}"
