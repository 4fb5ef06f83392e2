"""The decision of a request: every way through the pipeline."""

import itertools
import os
from dataclasses import replace
from random import Random

import pytest

from limpet.core.active_sessions import ActiveSessions
from limpet.core.address import Address
from limpet.core.availability import availability
from limpet.core.balancing import POLICIES
from limpet.core.balancing.policy import PolicySettings
from limpet.core.clock import Now
from limpet.core.key_ring import KeyRing
from limpet.core.model import TargetGroup, TargetLimits
from limpet.core.request import FieldBlock, RequestHead, ResponseHead
from limpet.core.route import bind_response, finish, reroute, route
from limpet.core.stickiness import KINDS
from limpet.core.stickiness.contract import AfterRecovery, OnUnavailable, StickyStatus
from limpet.core.stickiness.settings import Sealing, StickinessSettings
from limpet.core.target import Health, Target, TargetState
from limpet.errors import ErrorKind

SEALING = Sealing(KeyRing([b"k" * 32]), os.urandom)
RNG = Random(1)
NOW = Now(1_700_000_000, 0)
OK = ResponseHead(200, [(b"cache-control", b"no-store")])


def group(healths, *, kind="lb_cookie", weights=None, limits=None, **settings):
    states = []
    for index, health in enumerate(healths):
        weight = weights[index] if weights else 1
        address = Address(host="127.0.0.1", port=1)
        state = TargetState(Target(id="ABCDEFGH"[index], address=address, weight=weight))
        state.health = health
        states.append(state)
    settings = {"group": "web", "header": b"x-session", "app_cookie": "sid"} | settings
    made = TargetGroup(
        name="web",
        by_id={state.id: state for state in states},
        available=(),
        policy=POLICIES["round_robin"](PolicySettings()),
        stickiness=KINDS[kind](StickinessSettings(**settings), SEALING),
        sessions=ActiveSessions(300),
        limits=limits or TargetLimits(),
    )
    return publish(made)


def publish(before, **healths):
    """Return the group's next snapshot, after these targets' healths changed."""
    for name, health in healths.items():
        before.by_id[name].health = health
    verdict = availability(before.by_id.values())
    for state in before.by_id.values():
        state.takes_sticky = state.id in verdict.keeps_sessions
    return replace(before, available=verdict.new_sessions, is_failing_open=verdict.is_failing_open)


def request(cookie=b"", *, client="10.0.0.1", agent=b"curl/8", headers=()):
    fields = FieldBlock([(b"user-agent", agent), *headers], host=b"shop", cookie=cookie)
    return RequestHead(b"GET", b"/", fields, client)


def visit(web, cookie=b"", now=NOW, **client):
    """Make one request from start to end; return its decision and the cookie that it leaves."""
    asked = request(cookie, **client)
    decision = route(web, asked, now, RNG)
    left = cookie
    for value in bind_response(decision, asked, OK, now).set_cookies:
        left = value.split(b";")[0]
    finish(decision, now)
    return decision, left


H, U, D, M, I = Health.HEALTHY, Health.UNHEALTHY, Health.DRAINING, Health.MAINTENANCE, Health.INITIAL


def test_new_sessions_take_turns_and_then_stay():
    web = group([H, H, H])
    homes = []
    for number in range(6):
        decision, cookie = visit(web, client=f"10.0.0.{number}")
        assert decision.status is StickyStatus.ABSENT
        assert decision.reason == "round_robin"
        assert [candidate.target_id for candidate in decision.candidates] == ["A", "B", "C"]
        homes.append((decision.target.id, cookie))
    assert sorted(home for home, _ in homes) == ["A", "A", "B", "B", "C", "C"]
    for home, cookie in homes * 3:
        decision, left = visit(web, cookie)
        assert (decision.target.id, decision.status, decision.reason) == (home, StickyStatus.BOUND, "sticky")
        assert left == cookie


def test_off_takes_turns_for_ever():
    web = group([H, H, H], kind="off")
    assert [visit(web)[0].target.id for _ in range(6)] == ["A", "B", "C", "A", "B", "C"]


@pytest.mark.parametrize(
    ("after", "status"),
    [
        (U, StickyStatus.TARGET_UNAVAILABLE),
        (M, StickyStatus.TARGET_UNAVAILABLE),
        (D, StickyStatus.TARGET_DRAINING),
    ],
)
def test_a_pin_whose_target_cannot_serve_moves_and_stays(after, status):
    web = group([H, H, H])
    _, cookie = visit(web)
    web = publish(web, A=after)
    decision, moved = visit(web, cookie)
    assert decision.status is status
    assert decision.target.id != "A"
    web = publish(web, A=H)
    assert visit(web, moved)[0].target.id == decision.target.id


def test_a_target_that_is_gone():
    web = group([H, H])
    _, cookie = visit(web)
    web = replace(web, by_id={"B": web.by_id["B"]}, available=(web.by_id["B"],))
    decision, _ = visit(web, cookie)
    assert (decision.status, decision.target.id) == (StickyStatus.TARGET_GONE, "B")


def test_unavailable_answers_503_and_nothing_else():
    web = group([H, H], on_unavailable=OnUnavailable.UNAVAILABLE)
    _, cookie = visit(web)
    web = publish(web, A=U)
    decision, left = visit(web, cookie)
    assert (decision.target, decision.error) == (None, ErrorKind.STICKY_TARGET_UNAVAILABLE)
    assert left == cookie
    assert visit(publish(web, A=H), cookie)[0].target.id == "A"


def test_a_lent_session_returns():
    web = group([H, H], after_recovery=AfterRecovery.TEMPORARY)
    _, cookie = visit(web)
    web = publish(web, A=U)
    decision, left = visit(web, cookie)
    assert (decision.target.id, decision.is_lent) == ("B", True)
    assert left == cookie
    assert visit(publish(web, A=H), left)[0].target.id == "A"


def test_weight_0_keeps_sessions_and_gets_no_new_one():
    web = group([H, H])
    _, cookie = visit(web)
    web.by_id["A"].weight = 0
    web = publish(web)
    assert visit(web, cookie)[0].target.id == "A"
    assert {visit(web, client=str(i))[0].target.id for i in range(5)} == {"B"}


def test_nobody_healthy_fails_open():
    web = publish(group([H, H]), A=U, B=I)
    assert web.is_failing_open
    assert {visit(web, client=str(i))[0].target.id for i in range(4)} == {"A", "B"}


def test_nobody_there_is_a_503():
    web = publish(group([H]), A=M)
    decision, _ = visit(web)
    assert (decision.target, decision.error) == (None, ErrorKind.NO_TARGET)


def test_new_sessions_avoid_full_targets_and_pinned_ones_do_not():
    web = group([H, H, H], limits=TargetLimits(max_in_flight=2))
    _, cookie = visit(web)
    web.by_id["A"].in_flight = 2
    assert {visit(web, client=str(i))[0].target.id for i in range(4)} == {"B", "C"}
    assert visit(web, cookie)[0].target.id == "A"
    for state in web.by_id.values():
        state.in_flight = 2
    assert visit(web)[0].target is not None


@pytest.mark.parametrize("kind", ["source_ip", "header"])
def test_a_client_key_stays_when_targets_are_added(kind):
    web = group([H, H, H], kind=kind)
    clients = [{"client": f"10.0.{i}.1", "headers": [(b"x-session", b"s%d" % i)]} for i in range(60)]
    homes = [visit(web, **client)[0].target.id for client in clients]
    assert len(set(homes)) == 3
    more = group([H] * 6, kind=kind)
    grown = publish(replace(more, stickiness=web.stickiness))
    assert [visit(grown, **client)[0].target.id for client in clients] == homes


def test_two_balancers_place_unknown_clients_alike():
    one, two = group([H, H, H], kind="source_ip"), group([H, H, H], kind="source_ip")
    for number in range(50):
        client = f"10.0.{number}.1"
        assert visit(one, client=client)[0].target.id == visit(two, client=client)[0].target.id


def test_a_session_that_a_response_names_is_learned():
    web = group([H, H, H], kind="header")
    asked = request()
    decision = route(web, asked, NOW, RNG)
    assert decision.status is StickyStatus.ABSENT
    bind_response(decision, asked, ResponseHead(200, [(b"x-session", b"made-by-the-server")]), NOW)
    for _ in range(5):
        again = route(web, request(headers=[(b"x-session", b"made-by-the-server")]), NOW, RNG)
        assert again.target is decision.target


def test_a_client_key_whose_target_fails_moves_once():
    web = group([H, H, H], kind="source_ip")
    home = visit(web)[0].target.id
    down = publish(web, **{home: U})
    moved = visit(down)[0].target.id
    assert moved != home
    up = publish(down, **{home: H})
    assert visit(up)[0].target.id == moved


def test_sessions_are_counted_where_they_are():
    web = group([H, H])
    cookies = [visit(web, client=str(i))[1] for i in range(4)]
    assert web.sessions.counts(0) == {}  # a client that never returns is no session
    for cookie in cookies:
        visit(web, cookie)
    assert web.sessions.counts(0) == {"A": 2, "B": 2}
    web = publish(web, A=U)
    for cookie in cookies:
        visit(web, cookie)
    assert web.sessions.counts(0) == {"B": 4}


# parallel first requests


def test_parallel_first_requests_go_to_one_target_and_get_one_ticket():
    web = group([H] * 5)
    asked = [request() for _ in range(8)]
    decisions = [route(web, one, NOW, RNG) for one in asked]
    assert len({decision.target.id for decision in decisions}) == 1
    assert [decision.status for decision in decisions[1:]] == [StickyStatus.JOINED] * 7
    opened = set()
    for one, decision in zip(asked, decisions, strict=True):
        (cookie,) = bind_response(decision, one, OK, NOW).set_cookies
        finding = web.stickiness.find(request(cookie.split(b";")[0]), web.by_id, NOW)
        opened.add((finding.ticket.ticket_id, finding.target_id))
    assert len(opened) == 1


def test_clients_one_after_the_other_take_turns():
    web = group([H] * 5)
    assert [visit(web)[0].target.id for _ in range(10)] == list("ABCDEABCDE")


def test_a_crowd_behind_one_address_is_spread():
    web = group([H] * 5)
    decisions = [route(web, request(), NOW, RNG) for _ in range(400)]
    shares = [sum(decision.target.id == name for decision in decisions) for name in "ABCDE"]
    assert max(shares) - min(shares) <= 8


def test_a_browser_may_be_late_for_half_a_second():
    web = group([H] * 5)
    browser = {"agent": b"Mozilla/5.0"}
    first = visit(web, **browser)[0]
    assert visit(web, now=Now(NOW.wall_s, 0.4), **browser)[0].target is first.target
    assert visit(web, now=Now(NOW.wall_s, 1.0), **browser)[0].target is not first.target


def test_a_visit_follows_its_first_request_to_another_target():
    web = group([H] * 3)
    asked = request()
    first = route(web, asked, NOW, RNG)
    again = reroute(first, web, asked, {first.target.id}, NOW, RNG)
    assert again.target is not first.target
    assert route(web, request(), NOW, RNG).target is again.target


ORDERS = list(itertools.permutations(range(8)))


def test_a_login_survives_parallel_first_requests_in_every_order_of_their_responses():
    """One jar, eight requests without a ticket in parallel, then a login: never out."""
    web = group([H] * 5)
    asked = [request(client="10.9.9.9") for _ in range(8)]
    decisions = [route(web, one, NOW, RNG) for one in asked]
    tickets = []
    for one, decision in zip(asked, decisions, strict=True):
        (cookie,) = bind_response(decision, one, OK, NOW).set_cookies
        tickets.append(cookie.split(b";")[0])
    homes = [web.stickiness.find(request(ticket), web.by_id, NOW).target_id for ticket in tickets]
    for order in ORDERS[:: len(ORDERS) // 2000]:
        for logged_in_after in (1, 4, 8):
            # The jar keeps the last ticket that arrived; the login goes where that says, and
            # late responses of the first requests come after it.
            jar = homes[order[logged_in_after - 1]]
            knows_the_user = jar
            for late in order[logged_in_after:]:
                jar = homes[late]
            assert jar == knows_the_user


# repeating


def test_a_retry_of_a_pinned_request_moves_the_session():
    web = group([H, H, H])
    _, cookie = visit(web)
    asked = request(cookie)
    first = route(web, asked, NOW, RNG)
    again = reroute(first, web, asked, {"A"}, NOW, RNG)
    assert again.status is StickyStatus.TARGET_UNAVAILABLE
    (moved,) = bind_response(again, asked, OK, NOW).set_cookies
    assert visit(web, moved.split(b";")[0])[0].target is again.target


def test_a_retry_does_not_disturb_others_with_the_same_cookie():
    web = group([H, H, H])
    _, cookie = visit(web)
    asked = request(cookie)
    reroute(route(web, asked, NOW, RNG), web, asked, {"A"}, NOW, RNG)
    decision, left = visit(web, cookie)
    assert (decision.target.id, left) == ("A", cookie)


def test_there_is_no_retry_without_another_target():
    web = group([H, H])
    asked = request()
    first = route(web, asked, NOW, RNG)
    assert reroute(first, web, asked, {"A", "B"}, NOW, RNG) is None


def test_a_strict_pin_is_not_retried_elsewhere():
    web = group([H, H], on_unavailable=OnUnavailable.UNAVAILABLE)
    _, cookie = visit(web)
    asked = request(cookie)
    assert reroute(route(web, asked, NOW, RNG), web, asked, {"A"}, NOW, RNG) is None
