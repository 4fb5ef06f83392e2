"""Every end of a session has a reason, counted and logged with a keyed hash, never the id."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from doors import SECRET, who

from limpet.sessions import EndReason, Policy
from limpet.sessions.policy import touch_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from doors import Door
    from sites import Browser

#: A policy under which everything happens soon.
POLICY = Policy(idle_s=600, absolute_s=3600, renew_s=300)
IDLE_S = 600 + touch_s(600)


class Case(NamedTuple):
    """How a session ends, or why a cookie opens nothing.

    Attributes:
        reason: what is counted and logged.
        act: ends the session of the browser; a return value is a cookie to show instead.
        ended, met: how often each is counted, with one request afterwards.
        has_reference: whether the log names a session that a list knew.
    """

    reason: EndReason
    act: Callable[[Door, Browser], str | None]
    ended: int
    met: int
    has_reference: bool = True


def _later(seconds: float) -> Callable[[Door, Browser], None]:
    def act(door: Door, _browser: Browser) -> None:
        door.clock.now_s += seconds

    return act


def _renew(door: Door, browser: Browser) -> str:
    old = browser.cookies[door.name]
    door.clock.now_s += 301
    browser.get("/state")
    browser.get("/state")
    door.clock.now_s += 11  # the grace
    return old


def _old(path: str) -> Callable[[Door, Browser], str]:
    def act(door: Door, browser: Browser) -> str:
        old = browser.cookies[door.name]
        browser.get(path)
        return old

    return act


def _lose(door: Door, _browser: Browser) -> None:
    door.store.lose_everything()


def _tamper(door: Door, browser: Browser) -> str:
    value = browser.cookies[door.name]
    return value[:-3] + ("AAA" if value[-3:] != "AAA" else "BBB")


def _change_secret(door: Door, _browser: Browser) -> None:
    door.reopen(secrets=("another secret that is long enough",), policy=POLICY)


CASES = [
    Case(EndReason.LOGOUT, _old("/logout"), 1, 1),
    Case(EndReason.ROTATED, _old("/login/1"), 1, 1),
    Case(EndReason.RENEWED, _renew, 1, 1),
    Case(EndReason.REVOKED, lambda door, _: door.sessions.revoke_user("1"), 1, 1),
    Case(EndReason.IDLE, _later(IDLE_S + 1), 0, 1),
    Case(EndReason.ABSOLUTE, _later(3601), 0, 1),
    Case(EndReason.LOST, _lose, 0, 1),
    Case(EndReason.BAD_SIGNATURE, _tamper, 0, 1, has_reference=False),
    Case(EndReason.UNKNOWN_KEY, _change_secret, 0, 1, has_reference=False),
]


def told_of(reason: EndReason, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines that name a session, or what was sent, and the reason; some give advice as well."""
    line = re.compile(
        rf"session (of everyone|[0-9a-f-]{{16,49}}) (ends|opens nothing): {reason.value}( \(.*\))?"
    )
    return [text for text in (each.getMessage() for each in caplog.records) if line.fullmatch(text)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.reason.value)
def test_every_end_is_counted_and_logged(door: Door, case: Case, caplog: pytest.LogCaptureFixture) -> None:
    door.reopen(policy=POLICY)
    browser = door.browser()
    browser.get("/login/1")
    (listed,) = door.sessions.list_user("1")
    before = door.ends(case.reason)
    shown = [browser.cookies[door.name]]
    with caplog.at_level(logging.INFO, "limpet.sessions"):
        other = case.act(door, browser)
        if case.reason is EndReason.UNKNOWN_KEY:
            before = (0, 0)
        late = door.browser(session=other or browser.cookies[door.name])
        shown += [late.cookies[door.name], *browser.cookies.values()]
        assert who(late) is None
    ended, met = door.ends(case.reason)
    assert (ended - before[0], met - before[1]) == (case.ended, case.met)
    told = told_of(case.reason, caplog)
    assert len(told) == case.ended + case.met
    text = " ".join(each.getMessage() for each in caplog.records)
    if case.has_reference:
        names = {listed.reference, listed.reference.partition("-")[0]}
        assert all(names & set(line.split()) for line in told)
    for secret in (*shown, SECRET):
        assert secret not in text
        assert secret[2:60] not in text


def test_users_are_warned_of_what_they_did_not_cause(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    browser = door.browser()
    browser.get("/login/1")
    door.store.lose_everything()
    with caplog.at_level(logging.INFO, "limpet.sessions"):
        browser.get("/state")
    (line,) = told_of(EndReason.LOST, caplog)
    assert [each.levelno for each in caplog.records if each.getMessage() == line] == [logging.WARNING]


def test_the_end_of_everyone_is_counted(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    browser = door.browser()
    browser.get("/login/1")
    with caplog.at_level(logging.INFO, "limpet.sessions"):
        door.clock.now_s += 1
        door.sessions.revoke_everyone()
        assert who(browser) is None
    assert door.ends(EndReason.REVOKED) == (1, 1)
    assert "session of everyone ends: revoked" in told_of(EndReason.REVOKED, caplog)


def reasons() -> set[Any]:
    return {case.reason for case in CASES}


def test_no_reason_is_forgotten() -> None:
    assert reasons() == set(EndReason)
