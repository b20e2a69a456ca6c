"""Stripe's own forms: accounts, events and their signatures, the report."""

import hashlib
import hmac
import os
import time
from collections.abc import Mapping, Sequence

import msgspec

from guilder.simulators import statements
from guilder.simulators.desk import Desk
from guilder.simulators.model import Account, Callback, Facts, Payout, Refund, Trade
from guilder.simulators.statements import Line
from guilder.simulators.stripe import objects, report

_HOUR = 3600
_EVENTS = {
    "paid": "payment_intent.succeeded",
    "held": "payment_intent.amount_capturable_updated",
    "declined": "payment_intent.payment_failed",
    "closed": "payment_intent.canceled",
}


class Stripe:
    """The channel.  Its events go to the endpoint that the account has registered; their signatures are by a shared secret."""

    name = "stripe"
    retry_after_s: Sequence[int] = [60, 300, 1800, 2 * _HOUR, 5 * _HOUR, *[10 * _HOUR] * 6]
    refund_takes_s = 0.0

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._settings: dict[str, dict[str, str]] = {}
        statements.GATHER[self.name] = report.gather

    async def open_account(self, name: str, address: str, options: Mapping[str, str]) -> Account:
        """An account that settles in option `currency` (CNY).  With option `rolling` events bear the old secret's signature too."""
        if set(options) - {"currency", "rolling"}:
            raise ValueError("the options are currency and rolling")
        id = f"acct_{os.urandom(8).hex()}"
        config = {
            "base_url": address,
            "account_id": id,
            "secret_key": f"sk_test_{os.urandom(24).hex()}",
            "publishable_key": f"pk_test_{os.urandom(24).hex()}",
            "webhook_secret": f"whsec_{os.urandom(16).hex()}",
            "currency": options.get("currency", "CNY").upper(),
        }
        if options.get("rolling"):
            config["previous_webhook_secret"] = f"whsec_{os.urandom(16).hex()}"
        return Account(id, self.name, name, self.desk.clock.now(), msgspec.json.encode(config).decode())

    def settings(self, account: Account) -> dict[str, str]:
        """What the merchant was given, read once."""
        found = self._settings.get(account.id)
        if found is None:
            found = self._settings[account.id] = account.settings()
        return found

    def by_key(self, key: str) -> tuple[Account, bool] | None:
        """Whose key it is, and whether it is the publishable one."""
        for account in self.desk.book.accounts.values():
            if account.channel == self.name:
                config = self.settings(account)
                if key in (config["secret_key"], config["publishable_key"]):
                    return account, key == config["publishable_key"]
        return None

    # --- what is told

    def payment_fact(self, trade: Trade) -> tuple[str, Facts] | None:
        """Every end of an intent is told, and that it may be captured."""
        event = _EVENTS.get(trade.state)
        return (event, objects.intent(self.desk.book, trade)) if event else None

    def refund_fact(self, trade: Trade, refund: Refund) -> tuple[str, Facts] | None:
        """refund.updated or refund.failed."""
        event = "refund.failed" if refund.state == "ABNORMAL" else "refund.updated"
        return event, objects.refund(trade, refund)

    def payout_fact(self, payout: Payout) -> tuple[str, Facts] | None:
        """payout.paid, .failed or .canceled."""
        return f"payout.{objects.PAYOUT_STATUS[payout.state]}", objects.payout(payout)

    def seal(self, account: Account, callback: Callback, forged: str) -> tuple[dict[str, str], bytes]:
        """The event, signed anew with each try."""
        body = msgspec.json.encode(
            {
                "id": f"evt_{callback.id}",
                "object": "event",
                "api_version": objects.VERSION,
                "created": callback.created_at // 1000,
                "data": {"object": msgspec.json.decode(callback.fact)},
                "livemode": False,
                "pending_webhooks": 1,
                "request": {"id": None, "idempotency_key": None},
                "type": callback.event,
            }
        )
        config, at = self.settings(account), int(time.time()) - (600 if forged == "stale" else 0)
        secrets = [s for s in (config["webhook_secret"], config.get("previous_webhook_secret")) if s]
        if forged == "signature":
            secrets = [f"whsec_{os.urandom(16).hex()}"]
        scheme = "v0" if forged == "scheme" else "v1"
        signed = [f"{scheme}={sign(secret, at, body)}" for secret in secrets]
        headers = {
            "Stripe-Signature": ",".join([f"t={at}", *signed]),
            "Content-Type": "application/json; charset=utf-8",
        }
        return {**headers, "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)"}, body

    def forgeries(self) -> Sequence[str]:
        """By another secret; by the right one, long ago; by the right one, under a scheme that proves nothing."""
        return "signature", "stale", "scheme"

    def accepted(self, status: int, body: bytes) -> bool:
        """Any 2xx."""
        return 200 <= status < 300

    def returns_to(self, trade: Trade) -> str:
        """Where the bank's page sends the payer, with what became of it."""
        if not trade.return_url:
            return ""
        done = "succeeded" if trade.paid_at or trade.held_at > 0 else "failed"
        mark = "&" if "?" in trade.return_url else "?"
        told = f"payment_intent={trade.channel_ref}&payment_intent_client_secret={trade.token}&redirect_status={done}"
        return f"{trade.return_url}{mark}{told}"

    def statement(self, account: Account, day: str, kind: str, lines: Sequence[Line], corrupt: str) -> bytes:
        """The day's report with all its columns."""
        return report.render(account, lines, report.COLUMNS, account.settings()["currency"], wrong=corrupt == "totals")


def sign(secret: str, at: int, body: bytes) -> str:
    """HMAC-SHA256 over `at.body`, in hex."""
    return hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
