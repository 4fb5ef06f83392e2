"""Counting sessions in a bounded table."""

from limpet.core.active_sessions import ActiveSessions
from limpet.core.address import Address
from limpet.core.target import Target, TargetState

A, B = [TargetState(Target(id=name, address=Address(host="127.0.0.1", port=1))) for name in "AB"]


def test_each_session_counts_once_where_it_was_last():
    sessions = ActiveSessions(300)
    for second in range(5):
        sessions.touch(b"one", A, second)
        sessions.touch(b"two", B, second)
    sessions.touch(b"two", A, 6)
    assert sessions.counts(7) == {"A": 2}


def test_a_session_counts_for_the_window_after_its_last_request():
    sessions = ActiveSessions(300)
    sessions.touch(b"one", A, 0)
    sessions.touch(b"two", A, 200)
    assert sessions.counts(300) == {"A": 2}
    assert sessions.counts(301) == {"A": 1}
    assert sessions.counts(501) == {}


def test_a_full_table_forgets_the_longest_unseen():
    sessions = ActiveSessions(300, max_sessions=3)
    for number, key in enumerate([b"a", b"b", b"c"]):
        sessions.touch(key, A, number * 2)
    sessions.touch(b"a", A, 10)
    sessions.touch(b"d", B, 11)
    assert sessions.counts(11) == {"A": 2, "B": 1}
    assert sessions.is_truncated


def test_a_full_table_of_old_sessions_makes_room_without_loss():
    sessions = ActiveSessions(10, max_sessions=2)
    sessions.touch(b"a", A, 0)
    sessions.touch(b"b", A, 1)
    sessions.touch(b"c", A, 100)
    assert sessions.counts(100) == {"A": 1}
    assert not sessions.is_truncated
