"""A plain listener sends its clients to https, and serves ACME challenges."""

import asyncio

import pytest


async def serve(ground, **settings):
    await ground.server("A")
    listener = {"address": "127.0.0.1:0", "redirect_to_https": True, "https_port": 443, **settings}
    await ground.start(ground.group("A"), listeners=[listener], trusted_proxies=["127.0.0.1"])


def location_of(head):
    return next((line[10:].decode() for line in head.split(b"\r\n") if line.startswith(b"Location: ")), None)


CASES = [
    ("GET", "/", "shop.example", "https://shop.example/"),
    ("GET", "/a/b?c=d&e=%20", "shop.example:8080", "https://shop.example/a/b?c=d&e=%20"),
    ("POST", "/form", "shop.example", "https://shop.example/form"),
    ("GET", "//evil.example", "shop.example", "https://shop.example//evil.example"),
    ("GET", "/", "[::1]:80", "https://[::1]/"),
    (
        "GET",
        "/.well-known/acme-challenge/x",
        "shop.example",
        "https://shop.example/.well-known/acme-challenge/x",
    ),
]


@pytest.mark.parametrize(("method", "path", "host", "expected"), CASES)
def test_host_and_path_are_kept(play, method, path, host, expected):
    async def story(ground):
        await serve(ground)
        reader, writer = await asyncio.open_connection("127.0.0.1", ground.port)
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 308 Permanent Redirect\r\n")
        assert location_of(head) == expected
        writer.close()

    play(story)


def test_nothing_is_forwarded_but_what_came_by_https(play):
    async def story(ground):
        await serve(ground, https_port=8443)
        reader, writer = await asyncio.open_connection("127.0.0.1", ground.port)
        plain = b"GET /x HTTP/1.1\r\nHost: shop.example\r\n\r\n"
        by_https = b"GET /x HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-Proto: https\r\n\r\n"
        for sent in (plain, by_https, plain, by_https, plain):  # a CDN speaks TLS for us
            writer.write(sent)
            head = await reader.readuntil(b"\r\n\r\n")
            if sent is plain:
                assert location_of(head) == "https://shop.example:8443/x"
            else:
                assert b" 200 " in head
                assert await reader.readexactly(1) == b"A"
                assert b"; Secure" in head
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()

    play(story)


def test_challenges_are_served_from_the_webroot(play, tmp_path):
    # As `certbot certonly --webroot -w FOLDER` writes them.
    folder = tmp_path / "webroot" / ".well-known" / "acme-challenge"
    folder.mkdir(parents=True)
    (folder / "token-1_A").write_text("token-1_A.thumbprint")
    (folder.parent / "secret").write_text("secret")
    (folder / "folder").mkdir()

    async def story(ground):
        await serve(ground, acme_webroot=str(tmp_path / "webroot"))
        there = "/.well-known/acme-challenge"
        assert (await ground.get(f"{there}/token-1_A"))[::2] == (200, b"token-1_A.thumbprint")
        for path in ("none", "../secret", "%2e%2e/secret", "..", "", "folder", "token-1_A/", "token-1_A?x"):
            status, _, body = await ground.get(f"{there}/{path}")
            assert (status, body) == (404, b"There is no such challenge.\n")
        assert (await ground.get("/"))[0] == 308
        assert not any(b"/health" not in request for request in ground.servers["A"].requests)

    play(story)
