"""What the scenes of a rehearsal share: the stage, the way in, and what has been seen so far."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from limpet.doctor.evidence import Arm, ArmKind, Login, Outcome
from limpet.doctor.rehearsal.stage import BALANCER_COOKIE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limpet.doctor.evidence import Trial, Visit
    from limpet.doctor.rehearsal.entrance import Way
    from limpet.doctor.rehearsal.inside.orders import Orders
    from limpet.doctor.rehearsal.relay import Relay
    from limpet.doctor.rehearsal.site import Answer, Browser, Site
    from limpet.doctor.rehearsal.stage import Stage

#: Another browser, for sessions that are bound to one.
OTHER_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@dataclass(slots=True)
class Session:
    """Somebody who has logged in.

    Attributes:
        number: from 1.
        browser: obeys what is set.
        frozen: the browser as it was right after the login.
        at_s: when that was, in seconds of the run.
        home: the replica that took the login.
    """

    number: int
    browser: Browser
    frozen: Browser
    at_s: float
    home: str
    is_in: bool


@dataclass(slots=True)
class Rehearsal:
    """A rehearsal under way.

    Attributes:
        page: the path that differs when logged in.
        auth: names of the cookies that a login depends on.
        calm: the balancer's mode in which the app loses nobody by itself: without stickiness if
            any replica knows every session, else sticky.
        is_shared: whether any replica knows every session; None before that was tried.
        relays: what stands in front of stores.
        rotating: cookies of a login that change on ordinary visits, and whose old values end.
        grown: containers in a process's memory that a login filled.
    """

    stage: Stage
    site: Site
    way: Way
    page: str
    auth: tuple[str, ...] = ()
    relays: Sequence[Relay] = ()
    is_shared: bool | None = None
    logins: list[Login] = field(default_factory=list)
    arms: list[Arm] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    grown: tuple[str, ...] = ()
    rotating: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def calm(self) -> str:
        """The stickiness with which the app loses nobody by itself."""
        return "off" if self.is_shared else "lb_cookie"

    async def log_in(self, browser: Browser | None = None) -> Session:
        """Log in with a new browser, or with one that has been here before."""
        browser = browser or self.site.new_browser()
        answers = await self.way.enter(browser)
        frozen = browser.copy()
        visit = (await frozen.ask("GET", self.page, is_frozen=True)).visit
        number = len(self.logins) + 1
        home = answers[1].visit.replica if answers else ""
        self.logins.append(self._login(number, browser, answers, visit, home))
        return Session(number, browser, frozen, self.site.now_s(), home, visit.outcome is Outcome.IN)

    async def row(
        self,
        kind: ArmKind,
        session: Session | None,
        count: int,
        *,
        note: str = "",
        orders: Orders | None = None,
    ) -> Arm:
        """Visit the page so many times; JAR obeys what is set, every other kind does not.

        Args:
            session: whose cookies are sent; None for nobody's.
        """
        visits = [await self.visit(kind, session, orders=orders) for _ in range(count)]
        return Arm(kind=kind, login=session.number if session else 0, visits=tuple(visits), note=note)

    async def visit(self, kind: ArmKind, session: Session | None, *, orders: Orders | None = None) -> Visit:
        """Visit the page once, as `row` does."""
        if session is None:
            return (await self.site.new_browser().ask("GET", self.page, orders=orders)).visit
        is_frozen = kind is not ArmKind.JAR
        browser = session.frozen if is_frozen else session.browser
        if kind is ArmKind.OTHER_AGENT:
            browser = browser.copy()
            browser.headers["user-agent"] = OTHER_AGENT
        without = (BALANCER_COOKIE,) if kind is ArmKind.APP_ONLY else ()
        answer = await browser.ask("GET", self.page, is_frozen=is_frozen, without=without, orders=orders)
        return replace(answer.visit, since_login_s=self.site.now_s() - session.at_s)

    def _login(self, number: int, browser: Browser, answers: list[Answer], visit: Visit, home: str) -> Login:
        set_cookies = [fact for answer in answers[1:] for fact in answer.visit.set_cookies]
        return Login(
            number=number,
            way=self.way.kind,
            is_accepted=visit.outcome is not Outcome.OUT or _is_welcome(answers),
            before=answers[0].visit if answers else None,
            submit=answers[1].visit if answers else None,
            follow=(*(answer.visit for answer in answers[2:]), visit),
            cookies=browser.cookies,
            refused=tuple(fact for fact in set_cookies if fact.refusal),
            unsent=browser.unsent(self.page),
            auth=self.auth,
            home=home,
        )


def _is_welcome(answers: list[Answer]) -> bool:
    # A login that was taken, and lost before the next page.
    visit = answers[1].visit if answers else None
    if visit is None or visit.status >= 400 or visit.page.has_password_field:
        return False
    return bool(visit.set_cookies or visit.page.json_shape)
