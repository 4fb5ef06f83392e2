"""HTTP/2 with clients: the same decisions and strictness, flow control, draining, and attacks."""

from __future__ import annotations

import asyncio
import contextlib
import struct

import pytest
from h2.errors import ErrorCodes
from h2_client import H2Client
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from wire import Scene, ScriptedTarget, Wire, answer, in_scene, read_head, until

from limpet.control import sockets
from limpet.core.model import ClientLimits, TargetLimits


@contextlib.asynccontextmanager
async def h2(scene: Scene, **more):
    client = await H2Client.connect(scene.address, **more)
    try:
        yield client
    finally:
        await client.close()


async def start(scene: Scene, script=None, **more) -> ScriptedTarget:
    target = await scene.target(script)
    await scene.start(target.address, http2=True, **more)
    return target


def frames(*parts) -> bytes:
    return b"".join(part.serialize() for part in parts)


@in_scene
async def test_a_request_and_its_answer(scene: Scene) -> None:
    target = await start(scene)
    async with h2(scene) as client:
        found = await client.ask((b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"accept", b"*/*"), path=b"/x?y")
        assert (found.status, bytes(found.body)) == (200, b"/x?y")
        names = {name for name, _ in found.fields}
        assert b"x-request-id" in names
        assert not names & {b"connection", b"transfer-encoding", b"keep-alive"}
        (request,) = target.requests
        assert request.start == b"GET /x?y HTTP/1.1"
        assert request.one(b"host") == b"shop.example"
        assert request.one(b"cookie") == b"a=1; b=2"
        assert request.one(b"x-forwarded-for") == b"127.0.0.1"
        # The same connections to targets serve the next stream.
        assert (await client.ask(path=b"/again")).status == 200
        assert len(target.wires) == 1


@in_scene
async def test_http1_is_served_on_the_same_port(scene: Scene) -> None:
    await start(scene)
    assert (await scene.ask(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")).status == 200
    client = await scene.client()
    for byte in b"PUT / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n":
        await client.send(bytes([byte]))
    assert (await client.response()).status == 200


@in_scene
async def test_many_streams_at_a_time(scene: Scene) -> None:
    target = await start(scene)
    async with h2(scene) as client:
        streams = [client.begin(path=b"/%d" % number) for number in range(100)]
        bodies = [bytes((await client.answer(stream)).body) for stream in streams]
    assert bodies == [b"/%d" % number for number in range(100)]
    assert len(target.requests) == 100


@pytest.mark.parametrize("has_length", [True, False])
@in_scene
async def test_a_body_arrives_whole(scene: Scene, has_length: bool) -> None:
    target = await start(scene)
    body = bytes(range(256)) * 2000
    fields = [(b"content-length", b"%d" % len(body))] if has_length else []
    async with h2(scene) as client:
        stream = client.begin(*fields, method=b"POST", end=False)
        sent = 0
        while sent < len(body):
            await client.until(lambda: client.engine.local_flow_control_window(stream) > 0)
            room = min(client.engine.local_flow_control_window(stream), 16384)
            client.engine.send_data(stream, body[sent : sent + room])
            sent += len(body[sent : sent + room])
            client.flush()
        client.engine.end_stream(stream)
        client.flush()
        assert (await client.answer(stream)).status == 200
    (request,) = target.requests
    assert request.body == body
    assert bool(request.all(b"transfer-encoding")) != has_length


@in_scene
async def test_a_response_of_any_framing(scene: Scene) -> None:
    async def script(_: ScriptedTarget, wire: Wire) -> None:
        for framing in (
            b"Content-Length: 5\r\n\r\nabcde",
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\nX-Sum: 7\r\n\r\n",
        ):
            await read_head(wire.reader)
            await wire.send(b"HTTP/1.1 200 OK\r\n" + framing)
        await read_head(wire.reader)
        await wire.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        await read_head(wire.reader)
        await wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n")
        await read_head(wire.reader)
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await read_head(wire.reader)
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\nabcde")
        wire.writer.close()

    await start(scene, script)
    async with h2(scene) as client:
        assert (await client.ask()).body == b"abcde"
        chunked = await client.ask()
        assert (chunked.body, chunked.trailers) == (b"abcde", [(b"x-sum", b"7")])
        assert ((await client.ask()).status, b"") == (204, b"")
        hinted = await client.ask()
        assert (hinted.interim, hinted.status) == ([103], 304)
        head = await client.ask(method=b"HEAD")
        assert (head.status, head.body, dict(head.fields)[b"content-length"]) == (200, b"", b"9")
        assert (await client.ask()).body == b"abcde"


@in_scene
async def test_a_cut_response_is_a_reset_stream(scene: Scene) -> None:
    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await read_head(wire.reader)
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        wire.writer.close()

    await start(scene, script)
    async with h2(scene) as client:
        found = await client.ask()
        assert (found.status, found.reset) == (200, ErrorCodes.INTERNAL_ERROR)
        assert (await client.ask()).status == 200  # the connection lives on


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(b":method", b"CONNECT"), (b":path", None), (b":scheme", None)], 501),
        ([(b":method", b"CONNECT"), (b":protocol", b"websocket")], 501),
        ([(b":path", b"no-slash")], 400),
        ([(b":path", b"/a b")], 400),
        ([(b"x", b"a\r\nEvil: 1")], None),
        ([(b"x", b"a\x00b")], None),
        ([(b"x\ny", b"a")], None),
        ([(b"x:y", b"a")], None),
        ([(b"Upper", b"a")], None),
        ([(b"connection", b"close")], None),
        ([(b"transfer-encoding", b"chunked")], None),
        ([(b"host", b"other.example")], None),
        ([(b":path", b"")], None),
        ([(b"content-length", b"5")], None),
        ([(b"content-length", b"0"), (b"content-length", b"1")], None),
    ],
)
@in_scene
async def test_what_has_no_meaning_in_http1_never_reaches_a_target(scene: Scene, fields, status) -> None:
    target = await start(scene)
    async with h2(scene) as client:
        stream = client.begin(*fields)
        found = await client.answer(stream)
        if status is None:  # refused, by the stream or by the connection, in whatever words
            assert found.status in {0, 400}
        else:
            assert found.status == status
    assert target.requests == []
    async with h2(scene) as other:
        assert (await other.ask()).status == 200


@in_scene
async def test_a_slow_client_holds_its_target_and_no_other_stream(scene: Scene) -> None:
    piece = b"x" * 65536

    async def script(target: ScriptedTarget, wire: Wire) -> None:
        head = await read_head(wire.reader)
        if head.path != b"/large":
            await wire.send(answer(b"small"))
            return
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (400 * len(piece)))
        for _ in range(400):
            await wire.send(piece)
        target.requests.append(head)

    target = await start(scene, script)
    async with h2(scene) as client:
        client.reads = False
        large = client.begin(path=b"/large")
        await client.until(lambda: len(client.answers[large].body) == 65535)
        client.reads = True
        # The connection's window is used up as well; give it back alone.
        client.engine.increment_flow_control_window(65535)
        client.flush()
        assert (await client.ask(path=b"/small")).body == b"small"
        assert target.requests == []  # most of the large body has not even been read from the target
        assert len(client.answers[large].body) == 65535
        client.engine.acknowledge_received_data(65535, large)
        client.flush()
        found = await client.answer(large)
        assert len(found.body) == 400 * len(piece)


@in_scene
async def test_a_slow_target_holds_the_client_back(scene: Scene) -> None:
    release = asyncio.Event()

    async def script(_: ScriptedTarget, wire: Wire) -> None:
        head = await read_head(wire.reader)
        if head.method == b"GET":
            await wire.send(answer(b"small"))
            return
        await release.wait()
        while not (await wire.reader.read(1 << 20)).endswith(b"0\r\n\r\n"):
            pass
        await wire.send(answer(b"done"))

    await start(scene, script)
    async with h2(scene) as client:
        stream = client.begin(method=b"POST", end=False)
        sent = 0
        while True:
            room = min(client.engine.local_flow_control_window(stream), 16384)
            if room == 0:
                try:
                    async with asyncio.timeout(0.3):
                        await client.until(lambda: client.engine.local_flow_control_window(stream) > 0)
                    continue
                except TimeoutError:
                    break
            client.engine.send_data(stream, b"x" * room)
            client.flush()
            sent += room
            await asyncio.sleep(0)
            assert sent < 64 << 20, "nothing holds the client back"
        assert (await client.ask()).body == b"small"
        release.set()
        await client.until(lambda: client.engine.local_flow_control_window(stream) > 0)
        client.engine.end_stream(stream)
        client.flush()
        assert (await client.answer(stream)).body == b"done"


@in_scene
async def test_a_reset_ends_the_request_at_the_target(scene: Scene) -> None:
    async def script(target: ScriptedTarget, wire: Wire) -> None:
        target.requests.append(await read_head(wire.reader))
        assert await wire.reader.read() == b""
        target.requests.append(None)

    target = await start(scene, script)
    async with h2(scene) as client:
        stream = client.begin()
        await until(lambda: len(target.requests) == 1)
        client.engine.reset_stream(stream, ErrorCodes.CANCEL)
        client.flush()
        await until(lambda: len(target.requests) == 2)
        assert scene.proxy.streams == set()
        target.script = None
    assert scene.states[0].in_flight == 0


@in_scene
async def test_draining_says_goodbye_and_answers_what_goes_on(scene: Scene) -> None:
    release = asyncio.Event()

    async def script(target: ScriptedTarget, wire: Wire) -> None:
        target.requests.append(await read_head(wire.reader))
        await release.wait()
        await wire.send(answer(b"late"))

    target = await start(scene, script)
    async with h2(scene) as client, h2(scene) as idle:
        stream = client.begin()
        await until(lambda: bool(target.requests))
        sockets.close(scene.listening)
        draining = asyncio.ensure_future(scene.proxy.drain(5.0))
        await idle.until(lambda: idle.gone is not None and idle.is_closed)
        await client.until(lambda: client.gone is not None)
        assert (client.gone, idle.gone) == (0, 0)
        release.set()
        found = await client.answer(stream)
        assert (found.status, bytes(found.body)) == (200, b"late")
        await client.until(lambda: client.is_closed)
        assert await draining == 0


@in_scene
async def test_a_client_that_says_nothing_is_closed(scene: Scene) -> None:
    await start(scene, client_limits=ClientLimits(header_timeout_s=0.1, keep_alive_s=0.1))
    async with h2(scene) as client:
        await client.until(lambda: client.is_closed)
        assert client.gone == 0


@in_scene
async def test_a_stream_that_stops_in_its_body_gets_408(scene: Scene) -> None:
    await start(scene, client_limits=ClientLimits(body_timeout_s=0.2))
    async with h2(scene) as client:
        stream = client.begin((b"content-length", b"10"), method=b"POST", end=False)
        client.engine.send_data(stream, b"abc")
        client.flush()
        found = await client.answer(stream)
        assert found.status == 408
        assert (await client.ask()).status == 200


@in_scene
async def test_a_body_that_is_too_large_gets_413(scene: Scene) -> None:
    target = await start(scene, client_limits=ClientLimits(max_body_bytes=10))
    async with h2(scene) as client:
        stream = client.begin((b"content-length", b"11"), method=b"POST", end=False)
        assert (await client.answer(stream)).status == 413
    assert target.requests == []


@in_scene
async def test_a_request_before_its_body_is_over_may_be_answered(scene: Scene) -> None:
    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await read_head(wire.reader)
        await wire.send(answer(b"no thanks"))

    await start(scene, script)
    async with h2(scene) as client:
        stream = client.begin(method=b"POST", end=False)
        found = await client.answer(stream)
        assert bytes(found.body) == b"no thanks"


# attacks


async def raw(scene: Scene) -> Wire:
    client = await scene.client()
    await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames(SettingsFrame(0)))
    return client


async def error_of(client: Wire) -> int:
    """Read to the end and return the error code of the last GOAWAY."""
    data = await client.rest()
    code, position = -1, 0
    while position + 9 <= len(data):
        length, kind = int.from_bytes(data[position : position + 3], "big"), data[position + 3]
        if kind == 7:
            (code,) = struct.unpack_from("!I", data, position + 13)
        position += 9 + length
    return code


HEADERS = b"\x82\x84\x86\x41\x0cshop.example"  # GET / http shop.example


@in_scene
async def test_rapid_reset_is_ended(scene: Scene) -> None:
    target = await start(scene)
    client = await raw(scene)
    with contextlib.suppress(ConnectionError):
        for number in range(1000):
            stream = 2 * number + 1
            head = HeadersFrame(stream, HEADERS, flags=["END_HEADERS", "END_STREAM"])
            await client.send(frames(head, RstStreamFrame(stream, error_code=8)))
    assert await error_of(client) in {ErrorCodes.ENHANCE_YOUR_CALM, -1}
    await until(lambda: not scene.proxy.clients and not scene.proxy.streams)
    assert len(target.requests) < 300


@pytest.mark.parametrize(
    "frame",
    [
        PingFrame(0, opaque_data=b"12345678"),
        SettingsFrame(0),
        DataFrame(1, b""),
        WindowUpdateFrame(0, window_increment=1),
    ],
    ids=["ping", "settings", "empty data", "window"],
)
@in_scene
async def test_floods_of_frames_end_or_cost_nothing(scene: Scene, frame) -> None:
    await start(scene)
    client = await raw(scene)
    with contextlib.suppress(ConnectionError):
        await client.send(frames(HeadersFrame(1, HEADERS, flags=["END_HEADERS"])))
        for _ in range(100):
            await client.send(frames(*[frame] * 100))
    async with h2(scene) as other:
        assert (await other.ask()).status == 200
    if not isinstance(frame, WindowUpdateFrame):
        assert await error_of(client) in {ErrorCodes.ENHANCE_YOUR_CALM, -1}


@in_scene
async def test_a_continuation_flood_is_ended(scene: Scene) -> None:
    await start(scene)
    client = await raw(scene)
    with contextlib.suppress(ConnectionError):
        await client.send(frames(HeadersFrame(1, HEADERS)))
        for _ in range(2000):
            await client.send(frames(ContinuationFrame(1, b"\x00\x01x\x01y")))
    await client.rest()
    await until(lambda: not scene.proxy.clients)


@in_scene
async def test_a_header_bomb_is_ended(scene: Scene) -> None:
    target = await start(scene)
    client = await raw(scene)
    # One entry of 4000 bytes into the table, then one byte for each time it is named.
    name = b"\x40\x01x" + b"\x7f" + bytes([0xA1 | 0x00, 0x1E]) + b"a" * 4000
    bomb = HEADERS + name + b"\xbe" * 16000
    with contextlib.suppress(ConnectionError):
        await client.send(frames(HeadersFrame(1, bomb[:16384], flags=["END_HEADERS", "END_STREAM"])))
    assert await error_of(client) != 0
    assert target.requests == []


@in_scene
async def test_garbage_is_a_protocol_error(scene: Scene) -> None:
    await start(scene)
    for garbage in (b"\x00" * 100, b"GET / HTTP/1.1\r\n\r\n", frames(DataFrame(1, b"x")), b"\xff" * 9):
        client = await raw(scene)
        await client.send(garbage)
        assert await error_of(client) > 0
    await until(lambda: not scene.proxy.clients)


@in_scene
async def test_one_byte_at_a_time(scene: Scene) -> None:
    await start(scene)
    client = await scene.client()
    head = HeadersFrame(1, HEADERS, flags=["END_HEADERS", "END_STREAM"])
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames(SettingsFrame(0), head):
        await client.send(bytes([byte]))
    await until(lambda: scene.proxy.requests == 1)


@in_scene
async def test_limits_hold_over_all_streams(scene: Scene) -> None:
    release = asyncio.Event()

    async def script(target: ScriptedTarget, wire: Wire) -> None:
        while True:
            target.requests.append(await read_head(wire.reader))
            await release.wait()
            await wire.send(answer(b"x"))

    target = await start(scene, script, limits=TargetLimits(max_in_flight=2, max_queued=1))
    async with h2(scene) as client:
        streams = [client.begin() for _ in range(5)]
        await client.until(lambda: sum(found.status == 503 for found in client.answers.values()) == 2)
        await until(lambda: len(target.requests) == 2)
        release.set()
        statuses = sorted([(await client.answer(stream)).status for stream in streams])
    assert statuses == [200, 200, 200, 503, 503]
