"""The code on the counter, opened by each wallet and by browsers: paid inside the wallet, never by a code on its own screen."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from browser.conftest import Wallet, picture_of, violations
from guilder.core import ids
from guilder.merchants import channel_accounts
from guilder.payments.present import Face
from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio
Scan = Callable[..., Awaitable[Wallet]]


@pytest.fixture(scope="module")
async def shop(stack: Stack) -> Shop:
    return await stack.merchant("云上茶舍")


@pytest.fixture(scope="module")
async def till(shop: Shop) -> dict[str, Any]:
    store = shop.post("stores", {"code": "0001", "name": "西湖店"})
    made: dict[str, Any] = shop.post("terminals", {"store": store["id"], "code": "T1", "name": "1 号台"})
    return made


def newest(shop: Shop, till: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = shop.get(f"payment_intents?terminal={till['id']}&limit=1")["data"][0]
    return found


@pytest.mark.parametrize(("device", "type", "pays"), [("wechat", "wechat_pay", "pay"), ("alipay", "alipay", "pay")])
async def test_a_payer_pays_inside_his_wallet_from_the_code_on_the_counter(
    scan: Scan, shop: Shop, till: dict[str, Any], device: str, type: str, pays: str
) -> None:
    wallet = await scan(till["counter_url"], device, dark=device == "alipay")
    assert await violations(wallet.page) == []
    await picture_of(wallet.page, f"counter-{device}-amount")
    await wallet.page.fill("#amount", "12.34x5")
    assert await wallet.page.input_value("#amount") == "12.34"

    async with wallet.context.expect_page() as opened:  # amount, identity, order and sheet: one press
        await wallet.page.click("button.button")
    sheet = await opened.value
    await wallet.sees("wallet")
    assert await violations(wallet.page) == []
    await picture_of(wallet.page, f"counter-{device}-sheet")
    assert await wallet.page.locator(".code img").count() == 0, "no code inside the wallet"
    await sheet.click(f'button[value="{pays}"]')

    await wallet.sees("paid")
    assert await violations(wallet.page) == []
    await picture_of(wallet.page, f"counter-{device}-paid")
    paid = newest(shop, till)
    assert (paid["status"], paid["amount_received"], paid["payment_method_types"]) == (
        "succeeded", 1234, paid["payment_method_types"],
    )  # fmt: skip
    charge = shop.client().v1.charges.retrieve(paid["latest_charge"])
    assert charge.payment_method_details.type == type


async def test_whoever_walks_away_from_the_sheet_can_open_it_again(scan: Scan, till: dict[str, Any]) -> None:
    wallet = await scan(till["counter_url"], "wechat")
    await wallet.page.fill("#amount", "5")
    async with wallet.context.expect_page() as opened:
        await wallet.page.click("button.button")
    sheet = await opened.value
    await wallet.sees("wallet")
    await sheet.click('button[value="cancel"]')
    async with wallet.context.expect_page() as again:
        await wallet.page.click("[data-invoke]")
    await (await again.value).click('button[value="pay"]')
    await wallet.sees("paid")


async def test_a_browser_is_offered_what_opens_on_a_phone(scan: Scan, stack: Stack, till: dict[str, Any]) -> None:
    wallet = await scan(till["counter_url"], "phone", lang="en-US")
    assert await violations(wallet.page) == []
    await picture_of(wallet.page, "counter-phone-amount")
    await wallet.page.fill("#amount", "9.90")
    await wallet.page.click("button.button")
    await wallet.sees("choose")
    assert await violations(wallet.page) == []
    await wallet.page.click('button[value="wechat_pay"]')
    await wallet.page.wait_for_url(re.compile(re.escape(stack.simulators)))
    await wallet.page.click('button[value="pay"]')
    await wallet.page.wait_for_url(re.compile(re.escape(stack.cashier)))
    await wallet.sees("paid")


async def test_unionpay_takes_the_payer_by_a_form_that_is_posted_for_him(scan: Scan, stack: Stack) -> None:
    shop = await stack.merchant("银联商店")
    opened = stack.simulator("/sim/accounts", {"channel": "unionpay", "name": "银联商店"})
    async with stack.world() as world:
        await channel_accounts.add(world.envs["test"], shop.book_id, "unionpay", opened["config"])
    store = shop.post("stores", {"code": "1", "name": "银联店"})
    wallet = await scan(store["counter_url"], "unionpay")
    assert await violations(wallet.page) == []
    await wallet.page.fill("#amount", "66")
    await wallet.page.click("button.button")
    await wallet.page.wait_for_url(re.compile(re.escape(stack.simulators)))
    await wallet.page.click('button[value="pay"]')
    await wallet.page.wait_for_url(re.compile(re.escape(stack.cashier)))
    await wallet.sees("paid")


async def test_a_card_is_typed_into_the_channels_own_fields(scan: Scan, stack: Stack) -> None:
    shop = await stack.merchant("Harbour & Pine")
    opened = stack.simulator("/sim/accounts", {"channel": "stripe", "name": "Harbour"})
    async with stack.world() as world:
        await channel_accounts.add(world.envs["test"], shop.book_id, "stripe", opened["config"])
    made = shop.post("payment_intents", {"amount": 4200, "currency": "usd", "payment_method_types": ["card"]})
    async with stack.world() as world:
        url = Face(world.envs["test"]).pay_url(shop.book_id, ids.read("pi", made["id"]) or shop.book_id)
    wallet = await scan(url, "phone", lang="en-US")
    await wallet.page.click('button[value="card"]')
    await wallet.page.wait_for_selector(".hosted input")
    await wallet.page.fill(".hosted input", "4000 0000 0000 9995")
    await wallet.page.click("button.button")
    await wallet.page.wait_for_selector(".problem:not([hidden])")
    await wallet.page.fill(".hosted input", "4242 4242 4242 4242")
    await picture_of(wallet.page, "counter-phone-card")
    await wallet.page.click("button.button")
    await wallet.sees("paid")
    assert shop.get(f"payment_intents/{made['id']}")["amount_received"] == 4200
    wallet.complaints = [c for c in wallet.complaints if "402" not in c]  # the browser's own word of the decline


async def test_a_wallet_that_the_merchant_has_no_contract_for_says_so(scan: Scan, till: dict[str, Any]) -> None:
    wallet = await scan(till["counter_url"], "unionpay")
    assert "请在浏览器中打开本页" in await wallet.page.inner_text("main")
    assert await violations(wallet.page) == []


async def test_what_the_till_presents_is_paid_without_a_word(scan: Scan, shop: Shop, till: dict[str, Any]) -> None:
    made = shop.post(f"terminals/{till['id']}/present", {"amount": 6600, "description": "7 号桌"})
    wallet = await scan(till["counter_url"], "wechat")
    sheet = await eventually(lambda: wallet.context.pages[1:])  # identity, order and sheet without a press
    await sheet[0].click('button[value="pay"]')
    await wallet.sees("paid")
    assert shop.client().v1.payment_intents.retrieve(made["id"]).status == "succeeded"


async def test_a_plate_is_a_page_to_print(scan: Scan, till: dict[str, Any]) -> None:
    wallet = await scan(till["counter_url"] + "/plate", "phone")
    assert await wallet.page.evaluate("() => document.querySelector('img').decode().then(() => true)")
    assert await violations(wallet.page) == []
    await picture_of(wallet.page, "counter-plate")


async def test_a_front_goes_on_to_the_channels_page_by_itself(scan: Scan, shop: Shop, stack: Stack) -> None:
    asked: dict[str, Any] = {
        "amount": 3300, "currency": "cny", "payment_method_types": ["alipay"], "confirm": True,
        "payment_method": "pm_sim_alipay", "return_url": "https://shop.example/",
        "payment_method_options": {"alipay": {"client": "wap", "front": "open"}},
    }  # fmt: skip
    made = shop.client().v1.payment_intents.create(asked)  # type: ignore[arg-type]
    wallet = await scan(shop.get(f"payment_intents/{made.id}")["next_action"]["alipay_handle_redirect"]["url"], "phone")
    await wallet.page.wait_for_url(re.compile(re.escape(stack.simulators)))
    await wallet.page.click('button[value="pay"]')
    await wallet.page.wait_for_load_state()
    await eventually(lambda: shop.client().v1.payment_intents.retrieve(made.id).status == "succeeded")
