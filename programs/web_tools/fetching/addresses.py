"""Which addresses an agent may reach. Pure: nothing here asks the network."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from programs.web_tools.errors import WebError
from tfgrpo_dspy import MissingExtraError, SettingsError

try:
    import httpx
except ImportError as missing:  # said here, where all of these tools begin
    raise MissingExtraError("an agent that browses needs httpx: pip install 'tfgrpo-dspy[web]'") from missing

__all__ = ["AddressRules", "is_public", "port_of"]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_MAX_URL = 2048  # characters; longer ones are made by traps and broken generators
_LAST_PORT = 65_535
_WEB_PORTS = frozenset({80, 443, 8000, 8080, 8443})
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_METADATA = frozenset({ipaddress.ip_address("168.63.129.16")})  # a public address that answers inside Azure only


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What may be reached: the public web, and what is named here.

    Args:
        allow: `host:port` pairs that may be reached whatever they resolve to, e.g. `127.0.0.1:8000`.
        allow_private: Reach everything, the machine itself and its network included.
    """

    allow: frozenset[str] = frozenset()
    allow_private: bool = False

    @classmethod
    def of(cls, allow: Iterable[str] = (), *, allow_private: bool = False) -> AddressRules:
        """Rules from addresses as people write them: `host:port` or a URL.

        Raises:
            SettingsError: One of them is neither.
        """
        given = (allow,) if isinstance(allow, str) else allow
        return cls(frozenset(_pair(text) for text in given), allow_private)

    def allows(self, host: str, port: int) -> bool:
        """Whether the host and port were named as reachable."""
        return self.allow_private or f"{host}:{port}" in self.allow

    def check_url(self, text: str) -> httpx.URL:
        """The URL in one spelling, without fragment, if it may be asked for as far as its text tells.

        Raises:
            WebError: It is malformed, of another scheme, carries credentials, or points to a forbidden place.
        """
        url = _parsed(text)
        if url.scheme not in ("http", "https"):
            raise WebError(f"only http and https pages can be opened, not {url.scheme or 'an address without scheme'}")
        if url.userinfo:
            raise WebError("an address must not hold a user name or password; open it without")
        host = _checked_host(url.host)
        port = url.port if url.port is not None else _default_port(url)
        if not 0 < port <= _LAST_PORT:
            raise WebError(f"there is no port {port}")
        if not self.allows(host, port) and port not in _WEB_PORTS:
            raise WebError(f"port {port} is no port of the public web")
        if (address := _literal(host)) is not None:
            self.check_address(host, port, address)
        return url.copy_with(host=host, fragment=None)

    def check_address(self, host: str, port: int, address: Address) -> None:
        """Check what a host resolved to.

        Raises:
            WebError: It is not public, and the host and port were not allowed.
        """
        if not is_public(address) and not self.allows(host, port):
            raise WebError(f"{host} is at a private or reserved address, which may not be opened; choose a public page")


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, looking into IPv6 forms that carry an IPv4 address."""
    inner = _embedded(address)
    if inner is not None:
        return is_public(inner)
    odd = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_link_local
    return address.is_global and not odd and not getattr(address, "is_site_local", False) and address not in _METADATA


def port_of(url: httpx.URL) -> int:
    """The port that a checked URL goes to."""
    return url.port if url.port is not None else _default_port(url)


def _default_port(url: httpx.URL) -> int:
    return 443 if url.scheme == "https" else 80


def _parsed(text: str) -> httpx.URL:
    text = text.strip()
    if len(text) > _MAX_URL:
        raise WebError(f"the address is longer than {_MAX_URL} characters")
    if any(not c.isprintable() or c.isspace() or c == "\\" for c in text):
        raise WebError("the address holds blanks or control characters; open it as it stands in a list of links")
    try:
        return httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise WebError(f"this is no valid address: {error}") from error


def _checked_host(host: str) -> str:
    """The host in one spelling: lower case, ASCII, no trailing dot, addresses only in their usual notation."""
    try:
        host = httpx.URL(f"http://{host}/").raw_host.decode("ascii") if not host.isascii() else host
    except httpx.InvalidURL as error:
        raise WebError(f"this is no valid host: {error}") from error
    host = host.lower().rstrip(".")
    if ":" in host:
        if _literal(host) is None or "%" in host:
            raise WebError(f"{host} is no valid IPv6 address")
        return str(_literal(host))
    if not _HOST.fullmatch(host):
        raise WebError("the address names no valid host; write https://host/path")
    if _NUMBER.fullmatch(host) and _literal(host) is None:
        raise WebError(f"{host} is an unusual notation of an IP address; write four decimal numbers")
    return host


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


def _pair(text: str) -> str:
    try:
        url = httpx.URL(text if "://" in text else f"http://{text}")
        host = _checked_host(url.host)
    except (httpx.InvalidURL, WebError) as error:
        raise SettingsError(
            f"{text!r} is no address to allow ({error}); write host:port, e.g. 127.0.0.1:8000"
        ) from error
    return f"{host}:{port_of(url)}"
