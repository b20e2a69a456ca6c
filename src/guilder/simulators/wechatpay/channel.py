"""WeChat Pay's own forms: contracts, callbacks, bills."""

import base64
import os
import random
from collections.abc import Mapping, Sequence

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.responses import Response

from guilder.simulators import dials, keys
from guilder.simulators.clock import rfc3339
from guilder.simulators.desk import Desk
from guilder.simulators.model import Account, Callback, Facts, Refund, Trade
from guilder.simulators.replies import Said
from guilder.simulators.statements import Line
from guilder.simulators.wechatpay import signing, statement

STATES = {"waiting": "NOTPAY", "paid": "SUCCESS", "closed": "CLOSED", "declined": "PAYERROR"}
_SAYS = {
    "NOTPAY": "订单未支付",
    "SUCCESS": "支付成功",
    "REFUND": "转入退款",
    "CLOSED": "已关闭",
    "PAYERROR": "支付失败",
}


class WeChatPay:
    """The channel.  One key pair signs for merchants who trust its public key, one for those with certificates."""

    name = "wechatpay"
    retry_after_s: Sequence[int] = [15, 15, 30, 180, 600, 1200, *[1800] * 3, 3600, *[10800] * 3, *[21600] * 2]
    refund_takes_s = 0.3

    def __init__(self, desk: Desk, platform: Mapping[str, str]) -> None:
        """`platform` has the PEMs `wechatpay_key`, `wechatpay_certified_key` and `wechatpay_certificate`."""
        self.desk = desk
        key = keys.load_private(platform["wechatpay_key"])
        self._public_pem = keys.public_pem(key.public_key())
        # The id is derived from the key, so that it is as long-lived as the key.
        self._public_id = f"PUB_KEY_ID_{int.from_bytes(self._public_pem.encode()[-60:-30]) % 10**28:028d}"
        self._certificate = platform["wechatpay_certificate"]
        certified = keys.load_private(platform["wechatpay_certified_key"])
        self._signers: dict[str, tuple[rsa.RSAPrivateKey, str]] = {
            "public_key": (key, self._public_id),
            "certificate": (certified, keys.serial_of(self._certificate)),
        }
        self._merchant_keys: dict[str, rsa.RSAPublicKey] = {}
        self._settings: dict[str, dict[str, str]] = {}

    async def open_account(self, name: str, address: str, options: Mapping[str, str]) -> Account:
        """A direct merchant.  Option `trust`: public_key (default) or certificate."""
        trust = options.get("trust", "public_key")
        if trust not in self._signers or set(options) - {"trust"}:
            raise ValueError("trust must be public_key or certificate; there are no other options")
        key = await self.desk.keys.take()
        mchid = f"19{random.randrange(10**8):08d}"
        config = {
            "base_url": address,
            "mchid": mchid,
            "appid": f"wx{os.urandom(8).hex()}",
            "serial_no": os.urandom(20).hex().upper(),
            "private_key": keys.private_pem(key),
            "apiv3_key": base64.b32encode(os.urandom(20)).decode(),
            "trust": trust,
            "public_key_id": self._public_id,
            "public_key": self._public_pem,
        }
        return Account(mchid, self.name, name, self.desk.clock.now(), msgspec.json.encode(config).decode())

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

    def dress(self, account: Account, said: Said, spoiled: bool) -> Response:
        """A signed reply."""
        key, serial = self._signers[self.settings(account)["trust"]]
        headers = signing.sign_headers(key, serial, said.body + b" " if spoiled else said.body)
        if said.body:
            headers["Content-Type"] = "application/json; charset=utf-8"
        return Response(said.body, said.status, headers)

    def certificates(self, account: Account) -> Facts:
        """The reply of /v3/certificates."""
        certificate = x509.load_pem_x509_certificate(self._certificate.encode())
        box = signing.encrypt(self.settings(account)["apiv3_key"], self._certificate.encode(), "certificate")
        item = {
            "serial_no": keys.serial_of(self._certificate),
            "effective_time": rfc3339(int(certificate.not_valid_before_utc.timestamp() * 1000)),
            "expire_time": rfc3339(int(certificate.not_valid_after_utc.timestamp() * 1000)),
            "encrypt_certificate": box,
        }
        return {"data": [item]}

    # --- what is told

    def transaction(self, trade: Trade) -> Facts:
        """The Transaction object.  An unpaid order has no transaction_id, success_time or payer."""
        state = STATES[trade.state]
        if state == "SUCCESS" and self.desk.book.refunds(trade.account, trade.out_trade_no):
            state = "REFUND"
        return self._transaction(trade, state)

    def _transaction(self, trade: Trade, state: str) -> Facts:
        config = self.settings(self.desk.book.accounts[trade.account])
        fact: Facts = {
            "appid": config["appid"],
            "mchid": config["mchid"],
            "out_trade_no": trade.out_trade_no,
            "trade_state": state,
            "trade_state_desc": _SAYS[state],
            "attach": trade.attach,
            "promotion_detail": [],
        }
        amount = trade.amount - (1 if dials.find(trade.dials, "create", "wrong_amount") else 0)
        if trade.paid_at:
            fact |= {
                "transaction_id": trade.channel_ref,
                "trade_type": trade.way.upper(),
                "bank_type": "OTHERS",
                "success_time": rfc3339(trade.paid_at),
                "payer": {"openid": trade.payer},
                "amount": {"total": amount, "payer_total": amount, "currency": "CNY", "payer_currency": "CNY"},
            }
        else:
            fact["amount"] = {"total": amount, "currency": "CNY"}
        return fact

    def payment_fact(self, trade: Trade) -> tuple[str, Facts] | None:
        """Only success is told; there is no callback about a closed or failed payment."""
        return ("TRANSACTION.SUCCESS", self._transaction(trade, "SUCCESS")) if trade.state == "paid" else None

    def refund_fact(self, trade: Trade, refund: Refund) -> tuple[str, Facts] | None:
        """REFUND.SUCCESS or REFUND.ABNORMAL."""
        off = 1 if dials.find(refund.dials, "refund", "wrong_amount") else 0
        money = {"total": trade.amount, "refund": refund.amount - off}
        fact: Facts = {
            "mchid": trade.account,
            "out_trade_no": trade.out_trade_no,
            "transaction_id": trade.channel_ref,
            "out_refund_no": refund.out_refund_no,
            "refund_id": refund.channel_ref,
            "refund_status": refund.state,
            "user_received_account": "支付用户零钱",
            "amount": {**money, "payer_total": trade.amount, "payer_refund": refund.amount - off},
        }
        if refund.state == "SUCCESS":
            fact["success_time"] = rfc3339(refund.done_at)
        return f"REFUND.{refund.state}", fact

    def seal(self, account: Account, callback: Callback, forged: str) -> tuple[dict[str, str], bytes]:
        """Encrypt the fact and sign the body, with fresh nonces each time."""
        kind = "refund" if callback.out_refund_no else "transaction"
        config = self.settings(account)
        body = msgspec.json.encode(
            {
                "id": callback.id,
                "create_time": rfc3339(callback.created_at),
                "resource_type": "encrypt-resource",
                "event_type": callback.event,
                "summary": "退款通知" if callback.out_refund_no else "支付成功",
                "resource": {
                    "original_type": kind,
                    **signing.encrypt(config["apiv3_key"], callback.fact.encode(), kind),
                },
            }
        )
        key, serial = self._signers[config["trust"]]
        headers = signing.sign_headers(key, serial, body + b" " if forged else body)
        if forged == "probe":
            headers["Wechatpay-Signature"] = "WECHATPAY/SIGNTEST/" + headers["Wechatpay-Signature"]
        return {**headers, "Content-Type": "application/json", "User-Agent": "Mozilla/4.0"}, body

    def forgeries(self) -> Sequence[str]:
        """A signature over another text, and the probe that WeChat Pay itself sends now and then."""
        return "signature", "probe"

    def accepted(self, status: int, body: bytes) -> bool:
        """Any 2xx is an answer; WeChat Pay does not look at its body."""
        return 200 <= status < 300

    def returns_to(self, trade: Trade) -> str:
        """A QR code is paid on the phone that scanned it: nobody goes anywhere."""
        return ""

    def statement(self, account: Account, day: str, kind: str, lines: Sequence[Line], corrupt: str) -> bytes:
        """The bill as plain bytes, before anybody cuts it."""
        return statement.render(account, kind, lines, wrong_totals=corrupt == "totals")
