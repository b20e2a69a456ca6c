"""Alipay's own forms: contracts, notices, bills, the way back to the shop."""

import random
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from guilder.simulators import dials, keys
from guilder.simulators.alipay import certificates, funds, signing, statement, told
from guilder.simulators.clock import stamp
from guilder.simulators.desk import Desk
from guilder.simulators.model import Account, Callback, Facts, Payout, Refund, Trade
from guilder.simulators.statements import Line, yuan


class Alipay:
    """The channel.  One key pair signs for all merchants, until its certificate is renewed for one."""

    name = "alipay"
    retry_after_s: Sequence[int] = (240, 600, 600, 3600, 7200, 21600, 54000)
    refund_takes_s = 0.0

    def __init__(self, desk: Desk, platform: Mapping[str, str]) -> None:
        """`platform` is what `certificates.make_platform` has made."""
        self.desk = desk
        self.platform = dict(platform)
        self._keys = [keys.load_private(platform[name]) for name in ("alipay_key", "alipay_key_2")]
        self._certificates = [platform[name] for name in ("alipay_certificate", "alipay_certificate_2")]
        self._numbers = [certificates.number(pem) for pem in self._certificates]
        self._public_pem = keys.public_pem(self._keys[0].public_key())
        self._merchant_keys: dict[str, rsa.RSAPublicKey] = {}
        self._settings: dict[str, dict[str, str]] = {}
        self._renewed: set[str] = set()

    async def open_account(self, name: str, address: str, options: Mapping[str, str]) -> Account:
        """An application of a merchant.  Options: `trust` is key or certificate; `partner` (anything) makes it that of a
        partner, with one merchant's grant."""
        if unknown := set(options) - {"trust", "partner"}:
            raise ValueError(f"Alipay has no option {', '.join(sorted(unknown))}")
        if (trust := options.get("trust") or "key") not in ("key", "certificate"):
            raise ValueError("trust must be key or certificate")
        key = await self.desk.keys.take()
        app_id = f"2021{random.randrange(10**12):012d}"
        config = {
            "gateway": f"{address}/gateway.do",
            "app_id": app_id,
            "seller_id": f"2088{random.randrange(10**12):012d}",
            "private_key": keys.private_pem(key),
            "oauth_url": f"{address}/oauth2/publicAppAuthorize.htm",
        }
        if trust == "key":
            config["alipay_public_key"] = self._public_pem
        else:
            config |= {
                "mode": "certificate",
                "app_cert": certificates.issue(self.platform, "A merchant", app_id, key.public_key()),
                "alipay_cert": self._certificates[0],
                "root_cert": certificates.roots(self.platform),
            }
        if options.get("partner"):
            config["app_auth_token"] = f"{self.desk.book.serial():012d}BB{random.randbytes(12).hex()}"
        return Account(app_id, self.name, name, self.desk.clock.now(), msgspec.json.encode(config).decode())

    def renew(self, account: Account) -> None:
        """From now on another certificate signs for this account; a restart takes that back."""
        self._renewed.add(account.id)

    def key(self, account: Account) -> rsa.RSAPrivateKey:
        """What signs for this account."""
        return self._keys[account.id in self._renewed]

    def number(self, account: Account) -> str:
        """The number of the certificate that signs for it; '' in key mode."""
        return self._numbers[account.id in self._renewed] if "app_cert" in self.settings(account) else ""

    def certificate(self, number: str) -> str | None:
        """One of Alipay's own and the root behind it, PEM."""
        found = dict(zip(self._numbers, self._certificates, strict=True)).get(number)
        return found and found + self.platform["alipay_root"]

    def merchant_app(self, account: Account) -> str:
        """The merchant's own application: another than a partner's."""
        app_id = self.settings(account)["app_id"]
        return f"2019{app_id[4:]}" if "app_auth_token" in self.settings(account) else app_id

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

    def payout_fact(self, payout: Payout) -> tuple[str, Facts] | None:
        """The message that a transfer has ended.  Alipay sends it to the address set for the app; here that is its notify_url."""
        return told.message(
            payout, self.settings(self.desk.book.accounts[payout.account])["app_id"], self.desk.clock.now()
        )

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
        account = self.desk.book.accounts[trade.account]
        config = self.settings(account)
        amount = yuan(self.told_amount(trade))
        fact: Facts = {
            "notify_type": "trade_status_sync",
            "app_id": config["app_id"],
            "auth_app_id": self.merchant_app(account),
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
        params = {**fact, "notify_id": callback.id}
        if "msg_method" not in fact:
            params["notify_time"] = stamp(self.desk.clock.now())
        signed = signing.sign_notice(self.key(account), params, spoiled=bool(forged))
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
        account = self.desk.book.accounts[trade.account]
        config = self.settings(account)
        params = {
            "charset": "utf-8",
            "out_trade_no": trade.out_trade_no,
            "method": f"alipay.trade.{trade.way}.pay.return",
            "total_amount": yuan(self.told_amount(trade)),
            "trade_no": trade.channel_ref,
            "auth_app_id": self.merchant_app(account),
            "version": "1.0",
            "app_id": config["app_id"],
            "seller_id": config["seller_id"],
            "timestamp": stamp(self.desk.clock.now()),
        }
        query = urlencode(signing.sign_notice(self.key(account), params, spoiled=False))
        return trade.return_url + ("&" if "?" in trade.return_url else "?") + query

    def statement(self, account: Account, day: str, kind: str, lines: Sequence[Line], corrupt: str) -> bytes:
        """The zip of bill type `trade` or `signcustomer`."""
        if kind == "signcustomer":
            return funds.render(self.desk.book, account, day, lines, self.desk.clock.now(), corrupt)
        return statement.render(account, day, lines, self.desk.clock.now(), corrupt)
