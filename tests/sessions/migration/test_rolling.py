"""Sticky servers are replaced one by one by such with limpet's sessions, and back: nobody is out."""

from __future__ import annotations

import ssl
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import old_apps
from flask import Flask
from old_apps import CART, SECRET_KEY
from werkzeug.serving import make_server

from limpet.sessions.flask import LimpetSessions
from limpet.sessions.migration import FlaskCookie

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

USERS = [f"user{number}" for number in range(12)]
TIMEOUT_S = 30.0


class Servers:
    """Servers in threads, by name."""

    def __init__(self, stack: ExitStack, make: dict[str, Callable[[], Flask]]) -> None:
        self.urls: dict[str, str] = {}
        for name, make_app in make.items():
            app = make_app()
            app.add_url_rule("/", "root", lambda: "ok")
            app.after_request(lambda response, name=name: self._signed(response, name))
            server = make_server("127.0.0.1", 0, app, threaded=True)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(server.server_close)
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            self.urls[name] = f"http://127.0.0.1:{server.server_port}"

    def _signed(self, response: Any, name: str) -> Any:
        response.headers["X-Server"] = name
        return response


def new_app(folder: Path) -> Flask:
    app = Flask(__name__)
    app.secret_key = SECRET_KEY
    app.config["SESSION_COOKIE_NAME"] = "limpet_session"
    LimpetSessions(app, store=f"sqlite:///{folder}/sessions.db", old=[FlaskCookie(SECRET_KEY)], deadline_s=10)
    return old_apps.add_flask_views(app)


class Site:
    """The balancer, and a browser for each user."""

    def __init__(self, running: Any, servers: Servers, stack: ExitStack) -> None:
        self._targets, self._servers = f"http://{running.admin}/targets/web", servers
        context = ssl.create_default_context()  # making one for each is what takes time
        self._stranger, *others = [
            stack.enter_context(httpx.Client(base_url=running.url, timeout=TIMEOUT_S, verify=context))
            for _ in range(1 + len(USERS))
        ]
        self.browsers = dict(zip(USERS, others, strict=True))
        self._in = set(USERS)
        self.seen: set[str] = set()

    def add(self, *names: str) -> None:
        for name in names:
            body = {"address": self._servers.urls[name], "name": name}
            self._stranger.post(self._targets, json=body).raise_for_status()

    def remove(self, *names: str) -> None:
        for name in names:
            self._stranger.request("DELETE", f"{self._targets}/{name}", json={}).raise_for_status()

    def wait_for(self, *names: str) -> None:
        """Wait until strangers are sent to all of these servers and no other."""
        latest: list[str] = []
        end_s = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end_s:
            self._stranger.cookies.clear()
            latest = [*latest, self._stranger.get("/").headers["x-server"]][-3 * len(names) :]
            if len(latest) == 3 * len(names) and set(latest) == set(names):
                return
        raise AssertionError(latest)

    def everybody(self) -> None:
        """Every user opens a page, twice."""
        self.seen = set()
        for user, browser in [*self.browsers.items()] * 2:
            answer = browser.get("/state")
            assert answer.status_code == 200
            expected = {"user": user, "cart": CART} if user in self._in else {"user": None, "cart": None}
            assert answer.json() == expected, answer.headers["x-server"]
            self.seen.add(answer.headers["x-server"])

    def log_out(self, user: str) -> None:
        self.browsers[user].get("/logout")
        self._in.remove(user)


def test_servers_are_replaced_one_by_one_and_back(limpet: Callable[..., Any], tmp_path: Path) -> None:
    with ExitStack() as stack:
        names = dict.fromkeys(("old1", "old2", "old3", "old4"), old_apps.flask_app)
        names |= {name: lambda: new_app(tmp_path) for name in ("new1", "new2")}
        servers = Servers(stack, names)
        targets = [f'{{ address = "{servers.urls[name]}", name = "{name}" }}' for name in ("old1", "old2")]
        text = f"[target_groups.web]\ntargets = [{', '.join(targets)}]\nhealth_check.interval_s = 0.1\n"
        (tmp_path / "limpet.toml").write_text(text + '[target_groups.web.stickiness]\ntype = "lb_cookie"\n')
        running = limpet("up", folder=tmp_path)
        site = Site(running, servers, stack)
        for user, browser in site.browsers.items():
            browser.get(f"/login/{user}")
        site.everybody()
        site.add("new1")
        site.wait_for("old1", "old2", "new1")
        site.everybody()
        assert site.seen == {"old1", "old2"}  # nobody is moved without need
        site.remove("old1")
        site.add("new2")
        site.wait_for("old2", "new1", "new2")
        site.everybody()
        site.log_out(USERS[0])
        site.remove("old2")
        site.wait_for("new1", "new2")
        site.everybody()
        assert site.seen == {"new1", "new2"}
        site.log_out(USERS[1])
        site.add("old3", "old4")
        site.wait_for("new1", "new2", "old3", "old4")
        site.remove("new1", "new2")
        site.wait_for("old3", "old4")
        site.everybody()
        assert site.seen == {"old3", "old4"}
