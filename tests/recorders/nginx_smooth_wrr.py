"""Records which target a running nginx chooses, request by request, for several sets of weights.

    python tests/recorders/nginx_smooth_wrr.py > tests/data/nginx_smooth_wrr.json

One worker, so that one upstream's state is seen whole; every target is a server of the same
nginx that answers its own name.
"""

import http.client
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WEIGHTS = [
    [1, 1, 1],
    [5, 1, 1],
    [1, 2, 3, 4],
    [10, 1],
    [7, 3, 3, 2, 1],
    [2, 2, 1],
    [100, 99, 1],
    [1],
    [3, 3, 3, 3, 3, 3, 3, 2],
]
ROUNDS = 3

CONFIG = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  {temp_paths}
  {blocks}
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def record(weights: list[int]) -> list[int]:
    """Return the index of the chosen target for each of ROUNDS full cycles of requests."""
    ports = [free_port() for _ in weights]
    front = free_port()
    servers = "".join(
        f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{index}'; }} }}\n"
        for index, port in enumerate(ports)
    )
    upstream = "".join(
        f"server 127.0.0.1:{port} weight={weight};" for port, weight in zip(ports, weights, strict=True)
    )
    blocks = (
        f"upstream u {{ {upstream} }}\n{servers}"
        f"server {{ listen 127.0.0.1:{front}; location / {{ proxy_pass http://u; }} }}"
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    with tempfile.TemporaryDirectory() as folder:
        temp_paths = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        path = Path(folder, "nginx.conf")
        path.write_text(CONFIG.format(folder=folder, temp_paths=temp_paths, blocks=blocks))
        command = ["nginx", "-p", folder, "-c", str(path), "-e", f"{folder}/start.log"]
        with subprocess.Popen(command) as nginx:
            try:
                wait_for(front, nginx)
                return [ask(front) for _ in range(ROUNDS * sum(weights))]
            finally:
                nginx.terminate()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            time.sleep(0.01)
            continue
        return
    raise RuntimeError("nginx did not start")


def ask(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        return int(connection.getresponse().read())
    finally:
        connection.close()


def version() -> str:
    out = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
    return re.search(r"nginx/([\d.]+)", out)[1]


def main() -> None:
    vectors = [{"weights": weights, "choices": record(weights)} for weights in WEIGHTS]
    json.dump({"nginx": version(), "vectors": vectors}, sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
