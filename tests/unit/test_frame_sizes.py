"""Frames are followed over any cut of the stream, and a length that is too large is seen at once."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.errors import ProtocolError
from limpet.proxy.http2.frame_size import MAX_FRAME_BYTES, FrameSizes


def frame(length: int) -> bytes:
    return length.to_bytes(3, "big") + bytes(6) + bytes(length)


@given(st.lists(st.integers(0, 40), max_size=8), st.lists(st.integers(0, 400), max_size=20))
def test_any_cut(lengths: list[int], cuts: list[int]) -> None:
    data = b"preface" + b"".join(map(frame, lengths)) + frame(MAX_FRAME_BYTES + 1)[:3]
    places = sorted({0, len(data) - 1, len(data), *(cut for cut in cuts if cut < len(data))})
    parts = [data[a:b] for a, b in itertools.pairwise(places)]
    sizes = FrameSizes(7)
    for part in parts[:-1]:
        sizes.feed(part)
    with pytest.raises(ProtocolError):
        sizes.feed(parts[-1])


def test_the_largest_frame_is_taken() -> None:
    sizes = FrameSizes(0)
    sizes.feed(frame(MAX_FRAME_BYTES) * 2)
