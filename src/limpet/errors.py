"""What can go wrong with a request, and what it means to the client.

An error has a *kind* (what happened), a *source* (whose fault it is) and, at the place
where it is raised, the knowledge whether a byte had been sent to the target. One table
maps the kind to the status that the client sees; `core.retry` maps it to "try again".
Nothing else may invent a status for a failure.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class ErrorSource(Enum):
    """Who caused a failed request; a label of logs and metrics."""

    CLIENT = "client"
    TARGET = "target"
    LIMPET = "limpet"


class _Kind(NamedTuple):
    name: str
    source: ErrorSource
    status: int
    title: str


class ErrorKind(Enum):
    """Every way in which limpet itself ends a request.

    The value holds the name used in logs, the source, and the status sent to the client
    if none was sent yet. 499 is never sent: it marks a client that went away.

    Source: RFC 9110 section 15; 460/499 by custom of ALB and nginx.
    """

    BAD_REQUEST = _Kind("bad_request", ErrorSource.CLIENT, 400, "Bad Request")
    NO_RULE = _Kind("no_rule", ErrorSource.CLIENT, 404, "Not Found")
    REQUEST_TIMEOUT = _Kind("request_timeout", ErrorSource.CLIENT, 408, "Request Timeout")
    BODY_TOO_LARGE = _Kind("body_too_large", ErrorSource.CLIENT, 413, "Content Too Large")
    URI_TOO_LONG = _Kind("uri_too_long", ErrorSource.CLIENT, 414, "URI Too Long")
    EXPECTATION_FAILED = _Kind("expectation_failed", ErrorSource.CLIENT, 417, "Expectation Failed")
    RATE_LIMITED = _Kind("rate_limited", ErrorSource.CLIENT, 429, "Too Many Requests")
    HEAD_TOO_LARGE = _Kind("head_too_large", ErrorSource.CLIENT, 431, "Request Header Fields Too Large")
    CLIENT_CLOSED = _Kind("client_closed", ErrorSource.CLIENT, 499, "Client Closed Request")
    NOT_IMPLEMENTED = _Kind("not_implemented", ErrorSource.CLIENT, 501, "Not Implemented")
    VERSION_NOT_SUPPORTED = _Kind(
        "version_not_supported", ErrorSource.CLIENT, 505, "HTTP Version Not Supported"
    )
    CONNECT_FAILED = _Kind("connect_failed", ErrorSource.TARGET, 502, "Bad Gateway")
    TARGET_CLOSED = _Kind("target_closed", ErrorSource.TARGET, 502, "Bad Gateway")
    BAD_RESPONSE = _Kind("bad_response", ErrorSource.TARGET, 502, "Bad Gateway")
    DEREGISTERED = _Kind("deregistered", ErrorSource.LIMPET, 502, "Bad Gateway")
    NO_TARGET = _Kind("no_target", ErrorSource.LIMPET, 503, "Service Unavailable")
    STICKY_TARGET_UNAVAILABLE = _Kind(
        "sticky_target_unavailable", ErrorSource.LIMPET, 503, "Service Unavailable"
    )
    QUEUE_FULL = _Kind("queue_full", ErrorSource.LIMPET, 503, "Service Unavailable")
    QUEUE_TIMEOUT = _Kind("queue_timeout", ErrorSource.LIMPET, 503, "Service Unavailable")
    CONNECT_TIMEOUT = _Kind("connect_timeout", ErrorSource.TARGET, 504, "Gateway Timeout")
    RESPONSE_TIMEOUT = _Kind("response_timeout", ErrorSource.TARGET, 504, "Gateway Timeout")

    @property
    def label(self) -> str:
        """The name used in logs and metrics."""
        return self.value.name

    @property
    def source(self) -> ErrorSource:
        """Whose failure it is."""
        return self.value.source

    @property
    def status(self) -> int:
        """The status sent to the client."""
        return self.value.status

    @property
    def title(self) -> str:
        """The reason phrase that goes with the status."""
        return self.value.title


class LimpetError(Exception):
    """The base of every exception that limpet raises on purpose."""


class ProtocolError(LimpetError):
    """A message that has no single reading, or breaks a limit; its connection is closed.

    Args:
        kind: what the client is told.
        detail: one sentence for the log and the error page; no byte of the message.
    """

    def __init__(self, kind: ErrorKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class ConfigError(LimpetError):
    """A configuration with mistakes: all of them, each `path: what is wrong; what to do`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class KeyRingError(LimpetError):
    """A key file or variable that holds no usable key."""
