"""Dates as browsers read them."""

import os
import time

import pytest

from limpet.core.cookie_date import parse_cookie_date

OCTOBER_S = 1445412480  # Wed, 21 Oct 2015 07:28:00 UTC


@pytest.fixture(autouse=True)
def _far_from_greenwich(monkeypatch):
    before = os.environ.get("TZ")
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    assert os.environ.get("TZ") == before
    time.tzset()


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        # the three forms of HTTP, RFC 9110 section 5.6.7
        (b"Wed, 21 Oct 2015 07:28:00 GMT", OCTOBER_S),
        (b"Wednesday, 21-Oct-15 07:28:00 GMT", OCTOBER_S),
        (b"Wed Oct 21 07:28:00 2015", OCTOBER_S),
        # what apps write
        (b"Wed, 21-Oct-2015 07:28:00 UTC", OCTOBER_S),
        (b"Wed Oct 21 2015 07:28:00 GMT+0200 (CEST)", OCTOBER_S),
        (b"Wed, 21 Oct 2015 07:28:00 +0200", OCTOBER_S),
        (b"Wed, 21 Oct 2015 07:28:00 EST", OCTOBER_S),
        (b"21 OCTOBER 2015 7:28:0", OCTOBER_S),
        (b"2015 Oct 21 07:28:00", OCTOBER_S),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799),
        (b"Thu, 01-Jan-70 00:00:00 GMT", 0),
        (b"Sun, 31 Dec 1969 23:59:59 GMT", -1),
        (b"Thu, 31 Dec 69 23:59:59 GMT", 3155759999),
        # what browsers ignore
        (b"", None),
        (b"0", None),
        (b"-1", None),
        (b"nonsense", None),
        (b"Wed, 21 Oct 2015", None),
        (b"Wed, 21 Oct 07:28:00", None),
        (b"Wed, 21 2015 07:28:00", None),
        (b"Wed, 32 Oct 2015 07:28:00 GMT", None),
        (b"Wed, 0 Oct 2015 07:28:00 GMT", None),
        (b"Tue, 31 Feb 2015 07:28:00 GMT", None),
        (b"Wed, 21 Oct 1600 07:28:00 GMT", None),
        (b"Wed, 21 Oct 2015 24:28:00 GMT", None),
        (b"Wed, 21 Oct 2015 07:60:00 GMT", None),
        (b"Wed, 21 Oct 2015 07:28:60 GMT", None),
        (b"Wed, 21 Oct 20155 07:28:00 GMT", None),
    ],
)
def test_parse(text, expected_s):
    assert parse_cookie_date(text) == expected_s
