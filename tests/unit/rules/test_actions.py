"""What rules do with a request: where it is sent, what is changed in passing."""

import os
import sys
from pathlib import Path
from random import Random

import pytest

from limpet.config import compile_rules
from limpet.core.clock import Now
from limpet.core.key_ring import KeyRing
from limpet.core.request import ResponseHead
from limpet.core.rules.field_edits import FieldEdits
from limpet.core.rules.group_pin import GroupPin, bind_group, leave_group
from limpet.core.rules.rule import Surroundings
from limpet.core.stickiness import KINDS
from limpet.core.stickiness.settings import Sealing
from limpet.errors import ErrorKind

sys.path.insert(0, str(Path(__file__).parent))

from kit import request, settings, table

SEALING = Sealing(KeyRing([b"k" * 32]), os.urandom)
NOW = Now(1_700_000_000, 0)


class Group:
    """As much of a target group as a rule looks at."""

    def __init__(self, *, is_serving=True):
        self.available = ("a target",) if is_serving else ()
        self.by_id = {}


def surroundings(rules, now=NOW, seed=1, **groups):
    pins = {
        name: GroupPin(KINDS[pin.kind](pin.stickiness, SEALING), pin, SEALING)
        for name, pin in compile_rules.group_pins(settings(rules)).items()
    }
    return Surroundings(
        {name: Group(is_serving=serves) for name, serves in groups.items()}, pins, now, Random(seed)
    )


def split(blue=1, green=1):
    groups = [{"group": "blue", "weight": blue}, {"group": "green", "weight": green}]
    return [{"name": "split", "forward": groups, "group_stickiness_s": 100}]


def ticket_after(rules, around, asked, now=NOW):
    verdict = table(rules).decide(asked, around)
    binding = bind_group(verdict.choice, asked, ResponseHead(200, [(b"cache-control", b"no-store")]), now)
    leave_group(verdict.choice, now)
    return verdict.group, [cookie.partition(b";")[0] for cookie in binding.set_cookies]


@pytest.mark.parametrize(
    ("redirect", "asked", "location"),
    [
        ({"protocol": "https"}, {}, b"https://shop.example/a?b=c"),
        ({"host": "x.example"}, {"is_https": True}, b"https://x.example/a?b=c"),
        ({"host": "x.example"}, {"host": "shop.example:443", "is_https": True}, b"https://x.example/a?b=c"),
        (
            {"host": "x.example"},
            {"host": "shop.example:8443", "is_https": True},
            b"https://x.example:8443/a?b=c",
        ),
        ({"protocol": "http"}, {"is_https": True}, b"http://shop.example/a?b=c"),
        ({"path": "/#{host}/#{port}/#{protocol}"}, {}, b"http://shop.example/shop.example/80/http?b=c"),
        ({"query": "old=#{path}"}, {"host": "[::1]:81"}, b"http://[::1]:81/a?old=a"),
    ],
)
def test_a_redirect_fills_in_what_it_leaves_out(redirect, asked, location):
    verdict = table([{"redirect": redirect}]).decide(request("/a?b=c", **asked), None)
    assert verdict.reply.fields == ((b"Location", location),)
    assert verdict.reply.status == 302


def test_a_redirect_needs_a_host():
    rules = table([{"redirect": {"protocol": "https"}}])
    assert rules.decide(request(host=""), None).error is ErrorKind.BAD_REQUEST


def test_edits_leave_all_else_as_it_was():
    edits = FieldEdits.of({"X-A": "1"}, {"X-B": "2"}, ("X-C",))
    head = b"GET / HTTP/1.1\r\nx-a: 0\r\nX_C: 3\r\nX-B: 0\r\nHost: x\r\n"
    assert edits.edit_head(head) == b"GET / HTTP/1.1\r\nX-B: 0\r\nHost: x\r\nX-A: 1\r\nX-B: 2\r\n"
    assert edits.edit_fields([(b"x-a", b"0"), (b"host", b"x")]) == [
        (b"host", b"x"),
        (b"x-a", b"1"),
        (b"x-b", b"2"),
    ]
    assert FieldEdits.of({}, {}, ("A",)).edit_head(b"HTTP/1.1 200 OK\r\nA: 1\r\n") == b"HTTP/1.1 200 OK\r\n"


def test_a_pin_slides_and_ends():
    rules = split()
    around = surroundings(rules, blue=True, green=True)
    group, (cookie,) = ticket_after(rules, around, request())
    asked = request()
    asked.fields.cookie = cookie

    def at(seconds, **groups):
        now = Now(NOW.wall_s + seconds, seconds)
        return Surroundings(around.groups, around.group_pins, now, Random(seconds)), now

    only_other = split(**{group: 0})
    soon, _ = at(5)
    verdict = table(only_other).decide(asked, soon)
    assert (verdict.group, verdict.why) == (group, f"pinned to {group}")
    assert verdict.choice.finding.is_settled
    later, now = at(50)
    kept, renewed = ticket_after(only_other, later, asked, now)
    assert (kept, len(renewed)) == (group, 1)
    end, _ = at(101)
    assert table(only_other).decide(asked, end).group != group
    asked.fields.cookie = renewed[0]
    assert table(only_other).decide(asked, end).group == group


def test_parallel_requests_of_a_client_that_must_move_meet_again():
    rules = [{"name": "split", "forward": ["blue", "green", "api"]}]
    around = surroundings(rules, blue=True, green=True, api=True)
    group, (cookie,) = ticket_after(rules, around, request())
    asked = request()
    asked.fields.cookie = cookie
    gone = {name: Group(is_serving=name != group) for name in ("blue", "green", "api")}
    moved = {
        table(rules).decide(asked, Surroundings(gone, around.group_pins, NOW, Random(seed))).group
        for seed in range(30)
    }
    assert len(moved) == 1
    assert moved != {group}


def test_a_group_without_a_target_gets_nobody_unless_all_are():
    rules = split()
    one = {
        table(rules).decide(request(), surroundings(rules, seed=s, blue=True, green=False)).group
        for s in range(20)
    }
    assert one == {"blue"}
    none = {table(rules).decide(request(), surroundings(rules, seed=s, blue=False)).group for s in range(20)}
    assert none == {"blue", "green"}


def test_new_clients_are_drawn_by_weight():
    rules = split(blue=3, green=1)
    around = surroundings(rules, blue=True, green=True)
    made = table(rules)
    drawn = [
        made.decide(request(headers=[("user-agent", str(number))]), around).group for number in range(800)
    ]
    assert 520 < drawn.count("blue") < 680  # six standard deviations around 600
