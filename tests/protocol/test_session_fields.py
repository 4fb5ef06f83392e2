"""What balancer and sessions tell each other, on the wire: only they hear it, and only from each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from wire import Scene, answer, get, in_scene, until

from limpet.core.stickiness.contract import StickyStatus

if TYPE_CHECKING:
    from wire import Message, ScriptedTarget, Wire

STORE = b"fp=0123456789abcdef"


def state(text: bytes, more: bytes = b"") -> bytes:
    return b"Limpet-State: " + text + b"\r\nDate: Tue, 24 Nov 2026 09:00:00 GMT\r\n" + more


def ticket(response: Message) -> bytes:
    return response.all(b"set-cookie")[0].partition(b";")[0]


async def serve(
    scene: Scene, states: list[bytes], *, targets: int = 1, stickiness: str = "lb_cookie"
) -> None:
    """Start targets that answer with these states one after the other, the last again and again."""

    async def script(target: ScriptedTarget, wire: Wire) -> None:
        while True:
            target.requests.append(await wire.request())
            await wire.send(answer(fields=states[0] if len(states) == 1 else states.pop(0)))

    addresses = [(await scene.target(script)).address for _ in range(targets)]
    await scene.start(*addresses, stickiness=stickiness)


@in_scene
async def test_a_client_never_sees_the_state(scene: Scene) -> None:
    await serve(scene, [state(b"portable; v=1; " + STORE)])
    client = await scene.client()
    first = await client.ask(get())
    for _ in range(4):  # the long way, and the fast lane
        response = await client.ask(get(b"/", b"Cookie: " + ticket(first) + b"\r\n"))
        assert b"limpet" not in response.raw.lower().replace(b"set-cookie: limpet=", b"")


@in_scene
@pytest.mark.parametrize(
    "name",
    [b"Limpet-State", b"limpet-moved", b"LIMPET-FLOOR", b"Limpet_Floor", b"limpet_moved", b"Limpet_State"],
)
async def test_a_client_is_not_believed(scene: Scene, name: bytes) -> None:
    await serve(scene, [state(b"portable; " + STORE)])
    assert (await scene.ask(get(b"/", name + b": 987654321; from=B; why=forged\r\n"))).status == 200
    (seen,) = scene.targets[0].requests
    assert b"987654321" not in seen.raw
    assert b"forged" not in seen.raw
    assert seen.all(b"limpet-floor") == [b"0"]
    assert seen.one(b"limpet-moved") is None


@in_scene
async def test_a_group_without_stickiness_tells_nothing_and_the_state_is_cut_all_the_same(
    scene: Scene,
) -> None:
    await serve(scene, [state(b"portable; " + STORE)], stickiness="off")
    response = await scene.ask(get())
    assert b"limpet" not in response.raw.lower()
    assert b"limpet" not in scene.targets[0].requests[0].raw.lower()


@in_scene
async def test_a_write_is_in_the_next_ticket_and_the_next_request(scene: Scene) -> None:
    read, written = (state(b"portable; v=%d; s=1a2b3c4d; " % version + STORE) for version in (7, 8))
    await serve(scene, [read, read, read, written, written])
    client = await scene.client()
    cookie = ticket(await client.ask(get()))
    answers = []
    for _ in range(6):
        answers.append(await client.ask(get(b"/", b"Cookie: " + cookie + b"\r\n")))
        if answers[-1].all(b"set-cookie"):
            cookie = ticket(answers[-1])
    # One new ticket, with the write; reads get none.
    assert [len(each.all(b"set-cookie")) for each in answers] == [0, 0, 1, 0, 0, 0]
    floors = [request.one(b"limpet-floor") for request in scene.targets[0].requests]
    assert floors == [b"0", *[b"7; s=1a2b3c4d"] * 3, *[b"8; s=1a2b3c4d"] * 3]


@in_scene
async def test_a_session_that_moves_is_announced(scene: Scene) -> None:
    await serve(scene, [state(b"portable; v=7; " + STORE)], targets=2)
    client = await scene.client()
    cookie = ticket(await client.ask(get()))
    fields = b"Cookie: " + cookie + b"\r\n"
    home = next(state for state in scene.states if state.requests)
    for _ in range(3):
        await client.ask(get(b"/", fields))
    other = next(state for state in scene.states if state is not home)
    other.seen_fingerprint = "0123456789abcdef"
    home.in_flight += 100  # it is busy with others
    await until(lambda: home.cap_here < 100)  # the sweep has seen it
    await client.ask(get(b"/", fields))
    home.in_flight -= 100
    assert (home.lent, other.borrowed) == (1, 1)
    (lent,) = [
        request for target in scene.targets for request in target.requests if request.one(b"limpet-moved")
    ]
    assert lent.one(b"limpet-moved") == b"from=%b; why=overload" % home.id.encode()
    assert lent.one(b"limpet-floor") == b"7"
    scene.proxy.settle()
    assert sum(outcome.sticky is StickyStatus.LENT for outcome in scene.proxy.counters.rows) == 1


@in_scene
async def test_a_logout_that_nobody_asked_for_is_counted_once(scene: Scene) -> None:
    user, gone = (
        state(b"portable; v=2; user; " + STORE),
        state(b"portable; v=0; visitor; ended=lost; " + STORE),
    )
    await serve(scene, [user, user, gone])
    client = await scene.client()
    cookie = ticket(await client.ask(get()))
    for _ in range(4):
        await client.ask(get(b"/", b"Cookie: " + cookie + b"\r\n"))
    scene.proxy.settle()
    found = [(outcome.logout, outcome.status) for outcome in scene.proxy.counters.rows if outcome.logout]
    assert found == [("store_miss", 200)]


@in_scene
async def test_an_app_that_tells_nothing_is_watched_from_outside(scene: Scene) -> None:
    async def script(target: ScriptedTarget, wire: Wire) -> None:
        del target
        while True:
            request = await wire.request()
            if request.method == b"POST":
                await wire.send(answer(head=b"303 See Other", fields=b"Location: /\r\n"))
            elif request.path == b"/cart":
                await wire.send(answer(head=b"302 Found", fields=b"Location: /login?next=/cart\r\n"))
            else:
                await wire.send(answer())

    await scene.start((await scene.target(script)).address, stickiness="lb_cookie")
    client = await scene.client()
    fields = b"Cookie: " + ticket(await client.ask(get(b"/login"))) + b"\r\n"
    assert (await client.ask(get(b"/cart", fields))).status == 302  # a visitor's: no logout
    await client.ask(b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n" + fields + b"\r\n")
    for _ in range(3):
        await client.ask(get(b"/", fields))
        await client.ask(get(b"/cart", fields))
    scene.proxy.settle()
    rows = scene.proxy.counters.rows
    assert [outcome.logout for outcome in rows if outcome.logout] == ["unknown"]


@in_scene
async def test_nothing_is_left_in_flight(scene: Scene) -> None:
    await serve(scene, [state(b"portable; v=7; " + STORE)])
    client = await scene.client()
    fields = b"Cookie: " + ticket(await client.ask(get())) + b"\r\n"
    for _ in range(5):
        await client.ask(get(b"/", fields))
    group = scene.proxy.snapshot.groups["web"]
    (session,) = [group.sessions.get(key) for key in group.sessions.residences(0)]
    assert (session.in_flight, session.tunnels) == (0, 0)
    assert session.is_portable
