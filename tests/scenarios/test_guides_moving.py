"""docs/guides/coming-from-haproxy-or-nginx.md, run: HAProxy and nginx beside limpet, a canary, a switch."""

from __future__ import annotations

import shlex
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import guides
import pytest
from authority import Authority
from ports import free_port
from small_site import SmallSite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

GUIDE = guides.Guide("docs/guides/coming-from-haproxy-or-nginx.md")
CLIENT = "127.0.0.9"
At = dict[str, tuple[str, int]]


class Ground:
    """The two servers, a certificate, and balancers in front of them that end with the test."""

    def __init__(self, limpet: Callable[..., Any], folder: Path, stack: ExitStack) -> None:
        self._limpet = limpet
        self.folder = folder
        self._stack = stack
        authority = Authority(folder)
        self._trust = authority.client()
        self._pair = authority.issue(guides.SITE)
        texts = [(folder / f"{guides.SITE}.{end}").read_text() for end in ("pem", "key")]
        (folder / "bundle.pem").write_text("".join(texts))
        self.servers = {name: SmallSite(f"127.0.0.{n}", name) for name, n in (("a", 21), ("b", 22))}
        for server in self.servers.values():
            stack.callback(server.stop)

    def servers_in(self, text: str) -> dict[str, str]:
        """Return what stands for the guide's two servers in a text that names them."""
        pairs = zip(("10.0.0.21:8000", "10.0.0.22:8000"), self.servers.values(), strict=True)
        return {old: "{}:{}".format(*server.where) for old, server in pairs if old in text}

    def limpet(self, text: str) -> At:
        """Start a limpet with TLS and a configuration of the guide."""
        at = _free_at()
        here = self.servers_in(text) | {
            "0.0.0.0:80": "{}:{}".format(*at["http"]),
            "0.0.0.0:443": "{}:{}".format(*at["https"]),
            "/etc/limpet/shop.example.pem": self._pair["certificate"],
            "/etc/limpet/shop.example.key": self._pair["key"],
        }
        self.running_limpet(guides.replaced(text, here))
        return at

    def running_limpet(self, text: str) -> Any:
        """Start a limpet with a configuration as it is."""
        file = self.folder / f"limpet-{time.monotonic_ns()}.toml"
        file.write_text(text)
        running = self._limpet("up", str(file), listen=None)
        running.line("listening on")
        assert running.admin
        return running

    def haproxy(self, text: str) -> At:
        """Start HAProxy with the guide's file, perhaps with one server more."""
        at = _free_at()
        here = self.servers_in(text) | {
            "maxconn 20000": "maxconn 200",
            "bind :80": "bind {}:{}".format(*at["http"]),
            "bind :443": "bind {}:{}".format(*at["https"]),
            "/etc/haproxy/shop.example.pem": self.folder / "bundle.pem",
            "/run/haproxy/admin.sock": self.admin_socket,
        }
        file = self.folder / "haproxy.cfg"
        file.write_text(guides.replaced(text, here))
        self._run(["haproxy", "-db", "-f", str(file)], at["https"])
        return at

    @property
    def admin_socket(self) -> Path:
        return self.folder / "haproxy.sock"

    def tell_haproxy(self, command: str) -> None:
        """Do what a command of the guide does, without socat."""
        words = shlex.split(command)
        assert words[0] == "echo"
        assert words[2:] == ["|", "socat", "stdio", "/run/haproxy/admin.sock"]
        with socket.socket(socket.AF_UNIX) as wire:
            wire.connect(str(self.admin_socket))
            wire.sendall(words[1].encode() + b"\n")
            assert wire.recv(1024).strip() == b""

    def nginx(self, text: str) -> At:
        """Start nginx with the guide's file."""
        at = _free_at()
        here = self.servers_in(text) | {
            "listen 80": "listen {}:{}".format(*at["http"]),
            "listen 443": "listen {}:{}".format(*at["https"]),
            "/etc/nginx/shop.example.pem": self._pair["certificate"],
            "/etc/nginx/shop.example.key": self._pair["key"],
        }
        file = self.folder / "nginx.conf"
        paths = "".join(
            f"{name}_temp_path {self.folder}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        here["http {\n"] = f"http {{\naccess_log off;\n{paths}"
        process = f"daemon off; pid {self.folder}/nginx.pid; error_log stderr;\n"
        file.write_text(process + guides.replaced(text, here))
        command = ["nginx", "-p", str(self.folder), "-e", "stderr", "-c", str(file)]
        self._run(command, at["https"])
        return at

    def _run(self, command: list[str], where: tuple[str, int]) -> None:
        server = guides.Server(command, where, self.folder / f"{command[0]}.log")
        self._stack.enter_context(server).until_it_listens()

    def browser(self, at: At, name: str = "", address: str | None = None) -> httpx.Client:
        """Open a browser that is closed with the test."""
        return self._stack.enter_context(guides.browser([at], self._trust, name, address))

    def users(self, at: At, count: int, prefix: str) -> dict[str, httpx.Client]:
        """Let some users log in."""
        users = {}
        for number in range(count):
            name = f"{prefix}{number}"
            users[name] = self.browser(at, name)
            guides.log_in(users[name], name)
        return users


def _free_at() -> At:
    return {scheme: ("127.0.0.1", free_port()) for scheme in ("http", "https")}


@pytest.fixture
def ground(limpet: Callable[..., Any], tmp_path: Path) -> Iterator[Ground]:
    with ExitStack() as stack:
        yield Ground(limpet, tmp_path, stack)


class Seen(NamedTuple):
    """What somebody in front of a balancer notices."""

    redirect: tuple[int, str]
    robots: tuple[int, str]
    stays: bool
    told: dict[str, str]
    after_one_died: list[int]


def seen(ground: Ground, at: At) -> Seen:
    """Try a balancer out; one server dies on the way, and comes back."""
    client = ground.browser(at, address=CLIENT)
    moved = client.get("http://shop.example/basket?of=ann")
    host, _, rest = moved.headers["location"].removeprefix("https://").partition("/")
    robots = client.get("/robots.txt")
    users = ground.users(at, 4, "user")
    told = client.get("/fields").json()
    names = ("host", "x-forwarded-for", "x-forwarded-proto")
    stays = guides.lost(users, rounds=3) == []
    home = ground.servers[guides.homes([client]).pop()]
    home.stop()
    after = [client.get("/").status_code for _ in range(4)]
    home.start()
    return Seen(
        redirect=(moved.status_code, f"{host.partition(':')[0]}/{rest}"),
        robots=(robots.status_code, robots.text),
        stays=stays,
        told={name: told[name] for name in names},
        after_one_died=after,
    )


def status_when_all_are_down(ground: Ground, at: At, expected: int) -> int:
    """Return the status once no server is there and the balancer has noticed."""
    for server in ground.servers.values():
        server.stop()
    client = ground.browser(at)
    end_s = time.monotonic() + guides.TIMEOUT_S
    while (status := client.get("/").status_code) != expected and time.monotonic() < end_s:
        time.sleep(0.1)
    for server in ground.servers.values():
        server.start()
    return status


@pytest.mark.parametrize(("old", "all_down"), [("haproxy", 503), ("nginx", 502)])
def test_a_file_and_its_translation_do_the_same(ground: Ground, old: str, all_down: int) -> None:
    text = GUIDE.block({"haproxy": "# /etc/haproxy/haproxy.cfg", "nginx": "# /etc/nginx/nginx.conf"}[old])
    was = getattr(ground, old)(text)
    expected = Seen(
        redirect=(308, f"{guides.SITE}/basket?of=ann"),
        robots=(200, "nothing here"),
        stays=True,
        told={"host": guides.SITE, "x-forwarded-for": CLIENT, "x-forwarded-proto": "https"},
        after_one_died=[200] * 4,
    )
    assert seen(ground, was) == expected
    now = ground.limpet(GUIDE.block(f"# limpet.toml for {old}."))
    assert seen(ground, now) == expected
    # What differs, as the guide says.
    claimed = {"X-Forwarded-For": "192.0.2.66"}
    told = ground.browser(now, address=CLIENT).get("/fields", headers=claimed).json()
    assert told["x-forwarded-for"] == CLIENT
    assert status_when_all_are_down(ground, was, all_down) == all_down
    assert status_when_all_are_down(ground, now, 502) == 502


def test_a_canary_and_the_way_back(ground: Ground) -> None:
    port = free_port()
    text = GUIDE.block("# /etc/limpet/limpet.toml behind HAProxy")
    here = ground.servers_in(text) | {"10.0.0.5": "127.0.0.1", "0.0.0.0:8080": f"127.0.0.1:{port}"}
    canary = ground.running_limpet(guides.replaced(text, here))
    line = guides.replaced(GUIDE.block("cookie limpet"), {"10.0.0.10:8080": f"127.0.0.1:{port}"})
    at = ground.haproxy(GUIDE.block("# /etc/haproxy/haproxy.cfg") + line)

    before = ground.users(at, 4, "old")
    more, back = (GUIDE.commands(words)[0] for words in ("set weight", "state drain"))
    ground.tell_haproxy(more)
    users = before | ground.users(at, 9, "new")
    on_canary = [client for client in users.values() if client.cookies["SERVER"] == "limpet"]
    assert on_canary
    assert guides.lost(users, rounds=2) == []
    visitor = ground.browser(at, address=CLIENT)
    visitor.cookies.set("SERVER", "limpet")
    told = visitor.get("/fields").json()
    assert (told["x-forwarded-proto"], told["host"]) == ("https", guides.SITE)
    assert canary.line(rf'{CLIENT} \S+ "GET /fields')

    ground.tell_haproxy(back)
    late = ground.users(at, 4, "late")
    assert "limpet" not in {client.cookies["SERVER"] for client in late.values()}
    assert guides.lost(users | late, rounds=2) == []


def test_users_of_haproxy_stay_in_when_limpet_takes_over_and_on_the_way_back(ground: Ground) -> None:
    was = ground.haproxy(GUIDE.block("# /etc/haproxy/haproxy.cfg"))
    text, part = GUIDE.block("# limpet.toml for haproxy."), GUIDE.block('name = "haproxy-a"')
    rules, groups = part.split("[target_groups.shop-a]")
    first, rest = text.split("[[listeners.rules]]", 1)
    now = ground.limpet(f"{first}{rules}[[listeners.rules]]{rest}[target_groups.shop-a]{groups}")

    users = ground.users(was, 6, "user")
    assert guides.homes(users.values()) == {"a", "b"}
    switched = {name: ground.browser(now, name) for name in users}
    for name, client in switched.items():
        client.cookies.update(users[name].cookies)
    assert guides.lost(switched, rounds=3) == []
    assert guides.lost(ground.users(now, 4, "new"), rounds=3) == []
    returned = {name: ground.browser(was, name) for name in users}
    for name, client in returned.items():
        client.cookies.update(switched[name].cookies)
    assert guides.lost(returned, rounds=2) == []
