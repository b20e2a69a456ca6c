"""The life of a payout, the same at every channel.

      PROCESSING --> SUCCESS | FAILED
          ^
      WAITING ---> CANCELLED               WAITING: the payee has to agree first (WeChat Pay)

Every function decides, notes and puts without awaiting; the caller commits before it tells anybody.
"""

from guilder.simulators import dials
from guilder.simulators.desk import Desk
from guilder.simulators.model import Payout


def accept(desk: Desk, payout: Payout, takes_s: float = 0.0) -> None:
    """Take a payout into the book; it ends after `takes_s`, if no dial says otherwise and it does not wait for its payee."""
    payout.dials = desk.dials.stick(desk.book.accounts[payout.account], "payout", payout.dials)
    if slow := dials.find(payout.dials, "payout", "payout_processing"):
        takes_s = slow.seconds
        desk.dials.count(payout.account, payout.out_no, "payout", "payout_processing")
    if dials.find(payout.dials, "payout", "payout_fail"):
        payout.ends_as = "FAILED"
        desk.dials.count(payout.account, payout.out_no, "payout", "payout_fail")
    desk.book.note("payout_accepted", payout.account, payout.out_no, amount=payout.amount, ref=payout.channel_ref)
    desk.book.put(payout)
    if payout.state == "PROCESSING":
        _go_on(desk, payout, takes_s)


def agree(desk: Desk, payout: Payout) -> None:
    """The payee agrees to take it."""
    if payout.state == "WAITING":
        payout.state = "PROCESSING"
        slow = dials.find(payout.dials, "payout", "payout_processing")
        _go_on(desk, payout, slow.seconds if slow else 0.0)


def cancel(desk: Desk, payout: Payout) -> None:
    """Nobody has agreed, and nobody will."""
    if payout.state == "WAITING":
        _end(desk, payout, "CANCELLED")


def finish(desk: Desk, account: str, out_no: str) -> None:
    """The money has arrived, or cannot."""
    payout = desk.book.find_payout(account, out_no)
    if payout is not None and payout.state == "PROCESSING":
        _end(desk, payout, payout.ends_as)


def _go_on(desk: Desk, payout: Payout, takes_s: float) -> None:
    payout.done_at = desk.clock.now() + int(takes_s * 1000)
    desk.book.put(payout)
    if takes_s <= 0:
        finish(desk, payout.account, payout.out_no)
    else:
        _await(desk, payout)


def _await(desk: Desk, payout: Payout) -> None:
    account, out_no = payout.account, payout.out_no
    desk.clock.at(payout.done_at, lambda: finish(desk, account, out_no))


def _end(desk: Desk, payout: Payout, state: str) -> None:
    payout.state, payout.done_at = state, desk.clock.now()
    desk.book.note("payout_done", payout.account, payout.out_no, state=state)
    desk.book.put(payout)
    told = desk.channels[payout.channel].payout_fact(payout)
    if told is not None and payout.notify_url:
        desk.courier.say(payout.account, payout.out_no, *told, payout.notify_url, payout.dials, "payout")


def resume(desk: Desk) -> None:
    """After a restart: put on the agenda what is still to end."""
    for row in desk.book.rows("SELECT * FROM payout WHERE state = 'PROCESSING'"):
        _await(desk, Payout(*row))
