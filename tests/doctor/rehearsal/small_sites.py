"""Small sites with a login, each with one way to keep sessions; run as `small_sites:NAME()`."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from pathlib import Path
from urllib.parse import parse_qs

import redis

FORM = '<form method="post" action="/login"><input name="user"><input type="password" name="word"></form>'
HTML = [("Content-Type", "text/html")]


class Site:
    """GET / greets, POST /login logs in with the password `sesame`."""

    cookie = "sid"

    def __init__(self, sessions):
        self.sessions = sessions

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"] == "/login" and environ["REQUEST_METHOD"] == "POST":
            return self.login(environ, start_response)
        name = self.sessions.find(cookies(environ).get(self.cookie, ""))
        start_response("200 OK", HTML)
        return [f"<p>Hello {name}</p>".encode() if name else f"<p>Please log in</p>{FORM}".encode()]

    def login(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        given = parse_qs(body.decode())
        if given.get("word") != ["sesame"]:
            start_response("403 Forbidden", HTML)
            return [b"<p>wrong</p>"]
        headers = [("Location", "/")]
        if self.may_set_cookie(environ):
            headers += self.begin(given["user"][0])
        start_response("303 See Other", headers)
        return [b""]

    def begin(self, name):
        value = self.sessions.begin(name)
        return [("Set-Cookie", f"{self.cookie}={value}; Path=/; HttpOnly; SameSite=Lax")]

    def may_set_cookie(self, environ):
        return True


class Memory:
    def __init__(self):
        self.names = {}

    def begin(self, name):
        key = secrets.token_hex(8)
        self.names[key] = name
        return key

    def find(self, cookie):
        return self.names.get(cookie)


class Folder:
    """Files that every process reads."""

    def __init__(self):
        self.folder = Path(os.environ["SITE_FOLDER"])

    def begin(self, name):
        key = secrets.token_hex(8)
        self.put(key, name)
        return key

    def put(self, key, name):
        (self.folder / f"s-{key}").write_text(name)

    def end_all(self, name):
        for path in self.folder.glob("s-*"):
            path.unlink(missing_ok=True)

    def find(self, cookie):
        path = self.folder / f"s-{cookie}"
        try:
            return path.read_text() if cookie.isalnum() else None
        except FileNotFoundError:
            return None


class Signed:
    """Name and time, signed; a time in the future is refused."""

    def __init__(self, key):
        self.key = key

    def sign(self, text):
        key = self.key() if callable(self.key) else self.key
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()

    def begin(self, name):
        text = f"{name}.{int(time.time())}"
        return f"{text}.{self.sign(text)}"

    def find(self, cookie):
        text, _, signature = cookie.rpartition(".")
        name, _, moment = text.rpartition(".")
        if not name or not hmac.compare_digest(signature, self.sign(text)) or int(moment) > time.time() + 1:
            return None
        return name


class HttpsOnly(Site):
    def may_set_cookie(self, environ):
        return environ["wsgi.url_scheme"] == "https"


OWN_KEY = secrets.token_bytes(16)
SESSIONS = {}


class Renewing(Site):
    """A short session, and a token that is good for one more; a second use of it ends everything."""

    token = "remember_token"

    def __init__(self, sessions, *, grace):
        super().__init__(sessions)
        self.grace = grace

    def __call__(self, environ, start_response):
        name = self.sessions.find(cookies(environ).get(self.cookie, ""))
        token = cookies(environ).get(self.token, "")
        if environ["REQUEST_METHOD"] == "POST" or name or not token:
            return super().__call__(environ, start_response)
        name, is_used = self.sessions.find(token), self.sessions.find(f"{token}used")
        if not name or (is_used and not self.grace):
            if name:
                self.sessions.end_all(name)
            ends = [("Set-Cookie", f"{each}=; Max-Age=0; Path=/") for each in (self.cookie, self.token)]
            start_response("200 OK", [*HTML, *ends])
            return [f"<p>Please log in</p>{FORM}".encode()]
        self.sessions.put(f"{token}used", name)
        start_response("200 OK", [*HTML, *self.begin(name)])
        return [f"<p>Hello {name}</p>".encode()]

    def begin(self, name):
        return [
            ("Set-Cookie", f"{self.cookie}={self.sessions.begin(name)}; Path=/"),
            ("Set-Cookie", f"{self.token}={self.sessions.begin(name)}; Path=/; Max-Age=86400"),
        ]


class Refreshing(Renewing):
    token = "refresh_token"


class OneDevice(Folder):
    def begin(self, name):
        self.end_all(name)
        return super().begin(name)


class InValkey:
    """Names in the store that SITE_STORE has the address of."""

    def __init__(self):
        self.client = redis.Redis.from_url(os.environ["SITE_STORE"], socket_timeout=2)

    def begin(self, name):
        key = secrets.token_hex(8)
        self.client.set(key, name)
        return key

    def find(self, cookie):
        name = self.client.get(cookie) if cookie else None
        return name.decode() if name else None


class Forgetful(Site):
    """Takes an error of the store for a session that is not there, and deletes the cookie."""

    def __call__(self, environ, start_response):
        try:
            return super().__call__(environ, start_response)
        except redis.RedisError:
            start_response("200 OK", [*HTML, ("Set-Cookie", "sid=; Max-Age=0; Path=/")])
            return [f"<p>Please log in</p>{FORM}".encode()]


class Honest(Site):
    def __call__(self, environ, start_response):
        try:
            return super().__call__(environ, start_response)
        except redis.RedisError:
            start_response("503 Service Unavailable", HTML)
            return [b"<p>Come back soon</p>"]


def remembering():
    return Renewing(Folder(), grace=False)


def refreshing():
    return Refreshing(Folder(), grace=False)


def with_grace():
    return Renewing(Folder(), grace=True)


def one_device():
    return Site(OneDevice())


def forgetful():
    return Forgetful(InValkey())


def honest():
    return Honest(InValkey())


def memory():
    kept = Memory()
    kept.names = SESSIONS
    return Site(kept)


def own_secret():
    return Site(Signed(OWN_KEY))


def shared():
    return Site(Folder())


def flushed_at_start():
    for path in Path(os.environ["SITE_FOLDER"]).glob("s-*"):
        path.unlink(missing_ok=True)
    return Site(Folder())


def https_only():
    return HttpsOnly(Folder())


def strict_clock():
    return Site(Signed(b"the same everywhere"))


def new_secret_at_start():
    # All processes read one file, and each start writes another key into it.
    path = Path(os.environ["SITE_FOLDER"]) / "key"
    path.write_bytes(secrets.token_bytes(16))
    site = Site(Signed(path.read_bytes))
    type(site).secret_key = property(lambda self: path.read_bytes())
    return site


class Renamed(Site):
    @property
    def cookie(self):
        return (self.sessions.folder / "name").read_text()


def renamed_at_start():
    site = Renamed(Folder())
    path = site.sessions.folder / "name"
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text(f"sid-{secrets.token_hex(4)}")
    new.replace(path)  # in one step: the others read it meanwhile
    return site


def broken():
    raise RuntimeError("no database")


def cookies(environ):
    pairs = (part.strip().partition("=") for part in environ.get("HTTP_COOKIE", "").split(";"))
    return {name: value for name, _, value in pairs}


def ann():
    yield {"username": "ann", "password": "sesame"}
    (Path(os.environ["SITE_FOLDER"]) / "cleaned").touch()
