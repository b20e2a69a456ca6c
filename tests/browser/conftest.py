"""Debian's chromium on the cashier's pages, and what every page must hold: no console error, nobody else asked, axe content.

GUILDER_SCREENSHOTS=1 writes the pictures of the guide.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from stripe.checkout import Session

from stack import Shop, Stack

CHROMIUM = Path("/usr/bin/chromium")
HERE = Path(__file__).parent
AXE = (HERE / "axe-4.14.1.min.js").read_text()  # axe-core, MPL-2.0, unchanged; for tests only
IMAGES = HERE.parents[1] / "docs/guide/images"
ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
AGENTS = {
    "phone": f"{IPHONE} Version/18.0 Mobile/15E148 Safari/604.1",
    "wechat": f"{IPHONE} Mobile/15E148 MicroMessenger/8.0.50(0x18003230) NetType/WIFI Language/zh_CN",
    "alipay": f"{IPHONE} Mobile/15E148 AlipayDefined AlipayClient/10.6.20 Language/zh-Hans",
    "unionpay": f"{IPHONE} Mobile/15E148 (com.unionpay.chsp) (cup) UnionPay/1.0 CloudPay",
}
GOODS = {
    "zh-CN": [
        ("武夷山大红袍 礼盒装", "250 克 · 2026 春茶 · 手工炭焙", 26800, 1),
        ("白瓷盖碗", "景德镇手工白瓷", 12900, 2),
    ],
    "en-US": [
        ("Canvas weekender", "Olive, water-resistant", 88000, 1),
        ("Cedar candle", "Hand-poured, 220 g", 16800, 2),
    ],
}
SHOPS = {"zh-CN": "云上茶舍", "en-US": "Harbour & Pine"}


async def violations(page: Page) -> list[str]:
    """What axe finds on a page when its motion has ended; no rule is disabled."""
    await page.evaluate(
        # Settled: what the page has taken away meanwhile ends by being called off.
        "() => Promise.allSettled(document.getAnimations().filter(a => a.effect.getTiming().iterations === 1).map(a => a.finished))"
    )
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(AXE)  # past the page's own policy
    found = await page.evaluate("() => axe.run()")
    return [f"{v['id']}: {n['html'][:200]} {n['failureSummary']}" for v in found["violations"] for n in v["nodes"]]


@dataclass
class Payer:
    """Somebody with a browser."""

    page: Page
    context: BrowserContext
    allowed: tuple[str, ...]  # whom the pages may ask
    shop: Shop
    session: Session
    lang: str
    complaints: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Note whatever a page should not do."""
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: self.complaints.append(str(e)))
        page.on("request", lambda r: self._asks(r.url))

    def _asks(self, url: str) -> None:
        if not url.startswith((*self.allowed, "data:", "https://shop.example/")):
            self.complaints.append(f"asks {url}")

    async def sees(self, stage: str, within_s: float = 15) -> None:
        """Wait until the page shows a stage."""
        await self.page.wait_for_selector(f'#panel[data-stage="{stage}"]', timeout=within_s * 1000)

    async def choose(self, type: str) -> None:
        """Press the button of a way to pay."""
        await self.page.click(f'button[value="{type}"]')

    async def use_phone(self, action: str = "pay", *, scripts: bool = True) -> None:
        """Scan with the simulator's phone, and do it there.  Without scripts axe cannot look."""
        async with self.context.expect_page() as opened:
            await self.page.click(".simulator a")
        phone = await opened.value
        assert not scripts or await violations(phone) == []
        await phone.click(f'button[value="{action}"]')
        await phone.wait_for_load_state()
        assert not scripts or await violations(phone) == []
        await phone.close()

    async def violations(self) -> list[str]:
        """What axe finds on the page as it stands."""
        return await violations(self.page)

    async def picture(self, name: str) -> None:
        """A picture for the guide, if they are asked for."""
        if os.environ.get("GUILDER_SCREENSHOTS") == "1":
            IMAGES.mkdir(parents=True, exist_ok=True)
            await self.page.mouse.move(0, 0)
            await self.page.wait_for_timeout(700)  # motion ends
            await self.page.screenshot(path=IMAGES / f"cashier-{name}.png", animations="disabled")


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing: apt-get install -y chromium fonts-noto-cjk")
        pytest.skip(f"{CHROMIUM} is missing: apt-get install -y chromium fonts-noto-cjk")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
async def shops(stack: Stack) -> dict[str, Shop]:
    return {lang: await stack.merchant(name) for lang, name in SHOPS.items()}


def session_of(shop: Shop, lang: str, **params: Any) -> Session:
    """What the shop's server does."""
    lines = [
        {"quantity": n, "price_data": {"currency": "cny", "unit_amount": units, "product_data": {"name": name, "description": text}}}
        for name, text, units, n in GOODS[lang]
    ]  # fmt: skip
    made = {
        "mode": "payment",
        "line_items": lines,
        "success_url": "https://shop.example/paid?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://shop.example/cart",
    }
    return shop.client().v1.checkout.sessions.create(made | params)


@pytest.fixture
async def visit(
    stack: Stack, shops: dict[str, Shop], browser: Browser
) -> AsyncIterator[Callable[..., Awaitable[Payer]]]:
    """`await visit(lang=, device=, dark=, script=, **params of the session)`: a payer on the page of a new session."""
    payers: list[Payer] = []

    async def open_one(
        lang: str = "zh-CN", device: str = "desk", dark: bool = False, script: bool = True, **params: Any
    ) -> Payer:
        hand = device != "desk"
        context = await browser.new_context(
            locale=lang, color_scheme="dark" if dark else "light", java_script_enabled=script,
            viewport={"width": 390, "height": 844} if hand else {"width": 1280, "height": 800},
            device_scale_factor=2 if hand else 1, is_mobile=hand, has_touch=hand,
            user_agent=AGENTS.get(device) or None,
        )  # fmt: skip
        await context.route(
            "https://shop.example/**", lambda route: route.fulfill(body="<title>shop</title>", content_type="text/html")
        )
        session = session_of(shops[lang], lang, **params)
        payer = Payer(await context.new_page(), context, (stack.cashier, stack.simulators), shops[lang], session, lang)
        payers.append(payer)
        payer.watch(payer.page)
        await payer.page.goto(str(session.url))
        return payer

    yield open_one
    for payer in payers:
        await payer.context.close()
    assert [c for payer in payers for c in payer.complaints] == []


@dataclass
class Wallet:
    """Somebody whose wallet has scanned a counter's code: a browser that looks like the wallet, with the bridge that it would have."""

    page: Page
    context: BrowserContext
    complaints: list[str] = field(default_factory=list)

    async def sees(self, stage: str, within_s: float = 20) -> None:
        """Wait until the page shows a stage."""
        await self.page.wait_for_selector(f'#panel[data-stage="{stage}"]', timeout=within_s * 1000)


BRIDGES = {"wechat": "/wechat/jsbridge.js", "alipay": "/alipay/bridge.js"}


@pytest.fixture
async def scan(stack: Stack, browser: Browser) -> AsyncIterator[Callable[..., Awaitable[Wallet]]]:
    """`await scan(url, device=)`: a payer who has opened a counter's code inside a wallet, or with a browser."""
    wallets: list[Wallet] = []

    async def open_one(url: str, device: str, *, lang: str = "zh-CN", dark: bool = False) -> Wallet:
        context = await browser.new_context(
            locale=lang, color_scheme="dark" if dark else "light", viewport={"width": 390, "height": 844}, device_scale_factor=2,
            is_mobile=True, has_touch=True, user_agent=AGENTS[device],
        )  # fmt: skip
        wallet = Wallet(await context.new_page(), context)
        if device in BRIDGES:
            async with aiohttp.ClientSession() as http, http.get(stack.simulators + BRIDGES[device]) as answer:
                await wallet.page.add_init_script(await answer.text())  # as the app itself does: no page loads it
        wallets.append(wallet)
        wallet.page.on(
            "console", lambda m: wallet.complaints.append(m.text) if m.type in ("error", "warning") else None
        )
        wallet.page.on("pageerror", lambda e: wallet.complaints.append(str(e)))
        await wallet.page.goto(url)
        return wallet

    yield open_one
    for wallet in wallets:
        await wallet.context.close()
    assert [c for wallet in wallets for c in wallet.complaints] == []


async def picture_of(page: Page, name: str) -> None:
    """A picture for the guide, if they are asked for."""
    if os.environ.get("GUILDER_SCREENSHOTS") == "1":
        IMAGES.mkdir(parents=True, exist_ok=True)
        await page.wait_for_timeout(700)  # motion ends
        await page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")
