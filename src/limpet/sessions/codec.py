"""Values of session fields as bytes, and back: MessagePack with a closed list of extra types.

Nothing in the bytes names code, so hostile bytes can at worst be refused. A field is
`version (1 byte) | body`; version 1 is plain MessagePack, version 2 is AES-256-GCM over it
(`key id | nonce | ciphertext`), bound to the session and to the field's name. Bytes that do not
decode raise `UndecodableError`: unknown, never empty.

Types: None, bool, int of any size, float, str, bytes, list, tuple, dict, set, frozenset,
datetime and time (a time zone comes back as its offset), date, timedelta, UUID, Decimal, and
markupsafe's Markup (plain text where markupsafe is not installed). Any other subclass of str, int,
float, list or dict is stored as what it derives from. Sets are written in the order of their
bytes, so that equal values have equal bytes; dicts keep their order.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgpack
from cryptography.exceptions import InvalidTag

from limpet.sessions.errors import UndecodableError, UnsupportedValueError

try:
    from markupsafe import Markup
except ImportError:  # nobody here makes any
    Markup = str  # type: ignore[assignment,misc]

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.core.key_ring import KeyRing

_PLAIN, _SEALED = b"\x01", b"\x02"
_KEY_ID_BYTES, _NONCE_BYTES = 4, 12
#: It grows by itself. msgpack's own default, a quarter of a megabyte, takes longer to get than to fill.
_BUFFER_BYTES = 1024

#: Types whose values cannot change in place: they need no second look at commit.
IMMUTABLE = (type(None), bool, int, float, str, bytes, dt.date, dt.time, dt.timedelta, UUID, Decimal)


class Sealing:
    """Wrap packed values for the store: plain, or encrypted.

    Args:
        ring: keys, newest first. What was sealed opens whether new values are sealed or not.
        is_on: whether new values are sealed.
        entropy: gives n random bytes; for nonces.
    """

    def __init__(self, ring: KeyRing, entropy: Callable[[int], bytes], *, is_on: bool) -> None:
        self._ring = ring
        self._entropy = entropy
        self._is_on = is_on

    def seal(self, plain: bytes, *, context: bytes) -> bytes:
        """Return what is stored.

        Args:
            context: what the bytes belong to (session and field); moved elsewhere they do not open.
        """
        if not self._is_on:
            return _PLAIN + plain
        cipher = self._ring.cipher(self._ring.newest_id)
        assert cipher is not None  # noqa: S101  # a ring holds its newest key
        nonce = self._entropy(_NONCE_BYTES)
        head = _SEALED + self._ring.newest_id
        return head + nonce + cipher.encrypt(nonce, plain, head + context)

    def open(self, data: bytes, *, context: bytes) -> bytes:
        """Return what was sealed.

        Raises:
            UndecodableError: not what `seal` makes, or made with a key that is not here.
        """
        if data[:1] == _PLAIN:
            return data[1:]
        if data[:1] != _SEALED:
            raise UndecodableError("a session field has an unknown format")
        head, rest = data[: 1 + _KEY_ID_BYTES], data[1 + _KEY_ID_BYTES :]
        cipher = self._ring.cipher(head[1:])
        if cipher is None:
            raise UndecodableError("a session field is sealed with a key that is not on the ring")
        try:
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], head + context)
        except (InvalidTag, ValueError):
            raise UndecodableError("a sealed session field does not open") from None


def pack(value: object) -> bytes:
    """Return a value as MessagePack; see the module for the types.

    Raises:
        UnsupportedValueError: a type that is not on the list, or nesting without end.
    """
    try:
        return _pack(value, 0)
    except (OverflowError, RecursionError, ValueError) as error:
        raise UnsupportedValueError(f"a session cannot store this value: {error}") from None


def unpack(data: bytes) -> Any:
    """Return the value of MessagePack bytes.

    Raises:
        UndecodableError: bytes that `pack` does not make.
    """
    try:
        return _unpack(data, 0)
    # Whatever hostile bytes can make the parser or a constructor raise, they mean the same.
    except Exception as error:  # noqa: BLE001
        raise UndecodableError(f"stored session data does not decode ({type(error).__name__})") from None


def _pack(value: object, depth: int) -> bytes:
    extend = partial(_extend, depth)
    packer = msgpack.Packer(default=extend, strict_types=True, use_bin_type=True, buf_size=_BUFFER_BYTES)
    return bytes(packer.pack(value))


def _unpack(data: bytes, depth: int) -> Any:
    return msgpack.unpackb(data, ext_hook=_HOOKS[depth], strict_map_key=False, raw=False)


def _set_body(value: set[Any] | frozenset[Any], depth: int) -> bytes:
    items = sorted(_pack(item, depth + 1) for item in value)
    return _pack([msgpack.ExtType(_RAW, item) for item in items], depth)


def _delta_body(value: dt.timedelta, depth: int) -> bytes:
    return _pack([value.days, value.seconds, value.microseconds], depth)


def _text(make: Callable[[str], Any]) -> Callable[[bytes, int], Any]:
    return lambda body, _: make(body.decode())


#: How deep values of extra types may be nested. The parser takes 40 kB of the C stack for each level; when
#: that is used up the process crashes.
_DEEPEST = 16
# Codes are for ever: a code may be added, never reused.
_RAW = 0
_WRITERS: dict[type, tuple[int, Callable[[Any, int], bytes]]] = {
    tuple: (1, lambda value, depth: _pack(list(value), depth)),
    set: (2, _set_body),
    frozenset: (3, _set_body),
    dt.datetime: (4, lambda value, _: value.isoformat().encode()),
    dt.date: (5, lambda value, _: value.isoformat().encode()),
    dt.time: (6, lambda value, _: value.isoformat().encode()),
    dt.timedelta: (7, _delta_body),
    UUID: (8, lambda value, _: value.bytes),
    Decimal: (9, lambda value, _: str(value).encode()),
}
_BIG_INT = 10
_MARKUP = 11
if Markup is not str:
    _WRITERS[Markup] = (_MARKUP, lambda value, _: value.encode())
_READERS: dict[int, Callable[[bytes, int], Any]] = {
    _RAW: _unpack,
    1: lambda body, depth: tuple(_unpack(body, depth)),
    2: lambda body, depth: set(_unpack(body, depth)),
    3: lambda body, depth: frozenset(_unpack(body, depth)),
    4: _text(dt.datetime.fromisoformat),
    5: _text(dt.date.fromisoformat),
    6: _text(dt.time.fromisoformat),
    7: lambda body, depth: dt.timedelta(*_unpack(body, depth)),
    8: lambda body, _: UUID(bytes=body),
    9: _text(Decimal),
    _BIG_INT: lambda body, _: int.from_bytes(body, "big", signed=True),
    _MARKUP: _text(Markup),
}
_BASES: tuple[Any, ...] = (str, int, float, list, dict)


def _extend(depth: int, value: object) -> Any:
    writer = _WRITERS.get(type(value))
    if writer is not None:
        if depth >= _DEEPEST:
            raise ValueError(f"tuples and sets are nested more than {_DEEPEST} deep")
        code, body = writer
        return msgpack.ExtType(code, body(value, depth + 1))
    if type(value) is int:
        return msgpack.ExtType(_BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
    if not isinstance(value, Enum):
        for base in _BASES:
            if isinstance(value, base):
                return base(value)
    raise UnsupportedValueError(
        f"a session cannot store a value of type {type(value).__name__}; store plain values "
        "(text, numbers, dates, UUIDs, lists, dicts, sets) or the id of the object"
    )


def _restore(depth: int, code: int, body: bytes) -> Any:
    return _READERS[code](body, depth + 1)


# By depth; beyond the deepest there is none.
_HOOKS = [partial(_restore, depth) for depth in range(_DEEPEST + 2)]
