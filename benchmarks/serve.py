"""The service beside what else would answer over HTTP: requests a second, latencies, errors, memory.

    python -m benchmarks.serve --bundle FOLDER --data FOLDER [--rounds 3] [--seconds 5]

Closed loop at 1, 8, 32 and 64 callers, from `wrk` (a Debian package) in a process of its own on the same cores, with
texts of 15 tokens on average (Banking77) and of 128 (the beginnings of complaints). Each server is started anew in
every round, and the rounds alternate; figures are medians over rounds. Then, for a minute, the service gets twice the
requests a second that it carried, from 1,000 connections that keep to their rate (`h2load`, of nghttp2-client).
"""

import argparse
import csv
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.serve_peers import PEERS
from benchmarks.server import free_port, wait

CALLERS = (1, 8, 32, 64)
TEXTS = 1000
LONG_WORDS = 95  # about 128 tokens
CONNECTIONS = 1000
OVER_SECONDS = 60
START_SECONDS = 120
OURS = "earful"
Found = Mapping[str, float]


def bodies(data: Path, folder: Path) -> dict[int, Path]:
    """Files of request bodies, one a line, by the tokens that a text has about."""
    csv.field_size_limit(10**9)
    with (data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as file:
        short = [row["text"] for row in csv.DictReader(file)][:TEXTS]
    with (data / "cfpb_complaints.csv").open(encoding="utf-8", newline="") as file:
        words = [row["narrative"].split() for row in csv.DictReader(file)]
    long = [" ".join(text[:LONG_WORDS]) for text in words if len(text) >= LONG_WORDS][:TEXTS]
    made = {}
    for size, texts in ((15, short), (128, long)):
        made[size] = folder / f"{size}.jsonl"
        made[size].write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return made


@contextmanager
def serving(name: str, bundle: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A server's address and its process, which ends with the block, and all its children."""
    port = free_port()
    if name == OURS:
        command = ["-m", "earful", "serve", "--model", str(bundle), "--port", str(port)]
    else:
        command = ["-m", "benchmarks.serve_peers", name, str(port), str(bundle)]
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        process = psutil.Process(server.pid)
        try:
            wait(f"http://127.0.0.1:{port}/{'health' if name == 'litserve' else 'readyz'}", START_SECONDS)
            yield f"http://127.0.0.1:{port}/classify", process
        finally:
            for one in [*process.children(recursive=True), process]:
                one.kill()


def load(url: str, callers: int, sent: Path, seconds: float) -> Found:
    """What so many callers, each with one request at a time, get for so long."""
    command = ["wrk", "-t1", f"-c{callers}", f"-d{seconds:g}s", "-s", str(Path(__file__).with_name("post.lua")), url]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={"BODIES": str(sent)}).stdout
    found: Found = json.loads(next(line for line in said.splitlines() if line.startswith("RESULT "))[7:])
    return found


def overload(url: str, rate: float, body: str, folder: Path) -> tuple[Counter[int], float]:
    """Answers by status, and the accepted ones' 99th percentile in ms, of so many requests a second for a minute."""
    sent, log = folder / "body.json", folder / "overload.log"
    sent.write_text(body, encoding="utf-8")
    log.unlink(missing_ok=True)
    command = [
        "h2load", "--h1", f"-c{CONNECTIONS}", f"-D{OVER_SECONDS}", f"--rps={rate / CONNECTIONS:.3f}", f"-d{sent}",
        "-Hcontent-type: application/json", f"--log-file={log}", url,
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, check=True)
    statuses: Counter[int] = Counter()
    accepted = []
    for line in log.read_text(encoding="ascii").splitlines():
        _, status, took = line.split()[:3]
        statuses[int(status)] += 1
        if status == "200":
            accepted.append(int(took) / 1000)
    return statuses, statistics.quantiles(accepted, n=100)[98]


def twice_too_much(bundle: Path, sent: Path, seconds: float, folder: Path) -> str:
    """What becomes of twice the requests that the service carries: one text of the usual length, again and again."""
    bodies = sorted(sent.read_text(encoding="utf-8").splitlines(), key=len)
    one = folder / "one.jsonl"
    one.write_text(bodies[len(bodies) // 2] + "\n", encoding="utf-8")
    with serving(OURS, bundle) as (url, process):
        load(url, 64, one, 2)
        before = load(url, 64, one, seconds)
        asked = 2 * before["rate"]
        statuses, slowest = overload(url, asked, bodies[len(bodies) // 2], folder)
        time.sleep(1)
        after = load(url, 64, one, seconds)
        return (
            f"{asked:,.0f} requests a second for {OVER_SECONDS} s: {dict(statuses)}, p99 of those answered "
            f"{slowest:.0f} ms (64 callers before: {before['p99']:.0f} ms), a second later {after['rate']:,.0f} a "
            f"second (before {before['rate']:,.0f}), {memory(process):.0f} MiB"
        )


def memory(process: psutil.Process) -> float:
    """Resident MiB of a process and its children."""
    return float(sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]) / 2**20)


def table(found: Mapping[tuple[str, int, int], Sequence[Found]], used: Mapping[str, float]) -> Iterator[str]:
    """A Markdown table, of medians."""
    yield "| tokens | callers | server | req/s | p50, ms | p99, ms | refused | broken | MiB at the end |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for (name, size, callers), rounds in sorted(found.items(), key=lambda item: item[0][1:]):
        middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        yield (
            f"| {size} | {callers} | {name} | {middle['rate']:,.0f} | {middle['p50']:.1f} | {middle['p99']:.1f} "
            f"| {middle['refused']:.0f} | {middle['broken']:.0f} | {used[name]:.0f} |"
        )


def main() -> None:
    """Print a table, and what the service does with twice the load that it can carry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    options = parser.parse_args()
    for tool in ("wrk", "h2load"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not installed; `apt-get install wrk nghttp2-client` brings what sends the requests")
    found: dict[tuple[str, int, int], list[Found]] = defaultdict(list)
    used: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="earful-bench-") as work:
        sent = bodies(options.data, Path(work))
        for number in range(options.rounds):
            for name in (OURS, *options.peers):
                with serving(name, options.bundle) as (url, process):
                    load(url, 8, sent[15], 2)
                    for size, file in sent.items():
                        for callers in CALLERS:
                            found[name, size, callers].append(load(url, callers, file, options.seconds))
                    used[name] = memory(process)
                print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
        print(*table(found, used), sep="\n", flush=True)
        print(f"\n{twice_too_much(options.bundle, sent[15], options.seconds, Path(work))}")


if __name__ == "__main__":
    main()
