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
from guilder.simulators.model import Account, Callback, Facts, Payout, Refund, Trade
from guilder.simulators.replies import Said
from guilder.simulators.statements import Line
from guilder.simulators.wechatpay import signing, statement
from guilder.simulators.wechatpay.forms import extra_of

STATES = {"waiting": "NOTPAY", "paid": "SUCCESS", "closed": "CLOSED", "declined": "PAYERROR"}
TRANSFER_STATES = {
    "PROCESSING": "PROCESSING",
    "WAITING": "WAIT_USER_CONFIRM",
    "SUCCESS": "SUCCESS",
    "FAILED": "FAIL",
    "CANCELLED": "CANCELLED",
}
MODES = ("direct", "partner")
_KINDS = {
    "create": ("transaction", "支付成功"),
    "refund": ("refund", "退款通知"),
    "payout": ("mch_payment", "商家转账单据终态通知"),
}
_SAYS = {
    "USERPAYING": "用户支付中，需要输入密码",
    "REVOKED": "已撤销",
    "NOTPAY": "订单未支付",
    "SUCCESS": "支付成功",
    "REFUND": "转入退款",
    "CLOSED": "已关闭",
    "PAYERROR": "支付失败",
}


def _number() -> str:
    """A merchant's number: ten digits."""
    return f"19{random.randrange(10**8):08d}"


def _listed(pem: str, apiv3_key: str) -> Facts:
    """A platform certificate, sealed for one merchant."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    return {
        "serial_no": keys.serial_of(pem),
        "effective_time": rfc3339(int(certificate.not_valid_before_utc.timestamp() * 1000)),
        "expire_time": rfc3339(int(certificate.not_valid_after_utc.timestamp() * 1000)),
        "encrypt_certificate": signing.encrypt(apiv3_key, pem.encode(), "certificate"),
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
        self._signers: dict[str, tuple[rsa.RSAPrivateKey, str]] = {"public_key": (key, self._public_id)}
        self._keys: dict[str, rsa.RSAPrivateKey] = {self._public_id: key}  # all that ever signed, by their names
        self._certificates: list[str] = []
        self._certify(platform["wechatpay_certified_key"], platform["wechatpay_certificate"])
        for (body,) in desk.book.rows("SELECT body FROM entry WHERE kind = 'wechat_rotated' ORDER BY seq"):
            self._certify(**msgspec.json.decode(body))
        self._merchant_keys: dict[str, rsa.RSAPublicKey] = {}
        self._signs_for: dict[str, list[str]] = {}
        self._settings: dict[str, dict[str, str]] = {}

    def _certify(self, key: str, certificate: str) -> str:
        """From now on this certificate's key signs for those who trust certificates.  Returns its serial number."""
        serial, private = keys.serial_of(certificate), keys.load_private(key)
        self._certificates.append(certificate)
        self._keys[serial] = private
        self._signers["certificate"] = (private, serial)
        return serial

    async def rotate(self) -> str:
        """A new platform certificate signs; those before it stay listed, and open what is sealed with them."""
        key = await self.desk.keys.take()
        pems = {"key": keys.private_pem(key), "certificate": keys.make_certificate(key, "WeChat Pay simulator")}
        self.desk.book.note("wechat_rotated", **pems)
        return self._certify(**pems)

    def switch(self, account: Account, trust: str) -> None:
        """WeChat Pay now signs for this merchant in the other way.  Raises ValueError if there is no such way."""
        if trust not in self._signers:
            raise ValueError("trust must be public_key or certificate")
        account.config = msgspec.json.encode(account.settings() | {"trust": trust}).decode()
        self.desk.book.put(account)
        self._settings.pop(account.id, None)

    async def open_account(self, name: str, address: str, options: Mapping[str, str]) -> Account:
        """A contract.  Options: `trust`, public_key (default) or certificate; `mode`, direct (default) or partner, where what is
        opened is a merchant of a service provider of its own, or, with `partner`, of that merchant's."""
        trust, mode = options.get("trust", "public_key"), options.get("mode", "direct")
        if trust not in self._signers or mode not in MODES or set(options) - {"trust", "mode", "partner"}:
            raise ValueError(
                "trust must be public_key or certificate, mode direct or partner; else there is only partner"
            )
        own = await self._credentials(trust, options.get("partner", ""))
        self._signs_for.clear()
        mchid = own["mchid"] if mode == "direct" else _number()
        config = {
            "base_url": address,
            "oauth_url": address,
            **own,
            "trust": trust,
            "public_key_id": self._public_id,
            "public_key": self._public_pem,
            "mode": mode,
        }
        if mode == "partner":
            config |= {"sub_mchid": mchid, "sub_appid": f"wx{os.urandom(8).hex()}"}
        else:
            config |= {"transfer_scene_id": "1000", "transfer_report": "活动名称=新会员有礼;奖励说明=注册会员抽奖"}
        return Account(mchid, self.name, name, self.desk.clock.now(), msgspec.json.encode(config).decode())

    async def _credentials(self, trust: str, partner: str) -> dict[str, str]:
        """What a merchant or service provider signs and decrypts with: new, or those of another contract of his."""
        names = ("mchid", "appid", "app_secret", "serial_no", "private_key", "apiv3_key")
        if partner:
            found = self.desk.book.accounts.get(partner)
            if found is None or self.settings(found).get("mode") != "partner" or self.settings(found)["trust"] != trust:
                raise ValueError("partner must be a merchant in partner mode, with the same trust")
            return {name: self.settings(found)[name] for name in names}
        key = await self.desk.keys.take()
        values = (
            _number(),
            f"wx{os.urandom(8).hex()}",
            os.urandom(16).hex(),
            os.urandom(20).hex().upper(),
            keys.private_pem(key),
            base64.b32encode(os.urandom(20)).decode(),
        )
        return dict(zip(names, values, strict=True))

    def signed_by(self, mchid: str) -> list[Account]:
        """The contracts for which this merchant or service provider signs."""
        accounts = self.desk.book.accounts
        if mchid not in self._signs_for:
            own = (a for a in accounts.values() if a.channel == self.name)
            self._signs_for[mchid] = [a.id for a in own if self.settings(a)["mchid"] == mchid]
        return [accounts[a] for a in self._signs_for[mchid]]

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
        key = self.settings(account)["apiv3_key"]
        return {"data": [_listed(certificate, key) for certificate in self._certificates]}

    def opened(self, account: Account, serial: str, sealed: str) -> str:
        """What a merchant has encrypted for WeChat Pay (RSA-OAEP), '' if it was not, or not for the key that he names."""
        key = self._keys.get(serial.upper())
        return signing.decrypt(key, sealed) if key else ""

    # --- what is told

    def transaction(self, trade: Trade) -> Facts:
        """The Transaction object.  An unpaid order has no transaction_id, success_time or payer."""
        state = STATES[trade.state]
        if state == "SUCCESS" and self.desk.book.refunds(trade.account, trade.out_trade_no):
            state = "REFUND"
        if state == "NOTPAY" and trade.way == "codepay":
            state = "USERPAYING"
        return self._transaction(trade, "REVOKED" if extra_of(trade).get("reversed") else state)

    def _transaction(self, trade: Trade, state: str) -> Facts:
        fact: Facts = {
            **self._names(trade),
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
                "trade_type": statement.TRADE_TYPES[trade.way],
                "bank_type": "OTHERS",
                "success_time": rfc3339(trade.paid_at),
                "payer": self._payer(trade),
                "amount": {"total": amount, "payer_total": amount, "currency": "CNY", "payer_currency": "CNY"},
            }
        else:
            fact["amount"] = {"total": amount, "currency": "CNY"}
        return fact

    def _names(self, trade: Trade) -> Facts:
        """Whose order it is: the merchant's, or a service provider's for his merchant."""
        config = self.settings(self.desk.book.accounts[trade.account])
        if config.get("mode") != "partner":
            return {"appid": extra_of(trade).get("appid") or config["appid"], "mchid": config["mchid"]}
        names = {"sp_appid": config["appid"], "sp_mchid": config["mchid"], "sub_mchid": config["sub_mchid"]}
        sub = extra_of(trade).get("sub_appid")
        return {**names, "sub_appid": sub} if sub else names

    def _payer(self, trade: Trade) -> Facts:
        openid = extra_of(trade).get("openid") or trade.payer
        if self.settings(self.desk.book.accounts[trade.account]).get("mode") != "partner":
            return {"openid": openid}
        return {"sub_openid" if extra_of(trade).get("sub_appid") else "sp_openid": openid}

    def transfer(self, payout: Payout) -> Facts:
        """A transfer, as it is asked about and told of."""
        extra, payee = extra_of(payout), msgspec.json.decode(payout.payee)
        return {
            "mch_id": payout.account,
            "out_bill_no": payout.out_no,
            "transfer_bill_no": payout.channel_ref,
            "appid": extra["appid"],
            "state": TRANSFER_STATES[payout.state],
            "transfer_amount": payout.amount - (1 if dials.find(payout.dials, "payout", "wrong_amount") else 0),
            "openid": payee["openid"],
            "create_time": rfc3339(payout.created_at),
            "update_time": rfc3339(payout.done_at or payout.created_at),
            **({"fail_reason": extra.get("why", "PAYEE_ACCOUNT_ABNORMAL")} if payout.state == "FAILED" else {}),
        }

    def payment_fact(self, trade: Trade) -> tuple[str, Facts] | None:
        """Only success is told; there is no callback about a closed or failed payment."""
        return ("TRANSACTION.SUCCESS", self._transaction(trade, "SUCCESS")) if trade.state == "paid" else None

    def payout_fact(self, payout: Payout) -> tuple[str, Facts] | None:
        """Its three ends, under one name."""
        fact = self.transfer(payout)
        del fact["appid"]
        return "MCHTRANSFER.BILL.FINISHED", fact

    def refund_fact(self, trade: Trade, refund: Refund) -> tuple[str, Facts] | None:
        """REFUND.SUCCESS or REFUND.ABNORMAL."""
        off = 1 if dials.find(refund.dials, "refund", "wrong_amount") else 0
        money = {"total": trade.amount, "refund": refund.amount - off}
        config = self.settings(self.desk.book.accounts[trade.account])
        own: Facts = {"mchid": trade.account}
        if config.get("mode") == "partner":
            own = {"sp_mchid": config["mchid"], "sub_mchid": trade.account}
        fact: Facts = {
            **own,
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
        kind, summary = _KINDS[callback.op]
        config = self.settings(account)
        body = msgspec.json.encode(
            {
                "id": callback.id,
                "create_time": rfc3339(callback.created_at),
                "resource_type": "encrypt-resource",
                "event_type": callback.event,
                "summary": summary,
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
        """A QR code is paid on the phone that scanned it: nobody goes anywhere.  H5 goes back to the browser it came from."""
        return trade.return_url

    def statement(self, account: Account, day: str, kind: str, lines: Sequence[Line], corrupt: str) -> bytes:
        """The bill as plain bytes, before anybody cuts it."""
        return statement.render(account, kind, lines, wrong_totals=corrupt == "totals")
