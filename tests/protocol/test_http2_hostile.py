"""HTTP/2 clients that break off, stall, or say things in an order that is legal and unusual."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from random import Random

import h2.settings
import pytest
from h2.errors import ErrorCodes
from h2_client import H2Client
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from wire import Scene, ScriptedTarget, Wire, answer, in_scene, read_head, until

from limpet.control import sockets
from limpet.core.model import ClientLimits, TargetLimits

CODES = h2.settings.SettingCodes
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = b"\x82\x84\x86\x41\x0cshop.example"  # GET / http shop.example
POST = b"\x83\x84\x86\x41\x0cshop.example"
#: Larger than anything that is sent here.
WIDE_BYTES = 1 << 30


def frames(*parts) -> bytes:
    return b"".join(part.serialize() for part in parts)


def head(stream: int, block: bytes = GET, *flags: str) -> HeadersFrame:
    return HeadersFrame(stream, block, flags=["END_HEADERS", *flags])


@contextlib.asynccontextmanager
async def h2_client(scene: Scene, **more):
    client = await H2Client.connect(scene.address, **more)
    try:
        yield client
    finally:
        await client.close()


async def start(scene: Scene, script=None, **more) -> ScriptedTarget:
    target = await scene.target(script)
    await scene.start(target.address, http2=True, **more)
    return target


async def raw(scene: Scene, *first) -> Wire:
    client = await scene.client()
    await client.send(PREFACE, frames(SettingsFrame(0), *first))
    return client


async def types_until_end(client: Wire) -> list[tuple[int, int]]:
    """Read to the end and return each frame's type and stream."""
    data, found, at = await client.rest(), [], 0
    while at + 9 <= len(data):
        found.append((data[at + 3], int.from_bytes(data[at + 5 : at + 9], "big")))
        at += 9 + int.from_bytes(data[at : at + 3], "big")
    return found


@pytest.mark.parametrize(
    "answers_itself",
    [
        b"\x83\x04\x00",  # POST with an empty path: refused before it is a request
        b"\x82\x04\x03a#b\x86\x41\x0cshop.example",  # no HTTP/1.1 request
        b"\x82\x84\x86\x41\x0cshop.example",  # too many requests
    ],
    ids=["no request", "400", "429"],
)
@pytest.mark.parametrize("goes", ["reset", "goaway"])
@in_scene
async def test_an_answer_of_our_own_to_who_has_left_already(scene: Scene, answers_itself, goes) -> None:
    limits = ClientLimits(requests_per_s_per_client=0.01, burst=1)
    await start(scene, client_limits=limits)
    last = RstStreamFrame(1, error_code=8) if goes == "reset" else GoAwayFrame(0)
    client = await raw(scene)
    await client.send(frames(head(1, answers_itself, "END_STREAM"), last))
    await client.send(frames(head(3, answers_itself, "END_STREAM"), RstStreamFrame(3, error_code=8)))
    client.finish()
    await client.rest()
    await until(lambda: not scene.proxy.clients and not scene.proxy.streams)


@in_scene
async def test_requests_that_are_reset_at_once_are_not_even_routed(scene: Scene) -> None:
    target = await start(scene)
    client = await raw(scene)
    for stream in range(1, 101, 2):
        await client.send(frames(head(stream, GET, "END_STREAM"), RstStreamFrame(stream, error_code=8)))
    await client.send(frames(PingFrame(0, opaque_data=b"12345678")))
    await until(lambda: not scene.proxy.streams)
    assert target.requests == []


@in_scene
async def test_a_goodbye_with_requests_under_way(scene: Scene) -> None:
    release = asyncio.Event()

    async def script(target: ScriptedTarget, wire: Wire) -> None:
        target.requests.append(await read_head(wire.reader))
        await release.wait()
        await wire.send(answer(b"late" * 10_000))

    target = await start(scene, script)
    async with h2_client(scene) as client:
        streams = [client.begin() for _ in range(3)]
        await until(lambda: len(target.requests) == 3)
        # The window that it gives back comes behind its goodbye, in the same breath.
        window = WindowUpdateFrame(0, window_increment=1000)
        client.writer.write(frames(GoAwayFrame(0), window))
        await asyncio.sleep(0.01)
        release.set()
        for stream in streams:
            assert (await client.answer(stream)).body == b"late" * 10_000
        await client.until(lambda: client.is_closed)


@in_scene
async def test_a_clients_table_of_fields_stays_small(scene: Scene) -> None:
    await start(scene)
    async with h2_client(scene) as client:
        client.engine.update_settings({CODES.HEADER_TABLE_SIZE: 1 << 31})
        client.flush()
        for _ in range(100):
            assert (await client.ask()).status == 200
        (connection,) = scene.proxy.clients
        assert connection.engine.encoder.header_table.maxsize <= 4096


@in_scene
async def test_uploads_that_are_broken_off_do_not_use_up_the_window(scene: Scene) -> None:
    async def deaf(_: ScriptedTarget, wire: Wire) -> None:
        head = await read_head(wire.reader)
        if head.method == b"GET":
            await wire.send(answer(b"ok"))
            return
        wire.writer.transport.pause_reading()
        await asyncio.sleep(60)

    await start(scene, deaf)
    async with h2_client(scene) as client:
        for _ in range(15):
            await _break_an_upload_off(scene, client)
        assert (await client.ask()).status == 200
        assert client.engine.outbound_flow_control_window > 500_000


async def _break_an_upload_off(scene: Scene, client: H2Client) -> None:
    stream = client.begin(method=b"POST", end=False)
    for _ in range(8):
        await client.until(lambda: client.engine.local_flow_control_window(stream) >= 16384)
        client.engine.send_data(stream, b"x" * 16384)
        client.flush()
    streams = scene.proxy.streams
    await until(lambda: any(each.is_paused or each.exchange.bytes_in >= 131072 for each in streams))
    client.engine.reset_stream(stream, ErrorCodes.CANCEL)
    client.flush()
    await until(lambda: not streams)


@in_scene
async def test_a_slow_reader_with_a_wide_window_gets_everything(scene: Scene) -> None:
    body = b"x" * 150_000

    async def script(target: ScriptedTarget, wire: Wire) -> None:
        while True:
            target.requests.append(await read_head(wire.reader))
            await wire.send(answer(body))

    target = await start(scene, script)
    async with h2_client(scene, window_bytes=WIDE_BYTES) as client:
        client.engine.increment_flow_control_window(WIDE_BYTES)
        client.flush()
        transport = client.writer.transport
        await until(lambda: bool(scene.proxy.clients))
        (connection,) = scene.proxy.clients
        for each in (transport, connection.transport):  # or the system takes it all
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                each.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 65536)
        transport.pause_reading()
        streams = [client.begin() for _ in range(60)]
        # Not the number of open streams: the system's buffers may take a whole response or two at once.
        await until(lambda: len(target.requests) == 60 and connection.transport.get_write_buffer_size() > 0)
        await asyncio.sleep(0.1)
        assert connection.transport.get_write_buffer_size() < 500_000
        transport.resume_reading()
        for stream in streams:
            found = await client.answer(stream)
            assert (found.status, len(found.body)) == (200, len(body))


@in_scene
async def test_a_large_response_leaves_room_for_others(scene: Scene) -> None:
    async def script(_: ScriptedTarget, wire: Wire) -> None:
        asked = await read_head(wire.reader)
        await wire.send(answer(b"x" * (20_000_000 if asked.path == b"/large" else 5)))

    await start(scene, script)
    async with h2_client(scene, window_bytes=WIDE_BYTES) as client:
        client.engine.increment_flow_control_window(WIDE_BYTES)
        large = client.begin(path=b"/large")
        await client.until(lambda: bool(client.answers[large].body))
        assert len((await client.ask(path=b"/small")).body) == 5
        assert len(client.answers[large].body) < 20_000_000
        assert len((await client.answer(large)).body) == 20_000_000


@in_scene
async def test_trailers_do_not_hide_that_a_body_is_short(scene: Scene) -> None:
    async def script(target: ScriptedTarget, wire: Wire) -> None:
        await read_head(wire.reader)
        target.requests.append(await wire.reader.read())

    target = await start(scene, script)
    async with h2_client(scene) as client:
        stream = client.begin((b"content-length", b"10"), method=b"POST", end=False)
        client.engine.send_data(stream, b"abc")
        client.engine.send_headers(stream, [(b"x-sum", b"1")], end_stream=True)
        client.flush()
        async with asyncio.timeout(1):
            found = await client.answer(stream)
        assert found.status in {0, 400}
    await until(lambda: target.requests in ([], [b"abc"]))


@in_scene
async def test_padding_is_no_body(scene: Scene) -> None:
    target = await start(scene)
    client = await raw(scene)
    parts = [DataFrame(1, b"ab", pad_length=200, flags=["PADDED"]) for _ in range(5)]
    await client.send(frames(head(1, POST + b"\x0f\x0d\x0210"), *parts[:4]))
    await client.send(frames(DataFrame(1, b"ab", pad_length=9, flags=["PADDED", "END_STREAM"])))
    await until(lambda: bool(target.requests))
    assert target.requests[0].body == b"ab" * 5
    client.finish()


@in_scene
async def test_two_hosts_are_refused(scene: Scene) -> None:
    target = await start(scene)
    async with h2_client(scene) as client:
        found = await client.ask((b"host", b"evil.example"), (b"host", b"shop.example"))
        assert found.status in {0, 400}
    assert target.requests == []


@in_scene
async def test_bad_requests_buy_no_resets(scene: Scene) -> None:
    await start(scene)
    client = await raw(scene)
    bad = b"\x82\x04\x01a\x86\x41\x0cshop.example"  # a path without a slash
    with contextlib.suppress(ConnectionError):
        for number in range(1, 8000, 4):
            reset = RstStreamFrame(number + 2, error_code=8)
            await client.send(
                frames(head(number, bad, "END_STREAM"), head(number + 2, GET, "END_STREAM"), reset)
            )
    await client.rest()
    assert scene.proxy.requests < 400


@in_scene
async def test_map_tiles_that_are_panned_away_are_no_attack(scene: Scene) -> None:
    async def silent(_: ScriptedTarget, wire: Wire) -> None:
        await wire.reader.read()

    await start(scene, silent)
    async with h2_client(scene) as client:
        for _ in range(5):
            streams = [client.begin() for _ in range(50)]
            await until(lambda: len(scene.proxy.streams) == 50)
            for stream in streams:
                client.engine.reset_stream(stream, ErrorCodes.CANCEL)
            client.flush()
            await until(lambda: not scene.proxy.streams)
        assert client.gone is None
    assert scene.states[0].in_flight == 0


@in_scene
async def test_draining_waits_for_what_a_client_has_not_taken_yet(scene: Scene) -> None:
    await start(scene, lambda _, wire: _answer_once(wire, b"x" * 60_000))
    async with h2_client(scene, window_bytes=1000) as client:
        client.reads = False
        stream = client.begin()
        await client.until(lambda: len(client.answers[stream].body) == 1000)
        await until(lambda: scene.states[0].in_flight == 0)
        sockets.close(scene.listening)
        draining = asyncio.ensure_future(scene.proxy.drain(3.0))
        await client.until(lambda: client.gone is not None)
        await asyncio.sleep(0.1)
        client.engine.increment_flow_control_window(100_000, stream)
        client.flush()
        found = await client.answer(stream)
        assert len(found.body) == 60_000
        assert await draining == 0


@in_scene
async def test_draining_does_not_wait_for_ever_for_a_client_that_takes_nothing(scene: Scene) -> None:
    await start(scene, lambda _, wire: _answer_once(wire, b"x" * 60_000))
    async with h2_client(scene, window_bytes=0) as client:
        stream = client.begin()
        await client.until(lambda: client.answers[stream].status == 200)
        sockets.close(scene.listening)
        async with asyncio.timeout(2):
            await scene.proxy.drain(0.2)
        await client.until(lambda: client.is_closed)


async def _answer_once(wire: Wire, body: bytes) -> None:
    await read_head(wire.reader)
    await wire.send(answer(body))


@in_scene
async def test_a_window_of_nothing_is_waited_for_only_so_long(scene: Scene) -> None:
    async def script(_: ScriptedTarget, wire: Wire) -> None:
        while True:
            asked = await read_head(wire.reader)
            await wire.send(answer(b"x" * (1_000_000 if asked.path == b"/large" else 5000)))

    limits = ClientLimits(send_timeout_s=0.2, keep_alive_s=0.3)
    await start(scene, script, client_limits=limits)
    async with h2_client(scene, window_bytes=0) as client:
        small = [client.begin() for _ in range(20)]
        large = [client.begin(path=b"/large") for _ in range(20)]
        for stream in small + large:
            assert (await client.answer(stream)).reset is not None or client.is_closed
        await until(lambda: not scene.proxy.streams)


@in_scene
async def test_who_does_not_read_our_answers_to_pings_is_closed(scene: Scene) -> None:
    await start(scene, client_limits=ClientLimits(send_timeout_s=0.2))
    client = await raw(scene)
    client.writer.transport.pause_reading()
    with contextlib.suppress(ConnectionError):
        for _ in range(200):
            await client.send(frames(*[PingFrame(0, opaque_data=b"12345678")] * 50))
    await until(lambda: not scene.proxy.clients)


@pytest.mark.parametrize("half", [frames(head(1))[:15], frames(head(1))[:4], PREFACE[:10], b""])
@in_scene
async def test_half_a_frame_does_not_hold_a_connection(scene: Scene, half: bytes) -> None:
    await start(scene, client_limits=ClientLimits(header_timeout_s=0.2, keep_alive_s=0.2))
    client = await scene.client()
    await client.send(half if PREFACE.startswith(half) else PREFACE + frames(SettingsFrame(0)) + half)
    await client.rest()
    await until(lambda: not scene.proxy.clients)


@in_scene
async def test_settings_may_change_in_the_middle(scene: Scene) -> None:
    await start(scene, lambda _, wire: _answer_once(wire, b"x" * 300_000))
    async with h2_client(scene) as client:
        client.reads = False
        stream = client.begin()
        await client.until(lambda: len(client.answers[stream].body) == 65535)
        # Smaller than what is out: the window is below zero for a while.
        client.engine.update_settings({CODES.INITIAL_WINDOW_SIZE: 10, CODES.MAX_FRAME_SIZE: 100_000})
        client.flush()
        client.engine.increment_flow_control_window(400_000)
        client.engine.increment_flow_control_window(400_000, stream)
        client.flush()
        assert len((await client.answer(stream)).body) == 300_000


@in_scene
async def test_a_window_that_overflows_ends_the_stream_or_the_connection(scene: Scene) -> None:
    await start(scene)
    for where in (0, 1):
        client = await raw(scene, head(1, POST))
        grow = WindowUpdateFrame(where, window_increment=(1 << 31) - 1)
        await client.send(frames(grow, grow))
        kinds = {kind for kind, _ in await asyncio.wait_for(_some(client), 2)}
        assert kinds & {3, 7}  # RST_STREAM or GOAWAY
        client.reset()
    await until(lambda: not scene.proxy.clients and not scene.proxy.streams)


async def _some(client: Wire) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    while not {kind for kind, _ in found} & {3, 7}:
        start_ = await client.reader.readexactly(9)
        await client.reader.readexactly(int.from_bytes(start_[:3], "big"))
        found.append((start_[3], int.from_bytes(start_[5:], "big")))
    return found


CONVERSATION = (
    PREFACE
    + frames(SettingsFrame(0), head(1, GET, "END_STREAM"), head(3, POST), DataFrame(3, b"abc"))
    + frames(
        head(5, GET, "END_STREAM"), DataFrame(3, b"d", flags=["END_STREAM"]), RstStreamFrame(5, error_code=8)
    )
    + frames(WindowUpdateFrame(0, window_increment=9), head(7, POST), GoAwayFrame(0))
)


@in_scene
async def test_a_connection_cut_at_every_byte_leaves_nothing_behind(scene: Scene) -> None:
    await start(scene)
    for end in range(1, len(CONVERSATION)):
        client = await scene.client()
        await client.send(CONVERSATION[:end])
        client.reset() if end % 2 else client.finish()
        if end % 2 == 0:
            await client.rest()
    await until(lambda: not scene.proxy.clients and not scene.proxy.streams)
    await until(lambda: scene.states[0].in_flight == 0)


@pytest.mark.parametrize("seed", [1, 2, 3])
@in_scene
async def test_books_are_even_whatever_happens_to_streams(scene: Scene, seed: int) -> None:
    random = Random(seed)

    async def mess(_: ScriptedTarget, wire: Wire) -> None:
        while random.random() < 0.8:
            await wire.reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(random.random() * 0.01)
            await wire.send(
                random.choice(
                    [
                        answer(b"x" * random.randrange(200_000)),
                        b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(),
                        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-t: 1\r\n\r\n",
                        b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\nshort",
                        b"junk\r\n\r\n",
                    ]
                )
            )
        wire.reset()

    limits = TargetLimits(response_timeout_s=0.1, idle_timeout_s=0.1, max_in_flight=20, max_queued=20)
    client_limits = ClientLimits(
        body_timeout_s=0.1, send_timeout_s=0.1, keep_alive_s=0.3, header_timeout_s=0.3
    )
    await start(scene, mess, limits=limits, client_limits=client_limits, stickiness="lb_cookie")

    async def abuse() -> None:
        async with h2_client(scene, window_bytes=random.choice([0, 10, 65535, WIDE_BYTES])) as client:
            for _ in range(random.randrange(20)):
                with contextlib.suppress(Exception):
                    stream = client.begin(
                        method=random.choice([b"GET", b"HEAD", b"POST"]), end=random.random() < 0.6
                    )
                    if random.random() < 0.4:
                        client.engine.send_data(
                            stream, b"x" * random.randrange(9000), end_stream=random.random() < 0.5
                        )
                    if random.random() < 0.3:
                        await asyncio.sleep(random.random() * 0.02)
                        client.engine.reset_stream(stream, ErrorCodes.CANCEL)
                    client.flush()
            if random.random() < 0.2:
                client.writer.write(frames(GoAwayFrame(0)))
            await asyncio.sleep(random.random() * 0.1)
            if random.random() < 0.5:
                client.writer.transport.abort()

    for _ in range(3):
        await asyncio.gather(*[abuse() for _ in range(12)])
    await until(lambda: not scene.proxy.clients and not scene.proxy.streams)
    assert (scene.states[0].in_flight, scene.states[0].queued) == (0, 0)
    assert not any(pool.waiting for pool in scene.proxy.pools.values())
