"""What is known and wanted of a session during one request; values without logic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limpet.sessions.balancer import Told
    from limpet.sessions.decide import Verdict
    from limpet.sessions.errors import StoreUnavailableError
    from limpet.sessions.record import EndReason, Key, Record


@dataclass(slots=True)
class Wishes:
    """What the app asked for beside its fields.

    Attributes:
        user: encoded id of who logs in; None for no login.
        device: label of a login; None takes the client's User-Agent.
        creates: whether a session without a field is worth a record.
        idle_s, ends_s, is_persistent: lifetimes for this session alone; None leaves them.
    """

    user: bytes | None = None
    device: str | None = None
    logs_out: bool = False
    rotates: bool = False
    creates: bool = False
    idle_s: float | None = None
    ends_s: float | None = None
    is_persistent: bool | None = None


NO_WISHES = Wishes()


@dataclass(slots=True)
class Loaded:
    """What is known of the session after asking the store.

    Attributes:
        key: where it stands; after a renewal not where the cookie says.
        reason: why it is absent.
        is_straggler: a login or logout has overtaken this request.
        is_renewed: the id has a successor, whose cookie the client needs.
        is_adopted: the client has shown the cookie of another library, and needs ours.
        is_copy: whether the record is a copy that this process keeps, and the store vouches for.
        failure: with UNKNOWN, or with FOUND if the record is an old copy.
    """

    verdict: Verdict
    key: Key | None = None
    record: Record | None = None
    reason: EndReason | None = None
    is_straggler: bool = False
    is_renewed: bool = False
    is_adopted: bool = False
    is_copy: bool = False
    failure: StoreUnavailableError | None = None


@dataclass(slots=True)
class Client:
    """Who sends the request, for the list of devices, and whether it only reads.

    Attributes:
        is_lasting: whether the connection goes on after the response, as a WebSocket's does.
        told: what the balancer says of it; None if there is none that asks.
    """

    address: str = ""
    user_agent: str = ""
    is_safe: bool = False
    told: Told | None = None
    is_lasting: bool = False
