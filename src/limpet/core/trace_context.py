"""The place of a request in a trace: the `traceparent` header.

Source: W3C Trace Context, https://www.w3.org/TR/trace-context/, sections 3.2 and 4.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_HEADER = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


class Trace(NamedTuple):
    """What limpet's span of a request is called.

    Attributes:
        trace_id: 16 bytes; of the whole trace.
        span_id: 8 bytes; of limpet's part.
        parent_id: 8 bytes; of the client's part; None if the trace begins here.
        is_sampled: whether it is recorded.
    """

    trace_id: bytes
    span_id: bytes
    parent_id: bytes | None
    is_sampled: bool

    @property
    def header(self) -> bytes:
        """The value of `traceparent` for the target."""
        return b"00-%b-%b-%02x" % (
            self.trace_id.hex().encode(),
            self.span_id.hex().encode(),
            self.is_sampled,
        )


def begin(header: bytes | None, entropy: Callable[[int], bytes], *, samples: Callable[[], bool]) -> Trace:
    """Return the trace that a request belongs to, a new one if it brings none that can be read.

    Args:
        header: the value of `traceparent`; None if there is none.
        entropy: gives n random bytes.
        samples: decides whether a trace that begins here is recorded.
    """
    found = _HEADER.fullmatch(header) if header is not None else None
    if found is not None and _is_valid(found):
        flags = int(found[4], 16)
        parent = bytes.fromhex(found[3].decode())
        return Trace(bytes.fromhex(found[2].decode()), entropy(8), parent, bool(flags & _SAMPLED))
    return Trace(entropy(16), entropy(8), None, samples())


def _is_valid(found: re.Match[bytes]) -> bool:
    # Version ff is forbidden, 00 has exactly four parts, and ids of zeros mean none.
    version, trace_id, parent_id, _, more = found.groups()
    is_known = version != b"ff" and (version != b"00" or more is None)
    return is_known and trace_id.strip(b"0") != b"" and parent_id.strip(b"0") != b""
