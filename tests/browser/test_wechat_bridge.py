"""A page inside WeChat pays: the simulator's WeixinJSBridge in a real browser."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from simulators.merchant import WeChatMerchant, sign
from simulators.process import Simulators

pytestmark = pytest.mark.anyio
INSIDE_WECHAT = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36 MicroMessenger/8.0.50 NetType/WIFI"
PAGE = """<!doctype html><title>shop</title><button id="pay">pay</button><script>
document.getElementById("pay").onclick = function () {
  WeixinJSBridge.invoke("getBrandWCPayRequest", PARAMS, function (told) { document.title = told.err_msg; });
};
</script>"""


@pytest.fixture(scope="module")
def wechat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    simulators = Simulators(tmp_path_factory.mktemp("simulators"))
    yield simulators.start()
    simulators.stop()


def handed(merchant: WeChatMerchant, number: str) -> dict[str, str]:
    """What the shop's page hands to the bridge for a new order."""
    body = {
        "appid": merchant.config["appid"],
        "mchid": merchant.id,
        "description": "茶",
        "out_trade_no": number,
        "notify_url": "http://127.0.0.1:1/notify",
        "amount": {"total": 100},
        "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
    }
    made = merchant.call("POST", "/v3/pay/transactions/jsapi", body)[1]
    stamp, nonce, package = (
        str(int(time.time())),
        base64.b32encode(number.encode()).decode(),
        f"prepay_id={made['prepay_id']}",
    )
    text = f"{merchant.config['appid']}\n{stamp}\n{nonce}\n{package}\n".encode()
    said = {
        "appId": merchant.config["appid"],
        "timeStamp": stamp,
        "nonceStr": nonce,
        "package": package,
        "signType": "RSA",
    }
    return {**said, "paySign": sign(merchant.config["private_key"], text)}


@pytest.mark.parametrize(("action", "told", "state"), [("pay", "ok", "SUCCESS"), ("cancel", "cancel", "NOTPAY")])
async def test_a_page_inside_wechat_pays_by_its_bridge(
    wechat: Simulators, browser: Browser, tmp_path: Path, action: str, told: str, state: str
) -> None:
    merchant = WeChatMerchant(wechat.open_account("wechatpay"), "http://127.0.0.1:1/notify")
    text = PAGE.replace("PARAMS", json.dumps(handed(merchant, f"BRIDGE{action}")))
    context = await browser.new_context(user_agent=INSIDE_WECHAT, viewport={"width": 390, "height": 844})
    try:
        await context.add_init_script(wechat.get("/wechat/jsbridge.js"))
        await context.route("https://shop.example/**", lambda route: route.fulfill(body=text, content_type="text/html"))
        page = await context.new_page()
        await page.goto("https://shop.example/pay")
        async with page.expect_popup() as opened:
            await page.click("#pay")
        wallet = await opened.value
        await wallet.click(f"button[value={action}]")
        await page.wait_for_function(f"document.title === 'get_brand_wcpay_request:{told}'")
    finally:
        await context.close()
    assert merchant.query(f"BRIDGE{action}")[1]["trade_state"] == state
