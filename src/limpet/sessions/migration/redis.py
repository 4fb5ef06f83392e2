"""Sessions that other libraries keep in Redis or Valkey: Flask-Session's, and starsessions'.

They are read as data. What Flask-Session would hand to pickle is never executed.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, ClassVar

import msgpack

from limpet.errors import ConfigError
from limpet.sessions.errors import UndecodableError
from limpet.sessions.migration.source import LONGEST_S, OldSession, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis import Redis

    from limpet.sessions.cookie import CookieSettings

_TIMEOUT_S = 0.125
_SID = re.compile(r"[!-~]{8,512}")


class RedisSource(Source):
    """A session stored under a prefix and the cookie's value.

    Args:
        store: URL, or a client of redis-py; give a client short timeouts, for one attempt of a
            request waits that long.
    """

    def __init__(
        self,
        store: str | Redis,
        *,
        prefix: str,
        cookie: str | CookieSettings,
        user: Callable[[Mapping[str, Any]], Any] | None,
    ) -> None:
        super().__init__(cookie, user=user)
        self._redis = _client(store) if isinstance(store, str) else store
        self._prefix = prefix

    def identify(self, value: str) -> str | None:
        """Return the id, if it can be one."""
        return value if _SID.fullmatch(value) else None

    def read(self, identity: str, now_s: float) -> OldSession | None:
        """Return what is stored, with the time to live that it has left."""
        key = self._prefix + identity
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.get(key)
        pipeline.pttl(key)
        data, left_ms = pipeline.execute()
        if not data:
            return None
        fields, is_persistent = self._decoded(data)
        return OldSession(fields, now_s + (left_ms / 1000 if left_ms > 0 else LONGEST_S), is_persistent)

    def end(self, identity: str) -> None:
        """Remove the session."""
        self._redis.delete(self._prefix + identity)

    def _decoded(self, data: bytes) -> tuple[dict[str, Any], bool]:
        # The fields, and whether the cookie outlives the browser.
        raise NotImplementedError


class FlaskSessionRedis(RedisSource):
    """Flask-Session in Redis; `_user_id` of Flask-Login is who is logged in.

    Args:
        store: the app's `SESSION_REDIS`, or its URL.
        prefix: its `SESSION_KEY_PREFIX`.
        signed_with: the app's `SECRET_KEY`, if `SESSION_USE_SIGNER` is on.
        cookie, user: as for `Source`.
    """

    name: ClassVar[str] = "flask-session"
    user_field: ClassVar[str | None] = "_user_id"

    def __init__(
        self,
        store: str | Redis,
        *,
        prefix: str = "session:",
        signed_with: str | bytes | None = None,
        cookie: str | CookieSettings = "session",
        user: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> None:
        super().__init__(store, prefix=prefix, cookie=cookie, user=user)
        self._signer = _signer(signed_with) if signed_with is not None else None

    def identify(self, value: str) -> str | None:
        """Return the id, without its signature if it has one."""
        if self._signer is None:
            return super().identify(value)
        if not self._signer.validate(value):
            self.tell_unsigned()
            return None
        return str(self._signer.unsign(value).decode())

    def _decoded(self, data: bytes) -> tuple[dict[str, Any], bool]:
        fields = _msgpack_or_json(data)
        return fields, fields.pop("_permanent", False)


class StarsessionsRedis(RedisSource):
    """starsessions in Redis.

    Args:
        store: a client of redis-py (not of redis.asyncio), or a URL.
        prefix: as its `RedisStore` has it.
        decode: bytes to fields, if the middleware has a serializer of its own; it never gets what
            somebody else wrote if it is no pickle.
        cookie, user: as for `Source`.
    """

    name: ClassVar[str] = "starsessions"

    def __init__(
        self,
        store: str | Redis,
        *,
        prefix: str = "starsessions.",
        decode: Callable[[bytes], Any] = json.loads,
        cookie: str | CookieSettings = "session",
        user: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> None:
        super().__init__(store, prefix=prefix, cookie=cookie, user=user)
        self._decode = decode

    def _decoded(self, data: bytes) -> tuple[dict[str, Any], bool]:
        try:
            fields = self._decode(data)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise UndecodableError("a session of starsessions does not decode")
        metadata = fields.pop("__metadata__", {})
        return fields, metadata.get("lifetime", 0) > 0


def _msgpack_or_json(data: bytes) -> dict[str, Any]:
    # Flask-Session tries the same, and then pickle.
    for read in (_from_msgpack, json.loads):
        try:
            fields = read(data)
        except ValueError:
            continue
        if isinstance(fields, dict):
            return fields
    is_pickle = data[:1] == b"\x80"
    what = "is a pickle, which is never executed" if is_pickle else "does not decode"
    raise UndecodableError(f"a session of Flask-Session {what}; let Flask-Session 0.8 rewrite it first")


def _from_msgpack(data: bytes) -> Any:
    return msgpack.unpackb(data, timestamp=3, strict_map_key=False, raw=False)


def _client(url: str) -> Redis:
    try:
        from redis import Redis as Client  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415
    except ImportError as error:
        problem = "sessions.old: sessions in Redis need the package redis; install limpet[redis]"
        raise ConfigError([problem]) from error
    retry = Retry(NoBackoff(), 0)  # the guard tries again
    return Client.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=retry)


def _signer(secret_key: str | bytes) -> Any:
    try:
        from itsdangerous import Signer  # noqa: PLC0415
    except ImportError as error:
        problem = "sessions.old: signed ids of Flask-Session need itsdangerous; install itsdangerous"
        raise ConfigError([problem]) from error
    return Signer(secret_key, salt="flask-session", key_derivation="hmac")
