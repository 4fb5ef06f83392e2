"""The session object of one request.

It does no I/O but one: the first access to a session whose cookie came along calls `load`. What
the app does with it is noted down here and happens at the end of the request, in `flows.save`,
before the headers of the response go out.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import UUID

from limpet.sessions.balancer import Standing, checked_pin
from limpet.sessions.codec import pack, unpack
from limpet.sessions.decide import Verdict
from limpet.sessions.errors import LoginNotFreshError, StoreUnavailableError, TooLateError
from limpet.sessions.fields import Fields
from limpet.sessions.migration.adopt import look_at
from limpet.sessions.policy import OnUnknown, idle_end_s
from limpet.sessions.record import EndReason, Meta
from limpet.sessions.request_state import NO_WISHES, Client, Loaded, Wishes

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.core.session_state import Moved
    from limpet.sessions.migration.adopt import Offer, Shown
    from limpet.sessions.record import Record
    from limpet.sessions.service import Sessions
    from limpet.sessions.session_id import SessionId

_INCARNATION_BYTES = 16


class Session(MutableMapping[str, Any]):
    """A mapping that is loaded at its first use and saved at the end of the request.

    Changes inside values count too. `session.accessed` tells whether the response depends on the
    session; every look, even `"x" in session`, counts.

    Args:
        sessions: policy, keys and clock.
        session_id: what the cookie says, if we signed it; or a function that verifies it when it is needed,
            and says what is wrong with it else.
        load: reads the session now; called once, from the thread that accesses it.
        offers: cookies that may name sessions of other libraries.
    """

    def __init__(
        self,
        sessions: Sessions,
        session_id: SessionId | Callable[[], SessionId | EndReason] | None,
        load: Callable[[Session], None],
        client: Client | None = None,
        offers: tuple[Offer, ...] = (),
    ) -> None:
        self._sessions = sessions
        self._session_id = session_id
        self.offers = offers
        self._load = load
        self.client = client or Client()
        self.standing = Standing()
        self.wishes = Wishes()
        self.accessed = False
        self._loaded: Loaded | None = None
        self.refusal: StoreUnavailableError | None = None  # why an access failed
        self._fields: Fields | None = None
        self._is_closed = False
        self._may_begin = True
        self._sent: dict[str, bytes] = {}

    @property
    def session_id(self) -> SessionId | None:
        """The id that the cookie names, or that the session has got since."""
        if callable(self._session_id):
            read = self._session_id()
            self._session_id = None
            if isinstance(read, EndReason):
                self.standing.ended = read
            else:
                self._session_id = read
                self.standing.shown = self.standing.shown or read
        return self._session_id

    @session_id.setter
    def session_id(self, session_id: SessionId | None) -> None:
        self._session_id = session_id

    @property
    def loaded(self) -> Loaded | None:
        """What is known of the session; None until the store has been asked, if it has to be."""
        if self._loaded is None and self.session_id is None and not self.offers:
            self._loaded = Loaded(Verdict.ABSENT)
            self.standing.found(self._loaded)
        return self._loaded

    async def aload(self) -> None:
        """Load without blocking the event loop, before the first access; that tells if it failed."""
        await self._sessions.aload(self)

    # The mapping.

    def __getitem__(self, name: str) -> Any:
        """Return a field.

        Raises:
            KeyError: there is none.
            StoreUnavailableError: nobody knows.
        """
        return self._used().get(name)

    def __setitem__(self, name: str, value: Any) -> None:
        """Set a field."""
        if not isinstance(name, str):
            raise TypeError(f"session fields have names of type str, not {type(name).__name__}")
        self._changing()
        is_user = name == self._sessions.user_field
        if is_user and value is not None:
            self.login(value)
        self.fields.set(name, value)
        if is_user and value is None:
            self._logout_but_for(self.fields)

    def __delitem__(self, name: str) -> None:
        """Delete a field.

        Raises:
            KeyError: there is none.
        """
        fields = self._changing()
        if name not in fields:
            raise KeyError(name)
        fields.delete(name)
        if name == self._sessions.user_field:
            self._logout_but_for(fields)

    def clear(self) -> None:
        """Forget all fields; if somebody is logged in, this is a `logout`."""
        if self.user_id is not None:
            self.logout()
        else:
            super().clear()

    def __contains__(self, name: object) -> bool:
        """Whether there is such a field; it need not decode."""
        return isinstance(name, str) and name in self._used()

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the fields."""
        return iter(self._used())

    def __len__(self) -> int:
        """Return the number of fields."""
        return len(self._used())

    def incr(self, name: str, by: int = 1) -> int:
        """Add to a number, 0 if there is none, and return it; no parallel request's addition is lost.

        The returned number does not know of additions that are not committed yet.
        """
        total: int = self._stepping(name).step(name, lambda value: (value or 0) + by)
        return total

    def add(self, name: str, *items: Any) -> None:
        """Add to a set, which is made if there is none; no parallel request's addition is lost."""
        self._stepping(name).step(name, lambda value: set(value or ()) | set(items))

    def _stepping(self, name: str) -> Fields:
        if name == self._sessions.user_field:  # it would be no login: an old id, and nothing to revoke
            raise ValueError(f"{name!r} says who is logged in; set it, or call login()")
        return self._changing()

    # The login.

    @property
    def user_id(self) -> Any:
        """Who is logged in: what was given to `login`; None for a visitor."""
        self._used()
        user = self.wishes.user if self.wishes.user is not None else self._stored_user()
        return unpack(user) if user else None

    @property
    def reference(self) -> str:
        """What names the session in a list of devices; empty if the store does not have it yet."""
        self._used()
        key = self.loaded.key if self.loaded is not None and self._record() is not None else None
        return self._sessions.ring.reference(key) if key is not None else ""

    @property
    def auth_time_s(self) -> float | None:
        """Wall clock of the login; None for a visitor."""
        self._used()
        if self.wishes.user is not None:
            return self._sessions.now_s()
        record = self._record()
        return record.meta.auth_s or None if record is not None else None

    def login(self, user_id: Any, *, device: str | None = None) -> None:
        """Bind the session to a user, under a new id; the old id is dead at once.

        Fields stay, unless they are another user's. Call it at every authentication, a second
        one for a sensitive action included. Source: OWASP ASVS 5.0 7.2.4.

        Args:
            user_id: text, whole number or UUID, as the app knows the user.
            device: a label for the list of devices; the User-Agent if none is given.

        Raises:
            TypeError: anything else: a forgotten check of a password often returns None or True.
            ValueError: an empty text.
        """
        if isinstance(user_id, bool) or not isinstance(user_id, str | int | UUID):
            raise TypeError(f"a user's id is text, a whole number or a UUID, not {type(user_id).__name__}")
        if user_id == "":
            raise ValueError("a user's id must not be empty")
        user = pack(user_id)
        self._changing()
        if self._stored_user() not in (b"", user):
            self._fields = None
        self.wishes.user, self.wishes.device = user, device

    def logout(self) -> None:
        """End the session and forget its fields; a field set afterwards begins another session."""
        self._changing()
        self._fields = None
        self.wishes = Wishes(logs_out=True)

    def _logout_but_for(self, fields: Fields) -> None:
        kept = {name: fields.get(name) for name in fields}
        self.logout()
        for name, value in kept.items():
            self.fields.set(name, value)

    def rotate(self) -> None:
        """Give the session a new id; the old one is dead at once. For a change of privilege."""
        self._changing()
        self.wishes.rotates = True

    def require_fresh(self, max_age_s: float) -> None:
        """Make sure that the user logged in lately.

        Raises:
            LoginNotFreshError: nobody is logged in, or for longer than that.
        """
        if self._loaded is not None and self._loaded.is_copy:
            self._sessions.confirm(self)
        auth_s = self.auth_time_s
        if auth_s is None or self._sessions.now_s() - auth_s > max_age_s:
            raise LoginNotFreshError(f"the login is older than {max_age_s:g} s; ask for the password again")

    async def arequire_fresh(self, max_age_s: float) -> None:
        """Do what `require_fresh` does without blocking the event loop."""
        await self._sessions.aload(self)
        if self._loaded is not None and self._loaded.is_copy:
            await self._sessions.aconfirm(self)
        self.require_fresh(max_age_s)

    # The lifetime.

    @property
    def expires_at_s(self) -> float:
        """Wall clock of the end if nobody comes back after this request."""
        self._used()
        now_s = self._sessions.now_s()
        meta = self.next_meta(now_s)
        return min(idle_end_s(meta, now_s), meta.ends_s)

    def set_lifetime(
        self,
        *,
        idle_s: float | None = None,
        absolute_s: float | None = None,
        is_persistent: bool | None = None,
    ) -> None:
        """Give this session lifetimes of its own.

        Args:
            idle_s: promised life without a visit.
            absolute_s: seconds from now to the absolute end.
            is_persistent: False lets the cookie end with the browser.
        """
        self._changing()
        if idle_s is not None:
            self.wishes.idle_s = idle_s
        if absolute_s is not None:
            self.wishes.ends_s = self._sessions.now_s() + absolute_s
        if is_persistent is not None:
            self.wishes.is_persistent = is_persistent

    @property
    def is_new(self) -> bool:
        """Whether the store has no such session yet."""
        self._used()
        return self._record() is None

    @property
    def modified(self) -> bool:
        """Whether there is something to save."""
        return self.wishes != NO_WISHES or bool(self.fields.unsaved())

    # The balancer.

    @property
    def moved(self) -> Moved | None:
        """Where the balancer took the session from, with the first request after a move."""
        return self.client.told.moved if self.client.told is not None else None

    def pin(self, why: str) -> None:
        """Say that something of this session is in this process alone, so that it is not moved elsewhere.

        It holds until `unpin`, the end of the session or the end of the process.

        Args:
            why: a word (`upload`), which the balancer shows in its status and metrics.

        Raises:
            ValueError: it is none.
        """
        self._pin(checked_pin(why))

    def unpin(self) -> None:
        """Say that this session is all in its store again."""
        self._pin("")

    def _pin(self, word: str) -> None:
        self.standing.pin = word
        if self._is_closed:  # a WebSocket, or a response that is being streamed: later responses tell
            self._sessions.balancer.pins.settle(self)

    # For flows and frameworks.

    @property
    def fields(self) -> Fields:
        """The fields, without counting as an access."""
        if self._fields is None:
            sessions = self._sessions
            incarnation = sessions.entropy(_INCARNATION_BYTES)
            self._fields = Fields({}, sessions.sealing, incarnation, sessions.policy.merges)
        return self._fields

    def take(self, loaded: Loaded) -> None:
        """Take over what the store said."""
        self._loaded = loaded
        self.standing.found(loaded)
        if loaded.record is not None:
            self._fields = Fields(
                loaded.record.fields,
                self._sessions.sealing,
                loaded.record.meta.incarnation,
                self._sessions.policy.merges,
            )

    def confirm(self, loaded: Loaded) -> None:
        """Take over what the primary says in place of a copy; changes of this request stay."""
        if loaded.record is None or not self.modified:
            self.take(loaded)
        else:  # what has changed elsewhere is merged when this request is saved
            self._loaded = loaded
            self.standing.found(loaded)

    def next_meta(self, now_s: float) -> Meta:
        """Return the meta data as this request wants it."""
        record, wishes, policy = self._record(), self.wishes, self._sessions.policy
        meta = record.meta if record is not None else None
        if meta is None or wishes.user is not None:
            meta = Meta(
                incarnation=self.fields.incarnation,
                user=wishes.user or b"",
                created_s=now_s,
                auth_s=now_s if wishes.user is not None else 0.0,
                ends_s=now_s + policy.absolute_s,
                idle_s=policy.idle_s,
                confirmed_s=now_s,
                device=wishes.device if wishes.device is not None else self.client.user_agent,
                address=self.client.address,
                old=self.old_tag,
            )
        return meta._replace(
            old=meta.old if meta.user else self.old_tag or meta.old,
            idle_s=wishes.idle_s if wishes.idle_s is not None else meta.idle_s,
            ends_s=wishes.ends_s if wishes.ends_s is not None else meta.ends_s,
            is_persistent=meta.is_persistent if wishes.is_persistent is None else wishes.is_persistent,
        )

    @property
    def is_slow(self) -> bool:
        """Whether to load it takes so long that an event loop should not wait in a blocking call."""
        return self._sessions.store.is_slow or any(each.guard.is_slow for each in self.offers)

    @cached_property
    def shown(self) -> tuple[Shown, ...]:
        """Sessions of other libraries that the request's cookies name."""
        return look_at(self.offers)

    @property
    def old_tag(self) -> bytes:
        """What this session keeps to know the other libraries' cookies again; empty if none came along."""
        return self._sessions.ring.tag(
            [f"{each.source.name} {each.identity}".encode() for each in self.shown]
        )

    @property
    def leaves_old(self) -> bool:
        """Whether the other libraries' sessions of this request are over too."""
        changes_user = self.wishes.user is not None and self._stored_user() not in (b"", self.wishes.user)
        return self.wishes.logs_out or changes_user

    def close(self, *, may_begin: bool = False) -> None:
        """Refuse changes from now on: the headers of the response go out.

        A first look is refused as well unless `may_begin`: nothing would say that the response depends
        on the session (`Vary`), or write the visit down.
        """
        self._is_closed, self._may_begin = True, may_begin
        self._sent = self._unsaved_values()

    def late_changes(self) -> list[str]:
        """Return the fields whose values changed in place after `close`, which nobody could refuse."""
        self._may_begin = True
        if self._fields is None or not self._is_closed:
            return []
        now, sent = self._unsaved_values(), self._sent
        return sorted(name for name in now.keys() | sent.keys() if now.get(name) != sent.get(name))

    def _unsaved_values(self) -> dict[str, bytes]:
        if self._fields is None:
            return {}
        return {each.change.name: pack(each.mine) for each in self._fields.unsaved()}

    def _changing(self) -> Fields:
        if self._is_closed:
            raise TooLateError("the response has begun; change the session before it does")
        return self._used()

    def _used(self) -> Fields:
        if not self._may_begin and not self.accessed:
            raise TooLateError("the response has begun; read the session at least once before it does")
        self.accessed = True
        if self._loaded is None and self.loaded is None:
            self._load(self)
        loaded = self._loaded
        assert loaded is not None  # noqa: S101  # `load` calls `take`
        if loaded.failure is not None and loaded.verdict is Verdict.UNKNOWN:
            self._refuse(loaded.failure)
        return self.fields

    def _refuse(self, failure: StoreUnavailableError) -> None:
        if self._sessions.policy.on_unknown is not OnUnknown.ANONYMOUS:
            self.refusal = failure
            raise failure

    def _record(self) -> Record | None:
        return self.loaded.record if self.loaded is not None and not self.wishes.logs_out else None

    def _stored_user(self) -> bytes:
        record = self._record()
        return record.meta.user if record is not None else b""

    def __repr__(self) -> str:
        """Return the state without any content."""
        state = self.loaded.verdict.value if self.loaded is not None else "not loaded"
        return f"<Session {state}>"
