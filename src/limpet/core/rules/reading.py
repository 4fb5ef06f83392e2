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
from urllib.parse import unquote, unquote_to_bytes

#: A path whose readings are the same: no escape, no parameter, no empty and no dot segment.
_PLAIN = re.compile(rb"(?:/(?!\.\.?(?:/|\Z))[!$&'()*+,\-.0-9:=@A-Z_a-z~]+)*/?")
_ESCAPED_SLASH = re.compile(rb"%(2[Ff]|5[Cc])")
_PARAMETER = re.compile(r";[^/]*")
#: Longer than any chain of programs that each decode once.
_MAX_DECODINGS = 8


def read_path(path: bytes) -> tuple[str, ...]:
    """Return the different readings of a request's path, in small letters.

    Args:
        path: with or without its query; or b"*".
    """
    path = path.partition(b"?")[0]
    if _PLAIN.fullmatch(path):
        return (path.decode("ascii").lower(),)
    if not path.startswith(b"/"):
        return ("*",)
    by_segments = unquote_to_bytes(_ESCAPED_SLASH.sub(rb"%25\1", path))
    decoded = unquote_to_bytes(path)
    readings = (_text(by_segments).casefold(), _text(decoded).casefold(), _resolve(decoded))
    return tuple(dict.fromkeys(readings))


def _text(path: bytes) -> str:
    return normalize("NFC", path.decode("utf-8", "surrogateescape"))


def _resolve(decoded: bytes) -> str:
    for _ in range(_MAX_DECODINGS):
        again = unquote_to_bytes(decoded)
        if again == decoded:
            break
        decoded = again
    text = normalize("NFKC", _text(decoded)).casefold().partition("\0")[0]
    text = _PARAMETER.sub("", unquote(text).replace("\\", "/"))
    segments: list[str] = []
    parts = text.split("/")
    for part in parts:
        if part == "..":
            del segments[-1:]
        elif part not in {"", "."}:
            segments.append(part)
    is_folder = bool(segments) and parts[-1] in {"", ".", ".."}
    return "/" + "/".join(segments) + ("/" if is_folder else "")
