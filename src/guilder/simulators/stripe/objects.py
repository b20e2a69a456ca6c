"""Stripe's objects, as its API and its events show them, made from the book."""

from typing import Any

import msgspec

from guilder.simulators import dials
from guilder.simulators.book import Book
from guilder.simulators.model import Dispute, Facts, Payout, Refund, Trade
from guilder.simulators.stripe import cards

VERSION = "2026-10-28.endive"
NO_DECIMALS = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"]
)
THREE_DECIMALS = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])
DISPUTE_FEE = 1500
REFUND_STATUS = {"PROCESSING": "pending", "SUCCESS": "succeeded", "ABNORMAL": "failed"}
PAYOUT_STATUS = {"PROCESSING": "in_transit", "SUCCESS": "paid", "FAILED": "failed", "CANCELLED": "canceled"}


def exponent(currency: str) -> int:
    """Decimals of a currency in Stripe's smallest unit (ISK and UGX are written with two)."""
    return 0 if currency in NO_DECIMALS else 3 if currency in THREE_DECIMALS else 2


def fee_of(amount: int, currency: str) -> int:
    """2.9 % and 0.30, rounded half up; without the 0.30 where there are no cents."""
    return (amount * 290 + 5_000) // 10_000 + (30 if exponent(currency) == 2 else 0)


def remember(trade: Trade, **changes: Any) -> None:
    """Keep what only Stripe knows of a trade; the caller puts it."""
    trade.extra = msgspec.json.encode(trade.more() | changes).decode()


def moved(trade: Trade) -> int:
    """What was taken of it, in units; 0 while nothing was."""
    return (trade.captured or trade.amount) if trade.paid_at else 0


def status(trade: Trade) -> str:
    """The PaymentIntent's status."""
    known = {
        "paid": "succeeded",
        "held": "requires_capture",
        "closed": "canceled",
        "declined": "requires_payment_method",
    }
    if trade.state in known:
        return known[trade.state]
    more = trade.more()
    if more["asks"]:
        return "requires_action"
    return "requires_confirmation" if more["pm"] else "requires_payment_method"


def error_of(trade: Trade) -> Facts | None:
    """last_payment_error of a declined one."""
    if trade.state != "declined":
        return None
    more = trade.more()
    code, why = more["error"] or (
        ("payment_intent_authentication_failure", "") if more["asks"] else ("card_declined", "generic_decline")
    )
    kind = "invalid_request_error" if code == "payment_intent_authentication_failure" else "card_error"
    fact = {
        "type": kind,
        "code": code,
        "message": cards.message(code, why),
        "doc_url": f"https://stripe.com/docs/error-codes/{code}",
    }
    return fact | ({"decline_code": why} if why else {})


def method(trade: Trade) -> str | None:
    """The payment method; one paid without the hosted fields has had a Visa."""
    pm: str = trade.more()["pm"]
    return pm or (f"pm_{trade.channel_ref[3:]}-visa" if trade.paid_at or trade.held_at > 0 else None)


def intent(book: Book, trade: Trade, expand: list[str] | None = None, address: str = "") -> Facts:
    """A PaymentIntent."""
    more, off = trade.more(), 1 if dials.find(trade.dials, "create", "wrong_amount") else 0
    state = status(trade)
    charged = bool(trade.paid_at or trade.held_at > 0)
    wants = {one.removeprefix("data.") for one in expand or []}
    latest: Any = f"ch_{trade.channel_ref[3:]}" if charged else None
    if charged and any(one.startswith("latest_charge") for one in wants):
        latest = charge(book, trade, "latest_charge.balance_transaction" in wants)
    return {
        "id": trade.channel_ref,
        "object": "payment_intent",
        "amount": trade.amount - off,
        "amount_capturable": trade.amount - off if state == "requires_capture" else 0,
        "amount_received": moved(trade) - off if trade.paid_at else 0,
        "automatic_payment_methods": None,
        "canceled_at": trade.closed_at // 1000 if state == "canceled" else None,
        "cancellation_reason": more.get("reason") if state == "canceled" else None,
        "capture_method": more["capture"],
        "client_secret": trade.token,
        "confirmation_method": "automatic",
        "created": trade.created_at // 1000,
        "currency": trade.currency.lower(),
        "customer": None,
        "description": trade.description or None,
        "last_payment_error": error_of(trade),
        "latest_charge": latest,
        "livemode": False,
        "metadata": more["metadata"],
        "next_action": next_action(trade, address or more["address"]) if state == "requires_action" else None,
        "payment_method": None if trade.state == "declined" else method(trade),
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "status": state,
    }


def next_action(trade: Trade, address: str) -> Facts:
    """The bank's page if there is a place to come back to, else Stripe.js."""
    if not trade.return_url:
        return {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": f"{address}/v3/"},
        }
    url = f"{address}/phone?code={trade.token}"
    return {"type": "redirect_to_url", "redirect_to_url": {"url": url, "return_url": trade.return_url}}


def charge(book: Book, trade: Trade, with_transaction: bool = False) -> Facts:
    """The Charge of an intent whose money was held or taken."""
    card = cards.CARDS[cards.named(method(trade) or "") or "pm_card_visa"]
    back = sum(r.amount for r in book.refunds(trade.account, trade.out_trade_no) if r.state != "ABNORMAL")
    ref = trade.channel_ref[3:]
    txn: Any = f"txn_{ref}" if trade.paid_at else None
    if txn and with_transaction:
        taken = moved(trade)
        txn = transaction(
            txn, f"ch_{ref}", "charge", taken, fee_of(taken, trade.currency), trade.currency, trade.paid_at
        )
    return {
        "id": f"ch_{ref}",
        "object": "charge",
        "amount": trade.amount,
        "amount_captured": moved(trade),
        "amount_refunded": back,
        "balance_transaction": txn,
        "captured": bool(trade.paid_at),
        "created": (trade.held_at if trade.held_at > 0 else trade.paid_at) // 1000,
        "currency": trade.currency.lower(),
        "description": trade.description or None,
        "disputed": bool(trade.more().get("disputed")),
        "livemode": False,
        "metadata": trade.more()["metadata"],
        "outcome": {"network_status": "approved_by_network", "type": "authorized"},
        "paid": True,
        "payment_intent": trade.channel_ref,
        "payment_method": method(trade),
        "payment_method_details": {"type": "card", "card": {"brand": card.brand, "last4": card.last4}},
        "refunded": back >= moved(trade) > 0,
        "status": "succeeded",
    }


def transaction(
    id: str, source: str, category: str, amount: int, fee: int, currency: str, at: int, description: str = ""
) -> Facts:
    """A BalanceTransaction."""
    details = [
        {"amount": fee, "currency": currency.lower(), "type": "stripe_fee", "description": "Stripe processing fees"}
    ]
    return {
        "id": id,
        "object": "balance_transaction",
        "amount": amount,
        "available_on": at // 1000 + 2 * 86_400,
        "created": at // 1000,
        "currency": currency.lower(),
        "description": description or None,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": details if fee else [],
        "net": amount - fee,
        "reporting_category": category,
        "source": source,
        "status": "pending",
        "type": {"dispute": "adjustment", "dispute_reversal": "adjustment", "partial_capture_reversal": "refund"}.get(
            category, category
        ),
    }


def refund(trade: Trade, one: Refund) -> Facts:
    """A Refund."""
    off = 1 if dials.find(one.dials, "refund", "wrong_amount") else 0
    fact: Facts = {
        "id": one.channel_ref,
        "object": "refund",
        "amount": one.amount - off,
        "balance_transaction": f"txn_{one.channel_ref[3:]}",
        "charge": f"ch_{trade.channel_ref[3:]}",
        "created": one.created_at // 1000,
        "currency": trade.currency.lower(),
        "metadata": trade.more()["refunds"].get(one.channel_ref, {}),
        "payment_intent": trade.channel_ref,
        "reason": one.reason or None,
        "status": REFUND_STATUS[one.state],
    }
    return fact | ({"failure_reason": "expired_or_canceled_card"} if one.state == "ABNORMAL" else {})


def payout(one: Payout) -> Facts:
    """A Payout."""
    payee, failed = msgspec.json.decode(one.payee), one.state == "FAILED"
    return {
        "id": one.channel_ref,
        "object": "payout",
        "amount": one.amount,
        "arrival_date": (one.done_at or one.created_at) // 1000,
        "automatic": False,
        "balance_transaction": f"txn_{one.channel_ref[3:]}",
        "created": one.created_at // 1000,
        "currency": one.currency.lower(),
        "description": payee["description"] or None,
        "destination": payee["destination"] or "ba_default",
        "failure_code": "account_closed" if failed else None,
        "failure_message": "The bank account has been closed." if failed else None,
        "livemode": False,
        "metadata": payee["metadata"],
        "method": "standard",
        "status": PAYOUT_STATUS[one.state],
        "type": "bank_account",
    }


def dispute(trade: Trade, one: Dispute) -> Facts:
    """A Dispute.  Stripe takes the money at once, and gives it back when it is won; its fee stays."""
    more, ref = msgspec.json.decode(one.extra), one.ref[3:]
    moves = [transaction(f"txn_{ref}", one.ref, "dispute", -one.amount, DISPUTE_FEE, trade.currency, one.created_at)]
    if one.state == "won":
        moves.append(
            transaction(f"txn_{ref}r", one.ref, "dispute_reversal", one.amount, 0, trade.currency, more["decided_at"])
        )
    return {
        "id": one.ref,
        "object": "dispute",
        "amount": one.amount,
        "balance_transactions": moves,
        "charge": f"ch_{trade.channel_ref[3:]}",
        "created": one.created_at // 1000,
        "currency": trade.currency.lower(),
        "evidence": more["evidence"],
        "evidence_details": {
            "due_by": one.due_at // 1000,
            "has_evidence": bool(more["evidence"]),
            "past_due": False,
            "submission_count": int(more["submitted"]),
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": trade.channel_ref,
        "reason": one.reason,
        "status": one.state,
    }


def listed(url: str, data: list[Facts], more: bool = False) -> Facts:
    """A list object."""
    return {"object": "list", "data": data, "has_more": more, "url": url}
