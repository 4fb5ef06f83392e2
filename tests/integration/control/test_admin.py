"""The admin listener: what it does, and what no web page can make it do."""

import asyncio
import socket
import stat

import pytest

from limpet.control.admin import AdminServer
from limpet.core.address import parse_address
from limpet.core.target import Health


def test_status_tells_targets_states_and_sessions(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        await ground.start(ground.group("A", "B"))
        await ground.get()
        status, facts = await ground.call("GET", "/status")
        assert status == 200
        assert facts["listeners"] == [
            {"address": f"127.0.0.1:{ground.port}", "target_group": "web", "certificates": []}
        ]
        (group,) = facts["target_groups"]
        assert (group["name"], group["algorithm"], group["stickiness"]) == ("web", "round_robin", "lb_cookie")
        first = group["targets"][0]
        assert (first["name"], first["health"], first["requests"], first["in_flight"]) == (
            "A",
            "healthy",
            1,
            0,
        )

    play(story)


def test_explain_tells_a_recent_request(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        await ground.start(ground.group("A", "B"))
        await ground.get("/cart?x=1", X_Request_Id="my-id-1")
        status, facts = await ground.call("GET", "/explain/my-id-1")
        assert status == 200
        assert (facts["target"], facts["sticky_status"], facts["path"]) == ("A", "absent", "/cart?x=1")
        verdicts = {row["target"]: row["verdict"] for row in facts["candidates"]}
        assert verdicts == {"A": "chosen: round_robin", "B": "round_robin preferred another"}
        assert (await ground.call("GET", "/explain/nobody"))[0] == 404

    play(story)


def test_targets_are_added_weighted_put_into_maintenance_and_drained(play):
    async def story(ground):
        for name in "ABC":
            await ground.server(name)
        await ground.start(ground.group("A", "B", stickiness={"type": "off"}))
        path = "/targets/web"
        status, answer = await ground.call(
            "POST", path, {"name": "C", "address": ground.servers["C"].address}
        )
        assert (status, answer["target"]["name"]) == (201, "C")
        assert {(await ground.get())[2] for _ in range(6)} >= {b"A", b"B"}
        await ground.until(lambda: ground.state("C").health.value == "healthy")
        assert {(await ground.get())[2] for _ in range(6)} == {b"A", b"B", b"C"}
        await ground.call("PUT", f"{path}/B/weight", {"weight": 0})
        assert {(await ground.get())[2] for _ in range(6)} == {b"A", b"C"}
        await ground.call("PUT", f"{path}/A/maintenance", {"on": True})
        assert {(await ground.get())[2] for _ in range(6)} == {b"C"}
        await ground.call("PUT", f"{path}/A/maintenance", {"on": False})
        await ground.until(lambda: ground.state("A").health.value == "healthy")
        status, answer = await ground.call("POST", f"{path}/C/drain", {})
        assert (status, answer["target"]["health"]) == (200, "draining")
        assert {(await ground.get())[2] for _ in range(6)} == {b"A"}

    play(story)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/targets/nope", {"address": "127.0.0.1:1"}, 404),
        ("POST", "/targets/web", {"address": "nope"}, 400),
        ("POST", "/targets/web", {"address": "shop.example:80"}, 400),
        ("POST", "/targets/web", {}, 400),
        ("POST", "/targets/web", [], 400),
        ("PUT", "/targets/web/A/weight", {"weight": 1001}, 400),
        ("PUT", "/targets/web/A/weight", {"weight": "1"}, 400),
        ("PUT", "/targets/web/A/weight", {"weight": True}, 400),
        ("PUT", "/targets/web/X/weight", {"weight": 1}, 404),
        ("DELETE", "/targets/web/X", None, 404),
        ("PUT", "/targets/web/A/maintenance", {"on": 1}, 400),
        ("GET", "/nope", None, 404),
        ("GET", "/reload", None, 405),
    ],
)
def test_a_bad_call_is_answered_and_changes_nothing(play, method, path, body, status):
    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A"))
        version = ground.balancer.snapshot.version
        assert (await ground.call(method, path, body))[0] == status
        assert ground.balancer.snapshot.version == version

    play(story)


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"Host": "evil.example"}, 403),
        ("GET", {"Host": "127.0.0.1.evil.example"}, 403),
        ("GET", {"Origin": "https://evil.example"}, 403),
        ("GET", {"Origin": "null"}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("GET", {"Sec-Fetch-Site": "same-site"}, 403),
        ("POST", {"Content-Type": "text/plain"}, 415),
        ("POST", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ("POST", {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ("OPTIONS", {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}, 403),
    ],
)
def test_no_web_page_can_drive_it(play, method, headers, status):
    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A"))
        path = "/status" if method == "GET" else "/reload"
        own = {"Host": f"127.0.0.1:{ground.admin.bound.port}"}
        from_page = own | dict(headers.items())
        code, answer = await ground.call(method, path, None, **from_page)
        assert code == status
        assert "error" in answer
        assert ground.balancer.reloads == 0

    play(story)


def test_a_reload_with_a_mistake_says_all_of_them(play):
    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A"))
        ground.data["x"] = 1
        ground.data["y"] = 1
        status, answer = await ground.call("POST", "/reload", {})
        assert status == 400
        assert len(answer["problems"]) == 2
        del ground.data["x"], ground.data["y"]
        assert (await ground.call("POST", "/reload", {}))[0] == 200

    play(story)


def test_pinned_sessions_are_counted(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        await ground.start(ground.group("A", "B"))
        for _ in range(3):
            _, head, _ = await ground.get()
            cookie = head.split(b"Set-Cookie: ")[1].split(b";")[0].decode()
            await ground.get(Cookie=cookie)
        _, facts = await ground.call("GET", "/status")
        assert sum(target["sessions"] for target in facts["target_groups"][0]["targets"]) == 3
        await asyncio.sleep(0)

    play(story)


@pytest.mark.parametrize(
    "body",
    [
        *({"name": name, "address": "127.0.0.1:1"} for name in ("a/b", "x\ny", "", "a b", "x" * 65, 'q"', 5)),
        {"address": "127.0.0.1:0"},
        {"address": "127.0.0.1:1", "wieght": 2},
    ],
)
def test_a_target_that_cannot_be_is_not_added(play, body):
    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A"))
        assert (await ground.call("POST", "/targets/web", body))[0] == 400
        assert set(ground.balancer.state.groups["web"].targets) == {"A"}

    play(story)


def test_an_address_is_registered_once(play):
    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A"))
        body = {"name": "Z", "address": ground.servers["A"].address}
        assert (await ground.call("POST", "/targets/web", body))[0] == 409

    play(story)


def test_maintenance_of_a_draining_target_is_refused(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        await ground.start(ground.group("A", "B"))
        ground.servers["A"].hold.clear()
        slow = asyncio.create_task(ground.get("/slow"))
        await ground.until(lambda: ground.state("A").in_flight == 1)
        await ground.call("POST", "/targets/web/A/drain", {})
        assert (await ground.call("PUT", "/targets/web/A/maintenance", {"on": False}))[0] == 409
        assert ground.state("A").health is Health.DRAINING
        ground.servers["A"].hold.set()
        assert (await slow)[0] == 200

    play(story)


def test_what_comes_back_from_maintenance_is_checked_at_once(play):
    async def story(ground):
        for name in "AB":
            await ground.server(name)
        await ground.start(ground.group("A", "B", health_check={"interval_s": 60}))
        for is_on in (True, False):
            await ground.call("PUT", "/targets/web/A/maintenance", {"on": is_on})
        await ground.until(lambda: ground.state("A").health is Health.HEALTHY)

    play(story)


def test_it_listens_on_ipv6(play):
    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A"))
        admin = AdminServer(ground.balancer)
        await admin.start(parse_address("[::1]:0"))
        reader, writer = await asyncio.open_connection("::1", admin.bound.port)
        writer.write(f"GET /status HTTP/1.1\r\nHost: {admin.bound}\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await admin.stop()

    play(story)


def test_its_socket_is_for_its_owner_replaces_a_stale_one_and_is_removed(play):
    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A"))
        file = ground.tmp_path / "admin.sock"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(file))
        admin = AdminServer(ground.balancer)
        await admin.start(parse_address(f"unix:{file}"))
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(file)
        writer.write(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await admin.stop()
        assert not file.exists()

    play(story)
