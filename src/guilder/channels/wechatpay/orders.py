"""An order, in WeChat Pay's words: whose it is, what is asked by each way, and what the payer's side is handed.

native   code_url   -> a QR code
jsapi    prepay_id  -> WeixinJSBridge, inside WeChat              signed over appId, timeStamp, nonceStr, package
mini     prepay_id  -> wx.requestPayment, in a mini program       the same
app      prepay_id  -> WeChat's SDK in the merchant's app         signed over appid, timestamp, noncestr and the bare prepay_id
h5       h5_url     -> a phone's browser, and back to `redirect_url`
codepay  nothing: the payer was scanned
"""

from typing import Any
from urllib.parse import quote

import msgspec

from guilder.channels.model import CreatePayment, Next, QrCode, Redirect, Sdk
from guilder.channels.wechatpay.caller import Caller, read
from guilder.channels.wechatpay.config import WeChatConfig
from guilder.core.check import must
from guilder.core.clock import BEIJING
from guilder.core.exchange import HttpReply

PATH = {"mini": "jsapi"}  # where it is not the way's own name
STORE = "0"  # a till whose shop is not named: the field must hold something


class _Native(msgspec.Struct, frozen=True):
    code_url: str


class _Prepaid(msgspec.Struct, frozen=True):
    prepay_id: str


class _H5(msgspec.Struct, frozen=True):
    h5_url: str


def place(config: WeChatConfig, rest: str) -> str:
    """The address of a payment operation, for direct merchants or partners."""
    return f"/v3/pay/{'partner/' if config.mode == 'partner' else ''}transactions/{rest}"


def names(config: WeChatConfig, way: str | None = None) -> dict[str, str]:
    """Whose order it is; with the application, if `way` says from where it is asked."""
    if config.mode == "direct":
        return {**({"appid": config.app_of(way)} if way else {}), "mchid": config.mchid}
    own = {**({"sp_appid": config.appid} if way else {}), "sp_mchid": config.mchid, "sub_mchid": config.sub_mchid}
    return {**own, "sub_appid": config.sub_appid} if way and config.sub_appid else own


def whose(config: WeChatConfig) -> str:
    """The same, in the query of a GET."""
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in names(config).items())


def sub(config: WeChatConfig) -> dict[str, str]:
    """For operations that have one address for all: the merchant that a service provider means."""
    return {"sub_mchid": config.sub_mchid} if config.mode == "partner" else {}


def order(config: WeChatConfig, ask: CreatePayment) -> dict[str, Any]:
    """What is asked."""
    body: dict[str, Any] = {
        **names(config, ask.way),
        "description": ask.description[:127],
        "out_trade_no": ask.key,
        "amount": {"total": ask.amount.units, "currency": "CNY"},
    }
    if ask.way != "codepay":  # neither is there: it ends within a minute, and is asked about
        body["time_expire"] = ask.expires_at.astimezone(BEIJING).isoformat(timespec="seconds")
        body["notify_url"] = ask.notify_url
    if ask.attach:
        body["attach"] = ask.attach
    if scene := _scene(ask):
        body["scene_info"] = scene
    if ask.way in ("jsapi", "mini"):
        kind = "openid" if config.mode == "direct" else "sub_openid" if config.sub_appid else "sp_openid"
        body["payer"] = {kind: ask.given["openid"]}
    elif ask.way == "codepay":
        body["payer"] = {"auth_code": ask.given["auth_code"]}
    return body


def _scene(ask: CreatePayment) -> dict[str, Any]:
    if ask.way == "codepay":
        return {"store_info": {"id": ask.given.get("store_id", STORE)}}
    ip = ask.given.get("payer_ip") or ask.payer_ip
    scene: dict[str, Any] = {"payer_client_ip": ip} if ip else {}
    return {**scene, "h5_info": {"type": "Wap"}} if ask.way == "h5" else scene


def shown(caller: Caller, ask: CreatePayment, reply: HttpReply) -> Next:
    """What the payer's side is handed for an order that has been taken."""
    config = caller.config
    match ask.way:
        case "native":
            return QrCode(read(_Native, reply).code_url)
        case "h5":
            url = read(_H5, reply).h5_url
            back = f"&redirect_url={quote(ask.return_url, safe='')}" if ask.return_url else ""
            return Redirect(url + back)
        case "app":
            prepay_id, app = read(_Prepaid, reply).prepay_id, config.sub_appid or config.app_of("app")
            stamp, nonce, signature = caller.vouch(app, prepay_id)
            return Sdk("wechat_pay_app", {
                "appid": app,
                "partnerid": config.account_ref,
                "prepayid": prepay_id,
                "package": "Sign=WXPay",
                "noncestr": nonce,
                "timestamp": stamp,
                "sign": signature,
            })  # fmt: skip
    must(ask.way in ("jsapi", "mini"), "the way is the channel's")
    package, app = f"prepay_id={read(_Prepaid, reply).prepay_id}", config.sub_appid or config.app_of(ask.way)
    stamp, nonce, signature = caller.vouch(app, package)
    return Sdk("wechat_pay_jsapi" if ask.way == "jsapi" else "wechat_pay_mini_program", {
        "appId": app,
        "timeStamp": stamp,
        "nonceStr": nonce,
        "package": package,
        "signType": "RSA",
        "paySign": signature,
    })  # fmt: skip
