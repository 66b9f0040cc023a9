"""One page as bytes, within limits of time, size, redirects and content type."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version

import httpcore
import httpx

from programs.web_tools.errors import WebError
from programs.web_tools.fetching.addresses import AddressRules
from programs.web_tools.fetching.connecting import CheckedBackend, CheckedTransport, Deadline, Resolver, system_resolver
from tfgrpo_dspy import SettingsError

__all__ = ["FetchLimits", "Fetched", "Fetcher", "user_agent"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_READABLE = frozenset({"application/json", "application/pdf", "application/xhtml+xml", "application/xml"})
_DIGITS = 18  # of a size, more than any limit has; Python refuses to read thousands of them
_UNTYPED = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_GZIP, _RAW_DEFLATE = 16 + zlib.MAX_WBITS, -zlib.MAX_WBITS


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """What one page may cost. Ours.

    Raises:
        SettingsError: A limit is not positive.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 10.0
    """Between two pieces of an answer."""
    total_seconds: float = 20.0
    """Redirects included."""
    max_bytes: int = 5_000_000
    """On the wire, and after decompression."""
    max_redirects: int = 5

    def __post_init__(self) -> None:
        for name in ("connect_seconds", "read_seconds", "total_seconds", "max_bytes"):
            if getattr(self, name) <= 0:
                raise SettingsError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.max_redirects < 0:
            raise SettingsError(f"max_redirects must not be negative, got {self.max_redirects}")


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer."""

    url: str
    """Where it came from in the end."""
    media_type: str
    """Lower case, without parameters; empty if none was sent."""
    charset: str | None
    body: bytes


class Fetcher:
    """Gets pages over HTTP.

    Args:
        rules: What may be reached.
        limits: What a page may cost.
        resolve: Host name to addresses.
    """

    def __init__(
        self,
        rules: AddressRules | None = None,
        limits: FetchLimits | None = None,
        *,
        resolve: Resolver = system_resolver,
    ) -> None:
        self.rules, self.limits, self._resolve = rules or AddressRules(), limits or FetchLimits(), resolve

    def fetch(self, url: str, before: Callable[[httpx.URL], None] | None = None) -> Fetched:
        """The page at an address, over its redirects.

        Args:
            url: Absolute.
            before: Called with each URL that is about to be asked for; may raise WebError.

        Raises:
            WebError: It may not be reached, or is not to be had within the limits.
        """
        target = self.rules.check_url(url)
        deadline = Deadline(self.limits.total_seconds)
        for _ in range(self.limits.max_redirects + 1):
            if before is not None:
                before(target)
            answer = self._ask(target, deadline)
            if isinstance(answer, Fetched):
                return answer
            target = self.rules.check_url(str(_joined(target, answer)))
        raise WebError(f"{url} redirects more than {self.limits.max_redirects} times; open another page")

    def _ask(self, url: httpx.URL, deadline: Deadline) -> Fetched | str:
        """The answer to one request, or where it redirects to."""
        limits = self.limits
        transport = CheckedTransport(CheckedBackend(self.rules, deadline, self._resolve))
        timeout = httpx.Timeout(limits.read_seconds, connect=limits.connect_seconds)
        try:
            with (
                httpx.Client(transport=transport, headers=_headers(), timeout=timeout, trust_env=False) as client,
                client.stream("GET", url) as response,
            ):
                if response.status_code in _REDIRECTS and "location" in response.headers:
                    return response.headers["location"]
                return _fetched(response, str(url), limits.max_bytes)
        except (httpcore.TimeoutException, httpx.TimeoutException) as error:
            raise WebError(f"{url.host} did not answer in time; try another page") from error
        except (*_NETWORK_ERRORS, httpx.HTTPError, httpx.InvalidURL) as error:
            raise WebError(
                f"{url.host} could not be read ({str(error) or type(error).__name__}); try another page"
            ) from error


_NETWORK_ERRORS = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError, UnicodeError)


def user_agent() -> str:
    """How the tool names itself."""
    try:
        release = version("tfgrpo-dspy")
    except PackageNotFoundError:
        release = "unknown"
    return f"tfgrpo-dspy/{release} (web tool of a DSPy agent)"


def _headers() -> dict[str, str]:
    return {
        "User-Agent": user_agent(),
        "Accept": "text/html,application/xhtml+xml,application/pdf;q=0.9,text/*;q=0.8,application/json;q=0.7",
        "Accept-Encoding": "gzip, deflate",
    }


def _joined(base: httpx.URL, location: str) -> httpx.URL:
    try:
        return base.join(location)
    except (httpx.InvalidURL, ValueError) as error:
        raise WebError(f"{base.host} redirects to an invalid address; open another page") from error


def _fetched(response: httpx.Response, url: str, max_bytes: int) -> Fetched:
    if response.status_code != HTTPStatus.OK:
        told = f"{url} answered with status {response.status_code}; check the address or open another page"
        raise WebError(told, response.status_code)
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not (media_type in _READABLE or media_type in _UNTYPED or media_type.startswith("text/")):
        raise WebError(f"{url} is of type {media_type[:80]}; only text, HTML and PDF can be read")
    declared = response.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:_DIGITS]) > max_bytes:
        raise _too_large(url, max_bytes)
    body = bytearray()
    coding = response.headers.get("content-encoding", "").strip().lower()
    for piece in _decompressed(_limited(response.iter_raw(), url, max_bytes), coding, max_bytes):
        body += piece
        if len(body) > max_bytes:
            raise _too_large(url, max_bytes)
    return Fetched(url, media_type, response.charset_encoding, bytes(body))


def _limited(pieces: Iterable[bytes], url: str, max_bytes: int) -> Iterator[bytes]:
    """The pieces, as far as the wire may carry them: a stream of nothing but empty blocks ends too."""
    carried = 0
    for piece in pieces:
        carried += len(piece)
        if carried > max_bytes:
            raise _too_large(url, max_bytes)
        yield piece


def _decompressed(pieces: Iterable[bytes], coding: str, max_bytes: int) -> Iterator[bytes]:
    if coding in ("", "identity"):
        yield from pieces
        return
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise WebError(f"the page is compressed as {coding[:40]}, which was not asked for; open another page")
    inflater = None
    try:
        for piece in pieces:
            if not piece:
                continue
            inflater = inflater or zlib.decompressobj(_window(coding, piece))
            yield inflater.decompress(piece, max_bytes + 1)  # a bomb shows itself with one byte too many
    except zlib.error as error:
        raise WebError("the page's compression is broken; open another page") from error


def _window(coding: str, start: bytes) -> int:
    if coding != "deflate":
        return _GZIP
    has_header = start[0] & 0x0F == zlib.DEFLATED  # many servers leave it out
    return zlib.MAX_WBITS if has_header else _RAW_DEFLATE


def _too_large(url: str, max_bytes: int) -> WebError:
    return WebError(f"{url} is larger than {max_bytes / 1e6:g} MB; open another page")
