"""Raw HTTP servers on loopback, which may answer anything at all."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from programs.web_tools import AddressRules, Browser, Document, Fetcher, FetchLimits, Hit, PageLoader
from programs.web_tools.fetching.courtesy import Pace

Answer = bytes | Callable[[socketserver.StreamRequestHandler], None]
LIMITS = FetchLimits(max_bytes=600_000)
SHORT = FetchLimits(connect_seconds=2, read_seconds=0.3, total_seconds=0.6, max_bytes=600_000)
PUBLIC = "93.184.215.14"


def answer(body: bytes | str, kind: str = "text/html; charset=utf-8", *, status: str = "200 OK", **more: str) -> bytes:
    """A whole HTTP answer."""
    sent = body.encode() if isinstance(body, str) else body
    headers = {"Content-Type": kind, "Content-Length": str(len(sent)), "Connection": "close"}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + sent


def redirect(to: str, status: str = "302 Found") -> bytes:
    """A redirect."""
    return answer("", status=status, Location=to)


class Site(socketserver.ThreadingTCPServer):
    """Answers by path; remembers what it was asked."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, pages: Mapping[str, Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages, self.asked, self.heads = dict(pages), [], []
        self.port = self.server_address[1]
        self.over = threading.Event()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/") -> str:
        return f"http://{self.place}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what many tests are about."""


class _Handler(socketserver.StreamRequestHandler):
    server: Site

    def handle(self) -> None:
        head = b""
        while (line := self.rfile.readline(65_536)).strip():
            head += line
        path = head.split(b" ")[1].decode("latin-1") if head.count(b" ") > 1 else ""
        self.server.asked.append(path)
        self.server.heads.append(head.decode("latin-1"))
        reply = self.server.pages.get(path.partition("?")[0], answer("not here", status="404 Not Found"))
        if callable(reply):
            reply(self)
        else:
            self.wfile.write(reply)


@contextmanager
def serving(pages: Mapping[str, Answer]) -> Iterator[Site]:
    """A site while the block runs."""
    with Site(pages) as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield site
        finally:
            site.over.set()
            site.shutdown()
            thread.join()


class NoSearch:
    """A search that finds what it was given."""

    def __init__(self, *hits: Hit) -> None:
        self.hits = list(hits)

    def search(self, query: str, n: int) -> list[Hit]:
        return self.hits[:n]


def loader_for(*sites: Site, robots: bool = False, limits: FetchLimits = LIMITS, **more: object) -> PageLoader:
    """A loader that may reach these sites besides the public web."""
    rules = AddressRules.of([site.place for site in sites])
    return PageLoader(Fetcher(rules, limits, **more), pace=Pace(0), robots=robots)


def browser_for(*sites: Site, **more: object) -> Browser:
    """A browser that may reach these sites besides the public web."""
    return Browser(NoSearch(), loader_for(*sites, **more))


def document(url: str, text: str, title: str = "") -> Document:
    """A page that was never fetched."""
    return Document(url, title, text)
