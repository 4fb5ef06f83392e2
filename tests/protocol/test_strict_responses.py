"""Every response of a target has one reading or none: the corpus, through a real proxy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from corpus_responses import ACCEPTED, INJECTED, REFUSED, Accepted, Refused
from wire import Scene, ScriptedTarget, Wire, answer, get

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAYS = ("whole", "byte by byte", "behind another")
_REFUSED = [
    pytest.param(case, id=f"{kind}: {case.name}") for kind, cases in REFUSED.items() for case in cases
]


class CaseTarget(ScriptedTarget):
    """Answers /case with the bytes of a case, and anything else with its path."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.case: Refused | Accepted = ACCEPTED[0]
        self.way = ""
        self.is_closed = asyncio.Event()

    async def _answer(self, _: ScriptedTarget, wire: Wire) -> None:
        while True:
            request = await wire.request()
            self.requests.append(request)
            if request.path != b"/case":
                await wire.send(answer(request.path))
            elif await self._play(wire):
                break

    async def _play(self, wire: Wire) -> bool:
        case = self.case
        if self.way == "byte by byte":
            await wire.send_slowly(case.data)
        else:
            await wire.send(case.data)
        if isinstance(case, Accepted) and case.is_kept:
            return False
        if not case.closes:
            await wire.rest()  # until limpet closes
        self.is_closed.set()
        return True


@pytest.fixture(scope="module")
def scene(run: Callable[..., Any]) -> Iterator[Scene]:
    async def start() -> Scene:
        scene = Scene()
        target = await CaseTarget().open()
        scene.targets.append(target)
        return await scene.start(target.address)

    scene = run(start())
    yield scene
    run(scene.__aexit__(None, None, None))


async def _prepare(scene: Scene, case: Refused | Accepted, way: str) -> tuple[CaseTarget, Wire]:
    target = scene.targets[0]
    assert isinstance(target, CaseTarget)
    target.case = case
    target.way = way
    target.is_closed.clear()
    target.requests.clear()
    client = await scene.client()
    if way == "behind another":
        assert (await client.ask(get(b"/first"))).body == b"/first"
    return target, client


async def _refuses(scene: Scene, case: Refused, way: str) -> None:
    target, client = await _prepare(scene, case, way)
    await client.send(get(b"/case"))
    if case.is_in_body:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.response()
    else:
        while (response := await client.response()).status < 200:
            pass
        assert response.status == 502
        assert (await client.ask(get(b"/last"))).body == b"/last"
    await target.is_closed.wait()
    await client.close()
    assert [request.path for request in target.requests].count(b"/case") == 1
    assert (await scene.ask(get(b"/next"))).body == b"/next"


@pytest.mark.parametrize("case", _REFUSED)
def test_ambiguous_response_is_refused(run: Callable[..., Any], scene: Scene, case: Refused) -> None:
    for way in WAYS:
        if len(case.data) < 10_000 or way != "byte by byte":
            run(_refuses(scene, case, way))


async def _accepts(scene: Scene, case: Accepted, way: str) -> None:
    target, client = await _prepare(scene, case, way)
    await client.send(get(b"/case", method=case.method))
    while (response := await client.response(case.method)).status < 200:
        pass
    assert (response.status, response.body) == (case.status, case.body)
    assert set(case.fields) <= set(response.fields)
    # Whoever asks next gets an answer of its own, whatever the target left in the connection.
    assert (await client.ask(get(b"/last"))).body == b"/last"
    await client.close()
    if not case.is_kept:
        await target.is_closed.wait()


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in ACCEPTED])
def test_plain_response_passes(run: Callable[..., Any], scene: Scene, case: Accepted) -> None:
    for way in WAYS:
        run(_accepts(scene, case, way))


@pytest.mark.parametrize("kind", REFUSED)
def test_each_class_has_four_cases_with_their_rule(kind: str) -> None:
    assert len(REFUSED[kind]) >= 4
    assert all(case.rfc.startswith("RFC ") for case in REFUSED[kind])


PLAIN = b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 09:00:00 GMT\r\nContent-Length: 3\r\n\r\n"


@pytest.mark.parametrize("sent_at_once", [PLAIN + b"abc", PLAIN + b"abcdef", PLAIN + b"abc" + INJECTED])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_head_that_came_before_is_read_with_its_own_body(
    run: Callable[..., Any], scene: Scene, sent_at_once: bytes, method: bytes, version: bytes
) -> None:
    async def scenario() -> None:
        for _ in range(3):
            await _accepts(scene, Accepted("plain", PLAIN + b"abc", body=b"abc"), "whole")
        is_kept = sent_at_once == PLAIN + b"abc" and method != b"HEAD"
        case = Accepted("again", sent_at_once, is_kept=is_kept)
        target, client = await _prepare(scene, case, "whole")
        await client.send(b"%b /case HTTP/%b\r\nHost: shop.example\r\n\r\n" % (method, version))
        response = await client.response(method)
        assert (response.status, response.body) == (200, b"" if method == b"HEAD" else b"abc")
        if not is_kept:
            await target.is_closed.wait()
        if version == b"1.0":
            assert await client.rest() == b""
        else:
            assert (await client.ask(get(b"/last"))).body == b"/last"
        await client.close()

    run(scenario())


def test_known_head_in_parts_and_behind_interim_responses(run: Callable[..., Any], scene: Scene) -> None:
    async def scenario() -> None:
        for data in (PLAIN + b"abc", b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN + b"xyz", PLAIN + b"def"):
            for way in WAYS:
                await _accepts(scene, Accepted("plain", data, body=data[-3:]), way)

    run(scenario())
