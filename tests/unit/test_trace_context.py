"""traceparent is read as W3C says, and what cannot be read begins a trace of its own."""

from __future__ import annotations

import pytest

from limpet.core.trace_context import begin

TRACE, PARENT = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"


def bytes_of(count: int) -> bytes:
    return b"\x01" * count


@pytest.mark.parametrize(
    ("flags", "is_sampled"), [(b"00", False), (b"01", True), (b"03", True), (b"fe", False)]
)
def test_a_trace_is_gone_on_with(flags: bytes, is_sampled: bool) -> None:
    trace = begin(b"00-%b-%b-%b" % (TRACE, PARENT, flags), bytes_of, samples=lambda: not is_sampled)
    assert trace.trace_id.hex().encode() == TRACE
    assert trace.parent_id is not None
    assert trace.parent_id.hex().encode() == PARENT
    assert trace.is_sampled is is_sampled
    assert trace.header == b"00-%b-%b-%02x" % (TRACE, b"01" * 8, is_sampled)


def test_a_later_version_may_say_more() -> None:
    assert begin(b"cc-%b-%b-01-what-else" % (TRACE, PARENT), bytes_of, samples=bool).parent_id is not None


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"garbage",
        b"ff-%b-%b-01" % (TRACE, PARENT),
        b"00-%b-%b-01-more" % (TRACE, PARENT),
        b"00-%b-%b-01" % (b"0" * 32, PARENT),
        b"00-%b-%b-01" % (TRACE, b"0" * 16),
        b"00-%b-%b-01" % (TRACE.upper(), PARENT),
        b"00-%b-%b-1" % (TRACE, PARENT),
        b"00-%b-%b-01" % (TRACE[:-1], PARENT),
    ],
)
def test_anything_else_begins_a_trace(header: bytes | None) -> None:
    trace = begin(header, bytes_of, samples=lambda: True)
    assert (trace.trace_id, trace.parent_id, trace.is_sampled) == (b"\x01" * 16, None, True)
