"""The session object, without a store that could fail or with one that always does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from limpet.errors import ConfigError, KeyRingError
from limpet.sessions import (
    LoginNotFreshError,
    OnUnknown,
    Policy,
    SessionConflictError,
    Sessions,
    StoreUnavailableError,
    UndecodableError,
    UnsupportedValueError,
)
from limpet.sessions.record import Field, Outcome
from limpet.sessions.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.sessions import Session
    from limpet.sessions.operations import Operation

SECRET = "a secret for tests that is long enough"


class Counting(MemoryStore):
    """A store that counts its round trips, and fails on demand."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        super().__init__(now_s=now_s)
        self.asked: list[str] = []
        self.is_down = False

    def run(self, operation: Operation[Any]) -> Any:
        self.asked.append(type(operation).__name__)
        if self.is_down:
            raise ConnectionRefusedError("down")
        return super().run(operation)


class App:
    def __init__(self, **settings: Any) -> None:
        self.now_s = 1_000_000.0
        self.store = Counting(lambda: self.now_s)
        self.sessions = Sessions(self.store, secret=SECRET, now_s=lambda: self.now_s, **settings)
        self.cookie: str | None = None

    def request(self, act: Callable[[Session], Any] = lambda _: None) -> list[str]:
        self.store.asked.clear()
        session = self.sessions.open(self.cookie)
        act(session)
        for name, value in self.sessions.save(session):
            if name == "Set-Cookie":
                self.cookie = value.split(";")[0].partition("=")[2] or None
        return self.store.asked


@pytest.fixture
def app() -> App:
    return App()


def test_round_trips(app: App) -> None:
    assert app.request() == []
    assert app.request(len) == []
    assert app.request(lambda session: session.update(a=1)) == ["Create"]
    assert app.request() == []
    assert app.request(lambda session: session["a"]) == ["Load"]
    assert app.request(lambda session: session.update(a=2)) == ["Load", "Commit"]
    assert app.request(lambda session: session.update(a=2)) == ["Load"]
    assert app.request(lambda session: session.login("ann")) == ["Load", "Create", "End"]
    assert app.request(lambda session: session.user_id) == ["Load"]
    assert app.request(lambda session: session.logout()) == ["Load", "End"]
    assert app.cookie is None


def test_garbage_cookies_cost_no_round_trip_and_make_no_record(app: App) -> None:
    for cookie in ("attacker-chosen", "1." + "A" * 123, ""):
        app.cookie = cookie
        assert app.request(dict) == []
        assert app.cookie == cookie


def test_a_visit_is_written_down_once_in_a_while(app: App) -> None:
    app.request(lambda session: session.set_lifetime(idle_s=2000) or session.update(a=1))
    app.now_s += 99
    assert app.request(len) == ["Load"]
    app.now_s += 1
    assert app.request(len) == ["Load", "Commit"]
    assert app.request(len) == ["Load"]


@pytest.mark.parametrize(
    "look",
    [
        len,
        list,
        dict,
        lambda session: "x" in session,
        lambda session: session.get("x"),
        lambda session: session.pop("x", None),
        lambda session: session.user_id,
        lambda session: session.auth_time_s,
        lambda session: session.is_new,
        lambda session: session.expires_at_s,
        lambda session: session.logout(),
    ],
)
def test_every_look_counts_as_access(app: App, look: Callable[[Session], Any]) -> None:
    session = app.sessions.open(None)
    assert not session.accessed
    look(session)
    assert session.accessed
    assert ("Vary", "Cookie") in app.sessions.save(session)


@pytest.mark.parametrize(
    ("change", "is_change"),
    [
        (lambda s: s["l"].append(1), True),
        (lambda s: s["d"]["x"].add(3), True),
        (lambda s: s["l"], False),
        (lambda s: s.update(n=1), False),
        (lambda s: s.update(n=True), True),
        (lambda s: s.update(n=2), True),
        (lambda s: s.pop("n"), True),
        (lambda s: s.pop("n") and s.update(n=1), False),
        (lambda s: s.update(new=None), True),
        (lambda s: s.update(new=1) or s.pop("new"), False),
        (lambda s: s.clear(), True),
        (lambda s: s.rotate(), True),
    ],
)
def test_modified(app: App, change: Callable[[Session], Any], is_change: bool) -> None:
    app.request(lambda s: s.update(n=1, l=[], d={"x": {1, 2}}))
    session = app.sessions.open(app.cookie)
    change(session)
    assert session.modified is is_change


def test_a_value_that_cannot_be_stored_is_named(app: App) -> None:
    with pytest.raises(UnsupportedValueError, match="'user'"):
        app.request(lambda session: session.update(user=object()))
    with pytest.raises(TypeError):
        app.request(lambda session: session.__setitem__(1, 1))  # type: ignore[index]


def test_merge_rules(app: App) -> None:
    app = App(policy=Policy(merges={"max": lambda _base, theirs, mine: max(theirs or 0, mine)}))
    app.request(lambda session: session.update(max=1))
    slow = app.sessions.open(app.cookie)
    slow["max"] = 3
    app.request(lambda session: session.update(max=7))
    app.sessions.save(slow)
    assert app.sessions.open(app.cookie)["max"] == 7
    assert app.sessions.events.commits[Outcome.CONFLICT] == 1


def test_a_merge_rule_may_refuse() -> None:
    def refuse(_base: Any, _theirs: Any, _mine: Any) -> Any:
        raise SessionConflictError("two payments at once")

    app = App(policy=Policy(merges={"paid": refuse}))
    app.request(lambda session: session.update(paid=0))
    slow = app.sessions.open(app.cookie)
    slow["paid"] = 1
    app.request(lambda session: session.update(paid=2))
    with pytest.raises(SessionConflictError):
        app.sessions.save(slow)
    assert app.sessions.open(app.cookie)["paid"] == 2


def test_steps_after_an_assignment_or_deletion_begin_there(app: App) -> None:
    app.request(lambda session: session.update(n=5))
    slow = app.sessions.open(app.cookie)
    del slow["n"]
    assert slow.incr("n") == 1
    app.request(lambda session: session.incr("n", 10))
    app.sessions.save(slow)
    assert app.sessions.open(app.cookie)["n"] == 1


def test_require_fresh(app: App) -> None:
    with pytest.raises(LoginNotFreshError):
        app.request(lambda session: session.require_fresh(60))
    app.request(lambda session: session.login("ann"))
    app.request(lambda session: session.require_fresh(60))
    app.now_s += 61
    with pytest.raises(LoginNotFreshError):
        app.request(lambda session: session.require_fresh(60))
    app.request(lambda session: session.login("ann"))
    app.request(lambda session: session.require_fresh(60))


def test_a_login_as_somebody_else_takes_no_fields_along(app: App) -> None:
    app.request(lambda session: session.update(cart=1) or session.login("ann"))
    app.request(lambda session: session.login("bob"))
    session = app.sessions.open(app.cookie)
    assert (session.user_id, dict(session)) == ("bob", {})


def test_lifetimes_of_one_session(app: App) -> None:
    app.request(lambda session: session.update(a=1))
    session = app.sessions.open(app.cookie)
    session.set_lifetime(absolute_s=500, is_persistent=False)
    assert session.expires_at_s == app.now_s + 500
    headers = dict(app.sessions.save(session))
    assert "Max-Age" not in headers["Set-Cookie"]
    session = app.sessions.open(app.cookie)
    assert session.expires_at_s == app.now_s + 500


def test_a_cookie_does_not_end_before_its_session(app: App) -> None:
    app.now_s += 0.9
    app.request(lambda session: session.set_lifetime(absolute_s=10) or session.update(a=1))
    app.now_s += 9.95
    assert dict(app.sessions.open(app.cookie)) == {"a": 1}
    app.now_s += 0.1
    assert dict(app.sessions.open(app.cookie)) == {}


@pytest.mark.parametrize("is_async", [False, True])
def test_a_store_that_is_down_is_not_a_missing_session(app: App, is_async: bool) -> None:
    app.request(lambda session: session.update(a=1))
    cookie = app.cookie
    app.store.is_down = True
    session = app.sessions.open(app.cookie)
    if is_async:
        asyncio.run(app.sessions.aload(session))
    with pytest.raises(StoreUnavailableError):
        session.get("a")
    assert app.sessions.save(session) == [("Vary", "Cookie")]
    app.store.is_down = False
    app.request(lambda session: session.update(b=2))
    assert app.cookie == cookie
    assert dict(app.sessions.open(cookie)) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "write", [lambda s: s.update(b=1), lambda s: s.login("ann"), lambda s: s.logout(), lambda s: s.pop("a")]
)
def test_nothing_is_set_or_cleared_while_the_store_is_down(app: App, write: Callable[[Session], Any]) -> None:
    app.request(lambda session: session.update(a=1))
    session = app.sessions.open(app.cookie)
    write(session)
    app.store.is_down = True
    with pytest.raises(StoreUnavailableError):
        app.sessions.save(session)
    app.store.is_down = False
    assert dict(app.sessions.open(app.cookie)) == {"a": 1}


def test_visitors_may_look_but_not_write_while_the_store_is_down() -> None:
    app = App(policy=Policy(on_unknown=OnUnknown.ANONYMOUS))
    app.request(lambda session: session.update(a=1))
    app.store.is_down = True
    session = app.sessions.open(app.cookie)
    assert dict(session) == {}
    assert app.sessions.save(session) == [("Vary", "Cookie")]
    session = app.sessions.open(app.cookie)
    session["a"] = 2
    with pytest.raises(StoreUnavailableError):
        app.sessions.save(session)


def test_an_undecodable_field_is_unknown_and_stays(app: App) -> None:
    app.request(lambda session: session.update(good=1, bad=2))
    (entry,) = app.store._entries.values()
    entry.what.fields["bad"] = Field(1, b"\x01\xc1")  # type: ignore[union-attr,index]
    session = app.sessions.open(app.cookie)
    assert session["good"] == 1
    assert "bad" in session
    with pytest.raises(StoreUnavailableError):
        session["bad"]
    session["good"] = 3
    app.sessions.save(session)
    assert "bad" in app.sessions.open(app.cookie)


def test_sealed_sessions() -> None:
    app = App(encrypt=True)
    app.request(lambda session: session.update(card="4111 1111") or session.login("ann"))
    assert "4111" not in repr(app.store._entries)
    assert app.request(lambda session: session["card"]) == ["Load"]
    app.request(lambda session: session.rotate())
    assert app.sessions.open(app.cookie)["card"] == "4111 1111"


def test_a_session_says_nothing_about_its_content(app: App) -> None:
    app.request(lambda session: session.update(a="secret"))
    session = app.sessions.open(app.cookie)
    assert repr(session) == "<Session not loaded>"
    assert "secret" not in repr(session)


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIMPET_SECRET", raising=False)
    monkeypatch.delenv("LIMPET_SESSION_STORE", raising=False)
    with pytest.raises(ConfigError, match="LIMPET_SECRET"):
        Sessions("memory://")
    with pytest.raises(ConfigError, match="LIMPET_SESSION_STORE"):
        Sessions(secret=SECRET)
    with pytest.raises(KeyRingError):
        Sessions("memory://", secret="short")
    with pytest.raises(ConfigError, match="'mysql' is no kind of store"):
        Sessions("mysql://", secret=SECRET)
    monkeypatch.setenv("LIMPET_SECRET", SECRET)
    monkeypatch.setenv("LIMPET_SESSION_STORE", "memory://")
    assert Sessions().check()[0].id == "S101"


def test_the_store_is_asked_by_hash(app: App) -> None:
    app.request(lambda session: session.update(a=1))
    session_id = app.sessions.ring.read(app.cookie or "", app.now_s)
    assert session_id.raw.hex() not in repr(app.store._entries)  # type: ignore[union-attr]


@pytest.fixture
def bound() -> App:
    """An app whose framework keeps the user in a field, as Django and Flask-Login do."""
    return App(user_field="_user")


def test_a_field_can_bind_the_user(bound: App) -> None:
    bound.request(lambda session: session.update(cart=[1]))
    visitor = bound.cookie
    bound.request(lambda session: session.update(_user="ada"))
    assert bound.cookie != visitor
    assert [each.device for each in bound.sessions.list_user("ada")] == [""]
    assert bound.sessions.open(bound.cookie)["cart"] == [1]
    assert "_user" not in bound.sessions.open(visitor)


def test_setting_the_field_again_is_a_login_again(bound: App) -> None:
    bound.request(lambda session: session.update(_user="ada"))
    first = bound.cookie
    bound.request(lambda session: session.update(_user="ada"))
    assert bound.cookie != first
    assert not bound.sessions.open(first)


def test_another_user_gets_no_field_of_the_first(bound: App) -> None:
    bound.request(lambda session: session.update(_user="ada", cart=[1]))
    bound.request(lambda session: session.update(_user="bob"))
    assert dict(bound.sessions.open(bound.cookie)) == {"_user": "bob"}


@pytest.mark.parametrize("encrypt", [False, True])
def test_deleting_the_field_is_a_logout_that_keeps_the_rest(encrypt: bool) -> None:
    bound = App(user_field="_user", encrypt=encrypt)
    bound.request(lambda session: session.update(_user="ada", flash="bye"))
    old = bound.cookie
    bound.request(lambda session: session.pop("_user"))
    session = bound.sessions.open(bound.cookie)
    assert dict(session) == {"flash": "bye"}
    assert session.user_id is None
    assert not bound.sessions.open(old)
    assert bound.sessions.list_user("ada") == []


def test_a_session_is_revoked_by_its_reference_alone(app: App) -> None:
    app.request(lambda session: session.login("ada"))
    (listed,) = app.sessions.list_user("ada")
    assert not app.sessions.revoke_reference("0" * 32 + "-" + "0" * 16)
    assert not app.sessions.revoke_reference("nonsense")
    assert app.sessions.revoke_reference(listed.reference)
    assert app.sessions.open(app.cookie).user_id is None


@pytest.mark.parametrize(("variable", "name"), [(None, "__Host-limpet_session"), ("0", "limpet_session")])
def test_development_is_a_matter_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, name: str
) -> None:
    if variable is not None:
        monkeypatch.setenv("LIMPET_SESSION_SECURE", variable)
    else:
        monkeypatch.delenv("LIMPET_SESSION_SECURE", raising=False)
    assert Sessions("memory://", secret=SECRET).cookie.full_name == name


@pytest.mark.parametrize("user", [None, True, False, 3.5, {"a": 1}, b"ada", ["ada"]])
def test_only_what_names_a_user_logs_in(app: App, user: Any) -> None:
    with pytest.raises(TypeError, match="a user's id is text, a whole number or a UUID"):
        app.request(lambda session: session.login(user))
    with pytest.raises(ValueError, match="must not be empty"):
        app.request(lambda session: session.login(""))
    assert app.cookie is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policy": "aal9"}, "'aal9' is not one of aal1, aal2, aal3"),
        ({"cookie": "sid"}, "'sid' is no CookieSettings"),
    ],
)
def test_settings_that_are_none_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Sessions("memory://", secret=SECRET, **settings)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"on_unknown": "foo"}, "'foo' is not one of unavailable, stale, anonymous"),
        ({"idle_s": "1"}, "'1' is no number of seconds"),
        ({"grace_s": None}, "None is no number of seconds"),
    ],
)
def test_a_policy_says_what_is_wrong_with_it(policy: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Policy(**policy)


def test_a_policy_for_outages_may_be_named() -> None:
    assert Policy(on_unknown="stale").on_unknown is OnUnknown.STALE


def test_a_secure_cookie_over_http_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    app, clear = App(secure=True), App(secure=False)
    headers = [("Set-Cookie", "x")]
    for scheme in ("https", "http", "http", "ws"):
        app.sessions.tell_scheme(headers, scheme)
        clear.sessions.tell_scheme(headers, scheme)
    app.sessions.tell_scheme([("Vary", "Cookie")], "http")
    assert [record.message[:32] for record in caplog.records] == ["the session cookie is Secure, bu"]


def test_a_variable_that_says_neither_yes_nor_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMPET_SESSION_SECURE", "maybe")
    with pytest.raises(ConfigError, match="set it to 0 or 1"):
        Sessions("memory://", secret=SECRET)


class Stale(App):
    """An app that lets safe methods read old copies while the store is down."""

    def __init__(self) -> None:
        super().__init__(policy=Policy(on_unknown=OnUnknown.STALE, stale_s=60, idle_s=3600))
        self.request(lambda session: session.update(name="ada"))
        self.request(lambda session: session["name"])
        self.store.is_down = True

    def read(self, *, is_safe: bool = True) -> Any:
        session = self.sessions.open(self.cookie, is_safe=is_safe)
        name = session["name"]
        assert [header for header, _ in self.sessions.save(session)] == ["Vary"]
        return name


def test_safe_methods_may_read_an_old_copy() -> None:
    app = Stale()
    assert app.read() == "ada"
    with pytest.raises(StoreUnavailableError):
        app.read(is_safe=False)
    app.now_s += 61
    with pytest.raises(StoreUnavailableError):
        app.read()


def test_nothing_is_written_on_the_strength_of_an_old_copy() -> None:
    app = Stale()
    session = app.sessions.open(app.cookie, is_safe=True)
    session["name"] = "eve"
    with pytest.raises(StoreUnavailableError):
        app.sessions.save(session)


@pytest.mark.parametrize(
    "end", [lambda session: session.logout(), lambda session: session.update(name="bob")]
)
def test_a_copy_that_this_process_outdated_is_not_read(end: Callable[[Session], Any]) -> None:
    app = Stale()
    app.store.is_down = False
    cookie = app.cookie
    app.now_s += 2  # the breaker
    app.request(end)
    app.store.is_down = True
    with pytest.raises(StoreUnavailableError):
        app.sessions.open(cookie, is_safe=True)["name"]


def test_a_session_that_was_seen_revoked_is_not_read_from_a_copy() -> None:
    app = Stale()
    app.store.is_down = False
    app.sessions.revoke_everyone()
    assert "name" not in app.sessions.open(app.cookie, is_safe=True)
    app.store.is_down = True
    with pytest.raises(StoreUnavailableError):
        app.read()


def test_garbage_is_no_reason_to_read_an_old_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Stale()

    def garbage(_operation: Operation[Any]) -> Any:
        raise UndecodableError("it makes no sense")

    monkeypatch.setattr(app.store, "run", garbage)
    with pytest.raises(UndecodableError):
        app.read()
