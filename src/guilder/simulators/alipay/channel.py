"""Alipay's own forms: contracts, notices, bills, the way back to the shop."""

import random
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from guilder.simulators import dials, keys
from guilder.simulators.alipay import signing, statement
from guilder.simulators.clock import stamp
from guilder.simulators.desk import Desk
from guilder.simulators.model import Account, Callback, Facts, Refund, Trade
from guilder.simulators.statements import Line, yuan


class Alipay:
    """The channel.  One key pair signs for all merchants."""

    name = "alipay"
    retry_after_s: Sequence[int] = (240, 600, 600, 3600, 7200, 21600, 54000)
    refund_takes_s = 0.0

    def __init__(self, desk: Desk, platform: Mapping[str, str]) -> None:
        """`platform` has the PEM `alipay_key`."""
        self.desk = desk
        self.key = keys.load_private(platform["alipay_key"])
        self._public_pem = keys.public_pem(self.key.public_key())
        self._merchant_keys: dict[str, rsa.RSAPublicKey] = {}
        self._settings: dict[str, dict[str, str]] = {}

    async def open_account(self, name: str, address: str, options: Mapping[str, str]) -> Account:
        """An application of a merchant.  There are no options."""
        if options:
            raise ValueError(f"Alipay has no option {', '.join(options)}")
        key = await self.desk.keys.take()
        app_id = f"2021{random.randrange(10**12):012d}"
        config = {
            "gateway": f"{address}/gateway.do",
            "app_id": app_id,
            "seller_id": f"2088{random.randrange(10**12):012d}",
            "private_key": keys.private_pem(key),
            "alipay_public_key": self._public_pem,
        }
        return Account(app_id, self.name, name, self.desk.clock.now(), msgspec.json.encode(config).decode())

    def settings(self, account: Account) -> dict[str, str]:
        """What the merchant was given, read once."""
        found = self._settings.get(account.id)
        if found is None:
            found = self._settings[account.id] = account.settings()
        return found

    def merchant_key(self, account: Account) -> rsa.RSAPublicKey:
        """The key that verifies this merchant's requests."""
        key = self._merchant_keys.get(account.id)
        if key is None:
            key = keys.load_private(self.settings(account)["private_key"]).public_key()
            self._merchant_keys[account.id] = key
        return key

    # --- what is told

    def status(self, trade: Trade) -> str:
        """trade_status.  A trade that is wholly refunded is closed too."""
        if trade.state == "paid":
            from_trades = sum(r.amount for r in self._done(trade))
            return "TRADE_CLOSED" if from_trades >= trade.amount else "TRADE_SUCCESS"
        return "WAIT_BUYER_PAY" if trade.state == "waiting" else "TRADE_CLOSED"

    def _done(self, trade: Trade) -> list[Refund]:
        return [r for r in self.desk.book.refunds(trade.account, trade.out_trade_no) if r.state == "SUCCESS"]

    def told_amount(self, trade: Trade) -> int:
        """The amount that this channel tells, which a dial may make wrong."""
        return trade.amount - (1 if dials.find(trade.dials, "create", "wrong_amount") else 0)

    def payment_fact(self, trade: Trade) -> tuple[str, Facts] | None:
        """Paid, or closed after the payer had opened it."""
        return ("trade_status_sync", self._fact(trade)) if trade.opened_at else None

    def refund_fact(self, trade: Trade, refund: Refund) -> tuple[str, Facts] | None:
        """The same notice again, with refund_fee (all refunds so far) and gmt_refund."""
        if refund.state != "SUCCESS":
            return None
        done = sum(r.amount for r in self._done(trade))
        more = {
            "refund_fee": yuan(done),
            "gmt_refund": stamp(refund.done_at) + ".000",
            "out_biz_no": refund.out_refund_no,
        }
        return "trade_status_sync", self._fact(trade) | more

    def _fact(self, trade: Trade) -> Facts:
        config = self.settings(self.desk.book.accounts[trade.account])
        amount = yuan(self.told_amount(trade))
        fact: Facts = {
            "notify_type": "trade_status_sync",
            "app_id": config["app_id"],
            "auth_app_id": config["app_id"],
            "charset": "utf-8",
            "version": "1.0",
            "trade_no": trade.channel_ref,
            "out_trade_no": trade.out_trade_no,
            "trade_status": self.status(trade),
            "total_amount": amount,
            "seller_id": config["seller_id"],
            "subject": trade.description,
            "passback_params": trade.attach,
            "gmt_create": stamp(trade.opened_at),
        }
        if trade.paid_at:
            fact |= {
                "receipt_amount": amount,
                "invoice_amount": amount,
                "buyer_pay_amount": amount,
                "point_amount": "0.00",
                "gmt_payment": stamp(trade.paid_at),
                "fund_bill_list": f'[{{"amount":"{amount}","fundChannel":"ALIPAYACCOUNT"}}]',
                "buyer_id": trade.payer,
            }
        if trade.closed_at:
            fact["gmt_close"] = stamp(trade.closed_at)
        return fact

    def seal(self, account: Account, callback: Callback, forged: str) -> tuple[dict[str, str], bytes]:
        """A signed form.  notify_id stays the same over all tries."""
        fact = msgspec.json.decode(callback.fact, type=dict[str, str])
        params = {**fact, "notify_id": callback.id, "notify_time": stamp(self.desk.clock.now())}
        signed = signing.sign_notice(self.key, params, spoiled=bool(forged))
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", "User-Agent": "Mozilla/4.0"}
        return headers, urlencode(signed).encode()

    def forgeries(self) -> Sequence[str]:
        """A signature over another text."""
        return ("signature",)

    def accepted(self, status: int, body: bytes) -> bool:
        """Only the seven letters `success` end the tries."""
        return status == 200 and body.strip() == b"success"

    def returns_to(self, trade: Trade) -> str:
        """The shop's return_url with signed parameters; not a proof of payment."""
        if not trade.return_url:
            return ""
        config = self.settings(self.desk.book.accounts[trade.account])
        params = {
            "charset": "utf-8",
            "out_trade_no": trade.out_trade_no,
            "method": "alipay.trade.page.pay.return",
            "total_amount": yuan(self.told_amount(trade)),
            "trade_no": trade.channel_ref,
            "auth_app_id": config["app_id"],
            "version": "1.0",
            "app_id": config["app_id"],
            "seller_id": config["seller_id"],
            "timestamp": stamp(self.desk.clock.now()),
        }
        query = urlencode(signing.sign_notice(self.key, params, spoiled=False))
        return trade.return_url + ("&" if "?" in trade.return_url else "?") + query

    def statement(self, account: Account, day: str, kind: str, lines: Sequence[Line], corrupt: str) -> bytes:
        """The zip of bill type `trade`."""
        return statement.render(account, day, lines, self.desk.clock.now(), corrupt)
