"""Rates and connections of single clients, whatever they speak, and behind whatever proxy."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest
from h2_client import H2Client
from wire import Scene, get, in_scene, post, until

from limpet.core.model import ClientLimits, Forwarding

LOOPBACK_IS_TRUSTED = Forwarding(trusted_proxies=(ipaddress.ip_network("127.0.0.0/8"),))
#: Nothing comes back within a test.
THREE = ClientLimits(requests_per_s_per_client=0.02, burst=3)
TWO_CONNECTIONS = ClientLimits(max_connections_per_client=2)


@in_scene
@pytest.mark.parametrize("stickiness", ["off", "lb_cookie"])
async def test_who_asks_too_fast_is_told_when_to_come_back(scene: Scene, stickiness: str) -> None:
    target = await scene.target()
    await scene.start(target.address, client_limits=THREE, stickiness=stickiness)
    client = await scene.client()
    cookie = b""
    statuses = []
    for _ in range(5):
        response = await client.ask(get(b"/", cookie))  # with a cookie, on the fast lane
        statuses.append(response.status)
        if response.all(b"set-cookie"):
            cookie = b"Cookie: %b\r\n" % response.all(b"set-cookie")[0].split(b";")[0]
    assert statuses == [200, 200, 200, 429, 429]  # on a connection that is kept
    assert response.one(b"retry-after") == b"50"
    assert (await scene.ask(get())).status == 429  # on any other
    assert len(target.requests) == 3
    scene.proxy.settle()
    errors = [outcome.error.label for outcome in scene.proxy.counters.rows if outcome.error is not None]
    assert errors == ["rate_limited"]


@in_scene
async def test_tokens_come_back(scene: Scene) -> None:
    limits = ClientLimits(requests_per_s_per_client=1, burst=1)
    await scene.start((await scene.target()).address, client_limits=limits)
    client = await scene.client()
    assert (await client.ask(get())).status == 200
    response = await client.ask(get())
    assert (response.status, response.one(b"retry-after")) == (429, b"1")
    await asyncio.sleep(1.1)  # what the header says, and a little for the clock
    assert (await client.ask(get())).status == 200


@in_scene
async def test_a_body_that_is_refused_is_not_read(scene: Scene) -> None:
    target = await scene.target()
    await scene.start(target.address, client_limits=ClientLimits(requests_per_s_per_client=0.02, burst=1))
    await scene.ask(get())
    client = await scene.client()
    response = await client.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc")
    assert (response.status, response.one(b"connection")) == (429, b"close")
    assert await client.rest() == b""
    assert (await scene.ask(post(b"x" * 10))).status == 429
    assert len(target.requests) == 1


@in_scene
async def test_requests_count_for_the_client_behind_a_trusted_proxy(scene: Scene) -> None:
    await scene.start((await scene.target()).address, client_limits=THREE, forwarding=LOOPBACK_IS_TRUSTED)
    client = await scene.client()
    for address in (b"192.0.2.1", b"192.0.2.2", b"2001:db8::1"):
        statuses = [
            (await client.ask(get(b"/", b"X-Forwarded-For: 192.0.2.9, %b\r\n" % address))).status
            for _ in range(4)
        ]
        assert statuses == [200, 200, 200, 429]
    assert (await client.ask(get(b"/", b"X-Forwarded-For: 2001:db8::2\r\n"))).status == 429
    assert [(await client.ask(get())).status for _ in range(5)] == [200] * 5  # the proxy's own


@in_scene
async def test_exempt_networks(scene: Scene) -> None:
    limits = ClientLimits(
        requests_per_s_per_client=0.02,
        burst=1,
        max_connections_per_client=1,
        exempt_networks=(ipaddress.ip_network("127.0.0.0/8"),),
    )
    await scene.start((await scene.target()).address, client_limits=limits)
    clients = [await scene.client() for _ in range(3)]
    assert [(await client.ask(get())).status for client in clients] == [200] * 3


@in_scene
async def test_every_stream_counts(scene: Scene) -> None:
    await scene.start((await scene.target()).address, client_limits=THREE, http2=True)
    client = await H2Client.connect(scene.address)
    streams = [client.begin() for _ in range(5)]
    statuses = [(await client.answer(stream)).status for stream in streams]
    assert sorted(statuses) == [200, 200, 200, 429, 429]
    await client.close()


@in_scene
async def test_a_reload_changes_rates_of_open_connections(scene: Scene) -> None:
    import dataclasses

    await scene.start((await scene.target()).address)
    client = await scene.client()
    assert [(await client.ask(get())).status for _ in range(4)] == [200] * 4
    scene.proxy.use(dataclasses.replace(scene.proxy.snapshot, client_limits=THREE))
    assert [(await client.ask(get())).status for _ in range(4)] == [200] * 3 + [429]
    scene.proxy.use(dataclasses.replace(scene.proxy.snapshot, client_limits=ClientLimits()))
    assert (await client.ask(get())).status == 200


@in_scene
@pytest.mark.parametrize("http2", [False, True])
async def test_connections_of_one_client(scene: Scene, http2: bool) -> None:
    await scene.start((await scene.target()).address, client_limits=TWO_CONNECTIONS, http2=http2)
    first, second = await scene.client(), await scene.client()
    assert [(await client.ask(get())).status for client in (first, second)] == [200, 200]
    assert await (await scene.client()).rest() == b""
    assert scene.proxy.rejected_connections == 1
    await first.close()
    await until(lambda: len(scene.proxy.clients) == 1)
    if http2:
        client = await H2Client.connect(scene.address)
        assert (await client.ask()).status == 200
        assert await (await scene.client()).rest() == b""
        await client.close()
        await until(lambda: len(scene.proxy.clients) == 1)
    assert (await scene.ask(get())).status == 200
    await second.close()
    await until(lambda: not scene.proxy.clients)
    assert not scene.proxy.per_client._counted


@in_scene
@pytest.mark.parametrize("is_trusted", [True, False])
async def test_connections_behind_a_proxy_that_says_whose_they_are(scene: Scene, is_trusted: bool) -> None:
    await scene.start(
        (await scene.target()).address,
        client_limits=TWO_CONNECTIONS,
        is_proxy_protocol=True,
        forwarding=LOOPBACK_IS_TRUSTED if is_trusted else Forwarding(),
    )

    async def come_from(address: bytes) -> bytes:
        client = await scene.client()
        await client.send(b"PROXY TCP4 %b 127.0.0.1 5000 80\r\n" % address, get())
        return await client.reader.read(12)

    answers = [
        await come_from(address) for address in (b"192.0.2.1", b"192.0.2.1", b"192.0.2.1", b"192.0.2.2")
    ]
    assert [bool(each) for each in answers] == [True, True, False, is_trusted]
