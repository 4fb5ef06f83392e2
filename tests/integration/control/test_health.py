"""Health checks of real servers."""

import asyncio

import pytest

from limpet.core.target import Health


def test_a_failing_target_is_left_and_comes_back(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        await ground.start(ground.group("A", "B", stickiness={"type": "off"}))
        assert {(await ground.get())[2] for _ in range(4)} == {b"A", b"B"}
        ground.servers["A"].status = 503
        await ground.until(lambda: ground.state("A").health is Health.UNHEALTHY)
        assert ground.state("A").health_detail == "status 503"
        assert {(await ground.get())[2] for _ in range(4)} == {b"B"}
        ground.servers["A"].status = 200
        await ground.until(lambda: ground.state("A").health is Health.HEALTHY)
        assert {(await ground.get())[2] for _ in range(4)} == {b"A", b"B"}

    play(story)


def test_a_target_is_in_after_one_success_before_clients_are_served(play):
    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A", health_check={"healthy_threshold": 100, "interval_s": 60}))
        assert ground.state("A").health is Health.HEALTHY

    play(story)


def test_a_target_that_still_starts_is_awaited(play):
    async def story(ground):
        await ground.server("A")
        ground.servers["A"].status = 503
        await ground.start(ground.group("A", health_check={"interval_s": 60, "unhealthy_threshold": 100}))
        assert ground.state("A").health is Health.INITIAL
        ground.servers["A"].status = 200
        await ground.until(lambda: ground.state("A").health is Health.HEALTHY)

    play(story)


def test_checks_carry_the_configured_host_and_headers(play):
    async def story(ground):
        await ground.server("A")
        check = {"host": "shop.example", "headers": {"X-Probe": "1"}, "path": "/health?deep=1"}
        await ground.start(ground.group("A", health_check=check))
        head = ground.servers["A"].requests[0]
        assert head.startswith(b"GET /health?deep=1 HTTP/1.1\r\nHost: shop.example\r\n")
        assert b"\r\nX-Probe: 1\r\n" in head

    play(story)


def test_a_hung_target_delays_nobody(play):
    async def story(ground):
        await ground.server("A")
        held = []
        hung = await asyncio.start_server(lambda reader, writer: held.append(writer), "127.0.0.1", 0)
        address = f"127.0.0.1:{hung.sockets[0].getsockname()[1]}"
        group = ground.group("A", health_check={"timeout_s": 0.2})
        group["targets"].append({"name": "H", "address": address})
        await ground.start(group)
        checks = len(ground.servers["A"].requests)
        await ground.until(lambda: ground.state("H").health is Health.UNHEALTHY)
        assert len(ground.servers["A"].requests) > checks + 1
        assert ground.state("H").health_detail == "no answer within 0.2 s"
        hung.close()
        for writer in held:
            writer.close()

    play(story)


def test_an_answer_that_is_no_http_is_unhealthy(play):
    async def story(ground):
        await ground.server("A")

        async def nonsense(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
        group = ground.group("A")
        group["targets"].append({"name": "S", "address": f"127.0.0.1:{server.sockets[0].getsockname()[1]}"})
        await ground.start(group)
        await ground.until(lambda: ground.state("S").health is Health.UNHEALTHY)
        server.close()

    play(story)


def test_failed_requests_mark_a_target_that_nobody_checks(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        check = {"enabled": False, "passive_threshold": 2, "passive_recovery_s": 0.3}
        await ground.start(ground.group("A", "B", health_check=check, stickiness={"type": "off"}))
        assert ground.state("A").health is Health.UNAVAILABLE
        port = ground.servers["A"].port
        await ground.servers["A"].stop()
        answers = [await ground.get() for _ in range(8)]
        assert {status for status, _, _ in answers} == {200}  # a refused connection is retried elsewhere
        assert ground.state("A").health is Health.UNHEALTHY
        await ground.servers["A"].start(port)
        await ground.until(lambda: ground.state("A").health is Health.UNAVAILABLE)
        assert {(await ground.get())[2] for _ in range(4)} == {b"A", b"B"}

    play(story)


def test_nobody_healthy_fails_open(play):
    async def story(ground):
        server = await ground.server("A")
        server.status = 500
        await ground.start(ground.group("A"))
        await ground.until(lambda: ground.state("A").health is Health.UNHEALTHY)
        status, _, body = await ground.get()
        assert (status, body) == (500, b"A")
        assert (await ground.call("GET", "/status"))[1]["target_groups"][0]["is_failing_open"]

    play(story)


def test_a_recovered_target_starts_slowly(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        await ground.start(ground.group("A", "B", slow_start_s=60, stickiness={"type": "off"}))
        assert ground.state("A").weight == ground.state("B").weight == 1  # the first batch does not ramp
        ground.servers["A"].status = 503
        await ground.until(lambda: ground.state("A").health is Health.UNHEALTHY)
        ground.servers["A"].status = 200
        await ground.until(lambda: ground.state("A").health is Health.HEALTHY)
        assert ground.state("A").weight < 0.2
        bodies = [(await ground.get())[2] for _ in range(22)]
        assert 1 <= bodies.count(b"A") <= 4

    play(story)


@pytest.mark.parametrize("name", ["Host", "host"])
def test_a_host_given_as_a_header_replaces_the_usual_one(play, name):
    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A", health_check={"headers": {name: "shop.example"}}))
        head = ground.servers["A"].requests[0].lower()
        assert head.count(b"\r\nhost:") == 1
        assert b"\r\nhost: shop.example\r\n" in head

    play(story)
