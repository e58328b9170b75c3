"""One load run of wrk, and what it cost the server."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).parent / "push.lua"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent: one resource, with tokens in turn."""

    body: Path
    tokens: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run. Latencies in milliseconds, CPU in seconds per 1,000 requests, memory in MB (the peak so far)."""

    server: str
    connections: int
    requests: int
    requests_per_second: float
    p50: float
    p99: float
    cpu: float
    rss: float
    errors: int


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of processes (proc(5), /proc/PID/stat, fields 14 and 15)."""
    fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return sum(int(field[11]) + int(field[12]) for field in fields) / _TICKS


def peak_rss(pids: Sequence[int]) -> float:
    """Peak resident memory (VmHWM) of processes, in MB."""
    kilobytes = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        kilobytes += next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return kilobytes / 1024


def family(pid: int) -> list[int]:
    """A process and its children (nginx's worker does the work)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(int(child) for child in children)]


def run(server: str, url: str, pid: int, load: Load, *, connections: int, seconds: float) -> Measured:
    """Loads a server for some seconds. Raises CalledProcessError."""
    pids = family(pid)
    before = cpu_seconds(pids)
    command: list[str | Path] = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "-s",
        SCRIPT,
        url,
        "--",
        load.body,
        load.tokens,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    spent = cpu_seconds(pids) - before
    said = json.loads(done.stdout.splitlines()[-1])
    return Measured(
        server=server,
        connections=connections,
        requests=said["requests"],
        requests_per_second=said["requests"] / (said["microseconds"] / 1e6),
        p50=said["p50"] / 1000,
        p99=said["p99"] / 1000,
        cpu=1000 * spent / max(1, said["requests"]),
        rss=peak_rss(pids),
        errors=said["errors"],
    )
