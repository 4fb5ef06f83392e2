"""Evidence as tests write it: sequences of `.`, `X` and `?`."""

from __future__ import annotations

from typing import Any

from limpet.doctor.evidence import (
    Arm,
    ArmKind,
    CookieFact,
    CookieReading,
    CookieRole,
    Evidence,
    Login,
    Outcome,
    Visit,
)

OUTCOMES = {".": Outcome.IN, "X": Outcome.OUT, "?": Outcome.NEITHER}
LONG_IN = "." * 16

FLASK = CookieFact(
    name="session",
    digest="0a0a0a0a",
    size_bytes=120,
    path="/",
    is_http_only=True,
    same_site="lax",
    reading=CookieReading(product="Flask", role=CookieRole.SESSION, is_signed_data=True),
)
OPAQUE = CookieFact(
    name="sid",
    digest="1b1b1b1b",
    size_bytes=40,
    path="/",
    is_http_only=True,
    same_site="lax",
    reading=CookieReading(product="Express", role=CookieRole.SESSION),
)


def arm(
    kind: str, sequence: str, *, login: int = 1, replicas: str = "", step_s: float = 1.0, **more: Any
) -> Arm:
    """Return an arm whose visits had these outcomes, one per `step_s`, on these replicas."""
    visits = tuple(
        Visit(
            at_s=number * step_s,
            since_login_s=number * step_s,
            outcome=OUTCOMES[sign],
            replica=replicas[number] if replicas else "",
            **more,
        )
        for number, sign in enumerate(sequence)
    )
    return Arm(kind=ArmKind(kind), login=login, visits=visits)


def seen(*arms: Arm, cookie: CookieFact = OPAQUE, **more: Any) -> Evidence:
    """Return the evidence of a run with these arms, whose logins set one cookie."""
    numbers = sorted({each.login for each in arms if each.login} or {1})
    logins = tuple(Login(number=number, cookies=(cookie,), auth=(cookie.name,)) for number in numbers)
    return Evidence(**{"oracle": "the word logout", "logins": logins, "arms": arms, **more})
