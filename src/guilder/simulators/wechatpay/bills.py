"""WeChat Pay's files: the trade bill, the fund-flow bill, and where they are fetched; and its certificates."""

import gzip
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guilder.simulators import statements
from guilder.simulators.clock import day_bounds
from guilder.simulators.model import Account, Statement
from guilder.simulators.replies import Said, say
from guilder.simulators.statements import Line
from guilder.simulators.wechatpay import funds
from guilder.simulators.wechatpay.door import PLAIN, Door, Refused

_VALID_S = 300
_THREE_MONTHS_MS = 90 * 86_400_000
Render = Callable[[list[Line], str], bytes]


@dataclass
class Bills:
    """Offers are signed; what they offer is not, and is good for five minutes."""

    door: Door
    _offers: dict[str, tuple[float, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._channel, self._desk = self.door.channel, self.door.desk

    def routes(self) -> list[Route]:
        """The addresses."""
        return [
            Route("/v3/bill/tradebill", self.trades, methods=["GET"]),
            Route("/v3/bill/fundflowbill", self.funds, methods=["GET"]),
            Route("/v3/billdownload/file", self.download, methods=["GET"]),
            Route("/v3/certificates", self.certificates, methods=["GET"]),
        ]

    async def trades(self, request: Request) -> Response:
        """GET /v3/bill/tradebill?bill_date=&bill_type=&tar_type=: where to fetch the day's file, and its SHA-1."""
        await self._desk.book.commit()
        kind = request.query_params.get("bill_type", "ALL")

        def act(account: Account) -> Said:
            if kind not in ("ALL", "SUCCESS", "REFUND"):
                raise Refused(400, "PARAM_ERROR", "参数错误：bill_type无效")
            day = request.query_params.get("bill_date", "")
            found, lines = self._frozen(account, request, day)
            return self._offer(request, found, self._channel.statement(account, day, kind, lines, found.corrupt))

        return await self.door.serve(request, "bill", lambda account: ("", "", lambda: act(account)))

    async def funds(self, request: Request) -> Response:
        """GET /v3/bill/fundflowbill?bill_date=&account_type=&tar_type=: how the balance moved; the other accounts have nothing."""
        await self._desk.book.commit()
        of = request.query_params.get("account_type", "BASIC")

        def act(account: Account) -> Said:
            if of not in ("BASIC", "OPERATION", "FEES"):
                raise Refused(400, "PARAM_ERROR", "参数错误：account_type无效")
            day = request.query_params.get("bill_date", "")
            found, lines = self._frozen(account, request, day, also=funds.moved(self._desk.book, account, day) > 0)
            if of != "BASIC":
                raise Refused(400, "NO_STATEMENT_EXIST", "账单文件不存在")
            return self._offer(request, found, funds.render(self._desk.book, account, day, lines, found.corrupt))

        return await self.door.serve(request, "bill", lambda account: ("", "", lambda: act(account)))

    def _frozen(
        self, account: Account, request: Request, day: str, *, also: bool = False
    ) -> tuple[Statement, list[Line]]:
        now = self._desk.clock.now()
        try:
            until = day_bounds(day)[1]
        except ValueError:
            raise Refused(400, "PARAM_ERROR", "参数错误：bill_date无效") from None
        if request.query_params.get("tar_type", "") not in ("", "GZIP"):
            raise Refused(400, "PARAM_ERROR", "参数错误：tar_type无效")
        if now - until > _THREE_MONTHS_MS:
            raise Refused(400, "NO_STATEMENT_EXIST", "账单文件不存在")
        found = statements.find(self._desk.book, account, day, now)
        if found is None:
            raise Refused(400, "STATEMENT_CREATING", "账单生成中，请稍后再试")
        lines = statements.lines_of(found)
        if not lines and not also:
            raise Refused(400, "NO_STATEMENT_EXIST", "账单文件不存在")
        return found, lines

    def _offer(self, request: Request, found: Statement, content: bytes) -> Said:
        digest = hashlib.sha1(content + (b"\n" if found.corrupt == "hash" else b"")).hexdigest()  # noqa: S324 - the protocol's
        content = content[: len(content) * 2 // 3] if found.corrupt == "truncate" else content
        token = os.urandom(24).hex()
        content = gzip.compress(content, mtime=0) if request.query_params.get("tar_type") else content
        self._offers = {key: kept for key, kept in self._offers.items() if kept[0] > time.monotonic()}
        self._offers[token] = (time.monotonic() + _VALID_S, content)
        url = f"{request.url.scheme}://{request.url.netloc}/v3/billdownload/file?token={token}"
        return say({"hash_type": "SHA1", "hash_value": digest, "download_url": url})

    async def download(self, request: Request) -> Response:
        """GET the download_url: the file.  Its reply is not signed."""
        try:
            await self.door.admit(request)
            found = self._offers.get(request.query_params.get("token", ""))
            if found is None or found[0] < time.monotonic():
                raise Refused(400, "INVALID_REQUEST", "下载链接已失效")
        except Refused as refused:
            return Response(refused.said().body, refused.status, PLAIN)
        return Response(found[1], 200, media_type="application/octet-stream")

    async def certificates(self, request: Request) -> Response:
        """GET /v3/certificates: the platform's certificates, for merchants who trust those."""
        return await self.door.serve(
            request, "certificates", lambda account: ("", "", lambda: say(self._channel.certificates(account)))
        )
