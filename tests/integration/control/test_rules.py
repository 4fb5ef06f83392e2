"""Rules of a running balancer: reloaded under traffic, and the same in every worker."""

import asyncio

import pytest

SHOP = {"name": "shop", "path_prefix": "/shop", "forward": "shop"}


def release(blue, green, name="release"):
    weights = [{"group": "blue", "weight": blue}, {"group": "green", "weight": green}]
    return {"name": name, "forward": weights}


async def start(ground, *rules, workers=1, groups=("blue", "green"), **listener):
    for name in groups:
        await ground.server(name)
    made = {name: ground.group(name) for name in groups}
    await ground.start(
        made[groups[0]],
        target_groups=made,
        listeners=[{"address": "127.0.0.1:0", "rules": list(rules), **listener}],
        workers=workers,
    )


async def reload(ground, *rules):
    ground.data["listeners"] = [{**ground.data["listeners"][0], "rules": list(rules)}]
    await ground.balancer.reload()


def served(ground):
    return sum(b"/health" not in head for server in ground.servers.values() for head in server.requests)


def cookies(head):
    lines = head.split(b"\r\n")
    pairs = [line[len("Set-Cookie: ") :].split(b";")[0] for line in lines if line.startswith(b"Set-Cookie: ")]
    return "; ".join(pair.decode() for pair in pairs)


@pytest.mark.parametrize("workers", [1, 2])
def test_changed_rules_harm_nobody_under_traffic(play, workers):
    async def story(ground):
        await start(ground, release(1, 1), workers=workers)
        is_over = asyncio.Event()
        wrong = []
        counts = []

        async def visit():
            reader, writer = await asyncio.open_connection("127.0.0.1", ground.port)
            cookie, home, count = "", None, 0
            while not is_over.is_set():
                field = f"Cookie: {cookie}\r\n" if cookie else ""
                writer.write(f"GET / HTTP/1.1\r\nHost: shop.example\r\n{field}\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                cookie, home = cookie or cookies(head), home or body
                if b" 200 " not in head or body != home:
                    wrong.append((head, body, home))
                count += 1
            counts.append(count)
            writer.close()

        visitors = [asyncio.ensure_future(visit()) for _ in range(8)]
        for number in range(12):
            blue, green = [(1, 0), (0, 1), (5, 5)][number % 3]
            more = {"path": f"/{number}", "fixed_response": {"status": 410}}
            await reload(ground, more, release(blue, green))
            before = served(ground)
            await ground.until(lambda: served(ground) > before + len(visitors))  # noqa: B023  # at once
        is_over.set()
        await asyncio.gather(*visitors)
        assert not wrong
        assert all(counts)

    play(story)


def test_workers_agree_on_groups_and_on_rules(play):
    async def story(ground):
        deny = {"name": "deny", "path_prefix": "/admin", "fixed_response": {"status": 403}}
        await start(ground, deny, release(1, 1), workers=2)
        users = []
        for _ in range(24):
            _, head, body = await ground.get()
            users.append((cookies(head), body))
        assert {body for _, body in users} == {b"blue", b"green"}
        await reload(ground, deny, release(0, 1))
        for _ in range(3):  # each on a new connection, which either worker may get
            for cookie, home in users:
                status, head, body = await ground.get(Cookie=cookie)
                assert (status, body) == (200, home)
                assert b"Set-Cookie" not in head
        assert [(await ground.get("//admin"))[0] for _ in range(6)] == [400] * 6
        assert [(await ground.get("/admin"))[0] for _ in range(6)] == [403] * 6
        assert {(await ground.get())[2] for _ in range(8)} == {b"green"}

    play(story)


def test_a_warning_is_told_at_the_start_and_at_a_reload(play):
    async def story(ground):
        never = {"name": "never", "path": "/shop/x", "forward": "shop"}
        warning = (
            "warning: listeners.0.rules.1: is never reached, because 'shop' comes first; move or remove it"
        )
        await start(ground, SHOP, never, groups=("shop",))
        assert ground.messages == [warning]
        await reload(ground, SHOP, never)
        assert ground.messages == [warning] * 2
        await reload(ground, SHOP)
        assert ground.messages == [warning] * 2

    play(story)


def test_explain_and_the_log_name_the_rule(play, tmp_path):
    async def story(ground):
        await start(ground, SHOP, release(1, 0), groups=("shop", "blue", "green"))
        for path, wanted in (("/shop", "shop"), ("/", "release")):
            await ground.get(path, X_Request_Id=f"id-{wanted}")
            status, facts = await ground.call("GET", f"/explain/id-{wanted}")
            assert (status, facts["rule"]) == (200, wanted)
        assert facts["why_group"] == "drawn by weight"
        await ground.until(lambda: (tmp_path / "access.log").read_text().count("\n") >= 2)
        names = [line.rsplit(" ", 1)[1] for line in (tmp_path / "access.log").read_text().splitlines()]
        assert names == ["shop", "release"]

    play(story)
