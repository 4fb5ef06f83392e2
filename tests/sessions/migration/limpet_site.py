"""The same app as the old ones over limpet's sessions, without a framework."""

from __future__ import annotations

import asyncio
import json
import time
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING

from sites import Answer

from limpet.sessions import Sessions, StoreUnavailableError
from limpet.sessions.stores.memory import MemoryStore

if TYPE_CHECKING:
    from sites import Headers

    from limpet.sessions import Session
    from limpet.sessions.migration import Source

SECRET = "a secret for tests that is long enough"


class LimpetSite:
    """A site whose clock tests move: `late_s` seconds after that of the old app."""

    def __init__(self, *sources: Source) -> None:
        self.late_s = 0.0
        self.is_async = False
        self.store = MemoryStore(now_s=self.now_s)
        self.sessions = Sessions(
            self.store,
            secret=SECRET,
            old=sources,
            now_s=self.now_s,
            deadline_s=10,  # these tests are not about time
        )

    def now_s(self) -> float:
        return time.time() + self.late_s

    def request(self, _method: str, target: str, headers: Headers, _body: bytes = b"") -> Answer:
        cookies = SimpleCookie("; ".join(value for name, value in headers if name == "cookie"))
        session = self.sessions.open_request({name: morsel.value for name, morsel in cookies.items()})
        try:
            if self.is_async:
                return asyncio.run(self._arun(session, target))
            return self._run(session, target)
        except StoreUnavailableError:
            return Answer(503, [], b"")

    def _run(self, session: Session, target: str) -> Answer:
        said = _say(session, target)
        return _answer(said, self.sessions.save(session))

    async def _arun(self, session: Session, target: str) -> Answer:
        if target != "/untouched":
            await self.sessions.aload(session)
        said = _say(session, target)
        return _answer(said, await self.sessions.asave(session))


def _answer(said: bytes, headers: Headers) -> Answer:
    return Answer(200, [(name.lower(), value) for name, value in headers], said)


def _say(session: Session, target: str) -> bytes:
    if target == "/untouched":
        return b"{}"
    if target.startswith("/login/"):
        session.login(target.removeprefix("/login/"))
    elif target == "/logout":
        session.logout()
    elif target == "/write":
        session["cart"] = {"pears": 1}
    return json.dumps({"user": session.user_id, "cart": session.get("cart")}).encode()
