"""What the flags of `limpet up` and `limpet serve` mean as a configuration.

Flags given beside a configuration file replace its values; those that concern a target group
replace them in every group. Targets replace those of the only group, or else of `default`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limpet.config.load import load_data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from limpet.config.schema import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """Flags as given; None for those that were not.

    Attributes:
        targets: addresses, or tables as in the file.
    """

    listen: str | None = None
    targets: Sequence[str | Mapping[str, Any]] = ()
    algorithm: str | None = None
    stickiness: str | None = None
    cookie_name: str | None = None
    duration: int | None = None
    app_cookie: str | None = None
    header: str | None = None
    workers: int | None = None
    admin: str | None = None
    access_log: str | None = None
    access_log_format: str | None = None


def settings_from_flags(flags: Flags, data: Mapping[str, Any] | None = None) -> Settings:
    """Return the configuration that flags ask for, on top of a file's data.

    Raises:
        ConfigError: with every mistake.
    """
    merged: dict[str, Any] = dict(data or {})
    if flags.listen is not None:
        merged["listeners"] = [_first_listener(merged.get("listeners")) | {"address": flags.listen}]
    if flags.workers is not None:
        merged["workers"] = flags.workers
    if flags.admin is not None:
        merged["admin"] = _over(merged.get("admin", {}), {"address": flags.admin})
    log = {"path": flags.access_log, "format": flags.access_log_format}
    merged["access_log"] = _over(merged.get("access_log", {}), log)
    groups = merged.get("target_groups", {})
    if isinstance(groups, dict):
        if flags.targets:
            name = next(iter(groups)) if len(groups) == 1 else "default"
            groups = {**groups, name: _over(groups.get(name, {}), {"targets": list(flags.targets)})}
        if groups:
            merged["target_groups"] = {name: _group(group, flags) for name, group in groups.items()}
    return load_data(merged)


def _first_listener(listeners: Any) -> dict[str, Any]:
    # Its rules and certificates hold at the new address too: who moves a site must not open it.
    first = listeners[0] if isinstance(listeners, list) and listeners else {}
    return first if isinstance(first, dict) else {}


def _group(group: Any, flags: Flags) -> Any:
    if not isinstance(group, dict):
        return group
    sticky = {
        "type": flags.stickiness or ("app_cookie" if flags.app_cookie else None),
        "cookie_name": flags.cookie_name,
        "duration_s": flags.duration,
        "app_cookie": flags.app_cookie,
        "header": flags.header,
    }
    stickiness = _over(group.get("stickiness", {}), sticky)
    return _over(group, {"algorithm": flags.algorithm, "stickiness": stickiness})


def _over(table: Any, flags: Mapping[str, Any]) -> Any:
    # What is no table stays as it is: the schema will say what is wrong with it.
    if not isinstance(table, dict):
        return table
    return {**table, **{key: value for key, value in flags.items() if value is not None}}
