"""The stage of a rehearsal: an app's replicas, our balancer in front, and what can be done to them.

Theory of operation. All replicas start at once, one more than take part at first: it waits for the
scene in which the app is scaled up. The balancer runs in this process, speaks TLS with a certificate
made for the run, and is switched to another mode by reloading its configuration. It does not check
health: a dead replica shall meet users, as it does in the seconds before any balancer knows.
Each replica is told nothing but its name and a token, so that their environments are identical as
they are in production; that they are processes of their own is the point, for a fork would share what
was made at import. `close` ends everything, whatever state it is in.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import tempfile
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

from limpet.config.load import load_data
from limpet.control.balancer import Balancer
from limpet.core.key_ring import generate_key
from limpet.doctor.rehearsal.certificate import make_certificate
from limpet.doctor.rehearsal.inside.orders import HASH_KEY_VARIABLE, TOKEN_VARIABLE, facts_path
from limpet.replicas.replica import AppSettings
from limpet.replicas.replica_set import ReplicaSet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limpet.config.schema import Settings
    from limpet.replicas.app import Interface
    from limpet.replicas.replica import Replica

#: How long a replica may take to listen again after its process was ended.
START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 3.0
#: The balancer's cookie here: a name that no app has.
BALANCER_COOKIE = "limpet_rehearsal"


@dataclass(frozen=True, slots=True)
class Mode:
    """How the balancer spreads requests.

    Attributes:
        members: names of the replicas that take part.
    """

    members: tuple[str, ...]
    stickiness: str = "off"
    algorithm: str = "round_robin"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a replica knows of itself.

    Attributes:
        secrets: keyed hashes by place.
        texts: the same of every long text in the app's modules.
        containers: entries by place.
        sources, modules: files of the app's own modules; by module name.
        written: files that the process has opened to write.
        settings: of Django, what decides where sessions are.
        delayed: views that have been made slow and are not done.
        frameworks: that the app has imported.
    """

    pid: int
    secrets: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    containers: dict[str, int] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    delayed: int = 0
    frameworks: list[str] = field(default_factory=list)


class Stage:
    """Replicas of an app behind a balancer; use it with `async with`.

    Args:
        app: import string.
        count: replicas that take part at first, at least 2.
        environ: variables of the replicas, in addition to limpet's own.

    Attributes:
        url: where the balancer serves, `https://127.0.0.1:PORT`.
        certificate: that it shows, as a file.
        token: by which replicas know our orders.
        output: what the replicas have printed.
        mode: how the balancer spreads requests now.
    """

    def __init__(
        self,
        app: str,
        count: int,
        *,
        interface: Interface | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.token = secrets.token_urlsafe(16)
        self.output = StringIO()
        own = {TOKEN_VARIABLE: self.token, HASH_KEY_VARIABLE: secrets.token_hex(16)}
        settings = AppSettings(
            app=app,
            interface=interface,
            environ={**(environ or {}), **own},
            module="limpet.doctor.rehearsal.inside",
            output=self.output,
        )
        self._replica_set = ReplicaSet(settings, count + 1)
        self._replicas = {replica.name: replica for replica in self._replica_set.replicas}
        names = tuple(self._replicas)
        self.first, self.spare = names[:-1], names[-1]
        self.mode = Mode(self.first)
        self._folder = tempfile.TemporaryDirectory(prefix="limpet-check-")
        self.certificate, self._key = make_certificate(Path(self._folder.name), "127.0.0.1")
        self._direct = httpx.AsyncClient(timeout=START_TIMEOUT_S, trust_env=False)
        self._balancer: Balancer | None = None
        self._modes = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        """Start everything.

        Raises:
            AppError: the app cannot be run; the message says why.
            ReplicaError: a process ended before it was ready.
        """
        try:
            await self._replica_set.start()
            self._balancer = Balancer(self._settings, on_message=lambda _: None)
            await self._balancer.start()
            (bound,) = self._balancer.bound.values()
            self.url = f"https://{bound}"
        except BaseException as error:
            await self.close()
            if self.output.getvalue():
                error.add_note(self.output.getvalue().rstrip())
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End every process and give back what was taken."""
        try:
            if self._balancer is not None:
                await self._balancer.stop(0)
            await self._direct.aclose()
        finally:
            await self._replica_set.stop(_STOP_TIMEOUT_S)
            self._replica_set.close()
            self._folder.cleanup()

    async def use(self, **changes: Any) -> None:
        """Switch the balancer to another mode; what is not named becomes as it was at first."""
        self.mode = replace(Mode(self.first), **changes)
        self._modes += 1
        assert self._balancer is not None  # noqa: S101  # it runs since the stage was entered
        await self._balancer.reload()

    async def kill(self, name: str) -> None:
        """Kill a replica, and wait until its next process listens."""
        await self._start_again(self._replicas[name], signal.SIGKILL)

    async def restart(self, *names: str) -> None:
        """Restart replicas as a deployment does: asked to end, all at once."""
        await asyncio.gather(*(self._start_again(self._replicas[name], signal.SIGTERM) for name in names))

    async def facts(self, name: str) -> Facts:
        """Ask a replica about itself."""
        return await self._ask(name, {})

    async def set_clock(self, name: str, offset_s: float) -> None:
        """Make a replica's wall clock wrong, until its process ends."""
        await self._ask(name, {"clock": f"{offset_s:g}"})

    async def _ask(self, name: str, query: dict[str, str]) -> Facts:
        url = f"http://{self._replicas[name].address}{facts_path(self.token)}"
        return Facts(**(await self._direct.get(url, params=query)).json())

    async def _start_again(self, replica: Replica, number: signal.Signals) -> None:
        async with asyncio.timeout(START_TIMEOUT_S):
            await replica.start_again(number)

    def _settings(self) -> Settings:
        keys = Path(self._folder.name) / "keys"
        if not keys.exists():
            keys.touch(mode=0o600)
            keys.write_text(generate_key(secrets.token_bytes))
        pair = {"certificate": str(self.certificate), "key": str(self._key)}
        targets = [{"name": name, "address": str(self._replicas[name].address)} for name in self.mode.members]
        return load_data(
            {
                "listeners": [{"address": "127.0.0.1:0", "tls": {"certificates": [pair]}}],
                "admin": {"enabled": False},
                "access_log": {"path": "off"},
                "keys": {"file": str(keys), "env": "LIMPET_REHEARSAL_NO_KEYS"},
                "target_groups": {
                    "default": {
                        "targets": targets,
                        "algorithm": self.mode.algorithm,
                        # Other settings are other books: whoever had pinned requests in the last mode
                        # is not behind in this one.
                        "hash_header": f"X-Limpet-Mode-{self._modes}",
                        "stickiness": {"type": self.mode.stickiness, "cookie_name": BALANCER_COOKIE},
                        "health_check": {"enabled": False, "passive_threshold": 0},
                        "deregistration_delay_s": 0,
                    }
                },
            }
        )
