"""What draining waits for: requests in flight, and answers that their clients have not taken yet."""

from __future__ import annotations

import asyncio
import socket

from wire import Scene, ScriptedTarget, Wire, answer, get, in_scene, until

from limpet.control import sockets


async def _slow_client(scene: Scene, body: bytes) -> Wire:
    async def script(target: ScriptedTarget, wire: Wire) -> None:
        target.requests.append(await wire.request())
        await wire.send(answer(body))

    await scene.start((await scene.target(script)).address)
    # Small from the beginning, or the system takes it all.
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.setblocking(False)
    await asyncio.get_running_loop().sock_connect(small, (scene.address.host, scene.address.port))
    client = Wire(*await asyncio.open_connection(sock=small))
    scene._clients.append(client)
    await until(lambda: bool(scene.proxy.clients))
    (connection,) = scene.proxy.clients
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await client.send(get())
    await until(lambda: bool(scene.targets[0].requests) and scene.states[0].in_flight == 0)
    assert connection.is_sending
    sockets.close(scene.listening)
    return client


@in_scene
async def test_an_answer_that_is_still_on_its_way(scene: Scene) -> None:
    body = b"x" * 60_000
    client = await _slow_client(scene, body)
    draining = asyncio.ensure_future(scene.proxy.drain(3.0))
    await asyncio.sleep(0.1)
    assert not draining.done()
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert (await client.response()).body == body
    assert await draining == 0


@in_scene
async def test_a_client_that_never_reads_is_waited_for_only_so_long(scene: Scene) -> None:
    await _slow_client(scene, b"x" * 60_000)
    async with asyncio.timeout(2):
        await scene.proxy.drain(0.2)
