"""Runs one replica of a rehearsal."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limpet.doctor.rehearsal.inside import slow_views
from limpet.doctor.rehearsal.inside.clock import Clock
from limpet.doctor.rehearsal.inside.memory import containers
from limpet.doctor.rehearsal.inside.orders import HASH_KEY_VARIABLE, TOKEN_VARIABLE
from limpet.doctor.rehearsal.inside.secrets_of import secrets_of, texts_of
from limpet.doctor.rehearsal.inside.wrapping import wrap_asgi, wrap_wsgi
from limpet.doctor.rehearsal.inside.written_files import WrittenFiles
from limpet.replicas import child

if TYPE_CHECKING:
    from types import ModuleType

    from limpet.replicas.app import App, Interface

_FRAMEWORKS = {"Flask": "flask", "Django": "django.core.handlers", "Starlette": "starlette.routing"}
_NOT_THE_APPS = {"limpet", "__main__", "__mp_main__"}


class Inside:
    """What a replica can tell about itself."""

    def __init__(self) -> None:
        # They concern this process alone: what the app starts need not have them.
        self._token = os.environ.pop(TOKEN_VARIABLE)
        self._key = bytes.fromhex(os.environ.pop(HASH_KEY_VARIABLE))
        self._clock = Clock()
        self._clock.install()
        self._written = WrittenFiles()
        self._app: App | None = None

    def wrap(self, app: App, interface: Interface) -> App:
        """Return what is to be served in place of the app."""
        self._app = app
        slow_views.install(app)
        wrap = wrap_asgi if interface == "asgi" else wrap_wsgi
        return wrap(app, os.environ["LIMPET_REPLICA"], self._token, self._tell)

    def _tell(self, query: dict[str, str]) -> dict[str, Any]:
        if "clock" in query:
            self._clock.offset_s = float(query["clock"])
        modules = own_modules()
        return {
            "pid": os.getpid(),
            "secrets": secrets_of(self._app, modules, self._key),
            "texts": texts_of(modules, self._key),
            "containers": containers(self._app, modules),
            "sources": sorted({str(module.__file__) for module in modules}),
            "modules": {module.__name__: str(module.__file__) for module in modules},
            "written": sorted(self._written.paths),
            "settings": _settings(),
            "delayed": slow_views.delayed(),
            "frameworks": [name for name, module in _FRAMEWORKS.items() if module in sys.modules],
        }


def own_modules() -> list[ModuleType]:
    """Return the modules that belong to the app: neither installed, nor Python's, nor limpet's."""
    places = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    foreign = tuple(f"{Path(place).resolve()}{os.sep}" for place in places if place)
    found = []
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if not path or not path.endswith(".py") or name.partition(".")[0] in _NOT_THE_APPS:
            continue
        if not str(Path(path).resolve()).startswith(foreign) and "site-packages" not in path:
            found.append(module)
    return found


def _settings() -> dict[str, str]:
    # Where Django keeps sessions decides which cause a loss has.
    django = sys.modules.get("django.conf")
    if django is None or not django.settings.configured:
        return {}
    settings = django.settings
    cache = settings.CACHES.get(settings.SESSION_CACHE_ALIAS, {}).get("BACKEND", "")
    return {"SESSION_ENGINE": settings.SESSION_ENGINE, "CACHE": cache}


def main() -> None:
    """Run the replica that the command line describes."""
    child.main(Inside().wrap)


if __name__ == "__main__":
    main()
