"""Queues and timeouts: nobody waits for ever, and who is turned away is told."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from typing import TYPE_CHECKING

import pytest
from wire import Scene, ScriptedTarget, Wire, answer, get, in_scene, post, read_head, until

from limpet.core.address import Address
from limpet.core.model import ClientLimits, TargetLimits

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Long enough to be a wait, short enough for a test; limpet looks four times a second.
SHORT_S = 0.05


class SlowTarget(ScriptedTarget):
    """Answers one request for every `release`."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.permits = asyncio.Semaphore(0)

    async def _answer(self, _: ScriptedTarget, wire: Wire) -> None:
        while True:
            request = await wire.request()
            self.requests.append(request)
            await self.permits.acquire()
            await wire.send(answer(request.path))

    def release(self) -> None:
        self.permits.release()


async def _slow(scene: Scene) -> SlowTarget:
    target = await SlowTarget().open()
    scene.targets.append(target)
    return target


async def _sent(scene: Scene, path: bytes) -> Wire:
    client = await scene.client()
    await client.send(get(path))
    return client


@in_scene
async def test_queue_is_served_in_order_and_bounded(scene: Scene) -> None:
    target = await _slow(scene)
    await scene.start(target.address, limits=TargetLimits(max_in_flight=1, max_queued=2))
    (state,) = scene.states
    first = await _sent(scene, b"/1")
    await until(lambda: state.in_flight == 1)
    second = await _sent(scene, b"/2")
    await until(lambda: state.queued == 1)
    third = await _sent(scene, b"/3")
    await until(lambda: state.queued == 2)
    turned_away = await scene.ask(get(b"/4"))
    assert (turned_away.status, turned_away.one(b"retry-after")) == (503, b"1")
    for client, path in ((first, b"/1"), (second, b"/2"), (third, b"/3")):
        target.release()
        assert (await client.response()).body == path
    assert [request.path for request in target.requests] == [b"/1", b"/2", b"/3"]


@in_scene
async def test_waiting_in_the_queue_has_an_end(scene: Scene) -> None:
    target = await _slow(scene)
    await scene.start(target.address, limits=TargetLimits(max_in_flight=1, queue_timeout_s=SHORT_S))
    first = await _sent(scene, b"/1")
    await until(lambda: scene.states[0].in_flight == 1)
    response = await scene.ask(get(b"/2"))
    assert (response.status, response.one(b"retry-after")) == (503, b"1")
    target.release()
    assert (await first.response()).body == b"/1"
    assert len(target.requests) == 1


@in_scene
async def test_client_that_leaves_the_queue_makes_room(scene: Scene) -> None:
    target = await _slow(scene)
    await scene.start(target.address, limits=TargetLimits(max_in_flight=1, max_queued=1))
    (state,) = scene.states
    first = await _sent(scene, b"/1")
    await until(lambda: state.in_flight == 1)
    (await _sent(scene, b"/gone")).reset()
    await until(lambda: len(scene.proxy.clients) == 1)
    third = await _sent(scene, b"/3")
    await until(lambda: state.queued == 1)
    target.release()
    target.release()
    assert (await first.response()).body == b"/1"
    assert (await third.response()).body == b"/3"
    assert [request.path for request in target.requests] == [b"/1", b"/3"]


@in_scene
async def test_queue_of_a_target_that_leaves_goes_elsewhere(scene: Scene) -> None:
    # Two wait for A when it stops taking requests: both must be served by B, and soon.
    target, other = await _slow(scene), await scene.target()
    await scene.start(target.address, other.address, limits=TargetLimits(max_in_flight=1))
    state, state_b = scene.states
    group = scene.proxy.snapshot.groups["web"]
    object.__setattr__(group, "available", (state,))
    clients = [await _sent(scene, b"/1")]
    await until(lambda: state.in_flight == 1)
    for number in (2, 3, 4):
        clients.append(await _sent(scene, b"/%d" % number))
        await until(lambda number=number: state.queued == number - 1)
    object.__setattr__(group, "available", (state_b,))
    state.takes_sticky = False
    target.release()
    assert [(await client.response()).body for client in clients] == [b"/1", b"/2", b"/3", b"/4"]
    assert len(other.requests) == 3


@in_scene
@pytest.mark.parametrize("part", [b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n"])
async def test_head_that_does_not_come_in_time(scene: Scene, part: bytes) -> None:
    await scene.start((await scene.target()).address, client_limits=ClientLimits(header_timeout_s=SHORT_S))
    client = await scene.client()
    response = await client.ask(part)
    assert (response.status, response.one(b"connection")) == (408, b"close")
    assert await client.rest() == b""


@in_scene
async def test_body_that_does_not_come_in_time(scene: Scene) -> None:
    target = await scene.target()
    await scene.start(target.address, client_limits=ClientLimits(body_timeout_s=SHORT_S))
    client = await scene.client()
    response = await client.ask(post(b"body")[:-1])
    assert (response.status, response.one(b"connection")) == (408, b"close")
    assert target.requests == []
    assert scene.target_errors == [], "the client's slowness is no failure of the target"


@in_scene
async def test_idle_client_is_closed(scene: Scene) -> None:
    await scene.start((await scene.target()).address, client_limits=ClientLimits(keep_alive_s=SHORT_S))
    silent, client = await scene.client(), await scene.client()
    assert (await client.ask(get())).status == 200
    assert await client.rest() == b""
    assert await silent.rest() == b""


@in_scene
async def test_idle_target_connection_is_closed(scene: Scene) -> None:
    target = await scene.target()
    await scene.start(target.address, limits=TargetLimits(keep_alive_s=SHORT_S))
    await scene.ask(get())
    await until(target.wires[0].reader.at_eof)


@pytest.fixture
def full_address() -> Iterator[Address]:
    """An address whose backlog is full, so that connecting to it takes for ever."""
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        yield Address(host="127.0.0.1", port=listening.getsockname()[1])


@in_scene
async def test_connecting_has_an_end(scene: Scene, full_address: Address) -> None:
    limits = TargetLimits(connect_timeout_s=SHORT_S, max_attempts=1)
    await scene.start(full_address, limits=limits)
    assert (await scene.ask(get())).status == 504
    assert scene.target_errors == [("A", "connect_timeout")]


@in_scene
async def test_connecting_too_long_is_tried_elsewhere(scene: Scene, full_address: Address) -> None:
    target = await scene.target()
    await scene.start(full_address, target.address, limits=TargetLimits(connect_timeout_s=SHORT_S))
    assert (await scene.ask(post(b"body"))).status == 200
    assert target.requests[0].body == b"body"


@in_scene
@pytest.mark.parametrize("request_", [get(), post(b"body")], ids=["GET", "POST"])
async def test_target_that_does_not_answer_in_time(scene: Scene, request_: bytes) -> None:
    targets = [await _slow(scene) for _ in range(2)]
    limits = TargetLimits(response_timeout_s=SHORT_S)
    await scene.start(*[target.address for target in targets], limits=limits)
    assert (await scene.ask(request_)).status == 504
    assert sum(len(target.requests) for target in targets) == 1


@in_scene
@pytest.mark.parametrize("framing", [b"Content-Length: 9", b"Transfer-Encoding: chunked"])
async def test_response_that_stops_in_its_middle_is_cut(scene: Scene, framing: bytes) -> None:
    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n3\r\nabc" % framing)
        await wire.rest()

    await scene.start((await scene.target(script)).address, limits=TargetLimits(idle_timeout_s=SHORT_S))
    client = await scene.client()
    await client.send(get())
    assert (await read_head(client.reader)).status == 200
    assert await client.is_cut()


@in_scene
async def test_client_that_does_not_read_is_cut(scene: Scene) -> None:
    is_over = asyncio.Event()

    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await wire.request()
        try:
            await wire.send(answer(bytes(64 << 20)))
            await wire.rest()
        finally:
            is_over.set()

    target = await scene.target(script)
    await scene.start(target.address, client_limits=ClientLimits(send_timeout_s=SHORT_S))
    client = await scene.client()
    await client.send(get())
    await is_over.wait()
    assert scene.target_errors == [], "the client's slowness is no failure of the target"
    await until(lambda: not scene.proxy.clients)


@in_scene
async def test_target_that_is_slow_to_say_continue_is_a_504(scene: Scene) -> None:
    limits, client_limits = TargetLimits(response_timeout_s=SHORT_S), ClientLimits(body_timeout_s=60)
    await scene.start((await _silent(scene)).address, limits=limits, client_limits=client_limits)
    client = await scene.client()
    response = await client.ask(post(b"body", fields=b"Expect: 100-continue\r\n")[:-4])
    assert response.status == 504


@in_scene
async def test_connection_that_is_older_than_its_target_group_is_told_so(scene: Scene) -> None:
    await scene.start((await scene.target()).address)
    client = await scene.client()
    await client.ask(get())
    scene.proxy.use(dataclasses.replace(scene.proxy.snapshot, groups={}))
    response = await client.ask(get())
    assert (response.status, response.one(b"connection")) == (503, b"close")


async def _silent(scene: Scene) -> ScriptedTarget:
    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await wire.rest()

    return await scene.target(script)
