"""Two limpets with one key file, and a client that takes them in turns: nobody is lost.

The app keeps its logins in its processes' memory, so every wrong turn shows.
"""

from __future__ import annotations

import base64
import itertools
import os
import re
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from pathlib import Path

USERS = 20


def key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


class Pair:
    """Two balancers over the same replicas, each with a configuration of its own."""

    def __init__(self, limpet, folder: Path, targets: dict[str, str]) -> None:
        self._folder = folder
        self.files = []
        for name in ("one", "two"):
            (folder / f"{name}.keys").write_text(KEYS[0])
            self.configure(name, targets)
        self.both = [limpet("up", str(folder / f"{name}.toml"), listen=None) for name in ("one", "two")]
        self.urls = [running.url for running in self.both]

    def configure(self, name: str, targets: dict[str, str], weights: dict[str, int] | None = None) -> None:
        listed = "".join(
            f'[[target_groups.web.targets]]\nname = "{each}"\naddress = "{address}"\n'
            f"weight = {(weights or {}).get(each, 1)}\n"
            for each, address in targets.items()
        )
        (self._folder / f"{name}.toml").write_text(
            f'[keys]\nfile = "{self._folder / name}.keys"\n[access_log]\npath = "off"\n'
            f'[[listeners]]\naddress = "127.0.0.1:0"\n[target_groups.web]\n{listed}'
        )

    def reload(self, number: int) -> None:
        done = self.both[number].command("reload")
        assert done.returncode == 0, done.stderr


KEYS = [key(), key()]


class Crowd:
    """Users who are logged in, and who knock at one balancer after the other."""

    def __init__(self, urls: list[str]) -> None:
        self.urls = urls
        self.users: list[tuple[str, httpx.Client]] = []

    def log_in(self, count: int, at: itertools.cycle[str]) -> None:
        for _ in range(count):
            name = f"user{len(self.users)}"
            client = httpx.Client(follow_redirects=False, headers={"User-Agent": f"Mozilla/5.0 ({name})"})
            client.get(next(at))
            assert client.post(f"{next(at)}/login", data={"name": name}).status_code == 303
            self.users.append((name, client))

    def lost(self, rounds: int = 1) -> list[str]:
        """Visit both balancers and return who was not recognised somewhere."""
        return [
            f"{name} at {url}"
            for _ in range(rounds)
            for name, client in self.users
            for url in self.urls
            if f"Hello {name}" not in client.get(url).text
        ]

    def close(self) -> None:
        for _, client in self.users:
            client.close()


@pytest.fixture(scope="module")
def replicas(limpet) -> dict[str, str]:
    """Four replicas, which a limpet of their own runs."""
    running = limpet("serve", "examples.flask_memory:app", "--replicas", "4", "--access-log", "off")
    status = httpx.get(f"http://{running.admin}/status").json()
    return {each["name"]: each["address"] for each in status["target_groups"][0]["targets"]}


@pytest.fixture
def site(limpet, replicas, tmp_path):
    """Two balancers in front of three of the replicas, and a crowd."""
    targets = replicas
    first = {name: address for name, address in targets.items() if name != "D"}
    pair = Pair(limpet, tmp_path, first)
    crowd = Crowd(pair.urls)
    crowd.log_in(USERS, itertools.cycle(pair.urls))
    yield pair, crowd, first, targets
    crowd.close()


def test_users_may_come_through_either_balancer(site) -> None:
    _, crowd, _, _ = site
    assert crowd.lost(rounds=3) == []
    homes = {client.get(url).text.split("replica ")[1][0] for _, client in crowd.users for url in crowd.urls}
    assert homes == {"A", "B", "C"}


def test_keys_are_rotated_on_one_balancer_after_the_other(site, tmp_path) -> None:
    pair, crowd, _, _ = site
    old, new = KEYS
    # As docs/stickiness.md says: the new key last on both, then first on both, then the old one away.
    for keys in (f"{old}\n{new}", f"{new}\n{old}"):
        for number, name in enumerate(("one", "two")):
            (tmp_path / f"{name}.keys").write_text(keys)
            pair.reload(number)
            assert crowd.lost() == []
            crowd.log_in(2, itertools.cycle(crowd.urls))
            assert crowd.lost() == []


def test_a_target_is_added_on_one_balancer_after_the_other(site) -> None:
    pair, crowd, _, targets = site
    # First with weight 0 on both, so that both know it before anybody is placed there.
    for weight in (0, 1):
        for number, name in enumerate(("one", "two")):
            pair.configure(name, targets, {"D": weight})
            pair.reload(number)
            assert crowd.lost() == []
            crowd.log_in(3, itertools.cycle(crowd.urls))
            assert crowd.lost() == []
    crowd.log_in(12, itertools.cycle(crowd.urls))
    assert crowd.lost() == []
    homes = {re.search("replica ([A-Z])", client.get(crowd.urls[0]).text)[1] for _, client in crowd.users}
    assert "D" in homes


def test_a_session_on_a_target_that_one_balancer_does_not_know_yet_is_not_taken_away(site) -> None:
    pair, crowd, _, targets = site
    pair.configure("one", targets)
    pair.reload(0)
    crowd.log_in(12, itertools.cycle(crowd.urls[:1]))
    on_d = [(name, client) for name, client in crowd.users if "replica D" in client.get(crowd.urls[0]).text]
    assert on_d
    for name, client in on_d:
        client.get(crowd.urls[1])  # it cannot be served there: that balancer has never heard of D
        assert f"Hello {name}" in client.get(crowd.urls[0]).text
    pair.configure("two", targets)
    pair.reload(1)
    assert crowd.lost() == []
