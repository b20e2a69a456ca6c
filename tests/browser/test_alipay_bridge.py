"""A browser that plays Alipay's: a shop's page calls the wallet's bridge, the payer presses a button, and the page hears what became of it."""

import asyncio
from collections.abc import Iterator

import pytest
from playwright.async_api import Browser

from simulators.merchant import AlipayMerchant
from simulators.process import Shop, Simulators

pytestmark = pytest.mark.anyio
CLIENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 AlipayClient/10.6.20"
POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin-allow-popups",
}  # as the cashier's


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    simulators = Simulators(tmp_path_factory.mktemp("simulators"))
    yield simulators.start()
    simulators.stop()


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.close()


@pytest.mark.parametrize(
    ("button", "result", "status"),
    [("pay", "9000", "TRADE_SUCCESS"), ("decline", "4000", "TRADE_CLOSED"), ("walk", "6001", "WAIT_BUYER_PAY")],
)
async def test_a_page_pays_through_the_bridge(
    browser: Browser, sim: Simulators, shop: Shop, button: str, result: str, status: str
) -> None:
    merchant = AlipayMerchant(sim.open_account("alipay"), f"{shop.url}/notify")
    order = {"out_trade_no": f"BRIDGE-{button}", "total_amount": "5.00", "subject": "茶", "product_code": "JSAPI_PAY"}
    made = merchant.call("alipay.trade.create", **order, buyer_id="2088101117955611")
    context = await browser.new_context(user_agent=CLIENT)
    bridge = sim.get("/alipay/bridge.js")
    await context.add_init_script(f'if (location.host === "shop.example") {{ {bridge} }}')
    number = made["trade_no"]
    pay = f"AlipayJSBridge.call('tradePay', {{tradeNO: '{number}'}}, r => {{ document.title = r.resultCode; }});"
    await context.route("https://shop.example/pay.js", lambda r: r.fulfill(body=pay, content_type="text/javascript"))
    page_html = "<!doctype html><title>waits</title><script src='/pay.js'></script>"
    await context.route(
        "https://shop.example/", lambda r: r.fulfill(body=page_html, content_type="text/html", headers=HEADERS)
    )
    page = await context.new_page()
    async with context.expect_page() as opened:
        await page.goto("https://shop.example/")
    sheet = await opened.value
    await sheet.click(f'button[value="{button}"]')
    async with asyncio.timeout(15):
        while await page.title() != result:
            await page.wait_for_timeout(50)
    await context.close()
    assert merchant.query(order["out_trade_no"])["trade_status"] == status
