"""What sessions tell the balancer in front of this server, and hear from it.

A balancer of limpet sends `Limpet-Floor` with every request, and only who was asked answers with
`Limpet-State` (`limpet.core.session_state` is the codec). The answer says of a session whether it is
*portable*, that is, whether any server with the same fingerprint can go on with it, or *pinned*: its
data is in the memory of this process, its store did not answer just now, it has an open WebSocket, or
the app says so (`Session.pin`). What is not known is not said.

A *pin* holds for as long as this process remembers what it is about, so it is kept here, not in the
store: on another server, after this one has died, there is nothing left to be pinned to.

The *floor* is the version that this client has seen already, of the session with that tag. Copies that are
older are not served; if the primary itself has an older one, writes were lost.
"""

from __future__ import annotations

import hmac
import inspect
import logging
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from limpet.core.session_state import (
    NO_FLOOR,
    STATE_FIELD,
    Moved,
    SessionState,
    format_state,
    parse_floor,
    parse_moved,
)
from limpet.sessions.decide import Verdict
from limpet.sessions.stores import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import TypeAlias

    from limpet.core.session_state import Floor
    from limpet.sessions.headers import Headers
    from limpet.sessions.record import EndReason, Key
    from limpet.sessions.request_state import Client, Loaded
    from limpet.sessions.service import Sessions
    from limpet.sessions.session import Session
    from limpet.sessions.session_id import SessionId

    #: Is told of a session that came from another server; an async framework awaits what it returns.
    OnMoved: TypeAlias = Callable[[Session, Moved], object]

LOG = logging.getLogger("limpet.sessions")
_FINGERPRINT_DIGITS, _TAG_DIGITS = 16, 8
_WORD = re.compile(r"[a-z][a-z0-9_]{0,31}")
_MAX_PINS = 100_000


class Told(NamedTuple):
    """What the balancer says with a request.

    Attributes:
        floor: the version that the client has seen, and of which session.
        moved: where the session was before, with the first request after a move.
    """

    floor: Floor = NO_FLOOR
    moved: Moved | None = None


def read_told(floor: str | None, moved: str | None) -> Told | None:
    """Read Limpet-Floor and Limpet-Moved; None if no balancer asks."""
    if floor is None:
        return None
    return Told(parse_floor(floor), parse_moved(moved) if moved is not None else None)


def told_in(environ: Mapping[str, Any]) -> Told | None:
    """Do the same for a WSGI environment, which Django's `request.META` is too."""
    return read_told(environ.get("HTTP_LIMPET_FLOOR"), environ.get("HTTP_LIMPET_MOVED"))


@dataclass(slots=True)
class Standing:
    """What is known of a request's session in the store, as of now.

    Attributes:
        version: 0 if there is no session; None if nobody has looked.
        at: where the session stands that the version is of.
        has_user: None as long as nobody has looked.
        ended: why the session that the client named is over.
        is_silent: whether the store has not answered at least once.
        shown: what the client's cookie said; None if it said nothing, or nobody has looked.
        key: of the session that the client gets with the response; None if it keeps the one it has.
        pin: what the app said: a word, "" for no longer, None for nothing.
    """

    version: int | None = None
    at: Key | None = None
    has_user: bool | None = None
    ended: EndReason | None = None
    is_silent: bool = False
    shown: SessionId | None = None
    key: Key | None = None
    pin: str | None = None

    def found(self, loaded: Loaded) -> None:
        """Take note of what the store said."""
        if loaded.failure is not None:
            self.is_silent = True
        if loaded.record is not None:
            self.written(loaded.record.version, loaded.key, has_user=bool(loaded.record.meta.user))
        elif loaded.verdict is Verdict.ABSENT:
            self.gone(loaded.reason)

    def written(self, version: int, at: Key | None, *, has_user: bool | None = None) -> None:
        """Take note of what stands where now; `has_user` if that may be new."""
        self.version, self.at = version, at
        self.has_user = self.has_user if has_user is None else has_user

    def gone(self, reason: EndReason | None) -> None:
        """Take note that the session is over."""
        self.version, self.at, self.has_user = 0, None, False
        self.ended = reason or self.ended

    def forget(self) -> None:
        """Say neither version nor user."""
        self.version = self.at = self.has_user = None


def state_of(
    standing: Standing,
    *,
    is_looked_at: bool,
    is_shared: bool,
    fingerprint: str,
    tag: str,
    pin: str,
    is_websocket: bool,
) -> SessionState:
    """Return what the balancer is to know.

    Args:
        is_looked_at: whether the response depends on the session.
        is_shared: whether other processes read its store.
        fingerprint: empty if it is not known yet.
        tag: of the session that the version is of; empty if there is none.
        pin: what the app says; empty for nothing.
        is_websocket: whether a WebSocket begins.
    """
    why = "" if is_shared else "memory"
    why = why or pin or ("websocket" if is_websocket else "")
    why = why or ("store" if standing.is_silent else "")
    why = why or ("" if fingerprint else "unknown")
    return SessionState(
        is_portable=not why,
        version=standing.version if is_looked_at else None,
        tag=tag if is_looked_at else "",
        fingerprint="" if why else fingerprint,
        why=why,
        has_user=standing.has_user if is_looked_at else None,
        ended=standing.ended.value if standing.ended is not None else "",
    )


def _hash(key: bytes, *parts: str) -> str:
    return hmac.digest(key, "\0".join(parts).encode(), "sha256").hex()


def checked_pin(why: str) -> str:
    """Return a reason for a pin.

    Raises:
        ValueError: it is no word that can be a label of metrics.
    """
    if not _WORD.fullmatch(why):
        raise ValueError(f"{why!r} is no reason for a pin; write a word of a-z, 0-9 and _, such as 'upload'")
    return why


class Pins:
    """Sessions whose state is partly in this process, as the app has said; the newest `size` of them."""

    def __init__(self, size: int = _MAX_PINS) -> None:
        self._size = size
        self._words: OrderedDict[Key, str] = OrderedDict()
        self._lock = threading.Lock()

    def settle(self, session: Session) -> str:
        """Take over what the request said of its session's pin, and return the word; empty if it has none."""
        standing = session.standing
        if standing.pin is None and not self._words:
            return ""
        session_id = standing.shown or session.session_id
        shown, is_over = session_id.key if session_id is not None else None, standing.ended is not None
        with self._lock:
            known = self._words.get(shown, "") if shown is not None and not is_over else ""
            word = known if standing.pin is None else standing.pin
            if shown is not None:
                self._put(shown, "" if is_over else word)
            if standing.key is not None:
                self._put(standing.key, word)
        return word

    def _put(self, key: Key, word: str) -> None:
        self._words.pop(key, None)
        if word:
            self._words[key] = word
            if len(self._words) > self._size:
                self._words.popitem(last=False)


class Balancer:
    """The balancer in front of this server, as far as sessions go.

    Args:
        sessions: whose store, secrets and cookie count.
        on_moved: the app's hook.
    """

    def __init__(self, sessions: Sessions, on_moved: OnMoved | None) -> None:
        self._sessions = sessions
        self.on_moved = on_moved
        self.pins = Pins()
        self._fingerprint = ("", "", "")

    def tell(self, session: Session, *, accessed: bool | None = None, is_websocket: bool = False) -> Headers:
        """Return what it is told of a session once that was saved; no header if no balancer asks.

        Args:
            accessed: whether the response depends on the session; None if the session knows.
            is_websocket: whether a WebSocket begins.
        """
        if session.client.told is None:
            return []
        pin = self.pins.settle(session)
        standing, identity = session.standing, self._sessions.store.identity
        if session.refusal is not None:
            standing.is_silent = True
        state = state_of(
            standing,
            is_looked_at=session.accessed if accessed is None else accessed,
            is_shared=identity is not None,
            fingerprint=self._fingerprint_of(identity) if identity else "",
            tag=self._tag(standing.at) if standing.at is not None else "",
            pin=pin,
            is_websocket=is_websocket,
        )
        return [(STATE_FIELD, format_state(state))]

    def _fingerprint_of(self, identity: str) -> str:
        of, name, found = self._fingerprint
        cookie, ring = self._sessions.cookie.full_name, self._sessions.ring
        if (of, name) != (identity, cookie):
            found = _hash(ring.fingerprint_key, identity, NAMESPACE, cookie, *sorted(ring.ids))
            found = found[:_FINGERPRINT_DIGITS]
            self._fingerprint = (identity, cookie, found)
        return found

    def floor(self, client: Client, key: Key) -> int:
        """Return the version that a client has seen of the session at a key; 0 if that is not known."""
        told = client.told
        if told is None or told.floor.version == 0 or told.floor.tag != self._tag(key):
            return 0
        return told.floor.version

    def _tag(self, key: Key) -> str:
        return _hash(self._sessions.ring.fingerprint_key, key.session)[:_TAG_DIGITS]

    def tell_moved(self, session: Session) -> None:
        """Call the app's hook if the session was moved here; whatever it raises, the request goes on."""
        if self.on_moved is None or session.moved is None:
            return
        try:
            answer = self.on_moved(session, session.moved)
            if inspect.isawaitable(answer):
                _discard(answer)
                raise TypeError("on_moved is async, and this framework is not; pass an ordinary function")  # noqa: TRY301
        except Exception:
            LOG.exception("on_moved failed; the request goes on")

    async def atell_moved(self, session: Session) -> None:
        """Do what `tell_moved` does, and await what an async hook returns."""
        if self.on_moved is None or session.moved is None:
            return
        try:
            answer = self.on_moved(session, session.moved)
            if inspect.isawaitable(answer):
                await answer
        except Exception:
            LOG.exception("on_moved failed; the request goes on")


def _discard(answer: Awaitable[Any]) -> None:
    if inspect.iscoroutine(answer):
        answer.close()
