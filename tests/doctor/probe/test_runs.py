"""Whole runs against sites with one fault each, and against well ones: the cause leads, nothing leaks."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import random
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ailing_site import LOGIN_FORM, Answer, Members, Request, SmallSite
from rich.console import Console

from limpet.doctor.finding import Severity
from limpet.doctor.probe.client import Client
from limpet.doctor.probe.digest import Digest
from limpet.doctor.probe.examine import examine
from limpet.doctor.probe.login.form import FormLogin
from limpet.doctor.probe.observe import Observer
from limpet.doctor.probe.plan import QUICK, Plan
from limpet.doctor.probe.safety import Limits, Scope
from limpet.doctor.report import as_json, junit, sarif, text
from limpet.doctor.verdict import judge

if TYPE_CHECKING:
    from limpet.doctor.verdict import Verdict

#: Enough for three equal replicas; a whole run has more.
FEWER = replace(QUICK, fan_out=6, honoured=2, replayed=2, jar=14, frozen=16, app_only=14, confirm=12)
#: Routing is random and repeatable.
SEED = 7


class Well(Members):
    """Sessions that every replica knows."""


class Replicas(Members):
    """Three replicas behind a balancer that does not stick."""

    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(SEED)
        self.lock = threading.Lock()

    def replica(self) -> int:
        """Choose who answers."""
        with self.lock:
            return self.random.randrange(3)


class Memory(Replicas):
    """A1: each replica knows those who logged in there."""

    def known(self, request: Request) -> str | None:
        session_id = request.cookies.get("sid", "")
        home = sum(session_id.encode()) % 3
        return super().known(request) if self.replica() == home else None


class DestructiveMemory(Memory):
    """A1, and a miss gives a new id."""

    def page(self, request: Request) -> Answer:
        found = super().page(request)
        if "Hello" not in found.body:
            self.count += 1
            found.headers.append(("set-cookie", self.cookie(f"secret-stranger-number-{self.count:04d}")))
        return found


class Keys(Memory):
    """A3: as memory, with the data in the cookie, as Flask signs it."""

    def cookie(self, session_id: str) -> str:
        value = flask_like(session_id)
        self.sessions[value] = "ann"
        return f"sid={value}; Path=/; HttpOnly"


class Flushing(Replicas):
    """A7: a replica with another key ends the session for all."""

    def known(self, request: Request) -> str | None:
        found = super().known(request)
        if found is not None and self.replica() == 0:
            del self.sessions[request.cookies["sid"]]
            return None
        return found


class Latent(Replicas):
    """L2: in memory, and saved by the balancer's cookie."""

    def page(self, request: Request) -> Answer:
        sticky = request.cookies.get("SERVERID")
        self.here = int(sticky[1:]) if sticky else self.replica()
        home = sum(request.cookies.get("sid", "").encode()) % 3
        found = super().page(request) if self.here == home else super().page(Request("GET", "/", {}, {}))
        if sticky is None:
            found.headers.append(("set-cookie", f"SERVERID=s{self.here}; Path=/"))
        return found

    def login(self, request: Request) -> Answer:
        found = super().login(request)
        for name, value in list(found.headers):
            if name == "set-cookie":
                home = sum(value.split(";")[0].split("=")[1].encode()) % 3
                found.headers.append((name, f"SERVERID=s{home}; Path=/"))
        return found


class CachedPage(Members):
    """B1: a cache answers with the stranger's page, unless the query is new."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = itertools.count()

    def page(self, request: Request) -> Answer:
        if next(self.turn) % 3 == 0 and "?" not in request.path:
            found = super().page(Request("GET", "/", {}, {}))
            found.headers += [("age", "17"), ("x-cache", "HIT")]
            return found
        return super().page(request)


class SharedId(Members):
    """B2: strangers get one session id from a cache."""

    def page(self, request: Request) -> Answer:
        found = super().page(request)
        if not request.cookies:
            found.headers.append(("set-cookie", self.cookie("secret-stranger-of-everybody")))
        return found


class NarrowPath(Members):
    """A13: the cookie's path is the login's."""

    def cookie(self, session_id: str) -> str:
        return f"sid={session_id}; Path=/login; HttpOnly"


class NoneWithoutSecure(Members):
    """A16: browsers drop the cookie."""

    def cookie(self, session_id: str) -> str:
        return f"sid={session_id}; Path=/; SameSite=None"


class Large(Members):
    """A17: more than browsers keep."""

    def cookie(self, session_id: str) -> str:
        value = session_id + "x" * 4200
        self.sessions[value] = self.sessions.get(session_id, "")
        return f"sid={value}; Path=/"


class Strict(Members):
    """A15."""

    def cookie(self, session_id: str) -> str:
        return f"sid={session_id}; Path=/; SameSite=Strict"


class Bound(Members):
    """A24: bound to the User-Agent."""

    def known(self, request: Request) -> str | None:
        return super().known(request) if "limpet" in request.headers["user-agent"] else None


class OneSession(Members):
    """A26: a new login ends the others."""

    def login(self, request: Request) -> Answer:
        if request.method == "POST":
            self.sessions.clear()
        return super().login(request)


class Forged(Members):
    """A25: the form's token is refused by every other replica."""

    def login(self, request: Request) -> Answer:
        if request.method == "POST" and self.count == 0:
            self.count += 1
            return Answer("<h1>403</h1>CSRF verification failed", 403)
        return super().login(request)


class Rotating(Members):
    """A20: each visit makes a new id and ends the old one at once."""

    is_graceful = False

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.old: dict[str, str] = {}

    def page(self, request: Request) -> Answer:
        with self.lock:
            found = super().page(request)
            session_id = request.cookies.get("sid", "")
            if session_id in self.sessions:
                self.count += 1
                new = f"secret-session-number-{self.count:04d}"
                self.sessions[new] = self.sessions[session_id]
                if not self.is_graceful:
                    del self.sessions[session_id]
                found.headers.append(("set-cookie", self.cookie(new)))
            return found


class RotatingWithGrace(Rotating):
    """The old id lives on for a while."""

    is_graceful = True


class OtherApp(Members):
    """A11: another part of the site sets a cookie of the same name."""

    def page(self, request: Request) -> Answer:
        if request.path.startswith("/other"):
            return Answer("other", headers=[("set-cookie", self.cookie("secret-session-of-the-other-app"))])
        return super().page(request)


class Lagging(Members):
    """S7: a session cannot be read for a moment after it was written."""

    lag_s = 0.15

    def __init__(self) -> None:
        super().__init__()
        self.written: dict[str, float] = {}
        self.turn = itertools.count()

    def cookie(self, session_id: str) -> str:
        self.written[session_id] = time.monotonic()
        return super().cookie(session_id)

    def known(self, request: Request) -> str | None:
        written_s = self.written.get(request.cookies.get("sid", ""), 0.0)
        is_behind = time.monotonic() - written_s < self.lag_s
        return None if is_behind else super().known(request)


class FullStore(Members):
    """S2: logins end in an error."""

    def login(self, request: Request) -> Answer:
        return Answer(LOGIN_FORM) if request.method == "GET" else Answer("OOM", 500)


class TwoScopes(Members):
    """A12: an old cookie for the path of the page lives beside the new one."""

    def login(self, request: Request) -> Answer:
        found = super().login(request)
        if found.status == 303:
            found.headers.insert(
                0, ("set-cookie", "sid=secret-session-of-old-times; Path=/; Domain=127.0.0.1")
            )
        return found


class Headers(Members):
    """A18: the cookies are too large together."""

    def login(self, request: Request) -> Answer:
        found = super().login(request)
        if found.status == 303:
            found.headers += [("set-cookie", f"data{number}=" + "y" * 3000) for number in range(3)]
        return found

    def page(self, request: Request) -> Answer:
        if len(request.headers.get("cookie", "")) > 8192:
            return Answer("Request Header Or Cookie Too Large", 431)
        return super().page(request)


class Odd(Replicas):
    """S8: one replica of three, which says its name, looks for sessions elsewhere."""

    def page(self, request: Request) -> Answer:
        self.here = self.replica()
        session_id = request.cookies.get("sid", "")
        is_odds = session_id in self.sessions and self.homes.get(session_id) == 2
        is_known = session_id in self.sessions and (self.here == 2) == is_odds
        found = super().page(request if is_known else Request("GET", "/", {}, {}))
        found.headers.append(("x-served-by", f"web{self.here}"))
        return found

    def __init__(self) -> None:
        super().__init__()
        self.homes: dict[str, int] = {}

    def cookie(self, session_id: str) -> str:
        self.homes[session_id] = self.replica()
        return super().cookie(session_id)


def flask_like(session_id: str) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"user": session_id}, separators=(",", ":")).encode())
    return f"{payload.decode().rstrip('=')}.ZUv6Qg.abcdefghijklmnopqrstuvwxyzA"


FAULTS: list[tuple[type[Members], str]] = [
    (Memory, "A1"),
    (DestructiveMemory, "A1"),
    (Keys, "A3"),
    (Flushing, "A7"),
    (Latent, "L2"),
    (CachedPage, "B1"),
    (SharedId, "B2"),
    (NarrowPath, "A13"),
    (NoneWithoutSecure, "A16"),
    (Large, "A17"),
    (Strict, "A15"),
    (Bound, "A24"),
    (OneSession, "A26"),
    (Forged, "A25"),
    (Rotating, "A20"),
    (OtherApp, "A11"),
    (Lagging, "S7"),
    (FullStore, "S2"),
    (Headers, "A18"),
    (Odd, "S8"),
]


def run(site: SmallSite, members: Members, **more: object) -> Verdict:
    site.answer = members
    way = FormLogin(url=f"{site.url}login", username="ann", password="correct-horse")
    also = (f"{site.url}other",) if isinstance(members, OtherApp) else ()
    plan = Plan(url=site.url, way=way, also=also, counts=FEWER, settles_s=0.3, **more)  # type: ignore[arg-type]
    observer = Observer(Digest(), started_s=time.monotonic(), username="ann")
    client = Client(Scope(site.url), limits=Limits(300, None, 16))
    return judge(asyncio.run(examine(plan, client, observer)))


def reports(verdict: Verdict) -> str:
    """Return every form of the report in one text."""
    console = Console(width=160, force_terminal=False)
    with console.capture() as capture:
        console.print(text.render(verdict, took_s=1.0, is_verbose=True))
    forms = [json.dumps(as_json.render(verdict)), json.dumps(sarif.render(verdict))]
    return "\n".join([capture.get(), junit.render(verdict, took_s=1.0), *forms])


@pytest.mark.parametrize(("fault", "rule"), FAULTS, ids=[f"{rule}-{kind.__name__}" for kind, rule in FAULTS])
def test_the_cause_is_found_and_nothing_secret_is_told(
    site: SmallSite, fault: type[Members], rule: str
) -> None:
    members = fault()
    verdict = run(site, members)
    assert verdict.findings, verdict.reason
    assert verdict.findings[0].rule == rule
    assert verdict.evidence.used <= 300
    said = reports(verdict)
    for value in (*members.sessions, "secret-s", "correct-horse", "yyyyyy"):
        assert value not in said


@pytest.mark.parametrize("kind", [Well, RotatingWithGrace])
def test_a_well_site_is_ok(site: SmallSite, kind: type[Members]) -> None:
    verdict = run(site, kind())
    assert verdict.name == "ok", verdict.reason
    assert not [each for each in verdict.findings if each.severity is not Severity.NOTE]
    assert verdict.bounds is not None
    assert verdict.bounds.loss < 0.15
    assert {"A1", "A3", "L1"} <= set(verdict.ruled_out) or verdict.evidence.rotating


def test_a_session_that_is_used_and_one_that_is_not(site: SmallSite) -> None:
    class ShortLived(Members):
        def cookie(self, session_id: str) -> str:
            return f"sid={session_id}; Path=/; Max-Age=1"

    verdict = run(site, ShortLived(), idle_s=2.5)
    assert "A29" in {each.rule for each in verdict.findings}


def test_a_deploy_under_watch(site: SmallSite) -> None:
    members = Members()
    original = members.page

    def page(request: Request) -> Answer:
        # The fourth login's session is the watched one; after a few visits everything is forgotten.
        if members.count == 3 and request.cookies.get("sid") == "secret-session-number-0003":
            visits.append(request)
            if len(visits) == 4:
                members.sessions.clear()
        return original(request)

    visits: list[Request] = []
    members.page = page  # type: ignore[method-assign]
    verdict = run(site, members, watch_s=5.0)
    assert verdict.findings[0].rule == "S3"
