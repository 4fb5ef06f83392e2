"""The decisions of the session layer; pure: values in, values out."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from limpet.sessions.policy import idle_end_s, touch_s
from limpet.sessions.record import EndReason, Key, Record, Tombstone

if TYPE_CHECKING:
    from limpet.sessions.operations import Facts, Stored
    from limpet.sessions.policy import Policy
    from limpet.sessions.session_id import SessionId


class Verdict(Enum):
    """What is known of a request's session after asking the store.

    UNKNOWN is not ABSENT: it neither clears a cookie nor makes a new id.
    """

    FOUND = "found"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class Judgement(NamedTuple):
    """What a stored thing means.

    Attributes:
        record: with FOUND.
        reason: with ABSENT: why; None if the store alone cannot tell.
        follow: with ABSENT: where the session may go on.
        is_straggler: with ABSENT: the request was overtaken by a login or logout a moment ago.
    """

    verdict: Verdict
    record: Record | None = None
    reason: EndReason | None = None
    follow: Key | None = None
    is_straggler: bool = False


def judge(stored: Stored, now_s: float, policy: Policy) -> Judgement:
    """Decide what stands at a key."""
    what = stored.what
    if what is None:
        return Judgement(Verdict.ABSENT)
    if isinstance(what, Tombstone):
        return Judgement(
            Verdict.ABSENT,
            reason=what.reason,
            follow=what.successor if what.reason is EndReason.RENEWED and now_s < what.until_s else None,
            is_straggler=now_s < what.at_s + policy.grace_s,
        )
    reason = _end_of(what, stored.epoch, now_s)
    return Judgement(Verdict.ABSENT, reason=reason) if reason else Judgement(Verdict.FOUND, record=what)


def _end_of(record: Record, epoch: bytes | None, now_s: float) -> EndReason | None:
    if epoch is None:
        return EndReason.LOST  # the epoch outlives all sessions of its user: the store dropped it
    if record.epoch != epoch:
        return EndReason.REVOKED
    if now_s >= record.meta.ends_s:
        return EndReason.ABSOLUTE
    return EndReason.IDLE if now_s >= idle_end_s(record.meta, record.seen_s) else None


def may_follow(successor: Judgement, now_s: float, policy: Policy) -> bool:
    """Whether an old id still opens the session that was renewed.

    It does until a client has shown the new id (its cookie may have been lost on the way), and a
    grace longer for requests that were sent before.
    """
    record = successor.record
    if record is None:
        return False
    return record.meta.confirmed_s == 0 or now_s < record.meta.confirmed_s + policy.grace_s


def why_absent(session_id: SessionId, facts: Facts, now_s: float, policy: Policy) -> EndReason:
    """Tell why nothing stands where an id that we signed should be.

    A session that nobody visited is dropped by its store without a trace, so IDLE is said only
    when the session cannot have been lost with the store, and may have run out.
    """
    if session_id.issued_s <= facts.everyone_s:
        return EndReason.REVOKED
    if session_id.issued_s < int(facts.born_s) or now_s < session_id.issued_s + policy.idle_s:
        return EndReason.LOST
    return EndReason.IDLE


def is_touch_due(record: Record, now_s: float) -> bool:
    """Whether this visit must be written down to keep the promise of the idle timeout."""
    return now_s >= record.seen_s + touch_s(record.meta.idle_s)


def is_renewal_due(session_id: SessionId, now_s: float, policy: Policy) -> bool:
    """Whether the id is to be replaced: it is old, or its secret is on the way out."""
    if policy.renew_s is None:
        return False
    return not session_id.is_newest_key or now_s >= session_id.issued_s + policy.renew_s


class Act(Enum):
    """What is done with a session at the end of a request.

    CREATE a record; COMMIT to the one there is; END it; REPLACE it by one under a new id whose old
    id is dead at once (login, rotation); RENEW: the same with a grace for the old id.
    """

    CREATE = "create"
    COMMIT = "commit"
    END = "end"
    REPLACE = "replace"
    RENEW = "renew"


def plan_save(
    *,
    has_record: bool,
    logs_out: bool,
    logs_in: bool,
    rotates: bool,
    has_content: bool,
    has_changes: bool,
    touch_due: bool,
    renewal_due: bool,
    is_straggler: bool,
) -> tuple[Act, ...]:
    """Decide what to do with a session that was opened, in this order; nothing if it is empty.

    Args:
        has_record: the store has it.
        has_content: there are fields to store.
        has_changes: fields or lifetimes differ from the record.
        is_straggler: a login or logout has overtaken this request: unless it logs in itself, it makes no
            session, whose cookie would replace the one that the login has set.
    """
    if logs_out or not has_record:
        # A straggler's session may live on under another id, and is to end there.
        acts = (Act.END,) if has_record or (logs_out and is_straggler) else ()
        may_create = logs_in or (has_content and not is_straggler)
        return (*acts, Act.CREATE) if may_create else acts
    if logs_in or rotates:
        return (Act.REPLACE,)
    if renewal_due:
        return (Act.RENEW,)
    return (Act.COMMIT,) if has_changes or touch_due else ()


class CookieAct(Enum):
    """What happens to the cookie. Only a logout clears it.

    An absent session does not: the answer that clears would race with the login of another tab.
    """

    KEEP = "keep"
    SET = "set"
    CLEAR = "clear"
