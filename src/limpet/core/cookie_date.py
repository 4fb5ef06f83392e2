"""Dates as browsers read them in Set-Cookie.

Apps write `Expires` in many ways, and browsers accept nearly all of them; a balancer that read
another date would end a pin before its session, or after it. Parsers of mail and HTTP dates do
not do: they refuse common forms, honour zones that browsers ignore, or take a date without a
zone for local time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_DELIMITERS = re.compile(rb"[\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME = re.compile(rb"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_DAY = re.compile(rb"([0-9]{1,2})(?![0-9])")
_YEAR = re.compile(rb"([0-9]{2,4})(?![0-9])")
_MONTHS = b"jan feb mar apr may jun jul aug sep oct nov dec".split()


def parse_cookie_date(text: bytes) -> float | None:
    """Return a date as seconds since the epoch; None if a browser would ignore it.

    Source: RFC 6265 section 5.1.1, step by step: zones and days of the week are ignored.
    """
    clock = day = month = year = None
    for token in _DELIMITERS.split(text):
        if clock is None and (match := _TIME.match(token)):
            clock = match
        elif day is None and (match := _DAY.match(token)):
            day = int(match[1])
        elif month is None and token[:3].lower() in _MONTHS:
            month = _MONTHS.index(token[:3].lower()) + 1
        elif year is None and (match := _YEAR.match(token)):
            year = _full_year(int(match[1]))
    if clock is None or day is None or month is None or year is None or year < 1601:
        return None
    try:
        hour, minute, second = (int(part) for part in clock.groups())
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:  # the 31st of February, or hour 24
        return None


def _full_year(year: int) -> int:
    if year > 99:
        return year
    return year + 1900 if year >= 70 else year + 2000
