"""What is tried again and what is not: nothing may arrive twice that may have had an effect."""

from __future__ import annotations

import pytest
from wire import Scene, ScriptedTarget, Wire, answer, get, in_scene, post, read_head, refused_address

from limpet.core.model import TargetLimits

CHUNKED_POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"


async def break_off(target: ScriptedTarget, wire: Wire) -> None:
    """Read a request and close without a word."""
    target.requests.append(await wire.request())


async def answer_once(target: ScriptedTarget, wire: Wire) -> None:
    """Answer the first request of a connection and break off at the second."""
    target.requests.append(await wire.request())
    await wire.send(answer(target.requests[-1].path))
    target.requests.append(await wire.request())


@in_scene
@pytest.mark.parametrize("request_", [get(), post(b"body"), CHUNKED_POST], ids=["GET", "POST", "chunked"])
async def test_refused_target_costs_nothing(scene: Scene, request_: bytes) -> None:
    target = await scene.target()
    await scene.start(await refused_address(), target.address)
    for _ in range(2):
        assert (await scene.ask(request_)).status == 200
    assert len(target.requests) == 2
    assert scene.target_errors == [("A", "connect_failed")]
    assert scene.states[0].failures == 1


@in_scene
async def test_body_sent_while_targets_are_tried_is_not_lost(scene: Scene) -> None:
    target = await scene.target()
    await scene.start(await refused_address(), target.address)
    client = await scene.client()
    await client.send(post(b"x" * 500_000)[:-400_000])
    await client.send(b"x" * 400_000)
    assert (await client.response()).status == 200
    assert target.requests[0].body == b"x" * 500_000


@in_scene
@pytest.mark.parametrize("max_attempts", [1, 2, 3])
async def test_attempts_are_bounded_and_spread(scene: Scene, max_attempts: int) -> None:
    limits = TargetLimits(max_attempts=max_attempts)
    await scene.start(*[await refused_address() for _ in range(4)], limits=limits)
    response = await scene.ask(get())
    assert response.status == 502
    assert len({target for target, _ in scene.target_errors}) == max_attempts


@in_scene
async def test_get_that_broke_off_goes_to_another_target(scene: Scene) -> None:
    breaking, target = await scene.target(break_off), await scene.target()
    await scene.start(breaking.address, target.address)
    assert (await scene.ask(get(b"/a"))).body == b"/a"
    assert len(breaking.requests) == 1
    assert scene.target_errors == [("A", "target_closed")]


@in_scene
@pytest.mark.parametrize(
    "request_", [post(b"body"), post(b""), CHUNKED_POST], ids=["length", "empty", "chunked"]
)
async def test_post_that_broke_off_is_delivered_once(scene: Scene, request_: bytes) -> None:
    targets = [await scene.target(break_off) for _ in range(3)]
    await scene.start(*[target.address for target in targets])
    assert (await scene.ask(request_)).status == 502
    assert sum(len(target.requests) for target in targets) == 1


@in_scene
@pytest.mark.parametrize("method", [b"DELETE", b"PUT", b"PATCH", b"PROPFIND"])
async def test_other_methods_are_not_repeated(scene: Scene, method: bytes) -> None:
    targets = [await scene.target(break_off) for _ in range(2)]
    await scene.start(*[target.address for target in targets])
    assert (await scene.ask(get(method=method))).status == 502
    assert sum(len(target.requests) for target in targets) == 1


@in_scene
@pytest.mark.parametrize(
    "beginning",
    [b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 103 Early Hints\r\n\r\n", b"H"],
    ids=["part of a head", "interim", "a byte"],
)
async def test_get_is_not_repeated_once_a_response_has_begun(scene: Scene, beginning: bytes) -> None:
    async def script(target: ScriptedTarget, wire: Wire) -> None:
        target.requests.append(await wire.request())
        await wire.send(beginning)

    targets = [await scene.target(script) for _ in range(2)]
    await scene.start(*[target.address for target in targets])
    client = await scene.client()
    await client.send(get())
    while (response := await client.response()).status == 103:
        pass
    assert response.status == 502
    assert sum(len(target.requests) for target in targets) == 1


@in_scene
async def test_get_on_a_stale_connection_is_sent_again_on_a_fresh_one(scene: Scene) -> None:
    target = await scene.target(answer_once)
    await scene.start(target.address)
    client = await scene.client()
    for path in (b"/a", b"/b", b"/c"):
        assert (await client.ask(get(path))).body == path
    assert len(target.wires) == 3
    assert scene.target_errors == [], "a connection that was closed while idle is no failure"


@in_scene
async def test_post_on_a_stale_connection_is_delivered_once(scene: Scene) -> None:
    target = await scene.target(answer_once)
    await scene.start(target.address)
    await scene.ask(get())
    assert (await scene.ask(post(b"body", path=b"/pay"))).status == 502
    assert [request.path for request in target.requests].count(b"/pay") == 1


@in_scene
async def test_post_avoids_connections_that_were_idle_for_long(scene: Scene) -> None:
    target = await scene.target(answer_once)
    await scene.start(target.address)
    await scene.ask(get())
    (connection,) = scene.proxy.pool(scene.states[0]).idle
    connection.idle_since_s -= 1.5
    assert (await scene.ask(post(b"body"))).status == 200
    assert len(target.wires) == 2


@in_scene
async def test_connection_closed_by_the_target_leaves_the_pool(scene: Scene) -> None:
    async def script(_: ScriptedTarget, wire: Wire) -> None:
        await wire.request()
        await wire.send(answer())

    target = await scene.target(script)
    await scene.start(target.address)
    for _ in range(3):
        assert (await scene.ask(post(b"body"))).status == 200
        await target.wires[-1].rest()
        while scene.proxy.pool(scene.states[0]).idle:
            await scene.proxy.loop.run_in_executor(None, lambda: None)


@in_scene
async def test_cut_body_is_not_repeated(scene: Scene) -> None:
    async def script(target: ScriptedTarget, wire: Wire) -> None:
        target.requests.append(await read_head(wire.reader))

    targets = [await scene.target(script) for _ in range(2)]
    await scene.start(*[target.address for target in targets])
    client = await scene.client()
    await client.send(post(b"body", path=b"/cut")[:-2])
    assert (await client.response()).status == 502
    assert sum(len(target.requests) for target in targets) == 1


@in_scene
async def test_malformed_response_is_not_asked_for_again(scene: Scene) -> None:
    async def script(target: ScriptedTarget, wire: Wire) -> None:
        target.requests.append(await wire.request())
        await wire.send(b"nonsense\r\n\r\n")

    targets = [await scene.target(script) for _ in range(2)]
    await scene.start(*[target.address for target in targets])
    assert (await scene.ask(get())).status == 502
    assert sum(len(target.requests) for target in targets) == 1
