"""TLS with targets: who they are is verified, for requests, WebSockets and health checks."""

import asyncio
import contextlib
import socket
import ssl

import pytest
from tls_kit import tls_listener

from limpet.core.target import Health


async def over_https(ground, context, **tls):
    """Start a server that speaks TLS and return a group of it."""
    await ground.server("A", ssl=context)
    group = ground.group("A")
    group["targets"][0]["address"] = f"https://{group['targets'][0]['address']}"
    return {**group, "tls": tls} if tls else group


def test_requests_and_checks_go_by_tls(play, authority):
    async def story(ground):
        await ground.start(await over_https(ground, authority.server("127.0.0.1"), ca=str(authority.path)))
        assert ground.state("A").health is Health.HEALTHY
        for _ in range(3):
            assert (await ground.get())[2] == b"A"
        assert ground.state("A").errors == 0
        status = (await ground.call("GET", "/status"))[1]
        (told,) = status["target_groups"][0]["targets"]
        assert told["address"] == f"https://127.0.0.1:{ground.servers['A'].port}"

    play(story)


WRONG = {
    "another_name": ("other.example", {}, "IP address mismatch"),
    "expired": ("127.0.0.1", {"days": -1, "began_days": 9}, "certificate has expired"),
    "stranger": ("127.0.0.1", {}, "unable to get local issuer certificate"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_target_that_cannot_show_who_it_is_gets_nothing(play, authority, tmp_path, what):
    name, how, reason = WRONG[what]
    signer = authority
    if what == "stranger":
        (tmp_path / "other").mkdir()
        signer = type(authority)(tmp_path / "other", "stranger")

    async def story(ground):
        await ground.start(await over_https(ground, signer.server(name, **how), ca=str(authority.path)))
        state, server = ground.state("A"), ground.servers["A"]
        await ground.until(lambda: state.health is Health.UNHEALTHY)
        assert state.health_detail.startswith("its certificate does not verify: ")
        assert reason in state.health_detail
        assert (await ground.get())[0] == 502  # fail-open sends it there, and TLS does not
        assert server.requests == []
        # Whoever insists may trust it, and is told so.
        ground.data["target_groups"]["web"]["tls"] = {"verify": False}
        await ground.balancer.reload()
        await ground.until(lambda: state.health is Health.HEALTHY)
        assert (await ground.get())[0] == 200
        assert any("verify = false" in message for message in ground.messages)
        # And no longer, not even on connections that were made meanwhile.
        ground.data["target_groups"]["web"]["tls"] = {"ca": str(authority.path)}
        await ground.balancer.reload()
        assert (await ground.get())[0] == 502

    play(story)


def test_a_server_name_stands_for_the_address(play, authority):
    async def story(ground):
        names = set()
        context = authority.server("app.internal")
        context.sni_callback = lambda tls, name, _: names.add(name)
        group = await over_https(ground, context, ca=str(authority.path), server_name="app.internal")
        await ground.start(group)
        assert (await ground.get())[0] == 200
        assert names == {"app.internal"}

    play(story)


def test_the_name_that_an_address_was_found_by_is_verified(play, authority):
    async def look_up(name):
        return ["127.0.0.1"]

    async def story(ground):
        group = await over_https(ground, authority.server("app.internal"), ca=str(authority.path))
        group["targets"] = [f"https://App.internal:{ground.servers['A'].port}"]
        await ground.start(group, look_up=look_up)
        assert (await ground.get())[0] == 200

    play(story)


def test_a_target_may_ask_for_a_certificate(play, authority):
    async def story(ground):
        context = authority.server("127.0.0.1")
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.path)
        await ground.start(await over_https(ground, context, ca=str(authority.path)))
        state = ground.state("A")
        await ground.until(lambda: state.health is Health.UNHEALTHY)
        ground.data["target_groups"]["web"]["tls"] |= authority.issue("limpet")
        await ground.balancer.reload()
        await ground.until(lambda: state.health is Health.HEALTHY)
        assert (await ground.get())[0] == 200

    play(story)


async def no_tls(reader, writer):
    await reader.read(65536)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


def test_a_plain_target_is_told_from_one_that_speaks_tls(play):
    async def story(ground):
        server = await asyncio.start_server(no_tls, "127.0.0.1", 0)
        await ground.start(
            {
                "targets": [f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"],
                "health_check": {"interval_s": 0.05},
            }
        )
        (state,) = ground.balancer.state.groups["web"].targets.values()
        await ground.until(lambda: state.health is Health.UNHEALTHY)
        assert state.health_detail == "the TLS handshake failed: wrong version number"
        assert (await ground.get())[0] == 502
        server.close()

    play(story)


async def start(ground, authority, serve, **data):
    """Start a balancer over one server whose connections do as `serve` says."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.server("127.0.0.1"))
    group = {
        "targets": [f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"],
        "health_check": {"enabled": False},
        "tls": {"ca": str(authority.path)},
    }
    await ground.start(group, **data)
    return server


async def upper(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    while data := await reader.read(65536):
        writer.write(data.upper())
        await writer.drain()
    writer.close()


def test_a_tunnel_goes_through_tls_on_both_sides(play, authority, clients):
    async def story(ground):
        listeners = [tls_listener(authority.issue("shop.example"))]
        server = await start(ground, authority, upper, listeners=listeners)
        reader, writer = await clients.connect(ground.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        sent = b"abc" * 1_000_000

        async def send():
            writer.write(sent)
            await writer.drain()

        _, got = await asyncio.gather(send(), reader.readexactly(len(sent)))
        assert got == sent.upper()
        writer.close()
        server.close()

    play(story)


def cut_short(listening, context):
    """Serve half a response that ends with the connection, without the end that TLS has."""
    connection, _ = listening.accept()
    with context.wrap_socket(connection, server_side=True) as tls:
        tls.recv(65536)
        tls.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf")


def test_a_response_that_was_cut_is_not_passed_on_as_whole(play, authority):
    async def story(ground):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            serving = asyncio.create_task(
                asyncio.to_thread(cut_short, listening, authority.server("127.0.0.1"))
            )
            group = {
                "targets": [f"https://127.0.0.1:{listening.getsockname()[1]}"],
                "health_check": {"enabled": False},
                "tls": {"ca": str(authority.path)},
            }
            await ground.start(group)
            reader, writer = await asyncio.open_connection("127.0.0.1", ground.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            with pytest.raises(ConnectionError):
                await reader.readuntil(b"0\r\n\r\n")
            writer.close()
            await serving

    play(story)


def test_a_target_that_never_shakes_hands_is_given_up(play, authority):
    async def story(ground):
        held = set()

        async def silent(reader, writer):
            held.add(writer)
            with contextlib.suppress(ConnectionError):
                await reader.read()  # until it is given up
            writer.close()
            held.remove(writer)

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        group = {
            "targets": [f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"],
            "health_check": {"interval_s": 0.05, "timeout_s": 0.2},
            "limits": {"connect_timeout_s": 0.3},
        }
        await ground.start(group)
        assert (await ground.get())[0] == 504
        (state,) = ground.balancer.state.groups["web"].targets.values()
        assert state.in_flight == 0
        await ground.until(lambda: "no answer within" in state.health_detail)
        await ground.balancer.checker.stop()
        server.close()
        await ground.until(lambda: not held)

    play(story)
