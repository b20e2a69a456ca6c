"""The supervisor: one process in the foreground that starts the others, keeps them, and takes them with it.

    with only_one(state):
        api = listen("127.0.0.1", 8000, "GUILDER_API_PORT")
        await supervise([Program("api", [python, "-m", …], sockets=[api], copies=2)], state=state)

Guarantees.

    R1  A child never outlives the supervisor, whatever ends it: the kernel kills the child with its parent.
    R2  A child that dies is started again, later each time; one that dies before it was ever ready ends the start.
    R3  Sockets are opened here and outlive the children: connections wait while a child is started again.
    R4  One supervisor per state folder.
    R5  PostgreSQL is not a child: it is stopped after all others at a clean end, and survives anything else.

What a child finds.  SUPERVISOR_SOCKETS: descriptors of listening sockets (`inherited_sockets`).  SUPERVISOR_READY:
a descriptor to write a byte to when it serves (`tell_ready`).  SUPERVISOR_DATABASE: a descriptor that ends when PostgreSQL serves
(`wait_for_database`): the children load while it starts.  PROMETHEUS_MULTIPROC_DIR.  Its output goes to
`<state>/logs/<name>.log`, of which one former file is kept.
"""

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from guilder.platform.embedded import Server

Say = Callable[[str], object]

READY_WITHIN_S = 60.0
GRACE_S = 10.0
PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0  # before a restart: doubled each time, back to the first after a quiet while
LOG_BYTES = 20_000_000
LAST_LINES = 20
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)  # loaded before any fork


class RuntimeFailure(Exception):
    """The processes cannot run; the message says why and what to do."""


@dataclass(frozen=True)
class Program:
    """Something to keep running: `copies` processes that share the listening sockets.

    Ready means: wrote to SUPERVISOR_READY, or, if `probe` is a path, answers 2xx to GET on its first socket.
    """

    name: str
    argv: Sequence[str]
    sockets: Sequence[socket.socket] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    copies: int = 1
    probe: str = ""


@dataclass
class Child:
    """One process of a program, over all its lives."""

    name: str
    program: Program
    log: Path
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    restarts: int = 0
    log_start: int = 0


# --- for the children ------------------------------------------------------------------------------------------------


def inherited_sockets(environ: Mapping[str, str] = os.environ) -> list[socket.socket]:
    """Return the listening sockets that the supervisor passed, in the program's order."""
    return [socket.socket(fileno=int(fd)) for fd in environ.get("SUPERVISOR_SOCKETS", "").split(",") if fd]


def wait_for_database() -> None:
    """Wait until PostgreSQL serves.  Without a supervisor it does."""
    if fd := os.environ.pop("SUPERVISOR_DATABASE", ""):
        os.read(int(fd), 1)
        os.close(int(fd))


def tell_ready() -> None:
    """Tell the supervisor that this process serves.  Without a supervisor nothing happens."""
    if fd := os.environ.pop("SUPERVISOR_READY", ""):
        os.write(int(fd), b"1")
        os.close(int(fd))


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel end this process with its parent, by signal `number`; at once if that is gone already.

    As `preexec_fn=partial(die_with, os.getpid())` it binds any program: the wish survives exec.
    """
    _libc.prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)


# --- before the start ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def only_one(state: Path) -> Iterator[None]:
    """Hold the state folder (R4).  Raises RuntimeFailure if another supervisor does."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise RuntimeFailure(
                f"Guilder already runs on {state} (pid {lock.read().strip() or 'unknown'})."
                " Stop that one, or set GUILDER_STATE to another folder."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def is_held(state: Path) -> bool:
    """Whether a supervisor runs on this state folder: asked of the kernel, which knows who was killed."""
    try:
        with (state / "up.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except OSError as error:
        return isinstance(error, BlockingIOError)


def listen(host: str, port: int, setting: str = "") -> socket.socket:
    """Open a listening socket; port 0 takes a free one.  Raises RuntimeFailure, naming who holds the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        hint = f" Set {setting} to another one." if setting else ""
        if error.errno == errno.EADDRINUSE:
            raise RuntimeFailure(f"Port {port} on {host} is taken{_holder(port)}.{hint}") from None
        raise RuntimeFailure(f"Port {port} on {host} cannot be opened: {error.strerror}.{hint}") from None


def _holder(port: int) -> str:
    """Name the process that listens on a port, as far as /proc shows it to this user."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
            inodes |= {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}
    for folder in Path("/proc").iterdir():
        if inodes and folder.name.isdigit():
            with contextlib.suppress(OSError):
                if any(str(fd.readlink()) in inodes for fd in (folder / "fd").iterdir()):
                    argv = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    return f" by process {folder.name} ({argv[:100]})"
    return ""


# --- running ---------------------------------------------------------------------------------------------------------


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal is gone, which is often why the run ends
        sys.stderr.write(line + "\n")


async def supervise(
    programs: Sequence[Program],
    *,
    state: Path,
    database: Callable[[], Server] | None = None,
    metrics: socket.socket | None = None,
    on_ready: Callable[[], Awaitable[None]] | None = None,
    stop: asyncio.Event | None = None,
    grace_s: float = GRACE_S,
    say: Say = _say,
) -> None:
    """Run the programs until SIGINT, SIGTERM, SIGHUP or `stop`, then end them: by force after the grace.

    `database` starts or adopts PostgreSQL; it is called while the children load, and whenever the server died.
    `metrics` is a listening socket for /metrics (the sum of all processes) and /health.
    Raises RuntimeFailure if a program dies before it was ever ready.
    """
    stop = stop or asyncio.Event()
    run = _Run(programs, state, say)
    with _signals(stop):
        tasks = [asyncio.create_task(run.keep(child)) for child in run.children]
        tasks.append(asyncio.create_task(run.rotate_logs()))
        tasks.append(asyncio.create_task(run.keep_database(database)))
        if metrics:
            tasks.append(asyncio.create_task(run.serve_metrics(metrics)))
        tasks.append(asyncio.create_task(run.announce(on_ready)))
        stopped = asyncio.create_task(stop.wait())
        try:
            while not stopped.done():
                done, _ = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
                for task in [t for t in tasks if t in done]:
                    task.result()  # a failure ends the run
                    tasks.remove(task)
        finally:
            stopped.cancel()
            await run.end(tasks, grace_s)
            if run.starting:
                await asyncio.wait([run.starting])
                if not run.starting.exception():  # else it has ended the run, and is told by that
                    say("PostgreSQL stops")
                    await asyncio.to_thread(run.starting.result().stop)


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class _Run:
    """The state of one run."""

    def __init__(self, programs: Iterable[Program], state: Path, say: Say) -> None:
        self.say, self.logs, self.metrics = say, state / "logs", state / "metrics"
        self.stopping = False
        self.starting: asyncio.Task[Server] | None = None  # of PostgreSQL; carried through whatever is called off
        self.waits, self.goes = os.pipe2(os.O_CLOEXEC)  # the second is closed when PostgreSQL serves
        shutil.rmtree(self.metrics, ignore_errors=True)  # files of the dead would be counted for ever
        for folder in (self.logs, self.metrics):
            folder.mkdir(parents=True, exist_ok=True)
        self.children: list[Child] = []
        for program in programs:
            for number in range(1, program.copies + 1):
                name = program.name if program.copies == 1 else f"{program.name}-{number}"
                self.children.append(Child(name, program, self.logs / f"{name}.log"))
        self.serves = asyncio.Event()  # PostgreSQL, or whoever stands in for it
        self.ready = asyncio.Semaphore(0)

    async def keep(self, child: Child) -> None:
        """Start a child, and again whenever it ends, until the run ends (R2)."""
        pause_s = PAUSE_S
        while not self.stopping:
            begun = time.monotonic()
            process, ready_fd = self._spawn(child)
            ended = asyncio.create_task(_ended(process.pid))
            try:
                if await self._became_ready(child, process, ready_fd, ended):
                    child.ready = True
                    self.say(f"{child.name} is ready (pid {process.pid}, {time.monotonic() - begun:.1f} s)")
                    if not child.restarts:
                        self.ready.release()
                await ended
            finally:
                ended.cancel()
            code = process.wait()
            was_ready, child.ready = child.ready, False
            if self.stopping:
                return
            self._forget_metrics(process.pid)
            lived_s = time.monotonic() - begun
            what = f"{child.name} {_ending(code)} after {lived_s:.0f} s. The end of {child.log}:\n{_tail(child)}"
            if not was_ready and not child.restarts:
                raise RuntimeFailure(what)
            child.restarts += 1
            pause_s = PAUSE_S if lived_s > 2 * LONGEST_PAUSE_S else min(2 * pause_s, LONGEST_PAUSE_S)
            self.say(f"{what}\n{child.name} starts again in {pause_s:.0f} s")
            await asyncio.sleep(pause_s)

    def _spawn(self, child: Child) -> tuple[subprocess.Popen[bytes], int]:
        """Start the process; return it, and the descriptor on which it says that it is ready."""
        program = child.program
        reads, writes = os.pipe2(os.O_CLOEXEC)
        fds = [opened.fileno() for opened in program.sockets]
        own = {
            "SUPERVISOR_SOCKETS": ",".join(map(str, fds)),
            "SUPERVISOR_READY": str(writes),
            "SUPERVISOR_DATABASE": str(self.waits),
            "PROMETHEUS_MULTIPROC_DIR": str(self.metrics),
        }
        with child.log.open("ab") as log:
            child.log_start = log.tell()
            child.process = process = subprocess.Popen(
                list(program.argv),
                env={**os.environ, **program.env, **own},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[*fds, writes, self.waits],
                process_group=0,  # Ctrl-C is for the supervisor, who ends them in order
                preexec_fn=partial(die_with, os.getpid()),  # noqa: PLW1509  two system calls; it takes no lock
            )
        os.close(writes)
        return process, reads

    async def _became_ready(
        self, child: Child, process: subprocess.Popen[bytes], fd: int, ended: asyncio.Task[None]
    ) -> bool:
        probe = child.program.probe
        ask = _answers(child.program.sockets[0].getsockname(), probe) if probe else _written(fd)
        asked = asyncio.create_task(ask)
        try:
            await asyncio.wait({asked, ended}, timeout=READY_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
            if asked.done() and asked.result():
                return True
            if not ended.done():
                why = "ended before it was ready" if asked.done() else f"was not ready after {READY_WITHIN_S:.0f} s"
                self.say(f"{child.name} {why}")
                process.kill()
            return False
        finally:
            asked.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asked
            os.close(fd)

    async def keep_database(self, start: Callable[[], Server] | None) -> None:
        """Start PostgreSQL, if it is ours, and again whenever it died."""
        server = await self._started(start) if start else None
        os.close(self.goes)
        self.serves.set()
        while start and server:
            await _ended(server.pid)
            self.say("PostgreSQL died; it starts again")
            server = await self._started(start)
            self.say(f"PostgreSQL is back (pid {server.pid})")

    async def _started(self, start: Callable[[], Server]) -> Server:
        self.starting = asyncio.create_task(asyncio.to_thread(start))
        return await asyncio.shield(self.starting)

    async def announce(self, on_ready: Callable[[], Awaitable[None]] | None) -> None:
        await self.serves.wait()
        for _ in self.children:
            await self.ready.acquire()
        if on_ready:
            await on_ready()

    async def end(self, tasks: Iterable[asyncio.Task[None]], grace_s: float) -> None:
        """End every child: politely, then not."""
        self.stopping = True
        running = {
            asyncio.create_task(_ended(child.process.pid)): (child.name, child.process)
            for child in self.children
            if child.process and child.process.poll() is None
        }
        for _, process in running.values():
            process.terminate()
        _, late = await asyncio.wait(running, timeout=grace_s) if running else ((), ())
        for wait in late:
            name, process = running[wait]
            self.say(f"{name} did not stop within {grace_s:g} s and is killed")
            process.kill()
        await asyncio.gather(*running)
        for _, process in running.values():
            process.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def rotate_logs(self) -> None:
        """Keep each log below its size: copied aside and emptied, since the children hold it open to append."""
        while True:
            await asyncio.sleep(10)
            for child in self.children:
                if child.log.stat().st_size > LOG_BYTES:
                    await asyncio.to_thread(shutil.copyfile, child.log, child.log.with_suffix(".log.1"))
                    os.truncate(child.log, 0)
                    child.log_start = 0

    # --- what is told to the outside ---

    async def serve_metrics(self, listening: socket.socket) -> None:
        server = await asyncio.start_server(self._answer, sock=listening, limit=8192)
        async with server:
            await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one GET and close: all that a scraper needs of HTTP."""
        try:
            async with asyncio.timeout(5):
                request = await reader.readuntil(b"\r\n\r\n")
            match request.split(b" ", 2)[:2]:
                case [b"GET", b"/metrics"]:
                    status, kind = "200 OK", "text/plain; version=0.0.4; charset=utf-8"
                    body = await asyncio.to_thread(self._metrics_page)
                case [b"GET", b"/health"]:
                    status = "200 OK" if all(child.ready for child in self.children) else "503 Service Unavailable"
                    kind, body = "application/json", self._health_page()
                case _:
                    status, kind, body = "404 Not Found", "text/plain", b"Here are /metrics and /health.\n"
            head = (
                f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a stranger on the port is no concern of the run
        finally:
            writer.close()

    def _health_page(self) -> bytes:
        programs = {
            child.name: {"pid": child.process and child.process.pid, "ready": child.ready, "restarts": child.restarts}
            for child in self.children
        }
        return json.dumps({"ready": all(child.ready for child in self.children), "programs": programs}).encode() + b"\n"

    def _metrics_page(self) -> bytes:
        from prometheus_client import CollectorRegistry, generate_latest  # loaded by the first scrape, if any
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(self.metrics))
        lines = ["# TYPE guilder_process_ready gauge"]
        lines += [f'guilder_process_ready{{process="{child.name}"}} {int(child.ready)}' for child in self.children]
        lines += ["# TYPE guilder_process_restarts_total counter"]
        lines += [
            f'guilder_process_restarts_total{{process="{child.name}"}} {child.restarts}' for child in self.children
        ]
        return generate_latest(registry) + ("\n".join(lines) + "\n").encode()

    def _forget_metrics(self, pid: int) -> None:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid, str(self.metrics))


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    seen = asyncio.Event()
    loop.add_reader(fd, seen.set)
    try:
        await seen.wait()
    finally:
        loop.remove_reader(fd)


async def _ended(pid: int) -> None:
    """Wait for the end of a process, a child or not."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await _readable(fd)
    finally:
        os.close(fd)


async def _written(fd: int) -> bool:
    """Wait for the byte on a ready pipe; False if it was closed without one."""
    await _readable(fd)
    return bool(os.read(fd, 1))


async def _answers(address: tuple[str, int], path: str) -> bool:
    """Wait until GET answers 2xx.  The socket is open already, so the answer comes when the child accepts."""
    while True:
        with contextlib.suppress(ConnectionError):
            reader, writer = await asyncio.open_connection(*address[:2])
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {address[0]}\r\nConnection: close\r\n\r\n".encode())
                if (await reader.readline()).partition(b" ")[2].startswith(b"2"):
                    return True
            finally:
                writer.close()
        await asyncio.sleep(0.05)


def _ending(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _tail(child: Child) -> str:
    """The last lines of what this life of the child wrote."""
    with child.log.open("rb") as log:
        log.seek(max(child.log_start, log.seek(0, os.SEEK_END) - 16_384))
        lines = log.read().decode(errors="replace").splitlines()
    return "\n".join("    " + line for line in lines[-LAST_LINES:]) or "    (it wrote nothing)"
