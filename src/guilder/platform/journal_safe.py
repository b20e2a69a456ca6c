"""What of a channel's messages the journal may keep: no secret, and nothing that names a person.

Names of fields are told here once, for all channels, in JSON, in forms, and in JSON that is a field of a form (Alipay).
"""

import re
from collections.abc import Mapping

import msgspec

KEPT_BODY = 65_536  # bytes of a body that the journal keeps
_HEADERS = frozenset(
    {
        "content-type", "request-id", "wechatpay-serial", "wechatpay-timestamp", "date", "content-length", "paypal-debug-id",
        "paypal-transmission-id", "paypal-transmission-time", "paypal-cert-url",
    }
)  # fmt: skip
_FIELDS = b"|".join(
    (
        rb"(?:sp_|sub_)?openid", b"user_name", b"user_received_account", b"payer_client_ip", b"real_name", b"bank_account",  # WeChat Pay
        b"buyer_user_name", b"buyer_logon_id", b"buyer_id", b"buyer_open_id", b"buyer_user_id",  # Alipay
        b"accNo", b"customerInfo", b"qrNo",  # UnionPay
        b"email_address", b"payer_id", b"receiver", b"given_name", b"surname", b"phone_number", b"national_number", b"paypal_account_id",
        rb"address_line_[123]",  # PayPal
        b"name", b"email", b"phone", b"line[12]", b"receipt_email", b"postal_code", b"unionid",  # Stripe's billing_details, and others
        b"auth_code", b"client_secret", rb"(?:access|refresh)_token",  # these open doors
    )
)  # fmt: skip
_IN_JSON = re.compile(rb'("(?:' + _FIELDS + rb')"\s*:\s*")(?:[^"\\]|\\.)*')
_IN_FORM = re.compile(rb"((?:^|&)(?:" + _FIELDS + rb")=)[^&]*")
_IN_URL = re.compile(r"([?&](?:sign|key|secret|app_auth_token)=)[^&]*")
# Alipay's calls carry JSON in one field of a form, where a quote is %22; its OAuth carries a code in, and tells who holds the wallet.
_JSON_IN_FORM = re.compile(
    rb"(%22(?:auth_code|(?:op_)?buyer_(?:open_)?id|buyer_logon_id|identity|name)%22%3A(?:%20|\+)?%22)"
    rb"(?:%5C%[0-9A-Fa-f]{2}|%(?!22)[0-9A-Fa-f]{2}|[^%&])*"
)
_OAUTH = re.compile(rb'((?:^|&)code=|"(?:(?:alipay_)?user_id|open_id)"\s*:\s*")[^&"]*')
REMOVED = rb"\1[removed]"


def headers(said: Mapping[str, str]) -> str:
    """The headers that are kept, as JSON."""
    return msgspec.json.encode({k: v for k, v in said.items() if k.lower() in _HEADERS}).decode()


def url(said: str) -> str:
    """An address without its secrets."""
    return _IN_URL.sub(r"\1[removed]", said)


def without_persons(body: bytes) -> bytes:
    """The body without what names a person or opens a door; cut to what the journal keeps."""
    pattern = _IN_JSON if body[:64].lstrip().startswith(b"{") else _IN_FORM
    kept = pattern.sub(REMOVED, body[:KEPT_BODY])
    # Most bodies have neither, and a pattern takes ten times as long to find that out.
    if b"%22" in kept:
        kept = _JSON_IN_FORM.sub(REMOVED, kept)
    if b"code=" in kept or b'user_id"' in kept or b'open_id"' in kept:
        kept = _OAUTH.sub(REMOVED, kept)
    return kept
