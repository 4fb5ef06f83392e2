"""The jar keeps what browsers keep, and sends what they send."""

from __future__ import annotations

import pytest

from limpet.doctor.cookie_jar import Jar, Place, place_of, read_set_cookie

NOW_S = 1_700_000_000.0
HTTPS = place_of("https://www.example.com/app/page")
HTTP = place_of("http://www.example.com/app/page")


def take(jar: Jar, header: str, place: Place = HTTPS) -> str:
    cookie = read_set_cookie(header)
    assert cookie is not None
    return jar.take(cookie, place, NOW_S)


def names(jar: Jar, place: Place = HTTPS) -> list[str]:
    return [each.name for each in jar.sent_to(place, NOW_S)]


@pytest.mark.parametrize(
    ("header", "place", "reason"),
    [
        ("a=" + "x" * 4096, HTTPS, "4097 bytes"),
        ("__Host-a=1; Path=/", HTTPS, "not Secure"),
        ("__Host-a=1; Secure; Path=/; Domain=example.com", HTTPS, "Domain"),
        ("__Host-a=1; Secure; Path=/app", HTTPS, "path is not /"),
        ("__Host-a=1; Secure", place_of("https://www.example.com/"), "no Path=/"),
        ("__Secure-a=1", HTTPS, "not Secure"),
        ("a=1; SameSite=None", HTTPS, "SameSite=None without Secure"),
        ("a=1; Partitioned", HTTPS, "Partitioned without Secure"),
        ("a=1; Secure", HTTP, "set on http"),
        ("a=1; Domain=other.com", HTTPS, "does not cover"),
        ("a=1; Domain=com", HTTPS, "top-level"),
        ("a=\x01", HTTPS, "control character"),
    ],
)
def test_browsers_refuse(header: str, place: Place, reason: str) -> None:
    strict, lenient = Jar(), Jar(is_lenient=True)
    assert reason in take(strict, header, place)
    take(lenient, header, place)
    assert not list(strict)
    assert len(list(lenient)) == 1


@pytest.mark.parametrize(
    "header",
    [
        "a=" + "x" * 4095,
        "__Host-a=1; Secure; Path=/",
        "__Secure-a=1; Secure; Domain=example.com",
        "a=1; SameSite=None; Secure; Partitioned",
        "a=1; Domain=.example.com",
        "a=1; SameSite=nonsense",
    ],
)
def test_browsers_take(header: str) -> None:
    jar = Jar()
    assert not take(jar, header)
    assert len(list(jar)) == 1


def test_this_machine_is_trustworthy_without_tls() -> None:
    jar = Jar()
    place = place_of("http://127.0.0.1:8000/")
    assert not take(jar, "a=1; Secure", place)
    assert names(jar, place) == ["a"]


def test_paths_and_domains_decide_where_a_cookie_goes() -> None:
    jar = Jar()
    for header in ("own=1", "root=1; Path=/", "all=1; Path=/; Domain=example.com", "deep=1; Path=/app/page"):
        take(jar, header)
    assert names(jar) == ["deep", "own", "root", "all"]
    assert names(jar, place_of("https://www.example.com/application")) == ["root", "all"]
    assert names(jar, place_of("https://example.com/app/page")) == ["all"]


def test_a_secure_cookie_is_not_hidden_from_http() -> None:
    jar = Jar()
    take(jar, "a=1; Secure; Path=/")
    assert "hide" in take(jar, "a=2; Path=/", HTTP)
    assert [each.value for each in jar] == ["1"]


def test_deletion_and_replacement() -> None:
    jar = Jar()
    take(jar, "a=1; Path=/")
    take(jar, "a=2; Path=/")
    assert [each.value for each in jar] == ["2"]
    take(jar, "a=; Path=/; Max-Age=0")
    assert not list(jar)
    take(jar, "a=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
    assert not list(jar)


def test_one_name_at_two_scopes_is_two_cookies() -> None:
    jar = Jar()
    take(jar, "a=old; Path=/; Domain=example.com")
    take(jar, "a=new; Path=/")
    assert [each.value for each in jar.sent_to(HTTPS, NOW_S)] == ["old", "new"]


def test_max_age_goes_before_expires() -> None:
    cookie = read_set_cookie("a=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
    assert cookie is not None
    assert cookie.lifetime_s(NOW_S) == 60
    assert not cookie.is_deletion(NOW_S)


def test_a_copy_goes_its_own_way() -> None:
    jar = Jar()
    take(jar, "a=1")
    other = jar.copy()
    take(other, "b=1")
    assert names(jar) == ["a"]
