"""Each cause is found first on evidence of a site that has it, and on none of the well sites."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from seen_kit import FLASK, LONG_IN, OPAQUE, arm, seen

from limpet.doctor.checks import CHECKS
from limpet.doctor.evidence import (
    Arm,
    CacheFact,
    CookieFact,
    CookieReading,
    CookieRole,
    Evidence,
    Login,
    Outcome,
    PageFact,
    Preflight,
    Visit,
)
from limpet.doctor.finding import Finding, Severity
from limpet.doctor.verdict import judge

STICKY = CookieFact(
    name="SERVERID",
    digest="5e5e5e5e",
    size_bytes=12,
    path="/",
    reading=CookieReading(product="HAProxy", role=CookieRole.BALANCER, is_comparable=True, mark="5e5e5e5e"),
)
JWT = replace(
    OPAQUE,
    name="token",
    reading=CookieReading(
        product="JWT", role=CookieRole.SESSION, is_signed_data=True, issued_at_s=1.7e9, expires_at_s=1.8e9
    ),
)
ASP = CookieReading(product="ASP.NET Core", role=CookieRole.OTHER, key_id="k1")
BOTH = (("SERVERID", "5e5e5e5e"), ("sid", "1b1b1b1b"))
HTTPS = Preflight(host="app.example", is_https=True, addresses=("192.0.2.1",))
HTTP = Preflight(host="app.example", addresses=("192.0.2.1",))
FLAP = "X.X.XX.X.XX.X.X."
HIT = CacheFact(age_s=30, is_hit=True, cache="x-cache")


def stranger(*cookies: CookieFact, **more: Any) -> Visit:
    return Visit(outcome=Outcome.OUT, set_cookies=cookies, **more)


def at(arm_: Arm, *numbers: int, **changes: Any) -> Arm:
    """Return an arm in which some visits differ."""
    visits = [
        replace(each, **changes) if number in numbers else each for number, each in enumerate(arm_.visits)
    ]
    return replace(arm_, visits=tuple(visits))


def noted(arm_: Arm, note: str) -> Arm:
    return replace(arm_, note=note)


def sticky(*arms: Arm, **more: Any) -> Evidence:
    """Return the evidence of a site whose balancer sets a cookie."""
    return seen(*arms, balancer_cookies=("SERVERID",), anonymous=(stranger(STICKY),), **more)


def changed(evidence: Evidence, **changes: Any) -> Evidence:
    """Return evidence in which every login differs."""
    return replace(evidence, logins=tuple(replace(each, **changes) for each in evidence.logins))


def with_cookie(**changes: Any) -> Evidence:
    """Return a site that works, with another session cookie."""
    cookie = replace(OPAQUE, **changes)
    return seen(
        arm("J", LONG_IN), arm("F", LONG_IN), cookie=cookie, first=stranger(), anonymous=(stranger(cookie),)
    )


def on_two(first: str, second: str) -> tuple[Arm, Arm]:
    """Return two logins' visits to replicas A, B and C by turns."""
    return arm("F", first, replicas="ABCABCABCABC"), arm("F", second, login=2, replicas="ABCABCABCABC")


VERSIONS = [PageFact(version="v1"), PageFact(version="v2")]


def versions(sequence: str) -> Arm:
    made = arm("F", sequence)
    visits = [replace(each, page=VERSIONS[0 if each.outcome is Outcome.IN else 1]) for each in made.visits]
    return replace(made, visits=tuple(visits))


def never_in(**changes: Any) -> Evidence:
    """Return a site whose login is accepted and has no effect."""
    made = seen(arm("J", LONG_IN, sent=(("sid", "1b1b1b1b"),)), oracle="", anonymous=(stranger(),))
    return replace(changed(made, submit=Visit(status=303, set_cookies=(OPAQUE,))), **changes)


SICK: dict[str, Evidence] = {
    "A1": seen(arm("F", FLAP), arm("F", FLAP, login=3), arm("J", FLAP)),
    "A2": replace(
        seen(arm("J", FLAP)),
        logins=(
            Login(number=1, submit=Visit(status=303), cookies=(OPAQUE,), auth=("sid",)),
            Login(number=2, submit=Visit(status=200), is_accepted=False),
        ),
    ),
    "A3": seen(arm("F", FLAP), arm("F", FLAP, login=3), cookie=FLASK),
    "A4": seen(
        arm("J", LONG_IN), arm("W", "....XXXXXX"), noted(arm("W", "....", login=2), "new login"), cookie=FLASK
    ),
    "A5": seen(arm("J", LONG_IN), arm("W", "......X.XX.X.XX.X."), cookie=FLASK),
    "A6": seen(*on_two("..X..X..X..X", "XX.XX.XX.XX."), cookie=FLASK),
    "A7": seen(
        arm("J", "..XXXXXXXXXX"), arm("F", ".XXXXXXXXXXX", login=2), arm("F", "...XXXXXXXXX", login=3)
    ),
    "A8": Evidence(
        first=stranger(),
        anonymous=tuple(
            stranger(CookieFact(name=f".AspNetCore.Antiforgery.{key}", reading=replace(ASP, key_id=key)))
            for key in ("k1", "k2", "k1")
        ),
    ),
    "A9": seen(
        arm("F", "X.X.XX", step_s=0.3),
        at(noted(arm("F", LONG_IN, step_s=1), "older"), *range(16), since_login_s=6.0),
        anonymous=tuple(stranger(date_offset_s=offset) for offset in (0.1, -7.0, 0.2, -7.1, 0.0, -7.2)),
    ),
    "A10": with_cookie(expires_in_s=1800.0),
    "A11": seen(
        arm("J", "....XXXXXXXXXXXX"),
        arm("F", LONG_IN, login=2),
        aside=(Visit(path="/other", set_cookies=(OPAQUE,)),),
    ),
    "A12": seen(
        arm("J", LONG_IN, sent=(("sid", "old"), ("sid", "new"))), arm("F", LONG_IN, login=2), first=stranger()
    ),
    "A13": changed(
        never_in(arms=(arm("J", LONG_IN), arm("L", LONG_IN))), unsent=(("sid", "has the path /auth"),)
    ),
    "A14": replace(with_cookie(), first=stranger(page=PageFact(has_form_post=True))),
    "A15": with_cookie(same_site="strict"),
    "A16": changed(
        seen(arm("J", "X" * 16), arm("L", "." * 8)),
        refused=(replace(OPAQUE, refusal="it is SameSite=None without Secure"),),
        cookies=(),
    ),
    "A17": changed(
        seen(arm("J", "X" * 16), arm("L", "." * 8)),
        refused=(
            replace(OPAQUE, size_bytes=5000, refusal="it has 5000 bytes, and browsers keep at most 4096"),
        ),
        cookies=(),
    ),
    "A18": seen(
        at(arm("J", "?" * 16, sent=(("sid", "1"),), header_bytes=9000), *range(16), status=431),
        anonymous=(stranger(),),
    ),
    "A19": replace(
        changed(never_in(), submit=Visit(status=303, location="http://app.example/")), preflight=HTTPS
    ),
    "A20": seen(
        arm("J", LONG_IN),
        at(
            arm("X", "....XXXX"), 1, 2, set_cookies=(replace(OPAQUE, digest="2"), replace(OPAQUE, digest="3"))
        ),
        noted(arm("J", "XXXXX"), "after the burst"),
    ),
    "A23": seen(
        arm("J", LONG_IN),
        at(arm("X", "....XXXX"), 5, set_cookies=(replace(JWT, is_deletion=True),)),
        noted(arm("J", "XXXXX"), "after the burst"),
        cookie=JWT,
    ),
    "A24": seen(arm("J", LONG_IN), arm("F", LONG_IN), arm("U", "XXX")),
    "A25": replace(
        seen(arm("J", LONG_IN)),
        logins=(
            Login(number=1, is_accepted=False, submit=Visit(status=403, page=PageFact(says_csrf=True))),
            Login(number=2, submit=Visit(status=303), cookies=(OPAQUE,), auth=("sid",)),
        ),
    ),
    "A26": seen(
        arm("J", LONG_IN), noted(arm("J", "XXX"), "after the second login"), arm("F", LONG_IN, login=2)
    ),
    "A27": seen(arm("J", LONG_IN, page=PageFact(logout_links=("/logout",))), arm("F", LONG_IN)),
    "A29": seen(arm("J", LONG_IN), at(arm("T", "......XXXX", sent=(("sid", "1"),)), 6, 7, 8, 9, sent=())),
    "A31": replace(
        seen(arm("J", LONG_IN), arm("W", "....XXXXXX"), noted(arm("W", "....", login=2), "new login")),
        logins=(
            Login(number=1, cookies=(OPAQUE,), auth=("sid",)),
            Login(number=2, cookies=(replace(OPAQUE, name="sid_v2"),), auth=("sid_v2",)),
        ),
    ),
    "L2": sticky(arm("J", LONG_IN), arm("F", LONG_IN), arm("A", FLAP)),
    "L3": sticky(arm("J", LONG_IN), arm("T", LONG_IN), noted(arm("I", "X.XX.X.."), "after")),
    "L4": sticky(arm("J", LONG_IN), at(arm("W", "....XXXXXX"), 4, set_cookies=(STICKY,))),
    "L5": sticky(at(arm("J", "....?XXXXXXXXXXX", sent=BOTH), 4, status=502, set_cookies=(STICKY,))),
    "L6": sticky(arm("J", LONG_IN), arm("W", "....XXXXXX", replicas="AAAABBBBBB", sent=BOTH)),
    "L7": sticky(arm("F", "X..X.XX.X.X.X.X.", replicas="ABBABAABABABABAB", sent=BOTH)),
    "L8": replace(
        seen(arm("J", "XXXX", replicas="BBBB"), arm("J", LONG_IN, login=2, replicas="A" * 16)),
        logins=(
            Login(number=1, home="A", cookies=(OPAQUE,), auth=("sid",)),
            Login(number=2, home="A", cookies=(OPAQUE,), auth=("sid",)),
        ),
    ),
    "L9": Evidence(first=stranger(OPAQUE, products=frozenset({"Cloud Foundry"}))),
    "L10": Evidence(
        first=stranger(replace(STICKY, path="/shop"), path="/shop/cart"), balancer_cookies=("SERVERID",)
    ),
    "L11": Evidence(first=stranger(STICKY, allows_credentials=False), balancer_cookies=("SERVERID",)),
    "L12": Evidence(first=stranger(STICKY, replace(STICKY, digest="6f")), balancer_cookies=("SERVERID",)),
    "L15": never_in(first=stranger(products=frozenset({"CloudFront"}))),
    "L17": seen(
        noted(arm("D", "....."), "192.0.2.1"),
        noted(arm("D", "XXXXX"), "192.0.2.2"),
        preflight=Preflight(host="app.example", addresses=("192.0.2.1", "192.0.2.2")),
    ),
    "L19": replace(
        changed(seen(arm("J", LONG_IN)), submit=Visit(status=303, location="https://www.app.example/")),
        preflight=HTTPS,
        first=stranger(),
    ),
    "L21": seen(versions("X.X.X.X.X.X.X.X.")),
    "L23": sticky(
        arm("J", LONG_IN), arm("F", LONG_IN), arm("A", FLAP), cookie=replace(OPAQUE, max_age_s=86400.0)
    ),
    "L24": sticky(
        at(arm("F", FLAP, sent=BOTH), 0, 2, 4, 5, set_cookies=(replace(STICKY, digest="7"),)),
    ),
    "S1": seen(arm("J", LONG_IN), arm("F", "." * 14 + "X" * 6, login=2)),
    "S2": replace(
        seen(anonymous=(stranger(),)), logins=(Login(number=1, is_accepted=False, submit=Visit(status=500)),)
    ),
    "S3": seen(arm("J", LONG_IN), arm("W", "....XXXXXX"), noted(arm("W", "....", login=2), "new login")),
    "S4": seen(
        arm("J", LONG_IN), arm("T", "......XXXX", sent=(("sid", "1"),)), noted(arm("I", "XXXXXXXX"), "after")
    ),
    "S7": seen(
        arm("F", "XXX.X..", step_s=0.1),
        at(noted(arm("F", LONG_IN, step_s=1), "older"), *range(16), since_login_s=6.0),
    ),
    "S8": seen(*on_two("..X..X..X..X", "XX.XX.XX.XX.")),
    "S10": seen(arm("J", "XXXX"), arm("J", LONG_IN, login=2), arm("J", "XXXX", login=3)),
    "B1": seen(at(arm("F", FLAP), 0, 2, 4, 5, 7, 9, 10, 12, 14, cache=HIT), arm("B", "........")),
    "B2": Evidence(first=stranger(OPAQUE), anonymous=(stranger(OPAQUE), stranger(OPAQUE))),
    "B3": Evidence(first=stranger(status=301, location="/login")),
    "B6": with_cookie(same_site="none", is_secure=True),
    "B7": Evidence(first=stranger(OPAQUE, replace(OPAQUE, is_partitioned=True))),
}
#: STICKY lives an hour where the session lives a day.
SICK["L23"] = replace(SICK["L23"], anonymous=(stranger(replace(STICKY, max_age_s=3600.0)),))

#: Causes that stand behind another one, which explains the same evidence.
BEHIND = {"L1": SICK["A1"], "L13": replace(SICK["A1"], first=stranger(products=frozenset({"cloudflare"})))}
#: Where two causes make one picture, either may lead.
EITHER = {"L23": {"L2", "L23"}}

EACH_HIS_OWN = tuple(stranger(replace(OPAQUE, digest=str(number))) for number in range(20))
WELL: dict[str, Evidence] = {
    "a shared store": seen(
        arm("J", LONG_IN * 2),
        arm("F", LONG_IN * 2, login=2),
        noted(arm("J", "..."), "after the second login"),
        arm("U", "..."),
        arm("X", LONG_IN),
        noted(arm("J", "....."), "after the burst"),
        first=stranger(),
        anonymous=EACH_HIS_OWN,
        preflight=HTTP,
    ),
    "a signed cookie": seen(
        arm("J", LONG_IN, set_cookies=(replace(FLASK, digest="new"),)),
        arm("F", LONG_IN, login=2),
        cookie=FLASK,
        first=stranger(FLASK),
        anonymous=(stranger(FLASK), stranger(FLASK)),
    ),
    "rotation with grace": seen(
        arm("J", LONG_IN, set_cookies=(replace(OPAQUE, digest="new"),)),
        arm("X", LONG_IN, set_cookies=(replace(OPAQUE, digest="newer"),)),
        noted(arm("J", "....."), "after the burst"),
        rotating=("sid",),
        first=stranger(),
    ),
    "sticky with a shared store": sticky(
        arm("J", LONG_IN, sent=BOTH),
        arm("F", LONG_IN, sent=BOTH),
        arm("A", LONG_IN, replicas="ABCABCABCABCABCA"),
        first=stranger(),
    ),
    "a canary": seen(
        arm("J", LONG_IN),
        replace(
            arm("F", LONG_IN),
            visits=tuple(
                replace(each, page=VERSIONS[number % 2])
                for number, each in enumerate(arm("F", LONG_IN).visits)
            ),
        ),
        first=stranger(),
    ),
    "one visit lost": seen(arm("J", LONG_IN), arm("F", "......X.........")),
    "idle and watched": seen(
        arm("J", LONG_IN), arm("T", LONG_IN), noted(arm("I", "........"), "after"), arm("W", LONG_IN)
    ),
}


def test_every_check_has_a_sick_site() -> None:
    assert set(SICK) | set(BEHIND) >= set(CHECKS) - OTHERS


#: Checks whose evidence only `limpet check` has; their tests are with it.
OTHERS = {"A21", "A22", "A30", "S12", "S13"}


@pytest.mark.parametrize("rule", sorted(SICK))
def test_the_right_cause_comes_first(rule: str) -> None:
    verdict = judge(SICK[rule], fail_on=Severity.NOTE)
    assert verdict.findings, verdict.ruled_out.get(rule) or verdict.not_tested.get(rule)
    assert verdict.findings[0].rule in EITHER.get(rule, {rule})
    assert rule in {each.rule for each in verdict.findings}
    assert verdict.exit_code == 1


def test_a_key_that_djangos_store_needs_is_found_though_the_cookie_is_an_id() -> None:
    django = replace(OPAQUE, reading=CookieReading(product="Django", role=CookieRole.SESSION))
    (first, *_) = judge(seen(arm("F", FLAP), arm("F", FLAP, login=3), cookie=django)).findings
    assert (first.rule, first.rivals) == ("A3", ("A1", "A2"))
    assert "SECRET_KEY" in first.evidence[-1]


@pytest.mark.parametrize("rule", sorted(BEHIND))
def test_causes_behind_others_are_told(rule: str) -> None:
    assert isinstance(CHECKS[rule].answer(BEHIND[rule]), Finding)


@pytest.mark.parametrize("site", sorted(WELL))
@pytest.mark.parametrize("rule", sorted(CHECKS))
def test_a_well_site_has_no_finding(rule: str, site: str) -> None:
    answer = CHECKS[rule].answer(WELL[site])
    is_note = isinstance(answer, Finding) and answer.severity is Severity.NOTE
    assert is_note or not isinstance(answer, Finding), answer


@pytest.mark.parametrize("rule", sorted(set(CHECKS) - OTHERS))
def test_a_finding_is_complete(rule: str) -> None:
    answer = CHECKS[rule].answer((SICK | BEHIND).get(rule, Evidence()))
    assert isinstance(answer, Finding)
    assert answer.rule == rule
    assert answer.evidence
    assert all(answer.evidence)
    assert answer.users_see
    assert answer.fix
