"""Where a listener or a target is reached: a TCP address or a Unix socket."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_LABEL = r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP host and port, or the path of a Unix socket.

    Attributes:
        host: IP address without brackets, or a DNS name; None for a Unix socket. As read from a
            text it is in its one canonical form: IPv6 compressed, names in lower case.
        port: 0 to 65535; 0 lets the system choose (listeners only). None for a Unix socket.
        path: file path of a Unix socket; None for TCP.
        is_tls: whether TLS is spoken there; of targets only.
    """

    host: str | None = None
    port: int | None = None
    path: str | None = None
    is_tls: bool = False

    @property
    def is_unix(self) -> bool:
        """Whether this is a Unix socket."""
        return self.path is not None

    @property
    def is_name(self) -> bool:
        """Whether the host is a DNS name that has to be resolved."""
        return self.host is not None and not _is_ip(self.host)

    @property
    def host_header(self) -> str:
        """What a Host header for this address says."""
        return "localhost" if self.path is not None else str(self).removeprefix("https://")

    def __str__(self) -> str:
        """Return `host:port`, `[v6]:port` or `unix:/path`; `https://host:port` with TLS."""
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in (self.host or "") else self.host
        return f"{'https://' if self.is_tls else ''}{host}:{self.port}"


def parse_address(text: str, *, default_port: int | None = None) -> Address:
    """Read `host:port`, `[v6]:port`, `:port` or `unix:/path`; `http://` or `https://` may lead.

    Args:
        default_port: taken when the text names no port (443 after `https://`); None makes the
            port mandatory, and `https://` a mistake.

    Raises:
        ValueError: with a sentence that says what is wrong and what to write instead.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/") or "\0" in path:
            raise ValueError(f"{text!r} is not a Unix socket; write unix:/absolute/path")
        return Address(path=path)
    is_tls = text.startswith("https://")
    if is_tls and default_port is None:
        raise ValueError(f"{text!r} is a URL; write HOST:PORT, and add [listeners.tls] for TLS")
    if is_tls:
        default_port = 443
    rest = text.removeprefix("http://").removeprefix("https://").removesuffix("/")
    host, port_text = _split(rest, text)
    if not port_text and default_port is None:
        raise ValueError(f"{text!r} has no port; write HOST:PORT")
    port = default_port if not port_text else _port(port_text, text)
    host = str(ipaddress.ip_address(host)) if _is_ip(host) else host.lower()
    if not _is_ip(host) and not _HOST_NAME.fullmatch(host):
        raise ValueError(f"{text!r} has no valid host; write HOST:PORT, [IPV6]:PORT or unix:/path")
    return Address(host=host, port=port, is_tls=is_tls)


def _split(rest: str, text: str) -> tuple[str, str]:
    if rest.startswith("["):
        host, bracket, port_text = rest[1:].partition("]")
        if not bracket or (port_text and not port_text.startswith(":")) or ":" not in host:
            raise ValueError(f"{text!r} has no valid IPv6 host; write [IPV6]:PORT")
        return host, port_text[1:]
    if rest.count(":") > 1:
        raise ValueError(f"{text!r} is ambiguous; put the IPv6 address in brackets: [IPV6]:PORT")
    host, _, port_text = rest.partition(":")
    return host or "0.0.0.0", port_text


def _port(port_text: str, text: str) -> int:
    if not (port_text.isascii() and port_text.isdigit() and int(port_text) <= 65535):
        raise ValueError(f"{text!r} has port {port_text!r}; write a number from 0 to 65535")
    return int(port_text)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
