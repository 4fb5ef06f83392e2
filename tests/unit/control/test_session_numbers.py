"""Who lives where, what moved them, and who may have been logged out."""

from limpet.control.session_numbers import count_residents, session_events
from limpet.core.active_sessions import Residence, join_residences
from limpet.core.relief.settings import Assumed
from limpet.core.stickiness.contract import StickyStatus
from limpet.proxy.counters import BUCKETS_S, FIRST_BUCKET, Outcome

HERE = [
    Residence("A", "", 1.0),
    Residence("A", "memory", 50.0),
    Residence("A", "unknown", 20.0),
    Residence("A", "websocket", 0.0),
    Residence("B", "", 2.0),
]


def test_portable_and_pinned_are_told_apart():
    found = count_residents(HERE, Assumed.AUTO)
    assert (found["A"].portable, dict(found["A"].pinned)) == (1, {"memory": 1, "unknown": 1, "websocket": 1})
    assert found["A"].last_pinned_idle_s == 20.0  # nobody knows when a WebSocket ends
    assert (found["B"].portable, found["B"].pinned.total(), found["B"].last_pinned_idle_s) == (1, 0, 0.0)


def test_the_configuration_can_say_it_for_all():
    portable = count_residents(HERE, Assumed.PORTABLE)["A"]
    assert (portable.portable, dict(portable.pinned)) == (3, {"websocket": 1})
    pinned = count_residents(HERE, Assumed.PINNED)["B"]
    assert (pinned.portable, dict(pinned.pinned)) == (0, {"configured": 1})


def test_of_two_views_the_later_counts_and_an_open_tunnel():
    total = {b"a": Residence("A", "memory", 5.0), b"b": Residence("A", "websocket", 9.0)}
    join_residences(
        total,
        {b"a": Residence("B", "", 1.0), b"b": Residence("B", "", 1.0), b"c": Residence("C", "", 3.0)},
    )
    assert total == {
        b"a": Residence("B", "", 1.0),
        b"b": Residence("B", "websocket", 1.0),
        b"c": Residence("C", "", 3.0),
    }


def test_events_are_read_from_what_became_of_requests():
    def row(requests):
        made = [0.0] * (FIRST_BUCKET + 2 * (len(BUCKETS_S) + 1))
        made[FIRST_BUCKET] = requests
        return made

    events = session_events(
        {
            Outcome("web", "A", 200, StickyStatus.BOUND, None, 0): row(100),
            Outcome("web", "B", 200, StickyStatus.MOVED, None, 0): row(3),
            Outcome("web", "B", 302, StickyStatus.MOVED, None, 0, "moved"): row(1),
            Outcome("web", "B", 200, StickyStatus.LENT, None, 0): row(7),
            Outcome("web", "B", 200, StickyStatus.TARGET_DRAINING, None, 0): row(2),
            Outcome("web", "B", 200, StickyStatus.TARGET_LEAVING, None, 0): row(4),
            Outcome("web", "", 503, StickyStatus.TARGET_GONE, None, 0): row(5),  # reached nobody
        }
    )
    assert events["web"].as_json() == {
        "moves": {"balance": 4, "drain": 6},
        "lent": 7,
        "suspected_logouts": {"moved": 1},
    }
