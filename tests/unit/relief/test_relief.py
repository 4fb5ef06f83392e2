"""Which request of a pinned session goes elsewhere."""

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
from limpet.core.model import TargetGroup
from limpet.core.relief.relief import STORE_DOWN_S, Relief
from limpet.core.relief.settings import Assumed, ReliefSettings
from limpet.core.request import FieldBlock, RequestHead, ResponseHead
from limpet.core.route import bind_response, reroute, route, take_state
from limpet.core.session_state import Floor, Moved, SessionState
from limpet.core.stickiness import KINDS
from limpet.core.stickiness.contract import StickyStatus
from limpet.core.stickiness.settings import Sealing, StickinessSettings
from limpet.core.stickiness.ticket import open_ticket
from limpet.core.target import Health, Target, TargetState

RING = KeyRing([b"k" * 32])
STORE = "0123456789abcdef"
PORTABLE = SessionState(True, 7, STORE, has_user=True, tag="1a2b3c4d")
MEMORY = SessionState(False, why="memory")
WALL_S = 1_700_000_000.0


class Scene:
    """A group of targets, and a clock."""

    def __init__(self, names="ABC", kind="lb_cookie", **settings):
        states = [TargetState(Target(id=name, address=Address(host="127.0.0.1", port=1))) for name in names]
        for state in states:
            state.health = Health.HEALTHY
            state.seen_fingerprint = STORE
        self.rng = Random(1)
        self.at_s = 100.0
        sticky = StickinessSettings(group="web", app_cookie="sid")
        self.group = TargetGroup(
            name="web",
            by_id={state.id: state for state in states},
            available=(),
            policy=POLICIES["round_robin"](PolicySettings()),
            stickiness=KINDS[kind](sticky, Sealing(RING, os.urandom)),
            sessions=ActiveSessions(300),
            relief=Relief(ReliefSettings(**settings)),
        )
        self.publish()

    def publish(self):
        verdict = availability(self.group.by_id.values())
        for state in self.group.by_id.values():
            state.takes_sticky = state.id in verdict.keeps_sessions
        self.group = replace(self.group, available=verdict.new_sessions)

    def __getitem__(self, name):
        return self.group.by_id[name]

    @property
    def now(self):
        return Now(WALL_S + self.at_s, self.at_s)

    def route(self, cookie):
        return route(self.group, self._request(cookie), self.now, self.rng)

    def visit(self, cookie=b"", state=PORTABLE):
        """Make one request from start to end; return its decision and the cookie that it leaves."""
        decision = self.route(cookie)
        decision.target.requests += 1
        if decision.session is not None:
            decision.session.begin()
        if state is not None:
            take_state(decision, state, self.at_s, self.at_s)
        response = ResponseHead(200, [(b"cache-control", b"no-store")], state)
        left = cookie
        for value in bind_response(decision, self._request(cookie), response, self.now).set_cookies:
            left = value.split(b";")[0]
        if decision.session is not None:
            decision.session.in_flight -= 1
        return decision, left

    def session(self, state=PORTABLE):
        """Return the cookie of a session that is known, and its home."""
        _, cookie = self.visit(state=state)
        decision, cookie = self.visit(cookie, state)
        return cookie, decision.target

    def reroute(self, decision, cookie, tried):
        return reroute(decision, self.group, self._request(cookie), tried, self.now, self.rng)

    def _request(self, cookie):
        client = f"10.0.{self.rng.randrange(256)}.{self.rng.randrange(256)}"
        return RequestHead(b"GET", b"/", FieldBlock([], cookie=cookie), client)


def burden(scene, target, in_flight=10):
    target.in_flight = in_flight
    scene.group.relief.tick(scene.group, scene.at_s)


def ticket_of(cookie):
    return open_ticket(cookie.partition(b"=")[2], RING)


def test_a_busy_target_lends_a_request_and_keeps_the_session():
    scene = Scene()
    cookie, home = scene.session()
    burden(scene, home)
    decision, left = scene.visit(cookie)
    assert decision.status is StickyStatus.LENT
    assert decision.target is not home
    assert decision.moved == Moved(home.id, "overload")
    assert left == cookie  # no new ticket
    home.in_flight = 0
    assert scene.visit(cookie)[0].target is home
    assert (home.lent, decision.target.borrowed) == (1, 1)


@pytest.mark.parametrize("state", [MEMORY, None])
def test_a_pinned_session_stays_however_busy_its_target_is(state):
    scene = Scene()
    cookie, home = scene.session(state)
    burden(scene, home, 100)
    assert scene.visit(cookie, state)[0].target is home


def test_an_open_websocket_pins_a_session():
    scene = Scene()
    cookie, home = scene.session()
    scene.route(cookie).session.tunnels += 1
    burden(scene, home, 100)
    assert scene.visit(cookie)[0].target is home


def test_nothing_goes_to_a_target_of_another_store():
    scene = Scene("AB")
    cookie, home = scene.session()
    other = scene["B" if home.id == "A" else "A"]
    other.seen_fingerprint = "f" * 16
    burden(scene, home, 100)
    assert scene.visit(cookie)[0].target is home


def test_a_target_of_which_check_and_responses_differ_is_not_trusted():
    scene = Scene("AB")
    cookie, home = scene.session()
    other = scene["B" if home.id == "A" else "A"]
    other.checked_fingerprint = "f" * 16
    assert other.fingerprint == ""
    burden(scene, home, 100)
    assert scene.visit(cookie)[0].target is home


def test_nothing_moves_while_the_store_is_down():
    scene = Scene()
    cookie, home = scene.session()
    other, _ = scene.session()
    scene.visit(other, SessionState(False, why="store"))
    burden(scene, home, 100)
    assert scene.visit(cookie)[0].target is home
    scene.at_s += STORE_DOWN_S + 1
    burden(scene, home, 100)
    assert scene.visit(cookie)[0].status is StickyStatus.LENT


def test_to_lend_from_one_full_target_to_another_helps_nobody():
    scene = Scene("AB")
    cookie, home = scene.session()
    for target in scene.group.available:
        target.in_flight = 50
    burden(scene, home, 51)
    assert scene.visit(cookie)[0].target is home


def test_an_attempt_elsewhere_that_fails_goes_home():
    scene = Scene()
    cookie, home = scene.session()
    burden(scene, home, 100)
    lent = scene.route(cookie)
    again = scene.reroute(lent, cookie, {lent.target.id})
    assert again.target is home
    assert again.status is StickyStatus.BOUND


def test_new_sessions_avoid_a_busy_target():
    scene = Scene()
    burden(scene, scene["A"], 20)
    assert {scene.visit()[0].target.id for _ in range(20)} == {"B", "C"}


def crowd(scene, name, count, rate=1):
    """Let so many sessions live at one target; return their cookies."""
    cookies = []
    while len(cookies) < count:
        cookie, home = scene.session()
        if home.id == name:
            cookies.append(cookie)
    return cookies


def live(scene, cookies, seconds):
    """Let each session ask once a second; return the homes' ids at the end, and the moves by second."""
    moves = []
    for _ in range(seconds):
        scene.at_s += 1
        scene.group.relief.tick(scene.group, scene.at_s)
        moves.append(0)
        for place, cookie in enumerate(cookies):
            decision, cookies[place] = scene.visit(cookie)
            moves[-1] += decision.status is StickyStatus.MOVED
    return [ticket_of(cookie).target_id for cookie in cookies], moves


def test_a_crowd_at_one_target_spreads_and_then_rests():
    scene = Scene()
    cookies = crowd(scene, "A", 90)
    homes, moves = live(scene, cookies, 180)
    counts = [homes.count(name) for name in "ABC"]
    assert max(counts) <= 33
    assert sum(moves[:-60]) <= 90  # not many more than the sixty that had to
    assert sum(moves[-60:]) <= 0.05 * len(cookies)


def test_moves_keep_to_their_budget():
    scene = Scene(moves_per_minute=0.2)
    cookies = crowd(scene, "A", 90)
    sessions = len(scene.group.sessions)
    _, moves = live(scene, cookies, 60)
    assert 0 < sum(moves) <= 0.2 * sessions + 2


def test_a_session_that_moved_is_told_and_gets_a_ticket():
    scene = Scene("AB")
    cookies = crowd(scene, "A", 40)
    for _ in range(60):
        scene.at_s += 1
        scene.group.relief.tick(scene.group, scene.at_s)
        for place, cookie in enumerate(cookies):
            decision, left = scene.visit(cookie)
            if decision.status is StickyStatus.MOVED:
                assert decision.moved == Moved("A", "balance")
                assert (ticket_of(left).target_id, ticket_of(left).epoch) == ("B", 1)
                # A request that was under way with the old ticket follows, and is told nothing new.
                late, renewed = scene.visit(cookie)
                assert (late.target.id, late.moved) == ("B", None)
                assert ticket_of(renewed).target_id == "B"
                return
            cookies[place] = left
    pytest.fail("nobody moved")


def test_who_has_a_request_in_flight_does_not_move():
    scene = Scene("AB")
    cookies = crowd(scene, "A", 40)
    for cookie in cookies:
        scene.route(cookie).session.in_flight += 1
    homes, moves = live(scene, cookies, 40)
    assert set(homes) == {"A"}
    assert sum(moves) == 0


def test_a_target_that_is_about_to_go_gives_its_portable_sessions_away():
    scene = Scene()
    portable, home = scene.session()
    pinned = next(cookie for cookie, at in iter(lambda: scene.session(MEMORY), None) if at is home)
    home.target = replace(home.target, is_terminating=True)
    scene.publish()
    scene.group.relief.tick(scene.group, scene.at_s)
    decision, left = scene.visit(portable)
    assert decision.status is StickyStatus.TARGET_LEAVING
    assert decision.moved == Moved(home.id, "drain")
    assert ticket_of(left).target_id == decision.target.id != home.id
    assert scene.visit(pinned, MEMORY)[0].target is home


def test_a_session_of_a_dead_target_goes_where_its_store_is_known():
    scene = Scene("ABCD")
    cookie, home = scene.session()
    others = [target for target in scene.group.available if target is not home]
    for target in others[1:]:
        target.seen_fingerprint = "f" * 16
    home.health = Health.UNHEALTHY
    scene.publish()
    decision, left = scene.visit(cookie)
    assert decision.target is others[0]
    assert decision.moved == Moved(home.id, "unavailable")
    assert ticket_of(left).epoch == 1


def test_the_configuration_can_say_that_all_are_portable_or_none():
    scene = Scene(assumed=Assumed.PORTABLE)
    cookie, home = scene.session(None)
    burden(scene, home, 100)
    assert scene.visit(cookie, None)[0].status is StickyStatus.LENT
    scene = Scene(assumed=Assumed.PINNED)
    cookie, home = scene.session()
    burden(scene, home, 100)
    assert scene.visit(cookie)[0].target is home


def test_switched_off_it_moves_nobody():
    scene = Scene(is_on=False)
    cookies = crowd(scene, "A", 40)
    burden(scene, scene["A"], 100)
    homes, _ = live(scene, cookies, 30)
    assert set(homes) == {"A"}


@pytest.mark.parametrize("kind", ["lb_cookie", "app_cookie"])
def test_a_write_is_in_the_next_ticket_and_a_read_changes_none(kind):
    scene = Scene("A", kind)
    asked = RequestHead(b"GET", b"/", FieldBlock([], cookie=b""), "10.0.0.1")
    decision = route(scene.group, asked, scene.now, scene.rng)
    response = ResponseHead(200, [(b"set-cookie", b"sid=1"), (b"cache-control", b"no-store")], PORTABLE)
    (cookie,) = bind_response(decision, asked, response, scene.now).set_cookies
    assert ticket_of(cookie.split(b";")[0]).floor == Floor(7, "1a2b3c4d")
    jar = cookie.split(b";")[0] + b"; sid=1"

    def visit(state):
        request = RequestHead(b"GET", b"/", FieldBlock([], cookie=jar), "10.0.0.1")
        decision = route(scene.group, request, scene.now, scene.rng)
        take_state(decision, state, scene.at_s, scene.at_s)
        answer = ResponseHead(200, [(b"cache-control", b"no-store")], state)
        return decision, bind_response(decision, request, answer, scene.now).set_cookies

    assert visit(PORTABLE)[1] == ()
    decision, (renewed,) = visit(PORTABLE._replace(version=8))
    assert ticket_of(renewed.split(b";")[0]).floor == Floor(8, "1a2b3c4d")
    assert decision.session.floor_line == b"Limpet-Floor: 8; s=1a2b3c4d\r\n"
    # The old ticket comes once more: the floor that is known does not sink.
    assert visit(PORTABLE)[0].session.floor == Floor(8, "1a2b3c4d")


def test_a_late_answer_of_the_id_before_a_login_changes_no_floor():
    scene = Scene("A")
    cookie, _ = scene.session()
    session = scene.route(cookie).session
    before, after = PORTABLE._replace(version=9), PORTABLE._replace(version=1, tag="ffffffff")
    session.take(after, 101.0, 102.0)
    session.take(before, 100.5, 103.0)  # began before the login was answered
    assert session.floor == Floor(1, "ffffffff")
    session.take(after._replace(version=2), 100.5, 103.0)
    assert session.floor == Floor(2, "ffffffff")


def test_a_ticket_that_another_balancer_has_renewed_raises_the_floor():
    one, other = Scene("A"), Scene("A")
    cookie, _ = one.session()
    other.visit(cookie, PORTABLE)
    _, renewed = one.visit(cookie, PORTABLE._replace(version=9))
    assert ticket_of(renewed).floor == Floor(9, "1a2b3c4d")
    assert other.route(renewed).session.floor_line == b"Limpet-Floor: 9; s=1a2b3c4d\r\n"


def test_a_balancer_that_has_not_seen_a_session_places_it_by_the_store_of_its_home():
    one, other = Scene("ABCD"), Scene("ABCD")
    cookie, home = one.session()
    sound = next(name for name in "ABCD" if name != home.id)
    for target in other.group.available:
        if target.id not in {home.id, sound}:
            target.seen_fingerprint = "f" * 16
    other[home.id].health = Health.UNHEALTHY
    other.publish()
    assert other.visit(cookie)[0].target.id == sound


def test_a_session_whose_last_answer_came_from_another_store_is_not_moved():
    scene = Scene("AB")
    cookie, home = scene.session()
    scene.visit(cookie, PORTABLE._replace(fingerprint="f" * 16))
    home.seen_fingerprint = STORE
    burden(scene, home, 100)
    assert scene.visit(cookie)[0].target is home


def test_a_request_that_is_lent_or_moved_takes_its_own_ticket_s_floor_along():
    one, other = Scene(), Scene()
    cookie, home = one.session()
    other.visit(cookie)
    _, renewed = one.visit(cookie, PORTABLE._replace(version=9))
    burden(other, other[home.id], 100)
    lent = other.route(renewed)
    assert (lent.status, lent.session.floor.version) == (StickyStatus.LENT, 9)


def test_without_stickiness_the_policy_alone_decides():
    scene = Scene(kind="off")
    burden(scene, scene["A"], 20)
    assert [scene.visit()[0].target.id for _ in range(6)] == ["A", "B", "C", "A", "B", "C"]
