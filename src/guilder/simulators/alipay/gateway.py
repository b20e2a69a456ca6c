"""Alipay's one address: reads the parameters from wherever they stand, verifies them, and finds the operation."""

import os
import time
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from guilder.simulators.alipay import signing
from guilder.simulators.alipay.asks import Ask, Failed
from guilder.simulators.alipay.certificates import number
from guilder.simulators.alipay.channel import Alipay
from guilder.simulators.alipay.methods import METHODS
from guilder.simulators.alipay.operations import Operations
from guilder.simulators.alipay.wallet import Wallet
from guilder.simulators.model import Account
from guilder.simulators.replies import Said, answer

_JSON = {"Content-Type": "application/json;charset=utf-8"}
_BILL_VALID_S = 30
_NOT_CONTENT = ("biz_content", "sign")


class Gateway:
    """Where merchants' requests and payers' browsers arrive."""

    def __init__(self, channel: Alipay) -> None:
        self._channel = channel
        self._desk = channel.desk
        self._operations = Operations(channel)
        self._bills: dict[str, tuple[float, bytes]] = {}
        self._wallet = Wallet(channel)

    def routes(self) -> list[Route]:
        """All addresses of the channel."""
        return [
            Route("/gateway.do", self.serve, methods=["GET", "POST"]),
            Route("/alipay/bills/{token}.zip", self.download, methods=["GET"]),
            *self._wallet.routes(),
        ]

    async def serve(self, request: Request) -> Response:
        """GET or POST /gateway.do: SDKs put the parameters in the query, the body or both."""
        params = dict(parse_qsl(request.scope["query_string"].decode(), keep_blank_values=True))
        params |= dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))
        return await self.perform(params, f"{request.url.scheme}://{request.url.netloc}")

    async def perform(self, params: dict[str, str], address: str) -> Response:
        """One operation, whoever sent its parameters."""
        name = params.get("method", "")
        try:
            account = self._admit(params)
        except Failed as failed:
            return self._turned_down(params, failed)
        method = METHODS[name]

        def dress(said: Said, spoiled: bool) -> Response:
            content = msgspec.json.decode(said.body)
            if method.form == "page":
                return RedirectResponse(content["go"], 303) if "go" in content else _sorry(content)
            if method.form == "bare":
                node = "error_response" if "code" in content else name.replace(".", "_") + "_response"
                return self._reply(account, node, content, spoiled)
            content = content if "code" in content else {"code": "10000", "msg": "Success", **content}
            return self._reply(account, name.replace(".", "_") + "_response", content, spoiled, method.form != "open")

        try:
            ask = self._read(account, params, address)
            no, kept = self._operations.look(method.op, ask)
        except Failed as failed:
            return dress(Said(200, msgspec.json.encode(failed.content())), False)

        def act() -> Said:
            try:
                content = method.act(self._operations, ask)
                if "bill" in content:
                    content = self._offer(content, address)
            except Failed as failed:
                content = failed.content()
            return Said(200, msgspec.json.encode(content))

        if method.op == "bill":
            await self._desk.book.commit()
        return await answer(self._desk, account, method.op, no, kept, act, dress)

    def _turned_down(self, params: dict[str, str], failed: Failed) -> Response:
        """Who is not known is told so without a signature."""
        account, name = self._desk.book.accounts.get(params.get("app_id", "")), params.get("method", "")
        if name in METHODS and account is not None and account.channel == self._channel.name:
            return self._reply(account, name.replace(".", "_") + "_response", failed.content(), False)
        return Response(signing.envelope("error_response", failed.content(), None, spoiled=False), 200, _JSON)

    def _reply(
        self, account: Account, node: str, content: dict[str, object], spoiled: bool, signed: bool = True
    ) -> Response:
        key, by = (self._channel.key(account), self._channel.number(account)) if signed else (None, "")
        return Response(signing.envelope(node, content, key, spoiled=spoiled, number=by), 200, _JSON)

    def _admit(self, params: dict[str, str]) -> Account:
        """The account that signed these parameters.  Raises Failed, as the gateway words it."""
        for name in ("app_id", "method", "sign", "sign_type", "timestamp", "version", "charset"):
            if not params.get(name):
                raise Failed(
                    "40001", f"isv.missing-{name.replace('_', '-')}", f"缺少{name}参数", "Missing Required Arguments"
                )
        account = self._desk.book.accounts.get(params["app_id"])
        if account is None or account.channel != self._channel.name:
            raise Failed("40002", "isv.invalid-app-id", "无效的AppID参数", "Invalid Arguments")
        if params["method"] not in METHODS:
            raise Failed("40002", "isv.invalid-method", "不存在的方法名", "Invalid Arguments")
        if params["sign_type"] != "RSA2":
            raise Failed("40002", "isv.invalid-signature-type", "无效的签名类型", "Invalid Arguments")
        if params["charset"].lower() != "utf-8" or params.get("format", "JSON").upper() != "JSON":
            raise Failed("40002", "isv.invalid-charset", "字符集错误", "Invalid Arguments")
        if not signing.verify_request(self._channel.merchant_key(account), params):
            raise Failed("40002", "isv.invalid-signature", "无效签名", "Invalid Arguments")
        self._check_papers(self._channel.settings(account), params)
        return account

    def _check_papers(self, config: dict[str, str], params: dict[str, str]) -> None:
        """Certificate mode names both sides' papers; a partner names the merchant's grant."""
        if "app_cert" in config:
            if params.get("app_cert_sn") != number(config["app_cert"]):
                raise Failed("40002", "isv.invalid-app-cert-sn", "应用公钥证书SN无效", "Invalid Arguments")
            if params.get("alipay_root_cert_sn") != number(self._channel.platform["alipay_root"]):
                raise Failed("40002", "isv.invalid-alipay-root-cert-sn", "支付宝根证书SN无效", "Invalid Arguments")
        grant = config.get("app_auth_token", "")
        if params.get("app_auth_token", "") != grant:
            raise Failed("20001", "aop.invalid-app-auth-token", "无效的应用授权令牌", "Insufficient Token Permissions")

    def _read(self, account: Account, params: dict[str, str], address: str) -> Ask:
        try:
            content = msgspec.json.decode(params.get("biz_content") or "{}", type=dict[str, object])
        except msgspec.DecodeError:
            raise Failed("40002", "isv.invalid-parameter", "biz_content不是合法的JSON", "Invalid Arguments") from None
        return Ask(account, content, {k: v for k, v in params.items() if k not in _NOT_CONTENT}, address)

    def _offer(self, content: dict[str, object], address: str) -> dict[str, object]:
        """Put a bill where it can be fetched for half a minute."""
        bill, token = content["bill"], os.urandom(24).hex()
        assert isinstance(bill, bytes)
        self._bills = {key: kept for key, kept in self._bills.items() if kept[0] > time.monotonic()}
        self._bills[token] = (time.monotonic() + _BILL_VALID_S, bill)
        return {"bill_download_url": f"{address}/alipay/bills/{token}.zip"}

    async def download(self, request: Request) -> Response:
        """GET the bill_download_url: the zip.  Neither request nor reply is signed."""
        found = self._bills.get(request.path_params["token"])
        if found is None or found[0] < time.monotonic():
            return PlainTextResponse("expired", 403)
        return Response(found[1], media_type="application/zip")


def _sorry(content: dict[str, str]) -> Response:
    """What the payer's browser sees when the shop's request was wrong."""
    return PlainTextResponse(f"{content['sub_code']}: {content['sub_msg']}\n", 400)
