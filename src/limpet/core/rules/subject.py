"""What conditions see of a request."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from limpet.core.request import RequestHead


_MAX_KNOWN_BYTES = 255


class Subject:
    """A request as conditions see it, with one reading of its path.

    Attributes:
        request: the head.
        host: see `read_host`.
        path: one of the readings of `read_path`.
    """

    __slots__ = ("host", "path", "request")

    def __init__(self, request: RequestHead, host: str, path: str) -> None:
        self.request = request
        self.host = host
        self.path = path


def read_host(host: bytes) -> str:
    """Return a Host field's host: in small letters, without port and without final dots.

    "" for a request without Host, which HTTP/1.0 allows; no host condition holds for it.
    """
    # A host of any length must not stay in memory.
    return _known(host) if len(host) <= _MAX_KNOWN_BYTES else _read(host)


def _read(host: bytes) -> str:
    text = unquote(host.decode("latin-1")).lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0].rstrip(".")


_known = lru_cache(maxsize=1024)(_read)
