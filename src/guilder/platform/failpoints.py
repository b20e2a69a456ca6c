"""Failpoints: named places where a test may end or hurt this process.

    reach("pay.after_channel")

Nothing happens unless GUILDER_FAILPOINTS says so (`name=action[,name=action…]`), and `arm` refuses that wherever an environment other
than `test` is served.  Actions: `kill` (SIGKILL of this process), `kill_pg:<pid>` (SIGKILL of the database server), `raise`,
`pause:<seconds>` (blocks the whole process, as a stopped machine would).  An action fires once; `name@n=action` at the n-th time.
Each firing appends a line to the file named by GUILDER_FAILPOINTS_LOG, synced before the deed.
"""

import os
import signal
import time
from collections.abc import Mapping, Sequence

from guilder.core.errors import GuilderError

_armed: dict[str, tuple[int, str]] = {}
_reached: dict[str, int] = {}
_log: str | None = None


class Forbidden(GuilderError):
    """Failpoints are for the environment `test` alone."""


class Hurt(Exception):
    """What the action `raise` raises."""


def arm(environ: Mapping[str, str], environments: Sequence[str]) -> None:
    """Read what is to fire.  Raises Forbidden outside test."""
    global _log
    text = environ.get("GUILDER_FAILPOINTS", "")
    if not text:
        return
    if tuple(environments) != ("test",):
        raise Forbidden(
            f"GUILDER_FAILPOINTS is set, and this process serves {', '.join(environments)}. Unset it, or serve test alone."
        )
    _log = environ.get("GUILDER_FAILPOINTS_LOG")
    for part in text.split(","):
        place, _, action = part.partition("=")
        name, _, nth = place.partition("@")
        _armed[name] = (int(nth or 1), action)


def reach(name: str) -> None:
    """This place was reached."""
    if _armed and name in _armed:
        _fire(name)


def _fire(name: str) -> None:
    _reached[name] = _reached.get(name, 0) + 1
    nth, action = _armed[name]
    if _reached[name] != nth:
        return
    if _log:
        with open(_log, "a") as file:  # noqa: PTH123 - one synced line
            file.write(f"{name} {action} {os.getpid()} {time.time():.3f}\n")
            file.flush()
            os.fsync(file.fileno())
    kind, _, argument = action.partition(":")
    match kind:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill_pg":
            os.kill(int(argument), signal.SIGKILL)
        case "raise":
            raise Hurt(name)
        case "pause":
            time.sleep(float(argument))
        case _:
            raise ValueError(f"unknown action {action!r} of failpoint {name}")
