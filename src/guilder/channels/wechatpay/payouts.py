"""Payouts: transfers to a person (transfer-bills), who confirms them in WeChat within a day.

A refusal of a transfer is no failure yet: WeChat Pay's own advice is never to change the number before a query has said that there is
none, or that it failed.  So every refusal asks what lives under the key.  What opens the payee's page is said once, in the reply to
the transfer, and is kept in the memo.
"""

from dataclasses import replace
from typing import Any
from urllib.parse import quote

from guilder.channels.conclude import Doubtful, look_first
from guilder.channels.model import CreatePayout, Outcome, Problem, QueryPayout, Retry, Sdk, State
from guilder.channels.wechatpay.caller import Caller, read
from guilder.channels.wechatpay.states import NO_TRANSFER, REFUSED, Refusal, Transfer
from guilder.core.check import must
from guilder.core.exchange import Exchange

BILLS = "/v3/fund-app/mch-transfer/transfer-bills"
NAMED_FROM = 30  # fen: below, a name is refused
MEMO = 500


def transfer(caller: Caller, ask: CreatePayout) -> Exchange[Outcome]:
    """Send money to an openid.  PENDING until he has confirmed."""
    config = caller.config
    must(ask.amount.asset == "CNY", "the currency is the channel's")
    if config.mode == "partner":
        return _refused("partner_mode", "Payouts of a service provider's merchants are not part of this release.")
    if not (config.transfer_scene_id and config.reports()):
        return _refused(
            "no_transfer_scene",
            "The channel account has no transfer_scene_id and transfer_report: WeChat Pay asks for both.",
        )
    yield from caller.ready()
    order: dict[str, Any] = {
        "appid": config.appid,
        "out_bill_no": ask.key,
        "transfer_scene_id": config.transfer_scene_id,
        "openid": ask.payee["openid"],
        "transfer_amount": ask.amount.units,
        "transfer_remark": (ask.attach or ask.description)[:32],
        "notify_url": ask.notify_url,
        "transfer_scene_report_infos": [{"info_type": type, "info_content": said} for type, said in config.reports()],
    }
    sealed_by = ""
    if (name := ask.payee.get("name")) and ask.amount.units >= NAMED_FROM:
        try:
            sealed_by, [order["user_name"]] = caller.trust.seal(name)
        except ValueError:
            return _refused("PARAM_ERROR", "The payee's name is too long to be sealed.")
    reply = yield from caller.call("POST", BILLS, order, sealed_by=sealed_by)
    if reply.status == 200:
        return _opened(caller, read(Transfer, reply))
    refusal = Refusal.read(reply)
    if refusal.code not in REFUSED:
        raise Doubtful(refusal.code, refusal.message)
    return (
        yield from look_first(
            refusal.problem(), lambda: query(caller, QueryPayout(ask.key, ask.amount, ask.created_at))
        )
    )


def query(caller: Caller, ask: QueryPayout) -> Exchange[Outcome]:
    """What became of it.  WeChat Pay remembers for thirty days."""
    reply = yield from caller.call("GET", f"{BILLS}/out-bill-no/{quote(ask.key, safe='')}")
    if reply.status == 200:
        return _opened(caller, read(Transfer, reply), ask.memo)
    refusal = Refusal.read(reply)
    if reply.status == 404 and refusal.code in NO_TRANSFER:
        return Outcome(State.NOT_FOUND)
    raise Doubtful(refusal.code, refusal.message)


def _opened(caller: Caller, said: Transfer, memo: str | None = None) -> Outcome:
    """With what the payee has to do, as long as he has to do it."""
    try:
        outcome = said.outcome()
    except ValueError as error:
        raise Doubtful("unreadable", str(error)) from error
    package = said.package_info or memo
    if package is None or said.state != "WAIT_USER_CONFIRM":
        return outcome
    params = {"mchId": caller.config.mchid, "appId": caller.config.appid, "package": package}
    return replace(outcome, next=Sdk("wechat_pay_transfer", params), memo=package if len(package) <= MEMO else None)


def _refused(code: str, message: str) -> Outcome:
    """Nothing was asked."""
    return Outcome(State.FAILED, problem=Problem(code, message, "processing_error", Retry.NEVER))
