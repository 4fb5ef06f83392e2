"""One line per request: what was asked, what was decided, what came of it, how long it took.

Lines are written a few times a second, or as soon as there are many of them: formatting them in
one go costs half of formatting them one by one, and a write per line as much again. The file is
opened for appending, so that several processes and `logrotate` (with SIGUSR1) may share it.
"""

from __future__ import annotations

import json
import os
import select
import stat
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from limpet.proxy.exchange import Exchange


class AccessLog:
    """An access log file.

    Args:
        path: where to append; "-" for standard output.
        form: "text" or "json".

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str, form: str = "text") -> None:
        self._path = path
        self._format: Callable[[Exchange], bytes] = format_json if form == "json" else format_text
        self._fd = self._open()
        # Several workers may write to one pipe, which keeps only short writes together.
        self._is_pipe = stat.S_ISFIFO(os.fstat(self._fd).st_mode)

    def write(self, exchanges: Iterable[Exchange]) -> None:
        """Append finished exchanges. A full disk loses lines, never requests."""
        form = self._format
        data = b"".join([form(exchange) for exchange in exchanges])
        try:
            for part in _whole_lines(data) if self._is_pipe else (data,):
                _write_all(self._fd, part)
        except OSError as error:
            sys.stderr.write(f"limpet: the access log cannot be written: {error}\n")

    def reopen(self) -> None:
        """Go on in a new file of the same name, after the old one was moved away."""
        fresh = self._open()
        self._close_fd()
        self._fd = fresh

    def close(self) -> None:
        """Close the file."""
        self._close_fd()

    def _open(self) -> int:
        if self._path == "-":
            return sys.stdout.fileno()
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _close_fd(self) -> None:
        if self._path != "-":
            os.close(self._fd)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _whole_lines(data: bytes) -> Iterator[bytes]:
    # Parts of at most PIPE_BUF bytes that end with a line, where lines are not longer than that.
    start = 0
    while start < len(data):
        end = start + select.PIPE_BUF
        cut = len(data) if end >= len(data) else data.rfind(b"\n", start, end) + 1 or end
        yield data[start:cut]
        start = cut


class _Clock:
    # The texts of one second and of one millisecond serve all their lines.
    second = -1
    second_text = b""
    millisecond = -1
    text = b""


def timestamp(wall_s: float) -> bytes:
    """Return UTC in RFC 3339 with milliseconds, e.g. 2026-11-24T09:30:00.123Z."""
    millisecond = int(wall_s * 1000)
    if millisecond != _Clock.millisecond:
        second, rest = divmod(millisecond, 1000)
        if second != _Clock.second:
            _Clock.second = second
            _Clock.second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        _Clock.millisecond = millisecond
        _Clock.text = b"%b.%03dZ" % (_Clock.second_text, rest)
    return _Clock.text


def format_text(exchange: Exchange) -> bytes:
    r"""Return one line, ended by \n.

    Fields: time, client, request id, "request line", status, body bytes in and out,
    group/target, sticky status, "why this target", targets tried, microseconds until the request
    was sent, until the response's head came and until its end ("-" for what never happened),
    and limpet's own error or "-". On a listener with rules, the name of the rule that matched
    follows, or "-" for none. A quotation mark in the request line stands as %22.
    """
    request = exchange.request
    path = request.path
    if b'"' in path:
        path = path.replace(b'"', b"%22")
    start_s = exchange.start_s
    if not exchange.first_byte_s or exchange.error is not None:
        times = _times_of_failure(exchange)
    else:
        times = b"%d %d %d -" % (
            (exchange.sent_s - start_s) * 1e6,
            (exchange.first_byte_s - start_s) * 1e6,
            (exchange.ended_s - start_s) * 1e6,
        )
    rule = b"" if exchange.verdict is None else b" " + exchange.verdict.rule.encode()
    return b'%b %b %b "%b %b HTTP/%b" %d %d %d %b %d %b%b\n' % (
        timestamp(exchange.wall_s),
        request.client_ip.encode() or b"-",
        exchange.request_id,
        request.method,
        path,
        b"2" if exchange.client.is_http2 else b"1.%d" % request.fields.minor_version,
        exchange.status,
        exchange.bytes_in,
        exchange.bytes_out,
        _why(exchange),
        len(exchange.attempts) + exchange.has_response,
        times,
        rule,
    )


def _times_of_failure(exchange: Exchange) -> bytes:
    start_s = exchange.start_s
    moments = (exchange.sent_s, exchange.first_byte_s, exchange.ended_s)
    times = [b"%d" % ((moment - start_s) * 1e6) if moment else b"-" for moment in moments]
    label = exchange.error.label if exchange.error is not None else "-"
    return b" ".join([*times, label.encode()])


def _why(exchange: Exchange) -> bytes:
    decision = exchange.decision
    return b'-/- - "-"' if decision is None else decision.text


def format_json(exchange: Exchange) -> bytes:
    r"""Return one JSON object on one line, ended by \n; the fields of `describe`."""
    return json.dumps(describe(exchange)).encode() + b"\n"


def describe(exchange: Exchange) -> dict[str, object]:
    """Return what is known of a finished exchange, as JSON-able values.

    Times are milliseconds from the moment the request's head was complete; null if the request
    never came so far.
    """
    request = exchange.request
    decision = exchange.decision
    start_s = exchange.start_s
    error = exchange.error
    facts: dict[str, object] = {
        "time": timestamp(exchange.wall_s).decode(),
        "request_id": exchange.request_id.decode(),
        "client": request.client_ip,
        "method": request.method.decode(),
        "path": request.path.decode("latin-1"),
        "host": request.fields.host.decode("latin-1"),
        "rule": exchange.verdict.rule if exchange.verdict is not None else None,
        "status": exchange.status,
        "bytes_in": exchange.bytes_in,
        "bytes_out": exchange.bytes_out,
        "group": decision.group.name if decision is not None else None,
        "target": decision.target.id if decision is not None and decision.target is not None else None,
        "sticky_status": decision.status.value if decision is not None else None,
        "reason": decision.reason if decision is not None else None,
        "attempts": [
            {"target": attempt.target_id, "error": attempt.error.label, "detail": attempt.detail}
            for attempt in exchange.attempts
        ],
        "sent_ms": _ms(exchange.sent_s, start_s),
        "first_byte_ms": _ms(exchange.first_byte_s, start_s),
        "total_ms": _ms(exchange.ended_s, start_s),
        "suspected_logout": exchange.logout or None,
        "error": error.label if error is not None else None,
        "error_source": error.source.value if error is not None else None,
        "detail": exchange.detail or None,
    }
    return facts


def _ms(at_s: float, start_s: float) -> float | None:
    return round((at_s - start_s) * 1e3, 3) if at_s else None
