"""Who belongs to each target group: its static targets, and what its feeds have found."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from limpet.config import compile as compiled
from limpet.config.discovery_schema import DiscoverySettings
from limpet.control.discovery.feed import Feed
from limpet.core.address import Address
from limpet.core.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from limpet.config.schema import Settings, TargetGroupSettings
    from limpet.control.discovery.contract import LookUp

#: How long a start or a reload waits for sources that have not said anything yet.
_FIRST_REPORT_S = 5.5


class _Source(NamedTuple):
    # What of a group comes from a feed; with a template, the feed finds addresses only.
    settings: DiscoverySettings
    template: Target | None


class Membership:
    """The members of all groups.

    Args:
        look_up: of names.
        on_exchange: told of a group's members before and after a change.
        on_message: gets sentences for the operator.
    """

    def __init__(
        self,
        look_up: LookUp,
        on_exchange: Callable[[str, list[Target], list[Target]], None],
        on_message: Callable[[str], None],
    ) -> None:
        self._look_up = look_up
        self._on_exchange = on_exchange
        self._on_message = on_message
        self._groups: dict[str, TargetGroupSettings] = {}
        self._members: dict[str, list[Target]] = {}  # as last registered
        self._feeds: dict[tuple[str, DiscoverySettings], Feed] = {}

    async def prepare(self, settings: Settings) -> None:
        """Start what a configuration needs, and wait until each source has said something, or a few seconds.

        Either `use` or `keep` comes next.
        """
        new = [
            self._start(name, source.settings, group)
            for name, group in settings.target_groups.items()
            for source in _sources(group)
            if (name, source.settings) not in self._feeds
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_REPORT_S):
                for feed in new:
                    await feed.has_reported.wait()

    def use(self, settings: Settings) -> dict[str, list[Target]]:
        """Make a configuration the current one and return the members of its groups."""
        self._groups = dict(settings.target_groups)
        self.keep()
        self._members = {name: self._join(name) for name in self._groups}
        return self._members

    def keep(self) -> None:
        """End what the current configuration does not need, such as what one with a mistake would have."""
        needed = {
            (name, source.settings): group
            for name, group in self._groups.items()
            for source in _sources(group)
        }
        for key in self._feeds.keys() - needed.keys():
            self._feeds.pop(key).stop()
        for key, group in needed.items():
            self._feeds[key].run(group.dns_interval_s, group.deregistration_delay_s)

    def tick(self) -> None:
        """Let time pass."""
        for feed in list(self._feeds.values()):
            feed.tick()

    def stop(self) -> None:
        """End all feeds."""
        self._groups = {}
        self.keep()

    def describe(self, group_name: str) -> list[dict[str, Any]]:
        """Return where a group's targets come from, as JSON-able values."""
        group = self._groups[group_name]
        static = sum(isinstance(entry, Target) for entry in _entries(group))
        found = [self._feeds[group_name, source.settings].describe() for source in _sources(group)]
        return [{"source": "configuration", "targets": static}, *found] if static else found

    def _start(self, name: str, settings: DiscoverySettings, group: TargetGroupSettings) -> Feed:
        def tell(message: str) -> None:
            self._on_message(f"target_groups.{name}: {message}")

        feed = Feed(settings, self._look_up, lambda: self._changed(name), tell)
        # Until the new source has said something, what the one that it replaces has said holds.
        for (of, replaced), old in self._feeds.items():
            if of == name and _is_alike(replaced, settings):
                feed.targets = dict(old.targets)
        feed.run(group.dns_interval_s, group.deregistration_delay_s)
        self._feeds[name, settings] = feed
        return feed

    def _changed(self, name: str) -> None:
        before = self._members.get(name)
        if before is None:  # of a configuration that is not in use yet
            return
        after = self._members[name] = self._join(name)
        if after != before:
            self._on_exchange(name, before, after)

    def _join(self, name: str) -> list[Target]:
        members: list[Target] = []
        for entry in _entries(self._groups[name]):
            if isinstance(entry, Target):
                members.append(entry)
            else:
                found = self._feeds[name, entry.settings].targets.values()
                members += _of_template(entry.template, found) if entry.template is not None else found
        return _unique(members)


def _entries(group: TargetGroupSettings) -> Iterator[Target | _Source]:
    for target in compiled.targets(group.targets):
        if target.address.is_name:
            yield _Source(DiscoverySettings(type="dns", name=target.address.host), target)
        else:
            yield target
    discovery = group.discovery
    if discovery is None:
        return
    if discovery.type == "dns":
        address = Address(host=discovery.name, port=discovery.port, is_tls=discovery.https)
        source = DiscoverySettings(type="dns", name=discovery.name, servers=discovery.servers)
        yield _Source(source, Target(id="t", address=address))
    else:
        yield _Source(discovery, None)


def _sources(group: TargetGroupSettings) -> list[_Source]:
    return [entry for entry in _entries(group) if isinstance(entry, _Source)]


def _is_alike(one: DiscoverySettings, other: DiscoverySettings) -> bool:
    # A group has one source of each other kind at most.
    return one.type == other.type and (one.type != "dns" or one.name == other.name)


def _of_template(template: Target, found: Iterable[Target]) -> list[Target]:
    return [
        replace(
            template,
            id=f"{template.id}-{target.id}",
            address=replace(template.address, host=target.address.host),
            host_name=target.host_name,
            is_terminating=target.is_terminating,
        )
        for target in found
    ]


def _unique(targets: Iterable[Target]) -> list[Target]:
    # Who is found twice is one target: the first word on it counts.
    ids: dict[str, Target] = {}
    addresses = set[Address]()
    for target in targets:
        if target.id not in ids and target.address not in addresses:
            ids[target.id] = target
            addresses.add(target.address)
    return list(ids.values())
