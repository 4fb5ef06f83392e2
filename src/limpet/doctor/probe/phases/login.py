"""Phase 3: logging in. At most four times, and not again once the site has refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from limpet.doctor.cookie_jar import place_of
from limpet.doctor.evidence import CookieRole, Login
from limpet.doctor.probe.run import LoggedIn
from limpet.doctor.probe.safety import MAX_LOGINS, StoppedError

if TYPE_CHECKING:
    from limpet.doctor.cookie_jar import StoredCookie
    from limpet.doctor.evidence import CookieFact, Visit
    from limpet.doctor.probe.login.way import Attempt
    from limpet.doctor.probe.run import Run
    from limpet.doctor.probe.visitor import Visitor

_CSRF_STATUSES = frozenset({400, 403, 419, 422})


def may_log_in(run: Run) -> bool:
    """Whether another login is allowed."""
    way = run.plan.way
    if way is None or len(run.record.logins) >= MAX_LOGINS:
        return False
    return way.is_repeatable or not run.record.logins


async def log_in(run: Run) -> LoggedIn | None:
    """Log a new browser in; None if no more logins are allowed.

    Raises:
        StoppedError: the site refuses. Trying again might lock the account.
    """
    while may_log_in(run):
        way = run.plan.way
        assert way is not None  # noqa: S101 - may_log_in has asked
        number = len(run.record.logins) + 1
        run.tell(f"logging in, {number}")
        visitor = run.newcomer()
        attempt = await way.log_in(visitor, run.url)
        visitor.logged_in_at_s = _logged_in_at_s(run, attempt)
        _note_balancer_cookies(run, attempt)
        run.record.logins.append(_login(run, visitor, attempt, number))
        if attempt.is_accepted:
            session = LoggedIn(visitor, _frozen(run, visitor, run.record.logins[-1]), number)
            run.sessions.append(session)
            return session
        if not is_csrf_refusal(attempt.submit):
            refusal = f"the site did not accept the login ({_status(attempt)})"
            raise StoppedError(f"{refusal}, so it was not tried again")
    if run.plan.way is not None and not run.sessions:
        raise StoppedError("the site refused the login form itself, each time")
    return None


def is_csrf_refusal(visit: Visit | None) -> bool:
    """Whether the form was refused before anybody looked at the credentials."""
    return visit is not None and visit.status in _CSRF_STATUSES and visit.page.says_csrf


def _logged_in_at_s(run: Run, attempt: Attempt) -> float:
    if attempt.submit is None:
        return time.monotonic()
    return run.observer.started_s + attempt.submit.at_s + attempt.submit.took_s


def _status(attempt: Attempt) -> str:
    visit = attempt.submit
    if visit is None:
        return "no answer"
    return f"it answered {visit.status}" if visit.status else visit.failure


def _note_balancer_cookies(run: Run, attempt: Attempt) -> None:
    visits = [each for each in (attempt.before, attempt.submit, *attempt.follow) if each is not None]
    for visit in visits:
        for each in visit.set_cookies:
            if each.role is CookieRole.BALANCER:
                run.record.balancer_cookies.add(each.name)


def _frozen(run: Run, visitor: Visitor, login: Login) -> list[StoredCookie]:
    # As they were when the credentials were taken: the next page may already have lost the session.
    early = visitor.jar_after_submit
    if early is not None:
        cookies = early.sent_to(place_of(run.url), time.time())
        if set(login.auth) <= {each.name for each in cookies}:
            return cookies
    return visitor.cookies_for(run.url)


def _login(run: Run, visitor: Visitor, attempt: Attempt, number: int) -> Login:
    way = run.plan.way
    held = visitor.held()
    return Login(
        number=number,
        way=way.name if way else "",
        is_accepted=attempt.is_accepted,
        before=attempt.before,
        submit=attempt.submit,
        follow=attempt.follow,
        cookies=tuple(held),
        refused=tuple(visitor.refused.values()),
        unsent=visitor.unsent(run.url),
        auth=_auth(run, visitor, attempt, held),
        home=attempt.submit.replica if attempt.submit else "",
    )


def _auth(run: Run, visitor: Visitor, attempt: Attempt, held: list[CookieFact]) -> tuple[str, ...]:
    # The cookies that the login set or changed; if it set none, those that were there before.
    balancers = run.record.balancer_cookies
    facts = {each.name: each for each in (*held, *visitor.refused.values()) if each.name not in balancers}
    answers = [each for each in (attempt.submit, *attempt.follow) if each is not None]
    changed = {each.name for visit in answers for each in visit.set_cookies if not each.is_deletion}
    sessions = {name for name, fact in facts.items() if fact.role is CookieRole.SESSION}
    for names in (sessions & changed, sessions, set(facts) & changed, set(facts)):
        if names:
            return tuple(sorted(names))
    return ()
