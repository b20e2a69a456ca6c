"""What the Stripe simulator answers when something is wrong, asked twice, or done by a payer's page.  The rest is held by tests/clients."""

import base64
import hashlib
import hmac
import json
import threading
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlencode

import pytest

from simulators.process import Heard, Shop, Simulators


class Merchant:
    """Calls Stripe with plain forms."""

    def __init__(self, sim: Simulators, config: dict[str, str]) -> None:
        self.sim, self.config, self.id = sim, config, config["account_id"]
        self.headers: dict[str, str] = {}

    def call(
        self, method: str, path: str, fields: dict[str, Any] | None = None, key: str = "", secret: str = ""
    ) -> tuple[int, Any]:
        """Status and content; the reply's headers are kept."""
        data = urlencode(fields or {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.sim.url + path, data, method=method)
        request.add_header("Authorization", f"Bearer {secret or self.config['secret_key']}")
        if key:
            request.add_header("Idempotency-Key", key)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                status, content, headers = reply.status, reply.read(), reply.headers
        except urllib.error.HTTPError as error:
            with error:
                status, content, headers = error.code, error.read(), error.headers
        self.headers = {name.lower(): value for name, value in headers.items()}
        return status, json.loads(content)

    def create(self, key: str = "", **changes: Any) -> tuple[int, Any]:
        return self.call("POST", "/v1/payment_intents", {"amount": 1250, "currency": "cny", **changes}, key)


@pytest.fixture
def merchant(sim: Simulators, shop: Shop) -> Merchant:
    config = sim.open_account("stripe")
    sim.post(f"/sim/accounts/{config['account_id']}/endpoint", url=f"{shop.url}/notify")
    return Merchant(sim, config)


def signed_by(heard: Heard, secret: str) -> list[str]:
    """The schemes under which `secret` has signed this event."""
    parts = [part.split("=", 1) for part in heard.headers["Stripe-Signature"].split(",")]
    [stamp] = [value for name, value in parts if name == "t"]
    assert abs(time.time() - int(stamp)) < 60
    right = hmac.new(secret.encode(), f"{stamp}.".encode() + heard.body, hashlib.sha256).hexdigest()
    return [name for name, value in parts if value == right]


def test_who_asks(merchant: Merchant) -> None:
    for secret in ("sk_test_nobody", "pk_", "x"):
        status, said = merchant.call("GET", "/v1/balance", secret=secret)
        assert (status, said["error"]["type"]) == (401, "invalid_request_error")
    status, said = merchant.call("GET", "/v1/balance", secret=merchant.config["publishable_key"])
    assert (status, said["error"]["code"]) == (403, "secret_key_required")
    basic = base64.b64encode(f"{merchant.config['secret_key']}:".encode()).decode()
    request = urllib.request.Request(f"{merchant.sim.url}/v1/account", headers={"Authorization": f"Basic {basic}"})
    with urllib.request.urlopen(request) as reply:
        assert json.load(reply)["id"] == merchant.id


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"amount": ""}, "amount_too_small", "amount"),
        ({"amount": "12.5"}, "parameter_invalid_integer", "amount"),
        ({"amount": "49"}, "amount_too_small", "amount"),
        ({"amount": "100000000"}, "amount_too_large", "amount"),
        ({"amount": "1251", "currency": "kwd"}, "parameter_invalid_integer", "amount"),
        ({"currency": ""}, "parameter_missing", "currency"),
        ({"currency": "yuan"}, "", "currency"),
        ({"payment_method_types[]": "alipay"}, "", "payment_method_types"),
        ({"capture_method": "later"}, "", "capture_method"),
        ({"payment_method": "pm_nobody"}, "resource_missing", "payment_method"),
        ({"confirm": "true"}, "parameter_missing", "payment_method"),
        ({"metadata": "x"}, "", "metadata"),
        ({"metadata[a][b": "x"}, "", "metadata[a][b"),
        ({"colour": "red"}, "parameter_unknown", "colour"),
    ],
)
def test_what_it_refuses(merchant: Merchant, changes: dict[str, str], code: str, param: str) -> None:
    status, said = merchant.create("refused", **changes)
    error = said["error"]
    assert (status, error.get("code", ""), error["param"]) == (400, code, param)
    assert merchant.sim.get(f"/sim/book?account={merchant.id}")["trades"] == []
    assert merchant.create("refused")[0] == 200, "a refused call leaves its key alone"


def test_a_key_is_answered_as_before_even_after_kill_9(own_sim: Simulators) -> None:
    merchant = Merchant(own_sim, own_sim.open_account("stripe"))
    _, first = merchant.create("once", confirm="true", payment_method="pm_card_visa")
    declined = merchant.create("no", confirm="true", payment_method="pm_card_chargeDeclined")
    assert declined[0] == 402 and "idempotent-replayed" not in merchant.headers
    own_sim.kill()
    own_sim.start()
    assert merchant.create("once", confirm="true", payment_method="pm_card_visa") == (200, first)
    assert merchant.headers["idempotent-replayed"] == "true"
    assert merchant.create("no", confirm="true", payment_method="pm_card_chargeDeclined") == declined
    status, said = merchant.create("once", confirm="true", payment_method="pm_card_amex")
    assert (status, said["error"]["type"]) == (400, "idempotency_error")
    assert len(own_sim.get(f"/sim/book?account={merchant.id}")["trades"]) == 2


def test_a_key_in_use_is_a_conflict(merchant: Merchant) -> None:
    slow = threading.Thread(target=lambda: merchant.create("slow", **{"metadata[attach]": "sim:delay=1"}))
    slow.start()
    trades: list[Any] = []
    merchant.sim.until(lambda: trades.extend(merchant.sim.get(f"/sim/book?account={merchant.id}")["trades"]) or trades)
    status, said = merchant.create("slow", **{"metadata[attach]": "sim:delay=1"})
    assert (status, said["error"]["code"]) == (409, "idempotency_key_in_use")
    slow.join()
    assert merchant.create("slow", **{"metadata[attach]": "sim:delay=1"})[0] == 200


def test_a_payers_page_may_confirm_and_see_little(merchant: Merchant) -> None:
    _, made = merchant.create(**{"metadata[secret]": "x"})
    public = merchant.config["publishable_key"]
    path = f"/v1/payment_intents/{made['id']}"
    assert (
        merchant.call(
            "POST", f"{path}/confirm", {"client_secret": "x", "payment_method": "pm_card_visa"}, secret=public
        )[0]
        == 404
    )
    typed = {"type": "card", "card[number]": "4000 0027 6000 3184"}
    status, method = merchant.call("POST", "/v1/payment_methods", typed, secret=public)
    assert status == 200 and merchant.headers["access-control-allow-origin"] == "*"
    said = {
        "client_secret": made["client_secret"],
        "payment_method": method["id"],
        "return_url": "https://shop.example/?a=1",
    }
    status, done = merchant.call("POST", f"{path}/confirm", said, secret=public)
    assert (status, done["status"]) == (200, "requires_action") and "metadata" not in done
    bank = done["next_action"]["redirect_to_url"]["url"]
    with urllib.request.urlopen(bank) as page:
        assert "12.50" in page.read().decode()
    assert (
        merchant.call("POST", "/v1/payment_methods", {"type": "card", "card[number]": "4111"}, secret=public)[0] == 402
    )
    with urllib.request.urlopen(f"{merchant.sim.url}/v3/") as script:
        assert b"window.Stripe" in script.read()


def test_the_bank_sends_the_payer_back(merchant: Merchant) -> None:
    _, made = merchant.create(
        confirm="true", payment_method="pm_card_authenticationRequired", return_url="http://127.0.0.1:9/back?a=1"
    )

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args: Any) -> None:
            return None

    form = urlencode({"code": made["client_secret"], "action": "pay"}).encode()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.build_opener(Stay).open(f"{merchant.sim.url}/phone", form)
    caught.value.close()
    expected = (
        f"http://127.0.0.1:9/back?a=1&payment_intent={made['id']}&payment_intent_client_secret={made['client_secret']}"
    )
    assert caught.value.headers["Location"] == f"{expected}&redirect_status=succeeded"


def test_while_a_secret_is_rolled_both_sign(sim: Simulators, shop: Shop) -> None:
    config = sim.post("/sim/accounts", channel="stripe", options={"rolling": "yes"})["config"]
    sim.post(f"/sim/accounts/{config['account_id']}/endpoint", url=shop.url)
    Merchant(sim, config).create(confirm="true", payment_method="pm_card_visa")
    [heard] = shop.wait(1)
    assert signed_by(heard, config["webhook_secret"]) == signed_by(heard, config["previous_webhook_secret"]) == ["v1"]


def test_forgeries_prove_nothing(merchant: Merchant, shop: Shop) -> None:
    merchant.create(confirm="true", payment_method="pm_card_visa", **{"metadata[attach]": "sim:callback_forged"})
    heard = shop.wait(4)
    assert [signed_by(one, merchant.config["webhook_secret"]) for one in (heard[0], *heard[2:])] == [[], ["v0"], ["v1"]]
    stamp = int(heard[1].headers["Stripe-Signature"].split(",")[0].removeprefix("t="))
    assert time.time() - stamp > 300


def test_a_dispute_by_hand_and_the_funds_that_come_back(merchant: Merchant, shop: Shop) -> None:
    _, made = merchant.create("disputed", confirm="true", payment_method="pm_card_visa")
    ask = {"account": merchant.id, "out_trade_no": "disputed"}
    opened = merchant.sim.post("/sim/stripe/dispute", **ask, reason="product_not_received")
    assert opened["state"] == "needs_response"
    status, said = merchant.call("POST", "/v1/refunds", {"payment_intent": made["id"]})
    assert (status, said["error"]["code"]) == (400, "charge_disputed")
    assert merchant.sim.post("/sim/stripe/dispute", **ask, decide="won") == {"ref": opened["ref"], "state": "won"}
    types = [json.loads(one.body)["type"] for one in shop.wait(5)]
    assert sorted(types[1:]) == [
        f"charge.dispute.{x}" for x in ("closed", "created", "funds_reinstated", "funds_withdrawn")
    ]


def test_money_in_the_report_is_in_major_units(merchant: Merchant) -> None:
    for amount, currency in ((1250, "jpy"), (1250, "isk"), (12340, "kwd"), (1250, "cny")):
        merchant.create(amount=amount, currency=currency, confirm="true", payment_method="pm_card_visa")
    day = time.strftime("%Y-%m-%d", time.gmtime())
    merchant.sim.post(f"/sim/accounts/{merchant.id}/close-day", day=day)
    start = int(time.time()) // 86_400 * 86_400
    seen = {}
    for currency in ("jpy", "isk", "kwd", "cny"):
        asked = {"interval_start": start, "interval_end": start + 86_400, "currency": currency, "columns][": "gross"}
        fields = {f"parameters[{name}]": value for name, value in asked.items()}
        _, run = merchant.call(
            "POST", "/v1/reporting/report_runs", {"report_type": "balance_change_from_activity.itemized.3", **fields}
        )
        _, run = merchant.call("GET", f"/v1/reporting/report_runs/{run['id']}")
        request = urllib.request.Request(
            run["result"]["url"], headers={"Authorization": f"Bearer {merchant.config['secret_key']}"}
        )
        with urllib.request.urlopen(request) as reply:
            seen[currency] = reply.read().decode().split()
    assert seen == {
        "jpy": ["gross", "1250"],
        "isk": ["gross", "12.50"],
        "kwd": ["gross", "12.340"],
        "cny": ["gross", "12.50"],
    }
