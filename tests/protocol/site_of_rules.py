"""A scene whose proxy runs a configuration: several target groups, and a listener with rules."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

from wire import Wire, answer

from limpet.config import compile as compiled
from limpet.config.load import load_data
from limpet.control.state import State
from limpet.core.key_ring import KeyRing
from limpet.core.stickiness.settings import Sealing

if TYPE_CHECKING:
    from wire import Message, Scene, ScriptedTarget


class Site:
    """What one test serves.

    Attributes:
        requests: by target name, such as "shop-1".
        answers: what a target's name is followed by: further fields of its responses.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.state = State(scene.proxy.use, lambda target: scene.proxy.forget(target) and None)
        self.requests: dict[str, list[Message]] = {}
        self.fields: bytes = b"Cache-Control: no-store\r\n"
        self.groups: dict[str, Any] = {}
        self.key = b"k" * 32

    async def group(self, name: str, targets: int = 2, **settings: Any) -> Self:
        """Start the targets of a group."""
        addresses = []
        for number in range(1, targets + 1):
            target = f"{name}-{number}"
            self.requests[target] = []
            address = (await self.scene.target(self._script(target))).address
            addresses.append({"name": target, "address": str(address)})
        self.groups[name] = {"targets": addresses, "health_check": {"enabled": False}, **settings}
        return self

    def _script(self, name: str) -> Any:
        async def script(_: ScriptedTarget, wire: Wire) -> None:
            while True:
                self.requests[name].append(await wire.request())
                await wire.send(answer(name.encode(), fields=self.fields))

        return script

    def use(self, *rules: dict[str, Any], trusted: tuple[str, ...] = (), **listener: Any) -> Self:
        """Serve with these rules from now on."""
        listen = {"address": "127.0.0.1:0", "rules": rules, **listener}
        data = {"listeners": [listen], "target_groups": self.groups, "trusted_proxies": trusted}
        settings = load_data(data)
        made = compiled.listener(settings, 0)
        self.scene.proxy.relisten(self.scene.address, made)
        self.state.apply(
            settings,
            Sealing(KeyRing([self.key]), os.urandom),
            {name: compiled.targets(group.targets) for name, group in settings.target_groups.items()},
            (made,),
            compiled.forwarding(settings),
            {name: compiled.target_tls(name, group) for name, group in settings.target_groups.items()},
        )
        return self

    async def browser(self) -> Browser:
        """Return a client that keeps its connection and its cookies."""
        return Browser(await self.scene.client())

    @property
    def count(self) -> int:
        """How many requests have reached any target."""
        return sum(len(requests) for requests in self.requests.values())


class Browser:
    """A client with cookies."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.cookies: dict[bytes, bytes] = {}

    async def get(self, path: bytes = b"/", host: bytes = b"shop.example", fields: bytes = b"") -> Message:
        """Ask for a page, and keep the cookies that come with it."""
        pairs = b"; ".join([b"%b=%b" % pair for pair in self.cookies.items()])
        cookie = b"Cookie: %b\r\n" % pairs if pairs else b""
        head = b"GET %b HTTP/1.1\r\nHost: %b\r\n%b%b\r\n" % (path, host, fields, cookie)
        response = await self.wire.ask(head)
        for value in response.all(b"set-cookie"):
            name, _, rest = value.partition(b"=")
            self.cookies[name] = rest.partition(b";")[0]
        return response
