"""Rules on the wire: what a rule refuses reaches no target, what it edits arrives edited."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from h2_client import H2Client
from site_of_rules import Site
from wire import get, in_scene, post

from limpet.proxy.access_log import AccessLog

if TYPE_CHECKING:
    from pathlib import Path

    from wire import Scene

DENY = {"name": "deny", "path_prefix": "/admin", "fixed_response": {"status": 403, "body": "no"}}


async def site(scene: Scene, *groups: str, **start: object) -> Site:
    await scene.start(**start)  # type: ignore[arg-type]
    made = Site(scene)
    for name in groups:
        await made.group(name)
    return made


@in_scene
@pytest.mark.parametrize(
    "line",
    [
        b"GET /admin HTTP/1.1",
        b"GET /admin/ HTTP/1.1",
        b"GET /Admin?x HTTP/1.1",
        b"GET //admin HTTP/1.1",
        b"GET /./admin HTTP/1.1",
        b"GET /x/../admin HTTP/1.1",
        b"GET /x/%2e%2e/admin HTTP/1.1",
        b"GET /x/%252e%252e/admin HTTP/1.1",
        b"GET /%61dmin HTTP/1.1",
        b"GET /%2561dmin HTTP/1.1",
        b"GET /%2fadmin HTTP/1.1",
        b"GET /admin%2f.. HTTP/1.1",
        b"GET /x%2f..%2fadmin HTTP/1.1",
        b"GET /x\\..\\admin HTTP/1.1",
        b"GET /..;/admin HTTP/1.1",
        b"GET /admin;a=b HTTP/1.1",
        b"GET /admin%00.html HTTP/1.1",
        b"GET /%EF%BD%81dmin HTTP/1.1",
        b"GET http://shop.example/admin HTTP/1.1",
        b"GET http://SHOP.example//admin HTTP/1.1",
        b"GET http://shop.example?/admin/../../admin HTTP/1.1",
        b"HEAD /admin HTTP/1.1",
        b"PURGE /admin HTTP/1.1",
    ],
)
async def test_no_spelling_of_a_refused_path_reaches_a_target(scene: Scene, line: bytes) -> None:
    shop = (await site(scene, "shop")).use(DENY, {"path": "/", "fixed_response": {"status": 410}})
    response = await scene.ask(line + b"\r\nHost: shop.example\r\n\r\n")
    assert response.status in {400, 403, 410}
    assert shop.count == 0


@in_scene
@pytest.mark.parametrize(
    "host",
    [
        b"shop.example",
        b"SHOP.Example",
        b"shop.example:80",
        b"shop.example.",
        b"shop.example.:443",
        b"shop%2Eexample",
    ],
)
async def test_no_spelling_of_a_refused_host_reaches_a_target(scene: Scene, host: bytes) -> None:
    shop = (await site(scene, "shop")).use({"host": "shop.example", "fixed_response": {"status": 403}})
    assert (await scene.ask(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)).status == 403
    assert shop.count == 0
    assert (await scene.ask(b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n")).status == 200


@in_scene
async def test_a_request_without_host_has_no_host(scene: Scene) -> None:
    shop = await site(scene, "shop", "rest")
    shop.use(
        {"host": "*", "forward": "shop"},
        {"redirect": {"protocol": "https"}, "path": "/r"},
        target_group="rest",
    )
    assert (await scene.ask(b"GET / HTTP/1.0\r\n\r\n")).body.startswith(b"rest-")
    assert (await scene.ask(b"GET /r HTTP/1.0\r\n\r\n")).status == 400


@in_scene
async def test_nothing_is_served_where_no_rule_matches(scene: Scene) -> None:
    shop = (await site(scene, "shop", "other")).use({"path_prefix": "/shop", "forward": "shop"})
    refused = await scene.ask(get(b"/x"))
    assert (refused.status, shop.count) == (404, 0)
    assert (await scene.ask(get(b"/shop"))).status == 200


@in_scene
async def test_headers_that_targets_do_not_get_match_nothing(scene: Scene) -> None:
    shop = await site(scene, "shop", "canary")
    rule = {"header": {"X-Canary": "1", "X-Forwarded-Proto": "*"}, "forward": "canary"}
    shop.use(rule, target_group="shop")
    asked = b"X-Canary: 1\r\nX-Forwarded-Proto: https\r\n"
    assert (await scene.ask(get(b"/", asked))).body.startswith(b"shop-")  # not from a trusted proxy
    shop.use(rule, target_group="shop", trusted=("127.0.0.0/8",))
    assert (await scene.ask(get(b"/", asked))).body.startswith(b"canary-")
    assert (await scene.ask(get(b"/", asked + b"Connection: X-Canary\r\n"))).body.startswith(b"shop-")


@in_scene
async def test_upgrades_can_be_told_apart(scene: Scene) -> None:
    shop = await site(scene, "shop", "ws")
    shop.use({"header": {"Upgrade": "websocket"}, "forward": "ws"}, target_group="shop")
    upgrade = b"Connection: Upgrade\r\nUpgrade: WebSocket\r\n"
    assert (await scene.ask(get(b"/", upgrade))).body.startswith(b"ws-")
    assert (await scene.ask(get(b"/", b"Upgrade: websocket\r\n"))).body.startswith(b"shop-")


@in_scene
async def test_the_address_is_that_behind_trusted_proxies(scene: Scene) -> None:
    rule = {"source_ip": "192.0.2.0/24", "fixed_response": {"status": 403}}
    shop = (await site(scene, "shop")).use(rule)
    forwarded = b"X-Forwarded-For: 192.0.2.1\r\n"
    assert (await scene.ask(get(b"/", forwarded))).status == 200
    shop.use(rule, trusted=("127.0.0.0/8",))
    assert (await scene.ask(get(b"/", forwarded))).status == 403
    assert (await scene.ask(get(b"/", b"X-Forwarded-For: 192.0.2.1, 198.51.100.1\r\n"))).status == 200


@in_scene
@pytest.mark.parametrize(
    ("redirect", "path", "location"),
    [
        ({"protocol": "https"}, b"/a?b=c", b"https://shop.example/a?b=c"),
        ({"protocol": "https", "port": "8443"}, b"/", b"https://shop.example:8443/"),
        ({"protocol": "https", "port": "#{port}"}, b"/", b"https://shop.example:8080/"),
        ({"host": "www.#{host}"}, b"/a", b"http://www.shop.example:8080/a"),
        (
            {"path": "/new/#{path}", "query": "from=#{host}&#{query}"},
            b"/a/b?x=1",
            b"http://shop.example:8080/new/a/b?from=shop.example&x=1",
        ),
        ({"path": "/", "query": ""}, b"/a?b", b"http://shop.example:8080/"),
        ({"host": "x.example", "port": "80"}, b"//evil.test/%0d%0aX", b"http://x.example//evil.test/%0d%0aX"),
    ],
)
async def test_redirects(scene: Scene, redirect: dict[str, str], path: bytes, location: bytes) -> None:
    (await site(scene, "shop")).use({"redirect": {"status": 308, **redirect}})
    response = await scene.ask(b"GET %b HTTP/1.1\r\nHost: shop.example:8080\r\n\r\n" % path)
    assert (response.status, response.one(b"location"), response.body) == (308, location, b"")
    assert response.start == b"HTTP/1.1 308 Permanent Redirect"


@in_scene
async def test_own_answers_keep_the_connection_if_they_can(scene: Scene) -> None:
    teapot = {
        "path": "/t",
        "fixed_response": {"status": 418, "body": "tea", "content_type": "text/tea"},
        "response_headers": {"set": {"Server": "pot"}},
    }
    shop = await site(scene, "shop")
    shop.use(teapot, {"path": "/n", "fixed_response": {"status": 204}})
    client = await scene.client()
    whole = await client.ask(get(b"/t"))
    assert (whole.status, whole.body, whole.one(b"content-type")) == (418, b"tea", b"text/tea")
    assert whole.one(b"server") == b"pot"
    assert whole.one(b"date")
    assert whole.one(b"x-request-id")
    bare = await client.ask(get(b"/t", method=b"HEAD"))
    assert (bare.status, bare.one(b"content-length"), bare.body) == (418, b"3", b"")
    empty = await client.ask(get(b"/n"))
    assert (empty.status, empty.one(b"content-length")) == (204, None)
    assert (await client.ask(post(b"abc", path=b"/t"))).status == 418
    assert (await client.ask(get(b"/"))).body.startswith(b"shop-")
    old = await scene.ask(b"GET /t HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert old.one(b"connection") == b"keep-alive"


@in_scene
async def test_a_body_that_nobody_wants_is_not_waited_for(scene: Scene) -> None:
    shop = (await site(scene, "shop")).use(DENY)
    client = await scene.client()
    await client.send(b"POST /admin HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 9\r\n\r\nabc")
    response = await client.response()
    assert (response.status, response.one(b"connection")) == (403, b"close")
    assert not await client.is_cut()
    waiting = await scene.client()
    await waiting.send(
        b"POST /admin HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    )
    assert (await waiting.response()).status == 403
    assert shop.count == 0


@in_scene
async def test_header_fields_are_edited_in_passing(scene: Scene) -> None:
    shop = await site(scene, "shop")
    shop.fields = b"Server: secret\r\nX_Power: 1\r\nVary: a\r\nCache-Control: no-store\r\n"
    shop.use(
        {
            "path": "/e",
            "forward": "shop",
            "request_headers": {
                "set": {"Host": "internal.example", "X-User": "none"},
                "add": {"Accept": "text/x"},
                "remove": ["X-Debug"],
            },
            "response_headers": {"set": {"Server": "s"}, "add": {"Vary": "b"}, "remove": ["X-Power"]},
        }
    )
    asked = b"X-User: admin\r\nX_User: admin\r\nx_debug: 1\r\nX-Debug: 1\r\nAccept: text/html\r\nTE: x\r\n"
    for _ in range(3):
        response = await scene.ask(get(b"/e", asked))
        assert response.all(b"server") == [b"s"]
        assert response.all(b"vary") == [b"a", b"b"]
        assert not response.all(b"x_power")
        assert len(response.all(b"set-cookie")) == 1
    seen = [request for requests in shop.requests.values() for request in requests]
    for request in seen:
        assert request.one(b"host") == b"internal.example"
        assert request.one(b"x-forwarded-host") == b"shop.example"
        assert request.all(b"x-user") == [b"none"]
        assert request.all(b"accept") == [b"text/html", b"text/x"]
        assert not any(request.all(name) for name in (b"x_user", b"x_debug", b"x-debug"))
    assert len(seen) == 3
    plain = await scene.ask(get(b"/", asked))
    assert plain.all(b"server") == [b"secret"]


@in_scene
async def test_a_response_made_cacheable_carries_no_ticket(scene: Scene) -> None:
    shop = await site(scene, "shop")
    edits = {"set": {"Cache-Control": "public, max-age=60"}}
    shop.use({"path": "/c", "forward": "shop", "response_headers": edits})
    assert (await scene.ask(get(b"/"))).all(b"set-cookie")
    cached = await scene.ask(get(b"/c"))
    assert cached.all(b"cache-control") == [b"public, max-age=60"]
    assert not cached.all(b"set-cookie")


@in_scene
async def test_the_log_and_explain_name_the_rule(scene: Scene, tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "log"))
    shop = await site(scene, "shop", access_log=log)
    shop.use(DENY, {"name": "all", "path": "/a", "forward": "shop"})
    ids = [
        (await scene.ask(get(path))).one(b"x-request-id") for path in (b"/admin", b"/a", b"/b", b"//admin")
    ]
    told = [scene.proxy.explain((each or b"").decode()) for each in ids]
    assert [facts["rule"] for facts in told if facts] == ["deny", "all", "-", "-"]
    assert [line.rsplit(" ", 1)[1] for line in (tmp_path / "log").read_text().splitlines()] == [
        "deny", "all", "-", "-",
    ]  # fmt: skip


@in_scene
async def test_changed_rules_hold_for_the_next_request_of_an_open_connection(scene: Scene) -> None:
    shop = (await site(scene, "shop", "other")).use(target_group="shop")
    client = await scene.client()
    assert (await client.ask(get(b"/admin"))).body.startswith(b"shop-")
    shop.use(DENY, target_group="shop")
    assert (await client.ask(get(b"/admin"))).status == 403
    shop.use({"path": "/admin", "forward": "other"}, target_group="shop")
    assert (await client.ask(get(b"/admin"))).body.startswith(b"other-")
    shop.use(target_group="other")
    assert (await client.ask(get(b"/admin"))).status == 200
    assert (await client.ask(get(b"/"))).status == 200


@in_scene
async def test_rules_hold_for_http2_too(scene: Scene) -> None:
    shop = await site(scene, "shop", "blue", "green")
    split = {"name": "release", "path": "/r", "forward": ["blue", "green"]}
    edits = {"response_headers": {"set": {"Server": "s"}}}
    away = {"path": "/old", "redirect": {"path": "/new"}}
    shop.use(DENY | edits, split | edits, away, target_group="shop", http2_prior_knowledge=True)
    client = await H2Client.connect(scene.address)
    for path in (b"/admin", b"/Admin/x", b"//admin", b"/x/%2e%2e/admin"):
        assert (await client.ask(path=path)).status in {400, 403}
    assert shop.count == 0
    refused = await client.ask(path=b"/admin")
    assert (bytes(refused.body), dict(refused.fields)[b"server"]) == (b"no", b"s")
    assert dict((await client.ask(path=b"/old?a")).fields)[b"location"] == b"http://shop.example/new?a"
    drawn = await client.ask(path=b"/r")
    assert drawn.status == 200
    names = [value.partition(b"=")[0] for name, value in drawn.fields if name == b"set-cookie"]
    assert names == [b"limpet-to-release", b"limpet-" + bytes(drawn.body).partition(b"-")[0]]
    assert bytes((await client.ask(path=b"/")).body).startswith(b"shop-")
    await client.close()
