"""Cookies in headers."""

import pytest

from limpet.core.cookies import CookieAttributes, find_values, parse_set_cookie, remove

NOW_S = 1_700_000_000  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("header", "values"),
    [
        (b"", []),
        (b"limpet=1", [b"1"]),
        (b"a=1; limpet=2; b=3", [b"2"]),
        (b"a=1;limpet=2;b=3", [b"2"]),
        (b"limpet=1; limpet=2", [b"1", b"2"]),
        (b"xlimpet=1; limpetx=2", []),
        (b"a=limpet=1", []),
        (b"limpet", []),
        (b"limpet=", [b""]),
        (b'limpet="q"', [b"q"]),
        (b"Limpet=1", []),
        (b" limpet=1 ", [b"1"]),
    ],
)
def test_find_values(header, values):
    assert find_values(header, b"limpet") == values


@pytest.mark.parametrize(
    ("header", "rest"),
    [
        (b"", b""),
        (b"limpet=1", b""),
        (b"a=1; limpet=2; b=3", b"a=1; b=3"),
        (b"limpet=2; b=3", b"b=3"),
        (b"a=1; limpet=2", b"a=1"),
        (b"a=1;limpet=2;b= x ;c", b"a=1;b= x ;c"),
        (b"limpet=1; a=limpet; limpet-cors=2", b"a=limpet"),
        (b"xlimpet=1; limpetx=2", b"xlimpet=1; limpetx=2"),
    ],
)
def test_remove(header, rest):
    assert remove(header, {b"limpet", b"limpet-cors"}) == rest


@pytest.mark.parametrize(
    ("header", "lifetime_s"),
    [
        (b"s=1", None),
        (b"s=1; Max-Age=60", 60),
        (b"s=1; max-age=60; Path=/", 60),
        (b"s=1; Max-Age=0", 0),
        (b"s=1; Max-Age=-5", -1),
        (b"s=1; Max-Age=x", None),
        (b"s=1; Expires=Tue, 14 Nov 2023 22:14:20 GMT", 60),
        (b"s=1; Expires=Tue, 14-Nov-2023 22:14:20 GMT", 60),
        (b"s=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", -NOW_S),
        (b"s=1; Expires=Tue, 14 Nov 2023 22:14:20 GMT; Max-Age=5", 5),
        (b"s=1; Expires=nonsense", None),
    ],
)
def test_lifetime(header, lifetime_s):
    parsed = parse_set_cookie(header, NOW_S)
    assert parsed.lifetime_s == lifetime_s
    assert parsed.is_deletion == (lifetime_s is not None and lifetime_s <= 0)


@pytest.mark.parametrize("header", [b"", b"=1", b"novalue", b" =x; Path=/"])
def test_what_a_browser_ignores(header):
    assert parse_set_cookie(header, NOW_S) is None


@pytest.mark.parametrize(
    ("attributes", "is_https", "expected"),
    [
        ({}, False, b"; Path=/; HttpOnly; SameSite=Lax"),
        ({}, True, b"; Path=/; HttpOnly; SameSite=Lax; Secure"),
        ({"is_secure": False}, True, b"; Path=/; HttpOnly; SameSite=Lax"),
        ({"domain": "example.com"}, False, b"; Path=/; Domain=example.com; HttpOnly; SameSite=Lax"),
        (
            {"same_site": "None", "is_secure": True, "is_partitioned": True},
            False,
            b"; Path=/; HttpOnly; SameSite=None; Secure; Partitioned",
        ),
    ],
)
def test_attributes(attributes, is_https, expected):
    assert CookieAttributes(**attributes).text(is_https=is_https) == expected
