"""Gauges: CPU and memory by process, the machine itself, and how fast the unavoidable part of a payment goes alone."""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

TICK = os.sysconf("SC_CLK_TCK")
CORES = len(os.sched_getaffinity(0))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Of values in order; nearest rank.  0.0 if there are none."""
    return ordered[max(0, -(-len(ordered) * percent // 100).__trunc__() - 1)] if ordered else 0.0


class Cast:
    """Who plays: names and the processes that belong to them.  PostgreSQL's come and go below its first one."""

    def __init__(self, pids: Mapping[str, int], postmaster: int) -> None:
        self._pids = dict(pids)
        self._postmaster = postmaster

    @property
    def names(self) -> list[str]:
        return [*self._pids, "postgresql"]

    def cpu_s(self) -> dict[str, float]:
        """User and system time so far, of ended children too."""
        spent = {name: cpu_s(pid) for name, pid in self._pids.items()}
        spent["postgresql"] = sum(cpu_s(pid) for pid in [self._postmaster, *_children(self._postmaster)])
        return spent

    def pss_mb(self, without: Sequence[str] = ()) -> float:
        """Proportional set size of all of them: shared pages are counted once."""
        return sum(mb for name, mb in self.pss_by_name().items() if name not in without)

    def pss_by_name(self) -> dict[str, float]:
        """The same by name, in MB."""
        found = {name: _pss_kb(pid) / 1024 for name, pid in self._pids.items()}
        found["postgresql"] = sum(map(_pss_kb, [self._postmaster, *_children(self._postmaster)])) / 1024
        return found

    def pid(self, name: str) -> int:
        """The process of a name."""
        return self._pids[name]


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, and of its children that ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it ended: its time is in its parent's
    return sum(map(int, fields[11:15])) / TICK


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def machine() -> dict[str, object]:
    """What it runs on, and how busy that was before."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {
        "cpu": model,
        "cores": CORES,
        "memory_gb": round(memory_gb, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def unavoidable_per_s(folder: Path, batch: int, seconds: float) -> float:
    """Payments a second if there were nothing but what nobody can avoid: one process per core, each with its own key, signs
    three times (RSA-2048: our request, the channel's reply, its callback), verifies three times, and makes one fsync per
    `batch` payments."""
    with ProcessPoolExecutor(CORES) as processes:
        files = [str(folder / f"unavoidable-{n}") for n in range(CORES)]
        return sum(processes.map(_unavoidable, files, [batch] * CORES, [seconds] * CORES))


def _unavoidable(file: str, batch: int, seconds: float) -> float:
    key = rsa.generate_private_key(65537, 2048)
    public, padding, digest, message = key.public_key(), PKCS1v15(), SHA256(), b"x" * 400
    handle = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    done, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        for _ in range(batch):
            for _ in range(3):
                public.verify(key.sign(message, padding, digest), message, padding, digest)
        os.pwrite(handle, message * batch, done * len(message))
        os.fdatasync(handle)
        done += batch
    os.close(handle)
    Path(file).unlink()
    return done / spent
