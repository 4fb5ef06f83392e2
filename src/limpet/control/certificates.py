"""What the operator is told of certificates: which there are, and what is wrong with them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from limpet.core.model import Listener
    from limpet.core.tls import KeyPair, TargetTls

_DAY_S = 86400
#: An expiry is told when so many seconds are left, or so much of a short life.
_LAST_S = 14 * _DAY_S
_LAST_PART = 1 / 6


def warnings(listeners: Iterable[Listener], targets: Mapping[str, TargetTls], now_s: float) -> list[str]:
    """Return what to tell, one sentence each.

    Args:
        targets: by target group.
        now_s: wall clock.
    """
    pairs = [pair for listener in listeners if listener.tls is not None for pair in listener.tls.pairs]
    pairs += [tls.pair for tls in targets.values() if tls.pair is not None]
    found = [text for pair in dict.fromkeys(pairs) if (text := _expiry(pair, now_s)) is not None]
    found += [
        f"target_groups.{name}.tls: verify = false: whoever is on the way to its targets can read and "
        "change everything; give it a ca instead"
        for name, tls in targets.items()
        if not tls.is_verified
    ]
    return found


def describe(listener: Listener, now_s: float) -> list[dict[str, Any]]:
    """Return what `limpet status` shows of a listener's certificates.

    Args:
        now_s: wall clock.
    """
    return [
        {
            "names": list(pair.names),
            "expires": _time(pair.not_after_s),
            "expires_in_s": round(pair.not_after_s - now_s),
            "warning": _expiry(pair, now_s),
        }
        for pair in (listener.tls.pairs if listener.tls is not None else ())
    ]


def _expiry(pair: KeyPair, now_s: float) -> str | None:
    name = pair.names[0] if pair.names else "a client of targets"
    whose = f"the certificate for {name}, or one that vouches for it,"
    left_s = pair.not_after_s - now_s
    if left_s <= 0:
        return f"{whose} expired at {_time(pair.not_after_s)}; renew it"
    if pair.not_before_s > now_s:
        return f"the certificate for {name} is not valid before {_time(pair.not_before_s)}; check the clock"
    if left_s < min(_LAST_S, _LAST_PART * (pair.not_after_s - pair.not_before_s)):
        return f"{whose} expires at {_time(pair.not_after_s)}, in {left_s / _DAY_S:.1f} days; renew it"
    return None


def _time(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).isoformat().replace("+00:00", "Z")
