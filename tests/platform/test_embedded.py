"""The embedded PostgreSQL, tried by what happens to it: deaths, moves, copies, other users, planted folders."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from guilder.platform import cluster as place
from guilder.platform import embedded
from guilder.platform.embedded import EmbeddedError, Server

pytestmark = pytest.mark.anyio

FAST = {"fsync": "off", "shared_buffers": "16MB"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a space in its name that every user can enter; pytest's own are closed to others."""
    made = Path(tempfile.mkdtemp(prefix="guilder test ", dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    for record in sorted(made.rglob("cluster.json")):
        embedded.destroy(record.parent)
    shutil.rmtree(made)


def start(state: Path, **options: object) -> Server:
    return embedded.start(state, settings=FAST, databases=["guilder_test"], say=lambda _: None, **options)


def kill(pid: int) -> None:
    with embedded._process(pid) as fd:
        os.kill(pid, signal.SIGKILL)
        assert embedded._exited(fd, 10)


async def connect(server: Server, role: embedded.Role, database: str = "guilder_test") -> asyncpg.Connection:
    return await asyncpg.connect(**server.dsn(database, role))


async def remember(server: Server, value: int) -> None:
    owner = await connect(server, "owner")
    await owner.execute("CREATE TABLE IF NOT EXISTS public.mark (value int)")
    await owner.execute("INSERT INTO public.mark VALUES ($1)", value)
    await owner.close()


async def remembered(server: Server) -> list[int]:
    owner = await connect(server, "owner")
    rows = await owner.fetch("SELECT value FROM public.mark ORDER BY value")
    await owner.close()
    return [row["value"] for row in rows]


async def test_E1_the_books_are_found_again_and_never_begun_anew(folder: Path) -> None:
    first = start(folder / "state")
    await remember(first, 1)
    first.stop()
    second = start(folder / "state")
    assert await remembered(second) == [1]
    second.stop()

    home = second.cluster.home
    home.rename(folder / "elsewhere")
    with pytest.raises(EmbeddedError, match="is missing"):
        start(folder / "state")
    assert not home.exists()
    (folder / "elsewhere").rename(home)
    assert await remembered(start(folder / "state")) == [1]


async def test_E1_a_moved_state_folder_keeps_its_server_and_a_copied_one_gets_its_own(folder: Path) -> None:
    state, moved, copied = folder / "state", folder / "moved", folder / "copied"
    server = start(state)
    await remember(server, 1)
    state.rename(moved)
    adopted = start(moved)
    assert adopted.pid == server.pid  # still running, from where it was

    adopted.stop()
    subprocess.run(["cp", "-a", moved, copied], check=True)
    original, copy = start(moved), start(copied)
    await remember(copy, 2)
    assert (await remembered(original), await remembered(copy)) == ([1], [1, 2])


def test_E1_a_lost_record_does_not_bring_forth_an_empty_cluster(folder: Path) -> None:
    start(folder / "state").stop()
    record = folder / "state" / "cluster.json"
    record.rename(folder / "kept")
    with pytest.raises(EmbeddedError, match=r"its cluster\.json is gone"):
        start(folder / "state")
    (folder / "kept").rename(record)


async def test_E3_a_running_server_is_adopted(folder: Path) -> None:
    first = start(folder / "state")
    assert start(folder / "state").pid == first.pid


@pytest.mark.parametrize("everything", [False, True], ids=["postmaster", "everything"])
async def test_E3_a_killed_server_recovers(folder: Path, everything: bool) -> None:
    first = start(folder / "state")
    await remember(first, 1)
    children = embedded._children(first.cluster)
    kill(first.pid)
    for pid in children if everything else []:
        try:
            kill(pid)
        except ProcessLookupError:
            continue  # it noticed the postmaster's death first
    second = start(folder / "state")
    assert second.pid != first.pid
    assert await remembered(second) == [1]


async def test_E3_a_pid_that_is_someone_elses_now_is_not_believed(folder: Path) -> None:
    first = start(folder / "state")
    await remember(first, 1)
    kill(first.pid)
    user = first.cluster.user
    stranger = subprocess.Popen(["sleep", "300"], cwd="/", **({"user": user} if os.geteuid() == 0 else {}))
    try:
        file = first.cluster.data / "postmaster.pid"
        file.write_text(file.read_text().replace(str(first.pid), str(stranger.pid), 1))
        second = start(folder / "state")
        assert await remembered(second) == [1]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_E3_two_starts_at_once_make_one_server(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from guilder.platform import embedded;"
        f"print(embedded.start(Path(sys.argv[1]), settings={FAST!r}, databases=['guilder_test']).pid)"
    )
    argv = [sys.executable, "-c", code, str(folder / "state")]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(2)]
    pids = {process.communicate()[0].strip() for process in both}
    assert len(pids) == 1
    assert pids != {""}


async def test_E4_the_application_owns_nothing_and_may_create_nothing(folder: Path) -> None:
    server = start(folder / "state")
    await remember(server, 1)
    app = await connect(server, "app")
    assert not await app.fetchval(
        "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = $1", "guilder_app"
    )
    for forbidden in (
        "CREATE TABLE public.mine (x int)",
        "CREATE TEMPORARY TABLE mine (x int)",
        "CREATE SCHEMA mine",
        "ALTER TABLE public.mark ADD COLUMN y int",
        "SELECT * FROM public.mark",
        "SELECT * FROM pg_authid",
        "SET ROLE guilder_owner",
        "ALTER SYSTEM SET fsync = off",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(forbidden)
    await app.close()
    for role in ("app", "owner"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connect(server, role, "postgres")


async def test_E4_nobody_logs_in_without_a_password(folder: Path) -> None:
    server = start(folder / "state")
    for user in ("postgres", "guilder_owner", "guilder_app"):
        for password in (None, "", "wrong"):
            with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InterfaceError)):
                await asyncpg.connect(**{**server.dsn("guilder_test", "app"), "user": user, "password": password})
    secrets = folder / "state" / "secrets.json"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    assert not any(password in repr(server) for password in server.passwords.values())
    logged = "".join(path.read_text() for path in (server.cluster.home / "log").iterdir())
    assert not any(password in logged for password in server.passwords.values())


async def test_databases_are_copied_from_a_template_and_dropped(folder: Path) -> None:
    server = start(folder / "state")
    await remember(server, 7)
    server.ensure_databases(["copy_1", "copy_2"], template="guilder_test")
    server.ensure_databases(["copy_1"])
    owner = await connect(server, "owner", "copy_2")
    assert await owner.fetchval("SELECT value FROM public.mark") == 7
    server.drop_database("copy_2")
    server.drop_database("copy_2")
    assert owner.is_closed() or await lost(owner)
    with pytest.raises(ValueError, match="not a database name"):
        server.ensure_databases(["x; DROP DATABASE guilder_test"])


async def lost(connection: asyncpg.Connection) -> bool:
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.execute("SELECT 1")
    return True


async def test_a_long_path_gets_a_short_socket_of_its_own(folder: Path) -> None:
    state = folder / ("a rather long name, with a comma " * 4) / "state"
    server = start(state)
    assert len(str(server.cluster.socket)) < 90
    assert stat.S_IMODE(server.cluster.socket.stat().st_mode) == 0o700
    await remember(server, 1)
    server.stop()
    assert start(state).cluster.socket == server.cluster.socket


async def test_E2_a_planted_link_is_not_followed(folder: Path) -> None:
    state = folder / ("a rather long name " * 6) / "state"
    server = start(state)
    server.stop()
    victim = folder / "victim"
    victim.mkdir(mode=0o755)
    server.cluster.socket.rmdir()
    server.cluster.socket.symlink_to(victim)
    before = victim.stat()
    again = start(state)
    server.cluster.socket.unlink()
    assert again.cluster.socket != server.cluster.socket
    assert (victim.stat().st_uid, victim.stat().st_mode, list(victim.iterdir())) == (before.st_uid, before.st_mode, [])


def test_E2_a_link_in_place_of_the_servers_folder_is_refused(folder: Path) -> None:
    server = start(folder / "state")
    server.stop()
    (server.cluster.home / "socket").rmdir()
    (server.cluster.home / "socket").symlink_to(folder)
    with pytest.raises(EmbeddedError, match="planted"):
        start(folder / "state")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to step outside; others run the rest of this file instead")
async def test_root_whose_folder_is_closed_to_nobody_lies_outside(folder: Path) -> None:
    folder.chmod(0o700)
    server = start(folder / "state")
    assert not server.cluster.home.is_relative_to(folder)
    await remember(server, 1)
    server.stop()
    folder.chmod(0o755)  # the place was decided once
    assert await remembered(start(folder / "state")) == [1]

    shutil.copytree(folder / "state", folder / "copy")
    with pytest.raises(EmbeddedError, match="is a copy of"):
        start(folder / "copy")
    shutil.rmtree(folder / "copy")
    embedded.destroy(folder / "state")
    assert not server.cluster.home.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else; others are that somebody already")
def test_an_ordinary_user_runs_the_server_as_themselves(folder: Path) -> None:
    user = pwd.getpwnam("daemon")
    home = folder / "theirs"
    home.mkdir(mode=0o700)
    os.chown(home, user.pw_uid, user.pw_gid)
    code = f"""
import os, sys
from pathlib import Path
from guilder.platform import embedded
sys.path.insert(0, {str(place.programs().parents[2])!r})
os.setgroups([]); os.setgid({user.pw_gid}); os.setuid({user.pw_uid})
server = embedded.start(Path({str(home / "state")!r}), settings={FAST!r})
assert server.cluster.user == {user.pw_uid}
assert os.stat(f"/proc/{{server.pid}}").st_uid == {user.pw_uid}
server.stop()
embedded.destroy(Path({str(home / "state")!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_users_state_folder_is_a_clear_message(folder: Path) -> None:
    start(folder / "state").stop()
    code = f"""
import os
from pathlib import Path
from guilder.platform import embedded
os.setgroups([]); os.setgid(1); os.setuid(1)
try:
    embedded.start(Path({str(folder / "state")!r}))
except embedded.EmbeddedError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "belongs to another user" in done.stdout


def test_a_start_that_fails_shows_the_servers_own_words(folder: Path) -> None:
    with pytest.raises(EmbeddedError, match="no_such_setting"):
        embedded.start(folder / "state", settings={"no_such_setting": "1"}, say=lambda _: None)
    start(folder / "state")


def test_an_external_server_is_used_by_url() -> None:
    assert embedded.external("") is None
    named = embedded.external("postgresql://app:a%40b@db.example:5433/x?sslmode=require", "postgresql://owner@db/x")
    assert named
    assert named.dsn("guilder_live", "app") == {
        "dsn": "postgresql://app:a%40b@db.example:5433/guilder_live?sslmode=require"
    }
    assert named.dsn("guilder_live", "owner") == {"dsn": "postgresql://owner@db/guilder_live"}
