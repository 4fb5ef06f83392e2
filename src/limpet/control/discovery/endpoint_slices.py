"""What the EndpointSlices of a Kubernetes Service say about targets; pure.

    ready or serving, not terminating    a target
    serving and terminating              a target that terminates: it keeps its sessions
    not serving                          no target

A target is a pod, and its id is the pod's name (a digest of its address if it is no pod): neither
the port nor the slice it is listed in matters. A pod that stands in several slices, because it has
addresses of two families or is just being moved to another slice, is one target.

Source: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from pydantic import BaseModel

from limpet.config.compile import target_id
from limpet.config.value_types import NAME_PATTERN
from limpet.control.discovery.contract import DiscoveryError
from limpet.core.address import Address
from limpet.core.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limpet.config.discovery_schema import DiscoverySettings

_FAMILIES = ("IPv4", "IPv6")  # the one that is preferred first


class Conditions(BaseModel):
    """What is said of an endpoint; None where nothing is said."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None

    @property
    def is_serving(self) -> bool:
        """Whether it answers requests: unknown readiness counts as ready, unknown serving as readiness."""
        is_ready = self.ready is not False
        return is_ready if self.serving is None else self.serving


class Reference(BaseModel):
    """The object behind an endpoint."""

    kind: str = ""
    name: str = ""


class Endpoint(BaseModel):
    """One endpoint; its addresses are interchangeable."""

    addresses: list[str]
    conditions: Conditions | None = None
    targetRef: Reference | None = None  # noqa: N815  # so called there


class Port(BaseModel):
    """A port of all endpoints of a slice."""

    name: str | None = None
    port: int | None = None


class Metadata(BaseModel):
    """Names a slice, and its version."""

    name: str = ""
    resourceVersion: str = ""  # noqa: N815  # so called there


class EndpointSlice(BaseModel):
    """Some endpoints of a Service."""

    metadata: Metadata
    addressType: str = ""  # noqa: N815  # so called there
    endpoints: list[Endpoint] | None = None
    ports: list[Port] | None = None


def targets(slices: Iterable[EndpointSlice], settings: DiscoverySettings) -> list[Target]:
    """Return the targets of a Service, sorted by their ids.

    Args:
        slices: all of the Service.

    Raises:
        DiscoveryError: a slice does not have the port.
    """
    known = sorted(
        (each for each in slices if each.addressType in _FAMILIES),
        key=lambda each: (_FAMILIES.index(each.addressType), each.metadata.name),
    )
    found: dict[str, Target] = {}
    for each in known:
        for endpoint in each.endpoints or ():
            target = _target(endpoint, each, settings)
            if target is None:
                continue
            before = found.get(target.id)
            # While a pod moves to another slice one of the two may be out of date: the living word counts.
            if before is None or (before.is_terminating and not target.is_terminating):
                found[target.id] = target
    return sorted(found.values(), key=lambda target: target.id)


def _target(endpoint: Endpoint, listed_in: EndpointSlice, settings: DiscoverySettings) -> Target | None:
    conditions = endpoint.conditions or Conditions()
    if not conditions.is_serving or not endpoint.addresses:
        return None
    host = str(ipaddress.ip_address(endpoint.addresses[0]))
    return Target(
        id=_id(endpoint, host),
        address=Address(host=host, port=_port(listed_in, settings), is_tls=settings.https),
        is_terminating=conditions.terminating is True,
    )


def _id(endpoint: Endpoint, host: str) -> str:
    pod = endpoint.targetRef
    if pod is None or pod.kind != "Pod" or not pod.name:
        return target_id(host)
    return pod.name if re.fullmatch(NAME_PATTERN, pod.name) else target_id(pod.name)


def _port(listed_in: EndpointSlice, settings: DiscoverySettings) -> int:
    if settings.port is not None:
        return settings.port
    ports = {port.name or "": port.port for port in listed_in.ports or () if port.port is not None}
    if settings.port_name is not None:
        ports = {name: port for name, port in ports.items() if name == settings.port_name}
    if len(ports) == 1:
        return next(iter(ports.values()))
    names = ", ".join(repr(port.name or "") for port in listed_in.ports or ())
    wanted = f"no port {settings.port_name!r}" if settings.port_name is not None else "not exactly one port"
    raise DiscoveryError(f"{listed_in.metadata.name} has {wanted}; its ports are {names or 'not named'}")
