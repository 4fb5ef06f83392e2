"""Targets given by a DNS name, while the name's addresses and the configuration change."""

import asyncio

import pytest

from limpet.core.target import Health
from limpet.errors import ConfigError

UNCHECKED = {"enabled": False}


class Names:
    """A resolver whose answers a test changes, and whose look-ups it can hold."""

    def __init__(self, **answers):
        self.answers = {name.replace("_", "."): found for name, found in answers.items()}
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.count = 0

    async def look_up(self, name):
        self.asked.set()
        await self.gate.wait()
        self.count += 1
        return self.answers[name]

    async def hold(self):
        self.gate.clear()
        self.asked.clear()
        await self.asked.wait()


def live(ground, group="web"):
    targets = ground.balancer.state.groups[group].targets
    return {
        state.target.address.host: state.id
        for state in targets.values()
        if state.health is not Health.DRAINING and not state.target.is_terminating
    }


def by_name(ground, **settings):
    port = ground.servers["A"].port
    return {
        "targets": [f"app.example:{port}"],
        "dns_interval_s": 0.05,
        "health_check": UNCHECKED,
        **settings,
    }


def with_name(ground, *names):
    group = ground.group(*names)
    return {**group, "targets": [*group["targets"], "app.example:1"], "dns_interval_s": 0.05}


def test_a_second_address_leaves_the_first_its_id_and_sessions(play):
    async def story(ground):
        await ground.server("A")
        names = Names(app_example=["127.0.0.1"])
        await ground.start(by_name(ground), look_up=names.look_up)
        cookie = (await ground.get())[1].split(b"Set-Cookie: ")[1].split(b";")[0].decode()
        before = live(ground)
        names.answers["app.example"] = ["127.0.0.1", "127.0.0.2"]
        await ground.until(lambda: len(live(ground)) == 2)
        assert live(ground)["127.0.0.1"] == before["127.0.0.1"]
        assert b"Set-Cookie" not in (await ground.get(Cookie=cookie))[1]

    play(story)


def test_two_groups_with_one_name_both_follow_it(play):
    async def story(ground):
        await ground.server("A")
        names = Names(app_example=["127.0.0.1"])
        groups = {"web": by_name(ground), "api": by_name(ground, stickiness={"cookie_name": "api"})}
        listeners = [{"address": "127.0.0.1:0", "target_group": "web"}]
        await ground.start(groups["web"], look_up=names.look_up, listeners=listeners, target_groups=groups)
        names.answers["app.example"] = ["127.0.0.2"]
        await ground.until(lambda: set(live(ground)) == set(live(ground, "api")) == {"127.0.0.2"})

    play(story)


def test_a_changed_answer_keeps_what_commands_changed(play):
    async def story(ground):
        for name in "ABC":
            await ground.server(name)
        names = Names(app_example=["127.0.0.2"])
        await ground.start(with_name(ground, "A", "B", "C"), look_up=names.look_up)
        await ground.call("PUT", "/targets/web/A/weight", {"weight": 0})
        await ground.call("PUT", "/targets/web/B/maintenance", {"on": True})
        await ground.call("POST", "/targets/web/C/drain", {})
        await ground.until(lambda: "C" not in ground.balancer.state.groups["web"].targets)
        names.answers["app.example"] = ["127.0.0.3"]
        await ground.until(lambda: "127.0.0.3" in live(ground))
        assert ground.state("A").target.weight == 0
        assert ground.state("B").health is Health.MAINTENANCE
        assert "C" not in ground.balancer.state.groups["web"].targets

    play(story)


@pytest.mark.parametrize("group", ["web", "api"])
def test_a_look_up_that_a_reload_overtook_changes_nothing(play, group):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        names = Names(app_example=["127.0.0.2"])
        await ground.start(with_name(ground, "A"), look_up=names.look_up)
        await names.hold()
        ground.data["target_groups"] = {group: ground.group("B", dns_interval_s=0.05)}
        await ground.balancer.reload()
        names.answers["app.example"] = ["127.0.0.3"]
        names.gate.set()
        await asyncio.sleep(0.1)  # two intervals
        assert set(live(ground, group).values()) == {"B"}
        ground.data["target_groups"] = {group: with_name(ground, "B")}
        await ground.balancer.reload()
        names.answers["app.example"] = ["127.0.0.4"]
        await ground.until(lambda: "127.0.0.4" in live(ground, group))  # looking up goes on

    play(story)


def test_what_is_no_dns_name_is_a_mistake(play):
    async def story(ground):
        with pytest.raises(ConfigError, match="no valid host"):
            await ground.start({"targets": ["a..b:80"], "health_check": UNCHECKED})

    play(story)
