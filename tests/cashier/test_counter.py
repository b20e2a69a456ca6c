"""The counter: its code in every wallet, what a till presents, who was scanned, the plate, and what is refused."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from yarl import URL

from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
WECHAT = f"{IPHONE} Mobile/15E148 MicroMessenger/8.0.50(0x18003230) NetType/WIFI Language/zh_CN"
ALIPAY = f"{IPHONE} Mobile/15E148 AlipayDefined AlipayClient/10.6.20 Language/zh-Hans"


@pytest.fixture(scope="module")
async def shop(stack: Stack) -> Shop:
    return await stack.merchant("Tea House")


@pytest.fixture(scope="module")
async def till(shop: Shop) -> dict[str, Any]:
    store = shop.post("stores", {"code": "0001", "name": "西湖店"})
    made: dict[str, Any] = shop.post("terminals", {"store": store["id"], "code": "T1", "name": "1 号收银台"})
    return made


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        yield http


async def read(http: aiohttp.ClientSession, url: str, agent: str = IPHONE) -> tuple[int, str, str]:
    async with http.get(url, headers={"User-Agent": agent}) as answer:
        return answer.status, str(answer.url), await answer.text()


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return found[1]


async def say(
    http: aiohttp.ClientSession, url: str, amount: str, agent: str = IPHONE, nonce: str = ""
) -> tuple[int, str, str]:
    """Enter an amount at a counter."""
    _, _, page = await read(http, url, agent)
    form = {"amount": amount, "nonce": nonce or hidden(page, "nonce")}
    async with http.post(url, data=form, headers={"User-Agent": agent}) as answer:
        return answer.status, str(answer.url), await answer.text()


def newest(shop: Shop, till: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = shop.get(f"payment_intents?terminal={till['id']}&limit=1")["data"][0]
    return found


async def test_an_amount_that_the_payer_says_becomes_one_payment_at_the_till(
    http: aiohttp.ClientSession, shop: Shop, till: dict[str, Any]
) -> None:
    before = len(shop.get(f"payment_intents?terminal={till['id']}&limit=100")["data"])
    first = await say(http, till["counter_url"], "12.5", nonce="n" * 20)
    again = await say(http, till["counter_url"], "12.5", nonce="n" * 20)
    assert first[0] == again[0] == 200 and urlsplit(first[1]).path == urlsplit(again[1]).path
    made = newest(shop, till)
    assert (made["amount"], made["currency"], made["terminal"], made["store"]) == (
        1250,
        "cny",
        till["id"],
        till["store"],
    )
    assert made["description"] == "西湖店"
    assert len(shop.get(f"payment_intents?terminal={till['id']}&limit=100")["data"]) == before + 1
    assert 'data-stage="choose"' in first[2] and 'value="alipay"' in first[2] and 'value="wechat_pay"' in first[2]


@pytest.mark.parametrize("amount", ["", "0", "0.00", "-1", "1.234", "1e3", "１２", "12.5.5", "9999999999", "<b>"])
async def test_what_is_no_amount_is_said_so_and_makes_nothing(
    http: aiohttp.ClientSession, till: dict[str, Any], amount: str
) -> None:
    status, url, page = await say(http, till["counter_url"], amount)
    assert (status, url) == (422, till["counter_url"] + "") or status == 422
    assert 'class="problem"' in page and "<b>" not in page.partition("<form")[2].partition("</form>")[0].replace(
        "<b></b>", ""
    )


async def test_a_code_that_is_changed_or_closed_leads_nowhere(
    http: aiohttp.ClientSession, shop: Shop, till: dict[str, Any]
) -> None:
    other = shop.post("terminals", {"store": till["store"], "code": "T9", "name": "9"})
    url, parts = other["counter_url"], other["counter_url"].split("/")
    theirs = till["counter_url"].split("/")
    for wrong in ("/".join([*parts[:-1], theirs[-1]]), url.replace("/test/", "/live/"), url.replace("/q/", "/pay/")):
        assert (await read(http, wrong))[0] == 404, wrong
    assert (await read(http, url))[0] == 200
    shop.post(f"terminals/{other['id']}", {"enabled": False})
    assert (await read(http, url))[0] == 404


async def test_a_form_of_another_page_is_refused(http: aiohttp.ClientSession, till: dict[str, Any]) -> None:
    headers = {"Origin": "https://evil.example"}
    async with http.post(till["counter_url"], data={"amount": "1", "nonce": "x" * 20}, headers=headers) as answer:
        assert answer.status == 403


async def test_what_a_till_presents_is_what_its_code_shows(
    http: aiohttp.ClientSession, shop: Shop, till: dict[str, Any], stack: Stack
) -> None:
    made = shop.post(
        f"terminals/{till['id']}/present", {"amount": 4200, "description": "Table 7", "metadata": {"table": "7"}}
    )
    assert shop.get(f"terminals/{till['id']}")["presenting"] == made["id"]
    _, url, page = await read(http, till["counter_url"])
    assert "/pay/" in url and "42.00" in page and "Table 7" in page

    intent = shop.client().v1.payment_intents.confirm(made["id"], {"payment_method": "pm_sim_wechat_pay"})
    stack.pay(intent.next_action)
    await eventually(lambda: newest(shop, till)["status"] == "succeeded")
    assert 'name="amount"' in (await read(http, till["counter_url"]))[2], "what is paid is presented no more"

    shop.post(f"terminals/{till['id']}/present", {"amount": 100})
    assert shop.post(f"terminals/{till['id']}/clear", {})["presenting"] is None
    assert 'name="amount"' in (await read(http, till["counter_url"]))[2]


@pytest.mark.parametrize(
    ("agent", "type", "sheet"), [(WECHAT, "wechat_pay", "wechat_pay_jsapi"), (ALIPAY, "alipay", "alipay_jsapi")]
)
async def test_inside_a_wallet_the_payer_is_identified_and_paid_by_its_sheet(
    http: aiohttp.ClientSession, shop: Shop, till: dict[str, Any], agent: str, type: str, sheet: str
) -> None:
    _, url, page = await say(http, till["counter_url"], "8.00", agent)
    assert f'data-start="{type}"' in page and "qr." not in page
    async with http.post(
        url.partition("?")[0], data={"method": type}, headers={"User-Agent": agent, "Guilder-Part": "panel"}
    ) as answer:
        asked = await answer.text()
    away = re.search(r'data-go="([^"]+)"', asked)
    assert away is not None
    status, back, page = await read(http, away[1].replace("&amp;", "&"), agent)
    assert status == 200 and urlsplit(back).path == urlsplit(url).path, "there and back"
    assert f'data-sheet="{sheet}"' in page and 'data-stage="wallet"' in page and "qr." not in page

    jar = http.cookie_jar.filter_cookies(URL(back))
    assert "guilder_payer" in jar and "openid" not in str(SimpleCookie(jar))
    async with aiohttp.ClientSession() as stranger:  # the same link on another phone
        shown = (await read(stranger, back, agent))[2]
        assert 'data-stage="choose"' in shown and "data-sheet" not in shown
    params = json.loads(re.search(r"data-params='([^']+)'", page)[1].replace("&#34;", '"'))  # type: ignore[index]
    assert set(params) >= ({"paySign", "package"} if type == "wechat_pay" else {"trade_no"})


async def test_a_state_that_is_not_ours_identifies_nobody(http: aiohttp.ClientSession, till: dict[str, Any]) -> None:
    _, url, _ = await say(http, till["counter_url"], "8.00", WECHAT)
    path = url.partition("?")[0]
    for state in ("", "x", "9999999999x" + "0" * 40, "1x"):
        _, _, page = await read(http, f"{path}/payer?lang=en&method=wechat_pay&code=c&state={state}", WECHAT)
        assert "could not learn" in page and "data-sheet" not in page


def scan(stack: Stack) -> str:
    """A code that a payer's WeChat shows."""
    ask = urllib.request.Request(f"{stack.simulators}/wechat/code", headers={"Accept": "application/json"})
    with urllib.request.urlopen(ask, timeout=10) as answer:
        code: str = json.load(answer)["auth_code"]
        return code


async def test_a_payer_who_is_scanned_pays_at_once_and_once(shop: Shop, till: dict[str, Any], stack: Stack) -> None:
    clerk = shop.post("operators", {"code": "7", "name": "Li"})
    code = scan(stack)
    paid = shop.post(f"terminals/{till['id']}/collect", {"amount": 990, "auth_code": code, "operator": clerk["id"]})
    assert (paid["status"], paid["amount_received"], paid["operator"]) == ("succeeded", 990, clerk["id"])
    assert code not in json.dumps(paid) and code not in json.dumps(shop.get(f"payment_intents/{paid['id']}"))


async def test_a_code_of_no_wallet_is_refused_by_name(shop: Shop, till: dict[str, Any]) -> None:
    for code in ("99999999999999999", "621234567890123456"):
        with pytest.raises(urllib.error.HTTPError) as said:
            shop.post(f"terminals/{till['id']}/collect", {"amount": 1, "auth_code": code})
        assert json.loads(said.value.read())["error"]["param"] == "auth_code"


async def test_the_plate_says_what_the_counter_says(
    http: aiohttp.ClientSession, shop: Shop, till: dict[str, Any]
) -> None:
    status, _, page = await read(http, till["counter_url"] + "/plate")
    assert status == 200 and "plate.svg" in page
    async with http.get(till["counter_url"] + "/plate.svg") as answer:
        drawn = await answer.text()
        assert answer.content_type == "image/svg+xml" and "script" not in answer.headers["Content-Security-Policy"]
    assert drawn.startswith("<svg") and "西湖店" in drawn and "<script" not in drawn
    shop.post(f"stores/{till['store']}", {"name": "<script>&"})
    async with http.get(till["counter_url"] + "/plate.svg") as answer:
        assert "<script" not in await answer.text()
