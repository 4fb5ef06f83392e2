"""A target server for large bodies: sends and takes 1 GiB, at the speed of memory.

It takes a break in the middle of an upload, so that a proxy which does not hold the client
back has to swallow what comes meanwhile.

usage: python body_target.py PORT
"""

from __future__ import annotations

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY_BYTES = 1 << 30
CHUNK_BYTES = 1 << 18
BREAK_S = 0.5


class BodyHandler(BaseHTTPRequestHandler):
    """GET /body sends a body, PUT takes one; any other GET (a health check) is answered shortly."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        length = BODY_BYTES if self.path == "/body" else 2
        self._answer(length)
        chunk = bytes(min(CHUNK_BYTES, length))
        for _ in range(length // len(chunk)):
            self.wfile.write(chunk)

    def do_PUT(self) -> None:
        remaining = int(self.headers["Content-Length"])
        break_at = remaining // 2
        buffer = memoryview(bytearray(CHUNK_BYTES))
        while remaining:
            count = self.rfile.readinto(buffer[: min(CHUNK_BYTES, remaining)])
            if not count:
                return
            if remaining >= break_at > remaining - count:
                time.sleep(BREAK_S)
            remaining -= count
        self._answer(0)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), BodyHandler).serve_forever()
