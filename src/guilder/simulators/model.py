"""What the book of a simulated channel holds: accounts, trades, refunds, callbacks and what happened.

The fields of each struct are, in this order, the columns of the table of the same name in `schema.sql`.
Money is whole fen.  Times are milliseconds since 1970 on the simulator's clock; 0 means "not yet".
"""

from typing import Any

import msgspec

State = str
"""made      the token exists, but no trade yet (Alipay, until the payer has opened it)
waiting   the payer has not decided
held      the payer's money is held and not taken (channels that capture later)
paid      the payer's money has moved
declined  the payer's bank said no
closed    nobody can pay it any more"""


class Account(msgspec.Struct):
    """A merchant's contract with a channel.  `config` is what the merchant was given, as JSON."""

    id: str
    channel: str
    name: str
    created_at: int
    config: str
    dials: str = "{}"  # JSON of the account's dials, see `dials.py`

    def settings(self) -> dict[str, str]:
        """What the merchant was given."""
        return msgspec.json.decode(self.config)


class Trade(msgspec.Struct):
    """One order at the channel, from the merchant's request to the payer's money."""

    account: str
    out_trade_no: str
    channel: str
    channel_ref: str  # WeChat: transaction_id, Alipay: trade_no
    token: str  # what the payer's phone reads: code_url, qr_code, or the form's address
    way: str  # native | precreate | page
    amount: int
    currency: str
    description: str
    attach: str
    notify_url: str
    return_url: str
    fingerprint: str  # of the request, to tell a repeat from a key used twice
    dials: str
    created_at: int
    expires_at: int
    state: State = "waiting"
    paid_at: int = 0
    payer: str = ""
    closed_at: int = 0
    opened_at: int = 0  # when the payer's phone read the code
    late_at: int = 0  # when a closed trade is paid after all (dial late_success)
    held_at: int = (
        0  # when the payer's money was held, at channels that capture later; -1: it is to be held, and not taken
    )
    captured: int = 0  # how much of it was taken; 0: not yet
    extra: str = "{}"  # JSON: what only its channel knows of it

    def more(self) -> dict[str, Any]:
        """What only its channel knows of it."""
        return msgspec.json.decode(self.extra)


class Refund(msgspec.Struct):
    """Money on its way back.  `state` is PROCESSING, SUCCESS or ABNORMAL."""

    account: str
    out_refund_no: str
    out_trade_no: str
    channel_ref: str
    amount: int
    reason: str
    notify_url: str
    fingerprint: str
    created_at: int
    done_at: int  # when it ends; in the future while it is PROCESSING
    state: str = "PROCESSING"
    ends_as: str = "SUCCESS"
    dials: str = ""


class Payout(msgspec.Struct):
    """Money on its way to somebody.  `state` is PROCESSING, WAITING (for the payee), SUCCESS, FAILED or CANCELLED."""

    account: str
    out_no: str  # the merchant's number
    channel: str
    channel_ref: str
    amount: int
    currency: str
    payee: str  # JSON, as asked
    notify_url: str
    fingerprint: str
    created_at: int
    done_at: int = 0  # when it ended, or is to end by itself
    state: str = "PROCESSING"
    ends_as: str = "SUCCESS"
    dials: str = ""
    extra: str = "{}"


class Dispute(msgspec.Struct):
    """A payer's complaint.  `state` is needs_response, under_review, won or lost."""

    account: str
    ref: str  # the channel's number
    out_trade_no: str
    amount: int
    reason: str
    created_at: int
    due_at: int
    state: str = "needs_response"
    notify_url: str = ""
    extra: str = "{}"


class Callback(msgspec.Struct):
    """One thing that the merchant must hear, however many tries that takes.

    `fact` is the unsigned content as of the event; each try signs it anew.
    `state` is due, acknowledged, given_up or lost.
    """

    id: str
    account: str
    out_trade_no: str
    out_refund_no: str
    event: str
    url: str
    fact: str
    created_at: int
    due_at: int
    tries: int = 0
    state: str = "due"
    dials: str = ""
    op: str = "create"  # whose dials shape it: create, refund, payout


class Statement(msgspec.Struct):
    """A frozen day.  `lines` is JSON of `statements.Line`; `corrupt` is '' or how the file is to be bad."""

    account: str
    day: str
    closed_at: int
    lines: str
    corrupt: str = ""


Row = Account | Trade | Refund | Payout | Dispute | Callback | Statement
Facts = dict[str, Any]
