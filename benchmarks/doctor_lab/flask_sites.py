"""Sites with a login, each with one fault or none; one gunicorn serves all, by the header X-Site.

A site is a class that says what it does differently; `SITES` names them. Three processes of this
module are three replicas: `REPLICA` is 0, 1 or 2, and what a site keeps in its own memory or makes at
import differs between them. What replicas share is in Valkey, at SITE_STORE.
"""

# ruff: noqa: RUF012, ARG002 - a site is what it declares; hooks have their arguments
from __future__ import annotations

import base64
import json
import os
import secrets
import time
import uuid
from typing import TYPE_CHECKING, Any

import redis
from flask import Flask, Response, make_response, redirect, request
from itsdangerous import BadSignature, URLSafeTimedSerializer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

REPLICA = int(os.environ["SITE_REPLICA"])
STORE = redis.Redis.from_url(os.environ["SITE_STORE"], decode_responses=True)
OWN_KEY = secrets.token_hex(16)
PASSWORD = "correct-horse"
FORM = (
    '<form method="post" action="/login"><input type="hidden" name="token" value="{token}">'
    '<input name="username"><input type="password" name="password"></form>'
)


class Site:
    """Sessions in Valkey, which every replica knows: nothing is wrong."""

    cookie: dict[str, Any] = {"path": "/", "httponly": True, "samesite": "Lax"}
    cookie_name = "sid"
    page_headers: dict[str, str] = {"Cache-Control": "private, no-store"}
    lifetime_s = 600
    head = ""
    logged_in = "<form method=post action=/logout></form>"

    def __init__(self) -> None:
        self.name = type(self).__name__.lower()

    # -- sessions

    def key(self, session_id: str) -> str:
        return f"{self.name}:{session_id}"

    def new_id(self) -> str:
        return secrets.token_hex(16)

    def begin(self, username: str) -> str:
        session_id = self.new_id()
        self.save(session_id, username)
        return session_id

    def save(self, session_id: str, username: str) -> None:
        STORE.set(self.key(session_id), username, px=int(self.lifetime_s * 1000))

    def find(self, session_id: str) -> str | None:
        return STORE.get(self.key(session_id)) if session_id else None

    def given(self) -> str:
        return request.cookies.get(self.cookie_name, "")

    def set(self, response: Response, session_id: str) -> None:
        response.set_cookie(self.cookie_name, session_id, **self.cookie)

    # -- pages

    def show(self) -> Response:
        name = self.find(self.given())
        body = f"Hello {name}{self.logged_in}" if name else "Welcome. <a href='/login'>Log in</a>"
        response = make_response(f"<title>Shop</title>{self.head}<p>{body}</p>")
        response.headers.update(self.page_headers)
        if name:
            self.greeted(response, name)
        else:
            self.stranger(response)
        return response

    def greeted(self, response: Response, name: str) -> None:
        """Add to the page of somebody logged in."""

    def stranger(self, response: Response) -> None:
        """Add to the page of somebody else."""

    def token(self) -> str:
        return "t1"

    def enter(self) -> Response:
        if request.method == "GET":
            return make_response(FORM.format(token=self.token()))
        if request.form["password"] != PASSWORD or not self.accepts(request.form["token"]):
            return make_response(("<h1>Forbidden</h1>CSRF verification failed", 403))
        response = redirect("/", 303)
        self.welcome(response, self.begin(request.form["username"]))
        return response

    def accepts(self, token: str) -> bool:
        return token == "t1"

    def welcome(self, response: Response, session_id: str) -> None:
        self.set(response, session_id)

    def other(self) -> Response:
        return make_response("the other app")


# -- well ones


class Shared(Site):
    pass


class Signed(Site):
    """All is in a signed cookie, with one key; as Flask's own sessions are."""

    cookie_name = "session"

    def serializer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer("one key", salt="cookie-session")

    def begin(self, username: str) -> str:
        return str(self.serializer().dumps({"user": username, "mark": self.new_id()}))

    def find(self, session_id: str) -> str | None:
        try:
            return str(self.serializer().loads(session_id)["user"])
        except BadSignature:
            return None


class Rotating(Site):
    """Each visit makes a new id; the old one lives on for a while, or does not."""

    grace_s = 60.0

    def greeted(self, response: Response, name: str) -> None:
        old, new = self.given(), self.begin(name)
        if self.grace_s:
            STORE.pexpire(self.key(old), int(self.grace_s * 1000))
        else:
            STORE.delete(self.key(old))
        self.set(response, new)


class Canary(Site):
    """Two versions of the site by turns for a browser: a cookie of an experiment decides for good."""

    def greeted(self, response: Response, name: str) -> None:
        self.stranger(response)

    def stranger(self, response: Response) -> None:
        version = request.cookies.get("experiment", "") or f"group-{'ab'[REPLICA % 2]}"
        response.set_data(
            response.get_data(as_text=True) + f'<script src="/app.{version[-1] * 8}.js"></script>'
        )
        if "experiment" not in request.cookies:
            response.set_cookie("experiment", version, max_age=86400)


# -- sessions that not every replica knows


class Memory(Site):
    """A1: each replica knows those who logged in there."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, str] = {}

    def save(self, session_id: str, username: str) -> None:
        self.names[session_id] = username

    def find(self, session_id: str) -> str | None:
        return self.names.get(session_id)


class MemoryNewId(Memory):
    """A1, and who is not known gets a new id."""

    def stranger(self, response: Response) -> None:
        self.set(response, self.new_id())


class OwnKey(Signed):
    """A3: each process made its own key."""

    def serializer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(OWN_KEY, salt="cookie-session")


class OddKey(Signed):
    """A6: one replica was deployed with another key."""

    def serializer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer("old key" if REPLICA == 2 else "one key", salt="cookie-session")


class OddStore(Site):
    """S8: one replica has another store."""

    def key(self, session_id: str) -> str:
        return f"{super().key(session_id)}{':elsewhere' if REPLICA == 2 else ''}"


class Flushing(Site):
    """A7: a replica with another key takes the session for forged, and ends it."""

    def find(self, session_id: str) -> str | None:
        found = super().find(session_id)
        if found and REPLICA == 0:
            STORE.delete(self.key(session_id))
            return None
        return found


class Lagging(Site):
    """S7: two replicas read a copy of the store that is behind."""

    lag_s = 0.5

    def save(self, session_id: str, username: str) -> None:
        super().save(session_id, username)
        STORE.set(f"{self.key(session_id)}:copied", time.time() + self.lag_s, ex=60)

    def find(self, session_id: str) -> str | None:
        copied_s = float(STORE.get(f"{self.key(session_id)}:copied") or 0)
        return None if REPLICA and time.time() < copied_s else super().find(session_id)


class SomeLogins(Site):
    """S10: every other session falls to a node of the cluster that the client does not reach."""

    def begin(self, username: str) -> str:
        session_id = super().begin(username)
        if STORE.incr(f"{self.name}:count") % 2:
            STORE.delete(self.key(session_id))
        return session_id


# -- cookies that browsers or others lose


class NarrowPath(Site):
    """A13."""

    cookie = {**Site.cookie, "path": "/login"}


class NoneWithoutSecure(Site):
    """A16."""

    cookie = {**Site.cookie, "samesite": "None"}


class SecureWithoutTls(Site):
    """A16: Secure on a site that is served over HTTP, under a name with a prefix that demands it."""

    cookie_name = "__Host-sid"


class Large(Site):
    """A17."""

    def new_id(self) -> str:
        return super().new_id() + "x" * 4200


class ManyCookies(Site):
    """A18: too large for gunicorn together."""

    def welcome(self, response: Response, session_id: str) -> None:
        self.set(response, session_id)
        for number in range(3):
            response.set_cookie(f"data{number}", "y" * 3000)


class Strict(Site):
    """A15."""

    cookie = {**Site.cookie, "samesite": "Strict"}


class OtherApp(Site):
    """A11: another part of the site sets a cookie of the same name."""

    def other(self) -> Response:
        response = make_response("the other app")
        self.set(response, self.new_id())
        return response


class ShortExpires(Site):
    """A10: Expires alone, and soon: it is compared with the user's clock."""

    def set(self, response: Response, session_id: str) -> None:
        response.set_cookie(self.cookie_name, session_id, expires=time.time() + 300, **self.cookie)


class FormPost(Site):
    """A14: the login of another site comes back by a POST."""

    head = (
        '<form method="post" action="https://idp.example/saml">'
        '<input type="hidden" name="SAMLRequest" value="a"></form>'
    )


class Partitioned(Site):
    """B7: set with Partitioned and without."""

    def stranger(self, response: Response) -> None:
        response.headers.add(
            "Set-Cookie", "seen=since-this-morning; Path=/; Secure; SameSite=None; Partitioned"
        )
        response.headers.add("Set-Cookie", "seen=since-this-morning; Path=/; Secure; SameSite=None")


# -- what apps do to their users


class BoundToAgent(Site):
    """A24."""

    def find(self, session_id: str) -> str | None:
        return super().find(session_id) if "limpet" in request.headers["User-Agent"] else None


class OneSession(Site):
    """A26: a new login ends the others."""

    def begin(self, username: str) -> str:
        for key in STORE.scan_iter(f"{self.name}:*"):
            STORE.delete(key)
        return super().begin(username)


class ForeignToken(Site):
    """A25: a form's token is known to the replica that made it."""

    def token(self) -> str:
        return f"t{REPLICA}"

    def accepts(self, token: str) -> bool:
        return token == self.token()


class RotatingAtOnce(Rotating):
    """A20."""

    grace_s = 0.0


class LogoutLink(Site):
    """A27."""

    logged_in = "<a href='/logout'>Log out</a>"


class KeptPage(Site):
    """B3: the stranger's page may be kept by browsers."""

    page_headers = {"Cache-Control": "max-age=600"}


class Versions(Site):
    """L21: two versions of the site by turns."""

    def greeted(self, response: Response, name: str) -> None:
        version = "ab"[REPLICA % 2]
        if version == "b":
            response.set_data("<title>Shop</title><p>Welcome. <a href='/login'>Log in</a></p>")
        self.stranger(response)

    def stranger(self, response: Response) -> None:
        script = f'<script src="/app.{"ab"[REPLICA % 2] * 8}.js"></script>'
        response.set_data(response.get_data(as_text=True) + script)


class KeyRings(Site):
    """A8: cookies of ASP.NET name the key that sealed them; each server has its own."""

    def stranger(self, response: Response) -> None:
        key_id = uuid.UUID(int=REPLICA + 1).bytes_le
        sealed = base64.urlsafe_b64encode(b"\x09\xf0\xc9\xf0" + key_id + secrets.token_bytes(48))
        response.set_cookie(".AspNetCore.Antiforgery.w5W7x28NAIs", sealed.decode().rstrip("="))


# -- the store


class FullStore(Site):
    """S2: logins end in an error, as Valkey's out-of-memory does."""

    def save(self, session_id: str, username: str) -> None:
        full = redis.Redis.from_url(os.environ["SITE_FULL_STORE"])
        full.set(self.key(session_id), username + "x" * 4_000_000)


class ShortCookie(Site):
    """A29: nothing renews the cookie."""

    cookie = {**Site.cookie, "max_age": 1}


def _all(kind: type[Site]) -> Iterable[type[Site]]:
    for each in kind.__subclasses__():
        yield each
        yield from _all(each)


def _flask(site: Site) -> Flask:
    app = Flask(site.name)
    app.get("/")(site.show)
    app.route("/login", methods=["GET", "POST"])(site.enter)
    app.get("/other")(site.other)
    return app


SITES = {kind.__name__: _flask(kind()) for kind in set(_all(Site))}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Hand the request to the site that the front names."""
    found = SITES.get(environ.get("HTTP_X_SITE", ""))
    if found is None:
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"replica": REPLICA}).encode()]
    return found(environ, start_response)
