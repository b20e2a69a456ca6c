"""The door of the APIv3: who asks, whether he signed it, and how he is answered.

A direct merchant signs for himself.  In partner mode the service provider signs, and names by `sub_mchid` (in the body, or in the
query of a GET) for which of its merchants: an account of ours is one such contract.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from guilder.simulators.model import Account
from guilder.simulators.replies import Said, answer, say
from guilder.simulators.wechatpay import signing
from guilder.simulators.wechatpay.channel import WeChatPay

Look = Callable[[Account], tuple[str, str, Callable[[], Said]]]
PLAIN = {"Content-Type": "application/json; charset=utf-8"}


class Refused(Exception):
    """The operation is refused: HTTP status, code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message

    def said(self) -> Said:
        """As an answer."""
        return say({"code": self.code, "message": self.message}, self.status)


class _Sub(msgspec.Struct):
    sub_mchid: str = ""


def read(body: bytes, form: Any) -> Any:
    """A request's body.  Raises Refused PARAM_ERROR."""
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, "PARAM_ERROR", f"参数错误: {error}") from error


def path(direct: str) -> tuple[str, str]:
    """The address of a payment operation for direct merchants, and for partners."""
    return f"/v3/pay/transactions{direct}", f"/v3/pay/partner/transactions{direct}"


class Door:
    """Where merchants' requests arrive."""

    def __init__(self, channel: WeChatPay) -> None:
        self.channel = channel
        self.desk = channel.desk

    async def admit(self, request: Request) -> Account:
        """The account that this request is about, whose keys have signed it.  Raises Refused."""
        claim = signing.read_claim(request.headers.get("authorization", ""))
        signers = self.channel.signed_by(claim.mchid) if claim else []
        if claim is None or not signers:
            raise Refused(401, "SIGN_ERROR", "签名错误：无法识别的商户或认证信息")
        target = request.scope["raw_path"].decode()
        if query := request.scope["query_string"].decode():
            target += f"?{query}"
        if claim.serial_no.upper() != self.channel.settings(signers[0])["serial_no"]:
            raise Refused(401, "SIGN_ERROR", "签名错误：商户证书序列号有误")
        if not signing.is_fresh(claim.timestamp):
            raise Refused(401, "SIGN_ERROR", "签名错误：时间戳超出五分钟")
        body = await request.body()
        if not signing.verify_request(self.channel.merchant_key(signers[0]), claim, request.method, target, body):
            raise Refused(401, "SIGN_ERROR", "签名错误，请检查后再试")
        if not request.headers.get("user-agent") or "accept" not in request.headers:
            raise Refused(400, "PARAM_ERROR", "Http头缺少Accept或User-Agent")
        return self._meant(request, signers, body)

    def _meant(self, request: Request, signers: list[Account], body: bytes) -> Account:
        """Of those for whom this key signs, the one that the request names."""
        is_partner = self.channel.settings(signers[0]).get("mode") == "partner"
        place = request.url.path
        if place.startswith("/v3/pay/") and place.startswith("/v3/pay/partner/") != is_partner:
            raise Refused(403, "NO_AUTH", "商户无权限：直连商户与服务商的接口不同")
        if not is_partner or not place.startswith(("/v3/pay/", "/v3/refund/", "/v3/bill/tradebill")):
            return signers[0]
        sub = parse_qs(request.url.query).get("sub_mchid", [""])[0] or (read(body, _Sub).sub_mchid if body else "")
        for account in signers:
            if account.id == sub:
                return account
        raise Refused(400, "PARAM_ERROR", "参数错误：sub_mchid无效")

    async def serve(self, request: Request, op: str, look: Look) -> Response:
        """Admit, then do what `look` finds: (out_trade_no, the trade's dials, the act)."""
        try:
            account = await self.admit(request)
        except Refused as refused:
            # A request that we cannot place is answered without a signature.
            return Response(refused.said().body, refused.status, PLAIN)

        def dress(said: Said, spoiled: bool) -> Response:
            return self.channel.dress(account, said, spoiled)

        try:
            out_trade_no, kept, act = look(account)
        except Refused as refused:
            out_trade_no, kept, act = "", "", refused.said

        def guarded() -> Said:
            try:
                return act()
            except Refused as refused:
                return refused.said()

        return await answer(self.desk, account, op, out_trade_no, kept, guarded, dress)
