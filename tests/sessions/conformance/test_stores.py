"""What every store must do, asked in both ways: blocking, and from an event loop."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from limpet.sessions.errors import NotSupportedByStoreError
from limpet.sessions.operations import (
    Commit,
    Create,
    End,
    ListUser,
    Load,
    Purge,
    ReadFacts,
    RevokeEveryone,
    RevokeUser,
    Stored,
)
from limpet.sessions.record import (
    Change,
    Edit,
    EndReason,
    Field,
    Key,
    Meta,
    Outcome,
    Record,
    Tombstone,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.sessions.operations import Operation
    from limpet.sessions.stores import Store

NOW_S = time.time()
LATER_S = NOW_S + 3600


def visitor() -> Key:
    return Key(os.urandom(32).hex(), "")


def user(name: str | None = None) -> Key:
    return Key(os.urandom(32).hex(), name or os.urandom(16).hex())


def record(**fields: bytes) -> Record:
    meta = Meta(
        os.urandom(16), b"u", NOW_S, NOW_S, NOW_S + 7200, 1800.0, device="Phone, 4G", address="192.0.2.7"
    )
    return Record(1, b"", NOW_S, meta, {name: Field(1, value) for name, value in fields.items()})


def create(key: Key, what: Record, until_s: float = LATER_S) -> Create:
    return Create(key, what, until_s, os.urandom(8))


def edit(base: Record, *changes: Change, meta: Meta | None = None, seen_s: float = NOW_S) -> Edit:
    return Edit(
        incarnation=base.meta.incarnation,
        base_version=base.version,
        changes=changes,
        seen_s=seen_s,
        meta=meta,
        token=os.urandom(8),
    )


class Perform:
    """Performs operations blocking or from one event loop."""

    def __init__(self, store: Store, runner: asyncio.Runner | None) -> None:
        self.store = store
        self.runner = runner

    def __call__(self, operation: Operation[Any]) -> Any:
        if self.runner is None:
            return self.store.run(operation)
        return self.runner.run(self.store.arun(operation))

    def commit(self, key: Key, base: Record, *changes: Change, **more: Any) -> Outcome:
        committed = self(Commit(key, edit(base, *changes, **more), LATER_S))
        what = self(Load(key)).what
        is_there = committed.outcome is not Outcome.GONE and isinstance(what, Record)
        assert committed.version == (what.version if is_there else 0)
        outcome: Outcome = committed.outcome
        return outcome

    def fields(self, key: Key) -> dict[str, bytes]:
        what = self(Load(key)).what
        assert isinstance(what, Record)
        return {name: field.data for name, field in what.fields.items()}


@pytest.fixture(params=["run", "arun"])
def perform(request: pytest.FixtureRequest, store: Store) -> Any:
    if request.param == "run":
        yield Perform(store, None)
        return
    with asyncio.Runner() as runner:
        yield Perform(store, runner)
        runner.run(store.aclose())


@pytest.mark.parametrize("key", [visitor, user])
def test_what_is_created_is_found(perform: Perform, key: Callable[[], Key]) -> None:
    where, what = key(), record(cart=b"\x01\x00\xff:\r\n", empty=b"")
    assert perform(Load(where)).what is None
    created = perform(create(where, what))
    found = perform(Load(where))
    assert found == created
    assert found.alive == replace(what, epoch=found.epoch)


def test_names_of_fields_are_any_text(perform: Perform) -> None:
    where, what = visitor(), record(**{"": b"1", "naïve:d": b"2", "d": b"3", "a b\r\n": b"4"})
    perform(create(where, what))
    assert perform.commit(where, what, Change("d", 1, b"5")) is Outcome.APPLIED
    assert perform.fields(where) == {"": b"1", "naïve:d": b"2", "d": b"5", "a b\r\n": b"4"}


def test_create_overwrites_nothing(perform: Perform) -> None:
    where, first = user(), record(a=b"1")
    perform(create(where, first))
    answer = perform(create(where, record(a=b"2")))
    assert answer.alive.meta == first.meta
    assert perform.fields(where) == {"a": b"1"}
    stone = Tombstone(EndReason.LOGOUT, NOW_S)
    perform(End(where, stone, LATER_S))
    assert perform(create(where, first)).what == stone
    assert perform(Load(where)).what == stone


def test_commits_apply_or_merge(perform: Perform) -> None:
    where, base = user(), record(a=b"1", b=b"2")
    perform(create(where, base))
    assert perform.commit(where, base, Change("a", 1, b"3")) is Outcome.APPLIED
    assert perform.commit(where, base, Change("b", 1, None), Change("c", 0, b"4")) is Outcome.MERGED
    found = perform(Load(where)).alive
    assert found.version == 3
    assert found.fields == {"a": Field(2, b"3"), "c": Field(3, b"4")}


@pytest.mark.parametrize(
    ("theirs", "mine", "outcome", "left"),
    [
        (b"2", Change("a", 1, b"3"), Outcome.MERGED, {"a": b"3"}),
        (None, Change("a", 1, b"3"), Outcome.MERGED, {"a": b"3"}),
        (b"2", Change("a", 1, None), Outcome.MERGED, {}),
        (b"2", Change("a", 1, b"3", is_strict=True), Outcome.CONFLICT, {"a": b"2"}),
        (None, Change("a", 1, b"3", is_strict=True), Outcome.CONFLICT, {}),
        (b"2", Change("a", 1, None, is_strict=True), Outcome.CONFLICT, {"a": b"2"}),
        (b"2", Change("a", 0, b"3", is_strict=True), Outcome.CONFLICT, {"a": b"2"}),
        (b"2", Change("b", 0, b"3", is_strict=True), Outcome.MERGED, {"a": b"2", "b": b"3"}),
    ],
)
def test_overlapping_commits(
    perform: Perform, theirs: bytes | None, mine: Change, outcome: Outcome, left: dict[str, bytes]
) -> None:
    where, base = visitor(), record(a=b"1")
    perform(create(where, base))
    perform.commit(where, base, Change("a", 1, theirs))
    committed = perform(Commit(where, edit(base, mine), LATER_S))
    assert committed.outcome is outcome
    assert perform.fields(where) == left
    if outcome is Outcome.CONFLICT:
        assert {name: field.data for name, field in committed.record.fields.items()} == left


def test_a_conflict_changes_nothing_at_all(perform: Perform) -> None:
    where, base = visitor(), record(a=b"1", b=b"1")
    perform(create(where, base))
    perform.commit(where, base, Change("a", 1, b"2"))
    before = perform(Load(where))
    meta = base.meta._replace(device="other")
    changes = (Change("b", 1, b"3"), Change("a", 1, b"3", is_strict=True))
    assert perform.commit(where, base, *changes, meta=meta, seen_s=NOW_S + 9) is Outcome.CONFLICT
    assert perform(Load(where)) == before


def test_an_edit_that_is_sent_again_counts_once(perform: Perform) -> None:
    where, base = user(), record(n=b"1")
    perform(create(where, base))
    mine = edit(base, Change("n", 1, b"2", is_strict=True))
    assert perform(Commit(where, mine, LATER_S)).outcome is Outcome.APPLIED
    perform.commit(where, base, Change("other", 0, b"x"))
    assert perform(Commit(where, mine, LATER_S)).outcome is Outcome.APPLIED
    assert perform(Load(where)).alive.version == 3


def test_a_sign_of_life_changes_no_version(perform: Perform) -> None:
    where, base = user(), record(a=b"1")
    perform(create(where, base))
    assert perform.commit(where, base, seen_s=NOW_S + 40) is Outcome.APPLIED
    assert perform.commit(where, base, seen_s=NOW_S + 20) is Outcome.APPLIED
    found = perform(Load(where)).alive
    assert (found.version, found.seen_s) == (1, NOW_S + 40)


def test_meta_data_are_replaced(perform: Perform) -> None:
    where, base = user(), record()
    perform(create(where, base))
    meta = base.meta._replace(ends_s=NOW_S + 90000, is_persistent=False, confirmed_s=NOW_S)
    assert perform.commit(where, base, meta=meta) is Outcome.APPLIED
    assert perform(Load(where)).alive.meta == meta


def test_what_ended_stays_ended(perform: Perform) -> None:
    where, base = user(), record(a=b"1")
    epoch = perform(create(where, base)).epoch
    perform.commit(where, base, Change("a", 1, b"2"))
    stone = Tombstone(EndReason.ROTATED, NOW_S, user(), NOW_S + 10)
    before = perform(End(where, stone, LATER_S))
    assert before.alive.fields == {"a": Field(2, b"2")}
    assert perform(End(where, Tombstone(EndReason.LOGOUT, NOW_S), LATER_S)) == Stored(stone, epoch)
    committed = perform(Commit(where, edit(base, Change("a", 1, b"3")), LATER_S))
    assert (committed.outcome, committed.tombstone) == (Outcome.GONE, stone)
    assert perform(Load(where)) == Stored(stone, epoch)


def test_what_never_was_does_not_begin_with_a_commit_or_an_end(perform: Perform) -> None:
    where = user()
    assert perform.commit(where, record(), Change("a", 0, b"1")) is Outcome.GONE
    assert perform(End(where, Tombstone(EndReason.LOGOUT, NOW_S), LATER_S)).what is None
    assert perform(Load(where)) == Stored(None, None)


def test_another_incarnation_is_another_session(perform: Perform) -> None:
    where = visitor()
    perform(create(where, record(a=b"1")))
    assert perform.commit(where, record(a=b"1"), Change("a", 1, b"2")) is Outcome.GONE
    assert perform.fields(where) == {"a": b"1"}


def test_a_revoked_user_is_out_everywhere_and_may_log_in_again(perform: Perform) -> None:
    name = os.urandom(16).hex()
    phone, laptop, other, again = user(name), user(name), user(), user(name)
    base = record(a=b"1")
    for key in (phone, laptop, other):
        perform(create(key, base))
    assert perform(Load(phone)).epoch == perform(Load(laptop)).epoch
    perform(RevokeUser(name, os.urandom(8)))
    assert perform(Load(phone)).alive is None
    assert perform.commit(laptop, base, Change("a", 1, b"2")) is Outcome.GONE
    assert perform(End(laptop, Tombstone(EndReason.RENEWED, NOW_S, again, LATER_S), LATER_S)).alive is None
    assert perform(Load(laptop)).alive is None
    assert perform(create(again, base)).alive is not None
    assert [each.alive is not None for each in map(perform, map(Load, (phone, again, other)))] == [
        False,
        True,
        True,
    ]


def test_revoking_an_unknown_user_makes_nothing(perform: Perform) -> None:
    key = user()
    perform(RevokeUser(key.user, os.urandom(8)))
    assert perform(Load(key)) == Stored(None, None)


def test_a_users_sessions_are_listed(perform: Perform) -> None:
    name = os.urandom(16).hex()
    keys = [user(name) for _ in range(3)]
    for key in keys:
        perform(create(key, record(a=b"1")))
    perform(create(user(), record()))
    perform(End(keys[0], Tombstone(EndReason.LOGOUT, NOW_S), LATER_S))
    listed = perform(ListUser(name))
    assert {key for key, _ in listed} == set(keys[1:])
    assert all(each.meta.device == "Phone, 4G" for _, each in listed)
    perform(RevokeUser(name, os.urandom(8)))
    assert perform(ListUser(name)) == []
    assert perform(ListUser(os.urandom(16).hex())) == []


def test_what_has_expired_is_nothing(perform: Perform) -> None:
    at_once, by_commit, stone = user(), user(), user()
    perform(create(at_once, record(), until_s=NOW_S - 5))
    base = record()
    for key in (by_commit, stone):
        perform(create(key, base))
    perform(Commit(by_commit, edit(base), NOW_S - 5))
    perform(End(stone, Tombstone(EndReason.LOGOUT, NOW_S), NOW_S - 5))
    assert [perform(Load(key)).what for key in (at_once, by_commit, stone)] == [None, None, None]
    assert perform.commit(by_commit, base, Change("a", 0, b"1")) is Outcome.GONE
    perform(Purge(time.time()))
    assert perform(Load(at_once)).what is None


def test_the_date_of_birth_does_not_change(perform: Perform) -> None:
    born_s = perform(ReadFacts(NOW_S, user())).born_s
    assert perform(ReadFacts(NOW_S + 100, visitor())).born_s == born_s


def test_everyone_can_be_revoked_or_the_store_says_what_to_do(perform: Perform) -> None:
    keys = [user(), visitor()]
    for key in keys:
        perform(create(key, record()))
    try:
        perform(RevokeEveryone(NOW_S))
    except NotSupportedByStoreError as error:
        assert "LIMPET_SECRET" in str(error)  # noqa: PT017  # one of two right answers
    else:
        assert [perform(Load(key)).what for key in keys] == [None, None]
        assert perform(ReadFacts(NOW_S, keys[0])).everyone_s == NOW_S


def test_threads_lose_no_write(store: Store) -> None:
    where, base = user(), record(n=b"0")
    store.run(create(where, base))
    writers, times = 4, 15
    threads = [threading.Thread(target=_write, args=(store, where, name, times)) for name in "abcd"[:writers]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.run(Load(where)).alive
    assert found is not None
    assert found.fields["n"].data == b"%d" % (writers * times)
    assert found.version == 1 + writers * times * 2
    assert all(found.fields[name].data == b"%d" % times for name in "abcd"[:writers])


def _write(store: Store, where: Key, name: str, times: int) -> None:
    for count in range(1, times + 1):
        base = store.run(Load(where)).alive
        assert base is not None
        store.run(Commit(where, edit(base, Change(name, 0, b"%d" % count)), LATER_S))
        field = base.fields["n"]
        while True:
            change = Change("n", field.version, b"%d" % (int(field.data) + 1), is_strict=True)
            committed = store.run(Commit(where, edit(base, change), LATER_S))
            if committed.record is None:
                break
            field = committed.record.fields["n"]


_PROCESS = """
import importlib.util, sys
from limpet.sessions.record import Key
from limpet.sessions.stores import open_store
spec = importlib.util.spec_from_file_location("suite", sys.argv[1])
suite = importlib.util.module_from_spec(spec)
spec.loader.exec_module(suite)
store = open_store(sys.argv[2], timeout_s=5.0)
suite._write(store, Key(sys.argv[3], sys.argv[4]), sys.argv[5], 15)
store.close()
"""


def test_processes_lose_no_write(shared_url: str, opened: Callable[..., Store]) -> None:
    store = opened(shared_url)
    where = user()
    store.run(create(where, record(n=b"0")))
    processes = [
        subprocess.Popen([sys.executable, "-c", _PROCESS, __file__, shared_url, *where, name])
        for name in "ab"
    ]
    assert [process.wait(30) for process in processes] == [0, 0]
    found = store.run(Load(where)).alive
    assert found is not None
    assert found.fields["n"].data == b"30"
    assert found.version == 61
