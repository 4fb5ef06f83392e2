"""What sessions tell the balancer, by every framework: only who asks is told, and nothing that is not so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from doors import who

from limpet.core.session_state import Floor, Moved, SessionState, format_floor, parse_state
from limpet.sessions import StoreUnavailableError
from limpet.sessions.stores.memory import MemoryStore

if TYPE_CHECKING:
    from doors import Door
    from sites import Answer, Browser

ASKED = {"limpet_floor": "0"}


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the store pass for one that other processes read."""
    monkeypatch.setattr(MemoryStore, "identity", "a store of the test")


def told(answer: Answer) -> SessionState:
    (value,) = answer.values("limpet-state")
    state = parse_state(value.encode())
    assert state is not None
    return state


def ask(browser: Browser, target: str, floor: int = 0, tag: str = "") -> SessionState:
    return told(browser.get(target, limpet_floor=format_floor(Floor(floor, tag))))


def test_nobody_who_does_not_ask_is_told(door: Door, shared: None) -> None:
    browser = door.browser()
    for target in ("/untouched", "/login/1", "/do/write", "/state", "/logout"):
        assert browser.get(target).values("limpet-state") == []


def test_memory_is_pinned(door: Door) -> None:
    browser = door.browser()
    assert browser.get("/untouched", **ASKED).values("limpet-state")[0].startswith("pinned; ")
    state = ask(browser, "/login/1")
    assert (state.is_portable, state.why, state.has_user) == (False, "memory", True)


def test_versions_grow_with_what_is_written(door: Door, shared: None) -> None:
    browser = door.browser()
    nobody = ask(browser, "/do/get")
    assert nobody._replace(fingerprint="") == SessionState(is_portable=True, version=0, has_user=False)
    assert len(nobody.fingerprint) == 16
    first = ask(browser, "/do/write")
    assert (first.version, first.has_user, first.is_portable) == (1, False, True)
    written = ask(browser, "/do/write", 1, first.tag)
    assert (written.version, written.tag) == (2, first.tag)
    assert ask(browser, "/do/get", 2, first.tag) == written
    login = ask(browser, "/login/1", 2, first.tag)
    assert login.has_user
    assert login.tag not in {"", first.tag}
    assert login.version is not None
    read = ask(browser, "/state", login.version, login.tag)
    assert (read.version, read.tag) == (login.version, login.tag)
    assert {nobody.fingerprint} == {each.fingerprint for each in (first, written, login)}
    assert door.sessions.events.behind == 0


def test_who_does_not_look_says_nothing_of_the_session(door: Door, shared: None) -> None:
    browser = door.browser()
    browser.get("/login/1")
    state = ask(browser, "/untouched")
    assert state.is_portable
    is_looked_at = door.framework == "flask-login"  # it looks into every session
    assert (state.version is not None, state.has_user) == (is_looked_at, True if is_looked_at else None)
    assert state.ended == ""


def test_ends_are_told(door: Door, shared: None) -> None:
    browser = door.browser()
    browser.get("/login/1")
    other = browser.twin()
    out = ask(browser, "/logout")
    assert (out.ended, out.has_user) == ("logout", False)
    late = ask(other, "/state")
    assert (late.ended, late.has_user, late.version, late.tag) == ("logout", False, 0, "")
    forged = ask(door.browser(session="1.nonsense"), "/state")
    assert forged.ended == "bad_signature"
    again = ask(browser, "/login/1")
    assert (again.ended, again.has_user) == ("", True)


def test_revoked_and_lost_sessions_are_told(door: Door, shared: None) -> None:
    browser = door.browser()
    browser.get("/login/1")
    door.sessions.revoke_user("1")
    assert ask(browser, "/state").ended == "revoked"
    browser.get("/login/2")
    door.store.lose_everything()
    assert ask(browser, "/state").ended == "lost"


def test_a_silent_store_pins(door: Door, shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = door.browser()
    browser.get("/login/1")

    def refuse(_store: Any, _operation: Any) -> Any:
        raise StoreUnavailableError("the test says so")

    monkeypatch.setattr(type(door.store), "run", refuse)
    answer = browser.get("/state", **ASKED)
    assert answer.status == 503
    assert told(answer) == SessionState(is_portable=False, why="store")


def test_a_pin_holds_until_it_is_taken_out(door: Door, shared: None) -> None:
    browser = door.browser()
    browser.get("/do/write")
    assert ask(browser, "/pin").why == "upload"
    for target in ("/do/get", "/untouched", "/do/write", "/login/1", "/state", "/untouched"):
        state = ask(browser, target)
        assert (state.is_portable, state.why) == (False, "upload"), target
    assert door.browser().get("/do/get", **ASKED).values("limpet-state")[0].startswith("portable")
    assert ask(browser, "/unpin").is_portable
    assert ask(browser, "/do/get").is_portable
    ask(browser, "/pin")
    assert ask(browser, "/logout").why in {"", "upload"}
    assert ask(browser, "/do/write").is_portable


def test_the_hook_is_told_of_a_move_before_the_app_runs(door: Door, shared: None) -> None:
    seen: list[Any] = []

    def hook(session: Any, moved: Moved) -> None:
        assert session.moved == moved
        seen.append((moved, session.get("n")))

    door.sessions.balancer.on_moved = hook
    browser = door.browser()
    browser.get("/do/write")
    browser.get("/untouched", limpet_moved="from=B; why=overload")  # not from the balancer: it asks nothing
    assert seen == []
    answer = browser.get("/untouched", **ASKED, limpet_moved="from=B; why=overload")
    assert seen == [(Moved("B", "overload"), 1)]
    assert "cookie" in [each.lower() for each in answer.values("vary")]


def test_a_hook_that_fails_ends_no_request(
    door: Door, shared: None, caplog: pytest.LogCaptureFixture
) -> None:
    def hook(_session: Any, _moved: Moved) -> None:
        raise RuntimeError("the hook of the test")

    door.sessions.balancer.on_moved = hook
    browser = door.browser()
    browser.get("/login/1", **ASKED, limpet_moved="from=B; why=drain")
    assert who(browser) == "1"
    assert "the hook of the test" in caplog.text


def test_an_async_hook_is_awaited_where_the_framework_is(
    door: Door, shared: None, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    async def hook(session: Any, _moved: Moved) -> None:
        await session.aload()
        seen.append(session.get("n"))

    door.sessions.balancer.on_moved = hook
    browser = door.browser()
    browser.get("/do/write")
    assert browser.get("/untouched", **ASKED, limpet_moved="from=B; why=drain").status == 200
    if door.framework in {"asgi", "django-async"}:
        assert seen == [1]
    else:
        assert "on_moved is async" in caplog.text


def test_lost_writes_are_counted_and_served(
    door: Door, shared: None, caplog: pytest.LogCaptureFixture
) -> None:
    browser = door.browser()
    tag = ask(browser, "/login/1").tag
    for _ in range(2):
        assert ask(browser, "/state", 1000, tag).has_user
    assert door.sessions.events.behind == 1
    assert len([record for record in caplog.records if "is behind" in record.getMessage()]) == 1
    # The floor of another session says nothing of this one.
    again = ask(browser, "/login/1", 1000, tag)
    assert ask(browser, "/state", 1000, tag).tag == again.tag != tag
    assert door.sessions.events.behind == 1


def test_floors_that_make_no_sense_are_none(door: Door, shared: None) -> None:
    browser = door.browser()
    for floor in ("", "-1", "9" * 19, "1e3", "x" * 1000, "7; s=zz", "7; s=00000000"):
        state = told(browser.get("/do/write", limpet_floor=floor))
        assert state.version is not None
    assert door.sessions.events.behind == 0
