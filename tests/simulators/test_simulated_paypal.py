"""The PayPal simulator by itself: what it signs, what survives a kill, what it refuses."""

import base64
import json
import urllib.error
import urllib.request
import zlib
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from simulators.process import Heard, Shop, Simulators


class Merchant:
    """A business account that makes calls with the standard library alone."""

    def __init__(self, sim: Simulators, shop: Shop | None = None, **options: str) -> None:
        self.sim = sim
        self.config = sim.post("/sim/accounts", channel="paypal", options=options)["config"]
        self.id = self.config["merchant_id"]
        self._token = ""
        if shop is not None:
            self.call("POST", "/v1/notifications/webhooks", {"url": f"{shop.url}/n", "event_types": [{"name": "*"}]})

    def call(self, method: str, path: str, content: object = None, key: str = "") -> tuple[int, Any]:
        if not self._token:
            pair = base64.b64encode(f"{self.config['client_id']}:{self.config['client_secret']}".encode()).decode()
            _, said = self._send(
                "POST", "/v1/oauth2/token", b"grant_type=client_credentials", {"Authorization": f"Basic {pair}"}
            )
            self._token = said["access_token"]
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "PayPal-Request-Id": key,
        }
        return self._send(method, path, None if content is None else json.dumps(content).encode(), headers)

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, Any]:
        request = urllib.request.Request(self.sim.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                content = reply.read()
                return reply.status, json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def order(self, key: str, value: str = "12.30", dials: str = "") -> dict[str, Any]:
        unit = {"invoice_id": key, "custom_id": dials or key, "amount": {"currency_code": "USD", "value": value}}
        status, made = self.call("POST", "/v2/checkout/orders", {"intent": "CAPTURE", "purchase_units": [unit]}, key)
        assert status == 201, made
        return made

    def pay(self, key: str) -> None:
        self.sim.post("/sim/pay", account=self.id, out_trade_no=key)


def verified(heard: Heard, webhook_id: str) -> dict[str, Any]:
    """The event, if the certificate that it names has signed it."""
    headers = {name.lower(): value for name, value in heard.headers.items()}
    with urllib.request.urlopen(headers["paypal-cert-url"], timeout=10) as reply:
        leaf, authority = x509.load_pem_x509_certificates(reply.read())
    leaf.verify_directly_issued_by(authority)
    text = f"{headers['paypal-transmission-id']}|{headers['paypal-transmission-time']}|{webhook_id}|{zlib.crc32(heard.body)}"
    signature = base64.b64decode(headers["paypal-transmission-sig"])
    leaf.public_key().verify(signature, text.encode(), PKCS1v15(), SHA256())  # type: ignore[union-attr, call-arg]
    return json.loads(heard.body)


def test_webhooks_are_signed_by_what_lies_at_their_address(sim: Simulators, shop: Shop) -> None:
    merchant = Merchant(sim, shop)
    made = merchant.order("A-1")
    merchant.pay("A-1")
    [approved] = shop.wait(1)
    event = verified(approved, merchant.config["webhook_id"])
    assert (event["event_type"], event["resource"]["id"]) == ("CHECKOUT.ORDER.APPROVED", made["id"])
    status, done = merchant.call("POST", f"/v2/checkout/orders/{made['id']}/capture", {}, "A-1C")
    assert (status, done["status"]) == (201, "COMPLETED")
    event = verified(shop.wait(2)[1], merchant.config["webhook_id"])
    assert event["resource"] == done["purchase_units"][0]["payments"]["captures"][0]


def test_what_was_answered_survives_a_kill(own_sim: Simulators, shop: Shop) -> None:
    merchant = Merchant(own_sim, shop)
    made = merchant.order("B-1", dials="sim:callback_late=1")
    merchant.pay("B-1")
    own_sim.kill()
    own_sim.start()
    [approved] = shop.wait(1)
    assert verified(approved, merchant.config["webhook_id"])["resource"]["id"] == made["id"], (
        "the same key, and still due"
    )
    path = f"/v2/checkout/orders/{made['id']}/capture"
    assert merchant.call("POST", path, {}, "B-1C")[0] == 201, "the token is good still"
    own_sim.kill()
    own_sim.start()
    assert merchant.call("POST", path, {}, "B-1C")[0] == 200
    status, said = merchant.call("POST", path, {}, "another")
    assert (status, said["details"][0]["issue"]) == (422, "ORDER_ALREADY_CAPTURED")
    trade = own_sim.trade(merchant.id, "B-1")
    assert (trade["state"], trade["captured"]) == ("paid", 1230)


def test_an_invoice_is_paid_once_in_however_many_orders(sim: Simulators) -> None:
    merchant = Merchant(sim)
    first = merchant.order("C-1")
    unit = {"invoice_id": "C-1", "amount": {"currency_code": "USD", "value": "12.30"}}
    _, second = merchant.call("POST", "/v2/checkout/orders", {"intent": "CAPTURE", "purchase_units": [unit]}, "another")
    assert first["id"] != second["id"]
    for made in (first, second):
        sim.post("/sim/pay", code=made["id"])
    assert merchant.call("POST", f"/v2/checkout/orders/{first['id']}/capture", {})[0] == 201
    status, said = merchant.call("POST", f"/v2/checkout/orders/{second['id']}/capture", {})
    assert (status, said["details"][0]["issue"]) == (422, "DUPLICATE_INVOICE_ID")


@pytest.mark.parametrize("token", ["", "Bearer ", "Bearer A21AAX.9999999999.0", "Basic eDp5"])
def test_nobody_gets_in_without_a_token(sim: Simulators, token: str) -> None:
    request = urllib.request.Request(
        f"{sim.url}/v2/checkout/orders/X", headers={"Authorization": token} if token else {}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    with caught.value:
        assert caught.value.code == 401


def test_the_phone_shows_what_is_to_be_agreed_to(sim: Simulators) -> None:
    merchant = Merchant(sim)
    made = merchant.order("D-1")
    [link] = [link["href"] for link in made["links"] if link["rel"] == "payer-action"]
    with urllib.request.urlopen(urllib.request.Request(link, headers={"Accept-Language": "en"}), timeout=10) as page:
        text = page.read().decode()
    assert "PayPal (simulated)" in text and "12.30" in text and 'value="pay"' in text
