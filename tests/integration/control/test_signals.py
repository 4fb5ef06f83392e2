"""Signals to a real process, at awkward moments."""

import signal
import socket
import subprocess
import sys

import pytest

TIMEOUT_S = 30


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
