"""Finds an app by its import string and tells whether it is ASGI or WSGI.

Nothing here runs in limpet's own process: an app is imported by the replicas only.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import traceback
from collections.abc import Callable
from typing import Any, Literal, cast

from limpet.errors import LimpetError

Interface = Literal["asgi", "wsgi"]
App = Callable[..., Any]


class AppError(LimpetError):
    """An app that cannot be run; the message says what is wrong and what to do."""


def load_app(import_string: str) -> App:
    """Import an app.

    Args:
        import_string: `module:attribute`, where the attribute may be dotted, or
            `module:factory()` for a function that makes the app without arguments.

    Raises:
        AppError: there is no such module or attribute, or importing it or making the app failed.
    """
    module_name, colon, attribute = import_string.partition(":")
    if not colon or not module_name or not attribute:
        raise AppError(f"{import_string!r} names no app; write MODULE:APP, e.g. myapp:app")
    if "/" in module_name or module_name.endswith(".py"):
        dotted = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise AppError(f"{module_name!r} is a file, not a module; write {dotted}:{attribute}")
    is_factory = attribute.endswith("()")
    found = _import(module_name)
    for part in attribute.removesuffix("()").split("."):
        if not hasattr(found, part):
            raise AppError(f"module {module_name!r} has no {attribute!r}; {_hint(found)}")
        found = getattr(found, part)
    return _make(found, import_string) if is_factory else cast("App", found)


def detect_interface(app: object, import_string: str) -> Interface:
    """Tell whether an app is ASGI 3 or WSGI by what it has to be called with.

    Raises:
        AppError: it is neither, or could be both.

    Source: https://asgi.readthedocs.io/en/stable/specs/main.html#applications (three arguments,
    awaited); PEP 3333 (two arguments).
    """
    if not callable(app):
        raise AppError(f"{import_string!r} is a {type(app).__name__}, not an app; name a callable")
    function = _function(app)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    required = sum(p.default is p.empty and p.kind in _POSITIONAL for p in parameters)
    if inspect.isclass(app) or not parameters:
        raise AppError(
            f"{import_string!r} cannot be called with a request; "
            f"if it makes the app, write {import_string}(), if it is one, say --interface asgi or wsgi"
        )
    if required == 3 or (required < 3 and inspect.iscoroutinefunction(function)):
        return "asgi"
    if required == 2:
        return "wsgi"
    raise AppError(f"{import_string!r} may be ASGI or WSGI; say --interface asgi or --interface wsgi")


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _function(app: Any) -> Callable[..., object]:
    # What runs when the app is called: itself, or the `__call__` of an instance.
    if inspect.isroutine(app) or inspect.isclass(app) or isinstance(app, functools.partial):
        return app
    return cast("Callable[..., object]", app.__call__)


def _import(module_name: str) -> object:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise AppError(
                f"there is no module {error.name!r}; "
                "start limpet in the folder that holds it, or set PYTHONPATH"
            ) from None
        raise AppError(_story(f"importing {module_name!r} failed")) from None
    except Exception:  # noqa: BLE001  # whatever the app's code raises, its author has to see it
        raise AppError(_story(f"importing {module_name!r} failed")) from None


def _make(factory: object, import_string: str) -> App:
    if not callable(factory):
        raise AppError(f"{import_string!r} calls a {type(factory).__name__}; leave out the ()")
    try:
        return cast("App", factory())
    except Exception:  # noqa: BLE001  # as above
        raise AppError(_story(f"calling {import_string!r} failed")) from None


def _story(what: str) -> str:
    return f"{what}; correct the error:\n{traceback.format_exc().rstrip()}"


def _hint(module: object) -> str:
    apps = [name for name, value in vars(module).items() if not name.startswith("_") and _is_app(value)]
    return f"it has {', '.join(repr(name) for name in apps)}" if apps else "check the spelling"


def _is_app(value: object) -> bool:
    if inspect.isclass(value) or (inspect.isroutine(value) and not inspect.iscoroutinefunction(value)):
        return False  # most functions of two arguments are no apps
    try:
        detect_interface(value, "")
    except Exception:  # noqa: BLE001  # Flask's `request` and its like answer questions within a request only
        return False
    return True
