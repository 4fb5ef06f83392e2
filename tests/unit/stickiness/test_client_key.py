"""Stickiness by the client's address or a header: the table."""

import os

import pytest

from limpet.core.clock import Now
from limpet.core.key_ring import KeyRing
from limpet.core.request import FieldBlock, RequestHead, ResponseHead
from limpet.core.stickiness import KINDS, client_key
from limpet.core.stickiness.contract import StickyStatus
from limpet.core.stickiness.settings import Sealing, StickinessSettings

SEALING = Sealing(KeyRing([b"k" * 32]), os.urandom)


def kind(name, **settings):
    return KINDS[name](StickinessSettings(group="web", header=b"x-session", **settings), SEALING)


def request(value=b"one"):
    headers = [] if value is None else [(b"x-session", value)]
    return RequestHead(b"GET", b"/", FieldBlock(headers), (value or b"").decode())


def send(by_key, value=b"one", *, target="A", at_s=0.0, answer=()):
    """Let a client's request be answered by `target`; return what was found of it before."""
    asked = request(value)
    found = by_key.find(asked, {}, Now(0, at_s))
    if not found.is_settled:
        by_key.bind(asked, found, target, ResponseHead(200, list(answer)), Now(0, at_s))
    return found


@pytest.mark.parametrize("name", ["source_ip", "header"])
def test_a_key_is_found_after_its_first_answer_and_forgotten_when_idle(name):
    by_key = kind(name, duration_s=100)
    first = send(by_key)
    assert (first.status, first.target_id) == (StickyStatus.ABSENT, None)
    assert first.session_key is not None
    for at_s in (99, 198, 297):
        assert send(by_key, at_s=at_s).target_id == "A"
    assert send(by_key, at_s=397).status is StickyStatus.ABSENT


@pytest.mark.parametrize("name", ["source_ip", "header"])
def test_a_late_answer_does_not_undo_a_move(name):
    by_key = kind(name)
    send(by_key)
    slow = by_key.find(request(), {}, Now(0, 1))
    moved = by_key.find(request(), {}, Now(0, 2))
    by_key.bind(request(), moved, "B", ResponseHead(200, []), Now(0, 3))
    by_key.bind(request(), slow, "A", ResponseHead(200, []), Now(0, 4))
    assert by_key.find(request(), {}, Now(0, 5)).target_id == "B"


@pytest.mark.parametrize("name", ["source_ip", "header"])
def test_a_full_table_forgets_the_longest_unseen(name, monkeypatch):
    monkeypatch.setattr(client_key, "MAX_KEYS", 3)
    by_key = kind(name)
    for value in (b"one", b"two", b"three", b"one", b"four"):
        send(by_key, value)
    assert send(by_key, b"one").status is StickyStatus.FOUND
    assert by_key.find(request(b"two"), {}, Now(0, 0)).status is StickyStatus.ABSENT


def test_keys_are_not_kept_as_they_are():
    by_key = kind("header")
    send(by_key, b"secret-session")
    assert b"secret-session" not in repr(by_key._targets).encode()


def test_a_session_that_the_server_names_is_learned():
    by_key = kind("header")
    nameless = send(by_key, None, target="B", answer=[(b"x-session", b"made")])
    assert (nameless.status, nameless.session_key) == (StickyStatus.ABSENT, None)
    assert send(by_key, b"made").target_id == "B"
    send(by_key, b"made", target="B", answer=[(b"x-session", b"renewed")])
    assert send(by_key, b"renewed").target_id == "B"
