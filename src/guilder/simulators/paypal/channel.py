"""PayPal's own forms: contracts, orders, captures, refunds, payouts, disputes, webhooks.

An order's number is its trade's token; its capture's number is the trade's channel_ref.  Both follow from the PayPal-Request-Id, so a request
that comes twice finds what the first one made.
"""

import base64
import hashlib
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from guilder.simulators import dials, keys
from guilder.simulators.desk import Desk
from guilder.simulators.model import Account, Callback, Dispute, Facts, Payout, Refund, Trade
from guilder.simulators.paypal import signing, statement
from guilder.simulators.statements import GATHER, Line, fee_of

WHOLE = ("HUF", "JPY", "TWD")  # no decimals
_NO_CENTS = ("JPY",)  # no smaller unit at all
ITEM = {
    "PROCESSING": "PENDING",
    "SUCCESS": "SUCCESS",
    "FAILED": "FAILED",
    "WAITING": "UNCLAIMED",
    "CANCELLED": "RETURNED",
}
DISPUTES = {
    "needs_response": "WAITING_FOR_SELLER_RESPONSE",
    "under_review": "UNDER_REVIEW",
    "won": "RESOLVED",
    "lost": "RESOLVED",
}


def value(units: int, currency: str) -> str:
    """1099 -> '10.99'; '1099' of yen."""
    sign, units = "-" if units < 0 else "", abs(units)
    if currency in _NO_CENTS:
        return f"{sign}{units}"
    return f"{sign}{units // 100}" if currency in WHOLE else f"{sign}{units // 100}.{units % 100:02d}"


def money(units: int, currency: str) -> dict[str, str]:
    return {"currency_code": currency, "value": value(units, currency)}


def units_of(text: str, currency: str) -> int:
    """'10.99' -> 1099.  ValueError on nonsense, and on decimals where PayPal takes none."""
    whole, point, part = text.partition(".")
    if not (whole.isdigit() and whole.isascii() and len(whole) < 11) or (
        point and not (part.isdigit() and len(part) < 3)
    ):
        raise ValueError(text)
    if currency in WHOLE:
        if part.strip("0"):
            raise ValueError(text)
        return int(whole) * (1 if currency in _NO_CENTS else 100)
    return int(whole) * 100 + int(part.ljust(2, "0") or 0)


def iso(ms: int) -> str:
    """2018-06-08T10:34:56Z"""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def number(*parts: str) -> str:
    """A number of PayPal's: seventeen characters, the same for the same parts."""
    digest = hashlib.sha256("|".join(parts).encode()).digest()
    return base64.b32encode(digest).decode()[:17].replace("I", "0").replace("O", "9")


def turned(number: str) -> str:
    """An order's number as its authorization's, and back."""
    return number[::-1]


GATHER["paypal"] = statement.gather


class PayPal:
    """The channel.  One certified key signs for all merchants, each webhook's id within."""

    name = "paypal"
    retry_after_s: Sequence[int] = (10, 30, 60, 180, 600, *[3600] * 5, *[14400] * 15)
    refund_takes_s = 0.0

    def __init__(self, desk: Desk, platform: Mapping[str, str]) -> None:
        """`platform` has what `signing.platform_keys` made."""
        self.desk = desk
        self._key = keys.load_private(platform["paypal_key"])
        self.chain = (platform["paypal_certificate"] + platform["paypal_authority"]).encode()
        self._authority = platform["paypal_authority"]
        self.certificate_id = f"CERT-{keys.serial_of(platform['paypal_certificate'])[:16]}"

    async def open_account(self, name: str, address: str, options: Mapping[str, str]) -> Account:
        """A business account with a REST app and a webhook.  Option `currency`: USD unless another is asked for."""
        unknown = set(options) - {"currency"}
        if unknown:
            raise ValueError(f"PayPal has no option {', '.join(sorted(unknown))}")
        merchant_id = "".join(random.choices("ABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=13))
        config = {
            "base_url": address,
            "client_id": f"AX{merchant_id}{random.randrange(16**24):024x}",
            "client_secret": f"{random.randrange(16**40):040x}",
            "merchant_id": merchant_id,
            "webhook_id": number("webhook", merchant_id),
            "currency": options.get("currency", "USD"),
            "certificates_at": address,
            "authority": self._authority,
            "reports_at": f"{address}/paypal/reports/{merchant_id}",
            "reports_token": f"{random.randrange(16**24):024x}",
        }
        return Account(merchant_id, self.name, name, self.desk.clock.now(), msgspec.json.encode(config).decode())

    def settings(self, account: Account) -> dict[str, str]:
        """What the merchant was given."""
        return account.settings()

    def notify_url(self, account: Account) -> str:
        """Where the account's webhooks go: no call says it, a registration does."""
        return self.desk.book.endpoints.get(account.id, "")

    # --- what is told

    def order(self, trade: Trade, address: str) -> Facts:
        """The order as it is."""
        more = trade.more()
        status = self.status(trade)
        unit: Facts = {
            "reference_id": "default",
            "amount": money(trade.amount, trade.currency),
            "payee": {"email_address": "shop@example.com", "merchant_id": trade.account},
            "description": trade.description,
            "custom_id": more["custom_id"],
            "invoice_id": more["invoice_id"],
        }
        payments = self._payments(trade)
        if payments:
            unit["payments"] = payments
        order: Facts = {
            "id": trade.token,
            "intent": more["intent"],
            "status": status,
            "purchase_units": [unit],
            "create_time": iso(trade.created_at),
            "links": self._links(trade, status, address),
        }
        if trade.payer:
            order["payer"] = {"payer_id": trade.payer, "email_address": "payer@example.com"}
        return order

    def status(self, trade: Trade) -> str:
        """The order's: COMPLETED once it was captured or authorised."""
        if trade.state == "paid" or trade.more().get("authorized_at"):
            return "COMPLETED"
        return "APPROVED" if trade.held_at > 0 else "VOIDED" if trade.state == "closed" else "PAYER_ACTION_REQUIRED"

    def _links(self, trade: Trade, status: str, address: str) -> list[Facts]:
        at = f"{address}/v2/checkout/orders/{trade.token}"
        links = [{"href": at, "rel": "self", "method": "GET"}]
        if status == "PAYER_ACTION_REQUIRED":
            links.append({"href": f"{address}/phone?code={trade.token}", "rel": "payer-action", "method": "GET"})
        elif status == "APPROVED":
            verb = "capture" if trade.more()["intent"] == "CAPTURE" else "authorize"
            links.append({"href": f"{at}/{verb}", "rel": verb, "method": "POST"})
        return links

    def _payments(self, trade: Trade) -> Facts:
        payments: Facts = {}
        if trade.more().get("authorized_at"):
            payments["authorizations"] = [self.authorization(trade)]
        if trade.state == "paid":
            payments["captures"] = [self.capture(trade)]
            if refunds := self.desk.book.refunds(trade.account, trade.out_trade_no):
                payments["refunds"] = [self.refund(trade, refund) for refund in refunds]
        return payments

    def _part(self, trade: Trade, id: str, status: str, units: int, at: int) -> Facts:
        more = trade.more()
        related = {"order_id": trade.token}
        if more.get("authorized_at"):
            related["authorization_id"] = turned(trade.token)
        return {
            "id": id,
            "status": status,
            "amount": money(units, trade.currency),
            "invoice_id": more["invoice_id"],
            "custom_id": more["custom_id"],
            "payee": {"email_address": "shop@example.com", "merchant_id": trade.account},
            "supplementary_data": {"related_ids": related},
            "create_time": iso(at),
            "update_time": iso(at),
        }

    def capture(self, trade: Trade) -> Facts:
        """Money taken; one unit less where a dial says so."""
        units = (trade.captured or trade.amount) - (1 if dials.find(trade.dials, "create", "wrong_amount") else 0)
        given = sum(r.amount for r in self.desk.book.refunds(trade.account, trade.out_trade_no) if r.state == "SUCCESS")
        status = "COMPLETED" if not given else "REFUNDED" if given >= units else "PARTIALLY_REFUNDED"
        fee = fee_of(units)
        breakdown = {
            "gross_amount": money(units, trade.currency),
            "paypal_fee": money(fee, trade.currency),
            "net_amount": money(units - fee, trade.currency),
        }
        part = self._part(trade, trade.channel_ref, status, units, trade.paid_at)
        return part | {"final_capture": True, "seller_receivable_breakdown": breakdown}

    def authorization(self, trade: Trade) -> Facts:
        """Money held."""
        more = trade.more()
        status = "CAPTURED" if trade.state == "paid" else "VOIDED" if trade.state == "closed" else "CREATED"
        return self._part(trade, turned(trade.token), status, trade.amount, more["authorized_at"])

    def refund(self, trade: Trade, refund: Refund) -> Facts:
        """Money given back."""
        status = {"SUCCESS": "COMPLETED", "PROCESSING": "PENDING", "ABNORMAL": "FAILED"}[refund.state]
        units = refund.amount - (1 if dials.find(refund.dials, "refund", "wrong_amount") else 0)
        more: dict[str, Any] = msgspec.json.decode(refund.fingerprint)
        return {
            "id": refund.channel_ref,
            "status": status,
            "amount": money(units, trade.currency),
            "invoice_id": more["invoice_id"],
            "custom_id": more["custom_id"],
            "payer": {"merchant_id": trade.account},
            "create_time": iso(refund.created_at),
            "update_time": iso(refund.done_at),
            "links": [
                {
                    "href": f"https://api.paypal.com/v2/payments/captures/{trade.channel_ref}",
                    "rel": "up",
                    "method": "GET",
                }
            ],
        }

    def payment_fact(self, trade: Trade) -> tuple[str, Facts] | None:
        """Approved, authorised, captured or voided."""
        if trade.state == "paid":
            return "PAYMENT.CAPTURE.COMPLETED", self.capture(trade)
        if trade.more().get("authorized_at"):
            voided = trade.state == "closed"
            return f"PAYMENT.AUTHORIZATION.{'VOIDED' if voided else 'CREATED'}", self.authorization(trade)
        return ("CHECKOUT.ORDER.APPROVED", self.order(trade, "")) if trade.state == "held" else None

    def refund_fact(self, trade: Trade, refund: Refund) -> tuple[str, Facts] | None:
        """PAYMENT.CAPTURE.REFUNDED, or that it failed."""
        event = "PAYMENT.CAPTURE.REFUNDED" if refund.state == "SUCCESS" else "PAYMENT.REFUND.FAILED"
        return event, self.refund(trade, refund)

    def item(self, payout: Payout) -> Facts:
        """A payout's one item."""
        payee: dict[str, Any] = msgspec.json.decode(payout.payee)
        status = ITEM[payout.state]
        item: Facts = {
            "payout_item_id": number("item", payout.channel_ref)[:13],
            "payout_batch_id": payout.channel_ref,
            "transaction_status": status,
            "payout_item_fee": {"currency": payout.currency, "value": value(25, payout.currency)},
            "payout_item": payee,
        }
        if status == "SUCCESS":
            item |= {"transaction_id": number("payout", payout.channel_ref), "time_processed": iso(payout.done_at)}
        if status == "FAILED":
            item["errors"] = {
                "name": "RECEIVER_ACCOUNT_LOCKED",
                "message": "The receiver's account is locked.",
                "information_link": "",
            }
        return item

    def payout_fact(self, payout: Payout) -> tuple[str, Facts] | None:
        """PAYMENT.PAYOUTS-ITEM.SUCCEEDED or FAILED."""
        return f"PAYMENT.PAYOUTS-ITEM.{'SUCCEEDED' if payout.state == 'SUCCESS' else 'FAILED'}", self.item(payout)

    def complaint(self, trade: Trade, dispute: Dispute) -> Facts:
        """A dispute as its merchant sees it."""
        over = dispute.state in ("won", "lost")
        fact: Facts = {
            "dispute_id": dispute.ref,
            "create_time": iso(dispute.created_at),
            "disputed_transactions": [{
                "seller_transaction_id": trade.channel_ref,
                "invoice_number": trade.more()["invoice_id"],
                "custom": trade.more()["custom_id"],
                "seller": {"merchant_id": trade.account},
            }],
            "reason": dispute.reason,
            "status": DISPUTES[dispute.state],
            "dispute_amount": money(dispute.amount, trade.currency),
            "dispute_life_cycle_stage": "CHARGEBACK",
            "dispute_channel": "INTERNAL",
            "seller_response_due_date": iso(dispute.due_at),
        }  # fmt: skip
        if over:
            code = "RESOLVED_SELLER_FAVOUR" if dispute.state == "won" else "RESOLVED_BUYER_FAVOUR"
            fact["dispute_outcome"] = {
                "outcome_code": code,
                "amount_refunded": money(0 if dispute.state == "won" else dispute.amount, trade.currency),
            }
        return fact

    # --- webhooks

    def seal(self, account: Account, callback: Callback, forged: str) -> tuple[dict[str, str], bytes]:
        """An event; its id stays the same over all tries, its transmission does not."""
        body = msgspec.json.encode({
            "id": f"WH-{callback.id}",
            "event_version": "1.0",
            "create_time": iso(callback.created_at),
            "resource_type": callback.event.split(".")[1].lower(),
            "resource_version": "2.0",
            "event_type": callback.event,
            "summary": callback.event.replace(".", " ").lower(),
            "resource": msgspec.Raw(callback.fact.encode()),
            "links": [],
        })  # fmt: skip
        config = self.settings(account)
        at = f"{config['base_url']}/v1/notifications/certs/{self.certificate_id}"
        headers = signing.headers(self._key, config["webhook_id"], at, body, forged)
        return {**headers, "Content-Type": "application/json", "User-Agent": "PayPal/AUHD-214.0"}, body

    def forgeries(self) -> Sequence[str]:
        """A signature over another text, one with a certificate from elsewhere, and one for another webhook."""
        return "signature", "certificate", "webhook"

    def accepted(self, status: int, body: bytes) -> bool:
        """Any 2xx ends the tries."""
        return 200 <= status < 300

    def returns_to(self, trade: Trade) -> str:
        """The shop's return_url with the order's number: no proof of anything."""
        if not trade.return_url:
            return ""
        return f"{trade.return_url}{'&' if '?' in trade.return_url else '?'}token={trade.token}&PayerID={trade.payer}"

    def statement(self, account: Account, day: str, kind: str, lines: Sequence[Line], corrupt: str) -> bytes:
        """The settlement report."""
        return statement.report(account, day, lines, statement.payouts_of(self.desk.book, account, day), corrupt)
