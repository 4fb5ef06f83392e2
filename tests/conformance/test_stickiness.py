"""One suite over every kind of stickiness: what all of them must do."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import limpet.core.stickiness
from limpet.core.clock import Now
from limpet.core.key_ring import KeyRing
from limpet.core.request import FieldBlock, RequestHead, ResponseHead
from limpet.core.stickiness import KINDS
from limpet.core.stickiness.contract import StickyStatus
from limpet.core.stickiness.settings import Sealing, StickinessSettings

SEALING = Sealing(KeyRing([b"k" * 32]), os.urandom)
SETTINGS = StickinessSettings(group="web", app_cookie="sid", header=b"x-session", exempt_paths=("/static/*",))
SHARED = {
    "__init__",
    "carrying",
    "client_key",
    "contract",
    "first_visits",
    "settings",
    "ticket",
    "ticket_cookies",
}
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param](SETTINGS, SEALING)


def test_every_file_is_in_the_table_under_its_own_name():
    files = {path.stem for path in Path(limpet.core.stickiness.__file__).parent.glob("*.py")}
    assert files - SHARED == set(KINDS) - {"source_ip", "header"}  # these two share client_key.py
    for name, make in KINDS.items():
        assert make(SETTINGS, SEALING).kind == name


def test_kinds_and_statuses_are_documented():
    text = (DOCS / "stickiness.md").read_text()
    for name in KINDS:
        assert f"`{name}`" in text
    for status in StickyStatus:
        assert f"`{status}`" in text, status


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=100), st.text(max_size=20), st.binary(max_size=20))
def test_whatever_a_client_sends_is_found_without_an_error(name, cookie, client, value):
    kind = KINDS[name](SETTINGS, SEALING)
    for sent in (cookie, b"limpet=" + cookie, b"sid=1; limpet-app=" + cookie):
        block = FieldBlock([(b"x-session", value)], cookie=sent)
        finding = kind.find(RequestHead(b"GET", b"/", block, client), {}, Now(1_700_000_000, 0))
        assert isinstance(finding.status, StickyStatus)
        assert finding.target_id is None


@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(
        st.tuples(
            st.sampled_from([b"set-cookie", b"cache-control", b"x-session", b"expires"]),
            st.binary(max_size=60),
        ),
        max_size=4,
    ),
)
def test_whatever_a_target_answers_is_bound_without_an_error(name, headers):
    kind = KINDS[name](SETTINGS, SEALING)
    asked = RequestHead(b"GET", b"/", FieldBlock([]), "10.0.0.1")
    now = Now(1_700_000_000, 0)
    binding = kind.bind(asked, kind.find(asked, {}, now), "A", ResponseHead(200, headers), now)
    for cookie in binding.set_cookies:
        assert b"\r" not in cookie
        assert b"\n" not in cookie


def test_exempt_paths_are_exempt_from_every_kind(kind):
    asked = RequestHead(b"GET", b"/static/app.js", FieldBlock([]), "10.0.0.1")
    finding = kind.find(asked, {}, Now(0, 0))
    assert finding.is_settled
    assert finding.status in {StickyStatus.EXEMPT, StickyStatus.OFF}
    assert not kind.bind(asked, finding, "A", ResponseHead(200, []), Now(0, 0)).set_cookies


def test_what_was_bound_is_found_and_has_a_key(kind):
    """A pin without a key could not be placed when its target cannot serve it."""
    now, headers = Now(1_700_000_000, 0), [(b"x-session", b"one")]
    first = RequestHead(b"GET", b"/", FieldBlock(headers), "10.0.0.1")
    answer = ResponseHead(200, [(b"set-cookie", b"sid=1"), (b"cache-control", b"private")])
    finding = kind.find(first, {}, now)
    if finding.is_settled:
        assert kind.kind == "off"
        return
    set_cookies = kind.bind(first, finding, "A", answer, now).set_cookies
    cookie = b"; ".join([b"sid=1", *(value.split(b";")[0] for value in set_cookies)])
    again = kind.find(RequestHead(b"GET", b"/", FieldBlock(headers, cookie=cookie), "10.0.0.1"), {}, now)
    assert (again.status, again.target_id) == (StickyStatus.FOUND, "A")
    assert again.session_key is not None
    assert all(value.split(b"=")[0] in kind.own_cookies for value in set_cookies)
