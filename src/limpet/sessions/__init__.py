"""Server-side sessions that every server can read; usable with or without the balancer."""

from limpet.sessions.cookie import CookieSettings
from limpet.sessions.errors import (
    LoginNotFreshError,
    NotSupportedByStoreError,
    SessionConflictError,
    SessionError,
    SessionTooLargeError,
    StoreUnavailableError,
    TooLateError,
    UndecodableError,
    UnsupportedValueError,
)
from limpet.sessions.near_cache import NearCache
from limpet.sessions.policy import AAL1, AAL2, AAL3, OnUnknown, Policy
from limpet.sessions.record import EndReason
from limpet.sessions.revoke import Listed
from limpet.sessions.service import Sessions
from limpet.sessions.session import Session

__all__ = [
    "AAL1",
    "AAL2",
    "AAL3",
    "CookieSettings",
    "EndReason",
    "Listed",
    "LoginNotFreshError",
    "NearCache",
    "NotSupportedByStoreError",
    "OnUnknown",
    "Policy",
    "Session",
    "SessionConflictError",
    "SessionError",
    "SessionTooLargeError",
    "Sessions",
    "StoreUnavailableError",
    "TooLateError",
    "UndecodableError",
    "UnsupportedValueError",
]
