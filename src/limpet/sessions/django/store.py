"""Django's session interface over a limpet session.

Django's `SessionBase` provides the methods of a mapping over `_session` (blocking) and
`_aget_session` (not blocking); here both are the limpet session itself, which loads at its first
use. What Django's engines do at once (`cycle_key`) is noted down and done in one step when the session
is saved, or before anyone looks at its outcome (`session_key`, `exists`). `flush` and `create` act
at once: a logout must hold even if the response fails.

After a save the session is read anew if it is used again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError

from limpet.sessions import flows, loading
from limpet.sessions.balancer import Standing
from limpet.sessions.decide import CookieAct, Verdict, is_renewal_due
from limpet.sessions.django.from_settings import sessions
from limpet.sessions.django.lifetime import apply_expiry
from limpet.sessions.flows import Saved
from limpet.sessions.operations import Purge, ask
from limpet.sessions.policy import OnUnknown
from limpet.sessions.request_state import Client, Loaded

if TYPE_CHECKING:
    from limpet.sessions.errors import StoreUnavailableError
    from limpet.sessions.migration.adopt import Offer
    from limpet.sessions.operations import Flow
    from limpet.sessions.session import Session

_KEEP = Saved(CookieAct.KEEP)


class SessionStore(SessionBase):  # type: ignore[misc]  # Django brings no types
    """The session of one request, as Django expects it.

    Args:
        session_key: the value of the session cookie; None if there is none.

    Attributes:
        answer: what the response must say to the browser, as far as it is known.
    """

    _cookie_value: str | None
    _held: Session | None
    _renews: bool

    def __init__(self, session_key: str | None = None) -> None:
        self._sessions = sessions()
        self._client = Client()
        self._standing = Standing()
        self._offers: tuple[Offer, ...] = ()
        super().__init__(session_key)  # which opens the session through `_session_key`
        self._modified: bool | None = None
        self._is_logout = False
        self.answer = _KEEP

    # What Django's mapping methods work on.

    def _get_session(self, no_load: bool = False) -> Session:  # noqa: ARG002  # Django's signature
        self.accessed = True
        return self._inner

    _session = property(_get_session)

    async def _aget_session(self, no_load: bool = False) -> Session:  # noqa: ARG002
        self.accessed = True
        await self._sessions.aload(self._inner)
        return self._inner

    @property
    def limpet(self) -> Session:
        """The limpet session (`incr`, `require_fresh`, ...); async code loads it first, by any `a` method."""
        return self._get_session()

    @property
    def modified(self) -> bool:
        """Whether there is something to save: what Django or the app said, else what has changed."""
        if self._modified is None:
            return self._held is not None and self._held.modified
        return self._modified

    @modified.setter
    def modified(self, value: bool) -> None:
        self._modified = value

    def is_empty(self) -> bool:
        """Whether there is neither a session nor anything to begin one with, nor a cookie to respect.

        Django's middleware deletes the cookie of an empty session. A cookie that opens nothing stays:
        the answer that deletes it could overtake the login of another tab.
        """
        return self._cookie_value is None and not self._inner.wishes.creates and not len(self._inner.fields)

    def clear(self) -> None:
        """Delete every field."""
        session = self._get_session()
        for name in list(session):
            del session[name]
        self.modified = True

    def get_session_cookie_age(self) -> int:
        """Return the promised life without a visit, in seconds."""
        return int(self._sessions.policy.idle_s)

    # The key.

    def _get_session_key(self) -> str | None:
        if self._is_pending():
            self.save()
        loaded = self._inner.loaded
        if loaded is not None and loaded.verdict is Verdict.ABSENT:
            return None
        if loaded is not None and loaded.is_adopted and self._inner.session_id is not None:
            return self._sessions.ring.sign(self._inner.session_id)
        return self._cookie_value

    def _set_session_key(self, value: str | None) -> None:
        self._open(value or None)

    session_key = property(_get_session_key)
    _session_key = property(_get_session_key, _set_session_key)

    def cycle_key(self) -> None:
        """Give the session a new id; the old one is dead at once."""
        self._cycle(self._get_session())

    async def acycle_key(self) -> None:
        """Do what `cycle_key` does without blocking the event loop."""
        self._cycle(await self._aget_session())

    def _cycle(self, session: Session) -> None:
        if session.is_new:
            session.wishes.creates = True
        if self._is_replacing_the_secret(session):
            self._renews = True
        else:
            session.rotate()
        self.modified = True

    def _is_replacing_the_secret(self, session: Session) -> bool:
        # With a new SECRET_KEY Django cycles each user's key, at the first request of many that a
        # page sends at once. A renewal comes anyway, and lets all of them through.
        old, policy = session.session_id, self._sessions.policy
        if old is None or old.is_newest_key or session.user_id is None or not session.client.is_safe:
            return False
        return is_renewal_due(old, self._sessions.now_s(), policy)

    def _is_pending(self) -> bool:
        wishes = self._inner.wishes
        return self._renews or wishes.rotates or wishes.creates or wishes.user is not None

    # What asks the store, as flows: each is driven blocking and not.

    def create(self) -> None:
        """Begin a session that the store has when this returns."""
        self._drive(self._creating())

    async def acreate(self) -> None:
        """Do what `create` does without blocking the event loop."""
        await self._adrive(self._creating())

    def save(self, must_create: bool = False) -> None:
        """Save the session; afterwards the store has it.

        Raises:
            CreateError: with `must_create`: there is such a session.
            UpdateError: another request has ended it, or given it another id, meanwhile.
            StoreUnavailableError: nobody knows whether it was saved.
        """
        self._drive(self._saving(must_create=must_create))

    async def asave(self, must_create: bool = False) -> None:
        """Do what `save` does without blocking the event loop."""
        await self._adrive(self._saving(must_create=must_create))

    def finish(self, *, is_visit: bool = False) -> None:
        """Save what there is to save at the end of a request; for the middleware.

        Args:
            is_visit: whether a request counts as a visit although it did not use its session.

        Raises:
            StoreUnavailableError: nobody knows whether it was saved.
        """
        self._drive(self._finishing(is_visit=is_visit))

    async def afinish(self, *, is_visit: bool = False) -> None:
        """Do what `finish` does without blocking the event loop."""
        await self._adrive(self._finishing(is_visit=is_visit))

    def flush(self) -> None:
        """End the session, now, and begin an empty one that is stored when it holds something."""
        self._drive(self._flushing())

    async def aflush(self) -> None:
        """Do what `flush` does without blocking the event loop."""
        await self._adrive(self._flushing())

    def delete(self, session_key: str | None = None) -> None:
        """End the session of a key; of this one if there is none."""
        self._drive(self._deleting(session_key))

    async def adelete(self, session_key: str | None = None) -> None:
        """Do what `delete` does without blocking the event loop."""
        await self._adrive(self._deleting(session_key))

    def exists(self, session_key: str | None) -> bool:
        """Whether the store has the session of a key."""
        return bool(self._drive(self._finding(session_key)))

    async def aexists(self, session_key: str | None) -> bool:
        """Do what `exists` does without blocking the event loop."""
        return bool(await self._adrive(self._finding(session_key)))

    def load(self) -> dict[str, Any]:
        """Return what is stored; it does not know of changes that are not saved."""
        return dict(self._drive(self._reading()))

    async def aload(self) -> dict[str, Any]:
        """Do what `load` does without blocking the event loop."""
        return dict(await self._adrive(self._reading()))

    @classmethod
    def clear_expired(cls) -> None:
        """Remove expired sessions, where the store does not do so by itself."""
        service = sessions()
        service.run(ask(Purge(service.now_s())))

    @classmethod
    async def aclear_expired(cls) -> None:
        """Do what `clear_expired` does without blocking the event loop."""
        service = sessions()
        await service.arun(ask(Purge(service.now_s())))

    # For the middleware.

    @property
    def offers(self) -> tuple[Offer, ...]:
        """Cookies of other libraries that came along; none are left after a logout."""
        return self._offers

    @offers.setter
    def offers(self, offers: tuple[Offer, ...]) -> None:
        self._offers = offers
        self._open(self._cookie_value)

    @property
    def client(self) -> Client:
        """Who sends the request."""
        return self._client

    @client.setter
    def client(self, client: Client) -> None:
        self._client = client
        if self._held is not None:
            self._held.client = client

    @property
    def is_slow(self) -> bool:
        """Whether to load it takes so long that an event loop should not wait in a blocking call."""
        return self._inner.is_slow

    @property
    def failure(self) -> StoreUnavailableError | None:
        """Why the app could not use its session; None if it could."""
        loaded = self._held.loaded if self._held is not None else None
        if loaded is None or loaded.verdict is not Verdict.UNKNOWN:
            return None
        return None if self._sessions.policy.on_unknown is OnUnknown.ANONYMOUS else loaded.failure

    async def preload(self) -> None:
        """Load without blocking the event loop and without counting as an access."""
        await self._sessions.aload(self._inner)

    def tell_moved(self) -> None:
        """Call the app's hook if the balancer has moved the session here."""
        if self._client.told is not None and self._client.told.moved is not None:
            self._sessions.balancer.tell_moved(self._inner)
            self.accessed = self.accessed or self._inner.accessed

    async def atell_moved(self) -> None:
        """Do what `tell_moved` does; the hook may be async."""
        if self._client.told is not None and self._client.told.moved is not None:
            await self._sessions.balancer.atell_moved(self._inner)
            self.accessed = self.accessed or self._inner.accessed

    def state(self) -> list[tuple[str, str]]:
        """Return the header that tells the balancer of the session, if one asks."""
        if self._client.told is None:
            return []
        if self.failure is not None:
            self._standing.is_silent = True
        return self._sessions.balancer.tell(self._inner, accessed=self.accessed)

    def will_log_out(self) -> None:
        """Take note that the flush to come is a logout, which also ends what follows the session."""
        self._is_logout = True

    # The flows.

    def _creating(self) -> Flow[None]:
        yield from self._loading()
        self._cycle(self._get_session())
        yield from self._saving()

    def _saving(self, *, must_create: bool = False) -> Flow[None]:
        yield from self._loading()
        session = self._inner
        if session.is_new:
            self._raise_if_overtaken(session)
            session.wishes.creates = True
        elif must_create:
            raise CreateError
        saved = yield from self._storing(session)
        if saved.is_overtaken:
            raise UpdateError

    def _raise_if_overtaken(self, session: Session) -> None:
        # A session that is over since a moment ago is not followed by another under its cookie.
        is_straggler = session.loaded is not None and session.loaded.is_straggler
        if is_straggler and session.wishes.user is None and not session.wishes.logs_out:
            raise UpdateError

    def _finishing(self, *, is_visit: bool) -> Flow[None]:
        if is_visit:
            yield from self._loading()
            self._inner.accessed = True
        if self._held is not None and self._held.accessed and self._modified is not False:
            yield from self._storing(self._held)

    def _storing(self, session: Session) -> Flow[Saved]:
        if session.modified:
            apply_expiry(session, self._sessions)
        saved = yield from flows.save(session, self._sessions)
        if saved.is_overtaken:
            self.answer = saved
        elif saved.cookie is not CookieAct.KEEP:
            self.answer = saved
            self.modified = True
        self._open(self._value_after(saved))
        return saved

    def _value_after(self, saved: Saved) -> str | None:
        if saved.session_id is not None:
            return self._sessions.ring.sign(saved.session_id)
        return None if saved.cookie is CookieAct.CLEAR else self._cookie_value

    def _flushing(self) -> Flow[None]:
        yield from self._loading()
        session = self._inner
        len(session)  # raises if nobody knows what there is to end
        if self._is_logout:
            session.logout()
            saved = yield from flows.save(session, self._sessions)
        else:
            saved = yield from flows.end_here(session, self._sessions)
        value, self._offers = self._cookie_value, ()
        self._open(None)
        self.accessed = self.modified = True
        self.answer = Saved(CookieAct.CLEAR)
        if saved.is_overtaken:
            # The browser may have the cookie of the session that follows: it is left alone.
            self.answer, self.modified, self._cookie_value = saved, False, value
            self._inner.take(Loaded(Verdict.ABSENT, is_straggler=True))

    def _deleting(self, session_key: str | None) -> Flow[None]:
        is_own = session_key is None or session_key == self._cookie_value
        other = self._opened(session_key or self._cookie_value, self._offers if is_own else ())
        if other.loaded is None:
            yield from loading.load(other, self._sessions)
            other.logout()
            yield from flows.save(other, self._sessions)

    def _finding(self, session_key: str | None) -> Flow[bool]:
        if self._is_pending():
            yield from self._saving()
        other = self._opened(session_key)
        if other.session_id is not None:
            yield from loading.load(other, self._sessions)
        return not other.is_new

    def _reading(self) -> Flow[Session]:
        fresh = self._opened(self._cookie_value, self._offers)
        fresh.standing = self._standing
        if fresh.loaded is None:
            yield from loading.load(fresh, self._sessions)
        if self._inner.loaded is None:
            self._held = fresh
        return fresh

    def _loading(self) -> Flow[None]:
        if self._inner.loaded is None:
            yield from loading.load(self._inner, self._sessions)

    def _drive(self, flow: Flow[Any]) -> Any:
        return self._sessions.run(flow)

    async def _adrive(self, flow: Flow[Any]) -> Any:
        return await self._sessions.arun(flow)

    def _open(self, value: str | None) -> None:
        self._cookie_value = value
        self._held = None
        self._renews = False

    @property
    def _inner(self) -> Session:
        # Opened at its first use: a request that does not use it does not even check the signature.
        if self._held is None:
            self._held = self._opened(self._cookie_value, self._offers)
            self._held.standing = self._standing
        return self._held

    def _opened(self, value: str | None, offers: tuple[Offer, ...] = ()) -> Session:
        session = self._sessions.open(value, offers=offers)
        session.client = self._client
        return session


def _note_logout(*, request: Any, **_: Any) -> None:
    session = getattr(request, "session", None)
    if isinstance(session, SessionStore):
        session.will_log_out()


user_logged_out.connect(_note_logout, dispatch_uid="limpet.sessions.django")
