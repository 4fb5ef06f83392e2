"""Signals to a real process, at awkward moments."""

import signal
import socket
import subprocess
import sys
import time

import pytest

TIMEOUT_S = 20


@pytest.fixture
def silent_target():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(TIMEOUT_S)
        yield listening


@pytest.fixture
def up(silent_target):
    """A balancer over a target that accepts and never answers."""
    port = silent_target.getsockname()[1]
    command = [sys.executable, "-m", "limpet", "up", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    command += ["--access-log", "off", "--target", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        yield process
        process.kill()


def test_while_it_starts_a_hangup_does_not_kill_it_and_sigterm_ends_it(up, silent_target):
    check, _ = silent_target.accept()  # the first round of checks: it does not listen yet
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
        up.send_signal(number)
    assert up.wait(TIMEOUT_S) == 0
    check.close()


def test_a_second_sigterm_ends_the_drain(up, silent_target):
    check, _ = silent_target.accept()
    line = next(line for line in up.stdout if "127.0.0.1:" in line)
    port = int(line.rpartition("127.0.0.1:")[2].split()[0].rstrip("/"))
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        request, _ = silent_target.accept()
        while b"/slow" not in request.recv(65536):
            request.close()
            request, _ = silent_target.accept()
        began_s = time.monotonic()
        up.send_signal(signal.SIGTERM)
        await_refusal(port)
        up.send_signal(signal.SIGTERM)
        assert up.wait(TIMEOUT_S) == 0
        assert time.monotonic() - began_s < 10  # shutdown_timeout_s is 30
        request.close()
    check.close()


def await_refusal(port):
    """Wait until nobody listens on a port: the drain has begun."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return
    raise AssertionError("it still listens")
