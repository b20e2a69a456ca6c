"""UnionPay's own forms: contracts, callbacks, files, the way back to the shop."""

import random
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from guilder.simulators import dials, keys
from guilder.simulators.clock import beijing
from guilder.simulators.desk import Desk
from guilder.simulators.model import Account, Callback, Facts, Payout, Refund, Trade
from guilder.simulators.statements import Line
from guilder.simulators.unionpay import certificates, signing, statement

SETTLES_EARLIER_MS = 3_600_000  # a settlement day ends at 23:00
SUB_TYPE = {"page": "01", "wap": "01", "app": "01", "qr": "07", "barcode": "06"}
BIZ_TYPE = {"page": "000201", "wap": "000201", "app": "000201", "qr": "000000", "barcode": "000000"}
WORDS = {
    "00": "成功[0000000]",
    "05": "交易已受理，请稍后查询交易结果[6154037]",
    "10": "报文格式错误[6100000]",
    "11": "验证签名失败[9100004]",
    "12": "重复交易[6100030]",
    "13": "报文交易要素缺失[6100050]",
    "32": "无此交易权限[6100032]",
    "34": "查无此交易[2600000]",
    "35": "原交易不存在或状态不正确[2040004]",
    "36": "与原交易信息不符[2050004]",
    "42": "扣款成功但交易超过规定支付时间[2042000]",
    "45": "原交易已被成功退货或已被成功撤销[2040045]",
    "63": "卡状态不正确[1000063]",
    "64": "卡上的余额不足[1000051]",
    "69": "您的输入超时，交易失败[1000069]",
    "98": "文件不存在[9800000]",
}


def mmdd(ms: int) -> str:
    """A time of day as UnionPay traces it: MMDDhhmmss."""
    return beijing(ms).strftime("%m%d%H%M%S")


class UnionPay:
    """The channel.  One key signs for all merchants, with a certificate that each message brings."""

    name = "unionpay"
    retry_after_s: Sequence[int] = (0, 60, 120, 240)
    refund_takes_s = 0.2

    def __init__(self, desk: Desk, platform: Mapping[str, str]) -> None:
        """`platform`: what `certificates.platform_keys` has made."""
        self.desk = desk
        self.signer = signing.Signer(keys.load_private(platform["unionpay_key"]), platform["unionpay_certificate"])
        self._platform = platform
        self._merchant_keys: dict[str, rsa.RSAPublicKey] = {}
        self._settings: dict[str, dict[str, str]] = {}

    async def open_account(self, name: str, address: str, options: Mapping[str, str]) -> Account:
        """A direct merchant.  There are no options."""
        if options:
            raise ValueError(f"UnionPay has no option {', '.join(options)}")
        key = await self.desk.keys.take()
        mer_id = f"777290058{random.randrange(10**6):06d}"
        config = {
            "base_url": address,
            "file_url": f"{address}/unionpay/files",
            "mer_id": mer_id,
            "private_key": keys.private_pem(key),
            "certificate": certificates.issue_to_merchant(
                mer_id, key.public_key(), self._platform["unionpay_middle_key"]
            ),
            "root_certificate": self._platform["unionpay_root"],
            "middle_certificate": self._platform["unionpay_middle"],
            "stage": "test",
        }
        return Account(mer_id, self.name, name, self.desk.clock.now(), msgspec.json.encode(config).decode())

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

    def encryption_certificate(self) -> str:
        """What merchants encrypt cardholders' data for."""
        return self._platform["unionpay_certificate"]

    # --- what is told

    def settle_day(self, ms: int) -> str:
        """MMDD of the settlement day of a time: it begins at 23:00 the day before."""
        return beijing(ms + SETTLES_EARLIER_MS).strftime("%m%d")

    def code(self, trade: Trade) -> str:
        """What became of an order.  One that nobody paid stays accepted, but a payer who was scanned has only so long."""
        if trade.state == "paid":
            return "42" if trade.paid_at > trade.expires_at else "00"
        if trade.state == "closed" and trade.way == "barcode":
            return "69"
        return "64" if trade.state == "declined" else "05"

    def fact(self, trade: Trade) -> Facts:
        """What every message about an order says of it."""
        more, off = trade.more(), 1 if dials.find(trade.dials, "create", "wrong_amount") else 0
        fact: Facts = {
            "txnType": "01",
            "txnSubType": SUB_TYPE[trade.way],
            "orderId": trade.out_trade_no,
            "txnTime": more["txn_time"],
            "txnAmt": str(trade.amount - off),
            "currencyCode": "156",
            "reqReserved": trade.attach,
        }
        if trade.paid_at:
            fact |= {
                "queryId": trade.channel_ref,
                "traceNo": trade.channel_ref[14:20],
                "traceTime": mmdd(trade.paid_at),
                "settleAmt": str(trade.amount - off),
                "settleCurrencyCode": "156",
                "settleDate": self.settle_day(trade.paid_at),
                "accNo": "621626*********0018",
                "payCardType": "01",
            }
        return fact

    def refund_parts(self, refund: Refund) -> tuple[str, str]:
        """Its type, 04 or 31 for a void, and the merchant's own field."""
        kind, _, reserved = refund.reason.partition("|")
        return kind, reserved

    def of_refund(self, trade: Trade, refund: Refund) -> Facts:
        """What every message about a refund or void says of it."""
        kind, reserved = self.refund_parts(refund)
        off = 1 if dials.find(refund.dials, "refund", "wrong_amount") else 0
        return {
            "txnType": kind,
            "txnSubType": "00",
            "orderId": refund.out_refund_no,
            "txnTime": refund.fingerprint,
            "txnAmt": str(refund.amount - off),
            "currencyCode": "156",
            "queryId": refund.channel_ref,
            "origQryId": trade.channel_ref,
            "traceNo": refund.channel_ref[14:20],
            "traceTime": mmdd(refund.done_at or refund.created_at),
            "settleAmt": str(refund.amount - off),
            "settleCurrencyCode": "156",
            "settleDate": self.settle_day(refund.done_at or refund.created_at),
            "reqReserved": reserved,
        }

    def payment_fact(self, trade: Trade) -> tuple[str, Facts] | None:
        """Success is told; a refusal only of a payer who was scanned, for one with a page may try another card."""
        if trade.state != "paid" and trade.way != "barcode":
            return None
        return "01", {"bizType": BIZ_TYPE[trade.way], **self.fact(trade), **_answer(self.code(trade))}

    def refund_fact(self, trade: Trade, refund: Refund) -> tuple[str, Facts] | None:
        """Refunds are told either way."""
        kind, _ = self.refund_parts(refund)
        code = "00" if refund.state == "SUCCESS" else "63"
        return kind, {"bizType": BIZ_TYPE[trade.way], **self.of_refund(trade, refund), **_answer(code)}

    def payout_fact(self, payout: Payout) -> tuple[str, Facts] | None:
        """There are none."""
        return None

    def seal(self, account: Account, callback: Callback, forged: str) -> tuple[dict[str, str], bytes]:
        """A signed, ordinary form.  Forged: a signature over another text, or a good one by another customer of the same authority."""
        fact = msgspec.json.decode(callback.fact, type=dict[str, str])
        whole = {**self.common(account), **{key: value for key, value in fact.items() if value}}
        signer = self.signer
        if forged == "certificate":
            settings = self.settings(account)
            signer = signing.Signer(keys.load_private(settings["private_key"]), settings["certificate"])
        signed = signer.sign(whole, spoiled=forged == "signature")
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8", "User-Agent": "Mozilla/4.0"}
        return headers, urlencode(signed).encode()

    def common(self, account: Account) -> dict[str, str]:
        """What every message has."""
        return {
            "version": "5.1.0",
            "encoding": "UTF-8",
            "signMethod": "01",
            "accessType": "0",
            "merId": account.id,
        }

    def forgeries(self) -> Sequence[str]:
        """See `seal`."""
        return ("signature", "certificate")

    def accepted(self, status: int, body: bytes) -> bool:
        """200, or a redirect."""
        return status in (200, 302)

    def returns_to(self, trade: Trade) -> str:
        """The shop's frontUrl.  The real one is sent a form there; neither is a proof of payment."""
        return trade.return_url

    def statement(self, account: Account, day: str, kind: str, lines: Sequence[Line], corrupt: str) -> bytes:
        """The zip with ZM and ZME."""
        return statement.render(self.desk.book, account, day, lines, corrupt)


def _answer(code: str) -> dict[str, str]:
    return {"respCode": code, "respMsg": WORDS[code]}
