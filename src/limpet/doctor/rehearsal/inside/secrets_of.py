"""The secrets of an app, as keyed hashes that can be compared with those of another process.

Known places first: Flask's `secret_key`, Django's `SECRET_KEY`, the arguments of ASGI and WSGI
middleware. Then the texts in the app's own modules: those whose name says it, and those long enough to
be one, in case they differ from process to process. A secret itself never leaves the process;
its hash has a key that lives for one rehearsal, so that it tells nothing but equal or different.
"""

from __future__ import annotations

import hashlib
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

#: Attributes by which wrappers hold the app that they wrap.
_INNER = ("app", "application", "_app", "wsgi_app", "asgi_app", "wrapped", "inner")
_NAMES = re.compile(r"secret|(jwt|signing|session|cookie|token|hmac)_?key", re.IGNORECASE)
_SHORTEST = 4
#: A key of less than 128 bits is none; so long is one in bytes.
_LONG = 16


def secrets_of(app: object, modules: Iterable[ModuleType], key: bytes) -> dict[str, str]:
    """Return a keyed hash of every secret found, by a name that tells its place.

    Args:
        modules: the app's own.
        key: of the hash.
    """
    found: dict[str, str] = {}
    for place, value in _candidates(app, modules):
        secret = _bytes(value)
        if secret is not None:
            found.setdefault(place, _hash(secret, key))
    return found


def texts_of(modules: Iterable[ModuleType], key: bytes) -> dict[str, str]:
    """Return a keyed hash of every global that is long enough to be a secret, whatever its name."""
    found = {}
    for module in modules:
        for name, value in list(vars(module).items()):
            text = _bytes(value) if not name.startswith("__") else None
            if text is not None and len(text) >= _LONG:
                found[f"{module.__name__}.{name}"] = _hash(text, key)
    return found


def layers(app: object) -> Iterator[object]:
    """Give an app and what it wraps, the outermost first."""
    seen: set[int] = set()
    rest: list[object] = [app]
    while rest and len(seen) < 32:
        layer = rest.pop(0)
        if id(layer) in seen or layer is None:
            continue
        seen.add(id(layer))
        yield layer
        layer = getattr(layer, "__self__", layer)  # Flask's `wsgi_app` is a method of it
        rest += [vars(layer).get(name) for name in _INNER] if hasattr(layer, "__dict__") else []
        rest += [layer] if id(layer) not in seen else []


def middleware_arguments(app: object) -> Iterator[tuple[str, str, object]]:
    """Give class, name and value of every argument of Starlette's middleware that waits to be made."""
    for layer in layers(app):
        waiting = getattr(layer, "user_middleware", None)
        for each in waiting if isinstance(waiting, list) else ():
            for name, value in getattr(each, "kwargs", {}).items():
                yield each.cls.__name__, name, value


def _candidates(app: object, modules: Iterable[ModuleType]) -> Iterator[tuple[str, Any]]:
    for layer in layers(app):
        kind = type(layer).__name__
        if hasattr(layer, "secret_key"):
            yield f"{kind}.secret_key", layer.secret_key
        signer = vars(layer).get("signer") if hasattr(layer, "__dict__") else None
        if signer is not None:
            yield f"{kind}.secret_key", (getattr(signer, "secret_keys", None) or [None])[-1]
    for kind, name, value in middleware_arguments(app):
        if _NAMES.search(name):
            yield f"{kind}.{name}", value
    django = sys.modules.get("django.conf")
    if django is not None and django.settings.configured:
        yield "settings.SECRET_KEY", django.settings.SECRET_KEY
    for module in modules:
        for name, value in list(vars(module).items()):
            if _NAMES.search(name) and not name.startswith("__"):
                yield f"{module.__name__}.{name}", value


def _hash(secret: bytes, key: bytes) -> str:
    return hashlib.blake2b(secret, key=key, digest_size=8).hexdigest()


def _bytes(value: object) -> bytes | None:
    # Starlette's `Secret` is a string only when it is asked to be.
    if type(value).__name__ == "Secret":
        value = str(value)
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    return value if isinstance(value, bytes) and len(value) >= _SHORTEST else None
