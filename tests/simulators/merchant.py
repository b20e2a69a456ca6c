"""Merchants who speak the raw wire to the simulators, so that a test sees every byte."""

import base64
import functools
import http.client
import json
import os
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PADDING, SHA256 = padding.PKCS1v15(), hashes.SHA256()


@functools.cache
def load(private_pem: str) -> rsa.RSAPrivateKey:
    """Reading a private key checks it, which takes longer than using it."""
    key = serialization.load_pem_private_key(private_pem.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def sign(private_pem: str, text: bytes) -> str:
    """SHA256withRSA, base64."""
    return base64.b64encode(load(private_pem).sign(text, PADDING, SHA256)).decode()


def is_signed(public_pem: str, text: bytes, signature: str) -> bool:
    """Whether the signature is one over this text."""
    key = serialization.load_pem_public_key(public_pem.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    try:
        key.verify(base64.b64decode(signature), text, PADDING, SHA256)
    except (InvalidSignature, ValueError):
        return False
    return True


class WeChatMerchant:
    """Calls WeChat Pay; `signed` tells whether the last reply's signature was right."""

    def __init__(self, config: dict[str, str], notify_url: str, timeout_s: float = 10) -> None:
        self.config, self.notify_url, self.timeout_s = config, notify_url, timeout_s
        self.id = config["mchid"]
        self.signed = False

    def call(self, method: str, path: str, body: object = None, **spoil: str) -> tuple[int, Any]:
        """Status and content.  `spoil` overrides fields of the Authorization header."""
        host = urlsplit(self.config["base_url"]).netloc
        data = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        fields = {"mchid": self.id, "nonce_str": os.urandom(8).hex(), "timestamp": str(int(time.time()))}
        fields |= {"serial_no": self.config["serial_no"].lower()} | spoil
        text = f"{method}\n{path}\n{fields['timestamp']}\n{fields['nonce_str']}\n".encode() + data + b"\n"
        fields.setdefault("signature", sign(self.config["private_key"], text))
        claim = ",".join(f'{name}="{value}"' for name, value in fields.items())
        headers = {"Authorization": f"WECHATPAY2-SHA256-RSA2048 {claim}", "Accept": "*/*", "User-Agent": "test"}
        line = http.client.HTTPConnection(host, timeout=self.timeout_s)
        try:
            line.request(method, path, data, {**headers, "Content-Type": "application/json"})
            reply = line.getresponse()
            content = reply.read()
        finally:
            line.close()
        self.signed = self.verify(dict(reply.headers), content)
        is_json = "json" in reply.headers.get("Content-Type", "")
        return reply.status, json.loads(content) if is_json and content else content

    def verify(self, headers: dict[str, str], body: bytes) -> bool:
        """Whether headers and body of a reply or callback belong together."""
        proof = {name.lower(): value for name, value in headers.items()}
        if "wechatpay-signature" not in proof:
            return False
        text = f"{proof['wechatpay-timestamp']}\n{proof['wechatpay-nonce']}\n".encode() + body + b"\n"
        return is_signed(self.config["public_key"], text, proof["wechatpay-signature"])

    def open_callback(self, body: bytes) -> dict[str, Any]:
        """The event with its decrypted resource."""
        event = json.loads(body)
        box = event["resource"]
        key = AESGCM(self.config["apiv3_key"].encode())
        text = key.decrypt(box["nonce"].encode(), base64.b64decode(box["ciphertext"]), box["associated_data"].encode())
        return {**event, "resource": json.loads(text)}

    def create(self, number: str, total: int = 100, attach: str = "", **more: Any) -> tuple[int, Any]:
        """A native order."""
        body = {
            "appid": self.config["appid"],
            "mchid": self.id,
            "description": "测试",
            "out_trade_no": number,
            "notify_url": self.notify_url,
            "amount": {"total": total, "currency": "CNY"},
            "attach": attach,
        }
        return self.call("POST", "/v3/pay/transactions/native", {**body, **more})

    def query(self, number: str) -> tuple[int, Any]:
        """By out_trade_no."""
        return self.call("GET", f"/v3/pay/transactions/out-trade-no/{number}?mchid={self.id}")

    def close(self, number: str) -> tuple[int, Any]:
        """By out_trade_no."""
        return self.call("POST", f"/v3/pay/transactions/out-trade-no/{number}/close", {"mchid": self.id})

    def refund(self, number: str, refund_number: str, refund: int, total: int = 100) -> tuple[int, Any]:
        """A part of an order, or all of it."""
        money = {"refund": refund, "total": total, "currency": "CNY"}
        body = {"out_trade_no": number, "out_refund_no": refund_number, "amount": money, "notify_url": self.notify_url}
        return self.call("POST", "/v3/refund/domestic/refunds", body)

    def bill(self, day: str, kind: str = "ALL") -> tuple[int, Any]:
        """Where the day's file is."""
        return self.call("GET", f"/v3/bill/tradebill?bill_date={day}&bill_type={kind}")

    def download(self, url: str) -> bytes:
        """The file."""
        parts = urlsplit(url)
        status, content = self.call("GET", f"{parts.path}?{parts.query}")
        assert status == 200, content
        return content


class AlipayMerchant:
    """Calls Alipay; `signed` tells whether the last reply's signature was right."""

    def __init__(self, config: dict[str, str], notify_url: str, timeout_s: float = 10) -> None:
        self.config, self.notify_url, self.timeout_s = config, notify_url, timeout_s
        self.id = config["app_id"]
        self.signed = False

    def params(self, method: str, content: Mapping[str, object], **more: str) -> dict[str, str]:
        """Signed parameters of a request."""
        params = {
            "app_id": self.id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": time.strftime("%Y-%m-%d %H:%M:%S"),
            "version": "1.0",
            "notify_url": self.notify_url,
            "biz_content": json.dumps(content, ensure_ascii=False),
            **more,
        }
        text = "&".join(f"{key}={value}" for key, value in sorted(params.items()) if value)
        return {**params, "sign": sign(self.config["private_key"], text.encode())}

    def call(self, method: str, **content: object) -> dict[str, Any]:
        """The reply's content; the common parameters go in the query, biz_content in the body."""
        params = self.params(method, content)
        body = urlencode({"biz_content": params.pop("biz_content")})
        return json.loads(self.send(params, body).partition(b":")[2].partition(b',"sign"')[0].rstrip(b"}") + b"}")

    def send(self, query: dict[str, str], body: str) -> bytes:
        """The raw reply of a POST; checks its signature."""
        parts = urlsplit(self.config["gateway"])
        line = http.client.HTTPConnection(parts.netloc, timeout=self.timeout_s)
        try:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            line.request("POST", f"{parts.path}?{urlencode(query)}", body, headers)
            reply = line.getresponse()
            content = reply.read()
        finally:
            line.close()
        if reply.status != 200:
            return b'x:{"status":%d}' % reply.status
        inner, _, signature = content.partition(b":")[2].partition(b',"sign":"')
        self.signed = is_signed(self.config["alipay_public_key"], inner, signature[:-2].decode())
        return content

    def page(self, number: str, amount: str, return_url: str, **content: object) -> str:
        """The address of a pay page."""
        order = {
            "out_trade_no": number,
            "total_amount": amount,
            "subject": "页面",
            "product_code": "FAST_INSTANT_TRADE_PAY",
        }
        params = self.params("alipay.trade.page.pay", order | content, return_url=return_url)
        return f"{self.config['gateway']}?{urlencode(params)}"

    def precreate(self, number: str, amount: str = "1.00", attach: str = "", **content: object) -> dict[str, Any]:
        """A QR code."""
        order = {"out_trade_no": number, "total_amount": amount, "subject": "测试", "passback_params": quote(attach)}
        return self.call("alipay.trade.precreate", **order, **content)

    def query(self, number: str) -> dict[str, Any]:
        """By out_trade_no."""
        return self.call("alipay.trade.query", out_trade_no=number)

    def verify_notice(self, body: bytes) -> dict[str, str]:
        """A notice's parameters, `signed` set."""
        params = dict(parse_qsl(body.decode(), strict_parsing=True))
        signature = params["sign"]
        pairs = sorted((key, value) for key, value in params.items() if key not in ("sign", "sign_type"))
        text = "&".join(f"{key}={value}" for key, value in pairs).encode()
        self.signed = is_signed(self.config["alipay_public_key"], text, signature)
        return params
