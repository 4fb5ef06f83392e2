"""As much of a Kubernetes API server as a watch of EndpointSlices needs, over real HTTP.

Versions, history and errors are as the API reference describes them: a watch from a version that is
no longer in the history gets an ERROR event with code 410 in a response of status 200.
"""

import asyncio
import contextlib
import json
from urllib.parse import parse_qs, urlsplit

PATH = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"


def endpoint(address, pod=None, *, ready=True, serving=None, terminating=False):
    """An endpoint as the EndpointSlice controller writes it."""
    made = {
        "addresses": [address],
        "conditions": {
            "ready": ready,
            "serving": ready if serving is None else serving,
            "terminating": terminating,
        },
        "nodeName": "node-1",
        "zone": "zone-a",
    }
    if pod is not None:
        made["targetRef"] = {"kind": "Pod", "namespace": "shop", "name": pod, "uid": f"uid-of-{pod}"}
    return made


def endpoint_slice(name, *endpoints, port=8080, ports=None, family="IPv4"):
    """An EndpointSlice of the service `web`."""
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": family,
        "endpoints": list(endpoints) or None,
        "ports": ports or [{"name": "", "port": port, "protocol": "TCP"}],
    }


class ApiServer:
    """Holds slices and serves lists and watches of them.

    Attributes:
        requests: (query, token) of every request.
        watching: set while there is a watch.
        refusal: status and message for every request, if set.
    """

    def __init__(self, folder):
        self.folder = folder
        self.requests = []
        self.watching = asyncio.Event()
        self.refusal = None
        self._slices = {}
        self._version = 100
        self._history = []
        self._oldest = 100
        self._watches = set()
        self._port = 0

    async def start(self, ssl=None):
        (self.folder / "token").write_text("token-1\n")
        (self.folder / "namespace").write_text("shop")
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=ssl)
        self._has_tls = ssl is not None
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        self._server.close()
        self.cut()
        await asyncio.sleep(0)

    def settings(self, **more):
        return {
            "type": "kubernetes",
            "service": "web",
            "api_url": f"http{'s' if self._has_tls else ''}://127.0.0.1:{self._port}",
            "token_file": str(self.folder / "token"),
            **more,
        }

    # what a test does

    def put(self, made):
        name = made["metadata"]["name"]
        kind = "MODIFIED" if name in self._slices else "ADDED"
        self._slices[name] = made
        self._happen(kind, made)

    def delete(self, name):
        self._happen("DELETED", self._slices.pop(name))

    def bookmark(self):
        """Let time pass elsewhere, and tell the watches how far it is."""
        self._version += 1000
        self._send(self._line("BOOKMARK", {"kind": "EndpointSlice", "metadata": self._meta()}))

    def compact(self):
        """Forget all history."""
        self._oldest = self._version
        self._history.clear()

    def send(self, data):
        """Send bytes to the watches as they are."""
        self._send(data)

    def end(self):
        """End the watches as the server does when their time is over."""
        self._send(None)

    def cut(self):
        """Cut the watches' connections."""
        for watch in list(self._watches):
            watch.put_nowait(ConnectionError)

    # what the server does

    def _meta(self):
        return {"resourceVersion": str(self._version), "creationTimestamp": None}

    def _line(self, kind, thing):
        return json.dumps({"type": kind, "object": thing}).encode() + b"\n"

    def _happen(self, kind, made):
        self._version += 1
        made["metadata"]["resourceVersion"] = str(self._version)
        line = self._line(kind, made)
        self._history.append((self._version, line))
        self._send(line)

    def _send(self, data):
        for watch in self._watches:
            watch.put_nowait(data)

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                url = urlsplit(head.split()[1])
                fields = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
                fields = {name.lower(): value for name, value in fields.items()}
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                self.requests.append((query, fields["authorization"].removeprefix("Bearer ")))
                assert url.path == PATH
                assert query["labelSelector"] == "kubernetes.io/service-name=web"
                if self.refusal is not None:
                    status, message = self.refusal
                    self._answer(writer, status, {"kind": "Status", "code": status, "message": message})
                elif query.get("watch") == "1":
                    await self._watch(writer, int(query["resourceVersion"]))
                else:
                    listed = {"kind": "EndpointSliceList", "metadata": self._meta()}
                    self._answer(writer, 200, listed | {"items": list(self._slices.values())})
                await writer.drain()
        writer.close()

    def _answer(self, writer, status, body):
        data = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)

    async def _watch(self, writer, version):
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        waiting = asyncio.Queue()
        if version < self._oldest:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            waiting.put_nowait(self._line("ERROR", gone))
            waiting.put_nowait(None)
        for when, line in self._history:
            if when > version:
                waiting.put_nowait(line)
        self._watches.add(waiting)
        self.watching.set()
        try:
            while (data := await waiting.get()) is not None:
                if data is ConnectionError:
                    writer.transport.abort()
                    raise ConnectionError
                writer.write(b"%x\r\n%b\r\n" % (len(data), data))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        finally:
            self._watches.discard(waiting)
            if not self._watches:
                self.watching.clear()
