"""What a run has seen, as frozen values: the only thing that checks read.

Theory. A *visit* is one request with what its answer tells. An *arm* is a row of visits that differ
in nothing but time: a browser's jar, cookies frozen at login, and so on. Which arms lose the session,
and in what pattern, separates most causes. What an answer means (logged in, logged out, neither) is
decided by an oracle after the fact, so a visit keeps the features of its page.

Nothing secret is in here: of a cookie its name, size, attributes and a salted hash of its value; of
a page which words of a fixed list it has. So evidence may be printed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Outcome(Enum):
    """Whether an answer is that of somebody logged in. Errors, 429 and challenges are neither."""

    IN = "in"
    OUT = "out"
    NEITHER = "neither"

    @property
    def sign(self) -> str:
        """One character, for sequences."""
        return {"in": ".", "out": "X", "neither": "?"}[self.value]


class ArmKind(Enum):
    """How the visits of an arm are made."""

    JAR = "J"  # a browser: obeys every Set-Cookie
    FROZEN = "F"  # the cookies as they were right after login, whatever is set later
    APP_ONLY = "A"  # frozen, without the balancer's cookies
    NONE = "N"  # no cookies
    KEEP_ALIVE = "K"  # frozen, on one connection
    BURST = "X"  # a browser's parallel requests
    OTHER_AGENT = "U"  # frozen, with another User-Agent
    BUSTED = "B"  # frozen, with a query that no cache has seen
    LENIENT = "L"  # obeys every Set-Cookie, even those that browsers refuse
    TOUCHED = "T"  # a session visited now and then while time passes
    IDLE = "I"  # a session left alone, then visited
    WATCH = "W"  # a browser's visits while somebody deploys
    ADDRESS = "D"  # frozen, one address of several that DNS names


class Pattern(Enum):
    """What became of the session over an arm."""

    OK = "ok"  # always in
    FLAP = "flap"  # out and in again
    ONE_OUT = "one out"  # out once: too little to judge
    DEAD = "dead"  # in, then out for good
    OUT = "out"  # never in
    UNCLEAR = "unclear"  # too few answers that say anything


class CookieRole(Enum):
    """Whose cookie it is, as far as its name and shape tell."""

    BALANCER = "balancer"
    SESSION = "session"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieReading:
    """What a cookie's name and shape tell without any key.

    Attributes:
        product: who makes such cookies, "Flask", "AWS ALB".
        is_signed_data: whether the session's data are in the cookie, so that a key and no store decides.
        is_comparable: of balancer cookies, whether equal values mean the same replica.
        mark: hash of the part that names a replica; "" if there is none.
        key_id: hash of the id of the key that made it; "" if there is none.
        issued_at_s, expires_at_s: wall clock of the server, if the value says so.
        data_keys: names of the data in it, never their values.
    """

    product: str
    role: CookieRole
    is_signed_data: bool = False
    is_comparable: bool = False
    mark: str = ""
    key_id: str = ""
    issued_at_s: float | None = None
    expires_at_s: float | None = None
    data_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieFact:
    """A cookie as one response set it.

    Attributes:
        digest: salted hash of the value; "" for an empty value.
        size_bytes: of name and value together, which is what browsers limit.
        expires_in_s: the Expires attribute less our clock.
        domain, path, same_site: as written, in lower case; "" if absent.
        refusal: why a browser drops it; "" if it is kept.
    """

    name: str
    digest: str = ""
    size_bytes: int = 0
    max_age_s: float | None = None
    expires_in_s: float | None = None
    is_deletion: bool = False
    domain: str = ""
    path: str = ""
    same_site: str = ""
    is_secure: bool = False
    is_http_only: bool = False
    is_partitioned: bool = False
    refusal: str = ""
    reading: CookieReading | None = None

    @property
    def role(self) -> CookieRole:
        """Whose cookie it is."""
        return self.reading.role if self.reading else CookieRole.OTHER

    @property
    def lifetime_s(self) -> float | None:
        """Seconds until a browser drops it; None for the end of the browser's session."""
        return self.max_age_s if self.max_age_s is not None else self.expires_in_s


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFact:
    """What a response says about caches between app and browser.

    Attributes:
        age_s: the Age header.
        is_hit: whether a cache says that it answered.
        cache: who says so ("cloudflare", "x-cache").
        control, vary: the headers in lower case.
    """

    age_s: int | None = None
    is_hit: bool = False
    cache: str = ""
    control: str = ""
    vary: str = ""
    has_validator: bool = False

    @property
    def is_cached(self) -> bool:
        """Whether the app itself did not answer."""
        return self.is_hit or bool(self.age_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFact:
    """What a page shows, for the oracle and for lint.

    Attributes:
        title, words: hashes, for comparison only.
        json_shape: hash of a JSON body's keys and types.
        names_user: whether the page holds the name that logged in; None if none is known.
        is_marked: whether it has what the caller named as the mark of being logged in; None if nothing was.
        says_csrf: whether it speaks of a forged or stale form.
        logout_links: paths of plain links that log out.
        version: hash of the names of the scripts and styles it loads; "" if it loads none.
        has_form_post: whether it posts to another site's login (SAML, `form_post`).
    """

    content_type: str = ""
    has_password_field: bool = False
    has_logout_word: bool = False
    title: str = ""
    json_shape: str = ""
    names_user: bool | None = None
    words: frozenset[str] = frozenset()
    logout_links: tuple[str, ...] = ()
    has_logout_form: bool = False
    version: str = ""
    is_marked: bool | None = None
    says_csrf: bool = False
    has_form_post: bool = False
    has_service_worker: bool = False
    has_socket_io: bool = False
    may_be_framed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request and what its answer tells.

    Attributes:
        at_s: monotonic seconds since the run began.
        since_login_s: seconds since the login whose cookies it sent; None without one.
        status: 0 if no answer came; `failure` then says why.
        location: where a redirect leads, query and fragment cut off; only the path within the site.
        replica: label of whoever answered ("A"); "" if unknown.
        sent: names of the cookies sent, with hashes of their values.
        date_offset_s: the server's Date less our clock.
        wall_s: our clock when it came.
        products: what the headers name ("cloudflare", "gunicorn").
    """

    at_s: float = 0.0
    since_login_s: float | None = None
    method: str = "GET"
    path: str = "/"
    status: int = 200
    failure: str = ""
    location: str = ""
    outcome: Outcome = Outcome.NEITHER
    replica: str = ""
    sent: tuple[tuple[str, str], ...] = ()
    set_cookies: tuple[CookieFact, ...] = ()
    cache: CacheFact = CacheFact()
    page: PageFact = PageFact()
    date_offset_s: float | None = None
    wall_s: float = 0.0
    took_s: float = 0.0
    products: frozenset[str] = frozenset()
    allows_credentials: bool | None = None
    header_bytes: int = 0

    def cookie(self, name: str) -> CookieFact | None:
        """Return the cookie of a name that the response set last."""
        return next((each for each in reversed(self.set_cookies) if each.name == name), None)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A row of visits that differ in nothing but time.

    Attributes:
        login: number of the login whose cookies it sends, from 1; 0 for none.
        note: what sets it apart from others of its kind ("after restart", an address).
    """

    kind: ArmKind
    login: int = 0
    visits: tuple[Visit, ...] = ()
    note: str = ""

    @cached_property
    def clear(self) -> tuple[Visit, ...]:
        """The visits that are either in or out."""
        return tuple(visit for visit in self.visits if visit.outcome is not Outcome.NEITHER)

    @property
    def sequence(self) -> str:
        """The outcomes as characters: `.` in, `X` out, `?` neither."""
        return "".join(visit.outcome.sign for visit in self.visits)

    @property
    def ins(self) -> int:
        """How many visits were in."""
        return sum(visit.outcome is Outcome.IN for visit in self.visits)

    @property
    def outs(self) -> int:
        """How many visits were out."""
        return sum(visit.outcome is Outcome.OUT for visit in self.visits)

    @property
    def loss(self) -> float:
        """The part of clear visits that were out."""
        return self.outs / len(self.clear) if self.clear else 0.0

    @property
    def pattern(self) -> Pattern:
        """What became of the session. Flap takes two outs, and an in after an out."""
        signs = "".join(visit.outcome.sign for visit in self.clear)
        if not signs:
            return Pattern.UNCLEAR
        if "X" not in signs:
            return Pattern.OK
        if "." not in signs:
            return Pattern.OUT
        if "." not in signs[signs.index("X") :]:
            return Pattern.DEAD if signs.count("X") >= 3 else Pattern.ONE_OUT
        return Pattern.FLAP if signs.count("X") >= 2 else Pattern.ONE_OUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One login, and what it left in a browser.

    Attributes:
        number: from 1.
        way: "form", "json", "cookies".
        is_accepted: whether the site took the credentials.
        before, submit: the answers to the login page and to the credentials; None for imported cookies.
        cookies: what a browser holds after it.
        refused: cookies that a lenient client would hold and a browser refuses.
        unsent: cookies that a browser holds and does not send to the checked page, with the reason.
        auth: names of the cookies that the login depends on.
        home: label of the replica that took the login; "" if unknown.
    """

    number: int = 1
    way: str = "form"
    is_accepted: bool = True
    before: Visit | None = None
    submit: Visit | None = None
    follow: tuple[Visit, ...] = ()
    cookies: tuple[CookieFact, ...] = ()
    refused: tuple[CookieFact, ...] = ()
    unsent: tuple[tuple[str, str], ...] = ()
    auth: tuple[str, ...] = ()
    home: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One way to the site: another scheme or name, and where it leads."""

    url: str
    status: int = 0
    location: str = ""
    set_cookies: tuple[CookieFact, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What is known before the first page: names, addresses, hops."""

    host: str = ""
    is_https: bool = False
    addresses: tuple[str, ...] = ()
    hops: tuple[Hop, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaFact:
    """A process of the app that `limpet check` started.

    Attributes:
        secrets: name of each secret ("app.secret_key") with a keyed hash of it.
        clock_offset_s: how wrong its clock was made.
    """

    name: str
    secrets: tuple[tuple[str, str], ...] = ()
    clock_offset_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFact:
    """A line of the app that may matter, found by reading or by importing it.

    Attributes:
        kind: what it is: "secret_made_at_import", "memory_state", "cookie_flags", ...
        detail: a sentence about it, without any secret.
    """

    kind: str
    path: str
    line: int
    detail: str = ""


class TrialKind(Enum):
    """What `limpet check` does to the app on purpose."""

    ROUND_ROBIN = "round robin"
    STICKY = "sticky"
    RESTART_ONE = "restart one"
    RESTART_ALL = "restart all"
    SCALE_UP = "scale up"
    SCALE_DOWN = "scale down"
    SKEWED_CLOCK = "skewed clock"
    STORE_STOPPED = "store stopped"
    TLS_IN_FRONT = "TLS in front"
    SLOW_REQUEST = "slow request across a login"
    PARALLEL_REFRESH = "parallel refresh"
    PARALLEL_RENEWAL = "parallel requests when a short-lived cookie has ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Something done on purpose, and the arms around it.

    Attributes:
        before, during, after: the same session's visits.
        fresh: a new login's visits, afterwards.
        note: what else there is to tell, a sentence.
    """

    kind: TrialKind
    before: Arm | None = None
    during: Arm | None = None
    after: Arm | None = None
    fresh: Arm | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a run has seen.

    Attributes:
        command: "doctor" or "check".
        url: the page that differs when logged in.
        oracle: how in and out were told apart, as a sentence; "" if they could not be.
        first: the answer to the first visit without cookies.
        anonymous: visits without cookies, each on a fresh connection.
        honoured: anonymous visits that send the balancer's cookie back.
        replayed: anonymous visits that send a session id which the site had just issued.
        kept: anonymous visits on one connection.
        aside: visits to other pages of the site, which the oracle does not judge.
        balancer_cookies: names; by fingerprint, or because their values repeat as replicas do.
        rotating: cookies of the login that change on ordinary visits.
        stopped: why the run ended early; "" if it did not.
        tested: what was done, for what was not tested: names of phases.
        used, budget: requests.
    """

    command: str = "doctor"
    url: str = ""
    oracle: str = ""
    preflight: Preflight | None = None
    first: Visit | None = None
    anonymous: tuple[Visit, ...] = ()
    honoured: tuple[Visit, ...] = ()
    replayed: tuple[Visit, ...] = ()
    kept: tuple[Visit, ...] = ()
    aside: tuple[Visit, ...] = ()
    logins: tuple[Login, ...] = ()
    arms: tuple[Arm, ...] = ()
    balancer_cookies: tuple[str, ...] = ()
    rotating: tuple[str, ...] = ()
    replicas: tuple[ReplicaFact, ...] = ()
    sources: tuple[SourceFact, ...] = ()
    trials: tuple[Trial, ...] = ()
    stopped: str = ""
    tested: frozenset[str] = frozenset()
    used: int = 0
    budget: int = 300
    facts: Mapping[str, str] = field(default_factory=dict)

    def arms_of(self, *kinds: ArmKind) -> tuple[Arm, ...]:
        """Return the arms of some kinds that have visits."""
        return tuple(arm for arm in self.arms if arm.kind in kinds and arm.visits)

    def trial(self, kind: TrialKind) -> Trial | None:
        """Return the trial of a kind."""
        return next((each for each in self.trials if each.kind is kind), None)

    def all_visits(self) -> Iterator[Visit]:
        """Give every visit, in no particular order."""
        if self.first is not None:
            yield self.first
        yield from (*self.anonymous, *self.honoured, *self.replayed, *self.kept, *self.aside)
        for login in self.logins:
            yield from (each for each in (login.before, login.submit, *login.follow) if each is not None)
        for arm in self.arms:
            yield from arm.visits

    @cached_property
    def seen_replicas(self) -> tuple[str, ...]:
        """Labels of all replicas that answered."""
        return tuple(sorted({visit.replica for visit in self.all_visits() if visit.replica}))

    @cached_property
    def products(self) -> frozenset[str]:
        """What headers and cookies name."""
        named: set[str] = set()
        for visit in self.all_visits():
            named |= visit.products
            named |= {each.reading.product for each in visit.set_cookies if each.reading}
        named |= {each.reading.product for login in self.logins for each in login.cookies if each.reading}
        return frozenset(named)

    @cached_property
    def session_cookies(self) -> tuple[CookieFact, ...]:
        """The cookies that logins depend on, one of each name; by role if there was no login."""
        if any(login.auth for login in self.logins):
            return _one_each(
                each for login in self.logins for each in login.cookies if each.name in login.auth
            )
        return _one_each(
            each
            for visit in self.all_visits()
            for each in visit.set_cookies
            if each.role is CookieRole.SESSION and each.name not in self.balancer_cookies
        )

    @cached_property
    def set_cookies(self) -> tuple[CookieFact, ...]:
        """Every cookie that was set and not deleted, one of each name and scope."""
        found: dict[tuple[str, str, str, bool], CookieFact] = {}
        for visit in self.all_visits():
            for each in visit.set_cookies:
                if not each.is_deletion:
                    found.setdefault((each.name, each.domain, each.path, each.is_partitioned), each)
        return tuple(found.values())


def _one_each(cookies: Iterable[CookieFact]) -> tuple[CookieFact, ...]:
    return tuple({each.name: each for each in cookies if not each.is_deletion}.values())
