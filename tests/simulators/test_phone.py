"""The payer's phone: plain forms that work without a script."""

import html
import re
import urllib.request
from urllib.parse import quote, urlencode

import pytest

from simulators.merchant import AlipayMerchant, WeChatMerchant
from simulators.process import Shop, Simulators


@pytest.fixture(scope="module")
def config(sim: Simulators) -> dict[str, str]:
    return sim.open_account("wechatpay", name="茶馆 <Tea & House>")


@pytest.fixture
def merchant(config: dict[str, str], shop: Shop) -> WeChatMerchant:
    return WeChatMerchant(config, f"{shop.url}/notify")


def page(sim: Simulators, code: str, language: str = "zh-CN", press: str = "") -> tuple[str, str]:
    """The page's text and its policy, after a press if one is named."""
    if press:
        data = urlencode({"code": code, "action": press}).encode()
        request = urllib.request.Request(f"{sim.url}/phone", data, {"Accept-Language": language})
    else:
        request = urllib.request.Request(
            f"{sim.url}/phone?code={quote(code, safe='')}", headers={"Accept-Language": language}
        )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return html.unescape(reply.read().decode()), reply.headers["Content-Security-Policy"]


def test_it_asks_in_two_languages(sim: Simulators, merchant: WeChatMerchant) -> None:
    code = merchant.create("PHONE001", 123456)[1]["code_url"]
    for language, words in (
        ("zh-CN,zh;q=0.9", ("确认付款", "立即支付")),
        ("en-GB,en", ("Confirm payment", "Walk away")),
    ):
        text, policy = page(sim, code, language)
        assert all(word in text for word in (*words, "1234.56", "茶馆 <Tea & House>", "测试", "PHONE001"))
        assert "script" not in text and " style=" not in text
        assert policy.startswith("default-src 'none'; style-src 'self'")
    assert 'lang="en"' in text


@pytest.mark.parametrize(
    ("press", "result", "state"),
    [
        ("pay", "Payment successful", "paid"),
        ("decline", "Payment declined", "declined"),
        ("walk", "Not paid yet", "waiting"),
    ],
)
def test_a_press(sim: Simulators, merchant: WeChatMerchant, press: str, result: str, state: str) -> None:
    no = f"PRESS{press}"
    code = merchant.create(no)[1]["code_url"]
    page(sim, code)
    assert result in page(sim, code, "en", press)[0]
    assert sim.trade(merchant.id, no)["state"] == state
    assert result in page(sim, code, "en", "pay")[0] or press == "walk"


def test_a_code_from_nowhere(sim: Simulators) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        page(sim, "weixin://wxpay/bizpayurl?pr=nothing", "en")
    with raised.value as reply:
        assert reply.code == 404 and "No such order" in reply.read().decode()


def test_a_page_leads_back_to_the_shop(sim: Simulators, shop: Shop) -> None:
    merchant = AlipayMerchant(sim.open_account("alipay"), f"{shop.url}/notify")
    with urllib.request.urlopen(merchant.page("BACK-1", "5.00", f"{shop.url}/back"), timeout=10) as reply:
        text, policy = reply.read().decode(), reply.headers["Content-Security-Policy"]
    assert f"form-action 'self' {shop.url}" in policy
    [code] = re.findall(r'name="code" value="([^"]+)"', text)
    assert f'href="{shop.url}/back"' in page(sim, code, "en", "decline")[0]
