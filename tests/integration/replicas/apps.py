"""Apps for test_replica_set.py; each runs in processes of its own."""

import json
import os
import signal
import subprocess
import sys


def _facts(**more):
    return json.dumps({"letter": os.environ["LIMPET_REPLICA"], "pid": os.getpid(), **more}).encode()


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError  # no lifespan
    await receive()
    body = _facts(client=scope["client"][0], scheme=scope["scheme"], kind="asgi")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [_facts(client=environ["REMOTE_ADDR"], scheme=environ["wsgi.url_scheme"], kind="wsgi")]


def deaf():
    """Make an app in a process that ignores SIGTERM, whatever its server does about it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal = lambda *_: None
    return wsgi


def parent():
    """Make an app that has started a process of its own."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    def app(environ, start_response):
        start_response("200 OK", [])
        return [_facts(child=child.pid)]

    return app


def fails_in_b():
    if os.environ["LIMPET_REPLICA"] == "B":
        raise LookupError("B has no database")
    return asgi
