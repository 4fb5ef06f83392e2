"""Attacks on the session layer, over every framework."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgpack
import pytest
from click.testing import CliRunner
from doors import SECRET, who

from limpet.cli import main
from limpet.sessions import (
    EndReason,
    OnUnknown,
    Policy,
    Sessions,
    StoreUnavailableError,
    UnsupportedValueError,
)
from limpet.sessions.codec import pack, unpack
from limpet.sessions.errors import UndecodableError
from limpet.sessions.operations import ListUser
from limpet.sessions.record import Meta, unpack_meta, unpack_stored
from limpet.sessions.session_id import SessionId
from limpet.sessions.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from doors import Door


def logged_in(door: Door, user: str = "1") -> Any:
    browser = door.browser()
    browser.get(f"/login/{user}")
    assert who(browser) == user
    return browser


def tampered(value: str) -> str:
    return value[:-3] + ("AAA" if value[-3:] != "AAA" else "BBB")


# Cookies from elsewhere: another path, a sibling domain.


@pytest.mark.parametrize("tossed", ["x", "", "1." + "A" * 123, "tampered", "of another secret"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_tossed_cookie_logs_nobody_out(door: Door, tossed: str, *, is_first: bool) -> None:
    own = logged_in(door).cookies[door.name]
    if tossed == "tampered":
        tossed = tampered(own)
    if tossed == "of another secret":
        other = Sessions("memory://", secret="an attacker's own secret")
        session = other.open(None)
        session.login("1")
        tossed = dict(other.save(session))["Set-Cookie"].partition("=")[2].partition(";")[0]
    pairs = [f"{door.name}={value}" for value in ((tossed, own) if is_first else (own, tossed))]
    for header in ("; ".join(pairs), "; ".join(["a=1", *pairs, "b=2"])):
        answer = door.raw("/state", header)
        assert answer.json()["user"] == "1"
        assert answer.values("set-cookie") == []


@pytest.mark.parametrize("is_first", [True, False])
def test_an_older_session_of_ours_does_not_win_either(door: Door, *, is_first: bool) -> None:
    attacker = logged_in(door, "2").cookies[door.name]
    door.clock.now_s += 1
    own = logged_in(door).cookies[door.name]
    values = (attacker, own) if is_first else (own, attacker)
    answer = door.raw("/state", "; ".join(f"{door.name}={value}" for value in values))
    assert answer.json()["user"] == "1"


def test_a_logout_ends_the_session_whatever_was_tossed(door: Door) -> None:
    own = logged_in(door).cookies[door.name]
    door.raw("/logout", f"{door.name}={own}; {door.name}=x")
    assert who(door.browser(session=own)) is None


def test_a_request_from_before_a_login_overwrites_nothing_that_the_login_wrote() -> None:
    sessions = Sessions("memory://", secret=SECRET)
    cookie = cookie_in(saved(sessions, None, lambda session: session.update(token="visitor's", cart=1)))
    attacker = sessions.open(cookie)
    assert attacker["token"] == "visitor's"

    def log_in(session: Any) -> None:
        session.login("ann")
        session.update(token="ann's", role="admin")

    new = cookie_in(saved(sessions, cookie, log_in))
    attacker.update(token="attacker's", role="none", cart=2)
    sessions.save(attacker)
    assert dict(sessions.open(new)) == {"token": "ann's", "role": "admin", "cart": 2}
    assert sessions.open(cookie).user_id is None


# Replay.


def test_nothing_of_a_session_comes_back_when_its_tombstones_are_gone(door: Door) -> None:
    door.reopen(policy=Policy(idle_s=7 * 86400, absolute_s=30 * 86400, renew_s=3600))
    browser = logged_in(door)
    shown = [browser.cookies[door.name]]
    for _ in range(3):
        door.clock.now_s += 3601
        browser.get("/do/write")
        browser.get("/state")
        shown.append(browser.cookies[door.name])
    assert len(set(shown)) >= 3
    browser.get("/logout")
    for _ in range(4):
        for value in shown:
            late = door.browser(session=value)
            late.get("/do/write")
            assert who(late) is None
            assert who(door.browser(session=value)) is None
        door.clock.now_s += 3700


def test_a_renewed_id_is_dead_after_the_grace(door: Door) -> None:
    door.reopen(policy=Policy(renew_s=60, grace_s=10))
    browser = logged_in(door)
    old = browser.twin()
    door.clock.now_s += 61
    browser.get("/state")
    browser.get("/state")  # the new cookie was shown
    assert who(old.twin()) == "1"
    door.clock.now_s += 11
    assert who(old.twin()) is None
    assert who(browser) == "1"


def test_a_revocation_between_renewal_and_its_first_use_holds(door: Door) -> None:
    door.reopen(policy=Policy(renew_s=60))
    browser = logged_in(door)
    old = browser.twin()
    door.clock.now_s += 61
    browser.get("/state")
    door.sessions.revoke_user("1")
    assert (who(old), who(browser)) == (None, None)


class SlowRevocation(MemoryStore):
    """Lets something happen after the list of a user's sessions was read."""

    meanwhile: Callable[[], Any] | None = None

    def run(self, operation: Any) -> Any:
        answer = super().run(operation)
        meanwhile, self.meanwhile = (
            self.meanwhile,
            None if isinstance(operation, ListUser) else self.meanwhile,
        )
        if meanwhile is not None and isinstance(operation, ListUser):
            meanwhile()
        return answer


def test_a_session_does_not_slip_away_from_its_revocation_by_getting_another_id() -> None:
    store = SlowRevocation()
    sessions = Sessions(store, secret=SECRET)
    session = sessions.open(None)
    session.login("ann")
    cookies = [cookie_in(sessions.save(session))]
    (listed,) = sessions.list_user("ann")

    def rotate() -> None:
        session = sessions.open(cookies[0])
        session.rotate()
        cookies.append(cookie_in(sessions.save(session)))

    store.meanwhile = rotate
    assert sessions.revoke_session("ann", listed.reference)
    assert len(cookies) == 2
    assert [sessions.open(each).user_id for each in cookies] == [None, None]
    assert sessions.events.ends[EndReason.REVOKED] == 1
    assert not sessions.revoke_session("ann", listed.reference)
    assert sessions.events.ends[EndReason.REVOKED] == 1


def cookie_in(headers: list[tuple[str, str]]) -> str:
    (line,) = [value for name, value in headers if name == "Set-Cookie"]
    return line.partition("=")[2].partition(";")[0]


@pytest.mark.parametrize(
    "end",
    [
        lambda sessions, _cookie: sessions.revoke_user("ann"),
        lambda sessions, _cookie: sessions.revoke_everyone(),
        lambda sessions, _cookie: sessions.revoke_session("ann", sessions.list_user("ann")[0].reference),
        lambda sessions, cookie: saved(sessions, cookie, lambda session: session.logout()),
        lambda sessions, cookie: saved(sessions, cookie, lambda session: session.rotate()),
    ],
)
def test_a_copy_for_outages_does_not_outlive_what_this_process_ended(end: Callable[..., Any]) -> None:
    store = SlowRevocation()
    sessions = Sessions(store, secret=SECRET, policy=Policy(on_unknown=OnUnknown.STALE))
    cookie = cookie_in(saved(sessions, None, lambda session: session.login("ann")))
    assert sessions.open(cookie, is_safe=True).user_id == "ann"
    end(sessions, cookie)

    def fail(_operation: Any) -> Any:
        raise ConnectionRefusedError

    store.run = fail  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailableError):
        _ = sessions.open(cookie, is_safe=True).user_id


def saved(sessions: Sessions, cookie: str | None, act: Callable[[Any], Any]) -> list[tuple[str, str]]:
    session = sessions.open(cookie)
    act(session)
    return sessions.save(session)


# Who is logged in.


@pytest.mark.parametrize("at_login", [42, "42", UUID(int=7), str(UUID(int=7))])
@pytest.mark.parametrize("form", [str, lambda text: int(text) if len(text) < 9 else UUID(text)])
def test_a_user_is_revoked_by_number_and_by_text(at_login: Any, form: Callable[[str], Any]) -> None:
    sessions = Sessions("memory://", secret=SECRET)
    cookies = []
    for _ in range(3):
        session = sessions.open(None)
        session.login(at_login)
        cookies.append(cookie_in(sessions.save(session)))
    user_id = form(str(at_login))
    listed = sessions.list_user(user_id)
    assert len(listed) == 3
    assert sessions.revoke_session(user_id, listed[0].reference)
    sessions.revoke_user(user_id)
    assert [sessions.open(each).user_id for each in cookies] == [None] * 3


@pytest.mark.parametrize("change", [lambda s: s.incr("user"), lambda s: s.add("user", "ann")])
def test_nobody_becomes_another_user_without_a_login(change: Callable[[Any], Any]) -> None:
    sessions = Sessions("memory://", secret=SECRET, user_field="user")
    with pytest.raises(ValueError, match="who is logged in"):
        change(sessions.open(None))


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(user="ann"),
        lambda s: s.setdefault("user", "ann"),
        lambda s: s.__setitem__("user", "ann"),
    ],
)
def test_every_way_to_set_the_users_field_is_a_login(change: Callable[[Any], Any]) -> None:
    sessions = Sessions("memory://", secret=SECRET, user_field="user")
    visitor = sessions.open(None)
    visitor["n"] = 1
    old = cookie_in(sessions.save(visitor))
    session = sessions.open(old)
    change(session)
    new = cookie_in(sessions.save(session))
    assert (sessions.open(new).user_id, sessions.open(old).user_id) == ("ann", None)
    assert len(sessions.list_user("ann")) == 1


@pytest.mark.parametrize(
    "change", [lambda s: s.pop("user"), lambda s: s.__delitem__("user"), lambda s: s.update(user=None)]
)
def test_every_way_to_take_it_away_ends_the_session(change: Callable[[Any], Any]) -> None:
    sessions = Sessions("memory://", secret=SECRET, user_field="user")
    session = sessions.open(None)
    session["user"] = "ann"
    old = cookie_in(sessions.save(session))
    session = sessions.open(old)
    change(session)
    sessions.save(session)
    assert sessions.open(old).user_id is None
    assert sessions.list_user("ann") == []


# Hostile bytes in the store.


def nested(levels: int, code: int) -> bytes:
    data = b"\xc0"
    for _ in range(levels):
        body = data if code == 0 else b"\x91" + data
        data = msgpack.packb(msgpack.ExtType(code, body))
    return data


@pytest.mark.parametrize(
    "data",
    [
        *(nested(levels, code) for levels in (18, 200, 3000) for code in (0, 1, 2)),
        b"\x91" * 100_000 + b"\xc0",
        b"\xdd\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        msgpack.packb(msgpack.ExtType(99, b"x")),
    ],
    ids=range(13),
)
def test_bytes_that_would_crash_the_parser_are_refused(data: bytes) -> None:
    with pytest.raises(UndecodableError):
        unpack(data)


@pytest.mark.parametrize("kind", [tuple, frozenset, list])
def test_what_is_stored_can_be_read_however_deep(kind: Any) -> None:
    value, levels = kind(), 0
    try:
        while levels < 400:
            assert unpack(pack(value)) == value
            value, levels = kind([value]), levels + 1
    except UnsupportedValueError:
        assert kind is not list
    assert levels > 7


@pytest.mark.parametrize("at", [2, 4, 5])
@pytest.mark.parametrize("value", ["soon", None, math.nan, math.inf, [1.0]])
def test_a_record_whose_times_are_none_is_unknown(at: int, value: Any) -> None:
    meta: list[Any] = list(Meta(b"i" * 16, b"", 1.0, 0.0, 2.0, 1.0))
    meta[at] = value
    with pytest.raises(UndecodableError):
        unpack_meta(pack(meta))
    record = b"R" + pack([1, b"", 1.0, meta, {}, b""])
    with pytest.raises(UndecodableError):
        unpack_stored(record)
    with pytest.raises(UndecodableError):
        unpack_stored(b"T" + pack(["logout", value, None, 0.0]))


# What is told.


def test_a_user_agent_does_not_drive_the_operators_terminal(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"
    sessions = Sessions(url, secret=SECRET, deadline_s=10)
    session = sessions.open(None, user_agent="\x1b]0;owned\x07\x1b[31mFire\u202efox")
    session.login("ann")
    sessions.save(session)
    sessions.close()
    environment = {"LIMPET_SESSION_STORE": url, "LIMPET_SECRET": SECRET}
    shown = CliRunner().invoke(main, ["sessions", "list", "ann"], env=environment)
    assert shown.exit_code == 0
    assert "fox" in shown.output
    assert not {"\x1b", "\x07", "\u202e"} & set(shown.output)


def test_no_id_is_in_what_objects_say_of_themselves(door: Door) -> None:
    value = logged_in(door).cookies[door.name]
    session = door.sessions.open([value])
    session["n"] = "private words"
    read = door.sessions.ring.read(value, door.clock())
    assert isinstance(read, SessionId)
    for thing in (session, read, door.sessions, door.sessions.ring, door.sessions.cookie, session.loaded):
        text = repr(thing)
        assert "private" not in text
        assert SECRET not in text
        assert value not in text
        assert repr(read.raw)[2:20] not in text


def test_what_cannot_be_stored_is_named_and_not_shown(door: Door) -> None:
    session = door.sessions.open(None)
    session["field"] = ["private words", object()]
    with pytest.raises(UnsupportedValueError, match="field") as caught:
        door.sessions.save(session)
    assert "private" not in str(caught.value)
    assert caught.value.__cause__ is None
