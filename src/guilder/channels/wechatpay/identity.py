"""Who holds the phone: WeChat's OAuth for pages inside WeChat (snsapi_base), which tells an openid and asks the payer nothing.

    GET open.weixin.qq.com/connect/oauth2/authorize   the payer's browser is sent there, and comes back with a code
    GET api.weixin.qq.com/sns/oauth2/access_token     the code's openid: good once, for five minutes

Neither is signed: it is TLS and the AppSecret that vouch.  An error is {"errcode", "errmsg"} with status 200.
"""

from urllib.parse import urlencode

import msgspec

from guilder.channels.conclude import Doubtful
from guilder.channels.model import IdentifyPayer, Outcome, Problem, Retry, State
from guilder.channels.wechatpay.caller import read
from guilder.channels.wechatpay.config import WeChatConfig
from guilder.core.exchange import Exchange, HttpCall

OPEN, API = "https://open.weixin.qq.com", "https://api.weixin.qq.com"
# The code was made up, used before, or is too old; the application or its secret is wrong.
REFUSED = frozenset({40029, 40163, 42003, 41008, 40013, 40125, 41004})


class _Said(msgspec.Struct, frozen=True):
    openid: str | None = None
    errcode: int = 0
    errmsg: str = ""


def address(config: WeChatConfig, back_to: str, state: str) -> str:
    """Where the payer's browser is to go, to come back to `back_to` with `code` and `state`."""
    query = urlencode(
        {
            "appid": config.payer_app,
            "redirect_uri": back_to,
            "response_type": "code",
            "scope": "snsapi_base",
            "state": state,
        }
    )
    return f"{config.oauth_url.rstrip('/') or OPEN}/connect/oauth2/authorize?{query}#wechat_redirect"


def identify(config: WeChatConfig, ask: IdentifyPayer) -> Exchange[Outcome]:
    """The openid behind a code."""
    if not config.app_secret:
        return _failed(
            "no_app_secret", "The channel account has no app_secret, without which WeChat tells nobody who pays."
        )
    query = urlencode(
        {
            "appid": config.payer_app,
            "secret": config.app_secret,
            "code": ask.code,
            "grant_type": "authorization_code",
        }
    )
    url = f"{config.oauth_url.rstrip('/') or API}/sns/oauth2/access_token?{query}"
    reply = yield HttpCall("GET", url, {"Accept": "application/json", "User-Agent": "guilder"})
    if reply.status != 200:
        raise Doubtful(f"HTTP_{reply.status}")
    said = read(_Said, reply)
    if said.openid:
        return Outcome(State.SUCCEEDED, payer=said.openid)
    if said.errcode in REFUSED:
        return _failed(str(said.errcode), said.errmsg)
    raise Doubtful(str(said.errcode), said.errmsg)


def _failed(code: str, message: str) -> Outcome:
    return Outcome(State.FAILED, problem=Problem(code, message, "processing_error", Retry.NEVER))
