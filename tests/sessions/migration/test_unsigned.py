"""Cookies whose signature does not verify under the old secret are told, once; expired ones are not."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
import redis
from itsdangerous import Signer, TimestampSigner

from limpet.sessions.migration import FlaskSessionRedis, StarletteCookie

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.sessions.migration import Source

RIGHT, WRONG = "the old secret of the app", "the secret of another app"


def starlette(secret: str) -> tuple[Source, str]:
    value = TimestampSigner(RIGHT).sign(b64encode(json.dumps({"user": 1}).encode())).decode()
    return StarletteCookie(secret), value


def flask_session(secret: str) -> tuple[Source, str]:
    value = Signer(RIGHT, salt="flask-session", key_derivation="hmac").sign(b"abcdefgh").decode()
    return FlaskSessionRedis(redis.Redis(), signed_with=secret), value


@pytest.mark.parametrize("make", [starlette, flask_session])
def test_a_wrong_secret_is_told_once(
    make: Callable[[str], tuple[Source, str]], caplog: pytest.LogCaptureFixture
) -> None:
    source, value = make(RIGHT)
    assert source.identify(value) is not None
    assert caplog.messages == []
    source, value = make(WRONG)
    assert [source.identify(value) for _ in range(3)] == [None] * 3
    (message,) = caplog.messages
    assert f"sessions from {source.name}: the signature of a cookie 'session' does not verify" in message


def test_a_cookie_that_has_expired_is_nothing_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    _, value = starlette(RIGHT)
    assert StarletteCookie(RIGHT, max_age_s=-1).identify(value) is None
    assert caplog.messages == []
