"""Many swaps of the model under load: what fails, what names a model that was not there, what it costs.

    python -m benchmarks.swaps --bundle FOLDER [--swaps 200] [--callers 8]

The service follows a copy of the bundle that is written anew again and again, as if exported at another moment. Each
caller sends one short text after another, and looks at the status and at the model that the answer names.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from threading import Event

import httpx

from benchmarks.server import free_port, resident_mib, wait
from earful.bundle import MANIFEST

PATIENCE = 60  # seconds that a swap may take


def rewrite(bundle: Path, number: int) -> str:
    """The same bundle as if exported at another moment, put in place whole; its digest."""
    manifest = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    content = json.dumps({**manifest, "created_at": f"2026-01-01T00:00:{number:06d}Z"}).encode()
    beside = bundle / f".{MANIFEST}"
    beside.write_bytes(content)
    beside.replace(bundle / MANIFEST)
    return "sha256:" + sha256(content).hexdigest()


def ask(address: str, stop: Event) -> tuple[Counter[str], list[float]]:
    """Send requests until told to stop; answers by model or status, and the milliseconds that each took."""
    found: Counter[str] = Counter()
    times = []
    with httpx.Client(timeout=PATIENCE) as client:
        while not stop.is_set():
            start = time.perf_counter()
            try:
                answer = client.post(f"{address}/classify", json={"text": "I was charged twice for one ticket."})
                found[answer.json()["model"]["bundle"] if answer.is_success else f"status {answer.status_code}"] += 1
            except httpx.HTTPError as error:
                found[type(error).__name__] += 1
            times.append((time.perf_counter() - start) * 1000)
    return found, times


def swap(address: str, bundle: Path, swaps: int) -> set[str]:
    """Write the bundle anew so many times, each when the one before serves; all digests."""
    digests = {httpx.get(f"{address}/model").json()["bundle"]}
    for number in range(swaps):
        digest = rewrite(bundle, number)
        digests.add(digest)
        deadline = time.perf_counter() + PATIENCE
        while httpx.get(f"{address}/model").json()["bundle"] != digest:
            if time.perf_counter() > deadline:
                raise TimeoutError(f"swap {number + 1} never came")
            time.sleep(0.02)
    return digests


def main() -> None:
    """Print what became of every request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--swaps", type=int, default=200)
    parser.add_argument("--callers", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="earful-bench-") as work:
        bundle = Path(shutil.copytree(options.bundle, Path(work, "bundle")))
        port, stop = free_port(), Event()
        command = [sys.executable, "-m", "earful", "serve", "--model", str(bundle), "--port", str(port)]
        environment = {**os.environ, "EARFUL_FOLLOW_SECONDS": "0.1", "EARFUL_LOG_REQUESTS": "false"}
        server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        address = f"http://127.0.0.1:{port}"
        try:
            wait(f"{address}/readyz", PATIENCE)
            with ThreadPoolExecutor(options.callers) as pool:
                asked = [pool.submit(ask, address, stop) for _ in range(options.callers)]
                before = resident_mib(server.pid)
                digests = swap(address, bundle, options.swaps)
                after = resident_mib(server.pid)
                stop.set()
                answers = [one.result() for one in asked]
        finally:
            server.terminate()
            server.wait()
    found = sum((counted for counted, _ in answers), Counter[str]())
    times = [took for _, some in answers for took in some]
    strange = {name: count for name, count in found.items() if name not in digests}
    print(
        f"{options.swaps} swaps, {sum(found.values()):,} requests of {options.callers} callers, failed or of no known "
        f"model: {strange or 0}, models that answered: {len(digests & found.keys())} of {len(digests)}, median "
        f"{statistics.median(times):.0f} ms, p99 {statistics.quantiles(times, n=100)[98]:.0f} ms, longest "
        f"{max(times):.0f} ms, memory {before:.0f} to {after:.0f} MiB"
    )


if __name__ == "__main__":
    main()
