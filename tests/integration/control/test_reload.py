"""What a reload must not break: keys, listeners, and requests in flight."""

import asyncio
from pathlib import Path

import pytest

from limpet.core.target import Health
from limpet.errors import ConfigError


def cookie_of(head):
    return head.split(b"Set-Cookie: ")[1].split(b";")[0].decode()


def open_files():
    return {str(file.resolve()) for file in Path("/proc/self/fd").iterdir()}


async def hold_one(ground, name="A"):
    """Begin a request that its target does not answer yet."""
    ground.servers[name].hold.clear()
    slow = asyncio.create_task(ground.get("/slow"))
    await ground.until(lambda: ground.state(name).in_flight == 1)
    return slow


@pytest.mark.parametrize("is_blocked", [True, False])
def test_a_key_that_is_in_no_file_goes_on(play, monkeypatch, tmp_path, is_blocked):
    home = tmp_path / "state"
    if is_blocked:
        home.write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    monkeypatch.delenv("LIMPET_TICKET_KEYS", raising=False)

    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A"), keys={})
        cookie = cookie_of((await ground.get())[1])
        if not is_blocked:
            (home / "limpet" / "ticket-keys").unlink()
        await ground.balancer.reload()
        assert not ground.balancer.keys.is_lasting
        assert b"Set-Cookie" not in (await ground.get(Cookie=cookie))[1]

    play(story)


def test_a_listener_gets_another_group_without_being_bound_again(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        await ground.start(ground.group("A"))
        port = ground.port
        ground.data["target_groups"] = {
            "web": ground.group("A"),
            "api": ground.group("B", stickiness={"cookie_name": "api"}),
        }
        ground.data["listeners"] = [{"address": "127.0.0.1:0", "target_group": "api"}]
        await ground.balancer.reload()
        assert ground.port == port
        assert (await ground.get())[2] == b"B"
        ground.data["listeners"][0]["proxy_protocol"] = True
        ground.data["trusted_proxies"] = ["127.0.0.0/8"]
        await ground.balancer.reload()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n")
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"B")
        writer.close()

    play(story)


def test_a_removed_group_finishes_what_is_in_flight(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        await ground.start(ground.group("A"))
        slow = await hold_one(ground)
        ground.data["target_groups"] = {"api": ground.group("B")}
        await ground.balancer.reload()
        _, facts = await ground.call("GET", "/status")
        assert [(target["name"], target["in_flight"]) for target in facts["leaving"]] == [("A", 1)]
        ground.servers["A"].hold.set()
        assert (await slow)[2] == b"A"
        await ground.until(lambda: not ground.balancer.state.leaving)

    play(story)


def test_a_removed_group_is_cut_when_its_delay_is_over(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        await ground.start(ground.group("A", deregistration_delay_s=0.2))
        slow = await hold_one(ground)
        ground.data["target_groups"] = {"api": ground.group("B")}
        await ground.balancer.reload()
        assert (await slow)[0] == 502

    play(story)


def test_another_address_under_a_name_lets_in_flight_finish_and_takes_the_sessions(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        await ground.start(ground.group("A"))
        cookie = cookie_of((await ground.get())[1])
        slow = await hold_one(ground)
        group = ground.group("A")
        group["targets"][0]["address"] = ground.servers["B"].address
        ground.data["target_groups"] = {"web": group}
        await ground.balancer.reload()
        await ground.until(lambda: ground.state("A").health is Health.HEALTHY)
        _, head, body = await ground.get(Cookie=cookie)
        assert body == b"B"
        assert b"Set-Cookie" not in head
        ground.servers["A"].hold.set()
        assert (await slow)[2] == b"A"

    play(story)


def test_a_target_that_comes_back_has_the_health_it_had(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        check = {"interval_s": 5}
        await ground.start(ground.group("A", "B", health_check=check))
        cookie = cookie_of((await ground.get())[1])
        slow = await hold_one(ground, "B")
        both = ground.data["target_groups"]
        ground.data["target_groups"] = {"web": ground.group("A", health_check=check)}
        await ground.balancer.reload()
        ground.data["target_groups"] = both
        await ground.balancer.reload()
        assert ground.state("B").health is Health.HEALTHY
        ground.servers["B"].hold.set()
        await slow
        assert (await ground.get(Cookie=cookie))[2] == b"A"

    play(story)


def test_a_refused_reload_leaves_no_open_log(play):
    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A"))
        new_log = str(ground.tmp_path / "new.log")
        ground.data["access_log"] = {"path": new_log}
        ground.data["listeners"] = [{"address": "127.0.0.1:0"}, {"address": ground.servers["A"].address}]
        with pytest.raises(ConfigError, match="cannot be bound"):
            await ground.balancer.reload()
        assert new_log not in open_files()

    play(story)


def test_a_reload_while_starting_waits_for_the_start(play):
    async def story(ground):
        def say_nothing(reader, writer):
            del reader
            ground.writers.append(writer)

        ground.writers = []
        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        address = f"127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        group = {"targets": [address], "health_check": {"timeout_s": 5}}
        starting = asyncio.create_task(ground.start(group))
        await ground.until(lambda: ground.writers)
        assert (await ground.call("POST", "/reload", {}))[0] == 200
        await starting
        assert len(ground.balancer.bound) == 1
        for writer in ground.writers:
            writer.close()
        silent.close()

    play(story)
