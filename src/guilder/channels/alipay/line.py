"""The one gateway address: calls signed, replies and callbacks believed only if Alipay signed them.

What names a person or opens an account (biz_content, an OAuth code) travels in the body; the address holds the rest.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import msgspec

from guilder.channels.alipay.config import AlipayConfig
from guilder.channels.alipay.sign import members, signed_text
from guilder.channels.alipay.states import Said
from guilder.channels.alipay.trust import Trust
from guilder.channels.conclude import Doubtful
from guilder.channels.config import http_address
from guilder.channels.model import BadSignature, Inbound, NeedsTrust
from guilder.channels.reading import each_once, read_as
from guilder.channels.signing import Signer
from guilder.core.clock import BEIJING
from guilder.core.exchange import Exchange, HttpCall, NotSent, Silence

CERTIFICATE = "alipay.open.app.alipaycert.download"
_INSIDE = ("biz_content", "grant_type", "code")
_UNSIGNED = frozenset({"sign", "sign_type", "alipay_cert_sn"})  # of a callback
_MAX_FIELDS = 200
# As the official SDK does: the gateway must know `charset` before it reads the body.
_HEADERS = {"Content-Type": "application/x-www-form-urlencoded;charset=utf-8", "User-Agent": "guilder"}


class _Heard(NamedTuple):
    """A reply as it came: what it says, the text that was signed, and by whom it claims to be."""

    said: Said
    text: str
    signature: str
    signed_by: str


class Line:
    """Speaks for one app.  Raises ValueError if a key or certificate cannot be read."""

    def __init__(self, config: AlipayConfig, now: Callable[[], datetime]) -> None:
        self._config = config
        self._gateway = http_address("gateway", config.gateway)
        self._now = now
        self._signer = Signer(config.private_key)
        self._trust = Trust(config, self._signer, now)

    def order_string(self, method: str, content: Mapping[str, Any], further: Mapping[str, str]) -> str:
        """A whole signed call as one text: for the wallet's own code, or behind the gateway's address for a browser."""
        return urlencode(self._signed(method, content, further))

    def address(self, method: str, content: Mapping[str, Any], further: Mapping[str, str]) -> str:
        """The address to which a payer's browser is sent."""
        return f"{self._gateway}?{self.order_string(method, content, further)}"

    def call(
        self, method: str, content: Mapping[str, Any] | None, further: Mapping[str, str] | None = None
    ) -> Exchange[Said]:
        """One signed call and what its verified reply said; else NotSent, Silence or Doubtful is raised."""
        heard = yield from self._hear(method, content, further or {})
        if self._trust.misses(heard.signed_by):
            yield from self.learn()
        if not self._trust.verifies(heard.text.encode(), heard.signature, heard.signed_by):
            raise Doubtful("bad_signature", f"{heard.said.word}: the reply is not verifiably Alipay's")
        return heard.said

    def learn(self) -> Exchange[bool]:
        """Fetch the certificate that is wanted.  The reply need not be signed: a root vouches for what it brings."""
        if not self._trust.wanted:
            return False
        self._trust.trying()
        try:
            heard = yield from self._hear(CERTIFICATE, {"alipay_cert_sn": self._trust.wanted}, {})
        except (NotSent, Silence, Doubtful):  # whatever was asked before this has been sent
            return False
        content = heard.said.node.get("alipay_cert_content")
        return isinstance(content, str) and self._trust.learn(content)

    def _hear(self, method: str, content: Mapping[str, Any] | None, further: Mapping[str, str]) -> Exchange[_Heard]:
        params = self._signed(method, content, further)
        body = urlencode({name: params.pop(name) for name in _INSIDE if name in params}).encode()
        reply = yield HttpCall("POST", f"{self._gateway}?{urlencode(params)}", _HEADERS, body)
        if reply.status != 200:
            raise Doubtful(f"HTTP_{reply.status}")
        try:
            return _read(method, reply.body)
        except (ValueError, StopIteration) as error:
            raise Doubtful("unreadable", str(error)) from error

    def _signed(self, method: str, content: Mapping[str, Any] | None, further: Mapping[str, str]) -> dict[str, str]:
        params = {
            "app_id": self._config.app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": self._now().astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S"),
            "version": "1.0",
            **self._trust.says,
            "app_auth_token": self._config.app_auth_token,
            **further,
            "biz_content": "" if content is None else msgspec.json.encode(content).decode(),
        }
        params = {name: value for name, value in params.items() if value}
        params["sign"] = self._signer.sign(signed_text(params))
        return params

    def heard(self, inbound: Inbound) -> dict[str, str]:
        """The parameters of a callback, once Alipay is known to have signed them.  BadSignature, NeedsTrust."""
        try:
            pairs = parse_qsl(
                inbound.body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict",
                max_num_fields=_MAX_FIELDS,
            )  # fmt: skip
            params = each_once(pairs)
            text = signed_text(params, _UNSIGNED)
        except ValueError as error:
            raise BadSignature(f"not a form: {error}") from error
        signed_by = params.get("alipay_cert_sn", "")
        if params.get("sign_type") == "RSA2":
            if self._trust.verifies(text, params.get("sign", ""), signed_by):
                return params
            if self._trust.misses(signed_by):
                raise NeedsTrust("signed with a certificate that is not known yet")
        raise BadSignature("the signature does not verify")


def _read(method: str, body: bytes) -> _Heard:
    """ValueError or StopIteration unless it is a reply to `method`."""
    said = members(body.decode())
    name = next(n for n in (method.replace(".", "_") + "_response", "error_response") if n in said)
    node, text = said[name]
    words = Said.of(read_as(dict[str, Any], node))
    signature, signed_by = (read_as(str, said.get(n, ("", ""))[0]) for n in ("sign", "alipay_cert_sn"))
    return _Heard(words, text, signature, signed_by)
