"""The scene: an installation as `up` runs it, merchants with a contract at the simulated channel, a shop and the traffic.

    with scene.opened(state, merchants=2) as stage:
        act = stage.play("warm", Plan(seconds=5, callers=32))

Everything is a process of its own on this machine.  The installation has the settings of a first start: PostgreSQL with fsync
and synchronous_commit on, as many API processes as `up` starts here, both environments.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from guilder.app import environments, installation, provision
from guilder.app.installation import Installation
from guilder.app.provision import Demo
from guilder.core import clock, ids
from guilder.platform import cluster, db
from stand.gauges import Cast
from stand.traffic import Plan, Played, Setting

T = TypeVar("T")
BEGUN = time.monotonic()
FOLDER = Path(__file__).parents[1]
OTHERS = ("simulators", "shop", "traffic")  # whose CPU is not Guilder's


@dataclass(frozen=True)
class Act:
    """A plan, what came of it, and what it cost."""

    plan: Plan
    played: Played
    cpu_ms: dict[str, float]  # per payment done
    batch: float  # mean size of the batches that were committed durably
    audit: (
        float  # share of the machine that the auditor took, at most: its time, waits included, over that of all cores
    )

    @property
    def own_cpu_ms(self) -> float:
        return sum(ms for name, ms in self.cpu_ms.items() if name not in OTHERS)


class Peer:
    """A process of the stand: told and answering in lines of JSON."""

    def __init__(self, module: str, *fds: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, fds)],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=fds,
        )

    def hear(self, type: type[T]) -> T:
        """Its next line.  RuntimeError if it ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait()}")
        return msgspec.json.decode(line, type=type)

    def tell(self, what: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(what) + b"\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Close its input, which it takes as the end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Stage:
    """Where it is played."""

    it: Installation
    merchants: list[Demo]
    shop: Peer
    traffic: Peer
    cast: Cast
    settings: dict[str, str]  # of PostgreSQL
    acts: list[Act] = field(default_factory=list)
    began: datetime = field(default_factory=clock.now)

    @property
    def books(self) -> list[UUID]:
        """The merchants' books."""
        return [book for m in self.merchants if (book := ids.read("acct", m.merchant)) is not None]

    def play(self, name: str, plan: Plan) -> Act:
        """Carry out a plan.  The cost is of everything from its beginning until all it began is whole."""
        say(f"{name} …")
        batches, cpu, audit, begun = self._batches(), self.cast.cpu_s(), self._audited_s(), time.monotonic()
        self.traffic.tell(plan)
        played = self.traffic.hear(Played)
        audit = (self._audited_s() - audit) / (time.monotonic() - begun) / (os.cpu_count() or 1)
        spent = {who: s - cpu[who] for who, s in self.cast.cpu_s().items()}
        items, count = (now - then for now, then in zip(self._batches(), batches, strict=True))
        per_payment = {who: s * 1000 / max(1, played.done) for who, s in spent.items()}
        act = Act(plan, played, per_payment, items / max(1.0, count), audit)
        self.acts.append(act)
        told = f"{name}: {played.rate:.0f}/s, {act.own_cpu_ms:.2f} ms of CPU each"
        say(told + (f"; refused {played.failed}, lost {played.lost}" if played.failed or played.lost else ""))
        return act

    def _batches(self) -> tuple[float, float]:
        """Items and batches of the durable lanes so far."""
        kinds = ("guilder_batch_items_sum", "guilder_batch_items_count")
        items, count = (sum(n for labels, n in self._counted(kind) if 'lane="payments.' in labels) for kind in kinds)
        return items, count

    def _audited_s(self) -> float:
        """Seconds that audits took so far."""
        return sum(n for _, n in self._counted("guilder_audit_seconds_total"))

    def _counted(self, metric: str) -> Iterator[tuple[str, float]]:
        for line in get(f"{self.it.at.metrics}/metrics").decode().splitlines():
            name, _, rest = line.partition("{")
            if name == metric:
                labels, _, value = rest.rpartition(" ")
                yield labels, float(value)


@contextmanager
def opened(
    state: Path | None, *, merchants: int, channel: bool = False, environ: dict[str, str] | None = None
) -> Iterator[Stage]:
    """The scene, for the length of a block.  With `state` the installation there is used (made if missing) and kept; else it is
    a temporary one.  `channel`: the traffic also gets a contract of its own, to ask the channel directly."""
    with ExitStack() as after:
        folder = state or Path(after.enter_context(tempfile.TemporaryDirectory(prefix="guilder-bench-")))
        say("starting an installation …")
        wanted = {"GUILDER_ENVIRONMENTS": "test,live"} | (environ or {})
        (folder / "up.json").unlink(missing_ok=True)  # of an earlier run
        it = after.enter_context(installation.running(folder, keep=state is not None, **wanted))
        made = asyncio.run(_make_merchants(it, merchants))
        reads, writes = os.pipe()
        shop, traffic = Peer("stand.shop", writes), Peer("stand.traffic", reads)
        for peer in (shop, traffic):
            after.callback(peer.end)
        for fd in (reads, writes):
            os.close(fd)
        address = f"http://127.0.0.1:{shop.hear(dict[str, int])['port']}"
        shop.tell({"secrets": [_subscribe(it, m.secret_key, f"{address}/{n}") for n, m in enumerate(made)]})
        shop.hear(dict[str, int])
        setting = Setting(it.at.api, [m.secret_key for m in made])
        if channel:
            setting.channel = post(f"{it.at.simulators}/sim/accounts", {"channel": "wechatpay"})["config"]
            setting.simulators, setting.callback = it.at.simulators, f"{address}/callback"
        traffic.tell(setting)
        settings = asyncio.run(_database_settings(it))
        yield Stage(it, made, shop, traffic, _cast(it, shop, traffic), settings)


async def _make_merchants(it: Installation, count: int) -> list[Demo]:
    async with environments.open_world(it.settings()) as world:
        return [await provision.make_merchant(world, f"Shop {n}") for n in range(count)]


async def _database_settings(it: Installation) -> dict[str, str]:
    async with connected(it) as connection:
        names = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "wal_level")
        return {name: await connection.fetchval(f"SHOW {name}") for name in names}


def connected(it: Installation) -> Any:
    """A plain connection to the environment `test` (an async context manager)."""
    return db.connected(environments.dsn(it.settings(), environments.database_of("test")))


def _subscribe(it: Installation, key: str, url: str) -> str:
    """An endpoint for what the shop wants to hear; its secret."""
    form = f"url={url}&enabled_events[0]=payment_intent.succeeded".encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-www-form-urlencoded"}
    asked = urllib.request.Request(f"{it.at.api}/v1/webhook_endpoints", form, headers)
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return str(json.loads(answer.read())["secret"])


def _cast(it: Installation, shop: Peer, traffic: Peer) -> Cast:
    programs = json.loads(get(f"{it.at.metrics}/health"))["programs"]
    pids = {"supervisor": it.process.pid} | {name: program["pid"] for name, program in programs.items()}
    pids |= {"shop": shop.process.pid, "traffic": traffic.process.pid}
    postmaster = (data_folder(it) / "postmaster.pid").read_text().split("\n", 1)[0]
    return Cast(pids, int(postmaster))


def data_folder(it: Installation) -> Path:
    """Where PostgreSQL's data lies."""
    return cluster.read(it.state.absolute()).data


def get(url: str) -> bytes:
    """GET."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return bytes(answer.read())


def post(url: str, body: object) -> Any:
    """POST as JSON."""
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.loads(answer.read())


def say(line: str) -> None:
    """Progress, beside the result."""
    sys.stderr.write(f"  {time.monotonic() - BEGUN:5.1f} s  {line}\n")
    sys.stderr.flush()


def sum_of(acts: Sequence[Act]) -> tuple[int, int]:
    """How many payments, and how many units of money, were done."""
    return sum(a.played.done for a in acts), sum(a.played.units for a in acts)
