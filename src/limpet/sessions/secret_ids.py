"""Which secrets have signed the sessions of a store; for commands that were given another one.

A secret's id is public: every cookie carries it. Each is kept as a record in the list of a user who cannot
exist, for every store can do that. Flows, no I/O here.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from limpet.sessions.operations import EPOCH_BYTES, Create, Flow, ListUser, ask
from limpet.sessions.record import Field, Key, Meta, Record

if TYPE_CHECKING:
    from limpet.sessions.service import Sessions

#: As long as a user's key, which is a keyed hash: no login leads here.
USER = sha256(b"limpet: ids of secrets").hexdigest()[:32]
_FIELD = "id"
_INCARNATION_BYTES = 16
#: No session lives longer in a browser. Source: rfc6265bis section 5.5.
_KEPT_S = 400 * 86400.0


def note_secret(sessions: Sessions) -> Flow[None]:
    """Write down the id of the secret that signs; nothing happens if it is there."""
    now_s, id_ = sessions.now_s(), sessions.ring.ids[0]
    meta = Meta(sessions.entropy(_INCARNATION_BYTES), b"", now_s, 0.0, now_s + _KEPT_S, _KEPT_S)
    record = Record(1, b"", now_s, meta, {_FIELD: Field(1, id_.encode())})
    key = Key(sha256(id_.encode()).hexdigest(), USER)
    yield from ask(Create(key, record, meta.ends_s, sessions.entropy(EPOCH_BYTES)))


def other_secrets(sessions: Sessions) -> Flow[list[str]]:
    """Return the ids of the secrets of this store if none of ours is among them.

    After `revoke_everyone`, and before an app has started that writes its own down, there are none.
    """
    records = yield from ask(ListUser(USER))
    found = sorted(record.fields[_FIELD].data.decode() for _, record in records if _FIELD in record.fields)
    return [] if set(found) & set(sessions.ring.ids) else found
