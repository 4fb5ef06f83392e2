"""The table of faults: each cause as a site that has it, and what the doctor has to call it.

It is in benchmarks/ because the benchmark runs all of it; tests/doctor/faults runs one seed of a part.
A site is a class of `flask_sites` (or an app of `fastapi_sites`) on three replicas behind HAProxy,
which sends each request to a random one. `front` is HAProxy's configuration where the cause is its own.
"""

from __future__ import annotations

from dataclasses import dataclass

STICKY = "cookie SERVERID insert indirect nocache"
_CDN = "http-response set-header Via '1.1 a.cloudfront.net (CloudFront)'"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A site.

    Attributes:
        rule: the cause that has to be named first; "" for a well site.
        site: what it runs.
        front: lines of HAProxy's configuration, `balance` among them if it is not by chance.
        mode: "lint", "default" or "idle".
        stack: "flask" or "fastapi".
        is_named: whether answers say which replica they are from.
        settles_s: how long after a login its youth is over.
        idle_s: how long a session is left alone.
    """

    name: str
    rule: str
    site: str
    front: tuple[str, ...] = ()
    mode: str = "default"
    stack: str = "flask"
    is_named: bool = False
    settles_s: float = 0.3
    idle_s: float = 0.0
    also: str = ""


def _fault(name: str, rule: str, site: str, *front: str, **more: object) -> Fault:
    return Fault(name=name, rule=rule, site=site, front=front, **more)  # type: ignore[arg-type]


FAULTS = (
    _fault("memory", "A1", "Memory"),
    _fault("memory, a new id on a miss", "A1", "MemoryNewId"),
    _fault("memory behind a sticky balancer", "L2", "Memory", STICKY),
    _fault("a key per process (Flask)", "A3", "OwnKey"),
    _fault("a key per process (FastAPI)", "A3", "own_key", stack="fastapi"),
    _fault("one replica with another key", "A6", "OddKey", is_named=True),
    _fault("one replica with another store", "S8", "OddStore", is_named=True),
    _fault("a mismatch ends the session", "A7", "Flushing"),
    _fault("rotation without grace", "A20", "RotatingAtOnce"),
    _fault("a copy of the store that lags", "S7", "Lagging", settles_s=1.0),
    _fault("every other session is lost", "S10", "SomeLogins"),
    _fault("a store that is full", "S2", "FullStore"),
    _fault("another app, the same cookie", "A11", "OtherApp", also="other"),
    _fault("a path that is too narrow", "A13", "NarrowPath", mode="lint"),
    _fault("SameSite=None without Secure", "A16", "NoneWithoutSecure", mode="lint"),
    _fault("__Host- without Secure", "A16", "SecureWithoutTls", mode="lint"),
    _fault("a cookie too large", "A17", "Large", mode="lint"),
    _fault("cookies too large together", "A18", "ManyCookies"),
    _fault("SameSite=Strict", "A15", "Strict", mode="lint"),
    _fault("Expires alone, and soon", "A10", "ShortExpires", mode="lint"),
    _fault("a login by form_post", "A14", "FormPost", mode="lint"),
    _fault("Partitioned and not", "B7", "Partitioned", mode="lint"),
    _fault("bound to the user agent", "A24", "BoundToAgent"),
    _fault("one session per user", "A26", "OneSession"),
    _fault("a form's token of one replica", "A25", "ForeignToken"),
    _fault("a link that logs out", "A27", "LogoutLink", mode="lint"),
    _fault("a page that is kept", "B3", "KeptPage", mode="lint"),
    _fault("two versions by turns", "L21", "Versions"),
    _fault("a key ring per server", "A8", "KeyRings", mode="lint"),
    _fault("a CDN that strips cookies", "L15", "Shared", _CDN, "http-request del-header Cookie"),
    _fault("a sticky cookie of one path", "L10", "Shared",
           "http-response add-header Set-Cookie 'SERVERID=A; path=/login'", mode="lint"),
    _fault("two balancers, one cookie", "L12", "Shared",
           "http-response add-header Set-Cookie 'SERVERID=A; path=/'",
           "http-response add-header Set-Cookie 'SERVERID=x1; path=/'", mode="lint"),
    _fault("nothing renews the cookie", "A29", "ShortCookie", mode="idle", idle_s=2.5),
)  # fmt: skip

CONTROLS = (
    _fault("a shared store", "", "Shared"),
    _fault("a signed cookie", "", "Signed"),
    _fault("a signed cookie (FastAPI)", "", "one_key", stack="fastapi"),
    _fault("rotation with grace", "", "Rotating"),
    _fault("sticky with a shared store", "", "Shared", STICKY),
    _fault("an A/B canary", "", "Canary"),
)
