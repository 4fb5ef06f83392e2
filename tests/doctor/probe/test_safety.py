"""What the doctor must not do: each rule has a test against a site that would notice."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from ailing_site import Answer, Members, Request, SmallSite

from limpet.doctor.probe.client import USER_AGENT, Client
from limpet.doctor.probe.digest import Digest
from limpet.doctor.probe.examine import examine
from limpet.doctor.probe.login.form import FormLogin
from limpet.doctor.probe.observe import Observer
from limpet.doctor.probe.plan import QUICK, Plan
from limpet.doctor.probe.safety import (
    Brakes,
    ForbiddenError,
    Limits,
    Scope,
    StoppedError,
    is_forbidden_path,
    limits_for,
    retry_after_s,
)

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence

FAST = Limits(300, None, 16)


def client_for(site: SmallSite, limits: Limits = FAST) -> Client:
    return Client(Scope(site.url), limits=limits)


def examined(
    site: SmallSite, *, limits: Limits = FAST, password: str = "correct-horse", **more: object
) -> Evidence:
    way = FormLogin(url=f"{site.url}login", username="ann", password=password)
    plan = Plan(url=site.url, way=way, counts=QUICK, settles_s=0.0, **more)  # type: ignore[arg-type]
    observer = Observer(Digest(), started_s=time.monotonic(), username="ann")
    return asyncio.run(examine(plan, client_for(site, limits), observer))


@pytest.mark.parametrize(
    ("url", "is_covered"),
    [
        ("https://app.example/other", True),
        ("https://app.example:443/", True),
        ("http://app.example/", False),
        ("https://app.example:8443/", False),
        ("https://www.app.example/", False),
        ("https://login.example/", True),
        ("https://app.example@evil.example/", False),
    ],
)
def test_only_the_given_origin_is_asked(url: str, is_covered: bool) -> None:
    scope = Scope("https://app.example/", ["login.example"])
    assert scope.covers(url) == is_covered
    if not is_covered:
        client = Client(scope)
        with pytest.raises(ForbiddenError):
            asyncio.run(client.send(url))
        assert client.used == 0


def test_redirects_elsewhere_are_recorded_and_not_followed(site: SmallSite) -> None:
    other = SmallSite()
    try:
        site.answer = lambda request: Answer(
            LOGIN if request.method == "GET" else "", 200 if request.method == "GET" else 303, to(other)
        )
        evidence = examined(site)
        assert not other.asked
        assert evidence.logins[0].submit is not None
        assert evidence.logins[0].submit.location == other.url
    finally:
        other.close()


LOGIN = '<form method="post"><input name="user"><input type="password" name="password"></form>'


def to(site: SmallSite) -> list[tuple[str, str]]:
    return [("location", site.url)]


@pytest.mark.parametrize(
    "path",
    [
        "/logout",
        "/log-out?next=/",
        "/account/signout",
        "/sign_off",
        "/a?do=delete",
        "/%6cogout",
        "/unsubscribe/1",
    ],
)
def test_paths_that_end_something_are_never_asked(site: SmallSite, path: str) -> None:
    client = client_for(site)
    assert is_forbidden_path(site.url + path.lstrip("/"))
    with pytest.raises(ForbiddenError):
        asyncio.run(client.send(site.url + path.lstrip("/")))
    assert not site.asked


def test_linked_logouts_are_not_followed_and_only_the_page_is_asked_after_a_login(site: SmallSite) -> None:
    members = Members()

    def answer(request: Request) -> Answer:
        found = members(request)
        found.body += "<a href=/logout>out</a><a href=/delete/1>x</a><a href=/about>about</a>"
        return found

    site.answer = answer
    evidence = examined(site)
    assert evidence.oracle
    assert not [each for each in site.asked if is_forbidden_path(each.path)]
    first_post = next(number for number, each in enumerate(site.asked) if each.method == "POST")
    after = [each for each in site.asked[first_post:] if not each.path.startswith("/login")]
    assert {(each.method, each.path.split("?")[0]) for each in after} == {("GET", "/")}


def test_nothing_is_written_outside_of_a_login(site: SmallSite) -> None:
    client = client_for(site)
    with pytest.raises(ForbiddenError):
        asyncio.run(client.send(site.url, method="POST"))
    with client.logging_in():
        asyncio.run(client.send(site.url, method="POST"))
    assert [each.method for each in site.asked] == ["POST"]


def test_the_budget_is_kept(site: SmallSite) -> None:
    site.answer = Members()
    evidence = examined(site, limits=Limits(40, None, 16))
    assert len(site.asked) == evidence.used == 40
    assert "budget of 40 requests" in evidence.stopped


def test_a_whole_run_needs_fewer_than_three_hundred(site: SmallSite) -> None:
    site.answer = Members()
    evidence = examined(site)
    assert evidence.stopped == ""
    assert evidence.used == len(site.asked) <= 300


def test_limits_for_others_machines() -> None:
    assert limits_for(Scope("https://app.example/"), 1000) == Limits(300, 5.0, 4)
    assert limits_for(Scope("http://localhost:8000/")) == Limits(300, None, 16)


def test_the_pace_is_kept(site: SmallSite) -> None:
    client = client_for(site, Limits(300, 50.0, 4))

    async def ask() -> float:
        started_s = time.monotonic()
        await asyncio.gather(*(client.send(site.url) for _ in range(11)))
        return time.monotonic() - started_s

    assert asyncio.run(ask()) >= 10 / 50


def test_not_more_than_so_many_at_once(site: SmallSite) -> None:
    open_now: list[int] = []
    counts: list[int] = []

    def answer(request: Request) -> Answer:
        open_now.append(id(request))
        counts.append(len(open_now))
        time.sleep(0.01)  # long enough for others to come in, if they are let
        open_now.remove(id(request))
        return Answer()

    site.answer = answer
    client = client_for(site, Limits(300, None, 2))

    async def ask() -> None:
        await asyncio.gather(*(client.send(site.url) for _ in range(12)))

    asyncio.run(ask())
    assert max(counts) <= 2


@pytest.mark.parametrize(
    ("statuses", "stops"),
    [
        ([429, 429, 429], True),
        ([503, 429, 503], True),
        ([429, 200, 429, 429], False),
        ([500] * 5, True),
        ([500] * 4 + [200], False),
        ([404] * 20, False),
    ],
)
def test_the_run_stops_when_the_site_is_not_well(statuses: list[int], stops: bool) -> None:
    brakes = Brakes()

    def note_all() -> None:
        for status in statuses:
            brakes.note(status)

    if stops:
        with pytest.raises(StoppedError):
            note_all()
    else:
        note_all()


def test_retry_after_is_honoured(site: SmallSite) -> None:
    answers = iter([Answer(status=503, headers=[("retry-after", "1")]), Answer()])
    site.answer = lambda _request: next(answers)
    client = client_for(site)

    async def ask() -> float:
        await client.send(site.url)
        started_s = time.monotonic()
        await client.send(site.url)
        return time.monotonic() - started_s

    assert asyncio.run(ask()) >= 0.9
    site.answer = lambda _request: Answer(status=429, headers=[("retry-after", "3600")])
    with pytest.raises(StoppedError):
        asyncio.run(client.send(site.url))
    assert retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", 10.0) == 50.0
    assert retry_after_s("soon", 10.0) == 0.0


def test_the_first_refused_login_is_the_last(site: SmallSite) -> None:
    site.answer = Members()
    evidence = examined(site, password="wrong")
    assert len([each for each in site.asked if each.method == "POST"]) == 1
    assert "did not accept the login" in evidence.stopped


def test_at_most_four_logins(site: SmallSite) -> None:
    members = Members()
    members.known = lambda request: None  # type: ignore[method-assign]
    site.answer = members
    examined(site)
    assert len([each for each in site.asked if each.method == "POST"]) == 4


def test_it_says_who_it_is(site: SmallSite) -> None:
    asyncio.run(client_for(site).send(site.url))
    assert site.asked[0].headers["user-agent"] == USER_AGENT
    assert USER_AGENT.startswith("limpet-doctor/")


def test_each_visit_has_its_own_connection_unless_one_is_kept(site: SmallSite) -> None:
    client = client_for(site)

    async def ask() -> None:
        async with client.kept_connection() as kept:
            for _ in range(2):
                await client.send(site.url, kept=kept)

    asyncio.run(ask())
    assert len(site.asked) == 2
