"""Every request has one reading or none: the corpus, through a real proxy to a real target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from corpus_accepted_requests import ACCEPTED, Accepted
from corpus_requests import MAX_HEAD_BYTES, MAX_HEADERS, REFUSED, Refused
from wire import Scene, ScriptedTarget, Wire, get

from limpet.core.model import ClientLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIRST = get(b"/first")
LAST = get(b"/last")
WAYS = ("whole", "byte by byte", "behind another")


_REFUSED = [
    pytest.param(case, id=f"{kind}: {case.name}") for kind, cases in REFUSED.items() for case in cases
]


@pytest.fixture(scope="module")
def scene(run: Callable[..., Any]) -> Iterator[Scene]:
    async def start() -> Scene:
        scene = Scene()
        target = await scene.target()
        limits = ClientLimits(max_head_bytes=MAX_HEAD_BYTES, max_headers=MAX_HEADERS)
        return await scene.start(target.address, client_limits=limits)

    scene = run(start())
    yield scene
    run(scene.__aexit__(None, None, None))


async def _send(client: Wire, data: bytes, way: str) -> None:
    if way == "byte by byte":
        await client.send_slowly(data)
    elif way == "behind another":
        await client.send(FIRST, data)
        first = await client.response()
        assert (first.status, first.body) == (200, b"/first")
    else:
        await client.send(data)


async def _refuses(scene: Scene, case: Refused, way: str) -> None:
    target = scene.targets[0]
    target.requests.clear()
    seen_before = target.seen
    client = await scene.client()
    await _send(client, case.data, way)
    response = await client.response()
    assert response.status == case.status
    assert response.one(b"connection") == b"close"
    assert await client.rest() == b"", "the connection goes on after an ambiguous request"
    await client.close()

    await scene.ask(LAST)
    expected = [b"/first", b"/last"] if way == "behind another" else [b"/last"]
    assert [request.path for request in target.requests] == expected
    if not case.is_in_body or way == "whole":
        whole = sum(len(request.raw) for request in target.requests)
        assert target.seen - seen_before == whole, "bytes of an ambiguous request reached the target"


@pytest.mark.parametrize("case", _REFUSED)
def test_ambiguous_request_is_refused(run: Callable[..., Any], scene: Scene, case: Refused) -> None:
    for way in WAYS:
        run(_refuses(scene, case, way))


async def _accepts(scene: Scene, case: Accepted, way: str) -> None:
    target = scene.targets[0]
    target.requests.clear()
    client = await scene.client()
    await _send(client, case.data, way)
    response = await client.response()
    assert response.status == 200
    await client.close()
    request = target.requests[-1]
    assert (request.method, request.path, request.body) == (case.method, case.path, case.body)
    for field in set(case.fields):
        assert request.fields.count(field) == case.fields.count(field)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in ACCEPTED])
def test_plain_request_is_understood(run: Callable[..., Any], scene: Scene, case: Accepted) -> None:
    for way in WAYS:
        run(_accepts(scene, case, way))


@pytest.mark.parametrize("kind", REFUSED)
def test_each_class_has_four_cases_with_their_rule(kind: str) -> None:
    assert len(REFUSED[kind]) >= 4
    assert all(case.rfc.startswith("RFC ") for case in REFUSED[kind])


def test_nothing_of_one_client_is_read_as_anothers(run: Callable[..., Any]) -> None:
    # A request cut in its body must not leave its target connection for the next client.
    async def scenario() -> None:
        async with Scene() as scene:
            target: ScriptedTarget = await scene.target()
            await scene.start(target.address)
            victim = await scene.client()
            cut = await scene.client()
            await cut.send(b"POST /cut HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nGET /x HTTP/1.1\r\n")
            while b"/cut" not in b"".join(bytes(wire.reader.seen) for wire in target.wires):
                await scene.ask(get(b"/tick"))
            await cut.close()
            assert (await victim.ask(get(b"/victim"))).body == b"/victim"
            assert b"/cut" not in {request.path for request in target.requests}

    run(scenario())
