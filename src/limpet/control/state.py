"""The single writer: what every target's state is, and the snapshot made of it.

Theory of operation. `TargetState`s, policies, kinds of stickiness and session tables are kept
by name and outlive reloads; a snapshot is a frozen view of them. Whatever happens (a reload, a
check, a command), it ends in `publish`, which judges each group's availability and swaps the
data plane's snapshot. Nothing here waits: callers do their I/O first.

A target that is removed is *draining*: no request is sent to it any more, those in flight have
the deregistration delay to finish. Then it is forgotten. One that comes back meanwhile is as if
it had never left. A target whose id now means another address, or whose group is gone, cannot
come back: it is *leaving*, outside its group, and has the same delay.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from limpet.config import compile as compiled
from limpet.config import compile_rules
from limpet.core.active_sessions import ActiveSessions
from limpet.core.availability import availability
from limpet.core.balancing import POLICIES
from limpet.core.model import Snapshot, TargetGroup
from limpet.core.relief.relief import Relief
from limpet.core.rules.group_pin import GroupPin
from limpet.core.slow_start import is_over, ramped_weight
from limpet.core.stickiness import KINDS
from limpet.core.target import SERVING, Health, Target, TargetState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from limpet.config.schema import Settings, TargetGroupSettings
    from limpet.core.balancing.policy import Policy, PolicySettings
    from limpet.core.model import ClientLimits, Forwarding, Listener
    from limpet.core.rules.group_pin import GroupPinSettings
    from limpet.core.rules.table import RuleTable
    from limpet.core.stickiness.contract import Stickiness
    from limpet.core.stickiness.settings import Sealing, StickinessSettings
    from limpet.core.tls import TargetTls


@dataclass(slots=True)
class Drain:
    """What is kept of a target while it drains.

    Attributes:
        ends_s: monotonic time at which it is forgotten.
        health: what it had, and has again if it comes back.
    """

    ends_s: float
    health: Health


@dataclass(slots=True)
class GroupState:
    """What is kept of one target group."""

    name: str
    settings: TargetGroupSettings
    targets: dict[str, TargetState]
    policy: Policy
    policy_settings: PolicySettings
    stickiness: Stickiness
    stickiness_settings: StickinessSettings
    sealing: Sealing
    sessions: ActiveSessions
    relief: Relief
    drains: dict[str, Drain]
    tls: TargetTls
    first_batch: set[str]  # registered when nobody was serving: they do not start slowly


class State:
    """All target groups, and the snapshot made of them.

    Args:
        on_snapshot: gets every new snapshot.
        on_forgotten: told of a target whose draining has ended.

    Attributes:
        groups: by name.
        group_pins: what pins clients to one of a rule's groups, by the rule's name.
        leaving: targets that are in no group any more, and the monotonic time at which what is
            still in flight to them is cut.
    """

    def __init__(
        self, on_snapshot: Callable[[Snapshot], None], on_forgotten: Callable[[TargetState], None]
    ) -> None:
        self.groups: dict[str, GroupState] = {}
        self.leaving: dict[TargetState, float] = {}
        self._on_snapshot = on_snapshot
        self._on_forgotten = on_forgotten
        self._version = 0
        self.group_pins: dict[str, GroupPin] = {}
        self._listeners: tuple[Listener, ...] = ()
        self._rules: dict[str, RuleTable] = {}
        self._own_cookies: frozenset[bytes] = frozenset()
        self._client_limits: ClientLimits | None = None
        self._forwarding: Forwarding | None = None

    def apply(
        self,
        settings: Settings,
        sealing: Sealing,
        targets: Mapping[str, list[Target]],
        listeners: tuple[Listener, ...],
        forwarding: Forwarding,
        tls: Mapping[str, TargetTls],
    ) -> None:
        """Make a configuration the current one.

        Args:
            targets: by group; their addresses are IP addresses or Unix sockets.
            forwarding: with its files read.
            tls: by group, with its files read.
        """
        for name in set(self.groups) - set(settings.target_groups):
            group = self.groups.pop(name)
            for state in group.targets.values():
                self._leave(group, state)
        cookies = compiled.cookie_names(settings)
        for name, group_settings in settings.target_groups.items():
            group = self._group(name, group_settings, sealing, cookies.get(name), tls[name])
            self._register(group, targets[name])
        self._listeners = listeners
        self._rules = compile_rules.rules(settings)
        self._pin_groups(compile_rules.group_pins(settings), sealing)
        kinds = [group.stickiness for group in self.groups.values()]
        kinds += [pin.stickiness for pin in self.group_pins.values()]
        self._own_cookies = frozenset(name for kind in kinds for name in kind.own_cookies)
        self._client_limits = compiled.client_limits(settings.clients)
        self._forwarding = forwarding
        self.publish()

    def exchange(self, group_name: str, before: Iterable[Target], after: Iterable[Target]) -> None:
        """Take over what discovery has changed; the rest stays as commands have made it.

        Args:
            before: all targets of the group as discovery knew them last.
            after: and now.
        """
        group = self.groups[group_name]
        old = {target.id: target for target in before}
        new = {target.id: target for target in after}
        self._note_first_batch(group, new.keys() - old.keys())
        for target in new.values():
            if target.id not in old:
                self._put(group, target)
            elif target != old[target.id]:
                self._amend(group, old[target.id], target)
        for target_id in old.keys() - new.keys():
            if target_id in group.targets:
                self._drain(group, group.targets[target_id])
        self.publish()

    def add(self, group_name: str, target: Target) -> None:
        """Add a target to a group, or change it."""
        self._put(self.groups[group_name], target)
        self.publish()

    def drain(self, group_name: str, target_id: str) -> None:
        """Take a target out: it drains and is then forgotten."""
        group = self.groups[group_name]
        self._drain(group, group.targets[target_id])
        self.publish()

    def leave(self, group_name: str, target_id: str) -> None:
        """Get a target no new session and let its portable ones go, until it is drained or added again."""
        state = self.groups[group_name].targets[target_id]
        state.target = replace(state.target, is_terminating=True)
        self.publish()

    def set_weight(self, group_name: str, target_id: str, weight: int) -> None:
        """Change a target's weight; 0 keeps its sessions and gets it no new ones."""
        state = self.groups[group_name].targets[target_id]
        state.target = replace(state.target, weight=weight)
        self.publish()

    def set_maintenance(self, group_name: str, target_id: str, *, is_on: bool) -> None:
        """Take a target out of service or back; it stays registered. It must not be draining."""
        group = self.groups[group_name]
        state = group.targets[target_id]
        state.target = replace(state.target, is_in_maintenance=is_on)
        self._settle_maintenance(group, state)
        self.publish()

    def health_changed(self, group_name: str, state: TargetState) -> None:
        """Note that a target's health has changed; begins or ends its slow start."""
        group = self.groups.get(group_name)
        if group is None:
            return
        now_s = time.monotonic()
        if state.health is Health.UNHEALTHY:
            state.unhealthy_since_s = now_s
            state.ramp_started_s = None
        elif state.health is Health.HEALTHY and group.settings.slow_start_s:
            others = [s for s in group.targets.values() if s is not state and s.health in SERVING]
            has_help = any(other.ramp_started_s is None for other in others)
            if has_help and state.id not in group.first_batch:
                state.ramp_started_s = now_s
        group.first_batch.discard(state.id)
        self.publish()

    def tick(self) -> None:
        """Let time pass: ramps go on, draining ends."""
        now_s = time.monotonic()
        is_changed = False
        for group in self.groups.values():
            for state in group.targets.values():
                is_changed |= state.ramp_started_s is not None
                if state.ramp_started_s is not None and is_over(
                    state.ramp_started_s, group.settings.slow_start_s, now_s
                ):
                    state.ramp_started_s = None
            for target_id, drain in list(group.drains.items()):
                state = group.targets[target_id]
                if state.in_flight == 0 or now_s >= drain.ends_s:
                    del group.drains[target_id], group.targets[target_id]
                    state.health = Health.UNUSED
                    self._on_forgotten(state)
                    is_changed = True
        for state, ends_s in list(self.leaving.items()):
            if state.in_flight == 0 or now_s >= ends_s:
                del self.leaving[state]
                state.health = Health.UNUSED
                self._on_forgotten(state)
        if is_changed:
            self.publish()

    def publish(self) -> None:
        """Build a snapshot of what is known now and hand it out."""
        assert self._client_limits is not None and self._forwarding is not None  # noqa: S101, PT018  # applied
        self._version += 1
        snapshot = Snapshot(
            version=self._version,
            listeners=self._listeners,
            groups={group.name: _freeze(group, self._own_cookies) for group in self.groups.values()},
            rules=self._rules,
            group_pins=dict(self.group_pins),
            client_limits=self._client_limits,
            forwarding=self._forwarding,
        )
        self._on_snapshot(snapshot)

    def _pin_groups(self, wanted: Mapping[str, GroupPinSettings], sealing: Sealing) -> None:
        for name in set(self.group_pins) - set(wanted):
            del self.group_pins[name]
        for name, settings in wanted.items():
            pin = self.group_pins.get(name)
            if pin is None or (pin.settings, pin.sealing) != (settings, sealing):
                made = KINDS[settings.kind](settings.stickiness, sealing)
                self.group_pins[name] = GroupPin(made, settings, sealing)

    def _group(
        self,
        name: str,
        settings: TargetGroupSettings,
        sealing: Sealing,
        cookie: compiled.CookieNames | None,
        tls: TargetTls,
    ) -> GroupState:
        # What did not change goes on with its books: a reload must not reset the balance (lb.md P14).
        policy_settings = compiled.policy(settings)
        sticky_settings = compiled.stickiness(name, settings.stickiness, cookie or compiled.NO_COOKIE)
        window_s = settings.stickiness.active_window_s
        group = self.groups.get(name)
        if group is None:
            group = self.groups[name] = GroupState(
                name=name,
                settings=settings,
                targets={},
                policy=POLICIES[settings.algorithm](policy_settings),
                policy_settings=policy_settings,
                stickiness=KINDS[settings.stickiness.type](sticky_settings, sealing),
                stickiness_settings=sticky_settings,
                sealing=sealing,
                sessions=ActiveSessions(window_s),
                relief=Relief(compiled.relief(settings)),
                drains={},
                tls=tls,
                first_batch=set(),
            )
            return group
        if settings.algorithm != group.policy.name or policy_settings != group.policy_settings:
            group.policy = POLICIES[settings.algorithm](policy_settings)
            group.policy_settings = policy_settings
        is_same_kind = settings.stickiness.type == group.stickiness.kind
        if not is_same_kind or (sticky_settings, sealing) != (group.stickiness_settings, group.sealing):
            group.stickiness = KINDS[settings.stickiness.type](sticky_settings, sealing)
            group.stickiness_settings, group.sealing = sticky_settings, sealing
        group.sessions.window_s = window_s
        group.relief.settings = compiled.relief(settings)
        if settings.health_check.enabled != group.settings.health_check.enabled:
            unchecked = Health.INITIAL if settings.health_check.enabled else Health.UNAVAILABLE
            for state in group.targets.values():
                if state.health not in {Health.DRAINING, Health.MAINTENANCE}:
                    state.health = unchecked
            for drain in group.drains.values():
                drain.health = unchecked
        group.settings = settings
        group.tls = tls
        return group

    def _register(self, group: GroupState, targets: list[Target]) -> None:
        wanted = {target.id for target in targets}
        self._note_first_batch(group, wanted)
        for state in list(group.targets.values()):
            if state.id not in wanted:
                self._drain(group, state)
        for target in targets:
            self._put(group, target)
        # The order of the configuration decides among equals.
        order = [target.id for target in targets]
        order += [target_id for target_id in group.targets if target_id not in wanted]
        group.targets = {target_id: group.targets[target_id] for target_id in order}

    def _note_first_batch(self, group: GroupState, wanted: set[str]) -> None:
        if not any(state.health in SERVING for state in group.targets.values()):
            group.first_batch = wanted - set(group.targets)

    def _put(self, group: GroupState, target: Target) -> None:
        state = group.targets.get(target.id)
        if state is not None and state.target.address != target.address:
            # Another server under an old name: what was known of the old one is not true of it.
            self._leave(group, state)
            state = None
        drain = group.drains.pop(target.id, None)
        if state is None:
            state = group.targets[target.id] = TargetState(target)
            state.health = _unchecked(group)
        elif drain is not None:
            state.health = drain.health
            state.health_detail = "registered again"
        state.target = target
        self._settle_maintenance(group, state)

    def _amend(self, group: GroupState, old: Target, new: Target) -> None:
        state = group.targets.get(new.id)
        if state is None or new.id in group.drains:  # a command has taken it out
            return
        changes = {
            field.name: getattr(new, field.name)
            for field in fields(Target)
            if getattr(new, field.name) != getattr(old, field.name)
        }
        self._put(group, replace(state.target, **changes))

    def _settle_maintenance(self, group: GroupState, state: TargetState) -> None:
        if state.target.is_in_maintenance:
            state.health = Health.MAINTENANCE
            state.health_detail = "in maintenance"
        elif state.health is Health.MAINTENANCE:
            state.health = _unchecked(group)
            state.health_detail = "back from maintenance"

    def _drain(self, group: GroupState, state: TargetState) -> None:
        if state.id not in group.drains:
            ends_s = time.monotonic() + group.settings.deregistration_delay_s
            group.drains[state.id] = Drain(ends_s, state.health)
            state.health = Health.DRAINING
            state.health_detail = "deregistered"

    def _leave(self, group: GroupState, state: TargetState) -> None:
        drain = group.drains.pop(state.id, None)
        delay_s = group.settings.deregistration_delay_s
        self.leaving[state] = drain.ends_s if drain is not None else time.monotonic() + delay_s
        state.health = Health.DRAINING
        state.takes_sticky = False


def _unchecked(group: GroupState) -> Health:
    return Health.INITIAL if group.settings.health_check.enabled else Health.UNAVAILABLE


def _freeze(group: GroupState, own_cookies: frozenset[bytes]) -> TargetGroup:
    now_s = time.monotonic()
    for state in group.targets.values():
        state.weight = ramped_weight(
            state.target.weight, state.ramp_started_s, group.settings.slow_start_s, now_s
        )
    verdict = availability(group.targets.values())
    for state in group.targets.values():
        state.takes_sticky = state.id in verdict.keeps_sessions
    return TargetGroup(
        name=group.name,
        by_id=dict(group.targets),
        available=verdict.new_sessions,
        policy=group.policy,
        stickiness=group.stickiness,
        sessions=group.sessions,
        limits=compiled.limits(group.settings.limits),
        relief=group.relief,
        is_failing_open=verdict.is_failing_open,
        tls=group.tls,
        own_cookies=own_cookies,
    )
