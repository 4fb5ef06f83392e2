"""docs/guides/two-limpets.md, run: keys change, a server comes, a limpet is upgraded, and one dies.

The app keeps its logins in its servers' memory, so every wrong turn shows.
"""

from __future__ import annotations

import signal
import subprocess
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import guides
import pytest
from authority import Authority
from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

GUIDE = guides.Guide("docs/guides/two-limpets.md")
SERVERS = {"a": "127.0.0.21", "b": "127.0.0.22", "c": "127.0.0.23", "d": "127.0.0.24"}
BALANCERS = ("127.0.0.11", "127.0.0.12")
KEYS = "/etc/limpet/ticket-keys"
APP = "examples.flask_memory:app"


class Site:
    """The two limpets, the servers behind them, and users who come through both in turns."""

    def __init__(self, limpet, ports: dict[str, int], folder: Path, stack: ExitStack) -> None:
        self._stack = stack
        self._ports = ports
        authority = Authority(folder)
        self._trust = authority.client()
        pair = authority.issue(guides.SITE)
        self.text = guides.replaced(
            GUIDE.block("[keys]"),
            {
                "/etc/limpet/shop.example.pem": pair["certificate"],
                "/etc/limpet/shop.example.key": pair["key"],
            },
        )
        self.folders = [folder / "lb1", folder / "lb2"]
        for each in self.folders:
            each.mkdir()
        self._listening = {
            (address, port): f"{address}:{free_port(address)}"
            for address in BALANCERS
            for port in ("0.0.0.0:443", "0.0.0.0:80")
        }
        self.on_first(GUIDE.commands("umask 077")[0])
        self._copy_keys()
        self.configure(self.text)
        self.both = [limpet("up", str(each / "limpet.toml"), listen=None) for each in self.folders]
        self._machines = [guides.served_at(running) for running in self.both]
        self.users: dict[str, httpx.Client] = {}

    def configure(self, text: str) -> None:
        """Write the same configuration on both, each with addresses of its own."""
        servers = {
            f"10.0.0.{address.rsplit('.', 1)[1]}:8000": f"{address}:{self._ports[name]}"
            for name, address in SERVERS.items()
            if f'"{name}"' in text
        }
        for address, folder in zip(BALANCERS, self.folders, strict=True):
            here = {port: self._listening[address, port] for port in ("0.0.0.0:443", "0.0.0.0:80")}
            here[KEYS] = str(folder / "ticket-keys")
            (folder / "limpet.toml").write_text(
                guides.replaced(text, servers | here) + '[access_log]\npath = "off"\n'
            )

    def reload(self) -> Iterator[None]:
        """Reload one after the other, and stop after each."""
        for running in self.both:
            done = running.command("reload")
            assert done.returncode == 0, done.stderr
            yield

    def on_first(self, command: str) -> None:
        """Run a command of the guide on the keys of the first machine."""
        words = guides.replaced(command, {KEYS: self.folders[0] / "ticket-keys"})
        subprocess.run(["/bin/bash", "-euc", words], check=True, timeout=guides.TIMEOUT_S)

    def change_keys(self, command: str) -> Iterator[None]:
        """Change the keys on the first machine, copy them, and reload one after the other."""
        self.on_first(command)
        self._copy_keys()
        return self.reload()

    def _copy_keys(self) -> None:
        first, second = (folder / "ticket-keys" for folder in self.folders)
        second.write_bytes(first.read_bytes())

    def log_in(self, count: int) -> None:
        """Let new users log in, each at one balancer after the other."""
        for _ in range(count):
            name = f"user{len(self.users)}"
            client = self._stack.enter_context(guides.browser(self._machines, self._trust, name))
            guides.log_in(client, name)
            self.users[name] = client

    def lost(self) -> list[str]:
        """Let everybody come through both."""
        return guides.lost(self.users, rounds=2)


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    """Run the servers, and return where each is on its machine."""
    folder = tmp_path_factory.mktemp("servers")
    ports = {name: free_port(address) for name, address in SERVERS.items()}
    with ExitStack() as stack:
        servers = []
        for name, address in SERVERS.items():
            where = (address, ports[name])
            command = ["gunicorn", "--threads", "4", "--bind", f"{address}:{ports[name]}", APP]
            server = guides.Server(command, where, folder / f"{name}.log", LIMPET_REPLICA=name)
            servers.append(stack.enter_context(server))
        for server in servers:
            server.until_it_listens()
        yield ports


@pytest.fixture
def site(limpet, ports, tmp_path):
    with ExitStack() as stack:
        site = Site(limpet, ports, tmp_path, stack)
        yield site


def test_nobody_is_lost(site) -> None:
    site.log_in(8)
    assert site.lost() == []
    change_the_keys(site)
    add_a_server(site)
    upgrade_one(site)
    kill_the_other(site)


def change_the_keys(site) -> None:
    assert guides.homes(site.users.values()) == {"a", "b", "c"}
    keys = site.folders[0] / "ticket-keys"
    assert keys.stat().st_mode & 0o777 == 0o600
    old = keys.read_text().split()
    for words in (">> /etc", "tac"):
        for _ in site.change_keys(GUIDE.commands(words)[0]):
            assert site.lost() == []
            site.log_in(2)
    # A day later nobody has a ticket of the old key: those who are here came after it.
    site.users.clear()
    site.log_in(8)
    for _ in site.change_keys(GUIDE.commands("2d")[0]):
        assert site.lost() == []
    assert len(keys.read_text().split()) == 1
    assert keys.read_text().split() != old


def add_a_server(site) -> None:
    began, end = site.text.index("targets = ["), site.text.index("]\n\n[target_groups.shop.health")
    listed = GUIDE.block("weight = 0").partition("[target_groups.shop]\n")[2].rstrip().removesuffix("]")
    for targets in (listed, listed.replace(", weight = 0", "")):
        site.configure(site.text[:began] + targets + site.text[end:])
        for _ in site.reload():
            assert site.lost() == []
            site.log_in(2)
        assert ("d" in guides.homes(site.users.values())) == ("weight" not in targets)


def upgrade_one(site) -> None:
    upgrade = GUIDE.commands("--binary")[1].split()[1:]
    done = site.both[0].command(*upgrade)
    assert done.returncode == 0, done.stderr
    assert site.both[0].process.wait(guides.TIMEOUT_S) == 0
    assert site.lost() == []


def kill_the_other(site) -> None:
    out: list[str] = []
    is_over = threading.Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            out.extend(guides.lost(site.users))

    crowd = threading.Thread(target=come_and_go)
    crowd.start()
    try:
        site.both[1].process.send_signal(signal.SIGKILL)
        site.both[1].process.wait(guides.TIMEOUT_S)
    finally:
        is_over.set()
        crowd.join()
    assert out == []
    site.log_in(2)
    assert site.lost() == []
