"""A client that connects, shakes hands, asks once and closes, again and again; a process of its own.

Prints how many connections it made, and how many of them resumed a session.
"""

from __future__ import annotations

import socket
import ssl
import sys
import time

_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def main(port: int, chain: str, version: str, seconds: float, resumes: bool) -> None:
    """Run for some seconds."""
    context = ssl.create_default_context(cafile=chain)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    session = None
    done = resumed = 0
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        plain = socket.create_connection(("127.0.0.1", port))
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as tls:
            tls.sendall(_REQUEST)
            data = b""
            while part := tls.recv(65536):
                data += part
            if not data.startswith(b"HTTP/1.1 200"):
                sys.exit(f"an answer was {data[:40]!r}")
            done += 1
            resumed += bool(tls.session_reused)
            if resumes:
                session = tls.session
    print(done, resumed)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]), sys.argv[5] == "resumed")
