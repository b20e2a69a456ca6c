"""WeChat Pay's transfers to a person (transfer-bills): the payee confirms in WeChat, within a day.

    WAIT_USER_CONFIRM --> SUCCESS | FAIL | CANCELLED

Only the three ends are told (MCHTRANSFER.BILL.FINISHED).  What the rows call WAITING and FAILED is said in WeChat Pay's words.  Dials
stand in `transfer_remark`, for there is no `attach`; `payout:autopay` is a payee who confirms at once, and so is an openid that begins
with oAuto; one that begins with oNobody is nobody's.
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guilder.simulators import dials, payouts
from guilder.simulators.clock import day_of, rfc3339
from guilder.simulators.desk import Desk
from guilder.simulators.model import Account, Payout
from guilder.simulators.replies import Said, say
from guilder.simulators.wechatpay.channel import TRANSFER_STATES
from guilder.simulators.wechatpay.door import Door, Refused, read
from guilder.simulators.wechatpay.forms import extra_of, with_extra

_OUT_BILL_NO = re.compile(r"[0-9A-Za-z]{1,32}")
_OPENID = re.compile(r"[0-9A-Za-z_\-]{10,128}")
_DAY_MS = 86_400_000
_NAMED_FROM, _NAMED_BELOW = 30, 200_000  # a name is refused below, and must be there from


def expire(desk: Desk, payout: Payout) -> None:
    """A day is over and the payee has not confirmed.  Called by whoever is about to look at one."""
    if payout.state == "WAITING" and desk.clock.now() >= payout.created_at + _DAY_MS:
        refuse(desk, payout, "OVERDUE_CLOSE")


def refuse(desk: Desk, payout: Payout, why: str) -> None:
    """It fails, and says why."""
    if payout.state == "WAITING":
        payout.ends_as, payout.extra = "FAILED", with_extra(payout.extra, why=why)
        payouts.agree(desk, payout)


class _Report(msgspec.Struct):
    info_type: str
    info_content: str


class _Transfer(msgspec.Struct):
    appid: str
    out_bill_no: str
    transfer_scene_id: str
    openid: str
    transfer_amount: int
    transfer_remark: str
    transfer_scene_report_infos: list[_Report] = []
    user_name: str = ""
    notify_url: str = ""
    user_recv_perception: str = ""


@dataclass
class Transfers:
    """Asking, querying, cancelling."""

    door: Door

    def __post_init__(self) -> None:
        self._channel, self._desk = self.door.channel, self.door.desk

    def routes(self) -> list[Route]:
        """The addresses; partners have others, which are not simulated."""
        bills = "/v3/fund-app/mch-transfer/transfer-bills"
        return [
            Route(bills, self.transfer, methods=["POST"]),
            Route(f"{bills}/out-bill-no/{{out_bill_no}}", self.query, methods=["GET"]),
            Route(f"{bills}/transfer-bill-no/{{transfer_bill_no}}", self.query, methods=["GET"]),
            Route(f"{bills}/out-bill-no/{{out_bill_no}}/cancel", self.cancel, methods=["POST"]),
        ]

    async def transfer(self, request: Request) -> Response:
        """POST .../transfer-bills: {out_bill_no, transfer_bill_no, create_time, state, package_info}."""
        body = await request.body()

        def look(account: Account) -> tuple[str, str, Callable[[], Said]]:
            ask: _Transfer = read(body, _Transfer)
            kept = dials.asked(ask.transfer_remark, ask.transfer_amount)
            return ask.out_bill_no, kept, lambda: self._transfer(request, account, ask, kept)

        return await self.door.serve(request, "payout", look)

    def _transfer(self, request: Request, account: Account, ask: _Transfer, kept: str) -> Said:
        fingerprint = hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(ask, user_name=""))).hexdigest()
        earlier = self._desk.book.find_payout(account.id, ask.out_bill_no)
        if earlier is not None:
            if earlier.fingerprint != fingerprint:
                raise Refused(400, "INVALID_REQUEST", "商户单号重复，且参数不一致")
            expire(self._desk, earlier)
            return say(self._accepted(earlier))
        name = self._check(request, account, ask)
        now, serial = self._desk.clock.now(), self._desk.book.serial()
        payout = Payout(
            account=account.id,
            out_no=ask.out_bill_no,
            channel=self._channel.name,
            channel_ref=f"1330{serial % 10**8:08d}{day_of(now).replace('-', '')}{serial:010d}",
            amount=ask.transfer_amount,
            currency="CNY",
            payee=msgspec.json.encode({"openid": ask.openid, "name": name}).decode(),
            notify_url=ask.notify_url,
            fingerprint=fingerprint,
            created_at=now,
            state="WAITING",
            dials=kept,
            extra=with_extra("", package=f"affffddafdfafddffda{os.urandom(12).hex()}{serial:x}==", appid=ask.appid),
        )
        payouts.accept(self._desk, payout)
        self._press(payout, ask.openid)
        return say(self._accepted(payout))

    def _press(self, payout: Payout, openid: str) -> None:
        """Some payees do not keep anybody waiting."""
        if dials.find(payout.dials, "payout", "autopay"):
            self._desk.dials.count(payout.account, payout.out_no, "payout", "autopay")
            payouts.agree(self._desk, payout)
        elif openid.startswith("oAuto"):
            payouts.agree(self._desk, payout)
        elif openid.startswith("oNobody"):
            refuse(self._desk, payout, "OPENID_INVALID")

    def _check(self, request: Request, account: Account, ask: _Transfer) -> str:
        """The payee's name, opened; '' without one.  Raises Refused."""
        config = self._channel.settings(account)
        if config.get("mode") == "partner":
            raise Refused(403, "NO_AUTH", "服务商请使用服务商转账接口")
        if ask.appid not in (config["appid"], config.get("mini_appid"), config.get("app_appid")):
            raise Refused(400, "APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配")
        wrong = ""
        if not _OUT_BILL_NO.fullmatch(ask.out_bill_no):
            wrong = "商户单号"
        elif not _OPENID.fullmatch(ask.openid):
            wrong = "收款用户OpenID"
        elif ask.transfer_amount < 1:
            wrong = "转账金额"
        elif not 1 <= len(ask.transfer_remark) <= 32:
            wrong = "转账备注"
        elif not ask.transfer_scene_id or not ask.transfer_scene_report_infos:
            wrong = "转账场景"
        elif bool(ask.user_name) and ask.transfer_amount < _NAMED_FROM:
            wrong = "收款用户姓名：转账金额小于0.3元时不能传入"
        elif not ask.user_name and ask.transfer_amount >= _NAMED_BELOW:
            wrong = "收款用户姓名：转账金额大于等于2000元时必填"
        name = ""
        if ask.user_name and not wrong:
            name = self._channel.opened(account, request.headers.get("wechatpay-serial", ""), ask.user_name)
            wrong = "" if name else "收款用户姓名：解密失败"
        if wrong:
            raise Refused(400, "PARAM_ERROR", f"参数错误：{wrong}无效")
        return name

    def _accepted(self, payout: Payout) -> dict[str, Any]:
        said = {
            "out_bill_no": payout.out_no,
            "transfer_bill_no": payout.channel_ref,
            "create_time": rfc3339(payout.created_at),
            "state": TRANSFER_STATES[payout.state],
        }
        if payout.state == "WAITING":
            said["package_info"] = extra_of(payout)["package"]
        return said

    def _find(self, account: Account, request: Request) -> Payout | None:
        given = request.path_params
        if "out_bill_no" in given:
            return self._desk.book.find_payout(account.id, given["out_bill_no"])
        return self._desk.book.find_payout_by_ref(account.id, given["transfer_bill_no"])

    async def query(self, request: Request) -> Response:
        """GET .../out-bill-no/{no}: all of it, but not what opens the payee's page."""
        return await self._about(request, "payout_query", lambda payout: say(self._channel.transfer(payout)))

    async def cancel(self, request: Request) -> Response:
        """POST .../out-bill-no/{no}/cancel: only one that waits for its payee."""

        def act(payout: Payout) -> Said:
            if payout.state not in ("WAITING", "CANCELLED"):
                raise Refused(400, "INVALID_REQUEST", "当前单据状态不可撤销")
            payouts.cancel(self._desk, payout)
            return say({**self._accepted(payout), "update_time": rfc3339(payout.done_at)})

        return await self._about(request, "payout", act)

    async def _about(self, request: Request, op: str, act: Callable[[Payout], Said]) -> Response:
        def look(account: Account) -> tuple[str, str, Callable[[], Said]]:
            payout = self._find(account, request)

            def found() -> Said:
                if payout is None:
                    raise Refused(404, "NOT_FOUND", "记录不存在")
                expire(self._desk, payout)
                return act(payout)

            return payout.out_no if payout else "", payout.dials if payout else "", found

        return await self.door.serve(request, op, look)
