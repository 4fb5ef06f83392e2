"""What a run has learnt so far; becomes evidence at any moment.

Outcomes are judged anew whenever they are asked for, because the oracle is known only after some
visits with a session, and may be replaced by a better one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from limpet.doctor.evidence import ArmKind, CookieRole, Evidence, Outcome, Preflight
from limpet.doctor.oracle import choose

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limpet.doctor.evidence import Arm, CookieFact, Login, Visit
    from limpet.doctor.oracle import Oracle

#: So many visits without cookies are needed before repeating values name replicas.
_FEWEST_FOR_BEHAVIOUR = 6
_RENEWED = ("refresh", "remember")


class Record:
    """Collects visits, arms and logins."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.path = urlsplit(url).path or "/"
        self.preflight = Preflight()
        self.first: Visit | None = None
        self.anonymous: list[Visit] = []
        self.honoured: list[Visit] = []
        self.replayed: list[Visit] = []
        self.kept: list[Visit] = []
        self.aside: list[Visit] = []
        self.logins: list[Login] = []
        self.arms: list[Arm] = []
        self.balancer_cookies: set[str] = set()
        self.tested: set[str] = set()
        self.stopped = ""

    def oracle(self) -> Oracle | None:
        """Return the best oracle so far."""
        kinds = {ArmKind.NONE, ArmKind.OTHER_AGENT}
        with_session = [visit for arm in self.arms if arm.kind not in kinds for visit in arm.visits]
        with_session += [visit for login in self.logins for visit in login.follow if visit.path == self.path]
        return choose(self.anonymous, with_session)

    def judged(self, arm: Arm) -> Arm:
        """Return an arm with its outcomes."""
        oracle = self.oracle()
        return arm if oracle is None else _judged(arm, oracle)

    def auth_names(self) -> set[str]:
        """Return the names of the cookies that logins depend on."""
        return {name for login in self.logins for name in login.auth}

    def find_balancer_cookies(self) -> set[str]:
        """Return the cookies of balancers, by fingerprint, or because values repeat as replicas do.

        Of visitors who send nothing, each gets a session id of his own, but one of a few replicas.
        """
        found = set()
        values: dict[str, list[str]] = {}
        for visit in self.anonymous:
            for each in visit.set_cookies:
                if each.role is CookieRole.BALANCER:
                    found.add(each.name)
                elif each.role is CookieRole.OTHER and not each.is_deletion:
                    values.setdefault(each.name, []).append(each.digest)
        for name, digests in values.items():
            kinds = len(set(digests))
            if len(digests) >= _FEWEST_FOR_BEHAVIOUR and 2 <= kinds <= len(digests) // 2:
                found.add(name)
        return found

    def rotating(self) -> tuple[str, ...]:
        """Return cookies of the login that change on ordinary visits which stay logged in.

        A cookie that carries its data is sent anew with a new time, and the old one stays good; so
        only ids and tokens count.
        """
        oracle = self.oracle()
        names = self.auth_names()
        changed: Counter[str] = Counter()
        for arm in self.arms:
            if arm.kind is not ArmKind.JAR:
                continue
            for visit in arm.visits:
                if oracle is None or oracle.outcome(visit) is not Outcome.IN:
                    continue
                sent = dict(visit.sent)
                for each in visit.set_cookies:
                    is_new = each.name in sent and each.digest != sent[each.name] and not each.is_deletion
                    if each.name in names and is_new and may_be_spent(each):
                        changed[each.name] += 1
        return tuple(sorted(changed))

    def evidence(self, *, used: int, budget: int) -> Evidence:
        """Return all that is known."""
        oracle = self.oracle()
        arms = self.arms if oracle is None else [_judged(arm, oracle) for arm in self.arms]
        anonymous = self.anonymous if oracle is None else [oracle.judged(each) for each in self.anonymous]
        return Evidence(
            command="doctor",
            url=self.url,
            oracle=oracle.sentence if oracle else "",
            preflight=self.preflight,
            first=self.first,
            anonymous=tuple(anonymous),
            honoured=tuple(self.honoured),
            replayed=tuple(self.replayed),
            kept=tuple(self.kept),
            aside=tuple(self.aside),
            logins=tuple(_judged_login(login, oracle) for login in self.logins),
            arms=tuple(arms),
            balancer_cookies=tuple(sorted(self.balancer_cookies)),
            rotating=self.rotating(),
            stopped=self.stopped,
            tested=frozenset(self.tested),
            used=used,
            budget=budget,
        )


def may_be_spent(cookie: CookieFact) -> bool:
    """Whether a new value of a cookie may make the old one worthless."""
    if any(word in cookie.name.lower() for word in _RENEWED):
        return True
    reading = cookie.reading
    return not (reading is not None and reading.is_signed_data and reading.expires_at_s is None)


def relabelled(visits: Iterable[Visit], names: set[str]) -> list[Visit]:
    """Return visits without a replica's name labelled by the value of a cookie that names one."""
    found = []
    for visit in visits:
        values = [each.digest for each in visit.set_cookies if each.name in names and not each.is_deletion]
        found.append(replace(visit, replica=values[-1]) if values and not visit.replica else visit)
    return found


def _judged(arm: Arm, oracle: Oracle) -> Arm:
    return replace(arm, visits=tuple(oracle.judged(visit) for visit in arm.visits))


def _judged_login(login: Login, oracle: Oracle | None) -> Login:
    if oracle is None:
        return login
    return replace(login, follow=tuple(oracle.judged(visit) for visit in login.follow))
