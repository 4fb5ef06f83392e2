"""The fields of one session during one request: decoded when read, compared when saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from limpet.sessions.codec import IMMUTABLE, pack, unpack
from limpet.sessions.errors import UnsupportedValueError
from limpet.sessions.record import Change, Field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeAlias

    from limpet.sessions.codec import Sealing

    #: `merge(base, theirs, mine)` returns what the field becomes; None deletes it.
    Merge: TypeAlias = Callable[[Any, Any, Any], Any]


class Unsaved(NamedTuple):
    """A change of a field that was not committed yet.

    Attributes:
        change: for the store.
        merge: called with the base, their and my value if another request was faster; None lets
            the later commit win.
        mine: the value of this request.
    """

    change: Change
    merge: Merge | None
    mine: Any


class Fields:
    """A view of stored fields that knows what changed, nested values too.

    A value is decoded at its first reading. One that could have changed in place is encoded
    again at the end and compared, so `session["cart"]["apples"] = 2` needs no flag.

    Args:
        stored: the fields as they were read; they stay as they are.
        incarnation: of the session; sealed values are bound to it and to their name.
        merges: rules by field name.
    """

    def __init__(
        self,
        stored: Mapping[str, Field],
        sealing: Sealing,
        incarnation: bytes,
        merges: Mapping[str, Merge],
    ) -> None:
        self.stored = stored
        self._sealing = sealing
        self.incarnation = incarnation
        self._merges = merges
        self._values: dict[str, Any] = {}
        self._mutable: dict[str, bytes] = {}  # what was read that can change in place, as it was encoded
        self._assigned: set[str] = set()
        self._deleted: set[str] = set()
        self._steps: dict[str, list[Callable[[Any], Any]]] = {}

    def __contains__(self, name: str) -> bool:
        """Whether there is such a field now."""
        return name in self._values or (name in self.stored and name not in self._deleted)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names: the stored ones first, then those that are new."""
        kept = [name for name in self.stored if name not in self._deleted or name in self._values]
        return iter(kept + [name for name in self._values if name not in self.stored])

    def __len__(self) -> int:
        """Return the number of fields."""
        return sum(1 for _ in self)

    def get(self, name: str) -> Any:
        """Return a value.

        Raises:
            KeyError: there is no such field.
            UndecodableError: there is one, and it makes no sense.
        """
        if name not in self._values:
            if name not in self:
                raise KeyError(name)
            self._read(name)
        return self._values[name]

    def set(self, name: str, value: Any) -> None:
        """Set a value; it is encoded when the session is saved."""
        self._values[name] = value
        self._assigned.add(name)
        self._steps.pop(name, None)

    def delete(self, name: str) -> None:
        """Delete a field; nothing happens if there is none."""
        self._values.pop(name, None)
        self._assigned.discard(name)
        self._steps.pop(name, None)
        self._deleted.add(name)

    def step(self, name: str, step: Callable[[Any], Any]) -> Any:
        """Change a field by a function of its current value (None if there is none), atomically.

        The function is called again with the newest value if another request was faster.
        """
        value = step(self.get(name) if name in self else None)
        is_mine = (name in self._assigned or name in self._deleted) and name not in self._steps
        steps = self._steps.get(name, [])
        self.set(name, value)
        if not is_mine:  # after an assignment the outcome no longer depends on the stored value
            self._steps[name] = [*steps, step]
        return value

    def unsaved(self) -> list[Unsaved]:
        """Return what differs from the stored fields.

        Raises:
            UnsupportedValueError: a value of a type that is not stored; it names the field.
        """
        found = []
        for name, value in self._values.items():
            before = self._mutable.get(name)
            if name not in self._assigned and before is None:
                continue
            plain = self._pack(name, value)
            if plain == before:
                continue
            stored = self.stored.get(name)
            # Sealed bytes differ each time, so values are compared in the clear.
            if stored is None or self._open(name, stored) != plain:
                found.append(self._unsaved(name, value, self._seal(name, plain)))
        found += [
            self._unsaved(name, None, None)
            for name in self._deleted
            if name in self.stored and name not in self._values
        ]
        return found

    def merged(self, unsaved: Unsaved, current: Mapping[str, Field]) -> Unsaved:
        """Return a change again, as its rule wants it in view of the current fields."""
        name, base = unsaved.change.name, unsaved.change.base
        theirs = current.get(name)
        version = theirs.version if theirs is not None else 0
        if unsaved.merge is None or version == base:
            return unsaved
        before = self.stored.get(name)
        value = unsaved.merge(self._decoded(name, before), self._decoded(name, theirs), unsaved.mine)
        data = None if value is None else self._seal(name, self._pack(name, value))
        return Unsaved(Change(name, version, data, is_strict=True), unsaved.merge, unsaved.mine)

    def _read(self, name: str) -> None:
        plain = self._open(name, self.stored[name])
        value = self._values[name] = unpack(plain)
        if not isinstance(value, IMMUTABLE):
            self._mutable[name] = plain

    def _unsaved(self, name: str, value: Any, data: bytes | None) -> Unsaved:
        merge = self._merge_of(name)
        stored = self.stored.get(name)
        base = stored.version if stored is not None else 0
        return Unsaved(Change(name, base, data, is_strict=merge is not None), merge, value)

    def _merge_of(self, name: str) -> Merge | None:
        steps = self._steps.get(name)
        if not steps:
            return self._merges.get(name)

        def again(_base: Any, theirs: Any, _mine: Any) -> Any:
            for step in steps:
                theirs = step(theirs)
            return theirs

        return again

    def _pack(self, name: str, value: Any) -> bytes:
        try:
            if name not in self.stored:
                pack(name)  # half a surrogate is no text that any store takes
            return pack(value)
        except UnsupportedValueError as error:
            raise UnsupportedValueError(f"session field {name!r}: {error}") from None

    def _decoded(self, name: str, field: Field | None) -> Any:
        return unpack(self._open(name, field)) if field is not None else None

    def _seal(self, name: str, plain: bytes) -> bytes:
        return self._sealing.seal(plain, context=self.incarnation + name.encode())

    def _open(self, name: str, field: Field) -> bytes:
        return self._sealing.open(field.data, context=self.incarnation + name.encode())
