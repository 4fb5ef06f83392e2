"""The one object that an app makes; frameworks and the command line use sessions through it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextlib import suppress
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

from limpet.core.cookies import find_values
from limpet.errors import ConfigError
from limpet.sessions import flows, loading
from limpet.sessions.balancer import Balancer
from limpet.sessions.codec import Sealing
from limpet.sessions.cookie import CookieSettings
from limpet.sessions.decide import CookieAct
from limpet.sessions.drive import adrive, drive
from limpet.sessions.events import LOG, Events
from limpet.sessions.migration.adopt import GuardedSource, find_offers
from limpet.sessions.migration.source import SourceStore
from limpet.sessions.near_cache import Copies, NearCache, near_cache_of, wait_s
from limpet.sessions.policy import OnUnknown, Policy, preset
from limpet.sessions.recent import Recent
from limpet.sessions.record import EndReason
from limpet.sessions.request_state import Client
from limpet.sessions.revoke import (
    Listed,
    list_user,
    revoke_everyone,
    revoke_reference,
    revoke_session,
    revoke_user,
)
from limpet.sessions.secret_ids import note_secret
from limpet.sessions.session import Session
from limpet.sessions.session_id import SecretRing, from_setting, split_secrets
from limpet.sessions.stores import open_store
from limpet.sessions.stores.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from limpet.sessions.balancer import OnMoved, Told
    from limpet.sessions.drive import Performer
    from limpet.sessions.migration.adopt import Offer
    from limpet.sessions.migration.source import Source
    from limpet.sessions.operations import Flow
    from limpet.sessions.session_id import SessionId
    from limpet.sessions.stores import Finding, Store, Watchable

S = TypeVar("S", bound=Session)
T = TypeVar("T")
STORE_VARIABLE = "LIMPET_SESSION_STORE"
SECRET_VARIABLE = "LIMPET_SECRET"  # noqa: S105  # the name of a variable
_LABEL_LENGTH = 200
SECURE_VARIABLE = "LIMPET_SESSION_SECURE"


class Options(TypedDict, total=False):
    """What a framework's middleware passes on to `Sessions`; see there."""

    store: str | Store | None
    secret: str | bytes | Sequence[str | bytes] | None
    policy: Policy | str | None
    cookie: CookieSettings | None
    secure: bool | None
    old: Sequence[Source]
    encrypt: bool
    deadline_s: float
    near_cache: NearCache | bool | None
    on_moved: OnMoved | None


class Sessions:
    """Sessions of one app: policy, secrets, cookie and store.

    Args:
        store: URL (`redis://`, `sqlite:///path`, `memory://` and so on) or a store; None reads
            `LIMPET_SESSION_STORE`.
        secret: one secret, or several with the newest first; None reads `LIMPET_SECRET`.
        policy: lifetimes and rules, or the name of a preset ("aal1", "aal2", "aal3").
        cookie: name and attributes.
        secure: instead of `cookie`: False for development without TLS; None reads
            `LIMPET_SESSION_SECURE` (0 or 1), which is 1 by default.
        old: sources of other libraries' sessions (`limpet.sessions.migration`), which are adopted at
            their first access.
        user_field: a field in which the framework keeps the id of who is logged in: setting it is a
            `login`, and deleting it ends the session but for the other fields.
        encrypt: whether fields are encrypted at rest.
        deadline_s: how long one operation may take, its retry included.
        near_cache: True keeps copies of sessions in this process, so that requests that only read ask no
            store; a `NearCache` says how many. None reads `LIMPET_NEAR_CACHE` (0 or 1), 0 by default.
        on_moved: called as `on_moved(session, moved)` before the app runs, with the first request after
            limpet has moved the session here from another server; an async framework awaits it.
        now_s: wall clock; the store's by default, so that servers whose clocks differ agree.
        entropy: gives n random bytes.

    Raises:
        ConfigError: no store or no secret.
        KeyRingError: a secret that is too short.
    """

    def __init__(
        self,
        store: str | Store | None = None,
        *,
        secret: str | bytes | Sequence[str | bytes] | None = None,
        policy: Policy | str | None = None,
        cookie: CookieSettings | None = None,
        secure: bool | None = None,
        user_field: str | None = None,
        old: Sequence[Source] = (),
        encrypt: bool = False,
        deadline_s: float = 0.25,
        near_cache: NearCache | bool | None = None,
        on_moved: OnMoved | None = None,
        now_s: Callable[[], float] | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        _check_presence(store, secret)
        self.ring = _ring(secret)
        if not isinstance(cookie, CookieSettings | None):
            raise ConfigError(
                [f"sessions.cookie: {cookie!r} is no CookieSettings; write CookieSettings(name=...)"]
            )
        self.policy = preset(policy) if isinstance(policy, str) else policy or Policy()
        self.cookie = cookie or CookieSettings(secure=_secure() if secure is None else secure)
        self.user_field = user_field
        self.old = _guarded(old, self.cookie, deadline_s)
        self.sealing = Sealing(self.ring.cipher_ring(), entropy, is_on=encrypt)
        self.events = Events()
        self.recent = Recent(self.policy.stale_s) if self.policy.on_unknown is OnUnknown.STALE else None
        self.entropy = entropy
        self._unguarded = _store(store, deadline_s)
        self.store = Guard(self._unguarded, deadline_s=deadline_s)
        near = near_cache_of(near_cache, self._unguarded)
        self._performer: Performer = (
            Copies(self.store, cast("Watchable", self._unguarded), near, self.events)
            if near is not None
            else self.store
        )
        self.now_s = now_s or self.store.now_s
        self.balancer = Balancer(self, on_moved)
        self._check: threading.Thread | None = None
        self._check_pid = 0

    def open(
        self,
        cookie: str | Sequence[str] | None,
        *,
        offers: tuple[Offer, ...] = (),
        address: str = "",
        user_agent: str = "",
        is_safe: bool = False,
        told: Told | None = None,
    ) -> Session:
        """Return the session of a request; no I/O.

        Args:
            cookie: the value of the session cookie; None if there is none. Of several values the
                newest that we signed counts, so that none that comes from elsewhere logs out.
            offers: cookies that may name sessions of other libraries.
            address: the client's IP address, for the list of devices.
            user_agent: for the same.
            is_safe: whether the method is GET, HEAD, OPTIONS or TRACE (RFC 9110 section 9.2.1).
            told: what the balancer says with the request (`balancer.read_told`).
        """
        client = Client(_label(address), _label(user_agent), is_safe, told)
        return self._opened(cookie, offers, client, Session)

    def open_request(
        self,
        cookies: Mapping[str, str],
        *,
        address: str = "",
        user_agent: str = "",
        is_safe: bool = False,
        told: Told | None = None,
    ) -> Session:
        """Return the session of a request, found among its cookies; no I/O.

        Args:
            cookies: all of the request, by name.
            address, user_agent, is_safe, told: as for `open`.
        """
        found, offers = self.cookie.find_all(cookies), find_offers(self.old, cookies)
        client = Client(_label(address), _label(user_agent), is_safe, told)
        return self._opened(found, offers, client, Session)

    def open_header(
        self,
        header: bytes,
        *,
        address: str = "",
        user_agent: str = "",
        is_safe: bool = False,
        told: Told | None = None,
    ) -> Session:
        """Return the session of a request, found in its Cookie header; no I/O.

        Args:
            header: all of it; several Cookie headers joined by "; " (RFC 9113 section 8.2.3).
            address, user_agent, is_safe, told: as for `open`.
        """
        return self.open_as(
            Session, header, address=address, user_agent=user_agent, is_safe=is_safe, told=told
        )

    def open_as(
        self,
        kind: type[S],
        header: bytes,
        *,
        address: str = "",
        user_agent: str = "",
        is_safe: bool = False,
        told: Told | None = None,
    ) -> S:
        """Do what `open_header` does, for a framework that has a kind of session of its own."""
        found = self.cookie.find_in_header(header) if header else None
        offers = find_offers(self.old, _first_of_each(self.old, header)) if self.old else ()
        return self._opened(found, offers, Client(_label(address), _label(user_agent), is_safe, told), kind)

    def load(self, session: Session) -> None:
        """Load a session now, blocking; an access does so by itself."""
        if session.loaded is None:
            self.run(loading.load(session, self))

    async def aload(self, session: Session) -> None:
        """Load a session without blocking the event loop; do it before the first access."""
        if session.loaded is None:
            await self.arun(loading.load(session, self))

    def confirm(self, session: Session) -> None:
        """Ask the primary for a session of which this process has a copy."""
        self.run(loading.confirm(session, self))

    async def aconfirm(self, session: Session) -> None:
        """Do what `confirm` does without blocking the event loop."""
        await self.arun(loading.confirm(session, self))

    def save(self, session: Session) -> list[tuple[str, str]]:
        """Save a session and return the headers that the response needs; call it before they go out.

        Raises:
            StoreUnavailableError: answer 503 with Retry-After instead, and set no cookie.
        """
        return self._headers(session, self.run(flows.save(session, self)))

    async def asave(self, session: Session) -> list[tuple[str, str]]:
        """Do what `save` does without blocking the event loop."""
        return self._headers(session, await self.arun(flows.save(session, self)))

    def list_user(self, user_id: Any) -> list[Listed]:
        """Return a user's live sessions, the one that was seen last first; "42" and 42 are the same user."""
        return self.run(list_user(self, user_id))

    async def alist_user(self, user_id: Any) -> list[Listed]:
        """Do what `list_user` does without blocking the event loop."""
        return await self.arun(list_user(self, user_id))

    def revoke_user(self, user_id: Any, *, with_old: bool | None = None, wait: bool = False) -> None:
        """End every session of a user, at once and on every server.

        Args:
            with_old: also those of other libraries that are not adopted yet; None if there is `old`.
            wait: whether to return only when no server can have a copy of them any longer, not even one
                that is cut off from the store: about a second; see `near_cache`.
        """
        self.run(revoke_user(self, user_id, with_old=bool(self.old) if with_old is None else with_old))
        self._wait(wait)

    async def arevoke_user(self, user_id: Any, *, with_old: bool | None = None, wait: bool = False) -> None:
        """Do what `revoke_user` does without blocking the event loop."""
        with_old = bool(self.old) if with_old is None else with_old
        await self.arun(revoke_user(self, user_id, with_old=with_old))
        await self._await(wait)

    def revoke_session(self, user_id: Any, reference: str, *, wait: bool = False) -> bool:
        """End one session of a user, named as in `list_user`; False if there is none."""
        was_there = self.run(revoke_session(self, user_id, reference))
        self._wait(wait and was_there)
        return was_there

    async def arevoke_session(self, user_id: Any, reference: str, *, wait: bool = False) -> bool:
        """Do what `revoke_session` does without blocking the event loop."""
        was_there = await self.arun(revoke_session(self, user_id, reference))
        await self._await(wait and was_there)
        return was_there

    def revoke_reference(self, reference: str, *, wait: bool = False) -> bool:
        """End one session, named as in `list_user`, whoever's it is; False if there is none.

        For operators: an app that lets users end their own sessions asks `revoke_session`.
        """
        was_there = self.run(revoke_reference(self, reference))
        self._wait(wait and was_there)
        return was_there

    def revoke_everyone(self, *, wait: bool = False) -> None:
        """End every session of every user."""
        self.run(revoke_everyone(self))
        self._wait(wait)

    def _wait(self, wait: bool) -> None:
        if wait:
            time.sleep(wait_s(self._unguarded))

    async def _await(self, wait: bool) -> None:
        if wait:
            await asyncio.sleep(wait_s(self._unguarded))

    def check(self) -> list[Finding]:
        """Return what is wrong with the store, each with its fix; for the start of a server."""
        return self.store.check()

    def tell_scheme(self, headers: Iterable[tuple[str, str]], scheme: str) -> None:
        """Warn if a cookie goes to a client that will not send it back.

        Args:
            headers: what `save` returned.
            scheme: of the request, as far as the server knows.
        """
        if (
            self.cookie.secure
            and scheme in {"http", "ws"}
            and any(name == "Set-Cookie" for name, _ in headers)
        ):
            self.events.sent_in_clear()

    def tell_findings(self) -> None:
        """Log what `check` finds, in a thread; only the first call in a process does.

        Call it in the process that serves, not in one that will fork: at its start or first request.
        """
        if self._check is None or self._check_pid != os.getpid():
            self._check_pid = os.getpid()
            self._check = threading.Thread(target=self._tell_findings, name="limpet-check", daemon=True)
            self._check.start()

    def close(self) -> None:
        """Close the connections of blocking operations; they open again when they are needed."""
        if self._check is not None and self._check_pid == os.getpid():
            self._check.join()
        self.store.close()

    async def aclose(self) -> None:
        """Close these and the connections of this event loop."""
        await asyncio.to_thread(self.close)
        await self.store.aclose()

    def run(self, flow: Flow[T]) -> T:
        """Drive a flow, blocking."""
        return drive(flow, self._performer)

    async def arun(self, flow: Flow[T]) -> T:
        """Drive a flow without blocking the event loop."""
        return await adrive(flow, self._performer)

    def user_key(self, user: bytes) -> str:
        """Return the key under which a user's sessions are stored; empty for a visitor."""
        return self.ring.user_keys(user)[0] if user else ""

    def newest(self, values: Sequence[str]) -> str:
        """Return which of several session cookies of a request counts: the newest that we signed.

        If we signed none of them, the first.
        """
        if len(values) == 1:
            return values[0]
        now_s = self.now_s()
        read = [(value, self.ring.read(value, now_s)) for value in values]
        ours = [(each.issued_s, value) for value, each in read if not isinstance(each, EndReason)]
        return max(ours, key=itemgetter(0))[1] if ours else values[0]

    def _opened(
        self, cookie: str | Sequence[str] | None, offers: tuple[Offer, ...], client: Client, kind: type[S]
    ) -> S:
        # Verified when the app looks at its session: many requests never do.
        session_id = partial(self._read, cookie) if cookie else None
        return kind(self, session_id, self.load, client, offers)

    def _read(self, cookie: str | Sequence[str]) -> SessionId | EndReason:
        value, now_s = cookie if isinstance(cookie, str) else self.newest(cookie), self.now_s()
        read = self.ring.read(value, now_s)
        if isinstance(read, EndReason):
            self.events.found_dead(read, self._reference(value))
        return read

    def _reference(self, value: str) -> str:
        # Of a session that is over by its own cookie, or else of what somebody sent.
        session_id = self.ring.read(value, 0)
        if isinstance(session_id, EndReason):
            return self.ring.tag([value.encode()]).hex()
        return self.ring.reference(session_id.key)

    def _tell_findings(self) -> None:
        try:
            for finding in self.check():
                self.events.found(finding)
        except Exception as error:  # noqa: BLE001  # a check must not end anything
            LOG.warning("session store: it could not be checked: %s", error)
        with suppress(Exception):  # only commands miss it; not guarded, for it says nothing about requests
            drive(note_secret(self), self._unguarded)

    def _headers(self, session: Session, saved: flows.Saved) -> list[tuple[str, str]]:
        headers = [("Vary", "Cookie")] if session.accessed else []
        if saved.cookie is CookieAct.KEEP and not session.leaves_old:
            return headers
        if saved.cookie is CookieAct.SET and saved.session_id is not None:
            value = self.ring.sign(saved.session_id)
            headers.append(("Set-Cookie", self.cookie.set(value, saved.max_age_s)))
        elif saved.cookie is CookieAct.CLEAR:
            headers.append(("Set-Cookie", self.cookie.clear()))
        if saved.cookie is not CookieAct.KEEP:
            headers += [("Set-Cookie", line) for line in self.cookie.clear_old()]
        if session.leaves_old:
            headers += [("Set-Cookie", each.source.cookie.clear()) for each in session.shown]
        if any(name == "Set-Cookie" for name, _ in headers):
            headers.append(("Cache-Control", "no-store"))
        return headers


def _check_presence(store: object, secret: object) -> None:
    # Both at once: whoever lacks the one has mostly not thought of the other.
    problems = []
    if store is None and not os.environ.get(STORE_VARIABLE):
        problems.append(
            f"sessions.store: there is none; pass store=, set {STORE_VARIABLE}, or run the app with: "
            "limpet serve MODULE:APP --session-store sqlite:///sessions.db"
        )
    if secret is None and not os.environ.get(SECRET_VARIABLE, "").strip():
        problems.append(
            f"sessions.secret: there is none; pass secret= or set {SECRET_VARIABLE} "
            "(make one with: openssl rand -base64 32)"
        )
    if problems:
        raise ConfigError(problems)


def _ring(secret: str | bytes | Sequence[str | bytes] | None) -> SecretRing:
    if secret is None:
        return SecretRing(from_setting(split_secrets(os.environ[SECRET_VARIABLE]), SECRET_VARIABLE))
    return SecretRing([secret] if isinstance(secret, str | bytes) else secret)


def _first_of_each(old: tuple[GuardedSource, ...], header: bytes) -> dict[str, str]:
    names = [each.source.cookie.full_name for each in old]
    found = {name: find_values(header, name.encode("latin-1")) for name in names}
    return {name: values[0].decode("latin-1") for name, values in found.items() if values}


def _guarded(old: Sequence[Source], cookie: CookieSettings, deadline_s: float) -> tuple[GuardedSource, ...]:
    names = sorted({each.cookie.full_name for each in old} & {cookie.full_name, *cookie.old_names})
    if names:
        problem = f"sessions.old: {names[0]!r} is the name of the old cookie and of limpet's"
        fix = "give limpet's another name (Flask, Django: SESSION_COOKIE_NAME); the old one must stay"
        raise ConfigError([f"{problem}; {fix}"])
    return tuple(GuardedSource(each, Guard(SourceStore(each), deadline_s=deadline_s)) for each in old)


def _label(text: str) -> str:
    # It is shown in lists and terminals; what a client sends must not steer them.
    short = text[:_LABEL_LENGTH]
    return short if short.isprintable() else "".join(filter(str.isprintable, short))


def _secure() -> bool:
    text = os.environ.get(SECURE_VARIABLE, "1").strip()
    if text not in {"0", "1"}:
        raise ConfigError([f"sessions.secure: {SECURE_VARIABLE} is {text!r}; set it to 0 or 1"])
    return text == "1"


def _store(store: str | Store | None, deadline_s: float) -> Store:
    if store is None:
        store = os.environ[STORE_VARIABLE]
    return open_store(store, timeout_s=deadline_s / 2) if isinstance(store, str) else store
