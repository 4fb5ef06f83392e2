from __future__ import annotations

from typing import Any

import pytest

from limpet.errors import ConfigError
from limpet.sessions import AAL2, AAL3, CookieSettings, Policy
from limpet.sessions.decide import Act, Verdict, judge, may_follow, plan_save, why_absent
from limpet.sessions.operations import Facts, Stored
from limpet.sessions.policy import idle_end_s, store_until_s, touch_s
from limpet.sessions.record import EndReason, Key, Meta, Record, Tombstone
from limpet.sessions.session_id import SessionId

NOW_S = 1_000_000.0
POLICY = Policy(idle_s=1000, absolute_s=5000, grace_s=10)
NEXT = Key("next", "")


def record(**meta: Any) -> Record:
    values = {
        "created_s": NOW_S,
        "auth_s": NOW_S,
        "ends_s": NOW_S + 5000,
        "idle_s": 1000.0,
        "confirmed_s": NOW_S,
    }
    return Record(1, b"epoch", NOW_S, Meta(b"g", b"u", **(values | meta)), {})


@pytest.mark.parametrize(
    ("stored", "after_s", "verdict", "reason"),
    [
        (Stored(None, b"epoch"), 0, Verdict.ABSENT, None),
        (Stored(record(), b"epoch"), 0, Verdict.FOUND, None),
        (Stored(record(), b"epoch"), 1000, Verdict.FOUND, None),
        (Stored(record(), b"epoch"), 1050, Verdict.ABSENT, EndReason.IDLE),
        (Stored(record(ends_s=NOW_S + 9), b"epoch"), 9, Verdict.ABSENT, EndReason.ABSOLUTE),
        (Stored(record(), b"other"), 0, Verdict.ABSENT, EndReason.REVOKED),
        (Stored(record(), None), 0, Verdict.ABSENT, EndReason.LOST),
        (Stored(Tombstone(EndReason.LOGOUT, NOW_S), b"epoch"), 0, Verdict.ABSENT, EndReason.LOGOUT),
    ],
)
def test_judgements(stored: Stored, after_s: float, verdict: Verdict, reason: EndReason | None) -> None:
    judgement = judge(stored, NOW_S + after_s, POLICY)
    assert (judgement.verdict, judgement.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("reason", "after_s", "follow", "is_straggler"),
    [
        (EndReason.RENEWED, 5, NEXT, True),
        (EndReason.RENEWED, 50, NEXT, False),
        (EndReason.RENEWED, 101, None, False),
        (EndReason.ROTATED, 5, None, True),
        (EndReason.ROTATED, 11, None, False),
    ],
)
def test_only_a_renewal_is_followed(
    reason: EndReason, after_s: float, follow: Key | None, is_straggler: bool
) -> None:
    stone = Tombstone(reason, NOW_S, NEXT, NOW_S + 100)
    judgement = judge(Stored(stone, b""), NOW_S + after_s, POLICY)
    assert (judgement.follow, judgement.is_straggler) == (follow, is_straggler)


@pytest.mark.parametrize(("confirmed_s", "follows"), [(0.0, True), (NOW_S - 9, True), (NOW_S - 10, False)])
def test_an_old_id_works_until_the_new_one_was_shown(confirmed_s: float, follows: bool) -> None:
    successor = judge(Stored(record(confirmed_s=confirmed_s), b"epoch"), NOW_S, POLICY)
    assert may_follow(successor, NOW_S, POLICY) is follows
    assert not may_follow(judge(Stored(None, b""), NOW_S, POLICY), NOW_S, POLICY)


@pytest.mark.parametrize(
    ("facts", "age_s", "reason"),
    [
        (Facts(1.0, 0.0), 10, EndReason.LOST),
        (Facts(1.0, 0.0), 2000, EndReason.IDLE),
        (Facts(NOW_S, 0.0), 2000, EndReason.LOST),
        (Facts(1.0, NOW_S), 2000, EndReason.REVOKED),
    ],
)
def test_why_nothing_is_there(facts: Facts, age_s: int, reason: EndReason) -> None:
    session_id = SessionId(b"", "", int(NOW_S) - age_s, int(NOW_S) + 9)
    assert why_absent(session_id, facts, NOW_S, POLICY) is reason


DEFAULTS = {
    "has_record": True,
    "logs_out": False,
    "logs_in": False,
    "rotates": False,
    "has_content": True,
    "has_changes": False,
    "touch_due": False,
    "renewal_due": False,
    "is_straggler": False,
}


@pytest.mark.parametrize(
    ("case", "acts"),
    [
        ({}, ()),
        ({"has_changes": True}, (Act.COMMIT,)),
        ({"touch_due": True}, (Act.COMMIT,)),
        ({"renewal_due": True, "has_changes": True}, (Act.RENEW,)),
        ({"rotates": True, "renewal_due": True}, (Act.REPLACE,)),
        ({"logs_in": True}, (Act.REPLACE,)),
        ({"logs_out": True, "has_content": False}, (Act.END,)),
        ({"logs_out": True, "has_content": True}, (Act.END, Act.CREATE)),
        ({"logs_out": True, "logs_in": True, "has_content": False}, (Act.END, Act.CREATE)),
        ({"has_record": False}, (Act.CREATE,)),
        ({"has_record": False, "has_content": False}, ()),
        ({"has_record": False, "has_content": False, "rotates": True}, ()),
        ({"has_record": False, "has_content": False, "logs_in": True}, (Act.CREATE,)),
        ({"has_record": False, "has_content": False, "logs_out": True}, ()),
        ({"has_record": False, "is_straggler": True}, ()),
        ({"has_record": False, "is_straggler": True, "logs_in": True}, (Act.CREATE,)),
    ],
)
def test_plans(case: dict[str, bool], acts: tuple[Act, ...]) -> None:
    assert plan_save(**(DEFAULTS | case)) == acts


@pytest.mark.parametrize("idle_s", [1.0, 30.0, 60.0, 840.0, 86400.0, 1209600.0])
def test_a_throttled_touch_never_shortens_the_promise(idle_s: float) -> None:
    meta = record(idle_s=idle_s, ends_s=NOW_S * 100).meta
    last_written_s, visit_s = NOW_S, NOW_S + touch_s(idle_s) - 0.001  # too early to be written down
    assert idle_end_s(meta, last_written_s) >= visit_s + idle_s
    assert store_until_s(meta, last_written_s) > idle_end_s(meta, last_written_s)


@pytest.mark.parametrize(("policy", "idle_s", "absolute_s"), [(AAL2, 3600, 86400), (AAL3, 900, 43200)])
def test_presets_keep_their_level(policy: Policy, idle_s: float, absolute_s: float) -> None:
    assert policy.idle_s + touch_s(policy.idle_s) <= idle_s
    assert policy.absolute_s <= absolute_s


def test_all_mistakes_of_a_policy_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Policy(idle_s=0, absolute_s=-1, renew_s=3)
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (CookieSettings(), "__Host-limpet_session"),
        (CookieSettings(secure=False), "limpet_session"),
        (CookieSettings(domain="example.org"), "limpet_session"),
        (CookieSettings(path="/app"), "limpet_session"),
        (CookieSettings(name="sid"), "sid"),
    ],
)
def test_the_name_depends_on_the_configuration_alone(settings: CookieSettings, name: str) -> None:
    assert settings.set("v", 9).startswith(f"{name}=v; Max-Age=9; Path=")
    assert ("Secure" in settings.clear()) is settings.secure
    assert settings.find({name: "v"}) == "v"


@pytest.mark.parametrize(
    "wrong",
    [
        {"same_site": "lax"},
        {"secure": False, "same_site": "None"},
        {"secure": False, "name": "__Host-sid"},
        {"name": "__Host-sid", "domain": "example.org"},
    ],
)
def test_cookies_that_browsers_refuse_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        CookieSettings(**wrong)
