"""OWASP ASVS 5.0 chapter 7 (session management) and its neighbours, by number, over every framework.

The requirement's number is in the name of its test; docs/sessions/security.md lists them all.
"""

from __future__ import annotations

import base64
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from doors import ACTS, NAME, SECRET, flat, who

from limpet.errors import ConfigError
from limpet.sessions import (
    AAL1,
    AAL2,
    AAL3,
    CookieSettings,
    EndReason,
    LoginNotFreshError,
    Policy,
    Session,
    Sessions,
)
from limpet.sessions.policy import touch_s
from limpet.sessions.session_id import SecretRing, SessionId

if TYPE_CHECKING:
    from doors import Door

DOCS = Path(__file__).parents[3] / "docs/sessions"
HOUR_S = 3600.0


def logged_in(door: Door, user: str = "1") -> Any:
    browser = door.browser()
    assert browser.get(f"/login/{user}").status == 200
    assert who(browser) == user
    return browser


def session_of(door: Door, cookie: str | None = None) -> Session:
    """Return a session without a framework, as code beside a request handler has it."""
    return door.sessions.open(cookie)


def saved(door: Door, session: Session) -> str | None:
    """Save a session and return the value of the cookie that the answer sets."""
    lines = [value for name, value in door.sessions.save(session) if name == "Set-Cookie"]
    return lines[0].partition("=")[2].partition(";")[0] if lines else None


# 7.1 Documentation.


@pytest.mark.parametrize(
    ("policy", "idle_s", "absolute_s"),
    [(AAL1, math.inf, 30 * 24 * HOUR_S), (AAL2, HOUR_S, 24 * HOUR_S), (AAL3, HOUR_S / 4, 12 * HOUR_S)],
)
def test_asvs_7_1_1_presets_keep_the_limits_of_nist_63b(
    policy: Policy, idle_s: float, absolute_s: float
) -> None:
    assert policy.idle_s + touch_s(policy.idle_s) <= idle_s
    assert policy.absolute_s <= absolute_s


def test_asvs_7_1_1_one_object_says_how_long_sessions_live() -> None:
    text = (DOCS / "README.md").read_text()
    policy = Policy()
    assert f"| `idle_s` | {policy.idle_s / 86400:.0f} days |" in text
    assert f"| `absolute_s` | {policy.absolute_s / 86400:.0f} days |" in text
    with pytest.raises(ConfigError, match="absolute_s"):
        Policy(idle_s=HOUR_S, absolute_s=HOUR_S / 2)


def test_asvs_7_1_2_an_app_can_limit_parallel_sessions(door: Door) -> None:
    first = logged_in(door)
    door.clock.now_s += 60
    second, third = logged_in(door), logged_in(door)
    *_, oldest = door.sessions.list_user("1")
    assert door.sessions.revoke_session("1", oldest.reference)
    assert [who(each) for each in (first, second, third)] == [None, "1", "1"]


# 7.2 Fundamentals.


def test_asvs_7_2_1_the_store_decides_and_not_the_signature(door: Door) -> None:
    browser = logged_in(door)
    door.store.lose_everything()
    assert isinstance(door.sessions.ring.read(browser.cookies[door.name], door.clock()), SessionId)
    assert who(browser) is None


def test_asvs_7_2_2_every_session_has_a_token_of_its_own(door: Door) -> None:
    values = {logged_in(door).cookies[door.name] for _ in range(5)}
    assert len(values) == 5
    assert not any(SECRET in value for value in values)


def test_asvs_7_2_3_ids_have_256_random_bits(door: Door) -> None:
    asked: list[int] = []
    entropy = door.sessions.entropy

    def counted(size: int) -> bytes:
        asked.append(size)
        return entropy(size)

    door.sessions.entropy = counted
    ids = []
    for _ in range(10):
        read = door.sessions.ring.read(logged_in(door).cookies[door.name], door.clock())
        assert isinstance(read, SessionId)
        ids.append(read.raw)
    assert asked.count(32) == 10
    assert len(set(ids)) == 10
    # About half of the bits differ between any two.
    assert all(64 < (int.from_bytes(a) ^ int.from_bytes(b)).bit_count() < 192 for a, b in zip(ids, ids[1:]))  # noqa: RUF007, B905


@pytest.mark.parametrize("value", ["attacker-chosen", "0" * 32, "1." + "A" * 123, "a" * 64])
def test_asvs_7_2_3_no_id_is_taken_from_a_client(door: Door, value: str) -> None:
    browser = door.browser(session=value)
    browser.get("/do/write")
    assert browser.cookies[door.name] != value
    assert door.browser(session=value).get("/state").json() == {"user": None, "n": None}


def test_asvs_7_2_4_a_login_gives_a_new_id_and_kills_the_old_one(door: Door) -> None:
    browser = door.browser()
    browser.get("/do/write")
    visitor = browser.twin()
    browser.get("/login/1")
    assert browser.cookies[door.name] != visitor.cookies[door.name]
    assert visitor.get("/state").json() == {"user": None, "n": None}
    assert (who(browser), browser.get("/state").json()["n"]) == ("1", 1)


def test_asvs_7_2_4_so_does_a_login_again_of_the_same_user(door: Door) -> None:
    browser = logged_in(door)
    before = browser.twin()
    browser.get("/login/1")
    assert browser.cookies[door.name] != before.cookies[door.name]
    assert (who(before), who(browser)) == (None, "1")


def test_asvs_7_2_4_session_fixation(door: Door) -> None:
    attacker = door.browser()
    attacker.get("/do/write")
    victim = door.browser(session=attacker.cookies[door.name])
    victim.get("/login/2")
    assert (who(victim), who(attacker)) == ("2", None)
    attacker.get("/do/write")
    door.clock.now_s += 1
    assert victim.get("/state").json() == {"user": "2", "n": 1}


# 7.3 Timeouts.


def test_asvs_7_3_1_inactivity_ends_a_session(door: Door) -> None:
    door.reopen(policy=Policy(idle_s=600, absolute_s=86400, renew_s=None))
    browser = logged_in(door)
    for _ in range(5):
        door.clock.now_s += 599
        assert who(browser) == "1"
    door.clock.now_s += 600 + touch_s(600) + 1
    assert who(browser) is None
    assert who(browser.twin()) is None


def test_asvs_7_3_2_a_session_ends_however_busy_it_is(door: Door) -> None:
    door.reopen(policy=Policy(idle_s=600, absolute_s=3600))
    browser = logged_in(door)
    kept = browser.twin()
    for _ in range(7):
        door.clock.now_s += 500
        assert who(browser) == "1"
    door.clock.now_s += 101
    assert (who(browser), who(kept)) == (None, None)


# 7.4 Termination.


def test_asvs_7_4_1_a_logout_ends_the_session_in_the_store(door: Door) -> None:
    browser = logged_in(door)
    before = browser.twin()
    browser.get("/logout")
    assert (who(browser), who(before)) == (None, None)
    for later_s in (1, 10, HOUR_S, 24 * HOUR_S):
        door.clock.now_s += later_s
        before.get("/do/write")
        assert who(before) is None
        before.cookies = {door.name: before.cookies[door.name]}


def test_asvs_7_4_1_a_logout_reaches_every_id_of_a_renewed_session(door: Door) -> None:
    door.reopen(policy=Policy(renew_s=60))
    browser = logged_in(door)
    old = browser.twin()
    door.clock.now_s += 61
    assert who(browser) == "1"
    new = browser.twin()
    assert new.cookies != old.cookies
    old.twin().get("/logout")  # within the grace: the old cookie still stands for the session
    assert [who(each.twin()) for each in (old, new)] == [None, None]


def test_asvs_7_4_2_all_sessions_of_a_user_end_at_once(door: Door) -> None:
    mine, other = [logged_in(door), logged_in(door)], logged_in(door, "2")
    door.sessions.revoke_user("1")
    assert [who(each) for each in (*mine, other)] == [None, None, "2"]
    assert door.sessions.list_user("1") == []


def test_asvs_7_4_3_all_other_sessions_end_and_this_one_goes_on(door: Door) -> None:
    other, mine = logged_in(door), logged_in(door)
    mine.get("/do/write")
    session = session_of(door, mine.cookies[door.name])
    assert session.user_id == "1"
    door.sessions.revoke_user("1")
    session.login("1")
    mine.cookies[door.name] = saved(door, session) or ""
    assert who(other) is None
    if door.framework in ("asgi", "wsgi", "flask"):  # the others keep who is logged in in a field of theirs
        assert mine.get("/state").json() == {"user": "1", "n": 1}


def test_asvs_7_4_5_one_session_or_everyone_can_be_ended_from_outside(door: Door) -> None:
    one, two = logged_in(door), logged_in(door, "2")
    (listed,) = door.sessions.list_user("1")
    assert door.sessions.revoke_reference(listed.reference)
    assert [who(each) for each in (one, two)] == [None, "2"]
    door.clock.now_s += 1
    door.sessions.revoke_everyone()
    assert [who(each) for each in (one, two)] == [None, None]


# 7.5 Abuse.


def test_asvs_7_5_1_an_old_login_does_not_satisfy_require_fresh(door: Door) -> None:
    browser = logged_in(door)
    session_of(door, browser.cookies[door.name]).require_fresh(300)
    door.clock.now_s += 301
    with pytest.raises(LoginNotFreshError):
        session_of(door, browser.cookies[door.name]).require_fresh(300)
    with pytest.raises(LoginNotFreshError):
        session_of(door).require_fresh(300)


def test_asvs_7_5_2_users_see_their_sessions_and_end_only_their_own(door: Door) -> None:
    browser = door.browser()
    browser.request("GET", "/login/1", user_agent="Firefox")
    other = logged_in(door, "2")
    (listed,) = door.sessions.list_user("1")
    assert (listed.device, listed.address) == ("Firefox", "192.0.2.7")
    assert (listed.auth_s, listed.seen_s) == (door.clock(), door.clock())
    assert session_of(door, browser.cookies[door.name]).reference == listed.reference
    assert not door.sessions.revoke_session("2", listed.reference)
    assert who(browser) == "1"
    assert door.sessions.revoke_session("1", listed.reference)
    assert (who(browser), who(other)) == (None, "2")


def test_asvs_7_5_3_renewal_and_use_do_not_make_a_login_fresh(door: Door) -> None:
    door.reopen(policy=Policy(renew_s=60))
    browser = logged_in(door)
    for _ in range(3):
        door.clock.now_s += 61
        browser.get("/do/write")
    with pytest.raises(LoginNotFreshError):
        session_of(door, browser.cookies[door.name]).require_fresh(180)


# 7.6 Federation.


@pytest.mark.parametrize(
    "path", ["/untouched", "/state", "/logout", "/do/get", "/do/in", "/do/pop", "/do/keys"]
)
def test_asvs_7_6_2_no_session_begins_by_looking(door: Door, path: str) -> None:
    answer = door.browser().get(path)
    assert answer.status == 200
    assert answer.values("set-cookie") == []
    assert door.store.size() == 0


# 3.3 Cookies.


def attributes_of(door: Door) -> tuple[str, list[str]]:
    (line,) = door.browser().get("/do/write").values("set-cookie")
    pair, *attributes = [part.strip() for part in line.split(";")]
    return pair.partition("=")[0], [each.lower() for each in attributes]


def test_asvs_3_3_1_the_cookie_is_secure(door: Door) -> None:
    assert "secure" in attributes_of(door)[1]


def test_asvs_3_3_1_prefixes_without_secure_are_refused() -> None:
    for name in ("__Host-x", "__Secure-x"):
        with pytest.raises(ConfigError, match="browsers refuse"):
            CookieSettings(secure=False, name=name)


def test_asvs_3_3_2_the_cookie_is_same_site(door: Door) -> None:
    assert "samesite=lax" in attributes_of(door)[1]


def test_asvs_3_3_3_the_cookie_belongs_to_one_host(door: Door) -> None:
    name, attributes = attributes_of(door)
    assert name == NAME
    assert "path=/" in attributes
    assert not any(each.startswith("domain") for each in attributes)


def test_asvs_3_3_4_scripts_do_not_see_the_cookie(door: Door) -> None:
    assert "httponly" in attributes_of(door)[1]
    browser = logged_in(door)
    value = browser.cookies[door.name]
    for path in ("/state", "/do/items", "/do/keys"):
        answer = browser.get(path)
        assert value.encode() not in answer.body
        assert not any(value in text for name, text in answer.headers if name != "set-cookie")


def test_asvs_3_3_5_the_cookie_is_small_whatever_the_session_holds(door: Door) -> None:
    browser = logged_in(door)
    session = session_of(door, browser.cookies[door.name])
    session["big"] = "x" * 100_000
    session.rotate()
    value = saved(door, session)
    assert value is not None
    assert len(door.name + value) < 256


# 14 Data protection.


@pytest.mark.parametrize("path", ["/do/write", "/login/1", "/logout"])
def test_asvs_14_2_2_no_cache_keeps_a_response_with_a_cookie(door: Door, path: str) -> None:
    browser = door.browser()
    if path == "/logout":
        browser = logged_in(door)
    answer = browser.get(path)
    assert answer.values("set-cookie")
    assert "no-store" in flat(answer, "cache-control")
    assert not {"public", "max-age=600"} & set(flat(answer, "cache-control"))
    assert "cookie" in flat(answer, "vary")


@pytest.mark.parametrize("act", ACTS)
def test_asvs_14_2_2_whatever_depends_on_the_session_varies_by_cookie(door: Door, act: str) -> None:
    browser = logged_in(door)
    answer = browser.get(f"/do/{act}")
    # Flask-Login looks whatever the view does.
    looks = act != "nothing" or door.framework == "flask-login"
    assert ("cookie" in flat(answer, "vary")) == looks


def test_asvs_14_3_2_answers_to_an_outage_are_not_stored(door: Door) -> None:
    browser = logged_in(door)

    def fail(_operation: Any) -> Any:
        raise ConnectionRefusedError

    door.store.run = fail  # type: ignore[method-assign]
    answer = browser.get("/do/get")
    assert answer.status == 503
    assert flat(answer, "cache-control")[0] == "no-store"
    assert answer.values("set-cookie") == []


# 11 Cryptography.


def test_asvs_11_2_2_secrets_are_replaced_without_a_logout(door: Door) -> None:
    browser = logged_in(door)
    new = base64.b64encode(bytes(range(32))).decode()
    door.reopen(secrets=(SECRET, new))
    assert who(browser) == "1"
    door.reopen(secrets=(new, SECRET))
    assert who(browser) == "1"
    assert who(browser) == "1"
    door.reopen(secrets=(new,))
    assert who(browser) == "1"
    door.reopen(secrets=("another secret that is long enough",))
    assert who(browser) is None


def test_asvs_11_4_1_no_broken_hash_protects_anything() -> None:
    source = Path(__file__).parents[3] / "src/limpet/sessions"
    for file in source.rglob("*.py"):
        for line in file.read_text().splitlines():
            found = re.search(r"\b(md5|sha1)\(", line)
            assert found is None or "usedforsecurity=False" in line, f"{file.name}: {line.strip()}"


def test_asvs_11_5_1_entropy_is_the_systems() -> None:
    import os

    assert Sessions("memory://", secret=SECRET).entropy is os.urandom


def test_asvs_11_3_encryption_is_authenticated_and_bound_to_its_place() -> None:
    from limpet.sessions.errors import UndecodableError

    sealing = Sessions("memory://", secret=SECRET, encrypt=True).sealing
    sealed = [sealing.seal(b"x", context=b"session a") for _ in range(100)]
    assert len({each[5:17] for each in sealed}) == 100  # nonces
    assert sealing.open(sealed[0], context=b"session a") == b"x"
    changed = sealed[0][:-1] + bytes([sealed[0][-1] ^ 1])
    for data, context in ((sealed[0], b"session b"), (changed, b"session a"), (sealed[0][:9], b"session a")):
        with pytest.raises(UndecodableError):
            sealing.open(data, context=context)


def test_asvs_11_short_secrets_are_refused() -> None:
    from limpet.errors import KeyRingError

    with pytest.raises(KeyRingError, match="16 characters"):
        SecretRing(["dev"])


# 15.4 Concurrency: see also the overlap matrix of every framework, over every store.


def test_asvs_15_4_2_check_and_change_are_one_step(door: Door) -> None:
    browser = logged_in(door)
    session = session_of(door, browser.cookies[door.name])
    session["n"] = 5  # loaded: the session was alive
    browser.get("/logout")
    assert saved(door, session) is None
    assert who(door.browser(session=browser.cookies.get(door.name, ""))) is None
    assert door.sessions.events.ends[EndReason.LOGOUT] == 1
