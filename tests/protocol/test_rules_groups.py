"""Several groups behind one host: nobody loses a place by going back and forth, or by a new weight."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from site_of_rules import Site
from wire import answer, in_scene, until

from limpet.proxy.client_protocol import ClientConnection

if TYPE_CHECKING:
    import pytest
    from wire import Message, Scene, ScriptedTarget, Wire

SHOP = {"path_prefix": "/shop", "forward": "shop"}
ADMIN = {"path_prefix": "/admin", "forward": "admin"}


def weighted(stickiness_s: int = 3600, **weights: int) -> dict[str, Any]:
    forward = [{"group": name, "weight": weight} for name, weight in weights.items()]
    return {"name": "release", "forward": forward, "group_stickiness_s": stickiness_s}


def group_of(response: Message) -> bytes:
    return response.body.partition(b"-")[0]


async def site(scene: Scene, *groups: str, **settings: Any) -> Site:
    await scene.start()
    made = Site(scene)
    for name in groups:
        await made.group(name, 3, **settings)
    return made


@in_scene
async def test_a_user_who_goes_back_and_forth_keeps_a_place_in_both_groups(scene: Scene) -> None:
    made = (await site(scene, "shop", "admin")).use(SHOP, ADMIN)
    users = [await made.browser() for _ in range(4)]
    homes = [[(await user.get(path)).body for path in (b"/shop", b"/admin")] for user in users]
    for _ in range(5):
        for user, (shop, admin) in zip(users, homes, strict=True):
            assert (await user.get(b"/shop/x")).body == shop
            assert (await user.get(b"/admin/x")).body == admin
    assert set(users[0].cookies) == {b"limpet-shop", b"limpet-admin"}
    asked = [request for requests in made.requests.values() for request in requests]
    assert not any(request.all(b"cookie") for request in asked)  # no group sees the other's ticket


@in_scene
async def test_two_rules_of_one_group_share_its_sessions(scene: Scene) -> None:
    made = (await site(scene, "shop", "admin")).use(
        SHOP, {"path_prefix": "/account", "forward": "shop"}, ADMIN
    )
    user = await made.browser()
    home = (await user.get(b"/shop")).body
    assert [(await user.get(path)).body for path in (b"/account", b"/shop", b"/account")] == [home] * 3


@in_scene
async def test_a_second_group_moves_nobody_and_neither_does_its_end(scene: Scene) -> None:
    made = (await site(scene, "shop")).use(target_group="shop")
    users = [await made.browser() for _ in range(4)]
    homes = [(await user.get()).body for user in users]
    assert set(users[0].cookies) == {b"limpet"}
    shop = made.groups["shop"]
    await made.group("admin")
    made.use(ADMIN, target_group="shop")
    for _ in range(2):
        assert [(await user.get()).body for user in users] == homes
    assert set(users[0].cookies) == {b"limpet", b"limpet-shop"}
    again = await users[0].get()
    assert not again.all(b"set-cookie")  # once is enough, though the old cookie is still sent
    made.groups = {"shop": shop}
    made.use(target_group="shop")
    for user in users:
        del user.cookies[b"limpet"]  # as if its time had come
    assert [(await user.get()).body for user in users] == homes


@in_scene
async def test_clients_stay_with_their_group_whatever_its_weight(scene: Scene) -> None:
    made = (await site(scene, "blue", "green")).use(weighted(blue=1, green=1))
    users = [await made.browser() for _ in range(24)]
    homes = [(await user.get()).body for user in users]
    assert {home.partition(b"-")[0] for home in homes} == {b"blue", b"green"}
    for weights in ({"blue": 0, "green": 1}, {"blue": 1000, "green": 1}, {"blue": 1, "green": 0}):
        made.use(weighted(**weights))
        assert [(await user.get(b"/x")).body for user in users] == homes
    made.use(weighted(blue=0, green=5))
    newcomers = [await (await made.browser()).get() for _ in range(8)]
    assert {group_of(response) for response in newcomers} == {b"green"}


@in_scene
async def test_new_clients_follow_the_weights(scene: Scene) -> None:
    made = (await site(scene, "blue", "green")).use(weighted(blue=7, green=3))
    client = await scene.client()
    blue = 0
    for _ in range(600):
        blue += group_of(await client.ask(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")) == b"blue"
    assert 350 < blue < 490  # six standard deviations around 420
    assert made.count == 600


@in_scene
async def test_the_end_of_a_release_moves_only_those_who_were_in_it(scene: Scene) -> None:
    made = (await site(scene, "blue", "green")).use(weighted(blue=1, green=1))
    users = [await made.browser() for _ in range(10)]
    homes = [(await user.get()).body for user in users]
    made.use(weighted(green=1))  # one group is left: there is nothing to choose
    now = [(await user.get()).body for user in users]
    for home, place in zip(homes, now, strict=True):
        assert place == home or not home.startswith(b"green")
    made.use(weighted(blue=1, green=1))
    for home, user in zip(homes, users, strict=True):
        assert (await user.get()).body == home  # a release that was ended too early is taken up again


@in_scene
async def test_a_group_that_serves_nobody_loses_its_clients_to_the_others(scene: Scene) -> None:
    made = (await site(scene, "blue", "green")).use(weighted(blue=1, green=1))
    users = [await made.browser() for _ in range(10)]
    homes = [(await user.get()).body for user in users]
    for name in ("blue-1", "blue-2", "blue-3"):
        made.state.set_maintenance("blue", name, is_on=True)
    for _ in range(2):
        now = [await user.get() for user in users]
        assert {group_of(response) for response in now} == {b"green"}
    for home, response in zip(homes, now, strict=True):
        assert response.body == home or home.startswith(b"blue")
    assert group_of(await (await made.browser()).get()) == b"green"


@in_scene
async def test_without_any_group_that_serves_it_is_a_503(scene: Scene) -> None:
    made = (await site(scene, "blue", "green")).use(weighted(blue=1, green=1))
    for group in ("blue", "green"):
        for number in (1, 2, 3):
            made.state.set_maintenance(group, f"{group}-{number}", is_on=True)
    assert (await (await made.browser()).get()).status == 503


@in_scene
async def test_parallel_first_requests_of_a_browser_go_to_one_group(scene: Scene) -> None:
    made = await site(scene, "blue", "green")
    gate = asyncio.Event()
    arrived = []

    def script(name: str) -> Any:
        async def slow(_: ScriptedTarget, wire: Wire) -> None:
            while True:
                await wire.request()
                arrived.append(name)
                await gate.wait()
                await wire.send(answer(name.encode(), fields=made.fields))

        return slow

    made._script = script  # type: ignore[method-assign]
    for name in ("blue", "green"):
        await made.group(name, 3)
    made.use(weighted(blue=1, green=1))
    for round_number in range(6):
        arrived.clear()
        gate.clear()
        agent = b"User-Agent: Mozilla/5.0 (%d)\r\n" % round_number
        tabs = [await made.browser() for _ in range(4)]
        loading = [asyncio.ensure_future(tab.get(b"/%d" % n, fields=agent)) for n, tab in enumerate(tabs)]
        await until(lambda: len(arrived) == 4)
        gate.set()
        responses = await asyncio.gather(*loading)
        assert len({response.body for response in responses}) == 1
        assert all(
            tab.cookies.keys() == {b"limpet-to-release", b"limpet-" + group_of(r)}
            for tab, r in zip(tabs, responses, strict=True)
        )


@in_scene
async def test_the_cookie_of_a_pin_lives_as_long_as_it_counts_and_explain_tells_of_it(scene: Scene) -> None:
    made = (await site(scene, "blue", "green")).use(weighted(stickiness_s=1, blue=1, green=1))
    user = await made.browser()
    first = await user.get()
    named = [value for value in first.all(b"set-cookie") if value.startswith(b"limpet-to-release=")]
    assert b"; Max-Age=1;" in named[0]
    assert b"HttpOnly" in named[0]
    told = scene.proxy.explain((first.one(b"x-request-id") or b"").decode())
    assert told is not None
    assert (told["rule"], told["why_group"]) == ("release", "drawn by weight")


@in_scene
async def test_a_pin_that_was_forged_or_is_of_another_rule_counts_for_nothing(scene: Scene) -> None:
    made = (await site(scene, "blue", "green")).use(weighted(blue=1, green=0))
    user = await made.browser()
    await user.get()
    other = dict(weighted(green=1, blue=0), name="other")
    made.use(other)
    user.cookies[b"limpet-to-other"] = user.cookies[b"limpet-to-release"]
    assert group_of(await user.get()) == b"green"
    user.cookies[b"limpet-to-other"] = b"1.AAAA"
    assert group_of(await user.get()) == b"green"


@in_scene
async def test_without_group_stickiness_every_request_is_drawn(scene: Scene) -> None:
    made = (await site(scene, "blue", "green")).use(weighted(stickiness_s=0, blue=1, green=1))
    user = await made.browser()
    groups = {group_of(await user.get()) for _ in range(40)}
    assert groups == {b"blue", b"green"}
    assert not any(name.startswith(b"limpet-to") for name in user.cookies)


@in_scene
async def test_the_fast_lane_obeys_rules(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    send = ClientConnection.send_known

    def send_known(self: ClientConnection, data: bytes) -> bool:
        taken.append(send(self, data))
        return taken[-1]

    monkeypatch.setattr(ClientConnection, "send_known", send_known)
    made = await site(scene, "shop", "admin")
    deny = {"path_prefix": "/shop/secret", "fixed_response": {"status": 403}}
    edited = {"path": "/shop/edited", "forward": "shop", "request_headers": {"set": {"X-A": "1"}}}
    made.use(deny, edited, SHOP, ADMIN)
    user = await made.browser()
    home = (await user.get(b"/shop")).body
    for _ in range(4):
        assert (await user.get(b"/shop/x")).body == home
    assert taken[-2:] == [True, True]
    told = scene.proxy.explain((await user.get(b"/shop/x")).one(b"x-request-id").decode())  # type: ignore[union-attr]
    assert told is not None
    assert told["rule"] == "rule-3"
    count = made.count
    for path in (b"/shop/secret", b"/shop//secret", b"/shop/x/../secret", b"/SHOP/SECRET/x", b"/nowhere"):
        assert (await user.get(path)).status in {400, 403, 404}, path
    assert made.count == count
    assert (await user.get(b"/shop/x")).body == home
    assert taken[-1]
    assert (await user.get(b"/shop/edited")).body == home
    assert made.requests[home.decode()][-1].one(b"x-a") == b"1"
    assert group_of(await user.get(b"/admin")) == b"admin"
    assert taken[-3:] == [True, False, False]
    made.use(SHOP | {"fixed_response": {"status": 403}, "forward": None})
    assert (await user.get(b"/shop/x")).status == 403


@in_scene
async def test_requests_in_flight_survive_changed_rules(scene: Scene) -> None:
    made = await site(scene, "blue", "green")
    gate = asyncio.Event()

    async def slow(_: ScriptedTarget, wire: Wire) -> None:
        while True:
            made.requests["blue-1"].append(await wire.request())
            await gate.wait()
            await wire.send(answer(b"blue-1", fields=made.fields))

    made._script = lambda _: slow  # type: ignore[method-assign]
    await made.group("blue", 1)
    edits = {"response_headers": {"set": {"X-Rule": "old"}}}
    made.use(weighted(blue=1, green=0) | edits)
    user = await made.browser()
    waiting = asyncio.ensure_future(user.get())
    await until(lambda: bool(made.requests["blue-1"]))
    made.use({"fixed_response": {"status": 403}})
    gate.set()
    response = await waiting
    assert (response.status, response.body, response.one(b"x-rule")) == (200, b"blue-1", b"old")
    assert (await user.get()).status == 403
    made.use(weighted(blue=1, green=0))
    assert (await user.get()).body == b"blue-1"


@in_scene
async def test_clients_without_cookies_stay_with_their_group_too(scene: Scene) -> None:
    by_header = {"type": "header", "header": "X-Session"}
    made = (await site(scene, "blue", "green", stickiness=by_header)).use(weighted(blue=1, green=1))
    sessions = [b"X-Session: %d\r\n" % number for number in range(24)]
    homes = [(await (await made.browser()).get(fields=session)).body for session in sessions]
    assert {home.partition(b"-")[0] for home in homes} == {b"blue", b"green"}
    made.use(weighted(blue=0, green=1))
    for session, home in zip(sessions, homes, strict=True):
        response = await (await made.browser()).get(fields=session)
        assert response.body == home
        assert not response.all(b"set-cookie")
