"""How soon the server is ready and how much memory it takes.

    python -m benchmarks.server --model FOLDER|champion

Seconds from starting the process to the first answer of /readyz, and resident memory after a thousand requests.
"""

import argparse
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait(url: str, limit: float) -> None:
    """Until `url` answers. Raises `TimeoutError` after `limit` seconds."""
    deadline = time.perf_counter() + limit
    while time.perf_counter() < deadline:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.01)
        else:
            return
    raise TimeoutError(url)


def resident_mib(pid: int) -> float:
    """Resident memory of a process, from /proc."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Print seconds to ready, and memory before and after the requests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="champion")
    parser.add_argument("--requests", type=int, default=1000)
    options = parser.parse_args()
    port = free_port()
    start = time.perf_counter()
    command = [sys.executable, "-m", "earful", "serve", "--port", str(port), "--model", options.model]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait(f"http://127.0.0.1:{port}/readyz", 60)
        print(f"ready after {time.perf_counter() - start:.2f} s, {resident_mib(server.pid):.0f} MiB")
        for number in range(options.requests):
            body = json.dumps(
                {"text": f"Order {number} has not come and nobody answers. " * (1 + number % 40)}
            ).encode()
            url, headers = f"http://127.0.0.1:{port}/classify", {"Content-Type": "application/json"}
            urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30).close()
        print(f"after {options.requests:,} requests {resident_mib(server.pid):.0f} MiB")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
