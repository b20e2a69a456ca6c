"""Disputes: a payer complains, Stripe takes the money, the merchant answers, the bank decides.

Evidence decides as in Stripe's test mode: `uncategorized_text` of `winning_evidence` wins, `losing_evidence` loses, after a moment;
anything else stays under review.  POST /sim/stripe/dispute {account, out_trade_no, reason?, decide?: "won" | "lost"} opens or decides one.
"""

import secrets
from typing import Any

import msgspec

from guilder.simulators.desk import Desk
from guilder.simulators.model import Dispute, Facts, Trade
from guilder.simulators.stripe import objects
from guilder.simulators.stripe.api import Call, Operation
from guilder.simulators.stripe.channel import Stripe
from guilder.simulators.stripe.errors import Refused, missing

_DUE_MS = 9 * 86_400_000
_DECIDES_MS = 300
_VERDICTS = {"winning_evidence": "won", "losing_evidence": "lost"}


def open_(desk: Desk, trade: Trade, reason: str) -> Dispute:
    """A payer complains about a payment that was made."""
    now = desk.clock.now()
    extra = {"evidence": {}, "submitted": False, "decided_at": 0}
    one = Dispute(
        account=trade.account,
        ref=f"du_{secrets.token_hex(12)}",
        out_trade_no=trade.out_trade_no,
        amount=objects.moved(trade),
        reason=reason,
        created_at=now,
        due_at=now + _DUE_MS,
        notify_url=trade.notify_url,
        extra=msgspec.json.encode(extra).decode(),
    )
    objects.remember(trade, disputed=True)
    desk.book.note("disputed", trade.account, trade.out_trade_no, ref=one.ref, amount=one.amount)
    desk.book.put(trade)
    desk.book.put(one)
    _tell(desk, trade, one, "created")
    _tell(desk, trade, one, "funds_withdrawn")
    return one


def decide(desk: Desk, account: str, ref: str, verdict: str) -> None:
    """The bank has decided."""
    one = desk.book.find_dispute(account, ref)
    trade = desk.book.find_trade(account, one.out_trade_no) if one else None
    if one is None or trade is None or one.state in ("won", "lost"):
        return
    one.state = verdict
    _remember(one, decided_at=desk.clock.now())
    desk.book.note("dispute_decided", account, one.out_trade_no, ref=ref, verdict=verdict)
    desk.book.put(one)
    if verdict == "won":
        _tell(desk, trade, one, "funds_reinstated")
    _tell(desk, trade, one, "closed")


def resume(desk: Desk) -> None:
    """After a restart: what was being decided is decided."""
    for account, ref, extra in desk.book.rows("SELECT account, ref, extra FROM dispute WHERE state = 'under_review'"):
        if verdict := msgspec.json.decode(extra).get("verdict"):
            desk.clock.at(0, lambda account=account, ref=ref, verdict=verdict: decide(desk, account, ref, verdict))


def _remember(one: Dispute, **changes: Any) -> None:
    one.extra = msgspec.json.encode(msgspec.json.decode(one.extra) | changes).decode()


def _tell(desk: Desk, trade: Trade, one: Dispute, what: str) -> None:
    if one.notify_url:
        fact = objects.dispute(trade, one)
        desk.courier.say(one.account, one.out_trade_no, f"charge.dispute.{what}", fact, one.notify_url, op="dispute")


class Disputes:
    """What a merchant can do about them."""

    def __init__(self, channel: Stripe) -> None:
        self._channel, self._desk = channel, channel.desk

    def operations(self) -> list[Operation]:
        one = "/v1/disputes/{id}"
        return [
            Operation("GET", "/v1/disputes", "dispute", self.listing, self._about_none),
            Operation("GET", one, "dispute", self.retrieve, self._about),
            Operation("POST", one, "dispute", self.update, self._about),
            Operation("POST", f"{one}/close", "dispute", self.close, self._about),
        ]

    def _find(self, call: Call) -> tuple[Dispute, Trade]:
        one = self._desk.book.find_dispute(call.account.id, call.path["id"])
        trade = self._desk.book.find_trade(call.account.id, one.out_trade_no) if one else None
        if one is None or trade is None:
            raise missing("dispute", call.path["id"], "dispute")
        return one, trade

    def _about(self, call: Call) -> tuple[str, str]:
        _, trade = self._find(call)
        return trade.out_trade_no, trade.dials

    @staticmethod
    def _about_none(call: Call) -> tuple[str, str]:
        return "", ""

    def listing(self, call: Call) -> Facts:
        """GET /v1/disputes?payment_intent="""
        intent = call.form.text("payment_intent")
        refs = self._desk.book.rows(
            "SELECT ref FROM dispute WHERE account = ? ORDER BY created_at DESC", call.account.id
        )
        data = []
        for (ref,) in refs:
            one = self._desk.book.find_dispute(call.account.id, ref)
            trade = self._desk.book.find_trade(call.account.id, one.out_trade_no) if one else None
            if one is not None and trade is not None and intent in ("", trade.channel_ref):
                data.append(objects.dispute(trade, one))
        return objects.listed("/v1/disputes", data)

    def retrieve(self, call: Call) -> Facts:
        """GET /v1/disputes/{id}"""
        one, trade = self._find(call)
        return objects.dispute(trade, one)

    def update(self, call: Call) -> Facts:
        """POST /v1/disputes/{id}: evidence; with `submit` it goes to the bank, once."""
        one, trade = self._find(call)
        evidence, submit = call.form.table("evidence"), call.form.flag("submit")
        call.form.table("metadata")
        call.form.end()
        if one.state != "needs_response":
            raise Refused(
                400, "invalid_request_error", "This dispute is already closed or under review.", param="evidence"
            )
        known = msgspec.json.decode(one.extra)["evidence"] | evidence
        _remember(one, evidence=known, submitted=submit)
        if submit:
            one.state = "under_review"
            if verdict := _VERDICTS.get(known.get("uncategorized_text", "")):
                _remember(one, verdict=verdict)
                account, ref = one.account, one.ref
                self._desk.clock.at(
                    self._desk.clock.now() + _DECIDES_MS, lambda: decide(self._desk, account, ref, verdict)
                )
        self._desk.book.note("evidence", one.account, one.out_trade_no, ref=one.ref, submitted=submit)
        self._desk.book.put(one)
        _tell(self._desk, trade, one, "updated")
        return objects.dispute(trade, one)

    def close(self, call: Call) -> Facts:
        """POST /v1/disputes/{id}/close: the merchant gives in."""
        one, trade = self._find(call)
        call.form.end()
        if one.state != "needs_response":
            raise Refused(400, "invalid_request_error", "This dispute cannot be closed.", param="dispute")
        decide(self._desk, one.account, one.ref, "lost")
        return objects.dispute(trade, one)
