"""Upgrades: after a 101 bytes go both ways unread, and each direction ends on its own."""

from __future__ import annotations

import asyncio

import pytest
from wire import Scene, ScriptedTarget, Wire, answer, get, in_scene, post, read_head, until

from limpet.core.model import TargetLimits

UPGRADE = get(
    b"/socket", b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-A: 1\r\n\r\n"


async def upper(target: ScriptedTarget, wire: Wire) -> None:
    """Switch, then answer every piece in capitals until the client's end."""
    target.requests.append(await read_head(wire.reader))
    await wire.send(SWITCH)
    while data := await wire.reader.read(65536):
        await wire.send(data.upper())
    await wire.send(b"BYE")


@in_scene
async def test_both_ways_and_half_closed_by_the_client(scene: Scene) -> None:
    target = await scene.target(upper)
    await scene.start(target.address)
    client = await scene.client()
    response = await client.ask(UPGRADE)
    assert response.status == 101
    assert response.one(b"upgrade") == b"websocket"
    assert (response.one(b"connection") or b"").lower() == b"upgrade"
    assert response.one(b"x-a") == b"1"
    request = target.requests[0]
    assert request.one(b"upgrade") == b"websocket"
    assert (request.one(b"connection") or b"").lower() == b"upgrade"
    for data in (b"a", b"GET / HTTP/1.1\r\n\r\n", b"\x00\xff"):
        await client.send(data)
        assert await client.reader.readexactly(len(data)) == data.upper()
    client.finish()
    assert await client.rest() == b"BYE"
    await until(lambda: scene.states[0].in_flight == 0)


@in_scene
async def test_half_closed_by_the_target(scene: Scene) -> None:
    received = asyncio.Future[bytes]()

    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await read_head(wire.reader)
        await wire.send(SWITCH, b"first words")
        wire.finish()
        received.set_result(await wire.rest())

    await scene.start((await scene.target(script)).address)
    client = await scene.client()
    assert (await client.ask(UPGRADE)).status == 101
    assert await client.rest() == b"first words"
    await client.send(b"last words")
    client.finish()
    assert await received == b"last words"


@in_scene
async def test_what_the_client_sent_ahead_is_passed_on(scene: Scene) -> None:
    await scene.start((await scene.target(upper)).address)
    client = await scene.client()
    await client.send(UPGRADE, b"ahead")
    client.finish()
    assert (await client.response()).status == 101
    assert await client.rest() == b"AHEADBYE"


@in_scene
@pytest.mark.parametrize("who", ["client", "target"])
async def test_lost_side_ends_the_other(scene: Scene, who: str) -> None:
    target = await scene.target(upper)
    await scene.start(target.address)
    client = await scene.client()
    assert (await client.ask(UPGRADE)).status == 101
    (client if who == "client" else target.wires[0]).reset()
    if who == "client":
        await until(target.wires[0].reader.at_eof)
    else:
        await client.rest()
    await until(lambda: scene.states[0].in_flight == 0 and not scene.proxy.clients)


@in_scene
@pytest.mark.parametrize("direction", ["down", "up"])
async def test_slow_reader_holds_back_and_loses_nothing(scene: Scene, direction: str) -> None:
    size = 32 << 20
    read = asyncio.Event()
    counted = asyncio.Future[int]()

    async def count(wire: Wire) -> int:
        total = 0
        while data := await wire.reader.read(1 << 20):
            total += len(data)
        return total

    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await read_head(wire.reader)
        await wire.send(SWITCH)
        if direction == "down":
            await wire.send(bytes(size))  # and is closed while the client has not read it
        else:
            await read.wait()
            counted.set_result(await count(wire))

    await scene.start((await scene.target(script)).address)
    client = await scene.client()
    assert (await client.ask(UPGRADE)).status == 101
    (connection,) = scene.proxy.clients
    if direction == "down":
        await until(lambda: connection.transport.get_write_buffer_size() > 0)
        assert connection.transport.get_write_buffer_size() < 2 << 20
        assert await count(client) == size
    else:
        sending = asyncio.ensure_future(client.send(bytes(size)))
        to_target = connection.exchange.connection.transport
        await until(lambda: to_target.get_write_buffer_size() > 0)
        assert to_target.get_write_buffer_size() < 2 << 20
        read.set()
        await sending
        client.finish()
        assert await counted == size


@in_scene
async def test_end_while_the_reader_is_slow(scene: Scene) -> None:
    # The target is gone while what it said still waits for the client.
    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await read_head(wire.reader)
        await wire.send(SWITCH, bytes(6 << 20))

    await scene.start((await scene.target(script)).address)
    client = await scene.client()
    assert (await client.ask(UPGRADE)).status == 101
    client.finish()
    await until(lambda: scene.states[0].in_flight == 0)
    assert len(await client.rest()) == 6 << 20


@in_scene
async def test_idle_tunnel_has_an_end(scene: Scene) -> None:
    await scene.start((await scene.target(upper)).address, limits=TargetLimits(tunnel_idle_timeout_s=0.05))
    client = await scene.client()
    assert (await client.ask(UPGRADE)).status == 101
    await client.rest()
    await until(lambda: not scene.proxy.clients)


@in_scene
async def test_target_may_decline(scene: Scene) -> None:
    await scene.start((await scene.target()).address)
    client = await scene.client()
    assert (await client.ask(UPGRADE)).body == b"/socket"
    assert (await client.ask(get(b"/next"))).body == b"/next"


@in_scene
@pytest.mark.parametrize(
    "request_",
    [
        get(fields=b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"),
        get(fields=b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"),
        get(fields=b"Upgrade: websocket\r\n"),
        get(fields=b"Connection: Upgrade\r\n"),
        post(b"body", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        b"GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
    ids=["h2c", "h2c in a list", "not in Connection", "no Upgrade", "with a body", "HTTP/1.0"],
)
async def test_upgrade_that_is_not_passed_on(scene: Scene, request_: bytes) -> None:
    target = await scene.target()
    await scene.start(target.address)
    assert (await scene.ask(request_)).status == 200
    assert not {b"upgrade", b"connection", b"http2-settings"} & {
        name for name, _ in target.requests[0].fields
    }


@in_scene
async def test_failed_upgrade_may_be_tried_elsewhere_or_fails_plainly(scene: Scene) -> None:
    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await read_head(wire.reader)
        await wire.send(answer(head=b"426 Upgrade Required", fields=b"Upgrade: websocket\r\n"))

    await scene.start((await scene.target(script)).address)
    assert (await scene.ask(get())).status == 426
