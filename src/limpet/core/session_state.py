"""What sessions and balancer tell each other: the codec of their three header fields.

    Limpet-State: portable; v=12; s=1a2b3c4d; fp=9f0c...; user     response, from target to balancer
    Limpet-State: pinned; why=memory                 the same, of a session that must stay where it is
    Limpet-Moved: from=B; why=overload               request, from the balancer to the target
    Limpet-Floor: 12; s=1a2b3c4d                     request, the same way

*Portable* means that all there is of a session stands in a store that other targets read too.
The *version* is the last that the client can have seen; the *floor* is the version that a server must
have read at least before it serves. Versions of two sessions have nothing to do with each other, and a
login or a renewal makes another session: `s` is a tag of the id, and a floor counts for that one
only. The *fingerprint* is keyed, and equal for two targets if and only if they read the same
store, under the same names, keys and cookie. None of the three is passed on to clients or believed
from them. Unknown parameters are skipped, so that either side can be newer than the other.
"""

from __future__ import annotations

import re
from typing import NamedTuple

STATE_FIELD = "Limpet-State"
MOVED_FIELD = "Limpet-Moved"
FLOOR_FIELD = "Limpet-Floor"
#: Why a session is pinned whose store did not answer.
STORE_IS_DOWN = "store"
#: Longer values are no states; ours have about 70 bytes.
MAX_STATE_BYTES = 256
#: Of `why` and `ended`; they become labels of metrics.
_WORD = re.compile(r"[a-z][a-z0-9_]{0,31}")
_TAG = re.compile(r"[0-9a-f]{8}")
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class SessionState(NamedTuple):
    """What a response says of its session.

    Attributes:
        is_portable: whether all of it is in a shared store; if not, it is pinned.
        version: of its data as of this response; None if the request did not look at its session; 0 if
            nothing is stored.
        fingerprint: 16 hexadecimal digits of the target's store, names, keys and cookie; "" if pinned.
        why: why it is pinned: "memory" (store or app), "store" (it does not answer), "websocket" or a
            word of the app's own.
        has_user: whether somebody is logged in; None if that is not known.
        ended: why the session that the request named is over, a value of `EndReason`; "" if it is not.
        tag: 8 hexadecimal digits, the same for one session id; "" if the target does not say.
    """

    is_portable: bool
    version: int | None = None
    fingerprint: str = ""
    why: str = ""
    has_user: bool | None = None
    ended: str = ""
    tag: str = ""


class Floor(NamedTuple):
    """What a server must have read at least.

    Attributes:
        version: 0 asks for nothing.
        tag: of the session that the version is of; "" if the target's states have none.
    """

    version: int
    tag: str = ""


#: Every session has reached it.
NO_FLOOR = Floor(0)
NO_FLOOR_LINE = f"{FLOOR_FIELD}: 0\r\n".encode()


class Moved(NamedTuple):
    """What a request says of a session that came from another target.

    Attributes:
        origin: the target that had it before.
        why: "overload", "balance", "drain", "unavailable" or "gone".
    """

    origin: str
    why: str


def format_state(state: SessionState) -> str:
    """Return the value of Limpet-State."""
    parts = ["portable" if state.is_portable else "pinned"]
    if state.version is not None:
        parts.append(f"v={state.version}")
    if state.tag:
        parts.append(f"s={state.tag}")
    parts += [f"{name}={value}" for name, value in (("fp", state.fingerprint), ("why", state.why)) if value]
    if state.has_user is not None:
        parts.append("user" if state.has_user else "visitor")
    if state.ended:
        parts.append(f"ended={state.ended}")
    return "; ".join(parts)


def parse_state(value: bytes) -> SessionState | None:
    """Read the value of Limpet-State; None if it is none, which means the same as pinned."""
    if len(value) > MAX_STATE_BYTES:
        return None
    kind, *parameters = [part.strip(" \t") for part in value.decode("latin-1").split(";")]
    if kind not in {"portable", "pinned"}:
        return None
    named = {name: text for name, _, text in (part.partition("=") for part in parameters)}
    version = named.get("v", "")
    fingerprint = _matching(_FINGERPRINT, named.get("fp", ""))
    return SessionState(
        # Without a fingerprint nobody can say where it may go.
        is_portable=kind == "portable" and bool(fingerprint),
        version=int(version) if _NUMBER.fullmatch(version) else None,
        fingerprint=fingerprint,
        why=_matching(_WORD, named.get("why", "")),
        has_user=True if "user" in named else False if "visitor" in named else None,
        ended=_matching(_WORD, named.get("ended", "")),
        tag=_matching(_TAG, named.get("s", "")),
    )


def moved_line(moved: Moved) -> bytes:
    """Return Limpet-Moved as a whole field line."""
    return f"{MOVED_FIELD}: {format_moved(moved)}\r\n".encode()


def floor_line(floor: Floor) -> bytes:
    """Return Limpet-Floor as a whole field line."""
    return f"{FLOOR_FIELD}: {format_floor(floor)}\r\n".encode()


def format_moved(moved: Moved) -> str:
    """Return the value of Limpet-Moved."""
    return f"from={moved.origin}; why={moved.why}"


def parse_moved(value: str) -> Moved | None:
    """Read the value of Limpet-Moved; None if it is none."""
    named = {name.strip(" \t"): text for name, _, text in (p.partition("=") for p in value.split(";"))}
    origin, why = named.get("from", "").strip(" \t"), named.get("why", "").strip(" \t")
    if not _NAME.fullmatch(origin) or not _WORD.fullmatch(why):
        return None
    return Moved(origin, why)


def format_floor(floor: Floor) -> str:
    """Return the value of Limpet-Floor."""
    return f"{floor.version}; s={floor.tag}" if floor.tag else str(floor.version)


def parse_floor(value: str) -> Floor:
    """Read the value of Limpet-Floor; `NO_FLOOR` if it is none."""
    version, _, parameter = value.partition(";")
    if not _NUMBER.fullmatch(version.strip(" \t")):
        return NO_FLOOR
    name, _, tag = parameter.strip(" \t").partition("=")
    return Floor(int(version), tag if name == "s" and _TAG.fullmatch(tag) else "")


def _matching(pattern: re.Pattern[str], text: str) -> str:
    return text if pattern.fullmatch(text) else ""
