from __future__ import annotations

import contextlib
import datetime as dt
import enum
import pickle
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from limpet.core.key_ring import KeyRing
from limpet.sessions.codec import Sealing, pack, unpack
from limpet.sessions.errors import UndecodableError, UnsupportedValueError

# Whole seconds, as all zones have: CPython reads an offset of less than one as UTC.
ZONES = st.none() | st.integers(-82800, 82800).map(lambda s: dt.timezone(dt.timedelta(seconds=s)))
HASHABLE = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.datetimes(timezones=ZONES)
)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers(-5, 5), inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(HASHABLE, max_size=4)
        | st.frozensets(st.tuples(HASHABLE), max_size=4)
    ),
    max_leaves=8,
)


def _types(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _types(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [_types(each) for each in value]
    return type(value)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(VALUES)
def test_values_come_back_with_their_types(value: Any) -> None:
    back = unpack(pack(value))
    assert back == value
    assert _types(back) == _types(value)
    assert pack(back) == pack(value)


def test_equal_sets_have_equal_bytes() -> None:
    assert pack({"a", "b", "c", 1}) == pack({1, "c", "b", "a"})


def test_equal_values_of_other_types_have_other_bytes() -> None:
    assert len({pack(value) for value in (1, 1.0, True, Decimal(1))}) == 4


class Colour(enum.Enum):
    RED = 1


class SafeText(str):
    __slots__ = ()


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    "value", [object(), Colour.RED, lambda: None, {"a": object()}, {object()}, 1j, ENDLESS]
)
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(UnsupportedValueError):
        pack(value)


def test_a_subclass_is_stored_as_its_base() -> None:
    assert type(unpack(pack(SafeText("x")))) is str


def test_text_that_is_safe_for_html_stays_so() -> None:
    back = unpack(pack([Markup("<b>")]))
    assert back == [Markup("<b>")]
    assert type(back[0]) is Markup


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x81",
        b"\x91" * 5000,
        b"\xdf\xff\xff\xff\xff",
        b"\xc7\x03\x04abc",
        b"\xc7\x03\x63abc",
        b"\xc7\x03\x08abc",
        b"\x01\x01",
        b"\xa2\xff\xfe",
        b"\x81\x90\x01",
        pickle.dumps(print),
        pack({"a": 1})[:-1],
    ],
)
def test_hostile_bytes_are_undecodable_never_empty(data: bytes) -> None:
    with pytest.raises(UndecodableError):
        unpack(data)


@given(st.binary(max_size=60))
def test_no_bytes_do_worse_than_be_refused(data: bytes) -> None:
    with contextlib.suppress(UndecodableError):
        pack(unpack(data))


OLD, NEW = KeyRing([b"o" * 32]), KeyRing([b"n" * 32, b"o" * 32])


def _sealing(ring: KeyRing, *, is_on: bool = True) -> Sealing:
    return Sealing(ring, lambda n: b"\x07" * n, is_on=is_on)


def test_sealed_values_open_with_every_key_of_the_ring() -> None:
    sealed = _sealing(OLD).seal(b"secret", context=b"here")
    assert b"secret" not in sealed
    assert _sealing(NEW, is_on=False).open(sealed, context=b"here") == b"secret"


def test_plain_values_stay_readable_when_sealing_is_switched_on() -> None:
    plain = _sealing(NEW, is_on=False).seal(b"text", context=b"here")
    assert _sealing(NEW).open(plain, context=b"here") == b"text"


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda _: b"", lambda _: b"\x09x"]
)
def test_damaged_seals_are_undecodable(damage: Any) -> None:
    sealed = _sealing(OLD).seal(b"secret", context=b"here")
    with pytest.raises(UndecodableError):
        _sealing(OLD).open(damage(sealed), context=b"here")


def test_a_seal_does_not_open_elsewhere_or_without_its_key() -> None:
    sealed = _sealing(NEW).seal(b"secret", context=b"here")
    with pytest.raises(UndecodableError):
        _sealing(NEW).open(sealed, context=b"there")
    with pytest.raises(UndecodableError):
        _sealing(OLD).open(sealed, context=b"here")


def test_dates_keep_their_offset() -> None:
    zone = dt.timezone(dt.timedelta(hours=5, minutes=45))
    moment = dt.datetime(2026, 11, 24, 12, 0, 0, 5, zone)
    assert unpack(pack(moment)).utcoffset() == zone.utcoffset(None)
    assert unpack(pack(UUID(int=7))) == UUID(int=7)
