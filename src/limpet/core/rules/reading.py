r"""How a request's path is read, so that no spelling of it slips past a rule.

A rule must judge the path that the target acts on, but targets do not agree on how a path is
read: one takes `/a%2Fb` as two segments, another as one; one resolves `/x/../admin`, another
looks for it as it stands. So a path is read in every way that targets do:

1. *by segments*, as routers read it that split before they decode: `%2F` is no `/`;
2. *decoded*, as WSGI and ASGI apps get it: every `%XX` once;
3. *resolved*, as file servers and proxies read it: escapes in escapes decoded too, letters in
   their compatible form (NFKC), `\` taken for `/`, path parameters (`;...`) and everything behind a
   NUL dropped, `//` taken for `/`, dot segments resolved.

Letters count as small ones in all of them. The readings of an ordinary path are one and the same.
"""

from __future__ import annotations

import re
from unicodedata import normalize

from limpet.errors import ErrorKind, ProtocolError

_HEX = "0123456789abcdefABCDEF"
#: A path whose readings are the same: no escape, no parameter, no empty and no dot segment.
_PLAIN = re.compile(rb"(?:/(?!\.\.?(?:/|\Z))[!$&'()*+,\-.0-9:=@A-Z_a-z~]+)*/?")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_BYTES = {f"{high}{low}".encode(): bytes.fromhex(high + low) for high in _HEX for low in _HEX}
#: Escapes of slashes stay as they are.
_BYTES_BUT_SLASHES = {digits: b"%" + digits if byte in b"/\\" else byte for digits, byte in _BYTES.items()}
_PARAMETER = re.compile(r";[^/]*")
#: Bytes of a path that is worth reading in several ways; each costs a microsecond or so.
MAX_ODD_BYTES = 4096
#: Longer than any chain of programs that each decode once.
_MAX_DECODINGS = 8


def read_path(path: bytes) -> tuple[str, ...]:
    """Return the different readings of a request's path, in small letters.

    Args:
        path: with or without its query; or b"*".

    Raises:
        ProtocolError: URI_TOO_LONG; it has several readings, and too many bytes for that.
    """
    path = path.partition(b"?")[0]
    if _PLAIN.fullmatch(path):
        return (path.decode("ascii").lower(),)
    if not path.startswith(b"/"):
        return ("*",)
    if len(path) > MAX_ODD_BYTES:
        raise ProtocolError(ErrorKind.URI_TOO_LONG, "the path is too long to be read in several ways")
    by_segments = _decode(path, _BYTES_BUT_SLASHES)
    decoded = _decode(path)
    readings = (_text(by_segments).casefold(), _text(decoded).casefold(), _resolve(decoded))
    return tuple(dict.fromkeys(readings))


def _decode(path: bytes, table: dict[bytes, bytes] = _BYTES) -> bytes:
    return _ESCAPE.sub(lambda found: table[found[1]], path)


def _text(path: bytes) -> str:
    return normalize("NFC", path.decode("utf-8", "surrogateescape"))


def _resolve(decoded: bytes) -> str:
    for _ in range(_MAX_DECODINGS):
        again = _decode(decoded)
        if again == decoded:
            break
        decoded = again
    text = normalize("NFKC", _text(decoded)).casefold().partition("\0")[0]
    text = _PARAMETER.sub("", text.replace("\\", "/"))
    segments: list[str] = []
    parts = text.split("/")
    for part in parts:
        if part == "..":
            del segments[-1:]
        elif part not in {"", "."}:
            segments.append(part)
    is_folder = bool(segments) and parts[-1] in {"", ".", ".."}
    return "/" + "/".join(segments) + ("/" if is_folder else "")
