"""Connections of clients: kept, pipelined, half closed, counted, drained."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from wire import Scene, ScriptedTarget, Wire, answer, get, in_scene, post, until

from limpet.control import sockets
from limpet.core.address import Address
from limpet.core.model import ClientLimits

if TYPE_CHECKING:
    from pathlib import Path


@in_scene
async def test_both_connections_are_kept(scene: Scene) -> None:
    target = await scene.target()
    await scene.start(target.address)
    client = await scene.client()
    for path in (b"/a", b"/b", b"/c"):
        response = await client.ask(get(path))
        assert response.body == path
        assert response.one(b"connection") is None
    assert len(target.wires) == 1


@in_scene
async def test_fifty_requests_sent_ahead_are_answered_in_order(scene: Scene) -> None:
    target = await scene.target()
    await scene.start(target.address)
    client = await scene.client()
    paths = [b"/%d" % number for number in range(50)]
    requests = [post(b"x" * 100, path=path) if path.endswith(b"7") else get(path) for path in paths]
    await client.send(*requests)
    assert [(await client.response()).body for _ in paths] == paths
    assert [request.path for request in target.requests] == paths


@in_scene
async def test_what_is_sent_ahead_is_bounded(scene: Scene) -> None:
    release = asyncio.Event()

    async def slow(_: ScriptedTarget, wire: Wire) -> None:
        while True:
            request = await wire.request()
            await release.wait()
            await wire.send(answer(request.path))

    await scene.start((await scene.target(slow)).address)
    client = await scene.client()
    paths = [b"/%d" % number for number in range(200_000)]
    sending = asyncio.ensure_future(client.send(*[get(path) for path in paths]))
    await until(lambda: any(connection.is_paused for connection in scene.proxy.clients))
    (connection,) = scene.proxy.clients
    release.set()
    for path in paths[:500]:
        assert (await client.response()).body == path
        assert len(connection._buffer) < 1_000_000
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sending


@in_scene
async def test_client_that_asks_for_it_is_closed(scene: Scene) -> None:
    target = await scene.target()
    await scene.start(target.address)
    client = await scene.client()
    response = await client.ask(get(fields=b"Connection: close\r\n"))
    assert response.one(b"connection") == b"close"
    assert await client.rest() == b""
    await scene.ask(get())
    assert len(target.wires) == 1, "the target's connection must outlive the client's"


@in_scene
async def test_http_1_0_client_is_closed_unless_it_asks_not_to(scene: Scene) -> None:
    await scene.start((await scene.target()).address)
    client = await scene.client()
    await client.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    response = await client.response()
    assert response.one(b"connection") == b"keep-alive"
    await client.send(b"GET /b HTTP/1.0\r\n\r\n")
    assert (await client.response()).body == b"/b"
    assert await client.rest() == b""


@in_scene
async def test_http_1_0_client_gets_no_chunks(scene: Scene) -> None:
    async def chunked(_: ScriptedTarget, wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await wire.send(b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n")

    await scene.start((await scene.target(chunked)).address)
    client = await scene.client()
    await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    response = await client.response()
    assert response.status == 200
    assert response.one(b"transfer-encoding") is None
    assert response.one(b"connection") == b"close"
    assert response.body == b"abcde"


@in_scene
async def test_body_that_ends_with_the_target_connection_is_chunked(scene: Scene) -> None:
    async def old(_: ScriptedTarget, wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.0 200 OK\r\n\r\n", b"abc")

    await scene.start((await scene.target(old)).address)
    client = await scene.client()
    for _ in range(2):
        response = await client.ask(get())
        assert response.start == b"HTTP/1.1 200 OK"
        assert response.one(b"transfer-encoding") == b"chunked"
        assert response.body == b"abc"


@in_scene
async def test_half_closed_client_is_answered(scene: Scene) -> None:
    await scene.start((await scene.target()).address)
    client = await scene.client()
    await client.send(get(b"/a"), get(b"/b"), post(b"body", path=b"/c"))
    client.finish()
    assert [(await client.response()).body for _ in range(3)] == [b"/a", b"/b", b"/c"]
    assert await client.rest() == b""


@in_scene
@pytest.mark.parametrize(
    ("ahead", "missing"),
    [
        pytest.param(b"", 1, id="the last byte"),
        pytest.param(b"", 10, id="all"),
        pytest.param(get(b"/ahead"), 1, id="the last byte, behind another"),
        pytest.param(
            get(b"/ahead"),
            10,
            id="all, behind another",
        ),
    ],
)
async def test_body_cut_by_half_closing_reaches_no_end(scene: Scene, ahead: bytes, missing: int) -> None:
    is_sent = asyncio.Event()

    async def script(target: ScriptedTarget, wire: Wire) -> None:
        while True:
            target.requests.append(await wire.request())
            await is_sent.wait()
            await wire.send(answer())

    target = await scene.target(script)
    await scene.start(target.address)
    client = await scene.client()
    await client.send(ahead, post(b"whole body", path=b"/cut")[:-missing])
    if ahead:
        await until(lambda: bool(target.requests))
    client.finish()
    if ahead:
        await until(lambda: any(connection._has_ended for connection in scene.proxy.clients))
    is_sent.set()
    await client.rest()
    assert b"/cut" not in [request.path for request in target.requests]


@in_scene
async def test_head_has_no_body(scene: Scene) -> None:
    async def script(_: ScriptedTarget, wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")

    await scene.start((await scene.target(script)).address)
    client = await scene.client()
    for _ in range(2):
        response = await client.ask(get(method=b"HEAD"))
        assert response.one(b"content-length") == b"5"
    await client.send(get(method=b"HEAD"))
    client.finish()
    await client.response(b"HEAD")
    assert await client.rest() == b""


@in_scene
async def test_fields_of_a_connection_stay_on_it(scene: Scene) -> None:
    async def script(target: ScriptedTarget, wire: Wire) -> None:
        target.requests.append(await wire.request())
        own = (
            b"Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nx-hop: 2\r\nKeep-Alive: timeout=5\r\nX-End: 1\r\n"
        )
        await wire.send(answer(fields=own))

    target = await scene.target(script)
    await scene.start(target.address)
    own = (
        b"Connection: X-Hop\r\nX-Hop: 1\r\nX-HOP:2\r\nTE: trailers\r\nProxy-Connection: close\r\nX-End: 1\r\n"
    )
    response = await scene.ask(get(fields=own + b"Keep-Alive: 1\r\n"))
    for message in (target.requests[0], response):
        names = {name for name, _ in message.fields}
        assert not names & {b"x-hop", b"te", b"proxy-connection", b"keep-alive", b"connection"}
        assert b"x-end" in names


@in_scene
async def test_connection_above_the_limit_is_closed_at_once(scene: Scene) -> None:
    await scene.start((await scene.target()).address, client_limits=ClientLimits(max_connections=2))
    first, second = await scene.client(), await scene.client()
    assert (await first.ask(get(b"/a"))).body == b"/a"
    assert (await second.ask(get(b"/b"))).body == b"/b"
    third = await scene.client()
    assert await third.rest() == b""
    assert scene.proxy.rejected_connections == 1
    await second.close()
    await until(lambda: len(scene.proxy.clients) == 1)
    assert (await scene.ask(get(b"/c"))).body == b"/c"


@in_scene
async def test_unix_sockets_both_ways(scene: Scene, tmp_path: Path) -> None:
    target = await scene.target(address=Address(path=str(tmp_path / "target")))
    await scene.start(target.address, listen=Address(path=str(tmp_path / "listener")))
    assert (await scene.ask(get(b"/a"))).body == b"/a"
    assert (await scene.ask(b"GET /b HTTP/1.0\r\n\r\n")).body == b"/b"
    assert target.requests[1].one(b"host") == b"localhost"


@in_scene
async def test_ipv6_both_ways(scene: Scene) -> None:
    loopback = Address(host="::1", port=0)
    target = await scene.target(address=loopback)
    await scene.start(target.address, listen=loopback)
    assert (await scene.ask(get(b"/a"))).body == b"/a"
    assert target.requests[0].one(b"x-forwarded-for") == b"::1"
    assert b'for="[::1]"' in (target.requests[0].one(b"forwarded") or b"")
    await scene.ask(b"GET /b HTTP/1.0\r\n\r\n")
    assert target.requests[1].one(b"host") == b"[::1]:%d" % (target.address.port or 0)


async def _hold(scene: Scene, release: asyncio.Event) -> ScriptedTarget:
    async def script(target: ScriptedTarget, wire: Wire) -> None:
        target.requests.append(await wire.request())
        await release.wait()
        await wire.send(answer(b"late"))

    return await scene.target(script)


@in_scene
async def test_draining_answers_what_is_in_flight(scene: Scene) -> None:
    release = asyncio.Event()
    target = await _hold(scene, release)
    await scene.start(target.address)
    idle, busy = await scene.client(), await scene.client()
    await busy.send(get())
    await until(lambda: bool(target.requests))
    sockets.close(scene.listening)
    draining = asyncio.ensure_future(scene.proxy.drain(5.0))
    assert await idle.rest() == b""
    with pytest.raises(ConnectionError):
        await scene.client()
    assert not draining.done()
    release.set()
    response = await busy.response()
    assert (response.body, response.one(b"connection")) == (b"late", b"close")
    assert await busy.rest() == b""
    assert await draining == 0


@in_scene
async def test_draining_cuts_what_takes_too_long(scene: Scene) -> None:
    target = await _hold(scene, asyncio.Event())
    await scene.start(target.address)
    client = await scene.client()
    await client.send(get())
    await until(lambda: bool(target.requests))
    assert await scene.proxy.drain(0.05) == 1
    assert await client.is_cut()


@in_scene
async def test_draining_lets_a_connection_that_was_just_accepted_ask(scene: Scene) -> None:
    target = await scene.target()
    await scene.start(target.address)
    fresh, used = await scene.client(), await scene.client()
    await used.ask(get())
    await until(lambda: len(scene.proxy.clients) == 2)
    sockets.close(scene.listening)
    draining = asyncio.ensure_future(scene.proxy.drain(5.0))
    assert await used.rest() == b""
    response = await fresh.ask(get())
    assert (response.status, response.one(b"connection")) == (200, b"close")
    assert await draining == 0
