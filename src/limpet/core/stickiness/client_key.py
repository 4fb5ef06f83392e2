"""Stickiness without a cookie: by the client's address, or by a header that names its session.

A key that was seen before goes where it went, so that adding targets moves nobody; the table of
keys is bounded and forgets keys that were idle for the duration. A key that is not in the table
is placed by `route`, by rendezvous hashing, so that two balancers, and one that was restarted,
agree; its first response enters it.

A session's header may be the server's idea (`Mcp-Session-Id`): then the client's first request
has none, the policy chooses its target, and the response teaches the table.

Trade-off: an office behind one address is one client. Keys are kept as hashes.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING

from limpet.core.stickiness.contract import (
    NOTHING_CARRIED,
    NOTHING_TO_BIND,
    Binding,
    Carried,
    Finding,
    StickyStatus,
)
from limpet.core.stickiness.settings import ExemptPaths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limpet.core.clock import Now
    from limpet.core.request import RequestHead, ResponseHead
    from limpet.core.stickiness.settings import Sealing, StickinessSettings
    from limpet.core.target import TargetState

#: Keys remembered per target group; the longest unseen are forgotten first.
MAX_KEYS = 100_000


class _ClientKey:
    """What both kinds share: the table."""

    own_cookies: frozenset[bytes] = frozenset()
    first_visits = None

    def __init__(self, settings: StickinessSettings, sealing: Sealing) -> None:
        del sealing
        self.on_unavailable = settings.on_unavailable
        self.after_recovery = settings.after_recovery
        self._duration_s = settings.duration_s
        self._exempt = ExemptPaths(settings.exempt_paths)
        # In the order of their last request.
        self._targets: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def _find(self, key: bytes, now: Now) -> Finding:
        known = self._targets.get(key)
        if known is None or (self._duration_s and now.mono_s - known[1] >= self._duration_s):
            return Finding(StickyStatus.ABSENT, session_key=key)
        self._learn(key, known[0], now.mono_s)
        return Finding(StickyStatus.FOUND, known[0], session_key=key)

    def _follow(self, finding: Finding, target_id: str, mono_s: float) -> None:
        # A kept pin is in the table already. Writing it again would undo a move that was made
        # while this response was on its way.
        if finding.session_key is not None and finding.target_id != target_id:
            self._learn(finding.session_key, target_id, mono_s)

    def _learn(self, key: bytes, target_id: str, mono_s: float) -> None:
        self._targets[key] = (target_id, mono_s)
        self._targets.move_to_end(key)
        if len(self._targets) > MAX_KEYS:
            self._targets.popitem(last=False)


class SourceIp(_ClientKey):
    """Stickiness by the client's address."""

    kind = "source_ip"

    def find(self, request: RequestHead, targets: Mapping[str, TargetState], now: Now) -> Finding:
        """Look the client's address up."""
        del targets
        if request in self._exempt:
            return Finding(StickyStatus.EXEMPT, is_settled=True)
        return self._find(_hashed(request.client_ip.encode()), now)

    def bind(
        self,
        request: RequestHead,
        finding: Finding,
        target_id: str,
        response: ResponseHead,
        now: Now,
        carried: Carried = NOTHING_CARRIED,
    ) -> Binding:
        """Remember where the client went."""
        del request, response, carried  # this kind has no ticket
        self._follow(finding, target_id, now.mono_s)
        return NOTHING_TO_BIND


class HeaderStickiness(_ClientKey):
    """Stickiness by a header that names the session."""

    kind = "header"

    def __init__(self, settings: StickinessSettings, sealing: Sealing) -> None:
        super().__init__(settings, sealing)
        self._header = settings.header

    def find(self, request: RequestHead, targets: Mapping[str, TargetState], now: Now) -> Finding:
        """Look the header's value up."""
        del targets
        if request in self._exempt:
            return Finding(StickyStatus.EXEMPT, is_settled=True)
        value = request.header(self._header)
        return Finding(StickyStatus.ABSENT) if value is None else self._find(_hashed(value), now)

    def bind(
        self,
        request: RequestHead,
        finding: Finding,
        target_id: str,
        response: ResponseHead,
        now: Now,
        carried: Carried = NOTHING_CARRIED,
    ) -> Binding:
        """Remember where the session went, be it named by the request or by the response."""
        del request, carried
        self._follow(finding, target_id, now.mono_s)
        made = response.header(self._header)
        if made is not None and _hashed(made) != finding.session_key:
            self._learn(_hashed(made), target_id, now.mono_s)
        return NOTHING_TO_BIND


def _hashed(value: bytes) -> bytes:
    return blake2b(value, digest_size=16, person=b"limpet client").digest()
