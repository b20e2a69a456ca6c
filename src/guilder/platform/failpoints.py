"""Failpoints: named places where a test may end or hurt this process.

    reach("pay.after_channel", attempt.id)

Nothing happens, and nothing is looked up, unless GUILDER_FAILPOINTS names a folder; and `arm` refuses that wherever an environment other
than `test` is served.  A test arms a place while everything runs by writing its action into a file of the place's name there; whoever
reaches it first renames the file to `<name>.fired`, appends who and about what, syncs, and does the deed: once, in one process.

Actions: `kill` (SIGKILL of this process), `kill <pid>` (of another, such as the database server), `raise`, `pause <seconds>` (blocks the
whole process, as a machine that stands still would).

NAMES is the list of places; tests/test_tidy.py holds it against the code, and the crash matrix runs through it.
"""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

from guilder.core.errors import GuilderError

_folder: Path | None = None

NAMES: dict[str, str] = {
    "pay.recv": "a confirm has arrived",
    "pay.idem_claimed": "inside the first transaction: the key is claimed",
    "pay.row_committed": "the attempt is written down as unknown",
    "pay.before_channel": "the channel is about to be asked",
    "pay.after_channel": "the channel has answered, and nothing is written",
    "pay.elsewhere": "the channel certainly did nothing, and the payment is about to go on elsewhere",
    "pay.elsewhere_in_tx": "inside the transaction that ends one try and begins the next",
    "pay.elsewhere_committed": "the next try is written down as unknown, and not sent",
    "pay.before_settle_tx": "the answer is about to be recorded",
    "pay.in_tx_before_post": "inside the recording transaction, before the book",
    "pay.in_tx_after_post": "inside it, after the book",
    "pay.before_commit": "inside it, before COMMIT",
    "pay.after_commit": "the answer is recorded",
    "pay.before_resp": "the caller is about to hear",
    "ntf.recv": "a callback has arrived",
    "ntf.verified": "its signature is right",
    "ntf.in_tx": "inside the recording transaction",
    "ntf.before_commit": "inside it, before COMMIT",
    "ntf.after_commit": "it is recorded",
    "ntf.before_ack": "the channel is about to hear",
    "front.claimed": "the front has claimed an attempt, and its channel has not been asked",
    "front.asked": "the channel has answered the front, and nothing is written",
    "jan.claimed": "the sweep has claimed what is due",
    "jan.queried": "the channel has answered the sweep",
    "jan.before_commit": "inside the recording transaction of the sweep",
    "jan.after_commit": "what the sweep heard is recorded",
    "refund.idem_claimed": "inside the first transaction: key claimed, amount reserved",
    "refund.row_committed": "the refund is written down as unknown",
    "refund.before_channel": "the channel is about to be asked",
    "refund.after_channel": "the channel has answered, and nothing is written",
    "refund.in_tx_before_post": "inside the recording transaction, before the book",
    "refund.in_tx_after_post": "inside it, after the book",
    "refund.before_commit": "inside it, before COMMIT",
    "refund.after_commit": "the answer is recorded",
    "payout.claimed": "a payout is noted and its amount held, not committed",
    "payout.before_channel": "a payout is committed, and the channel has not been asked",
    "payout.after_channel": "the channel has answered a payout, and nothing is noted",
    "payout.in_tx": "a payout's answer is about to be posted",
    "payout.before_commit": "a payout's answer is posted, not committed",
    "rescue.before_channel": "a refund that failed is on its way again, and the channel has not been asked",
    "rescue.after_channel": "the channel has answered where a failed refund goes instead; nothing is recorded yet",
    "cap.before_channel": "a capture is on its attempt, and the channel has not been asked",
    "cap.after_channel": "the channel has answered a capture, and nothing is noted",
    "cl.before_channel_close": "an order is about to be closed at the channel",
    "cl.after_channel_close": "the channel has closed it, and nothing is written",
    "cl.before_commit": "what closing brought is about to be recorded",
    "ob.claimed": "deliveries are claimed, and none is sent",
    "ob.sent": "a webhook was sent, and its result is not written",
    "ob.before_mark": "inside the transaction that writes the results",
}


class Forbidden(GuilderError):
    """Failpoints are for the environment `test` alone."""


class Hurt(Exception):
    """What the action `raise` raises."""


def arm(environ: Mapping[str, str], environments: Sequence[str]) -> None:
    """Look at the folder from now on, if one is named.  Raises Forbidden outside test."""
    global _folder
    folder = environ.get("GUILDER_FAILPOINTS", "")
    if folder and tuple(environments) != ("test",):
        raise Forbidden(
            f"GUILDER_FAILPOINTS is set, and this process serves {', '.join(environments)}. Unset it, or serve test alone."
        )
    _folder = Path(folder) if folder else None


def reach(name: str, about: UUID | None = None) -> None:
    """This place was reached, on behalf of `about`."""
    if _folder is not None and (_folder / name).exists():
        _fire(_folder, name, about)


def _fire(folder: Path, name: str, about: UUID | None) -> None:
    fired = folder / f"{name}.fired"
    try:
        (folder / name).rename(fired)
    except FileNotFoundError:
        return  # another process was faster
    action, _, argument = fired.read_text().strip().partition(" ")
    with fired.open("a") as file:
        file.write(f"\n{os.getpid()} {about or '-'} {time.time():.3f}\n")
        file.flush()
        os.fsync(file.fileno())
    match action:
        case "kill":
            os.kill(int(argument or os.getpid()), signal.SIGKILL)
        case "raise":
            raise Hurt(name)
        case "pause":
            time.sleep(float(argument))
        case _:
            raise ValueError(f"unknown action {action!r} of failpoint {name}")
