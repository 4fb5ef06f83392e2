"""What the admin API can do beyond the commands, who may call it, and what it says of itself."""

import json
import stat

import pytest

from limpet.config.load import load_data
from limpet.control.admin.api import ROUTES
from limpet.core.key_ring import parse_key_ring
from limpet.errors import ConfigError

TOKEN = "0123456789abcdef0123"


async def start(ground, *names, **more):
    for name in names:
        await ground.server(name)
    group = {key: more.pop(key) for key in ("stickiness",) if key in more}
    await ground.start(ground.group(*names, **group), **more)


def test_the_document_describes_every_call(play):
    async def story(ground):
        await start(ground, "A")
        status, document = await ground.call("GET", "/openapi.json")
        assert (status, document["openapi"]) == (200, "3.1.0")
        described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
        assert described == {(call.method, call.path) for call in ROUTES}
        weight = document["paths"]["/targets/{group}/{name}/weight"]["put"]
        schema = weight["requestBody"]["content"]["application/json"]["schema"]
        assert schema["properties"]["weight"]["maximum"] == 1000
        assert [parameter["name"] for parameter in weight["parameters"]] == ["group", "name"]

    play(story)


@pytest.mark.parametrize("is_https", [False, True])
def test_a_test_ticket_leads_to_its_target(play, is_https):
    async def story(ground):
        await start(ground, "A", "B", "C")
        status, answer = await ground.call("POST", "/targets/web/B/ticket", {})
        assert status == 200
        assert answer["set_cookie"][0].startswith(answer["cookie"] + ";")
        assert {(await ground.get(Cookie=answer["cookie"]))[2] for _ in range(4)} == {b"B"}
        assert (await ground.call("POST", "/targets/web/X/ticket", {}))[0] == 404

    del is_https
    play(story)


def test_not_every_kind_has_tickets(play):
    async def story(ground):
        await start(ground, "A", stickiness={"type": "off"})
        status, answer = await ground.call("POST", "/targets/web/A/ticket", {})
        assert status == 409
        assert "no ticket" in answer["error"]

    play(story)


def test_keys_are_changed_step_by_step_and_nobody_moves(play, tmp_path):
    async def story(ground):
        await start(ground, "A", "B", "C")
        path = tmp_path / "keys"
        path.chmod(0o600)
        head, home = (await ground.get())[1:]
        old = head.split(b"Set-Cookie: ")[1].split(b";")[0].decode()
        (first,) = parse_key_ring(path.read_text()).ordered_ids
        for step, count in (("add", 2), ("promote", 2), ("retire", 1)):
            status, answer = await ground.call("POST", "/keys", {"step": step})
            assert (status, len(answer["keys"])) == (200, count)
            head, body = (await ground.get(Cookie=old))[1:]
            if step != "retire":
                assert body == home
            if b"Set-Cookie" in head:
                old = head.split(b"Set-Cookie: ")[1].split(b";")[0].decode()
        (last,) = parse_key_ring(path.read_text()).ordered_ids
        assert last != first
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [each.name for each in tmp_path.glob("keys*")] == ["keys"]
        assert (await ground.call("POST", "/keys", {"step": "retire"}))[0] == 409

    play(story)


def test_keys_of_the_environment_are_not_changed(play, monkeypatch):
    monkeypatch.setenv("LIMPET_TICKET_KEYS", "6b" * 32)

    async def story(ground):
        await start(ground, "A")
        status, answer = await ground.call("POST", "/keys", {"step": "add"})
        assert status == 409
        assert "not from a file" in answer["error"]

    play(story)


def test_with_a_token_every_call_needs_it(play, tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    async def story(ground):
        await start(ground, "A", admin={"token_file": str(tmp_path / "token")})
        for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            for path in ("/status", "/metrics", "/openapi.json"):
                status, answer = await ground.call("GET", path, **header)
                assert status == 401
                assert TOKEN not in json.dumps(answer)
        right = {"Authorization": f"Bearer {TOKEN}"}
        # Whoever has the token may come by any name; a web page does not have it, and may not come at all.
        assert (await ground.call("GET", "/status", **right, Host="balancer.example:8081"))[0] == 200
        assert (await ground.call("GET", "/status", **right, Origin="https://evil.example"))[0] == 403
        assert (await ground.call("POST", "/reload", **right))[0] == 200

    play(story)


@pytest.mark.parametrize(("text", "message"), [("short", "holds no token"), (None, "cannot be read")])
def test_a_token_that_is_none_is_told(play, tmp_path, text, message):
    if text is not None:
        (tmp_path / "token").write_text(text)

    async def story(ground):
        with pytest.raises(ConfigError, match=message):
            await start(ground, "A", admin={"token_file": str(tmp_path / "token")})
        ground.balancer = None

    play(story)


def test_beyond_loopback_there_has_to_be_a_token(tmp_path):
    data = {"target_groups": {"web": {"targets": ["127.0.0.1:1"]}}, "admin": {"address": "0.0.0.0:8081"}}
    with pytest.raises(ConfigError, match="add a token_file"):
        load_data(data)
    load_data({**data, "admin": {"address": "0.0.0.0:8081", "token_file": str(tmp_path / "token")}})


def test_commands_bring_the_token(limpet, tmp_path, monkeypatch, run_limpet):
    running = limpet("up", "--target", "http://127.0.0.1:1", "--access-log", "off", LIMPET_ADMIN_TOKEN=TOKEN)
    for command in (["status"], ["top", "--once"]):
        done = running.command(*command)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
        assert "commands read it from LIMPET_ADMIN_TOKEN" in done.stderr
    monkeypatch.setenv("LIMPET_ADMIN_TOKEN", TOKEN)
    assert running.command("status").returncode == 0
    assert running.end() == 0
