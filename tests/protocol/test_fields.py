"""What targets and clients are told of each other: fields added, kept, replaced and cut."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING

import pytest
from wire import Fields, Message, Scene, ScriptedTarget, Wire, answer, get, in_scene

from limpet.core.model import Forwarding
from limpet.proxy.access_log import AccessLog

if TYPE_CHECKING:
    from pathlib import Path

TRUSTING = Forwarding(
    trusted_proxies=(ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.0.0.0/8"))
)
FORWARDED = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-host", b"forwarded")
CLAIM = (
    b"X-Forwarded-For: 6.6.6.6\r\nX-FORWARDED-PROTO: https\r\nx-forwarded-port:443\r\n"
    b"X-Forwarded-Host: evil.example\r\nForwarded: for=6.6.6.6;proto=https\r\n"
)


async def _asked(scene: Scene, fields: bytes, forwarding: Forwarding | None = None) -> Message:
    target = await scene.target()
    await scene.start(target.address, forwarding=forwarding)
    await scene.ask(get(fields=fields))
    return target.requests[0]


def _own(scene: Scene) -> Fields:
    return [
        (b"x-forwarded-for", b"127.0.0.1"),
        (b"forwarded", b'for=127.0.0.1;host="shop.example";proto=http'),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-port", b"%d" % (scene.address.port or 0)),
        (b"x-forwarded-host", b"shop.example"),
    ]


@in_scene
@pytest.mark.parametrize("claim", [b"", CLAIM, CLAIM + CLAIM], ids=["nothing", "a claim", "two claims"])
async def test_untrusted_client_cannot_say_who_it_is(scene: Scene, claim: bytes) -> None:
    request = await _asked(scene, claim)
    assert [field for field in request.fields if field[0] in FORWARDED] == _own(scene)


@in_scene
async def test_trusted_proxy_is_believed_and_extended(scene: Scene) -> None:
    request = await _asked(scene, CLAIM, TRUSTING)
    assert request.all(b"x-forwarded-for") == [b"6.6.6.6, 127.0.0.1"]
    assert request.all(b"forwarded") == [b"for=6.6.6.6;proto=https, for=127.0.0.1"]
    assert request.all(b"x-forwarded-proto") == [b"https"]
    assert request.all(b"x-forwarded-port") == [b"443"]
    assert request.all(b"x-forwarded-host") == [b"evil.example"]


@in_scene
@pytest.mark.parametrize(
    ("fields", "client"),
    [
        (b"X-Forwarded-For: 6.6.6.6\r\n", "6.6.6.6"),
        (b"X-Forwarded-For: 1.1.1.1, 6.6.6.6, 10.0.0.7\r\n", "6.6.6.6"),
        (b"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 6.6.6.6\r\n", "6.6.6.6"),
        (b"X-Forwarded-For: 6.6.6.6:1234\r\n", "6.6.6.6"),
        (b"X-Forwarded-For: [2001:db8::1]:1234\r\n", "2001:db8::1"),
        (b"X-Forwarded-For: unknown, 10.0.0.7\r\n", "10.0.0.7"),
        (b"X-Forwarded-For: nonsense\r\n", "127.0.0.1"),
        (b'Forwarded: for=1.1.1.1, for="[2001:db8::1]:80";proto=https\r\n', "2001:db8::1"),
        (b"Forwarded: proto=https\r\n", "127.0.0.1"),
        (b"X-Forwarded-Proto: https\r\n", "127.0.0.1"),
    ],
)
async def test_client_behind_trusted_proxies_is_the_first_untrusted(
    scene: Scene, fields: bytes, client: str
) -> None:
    await scene.start((await scene.target()).address, forwarding=TRUSTING)
    response = await scene.ask(get(fields=fields))
    found = scene.proxy.explain((response.one(b"x-request-id") or b"").decode())
    assert found is not None
    assert found["client"] == client


@in_scene
async def test_one_requests_claim_does_not_stay_for_the_next(scene: Scene) -> None:
    target = await scene.target()
    await scene.start(target.address, forwarding=TRUSTING)
    client = await scene.client()
    for fields in (CLAIM, b"", b"X-Forwarded-Proto: https\r\n", b""):
        await client.ask(get(fields=fields))
    own = [[field for field in request.fields if field[0] in FORWARDED] for request in target.requests]
    assert own[1] == own[3] == _own(scene)
    assert (b"x-forwarded-for", b"6.6.6.6, 127.0.0.1") in own[0]


@in_scene
@pytest.mark.parametrize(
    "name",
    [
        b"X_Forwarded_For",
        b"X-Forwarded_For",
        b"X_Forwarded-Proto",
        b"Content_Length",
        b"Transfer_Encoding",
        b"X_Request_Id",
        b"Remote_User",
        b"HTTP2_Settings",
    ],
)
async def test_doubles_with_underscores_are_dropped(scene: Scene, name: bytes) -> None:
    request = await _asked(scene, name + b": 1\r\nX_Other: 2\r\n")
    assert request.all(name.lower()) == []
    assert request.one(b"x_other") == b"2"


V2 = b"\r\n\r\n\x00\r\nQUIT\n"


@in_scene
@pytest.mark.parametrize("way", ["whole", "byte by byte"])
@pytest.mark.parametrize(
    ("header", "client"),
    [
        (b"PROXY TCP4 6.6.6.6 10.0.0.1 1234 443\r\n", b"6.6.6.6"),
        (b"PROXY TCP6 2001:db8::1 ::1 1234 443\r\n", b"2001:db8::1"),
        (b"PROXY UNKNOWN\r\n", b"127.0.0.1"),
        (V2 + b"\x21\x11\x00\x0c\x06\x06\x06\x06\x0a\x00\x00\x01\x04\xd2\x01\xbb", b"6.6.6.6"),
        (V2 + b"\x20\x00\x00\x00", b"127.0.0.1"),
    ],
    ids=["v1 IPv4", "v1 IPv6", "v1 unknown", "v2 IPv4", "v2 local"],
)
async def test_proxy_protocol_names_the_client(scene: Scene, header: bytes, client: bytes, way: str) -> None:
    target = await scene.target()
    await scene.start(target.address, is_proxy_protocol=True, forwarding=TRUSTING)
    wire = await scene.client()
    await (wire.send if way == "whole" else wire.send_slowly)(header + get() + get())
    for number in range(2):
        assert (await wire.response()).status == 200
        request = target.requests[number]
        assert request.all(b"x-forwarded-for") == [client]
        if client != b"127.0.0.1":
            assert request.one(b"x-forwarded-port") == b"443"


@in_scene
@pytest.mark.parametrize("data", [get(), b"PROXY TCP4 a b c d\r\n" + get(), V2 + b"\x31\x11\x00\x0c" + get()])
async def test_connection_without_its_proxy_header_is_closed(scene: Scene, data: bytes) -> None:
    target = await scene.target()
    await scene.start(target.address, is_proxy_protocol=True)
    client = await scene.client()
    await client.send(data)
    assert await client.rest() == b""
    assert target.seen == 0


@in_scene
async def test_proxy_header_of_an_untrusted_peer_is_not_believed(scene: Scene) -> None:
    # Forwarding.trusted_proxies: "... and whose PROXY protocol is believed".
    target = await scene.target()
    await scene.start(target.address, is_proxy_protocol=True)
    client = await scene.client()
    await client.send(b"PROXY TCP4 6.6.6.6 10.0.0.1 1234 443\r\n", get())
    await client.rest() if client.reader.at_eof() else await client.response()
    assert all(request.one(b"x-forwarded-for") != b"6.6.6.6" for request in target.requests)


async def _ticket(scene: Scene) -> bytes:
    response = await scene.ask(get(fields=b"Sec-Fetch-Dest: document\r\n"))
    (cookie,) = [value for value in response.all(b"set-cookie") if value.startswith(b"limpet=")]
    return cookie.partition(b";")[0]


@in_scene
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"Cookie: %b\r\n", []),
        (b"cookie: %b\r\n", []),
        (b"Cookie:%b\r\n", []),
        (b"Cookie: a=1; %b; b=2\r\n", [b"a=1; b=2"]),
        (b"cookie: a=1; b=2; %b\r\n", [b"a=1; b=2"]),
        (b"COOKIE:  a=1;%b \r\n", [b"a=1"]),
        (b"Cookie: a=1\r\nCookie: %b\r\nCookie: b=2\r\n", [b"a=1", b"b=2"]),
        (b"cookie: a=1\r\ncookie: %b\r\ncookie: b=2\r\n", [b"a=1", b"b=2"]),
        (b"cookie: a=1\r\ncookie: b=2; %b\r\n", [b"a=1", b"b=2"]),
        (b"cookie: %b\r\nCookie: b=2\r\n", [b"b=2"]),
        (b"Cookie: a=1\r\n", [b"a=1"]),
        (b"Cookie: limpetx=1; xlimpet=2\r\n", [b"limpetx=1; xlimpet=2"]),
    ],
)
async def test_ticket_is_not_passed_on_and_other_cookies_are(
    scene: Scene, lines: bytes, expected: list[bytes]
) -> None:
    target = await scene.target()
    await scene.start(target.address, stickiness="lb_cookie")
    ticket = await _ticket(scene)
    for _ in range(2):
        await scene.ask(get(fields=lines.replace(b"%b", ticket)))
        assert target.requests[-1].all(b"cookie") == expected
    assert ticket.partition(b"=")[2] not in b"".join(request.raw for request in target.requests)


@in_scene
async def test_cookie_of_the_connection_is_cut_whatever_came_before(scene: Scene) -> None:
    target = await scene.target()
    await scene.start(target.address)
    for value in (b"a=1", b"a=1", b"a=2", b"a=2"):
        await scene.ask(get(fields=b"Connection: cookie\r\nCookie: %b\r\n" % value))
        assert target.requests[-1].all(b"cookie") == []


@in_scene
async def test_cookies_of_the_target_are_not_touched(scene: Scene) -> None:
    lines = (
        b"Set-Cookie: b=2; Path=/\r\nset-cookie:a=1\r\nX-A: 1\r\n"
        b"Set-Cookie: c=\r\nSET-COOKIE: a=1;  HttpOnly\r\n"
    )

    async def script(_: ScriptedTarget, wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.send(answer(fields=lines))

    await scene.start((await scene.target(script)).address, stickiness="lb_cookie")
    response = await scene.ask(get(fields=b"Sec-Fetch-Dest: document\r\n"))
    own = [value for value in response.all(b"set-cookie") if value.startswith(b"limpet=")]
    others = [value for value in response.all(b"set-cookie") if not value.startswith(b"limpet=")]
    assert len(own) == 1
    assert others == [b"b=2; Path=/", b"a=1", b"c=", b"a=1;  HttpOnly"]
    assert lines in response.raw


@in_scene
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"X-Request-Id: mine-1\r\n", b"mine-1"),
        (b"x-request-id:mine-1\r\n", b"mine-1"),
        (b"X-Request-Id: mine-1\r\nX-Request-Id: other\r\n", b"mine-1"),
        (b"X-Request-ID: mine-1\r\nX-Request-ID: other\r\n", b"mine-1"),
        (b"x-request-id: a b\r\nx-request-id: mine-1\r\n", b"mine-1"),
        (b"X-Request-Id: <script>\r\n", None),
        (b"X-Request-Id: " + b"a" * 200 + b"\r\n", None),
        (b"X-Request-Id:\r\n", None),
        (b"Connection: X-Request-Id\r\nX-Request-Id: mine-1\r\n", None),
        (b"", None),
    ],
)
async def test_request_id_is_kept_or_made(scene: Scene, fields: bytes, expected: bytes | None) -> None:
    target = await scene.target()
    await scene.start(target.address)
    response = await scene.ask(get(fields=fields))
    request_id = target.requests[0].one(b"x-request-id")
    assert request_id
    assert expected is None or request_id == expected
    assert response.one(b"x-request-id") == request_id
    assert scene.proxy.explain(request_id.decode()) is not None


@in_scene
@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (b"", b"text/html; charset=utf-8"),
        (b"Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n", b"text/html; charset=utf-8"),
        (b"Accept: application/json\r\n", b"application/json"),
        (b"Accept: application/problem+json\r\n", b"application/json"),
        (b"Accept: */*\r\n", b"text/html; charset=utf-8"),
    ],
)
async def test_error_page_is_what_the_client_accepts(
    scene: Scene, accept: bytes, content_type: bytes
) -> None:
    await scene.start()
    response = await scene.ask(get(fields=accept + b"X-Request-Id: mine-1\r\n"))
    assert response.status == 503
    assert response.one(b"retry-after")
    assert response.one(b"cache-control") == b"no-store"
    assert response.one(b"content-type") == content_type
    assert response.one(b"x-request-id") == b"mine-1"
    assert b"mine-1" in response.body
    if content_type == b"application/json":
        assert json.loads(response.body)["status"] == 503


@in_scene
async def test_error_page_of_ones_own_and_to_a_head(scene: Scene) -> None:
    await scene.start(forwarding=Forwarding(error_pages={503: b"<p>Back soon"}))
    client = await scene.client()
    response = await client.ask(get())
    assert (response.status, response.body) == (503, b"<p>Back soon")
    response = await client.ask(get(method=b"HEAD"))
    assert (response.status, response.one(b"content-length")) == (503, b"12")
    assert (await client.ask(get())).body == b"<p>Back soon"


@in_scene
async def test_refused_request_is_logged_with_its_line(scene: Scene, tmp_path: Path) -> None:
    await scene.start((await scene.target()).address, access_log=AccessLog(str(tmp_path / "log")))
    response = await scene.ask(b"GET /a?b=1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    await scene.ask(b"nonsense\r\n\r\n")
    scene.proxy.settle()
    refused, unreadable = (tmp_path / "log").read_text().splitlines()
    assert f'"GET /a?b=1 HTTP/1.1" 400 0 {len(response.body)} ' in refused
    assert '"- - HTTP/1.1" 400 0 ' in unreadable
