"""A small site on loopback and questions about it for the web agent: a world that needs no key and no network.

    tfgrpo compare --task demo-web-agent --optimizers none,tfgrpo
    tfgrpo problems web --train 40 --test 40 --out data/
    tfgrpo compile programs.web_world:make_agent data/train.jsonl --lm simulated

The site (`tfgrpo_dspy.simulated.agents.site`) is served by a real HTTP server and read with the real web tools; only
its host name is made up, so that what an agent sees does not depend on the port.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import dspy

from programs.web import WebAgent, web_agent
from programs.web_tools import Document, LocalIndex, PageLoader
from tfgrpo_dspy.simulated import Page, Split, make_site, site_problems

__all__ = ["make_agent", "make_browser_agent", "running_site", "web_examples"]

HOST = "http://collections.example"
"""What the site calls itself in the eyes of an agent; RFC 2606 keeps the name free."""
_MAX_ITERS = 7  # turns; ours: a search, up to five pages and the end
_POLL_SECONDS = 0.02  # how long the end of a site may be noticed late


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, pages: Mapping[str, Page]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages = pages


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Serve a page."""
        page = self.server.pages.get(urlsplit(self.path).path)
        self.send_response(200 if page else 404)
        body = page.body if page else b"There is no such page."
        self.send_header("Content-Type", page.media_type if page else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def running_site(pages: Mapping[str, Page] | None = None) -> Iterator[str]:
    """Serve pages on a free loopback port; yields the base URL without a slash at its end.

    Args:
        pages: Path to page; None for the site of seed 0.
    """
    server = _Server(make_site() if pages is None else pages)
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), name="site", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _NamedLoader(PageLoader):
    """Opens the pages of one server under a name that does not change with its port."""

    def __init__(self, base: str) -> None:
        super().__init__(PageLoader.to([base]).fetcher)
        self._base = base

    def load(self, url: str) -> Document:
        """The document at an address of the site, or elsewhere."""
        document = super().load(url.replace(HOST, self._base, 1) if url.startswith(HOST) else url)
        links = tuple(replace(link, url=self._named(link.url)) for link in document.links)
        return replace(document, url=self._named(document.url), links=links)

    def _named(self, url: str) -> str:
        return url.replace(self._base, HOST, 1) if url.startswith(self._base) else url


def make_browser_agent(base: str) -> WebAgent:
    """A new web agent with an index of the site at a base URL, e.g. that of `running_site`."""
    loader = _NamedLoader(base)
    return web_agent(LocalIndex(f"{HOST}/", loader=loader), loader=loader, max_iters=_MAX_ITERS)


def make_agent() -> dspy.Module:
    """A new web agent for the site of seed 0, which is served from the first call to the end of this process."""
    return make_browser_agent(_served())


@cache
def _served() -> str:
    server = _Server(make_site())
    threading.Thread(target=server.serve_forever, name="site", daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def web_examples(n: int, seed: int, split: Split = "train") -> list[dspy.Example]:
    """Questions about the site of seed 0 as examples with the input `question` and the label `answer`.

    Raises:
        ValueError: More than there are.
    """
    problems = site_problems(n, seed, split)
    return [dspy.Example(question=p.question, answer=p.answer).with_inputs("question") for p in problems]
