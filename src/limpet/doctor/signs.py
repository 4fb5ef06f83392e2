"""What several checks ask of the evidence; each question is answered in one place only.

The chief one is `flap_cause`: when the same cookies are in and out by turns, exactly one explanation
leads, by the tie-breakers in their order: caches, addresses, the age of the session, the app's
version, a difference between logins, and at last the kind of cookie.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING

from limpet.doctor.evidence import Arm, ArmKind, Outcome, Pattern
from limpet.doctor.finding import SourceLine
from limpet.doctor.statistics import LEVEL, fisher_exact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limpet.doctor.evidence import CookieFact, Evidence, Visit

#: Arms that send the same cookies every time.
FROZEN_KINDS = (ArmKind.FROZEN, ArmKind.APP_ONLY, ArmKind.BUSTED, ArmKind.ADDRESS)
#: A session that is out only so soon after its login is out because of its youth.
YOUNG_S = 5.0
#: Name of the fact that tells which long texts of the app's modules are not the same in all processes,
#: though no name says that they are secrets.
DIFFERENT_TEXTS = "texts that differ from process to process"
#: Name of the fact that tells which containers of a process a login filled; `limpet check` looks.
GREW = "memory that grew at a login"
#: So many visits, all in, are needed to call an arm free of loss.
ENOUGH = 12


class FlapCause(Enum):
    """Why unchanged cookies are in and out by turns."""

    CACHE = "a cache answered"
    ADDRESS = "one address of several"
    YOUTH = "only right after the login"
    VERSION = "one version of the app"
    ODD_REPLICA = "one replica differs"
    KEY = "the key decides"
    STATE = "the server's memory decides"


def frozen_arms(evidence: Evidence) -> tuple[Arm, ...]:
    """Return the arms with unchanging cookies, without the balancer's share of the luck."""
    return evidence.arms_of(ArmKind.FROZEN, ArmKind.APP_ONLY)


def flapping(evidence: Evidence, *kinds: ArmKind) -> tuple[Arm, ...]:
    """Return the arms of some kinds (frozen ones, if none are named) that are in and out by turns."""
    arms = evidence.arms_of(*(kinds or (ArmKind.FROZEN, ArmKind.APP_ONLY)))
    return tuple(arm for arm in arms if arm.pattern is Pattern.FLAP)


def _scattered(evidence: Evidence) -> bool:
    # Arms that are too short to flap may still, together, have an in after an out.
    arms = [arm for arm in frozen_arms(evidence) if arm.pattern is Pattern.ONE_OUT]
    return len(arms) >= 2


def pinned_only(evidence: Evidence) -> bool:
    """Whether sessions hold with the balancer's cookies and flap without them."""
    held = [arm for arm in evidence.arms_of(ArmKind.JAR, ArmKind.FROZEN) if len(arm.clear) >= ENOUGH]
    if not held or any(arm.pattern is not Pattern.OK for arm in held):
        return False
    bare = evidence.arms_of(ArmKind.APP_ONLY)
    return any(arm.pattern in {Pattern.FLAP, Pattern.OUT, Pattern.DEAD} for arm in bare)


def was_frozen(evidence: Evidence) -> bool:
    """Whether arms with unchanging cookies had enough visits to judge by."""
    return any(len(arm.clear) >= ENOUGH for arm in frozen_arms(evidence))


def may_judge_login(evidence: Evidence) -> str:
    """Return why nothing about a login can be judged; "" if it can."""
    if not evidence.logins:
        return "no login was given"
    if not any(login.is_accepted for login in evidence.logins):
        return "the login was not accepted"
    if not evidence.oracle:
        return "logged in and logged out could not be told apart"
    return ""


def may_judge_frozen(evidence: Evidence) -> str:
    """Return why arms with unchanging cookies cannot be judged; "" if they can."""
    reason = may_judge_login(evidence)
    if reason:
        return reason
    if evidence.rotating:
        return f"the cookie {evidence.rotating[0]!r} changes on ordinary visits, so it was not replayed"
    return "" if was_frozen(evidence) else "too few visits with unchanging cookies"


def is_signed(evidence: Evidence) -> bool | None:
    """Whether the session's data are in its cookie, so that a key decides; None if there is no cookie."""
    cookies = evidence.session_cookies
    if not cookies:
        return None
    return any(each.reading is not None and each.reading.is_signed_data for each in cookies)


def signs_its_store(evidence: Evidence) -> bool:
    """Whether the sessions are Django's, which signs what it keeps in its store, and no key is known.

    A process with another key reads such a session as an empty one, though the cookie is an id.
    """
    if any(replica.secrets for replica in evidence.replicas):
        return False
    readings = [each.reading for each in evidence.session_cookies if each.reading is not None]
    return any(reading.product == "Django" and not reading.is_signed_data for reading in readings)


def flap_cause(evidence: Evidence) -> FlapCause | None:
    """Return the explanation that leads; None if nothing flaps."""
    arms = flapping(evidence)
    if not arms and not _scattered(evidence):
        return None
    visits = [visit for arm in frozen_arms(evidence) for visit in arm.clear]
    if lost_to_cache(visits):
        return FlapCause.CACHE
    if split_by_address(evidence):
        return FlapCause.ADDRESS
    if lost_in_youth(evidence):
        return FlapCause.YOUTH
    if lost_by_version(visits):
        return FlapCause.VERSION
    if odd_replica(evidence):
        return FlapCause.ODD_REPLICA
    is_key = is_signed(evidence) or keys_explain(evidence) or signs_its_store(evidence)
    return FlapCause.KEY if is_key else FlapCause.STATE


def place(evidence: Evidence, kind: str, name: str = "") -> SourceLine | None:
    """Return the first line of the app of a kind, which `limpet check` has read.

    Args:
        name: what the line has to tell of, such as a cookie; a line that tells of all will do.
    """
    lines = [each for each in evidence.sources if each.kind == kind]
    named = [each for each in lines if name and repr(name) in each.detail]
    general = [each for each in lines if not name or "session cookie" in each.detail]
    found = next(iter((*named, *general)), None)
    return SourceLine(found.path, found.line) if found else None


def different_secrets(evidence: Evidence) -> str:
    """Return the names of the secrets that are not the same in all replicas; "" if all are."""
    known: dict[str, set[str]] = {}
    for replica in evidence.replicas:
        for name, digest in replica.secrets:
            known.setdefault(name, set()).add(digest)
    return ", ".join(name for name, digests in known.items() if len(digests) > 1)


def keys_explain(evidence: Evidence) -> bool:
    """Whether `check` saw what may be secrets differ, and no login in the memory of a process."""
    differ = different_secrets(evidence) or evidence.facts.get(DIFFERENT_TEXTS)
    return bool(differ) and not evidence.facts.get(GREW)


def outs(visits: Iterable[Visit]) -> list[Visit]:
    """Return the visits that were out."""
    return [visit for visit in visits if visit.outcome is Outcome.OUT]


def ins(visits: Iterable[Visit]) -> list[Visit]:
    """Return the visits that were in."""
    return [visit for visit in visits if visit.outcome is Outcome.IN]


def lost_to_cache(visits: Iterable[Visit]) -> bool:
    """Whether nearly all lost visits were answered by a cache, and those that were in were not."""
    clear = list(visits)
    lost = outs(clear)
    cached = sum(visit.cache.is_cached for visit in lost)
    if not cached or cached < 0.8 * len(lost):
        return False
    return not any(visit.cache.is_cached for visit in ins(clear)) or cached == len(lost)


def split_by_address(evidence: Evidence) -> bool:
    """Whether one session is in at one of the site's addresses and out at another."""
    arms = evidence.arms_of(ArmKind.ADDRESS)
    patterns = {arm.pattern for arm in arms if len(arm.clear) >= 3}
    return Pattern.OK in patterns and Pattern.OUT in patterns


#: A login that was not watched for longer than another's youth says nothing against it.
_UNSEEN_S = 0.5


def lost_in_youth(evidence: Evidence) -> bool:
    """Whether sessions are out only in the first seconds after login, then always in."""
    ages: dict[int, tuple[list[float], list[float]]] = {}
    for arm in evidence.arms_of(ArmKind.JAR, ArmKind.FROZEN, ArmKind.APP_ONLY):
        out_ages, in_ages = ages.setdefault(arm.login, ([], []))
        for visit in arm.clear:
            (out_ages if visit.outcome is Outcome.OUT else in_ages).append(visit.since_login_s or 0.0)
    recovered = [outs_ for outs_, ins_ in ages.values() if outs_ and ins_ and max(ins_) > max(outs_)]
    last_s = max((max(each) for each in recovered), default=0.0)
    if not recovered or last_s > YOUNG_S:
        return False
    for out_ages, in_ages in ages.values():
        if out_ages and not in_ages and max(out_ages) > last_s + _UNSEEN_S:
            return False  # old enough, and still out
        if out_ages and in_ages and max(out_ages) > last_s:
            return False
    return _too_late_for_chance([age for pair in ages.values() for age in pair[0]], ages.values(), last_s)


def _too_late_for_chance(
    lost: list[float], ages: Iterable[tuple[list[float], list[float]]], last_s: float
) -> bool:
    # The older visits must be too many for a loss as frequent as the younger ones' to have missed them.
    kept = [age for _, in_ages in ages for age in in_ages]
    before = sum(age <= last_s for age in kept)
    after = sum(age > last_s for age in kept)
    return len(lost) >= 2 and after >= ENOUGH and fisher_exact(((len(lost), before), (0, after))) < LEVEL


def lost_by_version(visits: Iterable[Visit]) -> bool:
    """Whether sessions are in on one version of the app's assets and out on another."""
    clear = [visit for visit in visits if visit.page.version]
    kept = {visit.page.version for visit in ins(clear)}
    lost = {visit.page.version for visit in outs(clear)}
    return bool(kept and lost) and not kept & lost and _separates(clear, kept)


def _separates(clear: list[Visit], kept: set[str]) -> bool:
    lost_there = sum(visit.outcome is Outcome.OUT and visit.page.version not in kept for visit in clear)
    kept_there = sum(visit.outcome is Outcome.IN and visit.page.version in kept for visit in clear)
    return fisher_exact(((lost_there, 0), (0, kept_there))) < LEVEL


def by_replica(evidence: Evidence, login: int) -> dict[str, Counter[Outcome]]:
    """Return, for one login, how often it was in and out on each replica."""
    found: dict[str, Counter[Outcome]] = {}
    for arm in frozen_arms(evidence):
        if arm.login == login:
            for visit in arm.clear:
                if visit.replica:
                    found.setdefault(visit.replica, Counter())[visit.outcome] += 1
    return found


def odd_replica(evidence: Evidence) -> bool:
    """Whether one replica differs from others that agree.

    With names: a login is in on two replicas or more and out on another. Without: two logins lose
    at different rates, more than chance allows.
    """
    for login in evidence.logins:
        seen = by_replica(evidence, login.number)
        keeps = [name for name, counts in seen.items() if counts[Outcome.IN] and not counts[Outcome.OUT]]
        loses = [name for name, counts in seen.items() if counts[Outcome.OUT] >= 2 and not counts[Outcome.IN]]
        if len(keeps) >= 2 and loses:
            return True
    return not evidence.seen_replicas and _rates_differ(evidence)


#: How far two logins' parts of visits that are in may be from one together, where one replica is odd.
_COMPLEMENT = 0.3


def _rates_differ(evidence: Evidence) -> bool:
    # Only visits made at once are shared fairly enough among replicas to compare logins by them. A
    # login on the odd replica is in there alone, one on another everywhere else: together, one.
    rates: dict[int, tuple[int, int]] = {}
    for arm in frozen_arms(evidence):
        if arm.note.endswith("at once"):
            lost, kept = rates.get(arm.login, (0, 0))
            rates[arm.login] = (lost + arm.outs, kept + arm.ins)
    if len(rates) < 2:
        return False
    by_loss = sorted(rates.values(), key=lambda each: each[0] / max(sum(each), 1))
    least, most = by_loss[0], by_loss[-1]
    kept_of_both = sum(kept / max(lost + kept, 1) for lost, kept in (least, most))
    is_split = least[1] > least[0] and abs(kept_of_both - 1) < _COMPLEMENT
    return is_split and fisher_exact((most, least)) < LEVEL


def auth_cookies_lost(evidence: Evidence) -> list[tuple[Visit, CookieFact]]:
    """Return where an ordinary visit after login deleted a cookie of the login, or set another value."""
    names = {name for login in evidence.logins for name in login.auth}
    return [
        (visit, each)
        for arm in evidence.arms_of(ArmKind.JAR, ArmKind.FROZEN, ArmKind.APP_ONLY, ArmKind.BURST)
        for visit in arm.visits
        for each in visit.set_cookies
        if each.name in names and (each.is_deletion or visit.outcome is Outcome.OUT)
    ]


def shown_arms(arms: Iterable[Arm]) -> str:
    """Return how often some arms were in and out, for a person."""
    rows = list(arms)
    kept, lost = sum(arm.ins for arm in rows), sum(arm.outs for arm in rows)
    return f"in {kept}, out {lost} of {kept + lost}"


def home_only(evidence: Evidence) -> str:
    """Return a sentence about which replicas know a login, if they can be told apart; else ""."""
    said = []
    for login in evidence.logins:
        seen = by_replica(evidence, login.number)
        keeps = sorted(name for name, counts in seen.items() if counts[Outcome.IN])
        loses = sorted(name for name, counts in seen.items() if counts[Outcome.OUT])
        if keeps and loses:
            said.append(f"login {login.number}: in on {', '.join(keeps)}, out on {', '.join(loses)}")
    return "; ".join(said)


def loss_share(arms: Iterable[Arm]) -> str:
    """Return the part of visits that were lost, as a percentage."""
    rows = list(arms)
    lost, clear = sum(arm.outs for arm in rows), sum(len(arm.clear) for arm in rows)
    return f"{round(100 * lost / clear)} %" if clear else "some"


def confirmed_on_two_logins(evidence: Evidence) -> bool:
    """Whether unchanged cookies flapped for two logins."""
    return len({arm.login for arm in flapping(evidence)}) >= 2


def browser_arms(evidence: Evidence) -> tuple[Arm, ...]:
    """Return the plain visits of browsers, before anything special was done to them."""
    return tuple(arm for arm in evidence.arms_of(ArmKind.JAR) if not arm.note)


def browser_is_in(evidence: Evidence) -> bool:
    """Whether a browser stayed in from visit to visit."""
    arms = browser_arms(evidence)
    return bool(arms) and all(arm.pattern is Pattern.OK for arm in arms)


def never_in(evidence: Evidence) -> bool:
    """Whether the site took a login, and every visit after it looked like a stranger's."""
    if not any(login.is_accepted for login in evidence.logins):
        return False
    arms = browser_arms(evidence)
    if not any(arm.visits for arm in arms):
        return False
    # What only a lenient client or a fresh query reaches does not count for a browser.
    others = evidence.arms_of(ArmKind.JAR, ArmKind.FROZEN, ArmKind.APP_ONLY)
    return not evidence.oracle or not any(arm.ins for arm in others)


def first_out(arm: Arm) -> int | None:
    """Return the number of the first visit that was out, from 0; None if there is none."""
    for number, visit in enumerate(arm.clear):
        if visit.outcome is Outcome.OUT:
            return number
    return None


#: A session that a wrong key ends is over at the first visit to another replica.
EARLY = 12


def dies_at_first_stranger(evidence: Evidence) -> bool:
    """Whether sessions die early and for good, at every login and however they are visited."""
    arms = evidence.arms_of(ArmKind.JAR, ArmKind.FROZEN, ArmKind.APP_ONLY)
    main = [arm for arm in arms if len(arm.clear) >= 3 and _is_plain(arm, "again")]
    if not frozen_arms(evidence) or any(arm.pattern not in {Pattern.DEAD, Pattern.OUT} for arm in main):
        return False
    return _ever_in(evidence) and all((first_out(arm) or 0) < EARLY for arm in main)


def _ever_in(evidence: Evidence) -> bool:
    follow = [visit for login in evidence.logins for visit in login.follow]
    return any(visit.outcome is Outcome.IN for visit in follow) or any(
        arm.ins for arm in frozen_arms(evidence)
    )


def _is_plain(arm: Arm, note: str) -> bool:
    # An ordinary arm, one of confirmation, or one with this note.
    return arm.note in {"", note} or arm.note.startswith("confirmation")


def died(evidence: Evidence) -> tuple[Arm, ...]:
    """Return the arms whose session was over for good, at no early and repeatable moment."""
    arms = evidence.arms_of(ArmKind.JAR, ArmKind.FROZEN, ArmKind.APP_ONLY)
    plain = [arm for arm in arms if _is_plain(arm, "older")]
    return tuple(arm for arm in plain if arm.pattern is Pattern.DEAD)


def fixed_per_login(evidence: Evidence) -> tuple[set[int], set[int]]:
    """Return the logins that were always in and those that never were, if there is nothing between."""
    kinds = (ArmKind.JAR, ArmKind.FROZEN, ArmKind.APP_ONLY)
    kept: set[int] = set()
    lost: set[int] = set()
    for arm in evidence.arms_of(*kinds):
        if arm.pattern is Pattern.OK and len(arm.clear) >= 3:
            kept.add(arm.login)
        elif arm.pattern is Pattern.OUT and len(arm.clear) >= 3:
            lost.add(arm.login)
        elif arm.outs and arm.ins:
            return set(), set()
    return (set(), set()) if kept & lost else (kept, lost)


def depends_on_home(evidence: Evidence, kept: set[int], lost: set[int]) -> bool:
    """Whether logins hold if their visits reach the replica that took them, and only then.

    Args:
        kept, lost: numbers of logins, as `fixed_per_login` tells them apart.
    """
    homes = {login.number: login.home for login in evidence.logins if login.home}
    return all(
        number in homes and (homes[number] in visited(evidence, number)) == (number in kept)
        for number in kept | lost
    )


def auth_names(evidence: Evidence) -> set[str]:
    """Return the names of the cookies that logins depend on."""
    return {name for login in evidence.logins for name in login.auth}


def sends_balancer_cookie(evidence: Evidence, arm: Arm) -> bool:
    """Whether an arm's visits carry a balancer's cookie."""
    names = set(evidence.balancer_cookies)
    return any(name in names for visit in arm.visits for name, _ in visit.sent)


def flaps_though_sticky(evidence: Evidence) -> tuple[Arm, ...]:
    """Return flapping arms that carry a balancer's cookie all the time."""
    return tuple(arm for arm in flapping(evidence, ArmKind.FROZEN) if sends_balancer_cookie(evidence, arm))


def reissued(evidence: Evidence, arms: Iterable[Arm]) -> int:
    """Return how many visits of some arms got a new balancer's cookie, though they sent one."""
    names = set(evidence.balancer_cookies)
    count = 0
    for arm in arms:
        for visit in arm.visits:
            sent = {name for name, _ in visit.sent} & names
            count += any(each.name in sent and not each.is_deletion for each in visit.set_cookies)
    return count


def clock_offsets_s(evidence: Evidence) -> list[float]:
    """Return how wrong the servers' clocks seem, by Date headers and by times in cookies."""
    found = [
        visit.date_offset_s
        for visit in evidence.all_visits()
        if visit.date_offset_s is not None and visit.took_s < 1 and not visit.cache.is_cached
    ]
    return found + [
        each.reading.issued_at_s + 0.5 - visit.wall_s
        for visit in evidence.all_visits()
        for each in visit.set_cookies
        if each.reading is not None and each.reading.issued_at_s is not None and visit.wall_s
    ]


#: Whole seconds in the Date header, and a slow answer, make less than this.
SKEW_S = 2.5


def skew_s(evidence: Evidence) -> float:
    """Return by how much the servers' clocks differ among themselves; 0 if by no more than chance."""
    offsets = sorted(clock_offsets_s(evidence))
    if len(offsets) < 4:
        return 0.0
    # One late answer proves nothing: the second from each end counts.
    spread = offsets[-2] - offsets[1]
    return spread if spread > SKEW_S else 0.0


_CDNS = frozenset({"cloudflare", "CloudFront", "Fastly", "Azure Front Door", "Varnish"})


def behind_cdn(evidence: Evidence) -> tuple[str, ...]:
    """Return the CDNs that answers name."""
    return tuple(sorted(evidence.products & _CDNS))


def visited(evidence: Evidence, login: int) -> set[str]:
    """Return the replicas that answered the visits of a login."""
    return {
        visit.replica
        for arm in evidence.arms_of(ArmKind.JAR, ArmKind.FROZEN, ArmKind.APP_ONLY)
        if arm.login == login
        for visit in arm.visits
        if visit.replica
    }


def never_in_by_cache(evidence: Evidence) -> bool:
    """Whether caches answered nearly all visits of sessions that were never in."""
    visits = [visit for arm in browser_arms(evidence) for visit in arm.visits]
    cached = sum(visit.cache.is_cached for visit in visits)
    return never_in(evidence) and cached >= 0.8 * len(visits)


def loss_by_login(evidence: Evidence) -> str:
    """Return how often each login was in and out, for a person."""
    logins = sorted({arm.login for arm in frozen_arms(evidence)})
    rows = [(number, [arm for arm in frozen_arms(evidence) if arm.login == number]) for number in logins]
    return "; ".join(f"login {number}: {shown_arms(arms)}" for number, arms in rows)


def watched(evidence: Evidence) -> str:
    """Return the sequences of the watched sessions."""
    return ", ".join(arm.sequence for arm in evidence.arms_of(ArmKind.WATCH) if arm.note != "new login")


def ended_while_watched(evidence: Evidence) -> bool | None:
    """Whether a session ended for good under watch while a new login holds; None if none was watched."""
    arms = evidence.arms_of(ArmKind.WATCH)
    old = [arm for arm in arms if arm.note != "new login"]
    fresh = [arm for arm in arms if arm.note == "new login"]
    if not old:
        return None
    is_over = any(arm.pattern is Pattern.DEAD for arm in old)
    return is_over and any(arm.pattern is Pattern.OK for arm in fresh)


def new_names(evidence: Evidence) -> set[str]:
    """Return names of session cookies that only the last login has set."""
    accepted = [login for login in evidence.logins if login.is_accepted]
    if len(accepted) < 2:
        return set()
    before = {name for login in accepted[:-1] for name in login.auth}
    return set(accepted[-1].auth) - before if not set(accepted[-1].auth) & before else set()


def browser_kept_cookie(evidence: Evidence) -> bool:
    """Whether no answer replaced a browser's session cookie before its session ended."""
    names = auth_names(evidence)
    for arm in browser_arms(evidence):
        for visit in arm.clear:
            if visit.outcome is Outcome.OUT:
                break
            sent = dict(visit.sent)
            if any(each.name in names and each.digest != sent.get(each.name) for each in visit.set_cookies):
                return False
    return True


def is_token(evidence: Evidence) -> bool:
    """Whether the session is a token that is renewed by another one."""
    cookies = [each for login in evidence.logins for each in login.cookies]
    is_jwt = any(each.reading is not None and each.reading.product == "JWT" for each in cookies)
    return is_jwt or any("refresh" in each.name.lower() for each in cookies)


def lost_in_burst(evidence: Evidence) -> list[str] | None:
    """Return what shows that parallel visits ended a session; [] if nothing does; None if untested."""
    bursts = evidence.arms_of(ArmKind.BURST)
    if not bursts or not browser_is_in(evidence):
        return None
    after = [arm for arm in evidence.arms_of(ArmKind.JAR) if arm.note == "after the burst"]
    names = auth_names(evidence)
    visits = [visit for arm in bursts for visit in arm.visits]
    values = {each.digest for visit in visits for each in visit.set_cookies if each.name in names}
    deleted = any(each.is_deletion for visit in visits for each in visit.set_cookies if each.name in names)
    lost = sum(arm.outs for arm in bursts)
    is_over = any(arm.outs for arm in after)
    if not lost and not is_over:
        return []
    said = [f"parallel visits: {shown_arms(bursts)}", f"afterwards: {shown_arms(after)}"]
    if len(values) > 1:
        said.append(f"they set {len(values)} different values of the session's cookie")
    if deleted:
        said.append("an answer deleted the session's cookie")
    return said
