"""UnionPay's addresses: reads the form, verifies it, finds the operation, signs what it answers."""

import base64
import zlib
from urllib.parse import parse_qsl, quote

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from guilder.simulators import statements
from guilder.simulators.clock import beijing, day_bounds
from guilder.simulators.model import Account
from guilder.simulators.replies import Said, answer, say
from guilder.simulators.unionpay import certificates, signing
from guilder.simulators.unionpay.channel import UnionPay
from guilder.simulators.unionpay.operations import Ask, Failed, Operations

_ENDPOINTS = ("frontTransReq", "backTransReq", "appTransReq", "queryTrans")
_ECHOED = (
    "version", "encoding", "signMethod", "accessType", "merId", "bizType", "txnType", "txnSubType", "orderId", "txnTime", "reqReserved",
)  # fmt: skip


class Gateway:
    """Where merchants' forms and payers' browsers arrive."""

    def __init__(self, channel: UnionPay) -> None:
        self._channel = channel
        self._desk = channel.desk
        self._operations = Operations(channel)

    def routes(self) -> list[Route]:
        """All addresses of the channel."""
        return [
            Route("/gateway/api/{endpoint}.do", self.serve, methods=["POST"]),
            Route("/unionpay/files/", self.file, methods=["POST"]),
        ]

    async def serve(self, request: Request) -> Response:
        """POST /gateway/api/*.do"""
        params, endpoint = await _form(request), request.path_params["endpoint"]
        is_page = endpoint == "frontTransReq"

        def dress(said: Said, spoiled: bool) -> Response:
            content = msgspec.json.decode(said.body, type=dict[str, str])
            if not is_page:
                return self._reply(params, content, spoiled=spoiled)
            if "go" in content:
                return RedirectResponse(f"/phone?code={quote(content['go'], safe='')}", 303)
            return PlainTextResponse(f"{content['respCode']}: {content['respMsg']}\n", 400)

        try:
            account = self._admit(params)
            if endpoint not in _ENDPOINTS:
                raise Failed("10")
            ask = Ask(account, endpoint, params)
            op, no, kept = self._operations.look(ask)
        except Failed as failed:
            return dress(say(failed.content()), False)

        def act() -> Said:
            try:
                content = self._operations.perform(ask)
            except Failed as failed:
                content = failed.content()
            return say(content)

        return await answer(self._desk, account, op, no, kept, act, dress)

    async def file(self, request: Request) -> Response:
        """POST to the files' address: the zip of a day inside a signed reply."""
        params = await _form(request)

        def dress(said: Said, spoiled: bool) -> Response:
            return self._reply(params, msgspec.json.decode(said.body, type=dict[str, str]), spoiled=spoiled)

        try:
            account = self._admit(params)
        except Failed as failed:
            return dress(say(failed.content()), False)
        await self._desk.book.commit()
        return await answer(self._desk, account, "bill", "", "", lambda: say(self._bill(account, params)), dress)

    def _bill(self, account: Account, params: dict[str, str]) -> dict[str, str]:
        """The file of settleDate: it has no year, so it is the last such day."""
        try:
            if (params.get("txnType"), params.get("txnSubType"), params.get("fileType")) != ("76", "01", "00"):
                raise Failed("10")
            day = self._day(params.get("settleDate", ""))
        except Failed as failed:
            return failed.content()
        found = statements.find(self._desk.book, account, day, self._desk.clock.now())
        lines = statements.lines_of(found) if found else []
        if found is None or not lines:
            return Failed("98").content()
        packed = self._channel.statement(account, day, "00", lines, found.corrupt)
        content = base64.b64encode(zlib.compress(packed)).decode()
        return {"fileName": f"{account.id}_{day.replace('-', '')}.zip", "fileContent": content}

    def _day(self, text: str) -> str:
        today = beijing(self._desk.clock.now() + 3_600_000)
        for year in (today.year, today.year - 1):
            day = f"{year}-{text[:2]}-{text[2:]}"
            try:
                if len(text) == 4 and day_bounds(day) and day <= f"{today:%Y-%m-%d}":
                    return day
            except ValueError:
                continue
        raise Failed("10")

    def _admit(self, params: dict[str, str]) -> Account:
        """The merchant who signed this form.  Raises Failed."""
        for name in ("version", "encoding", "signMethod", "txnType", "txnSubType", "bizType", "accessType", "merId", "txnTime", "certId"):  # fmt: skip
            if not params.get(name):
                raise Failed("13")
        account = self._desk.book.accounts.get(params["merId"])
        if params["version"] != "5.1.0" or params["encoding"].upper() != "UTF-8" or params["signMethod"] != "01":
            raise Failed("10")
        if account is None or account.channel != self._channel.name:
            raise Failed("11")
        known = certificates.serial_of(self._channel.settings(account)["certificate"])
        if params["certId"] != known or not signing.verify(self._channel.merchant_key(account), params):
            raise Failed("11")
        return account

    def _reply(self, params: dict[str, str], content: dict[str, str], *, spoiled: bool) -> Response:
        """What was asked comes back, with the answer."""
        echoed = {name: params[name] for name in _ECHOED if params.get(name)}
        whole = {**echoed, "respCode": "00", "respMsg": "成功[0000000]", **content}
        body = signing.body_of(self._channel.signer.sign(whole, spoiled=spoiled))
        return Response(body, 200, {"Content-Type": "text/html;charset=UTF-8"})


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))
