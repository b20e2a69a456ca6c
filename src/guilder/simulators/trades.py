"""The life of a trade and its refunds, the same at every channel.

      made --> waiting --> paid            made: the phone has not read the code yet (Alipay)
        |        |  |
        |        |  +----> declined
        +--------+-------> closed --> paid (dial late_success)

Every function decides, notes and puts without awaiting; the caller commits before it tells anybody.
"""

from guilder.simulators import dials, payouts
from guilder.simulators.desk import Desk
from guilder.simulators.model import Refund, Trade


def create(desk: Desk, trade: Trade) -> None:
    """Take an order into the book."""
    trade.dials = desk.dials.stick(desk.book.accounts[trade.account], "create", trade.dials)
    desk.book.note(
        "created", trade.account, trade.out_trade_no, amount=trade.amount, way=trade.way, ref=trade.channel_ref
    )
    desk.book.put(trade)
    for name in ("paid_without_callback", "autopay"):
        if dials.find(trade.dials, "create", name):
            desk.dials.count(trade.account, trade.out_trade_no, "create", name)
            open_(desk, trade)
            pay(desk, trade)
            return


def open_(desk: Desk, trade: Trade) -> None:
    """The payer's phone has read the code; for Alipay the trade begins to exist."""
    expire(desk, trade)
    if trade.state in ("made", "waiting") and not trade.opened_at:
        trade.state, trade.opened_at = "waiting", desk.clock.now()
        desk.book.note("opened", trade.account, trade.out_trade_no)
        desk.book.put(trade)


def pay(desk: Desk, trade: Trade, payer: str = "") -> None:
    """The payer pays: the money moves, unless the order is over or the bank declines."""
    expire(desk, trade)
    if trade.state != "waiting":
        return
    if dials.find(trade.dials, "create", "decline"):
        desk.dials.count(trade.account, trade.out_trade_no, "create", "decline")
        decline(desk, trade)
        return
    if trade.held_at:
        hold(desk, trade, payer)
        return
    _move_money(desk, trade, payer)


def _move_money(desk: Desk, trade: Trade, payer: str = "") -> None:
    trade.state, trade.paid_at, trade.late_at = "paid", desk.clock.now(), 0
    trade.payer = payer or f"payer-{trade.channel_ref[-6:]}"
    desk.book.note("paid", trade.account, trade.out_trade_no, amount=trade.captured or trade.amount)
    desk.book.put(trade)
    if dials.find(trade.dials, "create", "wrong_amount"):
        desk.dials.count(trade.account, trade.out_trade_no, "create", "wrong_amount")
    desk.courier.tell(trade, None)


def decline(desk: Desk, trade: Trade) -> None:
    """The payer's bank says no."""
    expire(desk, trade)
    if trade.state == "waiting":
        trade.state, trade.closed_at = "declined", desk.clock.now()
        desk.book.note("declined", trade.account, trade.out_trade_no)
        desk.book.put(trade)
        desk.courier.tell(trade, None)


def hold(desk: Desk, trade: Trade, payer: str = "") -> None:
    """The payer agrees and the money is held, at channels that capture later."""
    expire(desk, trade)
    if trade.state == "waiting":
        trade.state, trade.held_at = "held", desk.clock.now()
        trade.payer = payer or f"payer-{trade.channel_ref[-6:]}"
        desk.book.note("held", trade.account, trade.out_trade_no, amount=trade.amount)
        desk.book.put(trade)
        desk.courier.tell(trade, None)


def capture(desk: Desk, trade: Trade, units: int) -> None:
    """Take so much of what is held; the rest is let go."""
    if trade.state == "held":
        trade.captured = units
        _move_money(desk, trade, trade.payer)


def close(desk: Desk, trade: Trade) -> None:
    """Nobody can pay any more; except that with the dial late_success somebody just has."""
    trade.state, trade.closed_at = "closed", desk.clock.now()
    kept = desk.dials.stick(desk.book.accounts[trade.account], "close", trade.dials)
    if late := dials.find(kept, "close", "late_success"):
        trade.late_at = desk.clock.now() + int(late.seconds * 1000)
        desk.clock.at(trade.late_at, lambda: pay_late(desk, trade.account, trade.out_trade_no))
    desk.book.note("closed", trade.account, trade.out_trade_no)
    desk.book.put(trade)
    if not trade.late_at:
        desk.courier.tell(trade, None)


def pay_late(desk: Desk, account: str, out_trade_no: str) -> None:
    """The channel finds out that a closed order was paid after all."""
    trade = desk.book.find_trade(account, out_trade_no)
    if trade is not None and trade.state == "closed" and trade.late_at:
        desk.dials.count(account, out_trade_no, "close", "late_success")
        _move_money(desk, trade)


def expire(desk: Desk, trade: Trade) -> None:
    """Close an order whose time is up.  Called by whoever is about to look at one."""
    if trade.state in ("made", "waiting") and desk.clock.now() >= trade.expires_at:
        trade.state, trade.closed_at = "closed", trade.expires_at
        desk.book.note("closed", trade.account, trade.out_trade_no, expired=True)
        desk.book.put(trade)


def refunded(desk: Desk, trade: Trade, *, done: bool = False) -> int:
    """What has been accepted for refund, in fen; with `done` only what has arrived."""
    refunds = desk.book.refunds(trade.account, trade.out_trade_no)
    return sum(refund.amount for refund in refunds if not done or refund.state == "SUCCESS")


def refund_dials(desk: Desk, trade: Trade) -> str:
    """The dials that shape a new refund of this trade."""
    kept = desk.dials.stick(desk.book.accounts[trade.account], "refund", trade.dials)
    return dials.join(dial for dial in dials.split(kept) if dial.op == "refund" and dial.name in dials.LIVES)


def accept_refund(desk: Desk, trade: Trade, refund: Refund) -> None:
    """Begin to give money back.  `refund.done_at` says when it ends if no dial says otherwise."""
    if slow := dials.find(refund.dials, "refund", "refund_processing"):
        refund.done_at = desk.clock.now() + int(slow.seconds * 1000)
        desk.dials.count(trade.account, trade.out_trade_no, "refund", "refund_processing")
    if dials.find(refund.dials, "refund", "refund_fail"):
        refund.ends_as = "ABNORMAL"
        desk.dials.count(trade.account, trade.out_trade_no, "refund", "refund_fail")
    no, amount = refund.out_refund_no, refund.amount
    desk.book.note("refund_accepted", trade.account, trade.out_trade_no, out_refund_no=no, amount=amount)
    desk.book.put(refund)
    if refund.done_at <= desk.clock.now():
        finish_refund(desk, refund.account, refund.out_trade_no, refund.out_refund_no)
    else:
        await_refund(desk, refund)


def await_refund(desk: Desk, refund: Refund) -> None:
    """Put the end of a refund on the agenda."""
    key = (refund.account, refund.out_trade_no, refund.out_refund_no)
    desk.clock.at(refund.done_at, lambda: finish_refund(desk, *key))


def finish_refund(desk: Desk, account: str, out_trade_no: str, out_refund_no: str) -> None:
    """The money has arrived, or cannot."""
    trade = desk.book.find_trade(account, out_trade_no)
    for refund in desk.book.refunds(account, out_trade_no):
        if trade is not None and refund.out_refund_no == out_refund_no and refund.state == "PROCESSING":
            refund.state, refund.done_at = refund.ends_as, desk.clock.now()
            desk.book.note("refund_done", account, out_trade_no, out_refund_no=out_refund_no, state=refund.state)
            desk.book.put(refund)
            desk.courier.tell(trade, refund)


def resume(desk: Desk) -> None:
    """After a restart: put on the agenda what the book says is still to come."""
    for row in desk.book.rows("SELECT account, out_trade_no, late_at FROM trade WHERE late_at > 0"):
        desk.clock.at(row[2], lambda account=row[0], no=row[1]: pay_late(desk, account, no))
    for row in desk.book.rows("SELECT * FROM refund WHERE state = 'PROCESSING'"):
        await_refund(desk, Refund(*row))
    payouts.resume(desk)
