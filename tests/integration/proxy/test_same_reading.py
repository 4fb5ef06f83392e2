"""What a target reads is what limpet understood: real servers, generated and mangled requests."""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from echo_servers import NAMES, echo_servers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire import Message, Scene, Wire, get

from limpet.core.address import Address

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

BOUNDED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_ids = itertools.count()

METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"PROPFIND", b"REPORT"])
_SEGMENT_CHARACTERS = [*"abcXYZ019-_~!$&'()*+,;=:@", "%20", "%2F", "%c3%a4", "%3F"]
_SEGMENTS = st.lists(st.sampled_from(_SEGMENT_CHARACTERS), min_size=1, max_size=12).map("".join)
_QUERIES = st.lists(st.sampled_from([*_SEGMENT_CHARACTERS, "/", "?", "."]), min_size=1, max_size=20).map(
    "".join
)
PATHS = st.builds(
    lambda segments, query: ("/" + "/".join(segments) + (f"?{query}" if query else "")).encode(),
    st.lists(_SEGMENTS, max_size=4),
    st.none() | _QUERIES,
)
_VALUE_BYTES = st.sampled_from([*range(0x21, 0x7F), *range(0xA1, 0x100), 0x20, 0x09])
VALUES = st.lists(_VALUE_BYTES, max_size=40).map(lambda codes: bytes(codes).strip(b" \t"))
BODIES = st.binary(max_size=3000) | st.sampled_from(
    [b"", b"0\r\n\r\n", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", b"x" * 70_000]
)
_EXTENSIONS = st.sampled_from([b"", b";a", b";a=1", b';a="b c"', b" ;a", b";" + b"e" * 200])
_SIZES = st.sampled_from([b"%x", b"%X", b"000%x"])


class Sent(NamedTuple):
    """A request as it is sent, and what it means."""

    data: bytes
    method: bytes
    path: bytes
    body: bytes
    fields: tuple[bytes, bytes]
    trailers: list[str]


@st.composite
def _chunked(draw: st.DrawFn, body: bytes) -> bytes:
    ends = sorted(draw(st.sets(st.integers(1, max(len(body) - 1, 1)), max_size=6)) | {len(body)})
    parts = []
    start = 0
    for end in ends:
        if start < end <= len(body):
            size = draw(_SIZES) % (end - start)
            parts += [size, draw(_EXTENSIONS), b"\r\n", body[start:end], b"\r\n"]
            start = end
    return b"".join(parts)


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    """Generate a valid request in any spelling that limpet takes."""
    method, path, body = draw(METHODS), draw(PATHS), draw(BODIES)
    value_a, value_b = draw(VALUES), draw(VALUES)
    lines = [b"Host: shop.example", b"X-A:" + value_a, b"x-b: \t" + value_b + b" ", b"Cookie: a=1; b=2"]
    trailers: list[str] = []
    payload = b""
    if draw(st.booleans()):
        lines.append(draw(st.sampled_from([b"Transfer-Encoding: chunked", b"transfer-encoding:Chunked"])))
        end = b"0" * draw(st.integers(1, 3)) + draw(_EXTENSIONS) + b"\r\n"
        if draw(st.booleans()):
            trailers = ["X-Sum", "1"]
            end += b"X-Sum: 1\r\n"
        payload = draw(_chunked(body)) + end + b"\r\n"
    elif body or draw(st.booleans()):
        lines.append(draw(st.sampled_from([b"Content-Length: %d", b"content-length:00%d"])) % len(body))
        payload = body
    target = draw(st.sampled_from([b"", b"http://SHOP.example"])) + path
    lines = draw(st.permutations(lines))
    head = b"%b %b HTTP/1.1\r\n%b\r\n\r\n" % (method, target, b"\r\n".join(lines))
    return Sent(head + payload, method, path, body, (value_a, value_b), trailers)


CUTS = st.lists(st.floats(0, 1), max_size=8)


class Bench:
    """A proxy before each server."""

    def __init__(self, scenes: dict[str, Scene], log: socket.socket) -> None:
        self.scenes = scenes
        self.log = log

    def nginx_read(self, request_id: str) -> dict[str, Any]:
        """Return what nginx logged of a request."""
        while True:
            line = self.log.recv(1 << 20).decode("latin-1")
            read: dict[str, Any] = json.loads(line[line.index("{") :], strict=False)
            if read["id"] == request_id:
                return read | {"fields": [["x-a", read["a"]], ["x-b", read["b"]]]}

    def echo(self, name: str, response: Message, request_id: str) -> dict[str, Any]:
        """Return what a server read of a request that it has answered."""
        if name == "nginx":
            return self.nginx_read(request_id)
        echo: dict[str, Any] = json.loads(response.body)
        return echo


@pytest.fixture(scope="module")
def bench(run: Callable[..., Any]) -> Iterator[Bench]:
    # A folder of its own: the paths of Unix sockets must be short.
    with tempfile.TemporaryDirectory() as folder, echo_servers(Path(folder)) as log:

        async def start() -> dict[str, Scene]:
            return {name: await Scene().start(Address(path=f"{folder}/{name}")) for name in NAMES}

        scenes = run(start())
        yield Bench(scenes, log)
        for scene in scenes.values():
            run(scene.__aexit__(None, None, None))


async def _send_in_parts(client: Wire, data: bytes, cuts: list[float]) -> None:
    ends = sorted({int(cut * len(data)) for cut in cuts} | {len(data)})
    for start, end in itertools.pairwise([0, *ends]):
        await client.send(data[start:end])
        await asyncio.sleep(0)


async def _is_read_alike(bench: Bench, name: str, sent: Sent, cuts: list[float]) -> None:
    scene = bench.scenes[name]
    request_id = f"same-{next(_ids)}"
    head_end = sent.data.index(b"\r\n\r\n") + 2
    data = sent.data[:head_end] + b"X-Request-Id: %b\r\n" % request_id.encode() + sent.data[head_end:]
    client = await scene.client()
    await _send_in_parts(client, data, cuts)
    response = await client.response()
    assert response.status == 200, response
    echo = bench.echo(name, response, request_id)
    understood = scene.proxy.explain(request_id)
    assert understood is not None
    assert echo["method"] == understood["method"] == sent.method.decode()
    # Without a path nginx and others are sent the root.
    assert echo["path"] == understood["path"] == sent.path.decode()
    assert echo["body"].encode("latin-1") == sent.body
    assert understood["bytes_in"] == len(sent.body)
    # nginx 1.22 counts a tab before a value as its part, llhttp a space behind it.
    read = {field: value.encode("latin-1").strip(b" \t") for field, value in echo["fields"]}
    assert (read["x-a"], read["x-b"]) == sent.fields
    assert read.get("cookie", b"a=1; b=2") == b"a=1; b=2"
    if name == "node":
        assert echo["trailers"] == sent.trailers
    # The next request shows that both sides agree where this one ended.
    await _is_next(bench, name, client)
    await client.close()


async def _is_next(bench: Bench, name: str, client: Wire) -> None:
    request_id = f"next-{next(_ids)}"
    response = await client.ask(
        get(b"/" + request_id.encode(), b"X-Request-Id: %b\r\n" % request_id.encode())
    )
    assert response.status == 200, response
    assert bench.echo(name, response, request_id)["path"] == f"/{request_id}"


@pytest.mark.parametrize("name", NAMES)
def test_target_reads_what_limpet_understood(run: Callable[..., Any], bench: Bench, name: str) -> None:
    @BOUNDED
    @given(sent=requests(), cuts=CUTS)
    def check(sent: Sent, cuts: list[float]) -> None:
        run(_is_read_alike(bench, name, sent, cuts))

    check()


TRICKS = st.sampled_from(
    [
        b"\n",
        b"\r",
        b"\r\n",
        b"\x00",
        b"\x0b",
        b" ",
        b"\t",
        b":",
        b"_",
        b"0",
        b"\xff",
        b"#",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer_Encoding: chunked\r\n",
        b"Content-Length: 3\r\n",
        b"Content_Length: 3\r\n",
        b"Content-Length: 0\r\n",
        b"Connection: close, Content-Length\r\n",
        b"Host: evil.example\r\n",
        b"Expect: 100-continue\r\n",
        b"0\r\n\r\n",
        b"GET /smuggled HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        b" HTTP/1.0",
    ]
)
MANGLES = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["insert", "replace", "delete"]), TRICKS), max_size=3
)


def _mangle(data: bytes, mangles: list[tuple[float, str, bytes]]) -> bytes:
    # Mostly at the beginnings and ends of lines, where readings differ.
    for where, how, trick in mangles:
        edges = [index + edge for index in range(len(data)) if data[index] == 10 for edge in (-1, 0, 1)]
        at = edges[int(where * (len(edges) - 1))] if edges else 0
        if how == "delete":
            data = data[:at] + data[at + 1 :]
        else:
            data = data[:at] + trick + data[at + (how == "replace") :]
    return data


async def _agrees(bench: Bench, name: str, data: bytes) -> None:
    scene = bench.scenes[name]
    client = await scene.client()
    await client.send(data)
    client.finish()
    while True:
        try:
            response = await client.response()
        except (asyncio.IncompleteReadError, ConnectionError):
            break
        request_id = (response.one(b"x-request-id") or b"").decode()
        understood = scene.proxy.explain(request_id)
        if response.status != 200 or understood is None or understood["error"] is not None:
            continue  # refused by limpet, or by a target that is stricter still
        echo = bench.echo(name, response, request_id)
        assert (echo["method"], echo["path"]) == (understood["method"], understood["path"])
        assert len(echo["body"]) == understood["bytes_in"]
    await client.close()
    # On another connection: what a mangled request left over must not meet this one.
    other = await scene.client()
    await _is_next(bench, name, other)
    await other.close()


@pytest.mark.parametrize("name", NAMES)
def test_target_agrees_about_mangled_requests(run: Callable[..., Any], bench: Bench, name: str) -> None:
    @BOUNDED
    @given(sent=requests(), mangles=MANGLES)
    def check(sent: Sent, mangles: list[tuple[float, str, bytes]]) -> None:
        run(_agrees(bench, name, _mangle(sent.data, mangles)))

    check()
