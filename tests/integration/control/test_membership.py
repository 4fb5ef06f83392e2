"""Targets come and go while requests are served."""

import asyncio
import re

import pytest

from limpet.core.target import Health
from limpet.errors import ConfigError


def cookie_of(head):
    found = re.search(rb"Set-Cookie: (limpet=[^;]+)", head)
    return found[1].decode() if found else None


def test_a_removed_target_finishes_what_is_in_flight_and_gets_nothing_new(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        await ground.start(ground.group("A", "B"))
        _, head, body = await ground.get()
        assert body == b"A"
        cookie = cookie_of(head)
        ground.servers["A"].hold.clear()
        ground.servers["A"].arrived.clear()
        slow = asyncio.create_task(ground.get("/slow", Cookie=cookie))
        await ground.until(lambda: ground.state("A").in_flight == 1)
        ground.data["target_groups"] = {"web": ground.group("B")}
        await ground.balancer.reload()
        assert ground.state("A").health is Health.DRAINING
        status, head, body = await ground.get(Cookie=cookie)
        assert (status, body) == (200, b"B")
        assert cookie_of(head)  # the session has a new home
        ground.servers["A"].hold.set()
        assert (await slow)[2] == b"A"
        await ground.until(lambda: "A" not in ground.balancer.state.groups["web"].targets)

    play(story)


def test_when_the_delay_is_over_what_is_left_gets_a_502(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        await ground.start(ground.group("A", "B"))
        ground.servers["A"].hold.clear()
        slow = asyncio.create_task(ground.get("/slow"))
        await ground.until(lambda: ground.state("A").in_flight == 1)
        ground.data["target_groups"] = {"web": ground.group("B", deregistration_delay_s=0.3)}
        await ground.balancer.reload()
        status, _, _ = await slow
        assert status == 502
        log = (ground.tmp_path / "access.log").read_text()
        await ground.until(lambda: "A" not in ground.balancer.state.groups["web"].targets)
        ground.balancer.plane.proxy.settle()
        log = (ground.tmp_path / "access.log").read_text()
        assert " deregistered\n" in log

    play(story)


def test_a_target_that_is_registered_again_is_as_if_it_had_never_left(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        await ground.start(ground.group("A", "B"))
        cookie = cookie_of((await ground.get())[1])
        before = ground.state("A")
        ground.servers["A"].hold.clear()
        slow = asyncio.create_task(ground.get("/slow", Cookie=cookie))
        await ground.until(lambda: before.in_flight == 1)
        both = ground.data["target_groups"]
        ground.data["target_groups"] = {"web": ground.group("B")}
        await ground.balancer.reload()
        ground.data["target_groups"] = both
        await ground.balancer.reload()
        ground.servers["A"].hold.set()
        await slow
        assert ground.state("A") is before
        await ground.until(lambda: before.health is Health.HEALTHY)
        assert (await ground.get(Cookie=cookie))[2] == b"A"

    play(story)


def test_books_counters_and_tickets_survive_a_reload(play):
    async def story(ground):
        for name in "ABC":
            await ground.server(name)
        await ground.start(ground.group("A", "B", "C"))
        cookies = [cookie_of((await ground.get())[1]) for _ in range(4)]
        sequence = []
        for _ in range(5):
            await ground.balancer.reload()
            sequence.append((await ground.get())[2])
        assert sequence == [b"B", b"C", b"A", b"B", b"C"]
        assert [(await ground.get(Cookie=cookie))[2] for cookie in cookies] == [b"A", b"B", b"C", b"A"]
        assert ground.state("A").requests == 5
        assert ground.balancer.reloads == 5

    play(story)


def test_a_configuration_with_a_mistake_changes_nothing(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        await ground.start(ground.group("A", "B"))
        version = ground.balancer.snapshot.version
        good = ground.data["target_groups"]
        ground.data["target_groups"] = {"web": {"targets": ["127.0.0.1:0"], "algorithm": "best"}}
        with pytest.raises(ConfigError) as caught:
            await ground.balancer.reload()
        assert len(caught.value.problems) >= 1
        assert ground.balancer.snapshot.version == version
        assert (await ground.get())[0] == 200
        taken = ground.servers["A"].address
        ground.data["target_groups"] = good
        ground.data["listeners"] = [{"address": "127.0.0.1:0"}, {"address": taken}]
        with pytest.raises(ConfigError, match="cannot be bound"):
            await ground.balancer.reload()
        assert len(ground.balancer.bound) == 1
        assert (await ground.get())[0] == 200

    play(story)


def test_listeners_open_and_close_with_a_reload(play):
    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A"))
        first = ground.port
        path = str(ground.tmp_path / "second.sock")
        ground.data["listeners"] = [{"address": f"unix:{path}"}]
        await ground.balancer.reload()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"A")
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", first)

    play(story)


def test_names_are_resolved_again(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        answers = {"app.example": ["127.0.0.1"]}

        async def look_up(name):
            if not answers:
                raise OSError("no resolver")
            return answers[name]

        port = ground.servers["A"].port
        group = {
            "targets": [f"app.example:{port}"],
            "dns_interval_s": 0.05,
            "health_check": {"enabled": False},
        }
        await ground.start(group, look_up=look_up)
        assert (await ground.get())[2] == b"A"
        targets = ground.balancer.state.groups["web"].targets
        answers["app.example"] = ["127.0.0.1", "127.0.0.2"]
        await ground.until(
            lambda: (
                sum(s.health is not Health.DRAINING for s in targets.values()) == 2
                or len(ground.balancer.state.groups["web"].targets) == 2
            )
        )
        answers.clear()
        for _ in range(3):
            await asyncio.sleep(0.05)
        targets = ground.balancer.state.groups["web"].targets
        serving = [str(s.target.address) for s in targets.values() if s.health is not Health.DRAINING]
        assert serving == [f"127.0.0.1:{port}", f"127.0.0.2:{port}"]

    play(story)


def test_thousands_of_requests_during_a_hundred_reloads_without_an_error(play):
    async def story(ground):
        for name in "ABC":
            await ground.server(name)
        await ground.start(ground.group("A", "B", "C", health_check={"interval_s": 5}))
        is_over = asyncio.Event()
        statuses = []

        async def client():
            reader, writer = await asyncio.open_connection("127.0.0.1", ground.port)
            while not is_over.is_set():
                writer.write(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))
                statuses.append(int(head.split()[1]))
            writer.close()

        clients = [asyncio.create_task(client()) for _ in range(16)]
        memberships = [("A", "B", "C"), ("A", "B"), ("B", "C"), ("C", "A")]
        for number in range(100):
            names = memberships[number % 4]
            group = ground.group(*names, algorithm=["round_robin", "power_of_two"][number % 2])
            ground.data["target_groups"] = {"web": group}
            await ground.balancer.reload()
            seen = len(statuses)
            await ground.until(lambda seen=seen: len(statuses) > seen + 30)
        is_over.set()
        await asyncio.gather(*clients)
        assert len(statuses) > 3000
        assert set(statuses) == {200}

    play(story)
