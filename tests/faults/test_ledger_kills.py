"""`kill -9` of whoever posts and of PostgreSQL, in the middle of posting: what was acknowledged is there, what is unknown resolves by key.

PostgreSQL is durable, the schema is the real one, and six writers post to five books.  Some deaths come at any moment, others right before
COMMIT, while it is awaited, and between its answer and the note of it.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from kill_oracle import in_flight, judge
from poster import POINTS, Notes

from guilder.app import domains
from guilder.platform import embedded, schema
from guilder.platform.db import Database
from place import Place

pytestmark = [pytest.mark.alone, pytest.mark.timeout(600)]
TESTS = Path(__file__).parents[1]
NAME = "guilder_test"
AT_RANDOM = "at random"
EACH = [
    *product(("poster", "PostgreSQL"), (AT_RANDOM, AT_RANDOM, *POINTS)),
    ("both", AT_RANDOM),
    ("both", "post.committing"),
]
KILLS = EACH * 4  # 20 of the poster, 20 of PostgreSQL, 8 of both
PROGRESS = 8  # so many batches are answered between two deaths
PATIENCE_S = 60


@dataclass(frozen=True)
class Kill:
    """Who died where, and when."""

    who: str
    where: str
    run: int
    at: float


class Stage:
    """A PostgreSQL, a poster, and how they die."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed, self.rng = folder, seed, random.Random(seed)
        self.failpoints = folder / "failpoints"
        self.failpoints.mkdir()
        (folder / "notes").touch()
        self.notes, self.run, self.kills = Notes(folder / "notes"), 0, list[Kill]()
        self.start_server()
        sql = schema.script(domains.SCHEMAS)
        asyncio.run(schema.apply(self.server.dsn(NAME, "owner"), sql))
        self.start_poster()

    def start_server(self) -> None:
        """As the supervisor does, whether it is the first time or after a death."""
        self.server = embedded.start(self.folder / "state", databases=[NAME], say=lambda _: None)

    def start_poster(self) -> None:
        """Unknown commits are resolved by their mark in every other life, by key alone in the rest."""
        self.run += 1
        orders = {
            "dsn": self.server.dsn(NAME, "app"),
            "notes": str(self.notes.path),
            "seed": self.seed,
            "run": self.run,
            "resolve_s": 30 * (self.run % 2),
        }
        path = os.pathsep.join(str(TESTS / part) for part in ("", "faults", "ledger"))
        environ = os.environ | {"PYTHONPATH": path, "GUILDER_FAILPOINTS": str(self.failpoints)}
        with (self.folder / "log").open("a") as log:
            argv = [sys.executable, "-m", "poster"]
            self.poster = subprocess.Popen(argv, env=environ, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True)
        assert self.poster.stdin is not None
        with self.poster.stdin as stdin:
            json.dump(orders, stdin)

    def progress(self) -> None:
        """Wait until more batches were answered."""
        known, deadline = len(self.notes.look()), time.monotonic() + PATIENCE_S
        while sum(note.what == "done" for note in self.notes.look()[known:]) < PROGRESS:
            assert self.poster.poll() is None, self.log()
            assert time.monotonic() < deadline, f"nothing gets on: {self.log()}"
            time.sleep(0.01)

    def log(self) -> str:
        """The end of what the posters complained of."""
        return (self.folder / "log").read_text()[-5000:]

    def kill(self, who: str, where: str) -> None:
        """Let them post, then end one of them or both, and bring back whoever died; a poster survives PostgreSQL."""
        self.progress()
        if where == AT_RANDOM:
            time.sleep(self.rng.uniform(0.005, 0.3))
            at = time.time()
        else:
            at = self.fire(where, "kill" if who == "poster" else f"kill {self.server.pid}")
        for name, pid in (("PostgreSQL", self.server.pid), ("poster", self.poster.pid)):
            if who in (name, "both"):
                with suppress(ProcessLookupError):  # a failpoint may have been quicker
                    os.kill(pid, signal.SIGKILL)
        self.kills.append(Kill(who, where, self.run, at))
        if who != "poster":
            self.bury_server()
            self.start_server()
        if who != "PostgreSQL":
            assert self.poster.wait(PATIENCE_S) == -signal.SIGKILL
            self.start_poster()

    def fire(self, point: str, action: str) -> float:
        """Arm a failpoint; when it fired."""
        fired, new = self.failpoints / f"{point}.fired", self.failpoints / "new"
        fired.unlink(missing_ok=True)
        new.write_text(action)
        new.rename(self.failpoints / point)
        deadline = time.monotonic() + PATIENCE_S
        while not fired.exists() or not fired.read_text().endswith("\n"):
            assert time.monotonic() < deadline, f"{point} was not reached"
            time.sleep(0.001)
        return float(fired.read_text().split()[-1])

    def bury_server(self) -> None:
        """Its backends die with it, or find out for themselves that it is gone, in the middle of what they do."""
        if self.rng.random() < 0.5:
            for pid in embedded._children(self.server.cluster):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with suppress(ProcessLookupError), embedded._process(self.server.pid) as fd:
            assert embedded._exited(fd, PATIENCE_S)

    def finish(self) -> None:
        """Let the poster end what it began."""
        self.progress()
        self.poster.send_signal(signal.SIGTERM)
        assert self.poster.wait(PATIENCE_S) == 0, self.log()
        self.notes.look()


@contextmanager
def staged(folder: Path, seed: int) -> Iterator[Stage]:
    """A stage for the length of a test."""
    made = None
    try:
        made = Stage(folder, seed)
        yield made
    finally:
        if made is not None and made.poster.poll() is None:
            made.poster.kill()
            made.poster.wait()
        embedded.destroy(folder / "state")


async def judged(stage: Stage) -> dict[str, int]:
    """What the judge compared."""
    place = Place(stage.server, NAME)
    durable = await place.fetch("SELECT setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit')")
    assert durable == [{"setting": "on"}] * 2
    db = await Database("test", place.dsn()).open()
    try:
        return await judge(db, place, stage.seed, stage.notes.look())
    finally:
        await db.close()


def test_L5_L7_nothing_is_lost_or_doubled_by_killing_the_poster_or_postgresql(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", "1"))
    with staged(tmp_path, seed) as stage:
        for who, where in random.Random(seed).sample(KILLS, len(KILLS)):
            stage.kill(who, where)
        stage.finish()
        counted = asyncio.run(judged(stage))
    notes, kills = stage.notes.every, stage.kills
    flying = [len(in_flight(notes, kill.run, kill.at)) for kill in kills]
    marks = Counter(note.there for note in notes if note.what == "marked")
    print(f"kills: {dict(sorted(Counter(f'{k.who} {k.where}' for k in kills).items()))}")
    print(f"batches in flight at a kill: {sorted(flying)}")
    print(f"batches: {dict(Counter(note.what for note in notes if note.what != 'marked'))}")
    print(f"unknown commits, by mark: {marks[True]} there, {marks[False]} not; journals, by key: {counted}")
    assert sum(count > 0 for count in flying) >= len(kills) - 2, "deaths in the middle of posting"
    assert min(counted["unknown, was there"], counted["unknown, was not there"]) >= 5, "unknown commits of both kinds"
    assert counted.keys() >= {
        "created", "insufficient_funds", "hold_exists", "hold_not_found", "hold_ended", "hold_expired", "exceeds_hold",
        "linked_refused", "exists", "already_refused", "exists_with_different_amount", "exists_with_different_transfers",
    }  # fmt: skip
