"""The cashier as payers meet it: both channels, both languages, phone and desk."""

import re
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Browser

from browser.conftest import Payer, violations
from stack import Shop, Stack

pytestmark = pytest.mark.anyio
Visit = Callable[..., Awaitable[Payer]]
EVERYWHERE = [(lang, device) for lang in ("zh-CN", "en-US") for device in ("phone", "desk")]
CODES = {"wechat_pay": {"client": "web"}}  # on phones, too: a code to save
PAID = {"zh-CN": "付款成功", "en-US": "Payment successful"}


@pytest.mark.parametrize(("lang", "device"), EVERYWHERE)
async def test_a_payer_scans_with_wechat_pay(visit: Visit, lang: str, device: str) -> None:
    dark = lang == "en-US"
    payer = await visit(lang, device, dark=dark, payment_method_options=CODES)
    assert await payer.page.get_attribute("html", "lang") == {"zh-CN": "zh-CN", "en-US": "en"}[lang]
    assert await payer.violations() == []
    await payer.picture(f"{device}-{lang[:2]}-choose")

    await payer.choose("wechat_pay")
    await payer.sees("scan")
    assert await payer.page.evaluate("() => document.querySelector('.code img').decode().then(() => true)")
    assert await payer.violations() == []
    await payer.picture(f"{device}-{lang[:2]}-scan")
    await payer.use_phone()

    await payer.sees("paid")
    assert PAID[lang] in await payer.page.inner_text("main")
    assert await payer.violations() == []
    await payer.picture(f"{device}-{lang[:2]}-paid")
    await payer.page.wait_for_url(f"https://shop.example/paid?session={payer.session.id}")
    paid = payer.shop.client().v1.checkout.sessions.retrieve(payer.session.id)
    assert (paid.status, paid.payment_status) == ("complete", "paid")


@pytest.mark.parametrize(("lang", "device"), EVERYWHERE)
async def test_a_payer_goes_to_alipay_and_comes_back(visit: Visit, stack: Stack, lang: str, device: str) -> None:
    payer = await visit(lang, device)

    await payer.choose("alipay")
    await payer.page.wait_for_url(re.compile(re.escape(stack.simulators)))
    await payer.page.click('button[value="pay"]')

    await payer.page.wait_for_url(re.compile(re.escape(stack.cashier)))
    await payer.sees("paid")
    assert PAID[lang] in await payer.page.inner_text("main")
    assert "sign=" not in payer.page.url and "trade_no" not in payer.page.url
    await payer.page.wait_for_url(f"https://shop.example/paid?session={payer.session.id}")


async def test_alipay_is_scanned_at_a_desk_where_the_merchant_asks_for_it(visit: Visit) -> None:
    payer = await visit("en-US", payment_method_options={"alipay": {"client": "qr"}})
    await payer.choose("alipay")
    await payer.sees("scan")
    assert await payer.violations() == []
    await payer.picture("desk-en-alipay")
    await payer.use_phone()
    await payer.sees("paid")


async def test_who_does_not_pay_at_alipay_can_go_on_or_choose_again(visit: Visit, stack: Stack) -> None:
    payer = await visit("zh-CN", "phone", payment_method_options=CODES)
    await payer.choose("alipay")
    await payer.page.wait_for_url(re.compile(re.escape(stack.simulators)))
    await payer.page.goto(f"{payer.session.url}?lang=zh&back=1")
    await payer.sees("leave")
    assert await payer.violations() == []
    await payer.picture("phone-zh-leave")

    await payer.choose("wechat_pay")
    await payer.sees("scan")
    await payer.use_phone()
    await payer.sees("paid")


@pytest.mark.parametrize(("device", "offered"), [("wechat", ["wechat_pay"]), ("alipay", ["alipay"])])
async def test_inside_an_app_only_its_own_way_is_offered(visit: Visit, device: str, offered: list[str]) -> None:
    payer = await visit("zh-CN", device)
    buttons = payer.page.locator("form.ways button")
    assert [await b.get_attribute("value") for b in await buttons.all()] == offered


async def test_what_cannot_be_paid_inside_this_app_says_so(visit: Visit) -> None:
    payer = await visit("zh-CN", "wechat", payment_method_types=["alipay"])
    assert "请在浏览器中打开本页" in await payer.page.inner_text("main")
    assert await payer.violations() == []


async def test_a_declined_payment_says_why_and_can_be_tried_again(visit: Visit) -> None:
    payer = await visit("en-US", "phone", payment_method_options=CODES)
    await payer.choose("wechat_pay")
    await payer.sees("scan")
    await payer.use_phone("decline")
    await payer.sees("choose", within_s=40)
    assert "Nothing was charged" in await payer.page.inner_text(".problem")
    assert await payer.violations() == []
    await payer.picture("phone-en-declined")

    await payer.choose("wechat_pay")
    await payer.sees("scan")
    await payer.use_phone()
    await payer.sees("paid")


async def test_K5_silence_is_shown_as_asking_and_never_as_a_failure(visit: Visit) -> None:
    line = {
        "price_data": {
            "currency": "cny",
            "unit_amount": 77770003,
            "product_data": {"name": "Silence after the channel acted"},
        }
    }
    payer = await visit("zh-CN", "desk", line_items=[line])
    await payer.choose("wechat_pay")
    await payer.sees("asking")
    assert "请勿重复付款" in await payer.page.inner_text("main")
    assert await payer.violations() == []
    await payer.picture("desk-zh-asking")
    await payer.sees("scan", within_s=60)
    await payer.use_phone()
    await payer.sees("paid")


async def test_a_session_that_ends_ends_on_the_open_page(visit: Visit) -> None:
    payer = await visit("zh-CN", "phone", dark=True, payment_method_options=CODES)
    await payer.choose("wechat_pay")
    await payer.sees("scan")

    payer.shop.client().v1.checkout.sessions.expire(payer.session.id)
    await payer.sees("expired")
    assert await payer.page.get_attribute("#panel a.button", "href") == "https://shop.example/cart"
    assert await payer.page.inner_text("#say") == "付款已过期，没有扣款。"
    assert await payer.violations() == []
    await payer.picture("phone-zh-expired")


async def test_a_payment_that_is_canceled_says_so(visit: Visit) -> None:
    payer = await visit("en-US")
    payer.shop.client().v1.payment_intents.cancel(str(payer.session.payment_intent))
    await payer.sees("canceled")
    assert await payer.violations() == []


async def test_the_page_works_without_a_script(visit: Visit) -> None:
    payer = await visit("zh-CN", "phone", script=False, payment_method_options=CODES)
    await payer.choose("wechat_pay")
    await payer.sees("scan")
    await payer.use_phone(scripts=False)
    await payer.sees("paid", within_s=20)  # by its own refresh
    await payer.page.wait_for_url(f"https://shop.example/paid?session={payer.session.id}", timeout=20_000)


async def test_alipay_opens_without_a_script(visit: Visit, stack: Stack) -> None:
    payer = await visit("en-US", "desk", script=False)
    await payer.choose("alipay")
    await payer.page.wait_for_url(re.compile(re.escape(stack.simulators)))
    await payer.page.click('button[value="pay"]')
    await payer.sees("paid", within_s=20)


async def test_the_keyboard_alone_is_enough(visit: Visit) -> None:
    payer = await visit("en-US")
    await payer.page.keyboard.press("Tab")
    assert await payer.page.evaluate("() => document.activeElement.className") == "skip"
    await payer.page.keyboard.press("Enter")
    await payer.page.keyboard.press("Tab")
    assert await payer.page.evaluate("() => document.activeElement.value") == "wechat_pay"
    assert await payer.page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    await payer.page.keyboard.press("Enter")
    await payer.sees("scan")
    assert await payer.page.evaluate("() => document.activeElement.id") == "panel"
    assert await payer.page.inner_text("#say") == "Scan the code with WeChat. Waiting for your payment."


@pytest.mark.parametrize("device", ["phone", "desk"])
async def test_everything_to_press_is_large_enough_and_nothing_runs_over(visit: Visit, device: str) -> None:
    payer = await visit("en-US", device, payment_method_options=CODES)
    await payer.choose("wechat_pay")
    await payer.sees("scan")
    small = await payer.page.evaluate(
        """() => [...document.querySelectorAll("a, button, summary")]
            .filter(e => e.checkVisibility() && !e.classList.contains("skip"))
            .map(e => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()])
            .filter(([, box]) => box.width < 43.9 || box.height < 43.9).map(([html]) => html)"""
    )
    assert small == []
    assert await payer.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


async def test_motion_is_spared_who_asks_for_it(visit: Visit) -> None:
    payer = await visit()
    await payer.page.emulate_media(reduced_motion="reduce")
    await payer.choose("wechat_pay")
    await payer.sees("scan")
    assert await payer.page.evaluate("() => document.getAnimations().length") == 0


async def test_the_language_can_be_changed_and_stays(visit: Visit) -> None:
    payer = await visit("zh-CN", "phone", payment_method_options=CODES)
    await payer.page.click("footer a[lang=en]")
    await payer.page.wait_for_url(re.compile("lang=en"))
    await payer.choose("wechat_pay")
    await payer.sees("scan")
    assert "Waiting for your payment" in await payer.page.inner_text("main")


async def test_a_bare_payment_has_a_page_too(stack: Stack, shops: dict[str, Shop], browser: Browser) -> None:
    client = shops["en-US"].client()
    intent = client.v1.payment_intents.create(
        {"amount": 4200, "currency": "cny", "description": "Table 7", "confirm": True, "payment_method_data": {"type": "wechat_pay"}}
    )  # fmt: skip
    assert intent.next_action is not None and intent.next_action.wechat_pay_display_qr_code is not None
    shown = intent.next_action.wechat_pay_display_qr_code
    context = await browser.new_context(locale="en-US")
    page = await context.new_page()
    await page.goto(shown.hosted_instructions_url)
    assert "Table 7" in await page.inner_text("body")
    await page.wait_for_selector('#panel[data-stage="scan"]')
    for url, kind in ((shown.image_url_png, "image/png"), (shown.image_url_svg, "image/svg+xml")):
        answer = await context.request.get(url)
        assert answer.status == 200 and answer.headers["content-type"].startswith(kind)
    stack.pay(intent.next_action)
    await page.wait_for_selector('#panel[data-stage="paid"]')
    assert "You can close this page" in await page.inner_text("main")
    await context.close()


async def test_the_page_is_light_and_asks_nobody_else(visit: Visit) -> None:
    payer = await visit()
    answers = [await payer.context.request.get(str(payer.session.url))]
    for name in re.findall(r'(?:href|src)="(/assets/[^"]+)"', await answers[0].text()):
        answers.append(await payer.context.request.get(str(payer.session.url).partition("/c/")[0] + name))
    assert len(answers) == 4 and sum([len(await a.body()) for a in answers]) < 100_000


async def test_a_link_that_leads_nowhere_is_a_page_too(stack: Stack, browser: Browser) -> None:
    context = await browser.new_context(locale="zh-CN")
    page = await context.new_page()
    answer = await page.goto(f"{stack.cashier}/c/test/nothing/here")
    assert answer is not None and answer.status == 404
    assert "这里没有待付款项" in await page.inner_text("main")
    assert await violations(page) == []
    await context.close()


async def test_an_open_page_hears_of_an_api_call_at_once(visit: Visit) -> None:
    payer = await visit()
    payer.shop.client().v1.payment_intents.confirm(
        str(payer.session.payment_intent), {"payment_method_data": {"type": "wechat_pay"}}
    )
    await payer.sees("scan", within_s=5)
