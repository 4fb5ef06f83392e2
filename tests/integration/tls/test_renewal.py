"""Certificates are renewed while limpet runs: by reloads, by files that change, and as certbot does it."""

import asyncio
import json
import os
import socket
import ssl
from pathlib import Path

import pytest
from tls_kit import ask, tls_listener

from limpet.config import certificates
from limpet.control import file_watch
from limpet.errors import ConfigError


class Lineage:
    """Files as certbot lays them out: `live` holds links into `archive`."""

    def __init__(self, folder, authority):
        self.live, self._archive = folder / "live" / "shop.example", folder / "archive" / "shop.example"
        self._authority = authority
        self._number = 0
        for made in (self.live, self._archive):
            made.mkdir(parents=True)
        self.renew("first.example")

    def renew(self, *names, links=("privkey", "fullchain"), **how):
        """Write the next version and point the links to it, one by one as certbot does."""
        self._number += 1
        chain, key = self._authority.make("shop.example", *names, **how)
        for name, content in (("fullchain", chain), ("privkey", key)):
            (self._archive / f"{name}{self._number}.pem").write_bytes(content)
        for name in links:
            self.switch(name)

    def switch(self, name):
        link = self.live / f"{name}.pem"
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(self._archive / f"{name}{self._number}.pem", self.live))

    @property
    def pair(self):
        return {"certificate": str(self.live / "fullchain.pem"), "key": str(self.live / "privkey.pem")}


@pytest.fixture
def lineage(tmp_path, authority):
    return Lineage(tmp_path / "letsencrypt", authority)


def test_certbots_renewal_is_noticed(play, authority, clients, lineage, monkeypatch):
    monkeypatch.setattr(file_watch, "INTERVAL_S", 0.05)

    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A"), listeners=[tls_listener(lineage.pair)])
        reloads = []

        def reload():
            reloads.append(asyncio.create_task(ground.balancer.reload()))

        file_watch.watch_files(lambda: certificates.files(ground.balancer.settings), reload)
        old = await clients.connect(ground.port)
        assert (await ask(*old))[0] == 200
        await asyncio.sleep(0.2)
        assert reloads == []
        lineage.renew("second.example")
        await ground.until(lambda: reloads and reloads[-1].done())
        await reloads[-1]
        assert "second.example" in await clients.shown(ground.port, "shop.example")
        assert (await ask(*old))[0] == 200  # what is open goes on
        assert len(reloads) == 1
        # Only half of it has come: the old pair stays, and the rest is noticed too.
        lineage.renew("third.example", links=["privkey"])
        await ground.until(lambda: len(reloads) == 2 and reloads[-1].done())
        (problem,) = reloads[-1].exception().problems
        assert problem.startswith("listeners.0.tls.certificates.0.key: ")
        assert "is not the key of" in problem
        assert "second.example" in await clients.shown(ground.port, "shop.example")
        lineage.switch("fullchain")
        await ground.until(lambda: len(reloads) == 3 and reloads[-1].done())
        assert "third.example" in await clients.shown(ground.port, "shop.example")
        assert (await ask(*old))[0] == 200
        old[1].close()

    play(story)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nMIIB"])
def test_a_broken_file_leaves_the_old_certificate(play, authority, clients, content):
    pair = authority.issue("shop.example")
    certificate = Path(pair["certificate"])

    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A"), listeners=[tls_listener(pair)])
        certificate.write_bytes(content)  # noqa: ASYNC240
        with pytest.raises(ConfigError, match="holds no certificate in PEM"):
            await ground.balancer.reload()
        assert (await clients.get(ground.port))[0] == 200

    play(story)


def test_a_listener_turns_to_tls_and_back(play, authority, clients):
    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A"))
        port = ground.port
        assert (await ground.get())[0] == 200
        ground.data["listeners"] = [tls_listener(authority.issue("shop.example"))]
        await ground.balancer.reload()
        assert ground.port == port
        assert (await clients.get(port))[0] == 200
        ground.data["listeners"] = [{"address": "127.0.0.1:0"}]
        await ground.balancer.reload()
        assert (await ground.get())[0] == 200
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await clients.get(port)

    play(story)


def test_the_end_of_a_certificate_is_told(play, authority, clients):
    async def story(ground):
        await ground.server("A")
        listener = tls_listener(
            authority.issue("shop.example", days=3, began_days=80),
            authority.issue("old.example", days=-1, began_days=9),
            authority.issue("new.example"),
            authority.issue("short.example", days=5, began_days=1),
        )
        await ground.start(ground.group("A"), listeners=[listener])
        told = [message for message in ground.messages if "certificate" in message]
        assert len(told) == 2
        assert told[0].startswith(
            "warning: the certificate for shop.example, or one that vouches for it, expires at "
        )
        assert "in 3.0 days" in told[0]
        assert told[1].startswith(
            "warning: the certificate for old.example, or one that vouches for it, expired at "
        )
        (shown,) = (await ground.call("GET", "/status"))[1]["listeners"]
        assert [bool(each["warning"]) for each in shown["certificates"]] == [True, True, False, False]
        assert shown["certificates"][2]["names"] == ["new.example"]
        assert (await clients.get(ground.port))[0] == 200

    play(story)


def test_two_workers_take_a_renewed_certificate(limpet, authority, lineage, tmp_path):
    (tmp_path / "limpet.toml").write_text(
        f"""
        workers = 2
        [[listeners]]
        address = "127.0.0.1:0"
        [listeners.tls]
        certificates = [{{ certificate = "{lineage.pair["certificate"]}", key = "{lineage.pair["key"]}" }}]
        [target_groups.web]
        targets = ["127.0.0.1:1"]
        health_check.enabled = false
        """
    )
    running = limpet("up", "limpet.toml", folder=tmp_path, listen=None)
    host, port = running.url.removeprefix("https://").split(":")

    def names():
        context = authority.client()
        with (
            socket.create_connection((host, int(port))) as plain,
            context.wrap_socket(plain, server_hostname="shop.example") as tls,
        ):
            return {name for _, name in tls.getpeercert()["subjectAltName"]}

    assert all("first.example" in names() for _ in range(8))
    lineage.renew("second.example")
    running.line("limpet: reloaded")  # by itself
    assert all("second.example" in names() for _ in range(8))
    status = json.loads(running.command("status", "--json").stdout)
    assert status["handshakes"]["done"] == 16
    assert "certificate for shop.example, second.example: until " in running.command("status").stdout
    assert running.end() == 0
