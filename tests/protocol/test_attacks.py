"""Attacks on the data plane that worked once: on its memories, its books and its buffers."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from random import Random
from typing import TYPE_CHECKING

import pytest
from test_fast_lane import DATE, pinned
from wire import Scene, answer, get, in_scene, post, refused_address, until

from limpet.core.model import ClientLimits, Forwarding, TargetLimits
from limpet.proxy.access_log import AccessLog
from limpet.proxy.http1.request import parse_request

if TYPE_CHECKING:
    from pathlib import Path

    from wire import ScriptedTarget, Wire


@in_scene
async def test_request_without_host_gets_one_each_time(scene: Scene) -> None:
    client, fields = await pinned(scene)
    ticket = fields.partition(b"a=1; ")[2].partition(b";")[0]
    for _ in range(4):
        await client.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nCookie: " + ticket + b"\r\n\r\n")
        assert scene.targets[0].requests[-1].one(b"host")


@in_scene
async def test_cookie_line_behind_the_empty_line_is_no_field(scene: Scene) -> None:
    await scene.start((await scene.target()).address)
    client = await scene.client()
    await client.ask(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: x=1\r\n\r\n")
    await client.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await client.ask(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\nCookie: x=2\r\n")
    assert scene.targets[0].requests[-1].one(b"cookie") is None


async def _fill(scene: Scene, idler: Wire, ask: bytes) -> None:
    """Send requests until the answers do not leave limpet any more; `idler` is the last client."""
    port = idler.writer.get_extra_info("sockname")[1]
    (inside,) = [c for c in scene.proxy.clients if c.transport.get_extra_info("peername")[1] == port]
    while inside.transport.get_write_buffer_size() <= 65536:
        served = scene.proxy.requests
        await idler.send(ask)
        await until(lambda served=served: scene.proxy.requests > served)


@in_scene
async def test_client_that_does_not_read_leaves_no_paused_connection(scene: Scene) -> None:
    big = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 50000\r\n\r\n" + b"x" * 50000
    client, fields = await pinned(scene, big)
    ask = b"GET / HTTP/1.1\r\n" + fields
    await client.ask(ask)
    idler = await scene.client()
    idler.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await _fill(scene, idler, ask)
    other = await scene.client()
    assert (await other.ask(ask)).status == 200


@in_scene
async def test_answers_wait_for_a_client_that_does_not_read(scene: Scene) -> None:
    async def script(target: ScriptedTarget, wire: Wire) -> None:
        while True:
            request = await wire.request()
            await wire.send(answer(b"x" * (20_000_000 if request.path == b"/huge" else 100_000)))

    await scene.start((await scene.target(script)).address)
    client = await scene.client()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await _fill(scene, client, get())
    served = scene.proxy.requests
    await client.send(get(b"/huge"))
    await asyncio.sleep(0.2)
    (inside,) = scene.proxy.clients
    assert inside.transport.get_write_buffer_size() < 1_000_000
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    bodies = [await client.response() for _ in range(served + 1)]
    assert len(bodies[-1].body) == 20_000_000


@in_scene
async def test_client_that_never_reads_its_last_answer_is_let_go(scene: Scene) -> None:
    async def script(target: ScriptedTarget, wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.send(answer(b"x" * 50_000))

    limits = ClientLimits(send_timeout_s=0.3, keep_alive_s=0.3)
    await scene.start((await scene.target(script)).address, client_limits=limits)
    client = await scene.client()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await _fill(scene, client, get())
    await until(lambda: not scene.proxy.clients)


async def _echo(target: ScriptedTarget, wire: Wire) -> None:
    await wire.request()
    await wire.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    while data := await wire.reader.read(65536):
        await wire.send(data)


UPGRADE = get(b"/", b"Connection: Upgrade\r\nUpgrade: x\r\n")


@in_scene
async def test_tunnel_of_a_target_that_left_is_closed(scene: Scene) -> None:
    await scene.start((await scene.target(_echo)).address)
    client = await scene.client()
    await client.send(UPGRADE)
    await client.response()
    assert scene.proxy.forget(scene.states[0]) == 1
    scene.proxy.settle()
    await client.send(b"more")
    await client.rest()
    await until(lambda: not scene.proxy.clients)


@in_scene
async def test_tunnel_whose_client_never_reads_ends_once(scene: Scene) -> None:
    async def script(target: ScriptedTarget, wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        while True:
            await wire.send(b"x" * 65536)

    limits = TargetLimits(tunnel_idle_timeout_s=0.3)
    await scene.start(
        (await scene.target(script)).address, limits=limits, client_limits=ClientLimits(send_timeout_s=0.6)
    )
    client = await scene.client()
    await client.send(UPGRADE)
    await client.response()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await until(lambda: scene.proxy.requests == 1)
    scene.proxy.settle()
    scene.proxy.forget(scene.states[0])
    await until(lambda: not scene.proxy.clients)
    assert scene.proxy.requests == 1


@in_scene
@pytest.mark.parametrize("is_serving", [True, False])
async def test_queue_of_a_forgotten_target_ends(scene: Scene, is_serving: bool) -> None:
    async def silent(target: ScriptedTarget, wire: Wire) -> None:
        await wire.request()
        await wire.reader.read()

    await scene.start(
        (await scene.target(silent)).address, limits=TargetLimits(max_in_flight=1, max_queued=9)
    )
    clients = [await scene.client() for _ in range(4)]
    for client in clients:
        await client.send(get())
    await until(lambda: scene.states[0].queued == 3)
    scene.states[0].takes_sticky = is_serving
    scene.proxy.forget(scene.states[0])
    assert [(await client.response()).status >= 500 for client in clients] == [True] * 4
    assert (scene.states[0].in_flight, scene.states[0].queued) == (0, 0)


@in_scene
async def test_bodies_of_failed_requests_are_not_remembered(scene: Scene) -> None:
    await scene.start(await refused_address())
    await scene.ask(post(b"x" * 30000))
    scene.proxy.settle()
    (exchange,) = scene.proxy.recent._exchanges
    assert not exchange._pending_body


@in_scene
@pytest.mark.parametrize("junk", [b"junk", b"", answer()])
async def test_target_that_speaks_before_it_is_asked(scene: Scene, junk: bytes) -> None:
    async def script(target: ScriptedTarget, wire: Wire) -> None:
        if junk:
            await wire.send(junk)
        wire.reset()

    await scene.start((await scene.target(script)).address)
    for _ in range(20):
        assert (await asyncio.wait_for(scene.ask(get()), 0.5)).status in {502, 503, 200}


@in_scene
async def test_address_with_a_zone_cannot_write_into_the_log(scene: Scene, tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "log"))
    await scene.start(
        (await scene.target()).address,
        access_log=log,
        forwarding=Forwarding(trusted_proxies=(ipaddress.ip_network("127.0.0.0/8"),)),
    )
    await scene.ask(get(b"/", b'X-Forwarded-For: fe80::1%0 id "GET forged" 200\r\n'))
    scene.proxy.settle()
    assert "forged" not in (tmp_path / "log").read_text()


@in_scene
async def test_queue_of_the_only_target_when_it_fails_is_no_endless_loop(scene: Scene) -> None:
    async def silent(target: ScriptedTarget, wire: Wire) -> None:
        await wire.request()
        await wire.reader.read()

    limits = TargetLimits(max_in_flight=1, queue_timeout_s=0.6)
    await scene.start((await scene.target(silent)).address, limits=limits)
    clients = [await scene.client() for _ in range(3)]
    for client in clients:
        await client.send(get())
    await until(lambda: scene.states[0].queued == 2)
    scene.states[0].takes_sticky = False  # and is still the only one that is available
    assert [(await client.response()).status for client in clients[1:]] == [503, 503]


def test_connection_options_count_once() -> None:
    data = get(b"/", b"Connection: " + b"a," * 30000 + b"\r\n" + b"a: b\r\n" * 90)
    request = parse_request(data, ClientLimits())
    assert request is not None
    assert len(request.fields.cuts) == 91
    assert b"a: b" not in request.fields.edited(())


@in_scene
async def test_target_that_never_reads_its_tunnel_is_let_go(scene: Scene) -> None:
    async def script(target: ScriptedTarget, wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(60)

    target = await scene.target(script)
    limits = TargetLimits(tunnel_idle_timeout_s=0.3)  # a client that is not read is not seen to go
    await scene.start(target.address, limits=limits, client_limits=ClientLimits(send_timeout_s=0.2))
    client = await scene.client()
    await client.send(UPGRADE)
    await client.response()
    exchange = next(iter(scene.proxy.clients)).exchange
    assert exchange is not None
    assert exchange.connection is not None
    inside = exchange.connection
    while not inside.transport.get_write_buffer_size():
        client.writer.write(b"x" * 100_000)
        await asyncio.sleep(0.001)
    client.reset()
    await until(lambda: inside.is_closed)


MESSES = [
    answer(fields=DATE),
    answer(b"b" * 70_000, fields=DATE),
    answer() + answer(),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 500,
    b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"x" * 5000,
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17,
    b"HTTP/1.1 204 No Content\r\n\r\nlate",
    b"junk\r\n\r\n",
    b"",
]
ASKED = [
    get() * 5,
    get(method=b"HEAD"),
    post(b"b" * 100_000),
    UPGRADE + b"ahead" * 100,
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 500 + b"0\r\n\r\n",
]


@in_scene
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("max_in_flight", [0, 3])
async def test_books_are_even_whoever_breaks_off(scene: Scene, seed: int, max_in_flight: int) -> None:
    random = Random(seed)

    async def mess(target: ScriptedTarget, wire: Wire) -> None:
        while random.random() < 0.9:
            head = (await wire.reader.readuntil(b"\r\n\r\n")).lower()
            if b"upgrade: x" in head:
                await wire.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
            await wire.send(random.choice(MESSES))
        wire.reset()

    async def abuse() -> None:
        client = await scene.client()
        if random.random() < 0.3:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            for _ in range(random.randrange(1, 4)):
                if client.writer.is_closing():
                    return
                data = random.choice(ASKED)
                client.writer.write(data[: random.randrange(len(data))] if random.random() < 0.3 else data)
                await asyncio.sleep(random.random() * 0.02)
                await asyncio.wait_for(client.reader.read(random.randrange(1, 10_000)), 0.05)
        client.reset() if random.random() < 0.5 else client.writer.close()

    limits = TargetLimits(
        max_in_flight=max_in_flight,
        max_queued=10,
        queue_timeout_s=0.1,
        response_timeout_s=0.1,
        idle_timeout_s=0.1,
        tunnel_idle_timeout_s=0.1,
    )
    targets = [await scene.target(mess) for _ in range(3)]
    await scene.start(
        *[target.address for target in targets],
        limits=limits,
        client_limits=ClientLimits(
            header_timeout_s=0.1, send_timeout_s=0.1, body_timeout_s=0.1, keep_alive_s=0.1
        ),
        stickiness="lb_cookie",
    )
    for _ in range(4):
        await asyncio.gather(*[abuse() for _ in range(40)])
        assert all(state.in_flight >= 0 <= state.queued for state in scene.states)
        scene.proxy.settle()
        scene.proxy.forget(random.choice(scene.states))
    await until(lambda: not scene.proxy.clients)
    assert [(state.in_flight, state.queued) for state in scene.states] == [(0, 0)] * 3
    pools = scene.proxy.pools.values()
    assert not any(pool.waiting for pool in pools)
    await until(lambda: not any(one.is_closed for pool in pools for one in pool.idle))
