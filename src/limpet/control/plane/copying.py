"""How a snapshot travels from control to a worker.

A snapshot is frozen, but for five kinds of objects that outlive it and keep books: the states of
targets, policies, kinds of stickiness, tables of active sessions, and the books of relief. Each worker
has its own of these, so they travel as what they were made of, and are found again or made at the other
end.
Everything else is copied as it is: a new field of a snapshot needs no change here.
"""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

from limpet.core.active_sessions import ActiveSessions
from limpet.core.balancing import POLICIES
from limpet.core.relief.relief import Relief
from limpet.core.stickiness import KINDS
from limpet.core.target import Health, Target, TargetState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from limpet.control.state import GroupState
    from limpet.core.balancing.policy import PolicySettings
    from limpet.core.model import Snapshot
    from limpet.core.relief.settings import ReliefSettings
    from limpet.core.rules.group_pin import GroupPin
    from limpet.core.stickiness.contract import Stickiness
    from limpet.core.stickiness.settings import Sealing, StickinessSettings
    from limpet.proxy.board import Place


class _TargetCopy(NamedTuple):
    slot: int
    target: Target
    health: Health
    detail: str
    weight: float
    takes_sticky: bool
    fingerprint: str


class _PolicyCopy(NamedTuple):
    group: str
    algorithm: str
    settings: PolicySettings


class _StickinessCopy(NamedTuple):
    group: str
    kind: str
    settings: StickinessSettings
    sealing: Sealing


class _SessionsCopy(NamedTuple):
    group: str
    window_s: float


class _ReliefCopy(NamedTuple):
    group: str
    settings: ReliefSettings


def pack_snapshot(
    snapshot: Snapshot, groups: Mapping[str, GroupState], slot: Callable[[TargetState], int]
) -> bytes:
    """Return a snapshot as bytes.

    Args:
        groups: what its lasting objects were made of.
        slot: names a target's state on both ends.
    """
    buffer = io.BytesIO()
    _Packer(buffer, groups, snapshot.group_pins, slot).dump(snapshot)
    return buffer.getvalue()


class _Packer(pickle.Pickler):
    def __init__(
        self,
        file: io.BytesIO,
        groups: Mapping[str, GroupState],
        pins: Mapping[str, GroupPin],
        slot: Callable[[TargetState], int],
    ) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._slot = slot
        self._copies: dict[int, NamedTuple] = {}
        for name, group in groups.items():
            self._copies[id(group.policy)] = _PolicyCopy(name, group.policy.name, group.policy_settings)
            self._copies[id(group.stickiness)] = _StickinessCopy(
                name, group.stickiness.kind, group.stickiness_settings, group.sealing
            )
            self._copies[id(group.relief)] = _ReliefCopy(name, group.relief.settings)
            self._copies[id(group.sessions)] = _SessionsCopy(name, group.sessions.window_s)
        for name, pin in pins.items():
            self._copies[id(pin.stickiness)] = _StickinessCopy(
                _of_rule(name), pin.settings.kind, pin.settings.stickiness, pin.sealing
            )

    def persistent_id(self, thing: Any) -> NamedTuple | None:
        if isinstance(thing, TargetState):
            state = thing
            return _TargetCopy(
                self._slot(state),
                state.target,
                state.health,
                state.health_detail,
                state.weight,
                state.takes_sticky,
                state.checked_fingerprint,
            )
        return self._copies.get(id(thing))


class Mirror:
    """A worker's own lasting objects, and the snapshots made with them.

    Args:
        place: where the loads of targets are shared.

    Attributes:
        states: of targets, by slot; those that have left stay until `forget`.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.states: dict[int, TargetState] = {}
        self._kept: dict[tuple[str, str], tuple[NamedTuple, Any]] = {}

    def unpack(self, data: bytes) -> Snapshot:
        """Return a snapshot of `pack_snapshot`."""
        snapshot: Snapshot = _Unpacker(io.BytesIO(data), self).load()
        named = {*snapshot.groups, *map(_of_rule, snapshot.group_pins)}
        gone = [key for key in self._kept if key[1] not in named]
        for key in gone:
            del self._kept[key]
        return snapshot

    def forget(self, slot: int) -> TargetState | None:
        """Drop a target's state and return it."""
        state = self.states.pop(slot, None)
        if state is not None:
            self._place.forget(state)
        return state

    def slot_of(self, state: TargetState) -> int | None:
        """Return the slot of a state; None if it was forgotten."""
        return next((slot for slot, each in self.states.items() if each is state), None)

    def find(self, copy: NamedTuple) -> Any:
        """Return this worker's own of what travelled as a copy."""
        match copy:
            case _TargetCopy():
                return self._target(copy)
            case _PolicyCopy(group, algorithm):
                return self._keep("policy", group, copy, lambda: POLICIES[algorithm](copy.settings))
            case _StickinessCopy(group):
                return self._keep("stickiness", group, copy, lambda: self._stickiness(copy))
            case _SessionsCopy(group, window_s):
                sessions = self._keep("sessions", group, None, lambda: ActiveSessions(window_s))
                sessions.window_s = window_s
                return sessions
            case _ReliefCopy(group, settings):
                relief = self._keep("relief", group, None, lambda: Relief(settings))
                relief.settings = settings
                return relief
        raise pickle.UnpicklingError("an unknown copy")

    def _keep(self, what: str, group: str, copy: Any, make: Callable[[], Any]) -> Any:
        kept = self._kept.get((what, group))
        if kept is None or kept[0] != copy:
            kept = self._kept[what, group] = (copy, make())
        return kept[1]

    def _stickiness(self, copy: _StickinessCopy) -> Stickiness:
        made = KINDS[copy.kind](copy.settings, copy.sealing)
        if made.first_visits is not None:
            made.first_visits.others = self._place.visits(copy.group)
        return made

    def _target(self, copy: _TargetCopy) -> TargetState:
        state = self.states.get(copy.slot)
        if state is None:
            state = self.states[copy.slot] = TargetState(copy.target)
            self._place.share(state, copy.slot)
        if copy.health is not state.health and copy.health in {Health.HEALTHY, Health.UNAVAILABLE}:
            state.failures = 0  # it has recovered; see `core.target_health`
        state.target, state.health, state.health_detail = copy.target, copy.health, copy.detail
        state.weight, state.takes_sticky = copy.weight, copy.takes_sticky
        state.checked_fingerprint = copy.fingerprint
        return state


def _of_rule(name: str) -> str:
    return f"rule {name}"  # no group's name has a space


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, mirror: Mirror) -> None:
        super().__init__(file)
        self._mirror = mirror

    def persistent_load(self, pid: NamedTuple) -> Any:
        return self._mirror.find(pid)
