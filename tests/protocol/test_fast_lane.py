"""The fast lane does what the long way does: the same bytes, the same books, the same log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from wire import Scene, in_scene

from limpet.core.model import TargetLimits
from limpet.proxy.access_log import AccessLog
from limpet.proxy.client_protocol import ClientConnection
from limpet.proxy.target_protocol import TargetConnection

if TYPE_CHECKING:
    from pathlib import Path

    from wire import ScriptedTarget, Wire

DATE = b"Date: Tue, 24 Nov 2026 09:00:00 GMT\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 3\r\nX-Note: a\r\n\r\nabc"
BROWSER = b"Host: shop.example\r\nConnection: keep-alive\r\nAccept: text/html\r\nCookie: a=1; %b; b=2\r\n\r\n"


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[bool]]:
    """Note for each request and response whether it took the fast lane."""
    taken: dict[str, list[bool]] = {"sent": [], "relayed": []}
    send, relay = ClientConnection.send_known, TargetConnection.relay_known

    def send_known(self: ClientConnection, data: bytes) -> bool:
        taken["sent"].append(send(self, data))
        return taken["sent"][-1]

    def relay_known(self: TargetConnection, exchange: object, data: bytes) -> bool:
        taken["relayed"].append(relay(self, exchange, data))  # type: ignore[arg-type]
        return taken["relayed"][-1]

    monkeypatch.setattr(ClientConnection, "send_known", send_known)
    monkeypatch.setattr(TargetConnection, "relay_known", relay_known)
    return taken


def without_id(data: bytes) -> bytes:
    return re.sub(rb"[0-9a-f]{12}-[0-9a-f]+", b"ID", data)


async def pinned(scene: Scene, response: bytes = PLAIN, **start: object) -> tuple[Wire, bytes]:
    """Start a scene whose targets answer `response`; return a client and its request head."""

    async def script(target: ScriptedTarget, wire: Wire) -> None:
        while True:
            request = await wire.request()
            target.requests.append(request)
            await wire.send(response)

    await scene.start((await scene.target(script)).address, stickiness="lb_cookie", **start)  # type: ignore[arg-type]
    client = await scene.client()
    first = await client.ask(b"GET /first HTTP/1.1\r\nHost: shop.example\r\n\r\n")
    ticket = first.all(b"set-cookie")[0].partition(b";")[0]
    return client, BROWSER % ticket


@in_scene
async def test_the_same_bytes_arrive_at_both_ends(
    scene: Scene, lanes: dict[str, list[bool]], tmp_path: Path
) -> None:
    log = AccessLog(str(tmp_path / "log"))
    client, fields = await pinned(scene, access_log=log)
    heads, answers = [], []
    for _ in range(4):
        answers.append(await client.ask(b"GET /a?b=1 HTTP/1.1\r\n" + fields))
        heads.append(scene.targets[0].requests[-1])
    assert lanes == {"sent": [False, False, True, True, True], "relayed": [False, True, True, True, True]}
    assert len({without_id(head.raw) for head in heads}) == 1
    assert len({without_id(answer.raw + answer.body) for answer in answers}) == 1
    assert len({head.one(b"x-request-id") for head in heads}) == 4
    scene.proxy.settle()
    lines = [re.sub(r"^\S+|\d+ \d+ \d+ -$", "", line) for line in (tmp_path / "log").read_text().splitlines()]
    assert len({without_id(line.encode()) for line in lines[1:]}) == 1
    state = scene.states[0]
    assert (state.requests, state.in_flight) == (5, 0)
    assert scene.proxy.snapshot.groups["web"].sessions.counts(0) == {"A": 1}
    assert [scene.proxy.explain(head.one(b"x-request-id").decode())["reason"] for head in heads] == [
        "sticky"
    ] * 4


@in_scene
@pytest.mark.parametrize(
    "line",
    [
        b"GET /a\tb HTTP/1.1\r\n",
        b"GET /a#b HTTP/1.1\r\n",
        b"GET /\x80 HTTP/1.1\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"GET /a b HTTP/1.1\r\n",
        b"GET / HTTP/1.1 HTTP/1.1\r\n",
        b"GET http://other.example/ HTTP/1.1\r\n",
    ],
)
async def test_a_bad_request_line_is_refused_behind_known_fields(
    scene: Scene, lanes: dict[str, list[bool]], line: bytes
) -> None:
    client, fields = await pinned(scene)
    for _ in range(3):
        await client.ask(b"GET / HTTP/1.1\r\n" + fields)
    assert lanes["sent"][-1]
    assert (await client.ask(line + fields)).status == 400
    assert len(scene.targets[0].requests) == 4


@in_scene
async def test_requests_sent_ahead_keep_their_order(scene: Scene, lanes: dict[str, list[bool]]) -> None:
    client, fields = await pinned(scene)
    for _ in range(3):
        await client.ask(b"GET / HTTP/1.1\r\n" + fields)
    await client.send(*[b"GET /%d HTTP/1.1\r\n" % number + fields for number in range(20)])
    for _ in range(20):
        assert (await client.response()).body == b"abc"
    assert [request.path for request in scene.targets[0].requests[-20:]] == [b"/%d" % n for n in range(20)]


@in_scene
@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",  # no Date
        b"HTTP/1.1 200 OK\r\n" + DATE + b"X-Request-Id: own\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n" + DATE + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + DATE + b"Set-Cookie: x=1\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 3\r\nConnection: close\r\n\r\nabc",
    ],
)
async def test_what_is_not_plain_goes_the_long_way(
    scene: Scene, lanes: dict[str, list[bool]], response: bytes
) -> None:
    client, fields = await pinned(scene, response)
    answers = [await client.ask(b"GET / HTTP/1.1\r\n" + fields) for _ in range(3)]
    assert not any(lanes["relayed"])
    assert [answer.body for answer in answers] == [b"abc"] * 3


@in_scene
async def test_a_target_that_stops_serving_is_left_at_once(
    scene: Scene, lanes: dict[str, list[bool]]
) -> None:
    client, fields = await pinned(scene)
    for _ in range(3):
        await client.ask(b"GET / HTTP/1.1\r\n" + fields)
    scene.states[0].takes_sticky = False
    await client.ask(b"GET / HTTP/1.1\r\n" + fields)
    assert lanes["sent"][-2:] == [True, False]


@in_scene
async def test_a_limited_target_is_asked_in_turn(scene: Scene, lanes: dict[str, list[bool]]) -> None:
    client, fields = await pinned(scene, limits=TargetLimits(max_in_flight=1))
    for _ in range(3):
        await client.ask(b"GET / HTTP/1.1\r\n" + fields)
    assert not any(lanes["sent"])
