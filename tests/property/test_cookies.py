"""Reading and editing cookies, against the plain reading of RFC 6265."""

from datetime import UTC, datetime
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from limpet.core.cookie_date import parse_cookie_date
from limpet.core.cookies import find_values, parse_set_cookie, remove

NAMES = st.sampled_from([b"limpet", b"limpet-cors", b"xlimpet", b"limpe", b"a", b""])
PAIRS = st.tuples(
    st.sampled_from([b"", b" ", b"\t "]), NAMES, st.sampled_from([b"=", b""]), st.binary(max_size=6)
)
HEADERS = st.lists(PAIRS.map(b"".join), max_size=6).map(b";".join) | st.binary(max_size=60)
OURS = frozenset({b"limpet", b"limpet-cors"})


def plain_reading(header, name):
    values = []
    for pair in header.split(b";"):
        stripped = pair.strip(b" \t")
        if stripped.startswith(name + b"="):
            value = stripped[len(name) + 1 :]
            is_quoted = len(value) >= 2 and value[:1] == value[-1:] == b'"'
            values.append(value[1:-1] if is_quoted else value)
    return values


@given(HEADERS)
def test_every_value_is_found_in_order(header):
    assert find_values(header, b"limpet") == plain_reading(header, b"limpet")


@given(HEADERS)
def test_ours_are_removed_and_all_others_stay_as_they_are(header):
    rest = remove(header, OURS)
    for name in OURS:
        assert find_values(rest, name) == []
    kept = [pair for pair in header.split(b";") if pair.partition(b"=")[0].strip(b" \t") not in OURS]
    assert rest.strip(b" \t") == b";".join(kept).strip(b" \t")


@given(st.binary(max_size=200))
def test_whatever_a_target_sets_is_read_without_an_error(header):
    for value in (header, b"sid=1; Expires=" + header, b"sid=1; Max-Age=" + header):
        parsed = parse_set_cookie(value, 1_700_000_000)
        assert parsed is None or parsed.name


@given(st.datetimes(datetime(1970, 1, 1), datetime(2069, 12, 31)))  # noqa: DTZ001
def test_every_date_of_http_is_read(naive):
    moment = naive.replace(microsecond=0, tzinfo=UTC)
    expected_s = moment.timestamp()
    assert parse_cookie_date(format_datetime(moment, usegmt=True).encode()) == expected_s
    assert parse_cookie_date(moment.strftime("%A, %d-%b-%y %H:%M:%S GMT").encode()) == expected_s
    assert parse_cookie_date(moment.ctime().encode()) == expected_s
