"""Frames in any order, whole and broken: a connection may end, but nothing escapes or is left behind."""

from __future__ import annotations

import contextlib
from random import Random

import pytest
from h2_client import H2Client
from hyperframe.frame import (
    AltSvcFrame,
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from wire import Scene, in_scene, until

from limpet.core.model import ClientLimits

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BLOCKS = [
    b"\x82\x84\x86\x41\x0cshop.example",  # GET /
    b"\x83\x84\x86\x41\x0cshop.example",  # POST /
    b"\x83\x84\x86\x41\x0cshop.example\x0f\x0d\x013",  # with Content-Length: 3
    b"\x82\x84\x86\x41\x04evil\x40\x04host\x0cshop.example",
    b"\x82\x04\x01a\x86\x41\x0cshop.example",  # a path without a slash
    b"\x40\x01x\x01y",  # trailers
    b"\x82",
    b"\x3f\xe1\xff\x03",  # a larger table
    b"\xff\xff\xff\xff\xff",
    b"",
]
FLAGS = ["END_STREAM", "END_HEADERS"]


def frame(random: Random) -> Frame:
    stream = random.choice([0, 1, 1, 3, 3, 5, 7, 2, 101])
    some = {flag for flag in FLAGS if random.random() < 0.7}
    block = random.choice(BLOCKS)
    number = random.choice([0, 1, 2, 7, 65535, (1 << 31) - 1])
    settings = {random.choice([1, 2, 3, 4, 5, 6, 8, 99]): number}
    made = [
        lambda: HeadersFrame(stream or 1, block, flags=some),
        lambda: HeadersFrame(stream or 1, BLOCKS[0], flags=FLAGS),
        lambda: DataFrame(stream or 1, b"abc"[: random.randrange(4)], flags=some & {"END_STREAM"}),
        lambda: DataFrame(stream or 1, b"a", pad_length=random.randrange(200), flags={"PADDED"}),
        lambda: ContinuationFrame(stream or 1, block, flags=some & {"END_HEADERS"}),
        lambda: RstStreamFrame(stream or 1, error_code=number),
        lambda: WindowUpdateFrame(stream, window_increment=number),
        lambda: SettingsFrame(0, settings=settings),
        lambda: SettingsFrame(0, flags={"ACK"}),
        lambda: PingFrame(0, opaque_data=b"12345678", flags={"ACK"} if number else ()),
        lambda: PriorityFrame(stream or 1, depends_on=number % 8, stream_weight=1),
        lambda: GoAwayFrame(0, last_stream_id=number, error_code=0),
        lambda: PushPromiseFrame(stream or 1, promised_stream_id=2, data=block),
        lambda: ExtensionFrame(type=random.randrange(11, 200), stream_id=stream, body=b"x"),
        lambda: AltSvcFrame(0, origin=b"a", field=b"b"),
    ]
    return random.choice(made)()


def conversation(random: Random) -> bytes:
    data = bytearray()
    for _ in range(random.randrange(1, 25)):
        with contextlib.suppress(Exception):  # the library refuses to write some of it
            data += frame(random).serialize()
    for _ in range(random.choice([0, 0, 0, 1, 3])):
        at = random.randrange(len(data) + 1)
        data[at:at] = bytes([random.randrange(256)])
    if data and random.random() < 0.3:
        data[random.randrange(len(data))] = random.randrange(256)
    return PREFACE + SettingsFrame(0).serialize() + bytes(data)


async def converse(scene: Scene, random: Random) -> None:
    client = await scene.client()
    data = conversation(random)
    with contextlib.suppress(ConnectionError):
        while data:
            size = random.choice([1, 9, 10, 100, len(data)])
            await client.send(data[:size])
            data = data[size:]
    if random.random() < 0.3:
        client.reset()
        return
    with contextlib.suppress(OSError):
        client.finish()
    await client.rest()


@pytest.mark.parametrize("seed", range(6))
@in_scene
async def test_frames_in_any_order(scene: Scene, seed: int) -> None:
    random = Random(seed)
    limits = ClientLimits(body_timeout_s=0.2, keep_alive_s=0.5, header_timeout_s=0.5, send_timeout_s=0.2)
    await scene.start((await scene.target()).address, http2=True, client_limits=limits)
    for _ in range(60):
        await converse(scene, random)
    await until(lambda: not scene.proxy.clients and not scene.proxy.streams)
    assert scene.states[0].in_flight == 0
    client = await H2Client.connect(scene.address)
    assert (await client.ask()).status == 200
    await client.close()
