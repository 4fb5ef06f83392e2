"""Cookies of sessions and logins, by shape first and name second.

Shape decides what may be lost: a cookie that carries its data lives by a key, an opaque one by a
store. Of readable data only the names are kept, and the time of issue.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from limpet.doctor.evidence import CookieReading, CookieRole

if TYPE_CHECKING:
    from collections.abc import Callable

    _Reader = Callable[[str, str, Callable[[str], str]], CookieReading | None]

_SESSION = CookieRole.SESSION
_DOTTED = re.compile(r"(\.?[A-Za-z0-9_=+/-]+)\.([A-Za-z0-9_-]{4,11})\.([A-Za-z0-9_-]{27,86})")
_DJANGO = re.compile(r"(\.?[A-Za-z0-9_=-]+):([A-Za-z0-9]{4,11}):([A-Za-z0-9_-]{27,43})")
#: Of 36 letters, where hexadecimal ids have 16.
_DJANGO_ID = re.compile(r"(?=.*[g-z])[a-z0-9]{32}")
_JWT = re.compile(r"(eyJ[A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
_RAILS = re.compile(
    r"[A-Za-z0-9+/=_-]{16,}(--[A-Za-z0-9+/=_-]{16,}--[A-Za-z0-9+/=_-]{20,}|--[0-9a-f]{40,64})"
)
_FLASK_LOGIN = re.compile(r"[^|]+\|[0-9a-f]{64,128}")
_ASP_NET = re.compile(r"CfDJ8[A-Za-z0-9_-]{30,}")
#: A signed id, whatever the cookie's name; the balancer's cookie looks alike and has another name.
_LIMPETS = re.compile(r"1\.[A-Za-z0-9_-]{100,}")
#: Zlib bombs are not opened.
_MAX_BYTES = 65536
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

#: Names of opaque cookies. What carries its data was recognised before.
_OPAQUE = (
    ("Express", re.compile(r"connect\.sid")),
    ("PHP", re.compile(r"PHPSESSID|SESS[0-9a-f]{32}|SSESS[0-9a-f]{32}")),
    ("Java servlet", re.compile(r"JSESSIONID")),
    ("ASP.NET", re.compile(r"ASP\.NET_SessionId|\.ASPXAUTH")),
    ("Laravel", re.compile(r"laravel_session|.+_session")),
    ("Spring", re.compile(r"SESSION|remember-me")),
    ("WordPress", re.compile(r"wordpress_(logged_in|sec)_[0-9a-f]+")),
    (
        "",
        re.compile(
            r"(.*[_.-])?(session|sessid|sess|sid|session_?id|auth|auth_?token|access_?token|token)",
            re.IGNORECASE,
        ),
    ),
)
#: An opaque value that is any good as an id is at least this long.
_MIN_ID = 16


def read_session_cookie(name: str, value: str, digest: Callable[[str], str]) -> CookieReading | None:
    """Return what a session's cookie tells; None if it is not known to be one."""
    for read in _READERS:
        found = read(name, value, digest)
        if found is not None:
            return found
    return _opaque(name, value)


def _jwt(name: str, value: str, digest: Callable[[str], str]) -> CookieReading | None:
    del name
    match = _JWT.fullmatch(value)
    if match is None:
        return None
    head, claims = _json(_unbase64(match[1])), _json(_unbase64(match[2]))
    if not isinstance(head, dict) or "alg" not in head or not isinstance(claims, dict):
        return None
    kid = head.get("kid")
    return CookieReading(
        product="JWT",
        role=_SESSION,
        is_signed_data=True,
        key_id=digest(str(kid)) if kid is not None else "",
        issued_at_s=_number(claims.get("iat")),
        expires_at_s=_number(claims.get("exp")),
        data_keys=_keys(claims),
    )


def _asp_net(name: str, value: str, digest: Callable[[str], str]) -> CookieReading | None:
    # Data Protection: a magic number of four bytes, then the key's id of sixteen.
    if not _ASP_NET.fullmatch(value):
        return None
    data = _unbase64(value)
    if not data.startswith(bytes.fromhex("09f0c9f0")) or len(data) < 20:
        return None
    is_session = "Antiforgery" not in name and "Affinity" not in name
    return CookieReading(
        product="ASP.NET Core",
        role=_SESSION if is_session else CookieRole.OTHER,
        is_signed_data=is_session and "Session" not in name,
        key_id=digest(data[4:20].hex()),
    )


def _itsdangerous(name: str, value: str, digest: Callable[[str], str]) -> CookieReading | None:
    # Flask and Starlette sign alike. Flask writes JSON without spaces, Starlette with them.
    del name, digest
    match = _DOTTED.fullmatch(value)
    if match is None:
        return None
    text = _inflated(match[1])
    data = _json(text)
    if not isinstance(data, dict):
        return None
    issued = _unbase64(match[2])
    return CookieReading(
        product="Starlette" if b'": ' in text else "Flask",
        role=_SESSION,
        is_signed_data=True,
        issued_at_s=float(int.from_bytes(issued, "big")) if 3 < len(issued) <= 8 else None,
        data_keys=_keys(data),
    )


def _django_signed(name: str, value: str, digest: Callable[[str], str]) -> CookieReading | None:
    del name, digest
    match = _DJANGO.fullmatch(value)
    if match is None:
        return None
    data = _json(_inflated(match[1]))
    if not isinstance(data, dict):
        return None
    issued_s = 0.0
    for letter in match[2]:
        issued_s = issued_s * 62 + _BASE62.index(letter)
    return CookieReading(
        product="Django", role=_SESSION, is_signed_data=True, issued_at_s=issued_s, data_keys=_keys(data)
    )


def _flask_login(name: str, value: str, digest: Callable[[str], str]) -> CookieReading | None:
    del digest
    if name == "remember_token" and _FLASK_LOGIN.fullmatch(unquote(value)):
        return CookieReading(product="Flask-Login", role=_SESSION, is_signed_data=True)
    return None


def _rails(name: str, value: str, digest: Callable[[str], str]) -> CookieReading | None:
    del name, digest
    if _RAILS.fullmatch(unquote(value)):
        return CookieReading(product="Rails", role=_SESSION, is_signed_data=True)
    return None


def _express(name: str, value: str, digest: Callable[[str], str]) -> CookieReading | None:
    # The id is signed, but the data are in a store.
    del name, digest
    if unquote(value).startswith("s:") and "." in value:
        return CookieReading(product="Express", role=_SESSION)
    return None


def _laravel(name: str, value: str, digest: Callable[[str], str]) -> CookieReading | None:
    del digest
    data = _json(_unbase64(unquote(value)))
    if isinstance(data, dict) and {"iv", "value", "mac"} <= set(data):
        is_session = not name.upper().startswith("XSRF")
        return CookieReading(product="Laravel", role=_SESSION if is_session else CookieRole.OTHER)
    return None


def _json_data(name: str, value: str, digest: Callable[[str], str]) -> CookieReading | None:
    # cookie-session of Express: the data in one cookie, the signature in another.
    del digest
    data = _json(_unbase64(value)) if len(value) >= 2 and "session" in name.lower() else None
    if isinstance(data, dict):
        return CookieReading(product="Express", role=_SESSION, is_signed_data=True, data_keys=_keys(data))
    return None


_READERS: tuple[_Reader, ...] = (
    _jwt,
    _asp_net,
    _itsdangerous,
    _django_signed,
    _flask_login,
    _rails,
    _express,
    _laravel,
    _json_data,
)


def _opaque(name: str, value: str) -> CookieReading | None:
    if name == "sessionid" and _DJANGO_ID.fullmatch(value):
        return CookieReading(product="Django", role=_SESSION)
    if _LIMPETS.fullmatch(value):
        return CookieReading(product="limpet.sessions", role=_SESSION)
    for product, pattern in _OPAQUE:
        if pattern.fullmatch(name) and len(value) >= _MIN_ID:
            return CookieReading(product=product, role=_SESSION)
    return None


def _inflated(payload: str) -> bytes:
    if not payload.startswith("."):
        return _unbase64(payload)
    try:
        return zlib.decompressobj().decompress(_unbase64(payload[1:]), _MAX_BYTES)
    except zlib.error:
        return b""


def _unbase64(text: str) -> bytes:
    padded = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _keys(data: dict[str, Any]) -> tuple[str, ...]:
    # Names only; a name that looks like data itself (an id as key) is left out.
    return tuple(sorted(key for key in data if re.fullmatch(r"[A-Za-z_][A-Za-z_.-]{0,31}", key)))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
