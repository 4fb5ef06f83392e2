"""Bodies both ways: framed anew, streamed, held back, answered early, cut."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from wire import Scene, ScriptedTarget, Wire, answer, get, in_scene, post, read_chunk, read_head, until

from limpet.core.model import ClientLimits

CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED_POST = b"POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZES = (0, 1, 4096, 65536, 300_000)
BIG = 64 << 20


def chunks(body: bytes, size: int = 7000) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]) + b"0\r\n\r\n"


async def echo(_: ScriptedTarget, wire: Wire) -> None:
    while True:
        request = await wire.request()
        if request.path == b"/length":
            await wire.send(answer(request.body))
        else:
            await wire.send(CHUNKED_HEAD, chunks(request.body))


@in_scene
@pytest.mark.parametrize("size", SIZES)
async def test_bodies_arrive_whole_in_either_framing(scene: Scene, size: int) -> None:
    await scene.start((await scene.target(echo)).address)
    client = await scene.client()
    body = bytes(itertools.islice(itertools.cycle(b"0123456789\r\n"), size))
    for path in (b"/length", b"/chunks"):
        assert (await client.ask(post(body, path=path))).body == body
        await client.send(CHUNKED_POST.replace(b" / ", b" %b " % path), chunks(body))
        assert (await client.response()).body == body


@in_scene
async def test_trailers_pass_both_ways_without_forbidden_ones(scene: Scene) -> None:
    async def script(target: ScriptedTarget, wire: Wire) -> None:
        target.requests.append(await wire.request())
        await wire.send(CHUNKED_HEAD, b"0\r\nX-Sum: 2\r\nSet-Cookie: a=1\r\nContent-Length: 9\r\n\r\n")

    target = await scene.target(script)
    await scene.start(target.address)
    client = await scene.client()
    await client.send(
        CHUNKED_POST, b"1\r\na\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
    )
    response = await client.response()
    assert target.requests[0].trailers == [(b"x-sum", b"1")]
    assert response.trailers == [(b"x-sum", b"2")]


@in_scene
async def test_slow_target_holds_the_client_back(scene: Scene) -> None:
    release = asyncio.Event()

    async def script(_: ScriptedTarget, wire: Wire) -> None:
        head = await read_head(wire.reader)
        await release.wait()
        left = int(head.one(b"content-length") or 0)
        while left:
            left -= len(await wire.reader.read(1 << 20))
        await wire.send(answer(b"all"))

    await scene.start((await scene.target(script)).address)
    client = await scene.client()
    sending = asyncio.ensure_future(client.send(post(bytes(BIG))))
    await until(lambda: any(c.exchange and c.exchange.connection for c in scene.proxy.clients))
    (connection,) = scene.proxy.clients
    to_target = connection.exchange.connection.transport
    await until(lambda: connection.is_paused and to_target.get_write_buffer_size() > 0)
    assert to_target.get_write_buffer_size() < 2 << 20
    assert not sending.done()
    release.set()
    await sending
    assert (await client.response()).body == b"all"


@in_scene
async def test_slow_client_holds_the_target_back(scene: Scene) -> None:
    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await wire.request()
        await wire.send(answer(bytes(BIG)))

    target = await scene.target(script)
    await scene.start(target.address)
    client = await scene.client()
    await client.send(get())
    await until(lambda: any(c.transport.get_write_buffer_size() > 0 for c in scene.proxy.clients))
    (connection,) = scene.proxy.clients
    await until(lambda: connection.exchange._is_target_paused)
    assert connection.transport.get_write_buffer_size() < 2 << 20
    assert target.wires[0].writer.transport.get_write_buffer_size() > 0
    head = await read_head(client.reader)
    left = int(head.one(b"content-length") or 0)
    while left:
        left -= len(await client.reader.read(1 << 20))
    assert scene.states[0].in_flight == 0


@in_scene
async def test_expectation_is_passed_on_and_answered_by_the_target(scene: Scene) -> None:
    async def script(_: ScriptedTarget, wire: Wire) -> None:
        head = await read_head(wire.reader)
        assert head.one(b"expect") == b"100-continue"
        await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await wire.send(answer(await wire.reader.readexactly(4)))

    await scene.start((await scene.target(script)).address)
    client = await scene.client()
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    assert (await client.response()).status == 100
    await client.send(b"body")
    assert (await client.response()).body == b"body"


@in_scene
async def test_target_may_refuse_what_is_expected(scene: Scene) -> None:
    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await read_head(wire.reader)
        await wire.send(answer(b"no", head=b"403 Forbidden"))

    await scene.start((await scene.target(script)).address)
    client = await scene.client()
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    response = await client.response()
    assert (response.status, response.one(b"connection")) == (403, b"close")
    assert await client.rest() == b""


@in_scene
async def test_interim_responses_come_as_they_are_sent(scene: Scene) -> None:
    go_on = asyncio.Event()

    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        await go_on.wait()
        await wire.send(answer())

    await scene.start((await scene.target(script)).address)
    client = await scene.client()
    hints = await client.ask(get())
    assert (hints.status, hints.one(b"link")) == (103, b"</a.css>")
    go_on.set()
    assert (await client.response()).status == 200


@in_scene
async def test_response_before_the_end_of_the_request(scene: Scene) -> None:
    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await read_head(wire.reader)
        await wire.send(answer(b"enough", head=b"413 Content Too Large"))
        await wire.rest()

    target = await scene.target(script)
    await scene.start(target.address)
    client = await scene.client()
    await client.send(post(bytes(1000))[:-500])
    response = await client.response()
    assert (response.status, response.body) == (413, b"enough")
    assert response.one(b"connection") == b"close"
    await client.send(bytes(500))  # discarded, not taken for a request
    assert await client.rest() == b""
    assert (await scene.ask(get())).status == 413
    assert len(target.wires) == 2, "a connection with half a request is not used again"


@in_scene
async def test_both_bodies_at_the_same_time(scene: Scene) -> None:
    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await read_head(wire.reader)
        await wire.send(CHUNKED_HEAD)
        while data := await read_chunk(wire.reader):
            await wire.send(b"%x\r\n%b\r\n" % (len(data), data))
        await wire.send(b"0\r\n\r\n")

    await scene.start((await scene.target(script)).address)
    client = await scene.client()
    await client.send(CHUNKED_POST)
    assert (await read_head(client.reader)).status == 200
    for data in (b"one", b"two", b"three"):
        await client.send(b"%x\r\n%b\r\n" % (len(data), data))
        assert await read_chunk(client.reader) == data
    await client.send(b"0\r\n\r\n")
    assert await read_chunk(client.reader) == b""


@in_scene
@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_events_are_not_collected(scene: Scene, framing: str) -> None:
    seen = asyncio.Event()

    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await wire.request()
        if framing == "chunks":
            await wire.send(CHUNKED_HEAD)
        else:
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(5):
            event = b"data: %d\n\n" % number
            await wire.send(b"%x\r\n%b\r\n" % (len(event), event) if framing == "chunks" else event)
            await seen.wait()
            seen.clear()
        if framing == "chunks":
            await wire.send(b"0\r\n\r\n")

    await scene.start((await scene.target(script)).address)
    client = await scene.client()
    await client.send(get())
    await read_head(client.reader)
    for number in range(5):
        assert await read_chunk(client.reader) == b"data: %d\n\n" % number
        seen.set()
    assert await read_chunk(client.reader) == b""


@in_scene
async def test_body_larger_than_allowed(scene: Scene) -> None:
    target = await scene.target()
    await scene.start(target.address, client_limits=ClientLimits(max_body_bytes=10))
    client = await scene.client()
    assert (await client.ask(post(b"0123456789"))).status == 200
    response = await client.ask(post(b"0123456789a"))
    assert (response.status, response.one(b"connection")) == (413, b"close")
    assert await client.rest() == b""
    for body in (chunks(b"0123456789a"), b"6\r\n012345\r\n6\r\n012345\r\n"):
        client = await scene.client()
        await client.send(CHUNKED_POST, body)
        assert (await client.response()).status == 413
        assert await client.rest() == b""
    assert len(target.requests) == 1


@in_scene
@pytest.mark.parametrize("request_", [get(), post(b"body")], ids=["GET", "POST"])
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_client_gone_in_the_response_closes_the_target(scene: Scene, request_: bytes, how: str) -> None:
    is_over = asyncio.Event()

    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED_HEAD)
        try:
            # A reset shows at once, an orderly end only when something is written to it.
            await (wire.rest() if how == "reset" else _endless(wire))
        finally:
            is_over.set()

    await scene.start((await scene.target(script)).address)
    client = await scene.client()
    await client.send(request_)
    await read_head(client.reader)
    if how == "close":
        client.writer.close()
    else:
        client.reset()
    await is_over.wait()
    assert scene.states[0].in_flight == 0


async def _endless(wire: Wire) -> None:
    while True:
        await wire.send(b"3\r\nabc\r\n")
        await asyncio.sleep(0)


@in_scene
@pytest.mark.parametrize("data", [get(), post(b"body"), post(b"body")[:-2]], ids=["GET", "POST", "cut POST"])
async def test_client_gone_before_the_response_closes_the_target(scene: Scene, data: bytes) -> None:
    is_over = asyncio.Event()

    async def script(target: ScriptedTarget, wire: Wire) -> None:
        target.requests.append(await read_head(wire.reader))
        await wire.rest()
        is_over.set()

    target = await scene.target(script)
    await scene.start(target.address)
    client = await scene.client()
    await client.send(data)
    await until(lambda: bool(target.requests))
    client.reset()
    await is_over.wait()


@in_scene
@pytest.mark.parametrize(
    ("version", "head"),
    [
        (b"1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        (b"1.1", CHUNKED_HEAD + b"9\r\n"),
        (b"1.0", CHUNKED_HEAD + b"9\r\n"),
    ],
    ids=["length", "chunks", "chunks to HTTP/1.0"],
)
async def test_target_gone_in_the_response_is_seen_by_the_client(
    scene: Scene, version: bytes, head: bytes
) -> None:
    is_seen = asyncio.Event()

    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await wire.request()
        await wire.send(head, b"abc")
        await is_seen.wait()

    await scene.start((await scene.target(script)).address)
    client = await scene.client()
    await client.send(b"GET / HTTP/%b\r\nHost: a\r\n\r\n" % version)
    assert (await read_head(client.reader)).status == 200
    is_seen.set()
    assert await client.is_cut()
