"""The fingerprint that tells a balancer which servers can go on with each other's sessions."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from limpet.core.session_state import parse_state
from limpet.sessions import CookieSettings, Sessions
from limpet.sessions.balancer import Told
from limpet.sessions.stores import open_store

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "the old secret, long enough", "the new secret, long enough"
URL = "redis://10.0.0.1:6379/1"


def fingerprint(url: str = URL, *secrets: str, name: str = "sid") -> str:
    sessions = Sessions(url, secret=secrets or (OLD,), cookie=CookieSettings(name=name, secure=False))
    ((_, value),) = sessions.balancer.tell(sessions.open(None, told=Told()))
    state = parse_state(value.encode())
    assert state is not None
    assert state.is_portable == bool(state.fingerprint)
    return state.fingerprint


def test_servers_that_share_everything_have_the_same() -> None:
    assert fingerprint() == fingerprint("valkey://user:password@10.0.0.1/1")
    assert fingerprint(URL, OLD, NEW) == fingerprint(URL, NEW, OLD)
    assert fingerprint("redis+cluster://a,b") == fingerprint("redis+cluster://b,a")
    assert fingerprint("memcached://a,b:7") == fingerprint("memcached://b:7,a:11211")


@pytest.mark.parametrize(
    "other",
    [
        fingerprint(URL, NEW),
        fingerprint(URL, OLD, NEW),
        fingerprint(name="other"),
        fingerprint("redis://10.0.0.1:6379/2"),
        fingerprint("redis://10.0.0.2:6379/1"),
        fingerprint("redis+sentinel://10.0.0.1:6379/main?db=1"),
        fingerprint("redis+cluster://10.0.0.1:6379"),
        fingerprint("memcached://10.0.0.1:6379"),
    ],
)
def test_each_difference_makes_another_one(other: str) -> None:
    assert other != fingerprint()


def test_localhost_is_another_one_on_each_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = [f"redis://{host}" for host in ("localhost", "127.0.0.1", "[::1]", "10.0.0.1")]
    here = [fingerprint(url) for url in urls]
    monkeypatch.setattr(socket, "gethostname", lambda: "another-machine")
    assert [fingerprint(url) == one for url, one in zip(urls, here, strict=True)] == [False] * 3 + [True]


def test_a_file_is_the_same_by_whatever_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/a.db"
    assert fingerprint(url) == ""  # pinned as long as there is no file
    for name in ("a", "b"):
        store = open_store(f"sqlite:///{name}.db")
        store.check()  # makes the file
        store.close()
    assert fingerprint(url) == fingerprint("sqlite:///a.db") != fingerprint("sqlite:///b.db")
