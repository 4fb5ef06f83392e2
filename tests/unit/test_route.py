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
from limpet.core.route import MEMBERSHIP_GRACE_S, bind_response, finish, reroute, route
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


H, U, D, M = Health.HEALTHY, Health.UNHEALTHY, Health.DRAINING, Health.MAINTENANCE


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


def test_a_lent_session_stays_where_it_is_lent_to_and_returns():
    """A login on the lending target must be found by the next request, on any balancer."""
    one, two = (group([H] * 5, after_recovery=AfterRecovery.TEMPORARY) for _ in range(2))
    cookies = [visit(one, client=str(number))[1] for number in range(10)]
    one, two = publish(one, A=U), publish(two, A=U)
    for cookie in (cookies[0], cookies[5]):  # round robin: both live on A
        lent = [visit(web, cookie)[0] for web in (one, two, one, two)]
        assert len({decision.target.id for decision in lent}) == 1
        assert {(decision.is_lent, decision.reason) for decision in lent} == {(True, "lent until A is back")}
        assert visit(publish(one, A=H), cookie)[0].target.id == "A"
        publish(one, A=U)


def test_a_lent_session_does_not_expire_while_it_is_used():
    web = group([H] * 3, after_recovery=AfterRecovery.TEMPORARY, duration_s=100)
    _, cookie = visit(web)
    web = publish(web, A=U)
    for age_s in range(30, 600, 30):
        decision, cookie = visit(web, cookie, Now(NOW.wall_s + age_s, age_s))
        assert (decision.status, decision.is_lent) == (StickyStatus.TARGET_UNAVAILABLE, True)
    assert visit(publish(web, A=H), cookie, Now(NOW.wall_s + 600, 600))[0].target.id == "A"


@pytest.mark.parametrize("is_draining", [True, False])
def test_a_session_is_not_lent_by_a_target_that_will_not_come_back(is_draining):
    web = group([H] * 3, after_recovery=AfterRecovery.TEMPORARY)
    _, cookie = visit(web)
    if is_draining:
        web = publish(web, A=D)
    else:
        left = {name: state for name, state in web.by_id.items() if name != "A"}
        web = replace(web, by_id=left, available=tuple(left.values()))
    later = Now(NOW.wall_s + MEMBERSHIP_GRACE_S, MEMBERSHIP_GRACE_S)
    decision, moved = visit(web, cookie, later)
    assert not decision.is_lent
    again, _ = visit(web, moved, later)
    assert (again.status, again.target) == (StickyStatus.BOUND, decision.target)


@pytest.mark.parametrize("skew_s", [-300, 0, 300])
def test_a_target_that_another_balancer_knows_first_keeps_its_sessions(skew_s):
    """A is new: one balancer has pinned a session to it that the other must not take away."""
    one, two = group([H] * 3), group([H] * 3)
    _, cookie = visit(one)
    left = {name: state for name, state in two.by_id.items() if name != "A"}
    two = replace(two, by_id=left, available=tuple(left.values()))
    there = Now(NOW.wall_s + min(skew_s, MEMBERSHIP_GRACE_S - 1), 0)
    lent, kept = visit(two, cookie, there)
    assert (lent.status, lent.is_lent, kept) == (StickyStatus.TARGET_GONE, True, cookie)
    assert visit(two, kept, there)[0].target is lent.target
    assert visit(one, kept)[0].target.id == "A"


def test_weight_0_keeps_sessions_and_gets_no_new_one():
    web = group([H, H])
    _, cookie = visit(web)
    web.by_id["A"].weight = 0
    web = publish(web)
    assert visit(web, cookie)[0].target.id == "A"
    assert {visit(web, client=str(i))[0].target.id for i in range(5)} == {"B"}


def test_nobody_healthy_fails_open():
    web = publish(group([H, H]), A=U, B=Health.INITIAL)
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


# a session without its target


def parallel(web, count=8, **client):
    """Route requests at the same time; return them and their decisions."""
    asked = [request(**client) for _ in range(count)]
    return asked, [route(web, one, NOW, RNG) for one in asked]


def ticket_of(decision, asked):
    (value,) = bind_response(decision, asked, OK, NOW).set_cookies
    return value.split(b";")[0]


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_parallel_requests_of_a_session_that_moves_meet(policy):
    """Else their answers would pin it to several targets, and the last would undo a login."""
    webs = [replace(group([H] * 5), policy=POLICIES[policy](PolicySettings())) for _ in range(2)]
    _, cookie = visit(webs[0])
    home = webs[0].stickiness.find(request(cookie), {}, NOW).target_id
    homes = {
        decision.target.id
        for web in webs
        for decision in parallel(publish(web, **{home: U}), cookie=cookie)[1]
    }
    assert len(homes) == 1
    assert home not in homes


def test_a_session_that_moves_is_placed_by_weight_and_charged():
    web = group([H] * 4, weights=[1, 1, 2, 0])
    cookies = [
        visit(replace(web, available=(web.by_id["A"],)), client=str(number))[1] for number in range(400)
    ]
    down = publish(web, A=U)
    homes = [visit(down, cookie)[0].target.id for cookie in cookies]
    assert set(homes) == {"B", "C"}
    assert 1.3 < homes.count("C") / homes.count("B") < 3.2  # further off than once in 100,000 runs


def test_no_target_for_a_session_that_moves():
    web = group([H, H])
    _, cookie = visit(web)
    decision, left = visit(publish(web, A=M, B=M), cookie)
    assert (decision.target, decision.error) == (None, ErrorKind.NO_TARGET)
    assert (decision.status, left) == (StickyStatus.TARGET_UNAVAILABLE, cookie)


def test_new_clients_are_not_placed_on_backups():
    web = group([H] * 3, kind="source_ip")
    web.by_id["C"].target = replace(web.by_id["C"].target, is_backup=True)
    web = publish(web)
    assert {visit(web, client=f"10.0.{number}.1")[0].target.id for number in range(60)} == {"A", "B"}


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


def test_parallel_first_requests_meet_again_when_their_target_refuses_them():
    web = group([H] * 5)
    asked, decisions = parallel(web)
    again = [reroute(one, web, ask, {"A"}, NOW, RNG) for ask, one in zip(asked, decisions, strict=True)]
    assert len({decision.target.id for decision in again}) == 1
    assert again[0].target.id != "A"
    assert route(web, request(), NOW, RNG).target is not web.by_id["A"]


@pytest.mark.parametrize("after", [U, M, D])
def test_parallel_first_requests_meet_again_when_their_target_stops_in_between(after):
    """Late answers of the old target arrive after a login on the new one: still in."""
    web = group([H] * 5)
    asked, early = parallel(web, 4)
    web = publish(web, **{early[0].target.id: after})
    more, late = parallel(web, 4)
    (home,) = {decision.target.id for decision in late}
    assert home != early[0].target.id
    for decision, one in zip(early + late, asked + more, strict=True):
        assert visit(web, ticket_of(decision, one))[0].target.id == home


def test_subresources_do_not_use_up_a_visit():
    web = group([H] * 5)
    browser = {"agent": b"Mozilla/5.0"}
    for _ in range(20):
        route(web, request(headers=[(b"sec-fetch-dest", b"script")], **browser), NOW, RNG)
    _, fetches = parallel(web, 8, headers=[(b"sec-fetch-dest", b"empty")], **browser)
    assert len({decision.target.id for decision in fetches}) == 1


@pytest.mark.parametrize("kind", ["off", "lb_cookie"])
def test_requests_that_need_no_pin_start_no_visit(kind):
    web = group([H] * 3, kind=kind, exempt_paths=("/",))
    _, decisions = parallel(web, 6)
    assert [decision.target.id for decision in decisions] == list("ABCABC")
    assert all(decision.finding.visit is None for decision in decisions)


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
