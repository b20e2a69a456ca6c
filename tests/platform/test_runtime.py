"""The supervisor, with real processes: deaths of either side, ports, logs, metrics."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from guilder.platform import embedded
from guilder.platform.runtime import Program, RuntimeFailure, is_held, listen, only_one, supervise

pytestmark = pytest.mark.anyio

SERVES = """
import os, sys, time
from guilder.platform.runtime import inherited_sockets, tell_ready
[listening] = inherited_sockets()
print("serving", flush=True)
tell_ready()
while True:
    connection, _ = listening.accept()
    asked = connection.recv(1000)
    if asked.startswith(b"die"):
        print("told to die", flush=True)
        sys.exit(3)
    connection.sendall(str(os.getpid()).encode())
    connection.close()
"""
SITS = "import os, signal; os.write(int(os.environ['SUPERVISOR_READY']), b'1'); signal.pause()"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


class Said(list[str]):
    """What the supervisor said, and a way to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.more = asyncio.Event()

    def __call__(self, line: str) -> None:
        self.append(line)
        self.more.set()

    async def wait_for(self, words: str, times: int = 1) -> str:
        async with asyncio.timeout(30):
            while len(found := [line for line in self if words in line]) < times:
                self.more.clear()
                await self.more.wait()
        return found[-1]


@asynccontextmanager
async def running(state: Path, *programs: Program, **options: object) -> AsyncIterator[Said]:
    said, stop = Said(), asyncio.Event()
    task = asyncio.create_task(supervise(programs, state=state, stop=stop, say=said, **options))
    try:
        yield said
    finally:
        stop.set()
        await task


async def ask(listening: socket.socket, what: bytes = b"who") -> bytes:
    reader, writer = await asyncio.open_connection(*listening.getsockname()[:2])
    writer.write(what)
    try:
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


def get(listening: socket.socket, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen("http://{}:{}{}".format(*listening.getsockname(), path), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def alive(pid: int) -> bool:
    return bool(embedded._argv(pid)[0])


async def test_R2_R3_a_child_that_dies_starts_again_and_connections_wait(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as port:
        async with running(tmp_path, Program("api", python(SERVES), sockets=[port])) as said:
            first = int(await ask(port))
            assert await ask(port, b"die") == b""
            second = int(await ask(port))  # queued while nobody serves
            assert second != first
            crash = await said.wait_for("starts again")
    assert "api ended with code 3" in crash
    assert "told to die" in crash
    assert not alive(second)


async def test_R2_one_that_dies_before_it_was_ready_ends_the_start(tmp_path: Path) -> None:
    sits = Program("other", python("import os, signal; print(os.getpid(), flush=True); " + SITS))
    broken = Program("api", python("import sys; print('no settings', flush=True); sys.exit(2)"))
    with pytest.raises(RuntimeFailure, match=r"(?s)api ended with code 2.*no settings"):
        await supervise([sits, broken], state=tmp_path)
    started = (tmp_path / "logs" / "other.log").read_text().split()
    assert not any(alive(int(pid)) for pid in started)


async def test_R3_copies_share_one_socket(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as port:
        async with running(tmp_path, Program("api", python(SERVES), sockets=[port], copies=2)) as said:
            await said.wait_for("api-1 is ready")
            await said.wait_for("api-2 is ready")
            assert int(await ask(port))
    assert (tmp_path / "logs" / "api-2.log").read_text() == "serving\n"


async def test_a_probe_stands_in_for_the_ready_pipe(tmp_path: Path) -> None:
    code = """
import http.server, os, socket
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 0), Answer, bind_and_activate=False)
server.socket = socket.socket(fileno=int(os.environ["SUPERVISOR_SOCKETS"]))
server.serve_forever()
"""
    with listen("127.0.0.1", 0) as port:
        async with running(tmp_path, Program("shop", python(code), sockets=[port], probe="/")) as said:
            await said.wait_for("shop is ready")


async def test_a_stubborn_child_is_killed_after_the_grace(tmp_path: Path) -> None:
    stubborn = Program(
        "deaf", python("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); import os;" + SITS)
    )
    async with running(tmp_path, stubborn, grace_s=0.2) as said:
        await said.wait_for("deaf is ready")
    assert said[-1] == "deaf did not stop within 0.2 s and is killed"


async def test_metrics_are_the_sum_of_all_processes(tmp_path: Path) -> None:
    counts = "from prometheus_client import Counter; Counter('payments', 'payments').inc(2);"
    with listen("127.0.0.1", 0) as port:
        async with running(tmp_path, Program("worker", python(counts + SITS), copies=2), metrics=port) as said:
            await said.wait_for("worker-1 is ready")
            await said.wait_for("worker-2 is ready")
            status, page = await asyncio.to_thread(get, port, "/metrics")
            assert status == 200
            assert b"\npayments_total 4.0\n" in page
            assert b'\nguilder_process_ready{process="worker-2"} 1\n' in page
            status, page = await asyncio.to_thread(get, port, "/health")
            assert (status, json.loads(page)["programs"]["worker-1"]["ready"]) == (200, True)
            assert (await asyncio.to_thread(get, port, "/x"))[0] == 404


async def test_ready_is_told_once_all_are(tmp_path: Path) -> None:
    told = asyncio.Event()

    async def on_ready() -> None:
        told.set()

    async with running(tmp_path, Program("a", python(SITS)), Program("b", python(SITS)), on_ready=on_ready):
        async with asyncio.timeout(30):
            await told.wait()


# --- the whole of it as a process of its own -------------------------------------------------------------------------

WHOLE = """
import asyncio, sys
from functools import partial
from pathlib import Path
from guilder.platform import embedded
from guilder.platform.runtime import Program, only_one, supervise
state = Path(sys.argv[1])
sits = Program("sits", [sys.executable, "-c", sys.argv[2]])
start = partial(embedded.start, state, settings={"fsync": "off"}, databases=[], say=lambda _: None)
with only_one(state):
    asyncio.run(supervise([sits], state=state, database=start, say=lambda line: print(line, flush=True)))
"""


class Whole:
    """A supervisor with a PostgreSQL and one child."""

    def __init__(self, state: Path) -> None:
        waits = "import os; from guilder.platform.runtime import wait_for_database; wait_for_database(); "
        argv = [*python(WHOLE), str(state), waits + "print(os.getpid(), flush=True); " + SITS]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.line("sits is ready")
        self.child = int((state / "logs" / "sits.log").read_text().split()[-1])
        cluster = embedded.place.read(state)
        self.postgres: Callable[[], int | None] = lambda: embedded._postmaster(cluster)

    def line(self, words: str) -> str:
        assert self.process.stdout
        read: list[str] = []
        for line in self.process.stdout:
            read.append(line)
            if words in line:
                return line
        raise AssertionError("".join(read))

    def finish(self, number: signal.Signals) -> int:
        assert self.process.stdout
        self.process.send_signal(number)
        self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(30)


def ended(pid: int) -> bool:
    try:
        with embedded._process(pid) as fd:
            return embedded._exited(fd, 10)
    except ProcessLookupError:
        return True


def test_R1_R5_children_die_with_a_killed_supervisor_and_postgresql_is_adopted(tmp_path: Path) -> None:
    first = Whole(tmp_path)
    server = first.postgres()
    assert first.finish(signal.SIGKILL) == -signal.SIGKILL
    assert ended(first.child)
    assert first.postgres() == server

    second = Whole(tmp_path)  # the lock of the dead is free, its PostgreSQL is taken over
    assert second.postgres() == server
    assert second.finish(signal.SIGTERM) == 0
    assert ended(second.child)
    assert second.postgres() is None
    embedded.destroy(tmp_path)


def test_R5_a_postgresql_that_dies_is_started_again(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    server = whole.postgres()
    assert server
    os.kill(server, signal.SIGKILL)
    whole.line("PostgreSQL died")
    assert ended(server)
    whole.line("PostgreSQL is back")
    assert whole.postgres() not in {None, server}
    assert alive(whole.child)
    assert whole.finish(signal.SIGINT) == 0
    assert whole.postgres() is None
    embedded.destroy(tmp_path)


def test_R4_a_second_supervisor_is_told_of_the_first(tmp_path: Path) -> None:
    refused = pytest.raises(RuntimeFailure, match=rf"already runs on .* \(pid {os.getpid()}\)")
    assert not is_held(tmp_path)
    with only_one(tmp_path), refused, only_one(tmp_path):
        pass
    with only_one(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
    with only_one(tmp_path):
        pass


def test_a_taken_port_names_the_process_that_has_it_and_the_setting() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeFailure) as failure:
            listen("127.0.0.1", port, "GUILDER_API_PORT")
    assert f"Port {port} on 127.0.0.1 is taken by process {os.getpid()} (" in str(failure.value)
    assert str(failure.value).endswith("Set GUILDER_API_PORT to another one.")


def test_an_address_that_is_not_ours_is_said_plainly() -> None:
    with pytest.raises(RuntimeFailure, match=r"Port 0 on 192\.0\.2\.1 cannot be opened"):
        listen("192.0.2.1", 0)


def test_the_supervisor_is_light() -> None:
    code = "import sys, guilder.platform.runtime; print(sorted({'starlette', 'asyncpg', 'aiohttp', 'prometheus_client', 'rich'} & set(sys.modules)))"
    assert subprocess.run(python(code), capture_output=True, text=True, check=True).stdout == "[]\n"
