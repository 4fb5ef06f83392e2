"""Clients that speak TLS, and listeners for them."""

from __future__ import annotations

import asyncio
import socket
import ssl


def tls_listener(*certificates, **settings):
    """Return a listener as the configuration has it."""
    listener = {name: settings.pop(name) for name in ("proxy_protocol",) if name in settings}
    return {"address": "127.0.0.1:0", **listener, "tls": {"certificates": list(certificates), **settings}}


TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


class Clients:
    """Clients of one test's balancer."""

    def __init__(self, authority):
        self.authority = authority

    async def connect(self, port, *, name="shop.example", context=None, before=b""):
        """Connect and shake hands; `before` is sent first, in plain."""
        context = context or self.authority.client()
        connected = socket.create_connection(("127.0.0.1", port))
        connected.sendall(before)
        connected.setblocking(False)
        return await asyncio.open_connection(sock=connected, ssl=context, server_hostname=name or "")

    async def get(self, port, path="/", *, fields=(), method="GET", **how):
        """Make one request; return status, fields and body."""
        reader, writer = await self.connect(port, **how)
        answer = await ask(reader, writer, path, *fields, "Connection: close", method=method)
        writer.close()
        return answer

    async def shown(self, port, name):
        """Return the names of the certificate that is shown to who asks for a name (None for no name)."""
        context = self.authority.client()
        context.check_hostname = False
        _, writer = await self.connect(port, name=name, context=context)
        found = writer.get_extra_info("peercert")["subjectAltName"]
        writer.transport.abort()
        return [value for _, value in found]


async def ask(reader, writer, path="/", *fields, method="GET", host="shop.example"):
    """Make a request on a connection; return status, fields and body."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *fields]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    start, *rest = head.split("\r\n")
    found = {}
    for line in filter(None, rest):
        field, _, value = line.partition(": ")
        found.setdefault(field.lower(), []).append(value)
    length = int(found.get("content-length", ["0"])[0])
    body = await reader.readexactly(length) if method != "HEAD" else b""
    return int(start.split()[1]), found, body
