"""Alipay's one address: reads the parameters from wherever they stand, verifies them, and finds the operation."""

import os
import time
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from guilder.simulators.alipay import signing
from guilder.simulators.alipay.channel import Alipay
from guilder.simulators.alipay.operations import OPERATIONS, Ask, Failed, Operations
from guilder.simulators.model import Account
from guilder.simulators.replies import Said, answer

_JSON = {"Content-Type": "application/json;charset=utf-8"}
_HTML_METHODS = ("alipay.trade.page.pay",)
_BILL_VALID_S = 30


class Gateway:
    """Where merchants' requests and payers' browsers arrive."""

    def __init__(self, channel: Alipay) -> None:
        self._channel = channel
        self._desk = channel.desk
        self._operations = Operations(channel)
        self._bills: dict[str, tuple[float, bytes]] = {}

    def routes(self) -> list[Route]:
        """All addresses of the channel."""
        return [
            Route("/gateway.do", self.serve, methods=["GET", "POST"]),
            Route("/alipay/bills/{token}.zip", self.download, methods=["GET"]),
        ]

    async def serve(self, request: Request) -> Response:
        """GET or POST /gateway.do: SDKs put the parameters in the query, the body or both."""
        params = dict(parse_qsl(request.scope["query_string"].decode(), keep_blank_values=True))
        params |= dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))
        return await self.perform(params, f"{request.url.scheme}://{request.url.netloc}")

    async def perform(self, params: dict[str, str], address: str) -> Response:
        """One operation, whoever sent its parameters."""
        method = params.get("method", "")
        node = method.replace(".", "_") + "_response"
        try:
            account = self._admit(params)
        except Failed as failed:
            known = self._desk.book.accounts.get(params.get("app_id", ""))
            node = node if method in OPERATIONS and known else "error_response"
            key = self._channel.key if node != "error_response" else None
            return Response(signing.envelope(node, failed.content(), key, spoiled=False), 200, _JSON)
        operation = OPERATIONS[method]
        is_page = method in _HTML_METHODS

        def dress(said: Said, spoiled: bool) -> Response:
            if is_page:
                content = msgspec.json.decode(said.body)
                return RedirectResponse(content["go"], 303) if "go" in content else _sorry(content)
            return self._reply(node, said, spoiled)

        try:
            ask = self._read(account, params, address)
            no, kept = self._operations.look(operation.op, ask)
        except Failed as failed:
            return dress(Said(200, msgspec.json.encode(failed.content())), False)

        def act() -> Said:
            try:
                content = operation.act(self._operations, ask)
                if "bill" in content:
                    content = self._offer(content, address)
            except Failed as failed:
                content = failed.content()
            return Said(200, msgspec.json.encode(content))

        if operation.op == "bill":
            await self._desk.book.commit()
        return await answer(self._desk, account, operation.op, no, kept, act, dress)

    def _reply(self, node: str, said: Said, spoiled: bool) -> Response:
        content = msgspec.json.decode(said.body)
        success = content if "code" in content else {"code": "10000", "msg": "Success", **content}
        return Response(signing.envelope(node, success, self._channel.key, spoiled=spoiled), 200, _JSON)

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
        if params["method"] not in OPERATIONS:
            raise Failed("40002", "isv.invalid-method", "不存在的方法名", "Invalid Arguments")
        if params["sign_type"] != "RSA2":
            raise Failed("40002", "isv.invalid-signature-type", "无效的签名类型", "Invalid Arguments")
        if params["charset"].lower() != "utf-8" or params.get("format", "JSON").upper() != "JSON":
            raise Failed("40002", "isv.invalid-charset", "字符集错误", "Invalid Arguments")
        if not signing.verify_request(self._channel.merchant_key(account), params):
            raise Failed("40002", "isv.invalid-signature", "无效签名", "Invalid Arguments")
        return account

    def _read(self, account: Account, params: dict[str, str], address: str) -> Ask:
        try:
            content = msgspec.json.decode(params.get("biz_content") or "{}", type=dict[str, object])
        except msgspec.DecodeError:
            raise Failed("40002", "isv.invalid-parameter", "biz_content不是合法的JSON", "Invalid Arguments") from None
        return Ask(account, content, params.get("notify_url", ""), params.get("return_url", ""), address)

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
