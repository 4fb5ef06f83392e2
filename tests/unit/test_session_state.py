"""What sessions and balancer tell each other survives the way, and nonsense is nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.core.session_state import (
    MAX_STATE_BYTES,
    Floor,
    Moved,
    SessionState,
    format_floor,
    format_moved,
    format_state,
    parse_floor,
    parse_moved,
    parse_state,
)

FINGERPRINT = "0123456789abcdef"
TAGS = st.from_regex(r"[0-9a-f]{8}", fullmatch=True)
WORDS = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)


@given(
    version=st.none() | st.integers(0, 10**18),
    has_user=st.none() | st.booleans(),
    ended=st.just("") | WORDS,
    tag=st.just("") | TAGS,
)
def test_a_portable_state_survives_the_way(version, has_user, ended, tag):
    state = SessionState(True, version, FINGERPRINT, "", has_user, ended, tag)
    assert parse_state(format_state(state).encode()) == state


@given(WORDS)
def test_a_pinned_state_survives_the_way(why):
    state = SessionState(False, why=why)
    assert parse_state(format_state(state).encode()) == state


def test_the_documented_form():
    assert parse_state(b"portable; v=12; fp=0123456789abcdef; user") == SessionState(
        True, 12, FINGERPRINT, has_user=True
    )
    assert parse_state(b"portable;fp=0123456789abcdef;later=1") == SessionState(True, None, FINGERPRINT)


@pytest.mark.parametrize(
    "value", [b"", b"portable2; fp=0123456789abcdef", b"\xff", b"p" * (MAX_STATE_BYTES + 1)]
)
def test_nonsense_is_no_state(value):
    assert parse_state(value) is None


@pytest.mark.parametrize(
    "value", [b"portable", b"portable; fp=x", b"portable; fp=0123456789ABCDEF", b"portable; v=1"]
)
def test_without_a_fingerprint_a_session_is_pinned(value):
    parsed = parse_state(value)
    assert parsed is not None
    assert not parsed.is_portable


@pytest.mark.parametrize("version", [b"-1", b"01", b"1e3", b"9" * 20, b""])
def test_a_version_that_is_none_is_not_known(version):
    parsed = parse_state(b"portable; fp=0123456789abcdef; v=" + version)
    assert parsed is not None
    assert parsed.version is None


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(value):
    parse_state(value)


def test_a_move_survives_the_way():
    moved = Moved("web-1.b", "overload")
    assert format_moved(moved) == "from=web-1.b; why=overload"
    assert parse_moved(format_moved(moved)) == moved


@pytest.mark.parametrize(
    "value", ["", "from=B", "why=overload", "from=; why=x", "from=B\n; why=overload", "from=B; why=Über"]
)
def test_nonsense_is_no_move(value):
    assert parse_moved(value) is None


@given(st.integers(0, 10**18), st.just("") | TAGS)
def test_a_floor_survives_the_way(version, tag):
    assert parse_floor(format_floor(Floor(version, tag))) == Floor(version, tag)


@pytest.mark.parametrize(
    ("value", "floor"),
    [
        ("12", Floor(12)),
        ("12;s=1a2b3c4d", Floor(12, "1a2b3c4d")),
        ("12; s=x", Floor(12)),
        ("12; later=1a2b3c4d", Floor(12)),
        *[(text, Floor(0)) for text in ("", "-3", "1.5", "9" * 30, "\u0661", "x; s=1a2b3c4d")],
    ],
)
def test_a_floor_that_is_none_is_reached_by_all(value, floor):
    assert parse_floor(value) == floor
