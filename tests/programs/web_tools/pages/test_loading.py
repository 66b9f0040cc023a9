"""Manners, limits and the cache."""

from __future__ import annotations

import gzip
import ipaddress
import zlib

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from programs.web_tools import AddressRules, FetchLimits
from programs.web_tools.errors import WebError
from programs.web_tools.fetching.addresses import is_public
from programs.web_tools.fetching.courtesy import Pace
from programs.web_tools.framing import clean, quoted
from programs.web_tools.pages.cache import PageCache
from tests.programs.web_tools.sites import answer, document, loader_for, redirect, serving
from tfgrpo_dspy.errors import SettingsError
from tfgrpo_dspy.text import neutralise

PAGE = "<p>some readable words</p>"


def test_the_tool_names_itself_and_asks_for_what_it_can_read():
    with serving({"/": answer(PAGE)}) as site:
        loader_for(site).load(site.url())
    assert "User-Agent: tfgrpo-dspy/" in site.heads[0]
    assert "Accept-Encoding: gzip, deflate" in site.heads[0]
    assert "cookie" not in site.heads[0].lower()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(PAGE.encode(), mtime=0)),
        ("deflate", zlib.compress(PAGE.encode())),
        ("deflate", zlib.compress(PAGE.encode(), wbits=-15)),
        ("identity", PAGE.encode()),
    ],
    ids=["gzip", "zlib", "deflate", "identity"],  # gzip's bytes hold the time
)
def test_a_compressed_page_is_read(coding, body):
    with serving({"/": answer(body, "text/html", Content_Encoding=coding)}) as site:
        assert "readable" in loader_for(site).load(site.url()).text


def test_redirects_are_followed_to_where_the_page_is():
    with serving({"/": redirect("a/b"), "/a/b": redirect("../c?x=1"), "/c": answer(PAGE)}) as site:
        assert loader_for(site).load(site.url("/#top")).url == site.url("/c?x=1")


def test_robots_are_asked_once_and_heeded():
    rules = "User-agent: *\nDisallow: /no\n\nUser-agent: tfgrpo-dspy\nDisallow: /never\n"
    with serving({"/robots.txt": answer(rules, "text/plain"), "/no": answer(PAGE), "/never": answer(PAGE)}) as site:
        loader = loader_for(site, robots=True)
        assert loader.load(site.url("/no")).text
        with pytest.raises(WebError, match="asks robots not to read /never"):
            loader.load(site.url("/never"))
    assert site.asked == ["/robots.txt", "/no"]


@pytest.mark.parametrize(("status", "allowed"), [("404 Not Found", True), ("403 No", True), ("503 Later", False)])
def test_a_site_without_rules_is_free_and_one_that_fails_is_left_alone(status, allowed):
    with serving({"/robots.txt": answer("", status=status), "/": answer(PAGE)}) as site:
        loader = loader_for(site, robots=True)
        if allowed:
            assert loader.load(site.url()).text
        else:
            with pytest.raises(WebError, match="left alone"):
                loader.load(site.url())


def test_requests_to_one_host_are_spaced_and_others_do_not_wait():
    time, waits = [0.0], []
    pace = Pace(2.0, now=lambda: time[0], sleep=waits.append)
    for host in ("a", "b", "a", "a"):
        pace.wait(host)
    assert waits == [2.0, 4.0]
    time[0] = 100.0
    pace.wait("a")
    assert waits == [2.0, 4.0], "the past costs nothing"


def test_a_queue_that_is_too_long_is_refused():
    pace = Pace(20.0, now=lambda: 0.0, sleep=lambda _: None)
    pace.wait("a")
    pace.wait("a")
    with pytest.raises(WebError, match="at once"):
        pace.wait("a")


def test_the_cache_forgets_the_longest_unused_page_first():
    cache, read = PageCache(max_characters=25), []

    def reading(url: str):
        read.append(url)
        return document(url, "x" * 10)

    for url in "abacbd":
        cache.get(url, reading)
    assert "".join(read) == "abcbd"


def test_a_failure_is_not_kept():
    cache, tries = PageCache(), []

    def reading(url: str):
        tries.append(url)
        if len(tries) == 1:
            raise WebError("not now")
        return document(url, "now")

    with pytest.raises(WebError):
        cache.get("a", reading)
    assert cache.get("a", reading).text == "now"


@pytest.mark.parametrize("limit", [{"max_bytes": 0}, {"total_seconds": 0}, {"read_seconds": -1}, {"max_redirects": -1}])
def test_limits_that_cannot_be_are_refused(limit):
    with pytest.raises(SettingsError, match=next(iter(limit))):
        FetchLimits(**limit)


@pytest.mark.parametrize("allowed", ["127.0.0.1:8000", "http://127.0.0.1:8000/x", "LOCALHOST.:8000", "[::1]:8000"])
def test_a_place_can_be_allowed(allowed):
    rules = AddressRules.of([allowed])
    assert len(rules.allow) == 1
    assert next(iter(rules.allow)).endswith(":8000")


def test_what_is_no_place_cannot_be_allowed():
    with pytest.raises(SettingsError, match="write host:port"):
        AddressRules.of(["not a host"])


def test_one_port_that_is_allowed_opens_no_other():
    rules = AddressRules.of(["127.0.0.1:8000"])
    assert rules.check_url("http://127.0.0.1:8000/")
    for url in ("http://127.0.0.1:8080/", "http://127.0.0.2:8000/", "http://localhost.example:22/"):
        with pytest.raises(WebError):
            rules.check_url(url)


@pytest.mark.parametrize("network", ["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16", "100.64.0.0/10"])
@given(data=st.data())
def test_no_private_address_is_public_in_any_form(network, data):
    inner = data.draw(st.ip_addresses(network=network))
    number = int(inner)
    forms = [inner, *(ipaddress.IPv6Address(high | number) for high in (0xFFFF << 32, 0x64FF9B << 96, 0))]
    forms.append(ipaddress.IPv6Address((0x2002 << 112) | (number << 80)))
    assert not any(is_public(form) for form in forms), forms


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700::1111"])
def test_the_web_is_public(address):
    assert is_public(ipaddress.ip_address(address))


@given(st.text())
def test_a_checked_address_stays_as_it_is(text):
    try:
        url = AddressRules(allow_private=True).check_url(text)
    except WebError:
        return
    assert AddressRules(allow_private=True).check_url(str(url)) == url == httpx.URL(str(url))


@given(st.text() | st.text("[]# \n\r\u2028\u200b</>experience-library", max_size=60))
def test_clean_text_is_clean_and_every_line_is_behind_the_bar(text):
    once = clean(text)
    assert neutralise(once) == once
    assert all(line.startswith("| ") for line in quoted(text).splitlines())
