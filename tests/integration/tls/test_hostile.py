"""What clients do to handshakes and streams: nothing, slowly, nonsense, and too much at once."""

import asyncio
import contextlib
import socket
import ssl

import pytest
from tls_kit import TLS_1_2, TLS_1_3, ask, tls_listener

HELLO_SO_FAR = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


async def serve(ground, authority, **data):
    await ground.server("A")
    listeners = [tls_listener(authority.issue("shop.example"))]
    await ground.start(ground.group("A"), listeners=listeners, **data)


async def failed(ground):
    return (await ground.balancer.plane.handshakes()).failed


async def one_byte_at_a_time(writer):
    for byte in HELLO_SO_FAR:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


async def nothing(writer):
    pass


@pytest.mark.parametrize("behave", [nothing, one_byte_at_a_time])
def test_a_handshake_that_takes_too_long_is_ended(play, authority, behave):
    async def story(ground):
        await serve(ground, authority, clients={"header_timeout_s": 0.3})
        reader, writer = await asyncio.open_connection("127.0.0.1", ground.port)
        slow = asyncio.create_task(behave(writer))
        async with asyncio.timeout(3):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        await asyncio.gather(slow, return_exceptions=True)
        writer.close()
        assert await failed(ground) == {"timeout": 1}
        assert not ground.balancer.plane.proxy.shaking

    play(story)


CASES = {
    "plain_http": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 400 "),
    "no_tls": (b"\x80\x2e\x01\x03\x01", b""),
    "http2_prior_knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HTTP/1.1 400 "),
    "garbage_record": (b"\x16\x03\x01\x00\x05hello", b"\x15"),
}


@pytest.mark.parametrize("what", CASES)
def test_what_is_no_handshake_is_ended_at_once(play, authority, what):
    sent, answer = CASES[what]

    async def story(ground):
        await serve(ground, authority)
        reader, writer = await asyncio.open_connection("127.0.0.1", ground.port)
        writer.write(sent)
        async with asyncio.timeout(3):
            got = await reader.read()
        assert got.startswith(answer) if answer else got == b""
        writer.close()
        assert sum((await failed(ground)).values()) == 1

    play(story)


def test_a_client_that_leaves_in_the_handshake_is_counted(play, authority):
    async def story(ground):
        await serve(ground, authority)
        _, writer = await asyncio.open_connection("127.0.0.1", ground.port)
        writer.write(HELLO_SO_FAR)
        proxy = ground.balancer.plane.proxy
        await ground.until(lambda: proxy.shaking)
        writer.close()
        await ground.until(lambda: not proxy.shaking)
        assert await failed(ground) == {"closed": 1}

    play(story)


def test_handshakes_count_as_connections(play, authority, clients):
    async def story(ground):
        await serve(ground, authority, clients={"max_connections": 3})
        held = [await asyncio.open_connection("127.0.0.1", ground.port) for _ in range(3)]
        proxy = ground.balancer.plane.proxy
        await ground.until(lambda: len(proxy.shaking) == 3)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await clients.get(ground.port)
        assert await failed(ground) == {"too_many": 1}
        for _, writer in held:
            writer.close()
        await ground.until(lambda: not proxy.shaking)
        assert (await clients.get(ground.port))[0] == 200

    play(story)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_requests_in_many_records_or_many_in_one(play, authority, clients, version):
    async def story(ground):
        await serve(ground, authority)
        reader, writer = await clients.connect(ground.port, context=authority.client(version=version))
        for byte in b"GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n":
            writer.write(bytes([byte]))  # a record each
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(1)
        writer.write(b"GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n" * 1000)
        for _ in range(1000):
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(1)
        writer.close()

    play(story)


_LARGE = 20_000_000  # more than sockets hold


async def large(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % _LARGE)
    writer.write(b"x" * _LARGE)
    await writer.drain()
    writer.close()


async def behind_tls(ground, authority, serve_one):
    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    group = {
        "targets": [f"127.0.0.1:{server.sockets[0].getsockname()[1]}"],
        "health_check": {"enabled": False},
    }
    await ground.start(group, listeners=[tls_listener(authority.issue("shop.example"))])
    return server


def blocking(ground, authority, request):
    """Connect, send, and return the socket; asyncio's TLS reads ahead."""
    plain = socket.create_connection(("127.0.0.1", ground.port))
    tls = authority.client().wrap_socket(plain, server_hostname="shop.example", suppress_ragged_eofs=False)
    tls.sendall(request)
    return tls


def read_to_the_end(tls):
    with tls:
        parts = []
        while part := tls.recv(65536):  # raises if TLS has no end
            parts.append(part)
    return b"".join(parts)


GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def test_a_slow_reader_holds_the_target_back(play, authority):
    async def story(ground):
        server = await behind_tls(ground, authority, large)
        tls = await asyncio.to_thread(blocking, ground, authority, GET)
        proxy = ground.balancer.plane.proxy
        await ground.until(lambda: any(client.is_unread for client in proxy.clients))
        (client,) = proxy.clients
        await asyncio.sleep(0.1)
        assert client.transport.get_write_buffer_size() < 1_000_000
        assert (await asyncio.to_thread(read_to_the_end, tls)).endswith(b"x" * _LARGE)
        server.close()

    play(story)


def test_a_slow_target_holds_the_client_back(play, authority):
    async def story(ground):
        gate = asyncio.Event()
        received = bytearray()

        async def slow(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            await gate.wait()
            while len(received) < _LARGE:
                received.extend(await reader.read(1 << 20))
            writer.write(b"HTTP/1.1 204 OK\r\n\r\n")
            writer.close()

        server = await behind_tls(ground, authority, slow)
        head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % _LARGE
        sending = asyncio.create_task(asyncio.to_thread(blocking, ground, authority, head + b"y" * _LARGE))
        proxy = ground.balancer.plane.proxy
        await ground.until(lambda: any(client.is_paused for client in proxy.clients))
        await asyncio.sleep(0.1)
        assert not sending.done()
        gate.set()
        assert b" 204 " in await asyncio.to_thread(read_to_the_end, await sending)
        assert bytes(received) == b"y" * _LARGE
        server.close()

    play(story)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_a_stream_ends_in_one_direction(play, authority, version):
    # With OpenSSL by hand, because asyncio's TLS cannot be half closed.
    async def story(ground):
        heard = asyncio.Future()

        async def bye(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nBYE")
            writer.write_eof()
            heard.set_result(await reader.read())
            writer.close()

        server = await behind_tls(ground, authority, bye)
        reader, writer = await asyncio.open_connection("127.0.0.1", ground.port)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = authority.client(version=version).wrap_bio(incoming, outgoing, server_hostname="shop.example")

        async def do(action, *arguments):
            while True:
                try:
                    return action(*arguments)
                except ssl.SSLWantReadError:
                    writer.write(outgoing.read())
                    data = await reader.read(65536)
                    incoming.write(data) if data else incoming.write_eof()
                finally:
                    writer.write(outgoing.read())

        await do(tls.do_handshake)
        await do(tls.write, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        got = b""
        while data := await do(tls.read, 65536):  # b"" is the end of TLS, not of the socket
            got += data
        assert got.endswith(b"BYE")
        await do(tls.write, b"still here")
        tls.unwrap()
        writer.write(outgoing.read())
        async with asyncio.timeout(3):
            assert await heard == b"still here"
        writer.close()
        server.close()

    play(story)


def test_what_limpet_closes_has_an_end(play, authority):
    async def story(ground):
        await serve(ground, authority)
        tls = await asyncio.to_thread(blocking, ground, authority, GET)
        assert (await asyncio.to_thread(read_to_the_end, tls)).endswith(b"A")

    play(story)


def test_draining_answers_what_is_in_flight(play, authority, clients):
    async def story(ground):
        await serve(ground, authority)
        server = ground.servers["A"]
        idle = await clients.connect(ground.port)
        shaking = await asyncio.open_connection("127.0.0.1", ground.port)
        proxy = ground.balancer.plane.proxy
        await ground.until(lambda: proxy.shaking and proxy.clients)
        server.hold.clear()
        reader, writer = await clients.connect(ground.port)
        slow = asyncio.create_task(ask(reader, writer))
        await ground.until(lambda: ground.state("A").in_flight == 1)
        draining = asyncio.create_task(proxy.drain(5))
        assert await idle[0].read() == b""
        server.hold.set()
        status, found, _ = await slow
        assert (status, found["connection"]) == (200, ["close"])
        assert await draining == 0
        assert await shaking[0].read() == b""
        for _, each in (idle, shaking, (reader, writer)):
            each.close()

    play(story)


def test_draining_lets_a_handshake_that_has_begun_end_and_ask(play, authority, clients):
    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A"), listeners=[tls_listener(authority.issue("shop.example"))])
        connected = socket.create_connection(("127.0.0.1", ground.port))
        connected.setblocking(False)
        proxy = ground.balancer.plane.proxy
        await ground.until(lambda: len(proxy.shaking) == 1)
        draining = asyncio.create_task(proxy.drain(5))
        await ground.until(lambda: proxy.is_draining)
        context = authority.client()
        streams = await asyncio.open_connection(sock=connected, ssl=context, server_hostname="shop.example")
        assert (await ask(*streams))[0] == 200
        streams[1].close()
        assert await draining == 0

    del clients
    play(story)
