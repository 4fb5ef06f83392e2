"""A file of targets is read again when it changes; a mistake in it changes nothing."""

import asyncio
import json

import pytest

from limpet.control.discovery import file
from limpet.core.target import Health

UNCHECKED = {"enabled": False}


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(file, "INTERVAL_S", 0.02)


def members(ground, group="web"):
    return {
        state.id: (str(state.target.address), state.target.weight, state.target.is_backup)
        for state in ground.balancer.state.groups[group].targets.values()
        if state.health is not Health.DRAINING
    }


def replace(path, text):
    other = path.with_name("new")
    other.write_text(text)
    other.rename(path)


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_targets_come_and_go_with_the_file(play, suffix):
    async def story(ground):
        path = ground.tmp_path / f"targets.{suffix}"
        a = {"name": "a", "address": "127.0.0.1:1", "weight": 3}
        if suffix == "json":
            path.write_text(json.dumps({"targets": [a, "[::1]:2"]}))
        else:
            path.write_text('targets = [{ name = "a", address = "127.0.0.1:1", weight = 3 }, "[::1]:2"]')
        static = {"name": "s", "address": "127.0.0.9:9"}
        group = {"targets": [static], "discovery": {"type": "file", "path": str(path)}}
        await ground.start({**group, "health_check": UNCHECKED})
        found = members(ground)
        assert list(found)[:2] == ["s", "a"]
        assert list(found.values()) == [
            ("127.0.0.9:9", 1, False),
            ("127.0.0.1:1", 3, False),
            ("[::1]:2", 1, False),
        ]
        one = '{"targets": [{"name": "a", "address": "127.0.0.1:1", "backup": true}]}'
        replace(
            path, one if suffix == "json" else '[[targets]]\nname="a"\naddress="127.0.0.1:1"\nbackup=true'
        )
        await ground.until(lambda: len(members(ground)) == 2)
        assert members(ground)["a"] == ("127.0.0.1:1", 1, True)

    play(story)


MISTAKES = [
    ('targets = ["127.0.0.1:1", "127.0', "is not valid TOML"),
    ("targets = []", "it names no target"),
    ("target = []", "target: unknown setting; did you mean 'targets'?"),
    ('targets = [{ adress = "127.0.0.1:1" }]', "did you mean 'address'?"),
    ('targets = ["app.example:80"]', "is a name; write an IP address"),
    ('targets = ["127.0.0.1:1", "127.0.0.1:1"]', "stands 2 times"),
    ('targets = ["127.0.0.1:0"]', "has port 0"),
]


@pytest.mark.parametrize(("text", "reason"), MISTAKES)
def test_a_mistake_changes_nothing_and_is_told(play, text, reason):
    async def story(ground):
        path = ground.tmp_path / "targets.toml"
        path.write_text('targets = ["127.0.0.1:1"]')
        await ground.start({"discovery": {"type": "file", "path": str(path)}, "health_check": UNCHECKED})
        before = members(ground)
        path.write_text(text)
        await ground.until(lambda: ground.messages)
        assert reason in ground.messages[0]
        assert members(ground) == before
        source = (await ground.call("GET", "/status"))[1]["target_groups"][0]["sources"][0]
        assert reason in source["last_error"]
        path.write_text('targets = ["127.0.0.2:1"]')
        await ground.until(lambda: "127.0.0.2:1" in {address for address, *_ in members(ground).values()})
        assert "answers again" in ground.messages[1]

    play(story)


def test_a_file_that_is_missing_at_the_start_or_goes_away(play):
    async def story(ground):
        path = ground.tmp_path / "targets.json"
        await ground.start({"discovery": {"type": "file", "path": str(path)}, "health_check": UNCHECKED})
        assert "cannot be read" in ground.messages[0]
        assert (await ground.get())[0] == 503
        path.write_text('{"targets": ["127.0.0.1:1"]}')
        await ground.until(lambda: members(ground))
        path.unlink()
        replace(path, '{"targets": ["127.0.0.2:1", "127.0.0.1:1"]}')
        await ground.until(lambda: len(members(ground)) == 2)

    play(story)


def test_a_link_that_is_swapped_is_a_change(play):
    async def story(ground):
        folder = ground.tmp_path
        for number in (1, 2):
            (folder / f"v{number}.json").write_text(f'{{"targets": ["127.0.0.{number}:1"]}}')
        link = folder / "targets.json"
        link.symlink_to("v1.json")
        await ground.start({"discovery": {"type": "file", "path": str(link)}, "health_check": UNCHECKED})
        (folder / "next").symlink_to("v2.json")
        (folder / "next").rename(link)
        await ground.until(lambda: [a for a, *_ in members(ground).values()] == ["127.0.0.2:1"])

    play(story)


def test_what_commands_have_made_of_a_target_stays_when_the_file_changes_something_else(play):
    async def story(ground):
        path = ground.tmp_path / "targets.toml"

        def write(**weights):
            lines = [f'[[targets]]\nname = "{name}"\naddress = "127.0.0.1:{ord(name)}"\nweight = {weight}'
                     for name, weight in weights.items()]  # fmt: skip
            replace(path, "\n".join(lines))

        write(a=1, b=1, c=1)
        await ground.start({"discovery": {"type": "file", "path": str(path)}, "health_check": UNCHECKED})
        await ground.call("PUT", "/targets/web/a/maintenance", {"on": True})
        await ground.call("POST", "/targets/web/b/drain", {})
        write(a=5, b=5, c=5, d=1)
        await ground.until(lambda: "d" in members(ground))
        assert ground.state("a").health is Health.MAINTENANCE
        assert ground.state("a").target.weight == 5
        assert "b" not in members(ground)
        assert ground.state("c").target.weight == 5

    play(story)


def test_workers_follow_what_control_discovers(play):
    async def story(ground):
        first, second = await ground.server("A"), await ground.server("B")
        path = ground.tmp_path / "targets.json"
        path.write_text(json.dumps({"targets": [first.address]}))
        group = {"discovery": {"type": "file", "path": str(path)}, "stickiness": {"type": "off"}}
        await ground.start({**group, "health_check": UNCHECKED}, workers=2)
        assert {(await ground.get())[2] for _ in range(8)} == {b"A"}
        replace(path, json.dumps({"targets": [second.address]}))
        await ground.until(lambda: {a for a, *_ in members(ground).values()} == {second.address})
        async with asyncio.timeout(30):
            while {(await ground.get())[2] for _ in range(12)} != {b"B"}:
                pass

    play(story)
