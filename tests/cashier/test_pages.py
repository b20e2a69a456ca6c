"""The pages as a browser's engine meets them: headers, forms, pictures, streams, and what is refused."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import aiohttp
import pytest
from stripe.checkout import Session

from guilder.cashier import view
from guilder.cashier.html import POLICY, Pace
from guilder.cashier.words import LANGUAGES, speak
from guilder.payments.ways import TYPES
from stack import Shop, Stack

pytestmark = pytest.mark.anyio
Make = Callable[..., Session]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


def page_of(session: Session) -> str:
    return str(session.url)


async def test_a_page_is_kept_framed_and_told_of_nowhere(http: aiohttp.ClientSession, make: Make) -> None:
    async with http.get(page_of(make())) as answer:
        text = await answer.text()
    assert answer.status == 200
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert "style=" not in text and not re.search(r"<script(?! src)|<style|\son\w+=", text)


async def test_K4_a_link_that_is_changed_anywhere_leads_nowhere(http: aiohttp.ClientSession, make: Make) -> None:
    url = page_of(make())
    parts = url.split("/")
    other = page_of(make()).split("/")
    wrong = [
        "/".join([*parts[:-1], other[-1]]),
        "/".join([*parts[:-2], other[-2], parts[-1]]),
        url[:-1] + ("A" if url[-1] != "A" else "B"),
        url.replace("/c/", "/pay/"),
        url.replace("/test/", "/live/"),
        url.replace("/test/", "/nowhere/"),
        url + "/",
    ]
    for address in wrong:
        async with http.get(address) as answer:
            assert answer.status == 404, address


async def test_a_form_is_sent_back_to_the_page(http: aiohttp.ClientSession, make: Make) -> None:
    url = page_of(make())
    async with http.post(url, data={"method": "wechat_pay"}, allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.headers["Location"] == f"{urlsplit(url).path}?lang=en"
    async with http.get(url) as answer:
        assert 'data-stage="scan"' in await answer.text()
    for name, begins in (("qr.svg", b"<svg"), ("qr.png", b"\x89PNG")):
        async with http.get(f"{url}/{name}") as answer:
            assert answer.status == 200 and (await answer.read()).startswith(begins)


async def test_pressed_twice_it_asks_once(http: aiohttp.ClientSession, shop: Shop, make: Make) -> None:
    session = make()

    async def press() -> str:
        async with http.post(
            page_of(session), data={"method": "wechat_pay"}, headers={"Guilder-Part": "panel"}
        ) as answer:
            return await answer.text()

    await asyncio.gather(*(press() for _ in range(5)))
    assert 'data-stage="scan"' in await press()
    events = shop.client().v1.events.list({"limit": 100, "type": "payment_intent.requires_action"}).data
    assert len([e for e in events if e.data.object["id"] == session.payment_intent]) == 1


async def test_who_presses_too_fast_is_told(http: aiohttp.ClientSession, make: Make) -> None:
    url, texts = page_of(make()), []
    for i in range(8):
        method = ("wechat_pay", "alipay")[i % 2]
        async with http.post(url, data={"method": method}, headers={"Guilder-Part": "panel"}) as answer:
            texts.append("a little fast" in await answer.text())
    assert texts[:6] == [False] * 6 and any(texts[6:])


@pytest.mark.parametrize(
    ("origin", "status"), [("https://elsewhere.example", 403), ("null", 403), ("own", 303), (None, 303)]
)
async def test_a_press_from_elsewhere_is_refused(
    http: aiohttp.ClientSession, stack: Stack, make: Make, origin: str | None, status: int
) -> None:
    headers = {"Origin": stack.cashier if origin == "own" else origin} if origin else {}
    async with http.post(
        page_of(make()), data={"method": "wechat_pay"}, headers=headers, allow_redirects=False
    ) as answer:
        assert answer.status == status


async def test_nonsense_is_answered_with_a_page(http: aiohttp.ClientSession, make: Make) -> None:
    url = page_of(make())
    async with http.post(url, data=b"x" * 5000, allow_redirects=False) as answer:
        assert answer.status == 413
    for body in (b"method=card", b"method", b"\xff\x00=%zz", b""):
        async with http.post(url, data=body, allow_redirects=False) as answer:
            assert answer.status == 303
    async with http.get(f"{url}/qr.svg") as answer:
        assert answer.status == 404
    async with http.get(f"{url}?lang=%00&back=1&go") as answer:
        assert answer.status == 200


async def test_an_open_page_is_told_of_each_change(http: aiohttp.ClientSession, make: Make) -> None:
    url = page_of(make())
    async with http.get(url) as answer:
        shown = re.findall(r'data-mark="(\w+)"', await answer.text())
    async with http.get(f"{url}/events") as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        marks = [await _mark(stream)]
        async with http.post(url, data={"method": "wechat_pay"}, headers={"Guilder-Part": "panel"}) as answer:
            [now] = re.findall(r'data-mark="(\w+)"', await answer.text())
        while marks[-1] != now:
            marks.append(await _mark(stream))
    assert marks[0] == shown[0] and len(set(marks)) == len(marks)


async def _mark(stream: aiohttp.ClientResponse) -> str:
    async with asyncio.timeout(10):
        while True:
            line = (await stream.content.readline()).decode()
            if line.startswith("data: "):
                return line.removeprefix("data: ").strip()


async def test_assets_are_kept_for_ever_under_the_name_of_their_content(
    http: aiohttp.ClientSession, stack: Stack, make: Make
) -> None:
    async with http.get(page_of(make())) as answer:
        assets = re.findall(r'"(/assets/\w+/[\w.]+)"', await answer.text())
    assert len(assets) == 3
    for path in assets:
        async with http.get(stack.cashier + path) as answer:
            assert answer.status == 200 and "immutable" in answer.headers["Cache-Control"]
        async with http.get(stack.cashier + re.sub(r"/\w{12}/", "/000000000000/", path)) as answer:
            assert answer.status == 404


def test_a_pace_counts_each_key_by_itself() -> None:
    pace = Pace(2, 60)
    assert [pace.allows("a"), pace.allows("a"), pace.allows("a"), pace.allows("b")] == [True, True, False, True]


async def test_each_way_is_called_what_payers_call_it(http: aiohttp.ClientSession, stack: Stack) -> None:
    shop = await stack.merchant("All ways", channels=("wechatpay", "alipay", "unionpay", "stripe", "paypal"))
    tea = {"currency": "cny", "unit_amount": 1250, "product_data": {"name": "Tea"}}
    session = shop.client().v1.checkout.sessions.create(
        {"mode": "payment", "success_url": "https://shop.example/", "line_items": [{"price_data": tea, "quantity": 1}]}  # type: ignore[typeddict-item]
    )
    wanted = {
        "en": ("WeChat Pay", "Alipay", "Card", "UnionPay", "PayPal"),
        "zh": ("微信支付", "支付宝", "银行卡", "云闪付", "PayPal"),
    }
    for language, names in wanted.items():
        async with http.get(f"{page_of(session)}?lang={language}") as answer:
            text = await answer.text()
        assert answer.status == 200 and [n for n in names if f">{n}<" not in text] == []
        assert "the channel" not in text and "支付渠道" not in text


def test_every_type_of_every_channel_has_a_name_in_every_language() -> None:
    for type in TYPES:
        for code in LANGUAGES:
            assert view.method_name(type, speak(code)) not in ("the channel", "支付渠道", ""), type
    assert view.method_name("of_no_channel", speak("zh")) == "支付渠道"
