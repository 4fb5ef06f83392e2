"""Any order of overlapping requests, renewals, rotations and lost answers: nobody is logged out, no
write of a field is lost, and what was ended stays ended."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from limpet.sessions import Policy, Session, Sessions
from limpet.sessions.stores.memory import MemoryStore

SECRETS = ["the first secret of these tests", "the second secret of these tests"]
POLICY = Policy(idle_s=3000, absolute_s=1_000_000, renew_s=1000, grace_s=10)


class Browser(RuleBasedStateMachine):
    """One user, whose requests overlap."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1_000_000.0
        self.count = 0
        store = MemoryStore(now_s=lambda: self.now_s)
        # Two servers in the middle of a change of secrets: one has not yet taken the new one to the front.
        self.servers = [
            Sessions(store, secret=secrets, policy=POLICY, now_s=lambda: self.now_s, entropy=self._entropy)
            for secrets in (SECRETS, SECRETS[::-1])
        ]
        self.open: list[tuple[Sessions, Session, dict[str, Any]]] = []
        # Of those: what each has read, and whether the id was changed since.
        self.read: dict[int, dict[str, Any]] = {}
        self.overtaken: set[int] = set()
        self.fields: dict[str, Any] = {}
        self.dead: list[str] = []
        self.cookie: str | None = None
        self.is_in = True

    def _entropy(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size, "big")

    @initialize()
    def log_in(self) -> None:
        session = self.servers[0].open(None)
        session.login("ann")
        self._take(self.servers[0].save(session))

    @precondition(lambda self: len(self.open) < 4)
    @rule(server=st.integers(0, 1))
    def begin(self, server: int) -> None:
        sessions = self.servers[server]
        session = sessions.open(self.cookie)
        assert session.user_id == ("ann" if self.is_in else None)
        self.open.append((sessions, session, {}))
        self.read[id(session)] = dict(self.fields)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), field=st.sampled_from("abc"), value=st.integers(0, 99))
    def write(self, data: st.DataObject, field: str, value: int) -> None:
        _, session, written = data.draw(st.sampled_from(self.open))
        session[field] = value
        written[field] = value

    @precondition(lambda self: self.open and self.is_in)
    @rule(data=st.data())
    def add(self, data: st.DataObject) -> None:
        _, session, written = data.draw(st.sampled_from(self.open))
        session.incr("count")
        written["count"] = written.get("count", 0) + 1

    @precondition(lambda self: self.open)
    @rule(data=st.data(), is_lost=st.booleans())
    def end(self, data: st.DataObject, is_lost: bool) -> None:
        self._end(data.draw(st.integers(0, len(self.open) - 1)), is_lost=is_lost)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def end_with_rotation(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.open) - 1))
        self.open[at][1].rotate()
        self._end(at, is_lost=False, rotates=True)

    @precondition(lambda self: self.open and self.is_in)
    @rule(data=st.data())
    def end_with_logout(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.open) - 1))
        sessions, session, _ = self.open.pop(at)
        session.logout()
        self._died(self.cookie)
        self._take(sessions.save(session))

    @precondition(lambda self: self.is_in)
    @rule()
    def revoke(self) -> None:
        self.servers[0].revoke_user("ann")
        self._died(self.cookie)

    @precondition(lambda self: not self.open)
    @rule(seconds=st.sampled_from([1, 11, 500, 1001, 2900]), server=st.integers(0, 1), is_lost=st.booleans())
    def come_back_later(self, seconds: int, server: int, is_lost: bool) -> None:
        self.now_s += seconds
        self.begin(server)
        self._end(0, is_lost=is_lost)

    @invariant()
    def who_was_in_is_in(self) -> None:
        if self.cookie is None or self.open:
            return
        session = self.servers[0].open(self.cookie)
        assert session.user_id == ("ann" if self.is_in else None)
        if self.is_in:
            assert dict(session) == self.fields

    @invariant()
    def what_ended_stays_ended(self) -> None:
        for cookie in self.dead:
            assert self.servers[1].open(cookie).user_id is None

    def _end(self, at: int, *, is_lost: bool, rotates: bool = False) -> None:
        sessions, session, written = self.open.pop(at)
        headers = sessions.save(session)
        if self.is_in:
            added = written.pop("count", 0)
            if added:
                self.fields["count"] = self.fields.get("count", 0) + added
            before = session.loaded.record.fields if session.loaded and session.loaded.record else {}
            changed = {
                name: value
                for name, value in written.items()
                if name not in before or self._changed(session, name)
            }
            if id(session) in self.overtaken:  # what was written before a rotation does not undo it
                read = self.read[id(session)]
                changed = {
                    name: value for name, value in changed.items() if self.fields.get(name) == read.get(name)
                }
            self.fields |= changed
            if rotates and headers_of_cookie(headers):
                self.overtaken |= {id(other) for _, other, _ in self.open}
        if not is_lost:
            self._take(headers)

    @staticmethod
    def _changed(session: Session, name: str) -> bool:
        # Writing the value that was read changes nothing.
        return name in {each.change.name for each in session.fields.unsaved()}

    def _died(self, cookie: str | None) -> None:
        self.is_in = False
        if cookie is not None:
            self.dead.append(cookie)

    def _take(self, headers: list[tuple[str, str]]) -> None:
        for value in headers_of_cookie(headers):
            self.cookie = value.split(";")[0].partition("=")[2] or None


def headers_of_cookie(headers: list[tuple[str, str]]) -> list[str]:
    return [value for name, value in headers if name == "Set-Cookie"]


def test_any_order_of_requests() -> None:
    run_state_machine_as_test(
        Browser, settings=settings(max_examples=150, stateful_step_count=30, deadline=None)
    )
