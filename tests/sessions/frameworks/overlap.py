"""The overlap matrix for every framework: a slow request, and another one that runs meanwhile.

A framework's test makes an app with these routes, all GET, around a gate:

    /begin           session field `mine` = 0
    /login/<user>    logs the user "1" or "2" in, as apps of this framework do it
    /logout          logs out
    /rotate          gives the session a new id
    /write           `theirs` = 1
    /slow-read       reads `mine`, then holds the gate, then answers
    /slow-write      reads `mine`, then holds the gate, then `mine` = 2
    /state           JSON {"user": "1" or null, "mine": 0 or null, "theirs": 1 or null}

and hands it over:

    @pytest.mark.parametrize("case", overlap.CASES, ids=str)
    def test_overlap(store: Store, case: overlap.Case) -> None:
        sessions = Sessions(store, secret=..., deadline_s=10)
        gate = overlap.Gate()
        with AsgiSite(make_app(sessions, gate)) as site:
            overlap.check(site, gate, case, revoke=sessions.revoke_user)

What may not happen: a request loses another one's field; a session that was logged out or revoked
comes back; a slow response brings a cookie that replaces the newer one; an old id opens anything.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from sites import TIMEOUT_S, Browser

if TYPE_CHECKING:
    from collections.abc import Callable

    from sites import Answer, Site

NOBODY = {"user": None, "mine": None, "theirs": None}


class Gate:
    """Holds a slow request until the other one has ended."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._opened = threading.Event()

    def hold(self) -> None:
        """Wait; called by the slow routes, after their first access to the session."""
        self._reached.set()
        assert self._opened.wait(TIMEOUT_S), "nobody opened the gate"

    async def ahold(self) -> None:
        """Do what `hold` does, in an event loop."""
        await asyncio.to_thread(self.hold)

    def wait_reached(self) -> None:
        """Wait until the slow request waits."""
        assert self._reached.wait(TIMEOUT_S), "the slow request did not come to the gate"

    def open(self) -> None:
        """Let the slow request go on."""
        self._opened.set()


class Case(NamedTuple):
    """A pair of requests that overlap.

    Attributes:
        user: who is logged in when the slow request begins; None for a visitor.
        slow: path of the slow request.
        other: path of the request that runs meanwhile; "revoke" for no request but a revocation
            of all sessions of the user.
        state: what /state says afterwards.
    """

    user: str | None
    slow: str
    other: str
    state: dict[str, Any]

    def __str__(self) -> str:
        return (
            f"{self.slow[1:]}+{self.other.strip('/').replace('/', '-')}{'' if self.user else '-of-visitor'}"
        )


def _cases(slow: str, mine: int) -> list[Case]:
    return [
        Case("1", slow, "/write", {"user": "1", "mine": mine, "theirs": 1}),
        Case("1", slow, "/logout", NOBODY),
        Case("1", slow, "/rotate", {"user": "1", "mine": mine, "theirs": None}),
        # Fields of one user are not the next one's.
        Case("1", slow, "/login/2", {"user": "2", "mine": None, "theirs": None}),
        Case("1", slow, "revoke", NOBODY),
        # What a visitor has, a cart for example, goes with the login.
        Case(None, slow, "/login/1", {"user": "1", "mine": mine, "theirs": None}),
    ]


CASES = [*_cases("/slow-read", 0), *_cases("/slow-write", 2)]


def check(site: Site, gate: Gate, case: Case, *, revoke: Callable[[str], Any]) -> None:
    """Play a case and check that it ends as it must."""
    browser = Browser(site)
    _ok(browser.get("/begin"))
    if case.user is not None:
        _ok(browser.get(f"/login/{case.user}"))
    # The slow request goes out with the cookies of now; its answer comes last.
    late = browser.twin()
    old = browser.twin()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(late.get, case.slow)
        try:
            gate.wait_reached()
            if case.other == "revoke":
                revoke(str(case.user))
            else:
                _ok(browser.get(case.other))
        finally:
            gate.open()
        _ok(slow.result(TIMEOUT_S))
    assert late.cookies == old.cookies, "the slow answer set or cleared a cookie"
    assert browser.get("/state").json() == case.state
    if case.other != "/write":
        assert old.get("/state").json() == NOBODY, "the old cookie still opens something"


def _ok(answer: Answer) -> None:
    assert answer.status == 200, answer
