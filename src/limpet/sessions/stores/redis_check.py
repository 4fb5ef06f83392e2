"""What about a Redis or Valkey server can log users out, and what to do about it."""

from __future__ import annotations

import time
from typing import Any

from limpet.sessions.stores import Finding

_MIN_VERSION = (7, 0)
_MAX_SKEW_S = 2.0


def findings(client: Any, wait: int) -> list[Finding]:
    """Ask every primary for its settings.

    Args:
        client: a blocking client, of any kind.
        wait: how many replicas a login waits for.

    Raises:
        RedisError: one does not answer.
    """
    started_s = time.time()
    info = client.info("everything")
    seconds, microseconds = _first(client.time())
    took_s = time.time() - started_s
    found = []
    for each in info.values() if _is_by_node(info) else [info]:
        found += _of_server(each, wait)
    skew_s = abs(seconds + microseconds / 1e6 - started_s)
    if skew_s > _MAX_SKEW_S + took_s:
        what = f"its clock and ours differ by {skew_s:.0f} s: sessions end that much too early or too late"
        found.append(Finding("S306", "warning", what, "synchronise the clocks (NTP) of all servers"))
    return found


def does_not_answer(error: Exception) -> Finding:
    """Return the finding of a server that cannot be asked."""
    fix = "start it, or correct LIMPET_SESSION_STORE; until then requests with a session get 503"
    return Finding("S301", "error", f"the session store does not answer: {in_short(error)}", fix)


def in_short(error: Exception) -> str:
    """Return what went wrong, without the whole objects that redis-py adds to what a Sentinel says."""
    return str(error).partition(" : <")[0]


def _of_server(info: dict[str, Any], wait: int) -> list[Finding]:
    checks = [_version(info), _role(info), _eviction(info), _persistence(info), _replication(info, wait)]
    return [finding for finding in checks if finding is not None]


def _version(info: dict[str, Any]) -> Finding | None:
    version = str(info.get("valkey_version") or info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) >= _MIN_VERSION:
        return None
    return Finding(
        "S302", "error", f"version {version} lacks commands that limpet uses", "upgrade to 7.0 or later"
    )


def _role(info: dict[str, Any]) -> Finding | None:
    if info.get("role") == "master":
        return None
    what = "this is a replica: it refuses every login, and may not know the newest sessions"
    return Finding("S303", "error", what, "connect to the primary, or use redis+sentinel://")


def _eviction(info: dict[str, Any]) -> Finding | None:
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory", 0) == 0:
        what = "memory has no limit: the system may kill the server, and everyone's session with it"
        return Finding("S305", "warning", what, "set maxmemory, with maxmemory-policy noeviction")
    if policy == "noeviction":
        return None
    what = f"with maxmemory-policy {policy} a full server drops sessions: their users are logged out"
    return Finding(
        "S304", "error", what, "set maxmemory-policy noeviction, and give caches a server of their own"
    )


def _persistence(info: dict[str, Any]) -> Finding | None:
    if info.get("aof_enabled"):
        return None
    what = "without an append-only file a restart forgets the latest sessions"
    return Finding("S307", "warning", what, "set appendonly yes")


def _replication(info: dict[str, Any], wait: int) -> Finding | None:
    if not info.get("connected_slaves") or wait:
        return None
    what = "replicas lag behind: a failover forgets the logins and logouts of the last moment"
    return Finding("S308", "warning", what, "add ?wait=1 to the store's URL")


def _is_by_node(info: dict[str, Any]) -> bool:
    return all(isinstance(value, dict) and "redis_version" in value for value in info.values())


def _first(reply: Any) -> tuple[int, int]:
    seconds, microseconds = next(iter(reply.values())) if isinstance(reply, dict) else reply
    return int(seconds), int(microseconds)
