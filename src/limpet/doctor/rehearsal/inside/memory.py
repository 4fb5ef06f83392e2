"""What a process keeps in its memory: how many entries each container has.

Compared before and after a login, this shows where a login is kept: the container that grew on the
replica which took the login, and on no other.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from types import ModuleType
from typing import TYPE_CHECKING, Any

from limpet.doctor.rehearsal.inside.secrets_of import layers, middleware_arguments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CONTAINERS = (Mapping, AbstractSet, list, deque)


def containers(app: object, modules: Iterable[ModuleType]) -> dict[str, int]:
    """Return how many entries containers have, by `MODULE:NAME` or `CLASS.NAME`.

    Looks at the globals of the app's own modules, at the attributes of the objects there, at the
    arguments of middleware, and at the caches of Django that live in memory.
    """
    own = list(layers(app))
    found: dict[str, int] = {}
    for module in modules:
        for name, value in list(vars(module).items()):
            if not name.startswith("__") and not any(value is layer for layer in own):
                found.update(_sizes(f"{module.__name__}:{name}", value))
    for kind, name, value in middleware_arguments(app):
        found.update(_sizes(f"{kind}.{name}", value))
    for layer in own:
        for name in ("session_interface", "store", "session_store", "_store"):
            value = vars(layer).get(name) if hasattr(layer, "__dict__") else None
            found.update(_sizes(f"{type(layer).__name__}.{name}", value))
    locmem = sys.modules.get("django.core.cache.backends.locmem")
    if locmem is not None:
        for name, cache in list(locmem._caches.items()):  # noqa: SLF001  # the only place that knows
            found[f"django.core.cache:{name or 'default'}"] = len(cache)
    return found


def _sizes(place: str, value: Any) -> Iterator[tuple[str, int]]:
    if isinstance(value, _CONTAINERS):
        yield place, _len(value)
        return
    if isinstance(value, (type, ModuleType)) or callable(value) or not hasattr(value, "__dict__"):
        return
    for name, inner in list(vars(value).items()):
        if isinstance(inner, _CONTAINERS):
            yield f"{place}.{name}", _len(inner)
        elif type(inner).__name__ == "SimpleCache":  # cachelib's, under Flask-Session
            yield f"{place}.{name}", _len(vars(inner).get("_cache", ()))


def _len(value: Any) -> int:
    if type(value).__name__ == "Config" and isinstance(value, MutableMapping):
        return 0
    try:
        return len(value)
    except Exception:  # noqa: BLE001  # proxies of frameworks have no length outside a request
        return 0
