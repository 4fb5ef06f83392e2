"""Duration-based stickiness: statuses, sliding, attributes and which responses carry a ticket."""

import os

import pytest

from limpet.core.clock import Now
from limpet.core.cookies import CookieAttributes
from limpet.core.key_ring import KeyRing
from limpet.core.request import FieldBlock, RequestHead, ResponseHead
from limpet.core.stickiness.contract import StickyStatus
from limpet.core.stickiness.lb_cookie import MAX_AHEAD_S, LbCookie
from limpet.core.stickiness.settings import Sealing, StickinessSettings
from limpet.core.stickiness.ticket import Ticket, open_ticket, seal

RING = KeyRing([b"k" * 32])
SEALING = Sealing(RING, os.urandom)
START_S = 1_700_000_000
TICKET = Ticket(ticket_id=b"i" * 16, target_id="A", group="web", issued_at_s=START_S, last_seen_s=START_S)


def kind(**settings):
    return LbCookie(StickinessSettings(group="web", **settings), SEALING)


def request(cookie=b"", *, headers=(), path=b"/", method=b"GET", is_https=False):
    return RequestHead(method, path, FieldBlock(list(headers), cookie=cookie), "10.0.0.1", is_https)


def response(*headers, status=200):
    return ResponseHead(status, list(headers))


def sealed(**changes):
    return b"limpet=" + seal(TICKET._replace(**changes), RING, os.urandom)


def at(age_s, mono_s=0.0):
    return Now(START_S + age_s, mono_s)


def find(cookie, *, now=None, **settings):
    return kind(**settings).find(request(cookie), {}, now or at(1))


def bound_ticket(binding):
    name_and_value = binding.set_cookies[0].split(b";")[0]
    return open_ticket(name_and_value.partition(b"=")[2], RING)


@pytest.mark.parametrize(
    ("cookie", "status"),
    [
        (b"", StickyStatus.ABSENT),
        (b"other=1", StickyStatus.ABSENT),
        (sealed(), StickyStatus.FOUND),
        (b"a=b; " + sealed() + b"; c=d", StickyStatus.FOUND),
        (sealed() + b"; " + sealed(target_id="B"), StickyStatus.SEVERAL),
        (b"limpet=garbage; " + sealed(), StickyStatus.SEVERAL),
        (b"limpet=garbage", StickyStatus.MALFORMED),
        (sealed()[:-10], StickyStatus.TRUNCATED),
        (sealed() + b"AAAA", StickyStatus.TAMPERED),
        (b"limpet=9.AAAA", StickyStatus.UNKNOWN_VERSION),
        (b"limpet=" + seal(TICKET, KeyRing([b"x" * 32]), os.urandom), StickyStatus.UNKNOWN_KEY),
        (sealed(group="api"), StickyStatus.OTHER_GROUP),
    ],
)
def test_each_cookie_has_its_status(cookie, status):
    finding = find(cookie)
    assert finding.status is status
    assert (finding.target_id is not None) == (status in {StickyStatus.FOUND, StickyStatus.SEVERAL})


def test_of_several_tickets_the_freshest_counts():
    cookie = (
        sealed() + b"; " + sealed(target_id="B", last_seen_s=START_S + 50) + b"; " + sealed(target_id="C")
    )
    assert find(cookie, now=at(60)).target_id == "B"


@pytest.mark.parametrize(
    ("age_s", "settings", "status"),
    [
        (99, {"duration_s": 100}, StickyStatus.FOUND),
        (100, {"duration_s": 100}, StickyStatus.EXPIRED),
        (10**8, {"duration_s": 0}, StickyStatus.FOUND),
        (99, {"absolute_s": 100}, StickyStatus.FOUND),
        (100, {"absolute_s": 100}, StickyStatus.OUTLIVED),
        (-300, {}, StickyStatus.FOUND),
        (-(10**8), {}, StickyStatus.FOUND),
    ],
)
def test_the_end_is_judged_by_the_current_settings_and_the_wall_clock(age_s, settings, status):
    assert find(sealed(), now=at(age_s, mono_s=12345), **settings).status is status


@pytest.mark.parametrize(("age_s", "is_settled"), [(0, True), (9, True), (10, False), (99, False)])
def test_a_ticket_is_sent_anew_when_a_tenth_of_the_duration_has_passed(age_s, is_settled):
    assert find(sealed(), now=at(age_s), duration_s=100).is_settled is is_settled


def test_a_refreshed_ticket_keeps_its_id_and_birth():
    lb_cookie = kind(duration_s=100)
    finding = lb_cookie.find(request(sealed()), {}, at(50))
    ticket = bound_ticket(lb_cookie.bind(request(), finding, "A", response(), at(50)))
    assert ticket == TICKET._replace(last_seen_s=START_S + 50)


def test_a_moved_session_keeps_its_id_and_birth():
    lb_cookie = kind()
    finding = lb_cookie.find(request(sealed()), {}, at(1))
    ticket = bound_ticket(lb_cookie.bind(request(), finding, "B", response(), at(1)))
    assert ticket == TICKET._replace(target_id="B", last_seen_s=START_S + 1)


def test_a_new_ticket_has_its_own_id():
    lb_cookie = kind()
    finding = lb_cookie.find(request(), {}, at(0))
    first = bound_ticket(lb_cookie.bind(request(), finding, "A", response(), at(0)))
    second = bound_ticket(lb_cookie.bind(request(), finding, "A", response(), at(0)))
    assert first.ticket_id != second.ticket_id
    assert (first.target_id, first.group, first.issued_at_s, first.last_seen_s) == (
        "A",
        "web",
        START_S,
        START_S,
    )


@pytest.mark.parametrize(
    ("settings", "is_https", "tail"),
    [
        ({}, False, b"; Max-Age=86400; Path=/; HttpOnly; SameSite=Lax"),
        ({}, True, b"; Max-Age=86400; Path=/; HttpOnly; SameSite=Lax; Secure"),
        ({"duration_s": 0}, False, b"; Path=/; HttpOnly; SameSite=Lax"),
        (
            {"attributes": CookieAttributes(domain="shop.example", is_secure=True, is_partitioned=True)},
            False,
            b"; Max-Age=86400; Path=/; Domain=shop.example; HttpOnly; SameSite=Lax; Secure; Partitioned",
        ),
    ],
)
def test_attributes(settings, is_https, tail):
    lb_cookie = kind(**settings)
    asked = request(is_https=is_https)
    (cookie,) = lb_cookie.bind(asked, lb_cookie.find(asked, {}, at(0)), "A", response(), at(0)).set_cookies
    assert cookie.endswith(tail)
    assert cookie.count(b";") == tail.count(b";")


def test_the_cross_site_twin_is_found_alone():
    lb_cookie = kind(has_cross_site_twin=True)
    cookies = lb_cookie.bind(
        request(), lb_cookie.find(request(), {}, at(0)), "A", response(), at(0)
    ).set_cookies
    assert len(cookies) == 2
    assert cookies[1].startswith(b"limpet-cors=1.")
    assert b"; SameSite=None; Secure" in cookies[1]
    alone = cookies[1].split(b";")[0]
    finding = lb_cookie.find(request(alone), {}, at(1))
    assert (finding.status, finding.target_id) == (StickyStatus.FOUND, "A")
    assert lb_cookie.own_cookies == {b"limpet", b"limpet-cors"}


@pytest.mark.parametrize(
    ("destination", "is_carried"),
    [
        (None, True),
        (b"document", True),
        (b"iframe", True),
        (b"empty", True),
        (b"image", False),
        (b"script", False),
        (b"style", False),
        (b"font", False),
        (b"worker", False),
    ],
)
def test_subresources_carry_no_ticket(destination, is_carried):
    headers = [] if destination is None else [(b"sec-fetch-dest", destination)]
    asked = request(headers=headers)
    for allowed, expected in [(False, is_carried), (True, True)]:
        lb_cookie = kind(has_subresource_tickets=allowed)
        binding = lb_cookie.bind(asked, lb_cookie.find(asked, {}, at(0)), "A", response(), at(0))
        assert bool(binding.set_cookies) is expected


@pytest.mark.parametrize(
    ("method", "headers", "is_carried", "is_made_private"),
    [
        (b"GET", [], True, True),
        (b"GET", [(b"cache-control", b"private")], True, False),
        (b"GET", [(b"cache-control", b"no-store")], True, False),
        (b"GET", [(b"cache-control", b"no-cache")], True, True),
        (b"GET", [(b"cache-control", b"max-age=0")], True, True),
        (b"GET", [(b"cache-control", b"private, max-age=600")], True, False),
        (b"GET", [(b"cache-control", b"max-age=600")], False, False),
        (b"GET", [(b"cache-control", b"Public")], False, False),
        (b"GET", [(b"cache-control", b"max-age=0"), (b"cache-control", b"s-maxage=5")], False, False),
        (b"GET", [(b"cache-control", b"no-cache"), (b"cache-control", b"s-maxage=5")], True, True),
        (b"GET", [(b"cache-control", b'public, private="x-secret"')], False, False),
        (b"GET", [(b"cache-control", b'no-store, no-cache="set-cookie"')], True, False),
        (b"GET", [(b"expires", b"Thu, 01 Jan 2099 00:00:00 GMT")], False, False),
        (
            b"GET",
            [(b"expires", b"Thu, 01 Jan 2099 00:00:00 GMT"), (b"cache-control", b"max-age=0")],
            True,
            True,
        ),
        (b"GET", [(b"expires", b"Thu, 19 Nov 1981 08:52:00 GMT")], True, True),
        (b"GET", [(b"expires", b"Tue, 14 Nov 2023 22:13:20 GMT")], True, True),
        (b"GET", [(b"expires", b"Tue, 14 Nov 2023 22:13:21 GMT")], False, False),
        (b"GET", [(b"expires", b"0")], True, True),
        (b"POST", [], True, False),
        (b"POST", [(b"cache-control", b"max-age=600")], True, False),
    ],
)
def test_what_a_shared_cache_may_store_carries_no_ticket_or_becomes_private(
    method, headers, is_carried, is_made_private
):
    lb_cookie = kind()
    asked = request(method=method)
    binding = lb_cookie.bind(asked, lb_cookie.find(asked, {}, at(0)), "A", response(*headers), at(0))
    assert (bool(binding.set_cookies), binding.make_private) == (is_carried, is_made_private)


@pytest.mark.parametrize(
    ("path", "is_exempt"),
    [
        (b"/static/app.js", True),
        (b"/static/a/b.css?v=1", True),
        (b"/favicon.ico", True),
        (b"/staticx", False),
        (b"/", False),
        (b"/x?/static/", False),
    ],
)
def test_exempt_paths_neither_create_nor_need_stickiness(path, is_exempt):
    lb_cookie = kind(exempt_paths=("/static/*", "/favicon.ico"))
    finding = lb_cookie.find(request(sealed(), path=path), {}, at(0))
    assert (finding.status is StickyStatus.EXEMPT) is is_exempt
    if is_exempt:
        assert finding.is_settled
        assert not lb_cookie.bind(request(path=path), finding, "A", response(), at(0)).set_cookies


def test_a_known_cookie_is_not_opened_again_and_still_expires():
    lb_cookie = kind(duration_s=100)
    cookie = sealed()
    assert lb_cookie.find(request(cookie), {}, at(1)) is lb_cookie.find(request(cookie), {}, at(2))
    assert lb_cookie.find(request(cookie), {}, at(100)).status is StickyStatus.EXPIRED


def test_a_304_carries_a_ticket_only_if_no_shared_cache_can_have_stored_its_page():
    # Its fields would be added to the stored page, and go out to everybody.
    for headers, is_carried in [([], False), ([(b"cache-control", b"private")], True)]:
        lb_cookie = kind()
        asked = request()
        response_ = response(*headers, status=304)
        assert (
            bool(lb_cookie.bind(asked, lb_cookie.find(asked, {}, at(0)), "A", response_, at(0)).set_cookies)
            is is_carried
        )


@pytest.mark.parametrize(
    ("age_s", "is_settled"), [(-MAX_AHEAD_S, True), (-MAX_AHEAD_S - 1, False), (-(10**8), False)]
)
def test_a_ticket_from_the_future_is_good_and_dated_anew(age_s, is_settled):
    """A clock that was wrong and is repaired must not log out whom it met in between."""
    lb_cookie = kind(absolute_s=10**6)
    finding = lb_cookie.find(request(sealed()), {}, at(age_s))
    assert (finding.status, finding.is_settled) == (StickyStatus.FOUND, is_settled)
    if not is_settled:
        assert finding.settled_until_s == 0
        renewed = bound_ticket(lb_cookie.bind(request(), finding, "A", response(), at(age_s)))
        assert (renewed.issued_at_s, renewed.last_seen_s) == (START_S + age_s, START_S + age_s)


@pytest.mark.parametrize("duration_s", [1, 2, 3, 10])
@pytest.mark.parametrize("began_s", [0.0, 0.01, 0.5, 0.99])
def test_a_short_duration_slides_and_loses_nothing_to_rounding(duration_s, began_s):
    lb_cookie = kind(duration_s=duration_s)
    cookie = b""
    for step in range(40):
        now = at(began_s + step * duration_s * 0.4)
        finding = lb_cookie.find(request(cookie), {}, now)
        assert finding.status is (StickyStatus.FOUND if step else StickyStatus.ABSENT)
        if not finding.is_settled:
            binding = lb_cookie.bind(request(), finding, "A", response(), now)
            cookie = binding.set_cookies[0].split(b";")[0]


def test_a_cookie_and_its_twin_that_disagree_are_both_sent_anew():
    lb_cookie = kind(has_cross_site_twin=True)
    older, newer = sealed(), sealed(target_id="B", last_seen_s=START_S + 5)
    both = older + b"; " + newer.replace(b"limpet=", b"limpet-cors=")
    finding = lb_cookie.find(request(both), {}, at(6))
    assert (finding.status, finding.target_id, finding.is_settled) == (StickyStatus.FOUND, "B", False)
    assert len(lb_cookie.bind(request(), finding, "B", response(), at(6)).set_cookies) == 2
    same = older + b"; " + older.replace(b"limpet=", b"limpet-cors=")
    assert lb_cookie.find(request(same), {}, at(6)).is_settled


def test_a_twin_that_is_not_set_any_more_is_not_read():
    twin = sealed().replace(b"limpet=", b"limpet-cors=")
    assert find(twin).status is StickyStatus.ABSENT
    assert find(sealed() + b"; " + twin).is_settled


def test_a_subresource_without_a_ticket_is_settled():
    """It must not use up the first visit that the page's own requests need."""
    image = request(headers=[(b"sec-fetch-dest", b"image")])
    assert kind().find(image, {}, at(0)).is_settled
    assert not kind(has_subresource_tickets=True).find(image, {}, at(0)).is_settled
    assert not kind().find(request(headers=[(b"sec-fetch-dest", b"empty")]), {}, at(0)).is_settled
