"""Signed calls: every one of ours is signed, every reply verified before it means anything.

Calls:   `Authorization: WECHATPAY2-SHA256-RSA2048` over method, path with query, time, nonce and body, a line each.
Replies: over time, nonce and body; `trust` says with which key.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from guilder.channels.conclude import Doubtful
from guilder.channels.config import http_address
from guilder.channels.reading import read_as, read_json
from guilder.channels.signing import Signer
from guilder.channels.wechatpay.config import WeChatConfig
from guilder.channels.wechatpay.states import Refusal
from guilder.channels.wechatpay.trust import Trust
from guilder.core.clock import unix
from guilder.core.exchange import Exchange, HttpCall, HttpReply, NotSent, Silence

T = TypeVar("T")


class Caller:
    """Speaks for one merchant account, or for a service provider.  Raises ValueError if a key cannot be read."""

    def __init__(self, config: WeChatConfig, now: Callable[[], datetime], nonce: Callable[[], str]) -> None:
        self.config = config
        self.trust = Trust(config, now)
        self._base = http_address("base_url", config.base_url)
        self._now = now
        self._nonce = nonce
        self._signer = Signer(config.private_key)

    def ready(self) -> Exchange[None]:
        """Have keys to believe replies with, and to seal by; NotSent if there are none to be had."""
        if self.trust.due():
            yield from self.refresh_trust()
            if self.trust.missing():
                raise NotSent("without platform certificates no reply could be believed, so nothing was asked")

    def call(self, method: str, path: str, content: object = None, *, sealed_by: str = "") -> Exchange[HttpReply]:
        """One signed call; `sealed_by` names the key that has sealed something in it.  The reply is verified and no server error; else
        NotSent, Silence or Doubtful is raised."""
        yield from self.ready()
        body = b"" if content is None else msgspec.json.encode(content)
        reply = yield self.signed(method, path, body, sealed_by)
        if reply.status >= 500 or reply.status == 429:
            refusal = Refusal.read(reply)
            raise Doubtful(refusal.code, refusal.message)
        if self.trust.unknown(reply.headers):
            yield from self.refresh_trust()
        if not self.trust.verifies_reply(reply):
            raise Doubtful("bad_signature", f"the reply with status {reply.status} is not verifiably WeChat Pay's")
        return reply

    def signed(self, method: str, path: str, body: bytes = b"", sealed_by: str = "") -> HttpCall:
        """A call that is ready to go."""
        url = path if "://" in path else self._base + path
        place = urlsplit(url)
        target = f"{place.path}?{place.query}" if place.query else place.path
        stamp, nonce = unix(self._now()), self._nonce()
        signature = self._signer.sign(f"{method}\n{target}\n{stamp}\n{nonce}\n".encode() + body + b"\n")
        headers = {
            "Authorization": f'WECHATPAY2-SHA256-RSA2048 mchid="{self.config.mchid}",nonce_str="{nonce}",'
            f'signature="{signature}",timestamp="{stamp}",serial_no="{self.config.serial_no}"',
            "Accept": "application/json",
            "User-Agent": "guilder",
        }
        if body:
            headers["Content-Type"] = "application/json"
        if sealed_by or self.config.trust == "public_key":
            headers["Wechatpay-Serial"] = sealed_by or self.config.public_key_id.strip()
        return HttpCall(method, url, headers, body)

    def refresh_trust(self) -> Exchange[bool]:
        """Fetch the platform certificates.  In both modes: while a merchant switches, either kind of signature comes."""
        self.trust.trying()
        try:
            reply = yield self.signed("GET", "/v3/certificates")
        except (NotSent, Silence):
            return False
        return self.trust.learn(reply)

    def vouch(self, app: str, what: str) -> tuple[str, str, str]:
        """Time, nonce and signature with which the payer's side shows that it was us who handed it `what`."""
        stamp, nonce = str(unix(self._now())), self._nonce()
        return stamp, nonce, self._signer.sign(f"{app}\n{stamp}\n{nonce}\n{what}\n".encode())


def read(type: type[T], reply: HttpReply) -> T:
    """A verified reply's content.  Doubtful if it is of another form."""
    try:
        return read_as(type, read_json(reply.body))
    except ValueError as error:
        raise Doubtful("unreadable", str(error)) from error
