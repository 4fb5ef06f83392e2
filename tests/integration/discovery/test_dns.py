"""Names are looked up again when their TTL is over; no answer takes a server away by accident."""

import asyncio

import dns.rcode
import pytest

from limpet.control.discovery import dns as dns_source
from limpet.control.discovery import resolver
from limpet.core.target import Health

UNCHECKED = {"enabled": False}
A, AAAA, SRV = ("app.test", "A"), ("app.test", "AAAA"), ("_http._tcp.app.test", "SRV")


@pytest.fixture
def named(play, name_server, monkeypatch):
    """Run a test's coroutine with a DNS server; a look that failed is repeated soon."""
    monkeypatch.setattr(dns_source, "RETRY_S", 0.05)
    monkeypatch.setattr(resolver, "LOOK_UP_S", 0.3)

    def run(story):
        async def on_ground(ground):
            await name_server.start()
            try:
                await story(ground, name_server)
            finally:
                await name_server.stop()

        play(on_ground)

    return run


def by_name(server, port=80, **settings):
    discovery = {"type": "dns", "name": "app.test", "port": port, "servers": server.servers}
    return {"discovery": discovery, "health_check": UNCHECKED, "dns_interval_s": 0.05, **settings}


def members(ground):
    """Address -> id of the targets that are not draining; a `-` before the address of one that terminates."""
    return {
        ("-" if state.target.is_terminating else "") + str(state.target.address): state.id
        for state in ground.balancer.state.groups["web"].targets.values()
        if state.health is not Health.DRAINING
    }


async def further_looks(ground, server, count=2):
    asked = server.count("A")
    await ground.until(lambda: server.count("A") >= asked + count)


def test_both_families_and_ids_that_know_neither_order_nor_port(named):
    async def story(ground, server):
        server.records = {A: ["127.0.0.2", "127.0.0.1"], AAAA: ["::1"]}
        await ground.start(by_name(server))
        before = members(ground)
        assert list(before) == ["127.0.0.1:80", "127.0.0.2:80", "[::1]:80"]
        ground.data["target_groups"] = {"web": by_name(server, port=81)}
        await ground.balancer.reload()
        assert {address.replace(":81", ":80"): each for address, each in members(ground).items()} == before
        assert all(each.startswith("t-") for each in before.values())

    named(story)


def test_the_ttl_rules_within_the_interval(named):
    async def story(ground, server):
        server.records, server.ttl_s = {A: ["127.0.0.1"]}, 1
        begun_s = asyncio.get_running_loop().time()
        await ground.start(by_name(server, dns_interval_s=60))
        server.records = {A: ["127.0.0.2"]}
        await ground.until(lambda: "127.0.0.2:80" in members(ground))
        assert asyncio.get_running_loop().time() - begun_s >= 1
        server.ttl_s = 3600
        server.records = {A: ["127.0.0.3"]}
        await ground.until(lambda: "127.0.0.3:80" in members(ground))
        ground.data["target_groups"] = {"web": by_name(server, dns_interval_s=0.05)}
        await ground.balancer.reload()  # another interval: the hour is not waited for
        server.records = {A: ["127.0.0.4"]}
        await ground.until(lambda: "127.0.0.4:80" in members(ground))

    named(story)


def test_a_long_answer_is_asked_for_over_tcp(named):
    async def story(ground, server):
        server.is_truncating = True
        server.records = {A: [f"127.0.1.{number}" for number in range(1, 101)]}
        await ground.start(by_name(server))
        assert len(members(ground)) == 100
        assert ("app.test", "A", "tcp") in server.asked

    named(story)


BAD_ANSWERS = {
    "no such name": ({}, "DNS knows no address"),
    "no address": ({A: []}, "DNS knows no address"),
    "servfail": ({A: dns.rcode.SERVFAIL, AAAA: dns.rcode.SERVFAIL}, "no DNS server answers"),
    "refused": ({A: dns.rcode.REFUSED, AAAA: dns.rcode.REFUSED}, "no DNS server answers"),
    "silence": ({A: None, AAAA: None}, "no answer in"),
}


@pytest.mark.parametrize("answer", BAD_ANSWERS)
def test_a_bad_answer_changes_nothing_and_is_told_once(named, answer):
    async def story(ground, server):
        server.records = {A: ["127.0.0.1"]}
        await ground.start(by_name(server))
        before = members(ground)
        server.records, reason = BAD_ANSWERS[answer]
        await ground.until(lambda: ground.messages)
        await further_looks(ground, server)
        assert members(ground) == before
        assert len(ground.messages) == 1
        assert "target_groups.web: dns app.test: " + reason in ground.messages[0]
        (source,) = (await ground.call("GET", "/status"))[1]["target_groups"][0]["sources"]
        assert (source["targets"], source["is_failing"]) == (1, True)
        assert reason in source["last_error"]
        server.records = {A: ["127.0.0.1"]}
        await ground.until(lambda: len(ground.messages) == 2)
        assert ground.messages[1] == "target_groups.web: dns app.test: answers again"

    named(story)


def test_half_an_answer_takes_nobody_out(named):
    async def story(ground, server):
        server.records = {A: ["127.0.0.1"], AAAA: ["::1"]}
        await ground.start(by_name(server))
        before = members(ground)
        server.records = {A: ["127.0.0.1"], AAAA: dns.rcode.SERVFAIL}
        await further_looks(ground, server)
        assert members(ground) == before

    named(story)


def test_an_address_that_is_missing_once_keeps_its_sessions(named):
    async def story(ground, server):
        await ground.server("A")
        port = ground.servers["A"].port
        server.records = {A: ["127.0.0.1"]}
        await ground.start(by_name(server, port))
        state = next(iter(ground.balancer.state.groups["web"].targets.values()))
        cookie = (await ground.get())[1].split(b"Set-Cookie: ")[1].split(b";")[0].decode()
        for _ in range(3):  # it flaps
            server.records = {A: ["127.0.0.9"]}
            await ground.until(lambda: f"-127.0.0.1:{port}" in members(ground))
            status, head, body = await ground.get(Cookie=cookie)
            assert (status, body) == (200, b"A")
            assert b"Set-Cookie" not in head  # nothing has moved
            server.records = {A: ["127.0.0.1"]}
            await ground.until(lambda: f"127.0.0.1:{port}" in members(ground))
        assert next(iter(ground.balancer.state.groups["web"].targets.values())) is state
        assert b"Set-Cookie" not in (await ground.get(Cookie=cookie))[1]

    named(story)


def test_when_the_delay_is_over_a_missing_address_is_gone(named):
    async def story(ground, server):
        server.records = {A: ["127.0.0.1"]}
        await ground.start(by_name(server, deregistration_delay_s=0.3))
        server.records = {A: ["127.0.0.2"]}
        await ground.until(lambda: "-127.0.0.1:80" in members(ground))
        await ground.until(lambda: list(members(ground)) == ["127.0.0.2:80"])

    named(story)


def test_a_missing_address_that_a_command_took_out_stays_out(named):
    async def story(ground, server):
        server.records = {A: ["127.0.0.1", "127.0.0.2"]}
        await ground.start(by_name(server))
        await ground.call("POST", f"/targets/web/{members(ground)['127.0.0.1:80']}/drain", {})
        for answer in (["127.0.0.2"], ["127.0.0.1", "127.0.0.2"]):
            server.records = {A: answer}
            await further_looks(ground, server)
            assert list(members(ground)) == ["127.0.0.2:80"]

    named(story)


def test_all_names_are_looked_up_at_once(named):
    async def story(ground, server):
        server.records = {A: None, AAAA: None}
        groups = {f"g{number}": by_name(server) for number in range(5)}
        listeners = [{"address": "127.0.0.1:0", "target_group": "g0"}]
        begun_s = asyncio.get_running_loop().time()
        await ground.start(None, target_groups=groups, listeners=listeners)
        assert asyncio.get_running_loop().time() - begun_s < 1.2  # one after the other: 1.5 s
        assert len(ground.messages) == 5

    named(story)


def test_a_refused_reload_ends_what_it_began(named):
    async def story(ground, server):
        await ground.server("A")
        await ground.start(ground.group("A"))
        good = ground.data["target_groups"]
        ground.data["target_groups"] = {"web": by_name(server)}
        ground.data["listeners"] = [{"address": "127.0.0.1:0"}, {"address": ground.servers["A"].address}]
        server.records = {A: ["127.0.0.1"]}
        with pytest.raises(Exception, match="cannot be bound"):
            await ground.balancer.reload()
        asked = len(server.asked)
        assert asked
        ground.data["target_groups"] = good
        await asyncio.sleep(0.2)  # four intervals
        assert len(server.asked) == asked
        assert list(members(ground).values()) == ["A"]

    named(story)


def by_service(server, **settings):
    discovery = {"type": "srv", "name": SRV[0], "servers": server.servers}
    return {"discovery": discovery, "health_check": UNCHECKED, "dns_interval_s": 0.05, **settings}


def rows(ground):
    return {
        str(state.target.address): (state.target.weight, state.target.is_backup)
        for state in ground.balancer.state.groups["web"].targets.values()
        if state.health is not Health.DRAINING
    }


def test_srv_records_give_port_weight_and_backup(named):
    async def story(ground, server):
        server.records = {
            SRV: ["10 60 8001 a.test.", "10 0 8002 a.test.", "10 20 8003 b.test.", "20 5 8004 c.test."],
            ("a.test", "A"): ["127.0.0.1", "127.0.0.2"],
            ("b.test", "A"): ["127.0.0.3"],
            ("c.test", "AAAA"): ["::1"],
        }
        await ground.start(by_service(server))
        assert rows(ground) == {
            "127.0.0.1:8001": (60, False),
            "127.0.0.1:8002": (1, False),
            "127.0.0.3:8003": (20, False),
            "[::1]:8004": (5, True),
        }
        before = members(ground)
        server.records[SRV] = list(reversed(server.records[SRV]))
        server.records["b.test", "A"] = ["127.0.0.4"]
        await ground.until(lambda: "127.0.0.4:8003" in members(ground))
        after = members(ground)
        assert after["127.0.0.4:8003"] == before["127.0.0.3:8003"]  # another address, the same instance
        server.records["a.test", "A"] = dns.rcode.SERVFAIL  # its address stays as it was
        await ground.until(lambda: ground.messages)
        assert members(ground) == after
        server.records["a.test", "A"] = ["127.0.0.2", "127.0.0.1"]  # the one in use is among them
        await ground.until(lambda: len(ground.messages) == 2)
        assert members(ground) == after
        server.records[SRV] = ["0 0 0 ."]  # "there is no such service"
        await ground.until(lambda: len(ground.messages) == 3)
        assert "it names no target" in ground.messages[2]
        assert members(ground) == after

    named(story)


def test_srv_weights_beyond_ours_keep_their_proportions(named):
    async def story(ground, server):
        server.records = {
            SRV: ["0 65535 1 a.test.", "0 32768 2 a.test.", "0 1 3 a.test."],
            ("a.test", "A"): ["127.0.0.1"],
        }
        await ground.start(by_service(server))
        assert sorted(weight for weight, _ in rows(ground).values()) == [1, 500, 1000]

    named(story)


def test_names_of_the_hosts_file_need_no_dns(play):
    async def story(ground):
        await ground.server("A")
        port = ground.servers["A"].port
        await ground.start({"targets": [f"localhost:{port}"], "health_check": UNCHECKED})
        assert f"127.0.0.1:{port}" in members(ground)

    play(story)
