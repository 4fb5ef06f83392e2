"""Targets of a Kubernetes Service: a watch of its EndpointSlices.

Theory of operation. A list gives all slices and a resource version; a watch from that version
gives every change after it, and now and then a bookmark with a newer version. A watch that ends or
breaks goes on from the last version seen, so nothing is missed. If the server does not know that
version any more (410 Gone), all is listed again. What is known stays known meanwhile.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import time
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import BaseModel, ValidationError

from limpet.control.discovery.contract import DiscoveryError
from limpet.control.discovery.endpoint_slices import EndpointSlice, Metadata, targets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from limpet.config.discovery_schema import DiscoverySettings
    from limpet.control.discovery.contract import LookUp, Report

#: How long the server lets a watch last. A connection that died silently is noticed soon after.
_WATCH_S = 60
_SLACK_S = 10
_TIMEOUT_S = 5.0
_FIRST_PAUSE_S = 0.2
_LAST_PAUSE_S = 30.0
#: Between the beginnings of two watches at least: a server that ends them at once is not flooded.
_GAP_S = 1.0


async def watch(settings: DiscoverySettings, interval_s: float, report: Report, look_up: LookUp) -> None:
    """Report the targets of a Service."""
    del interval_s, look_up
    following = _Following(settings, report)
    while True:
        try:
            async with following.client() as client:
                await following.run(client)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, DiscoveryError, ValueError) as error:
            report.failed(_reason(error))
        # By chance: many limpets must not come back at the same moment.
        await asyncio.sleep(following.pause_s * random.uniform(0.5, 1))  # noqa: S311
        following.pause_s = min(following.pause_s * 2, _LAST_PAUSE_S)


class _List(BaseModel):
    metadata: Metadata
    items: list[EndpointSlice] | None = None


class _Event(BaseModel):
    type: str
    object: dict[str, Any]


class _GoneError(Exception):
    """The server does not know the version any more."""


class _Following:
    # What is known of a Service's slices, and as of which version.

    def __init__(self, settings: DiscoverySettings, report: Report) -> None:
        self.pause_s = _FIRST_PAUSE_S
        self._settings = settings
        self._report = report
        self._slices: dict[str, EndpointSlice] = {}
        self._version = ""  # nothing is known yet

    def client(self) -> httpx.AsyncClient:
        """Return a client of the API server, with its certificate authority as of now."""
        url = self._settings.api_url or _own_api_url()
        is_tls = url.startswith("https:")
        return httpx.AsyncClient(
            base_url=url,
            verify=ssl.create_default_context(cafile=self._settings.ca_file) if is_tls else False,
            timeout=httpx.Timeout(_TIMEOUT_S),
            trust_env=False,
        )

    async def run(self, client: httpx.AsyncClient) -> None:
        """Follow the slices until something goes wrong."""
        while True:
            begun_s = time.monotonic()
            try:
                if not self._version:
                    await self._list(client)
                await self._watch(client)
            except _GoneError:
                self._version = ""
            except DiscoveryError:
                self._version = ""  # the server is there, but not as it was: do not build on it
                raise
            await asyncio.sleep(max(0.0, begun_s + _GAP_S - time.monotonic()))

    async def _list(self, client: httpx.AsyncClient) -> None:
        response = await client.get(self._path(), params=self._query(), headers=self._headers())
        _check(response)
        listed = _List.model_validate_json(response.content)
        self._slices = {each.metadata.name: each for each in listed.items or ()}
        self._version = listed.metadata.resourceVersion
        self._tell()

    async def _watch(self, client: httpx.AsyncClient) -> None:
        query = self._query() | {
            "watch": "1",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_S),
        }
        timeout = httpx.Timeout(_TIMEOUT_S, read=_WATCH_S + _SLACK_S)
        async with client.stream(
            "GET", self._path(), params=query, headers=self._headers(), timeout=timeout
        ) as response:
            if response.status_code != httpx.codes.OK:
                await response.aread()
            _check(response)
            self._tell()  # also that the server answers again
            async for line in _lines(response):
                self._take(line)

    def _take(self, line: bytes) -> None:
        event = _Event.model_validate_json(line)
        if event.type == "ERROR":
            if event.object.get("code") == httpx.codes.GONE:
                raise _GoneError
            raise DiscoveryError(f"the API server ended the watch: {event.object.get('message')}")
        changed = EndpointSlice.model_validate(event.object)
        name = changed.metadata.name
        self._version = changed.metadata.resourceVersion
        if event.type in {"ADDED", "MODIFIED"}:
            self._slices[name] = changed
            self._tell()
        elif event.type == "DELETED":
            self._slices.pop(name, None)
            self._tell()
        # What is left is BOOKMARK: only the version is new.

    def _tell(self) -> None:
        self.pause_s = _FIRST_PAUSE_S
        try:
            found = targets(self._slices.values(), self._settings)
        except (DiscoveryError, ValueError) as error:  # watching goes on: the next change may be right
            self._report.failed(_reason(error))
            return
        self._report.found(found, "" if found else "no endpoint of it serves")

    def _path(self) -> str:
        return f"/apis/discovery.k8s.io/v1/namespaces/{self._namespace()}/endpointslices"

    def _query(self) -> dict[str, str]:
        return {"labelSelector": f"kubernetes.io/service-name={self._settings.service}"}

    def _namespace(self) -> str:
        file = self._settings.token_file.with_name("namespace")
        return self._settings.namespace or file.read_text("utf-8").strip()

    def _headers(self) -> dict[str, str]:
        # Read each time: the kubelet replaces it within the hour.
        token = self._settings.token_file.read_text("utf-8").strip()
        return {"Authorization": f"Bearer {token}", "Accept": "application/json"}


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    # Not httpx's own: that also splits at characters which JSON leaves as they are.
    rest = b""
    async for part in response.aiter_bytes():
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
    if rest.strip():
        raise DiscoveryError("the API server ended the watch in the middle of a line")


def _check(response: httpx.Response) -> None:
    if response.status_code == httpx.codes.GONE:
        raise _GoneError
    if response.status_code != httpx.codes.OK:
        try:
            message = response.json()["message"]
        except (ValueError, KeyError, TypeError):
            message = response.reason_phrase
        raise DiscoveryError(f"the API server answers {response.status_code}: {message}")


def _own_api_url() -> str:
    host, port = (
        os.environ.get("KUBERNETES_SERVICE_HOST", ""),
        os.environ.get("KUBERNETES_SERVICE_PORT", "443"),
    )
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "the API server's answer cannot be read"
    if isinstance(error, FileNotFoundError | PermissionError):
        return f"{error.filename} cannot be read ({error.strerror})"
    if isinstance(error, httpx.TimeoutException):
        return "the API server does not answer in time"
    if isinstance(error, httpx.TransportError):
        return f"the connection to the API server failed ({error or type(error).__name__})"
    return str(error)
