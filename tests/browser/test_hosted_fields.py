"""The simulated Stripe's hosted fields on a shop's own page: the number goes to the simulator, and nowhere else."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from simulators.process import Simulators

pytestmark = pytest.mark.anyio
PAGE = """<!doctype html><html lang="en"><title>Shop</title><div id="card"></div><button id="pay">Pay</button><output id="told"></output>
<script src="{home}/v3/"></script><script>
const stripe = Stripe({key}), elements = stripe.elements({{clientSecret: {secret}}});
elements.create("card").mount("#card");
document.querySelector("#pay").onclick = async () => {{
  const confirmParams = {{return_url: `${{location.origin}}/back`}};
  const {{error, paymentIntent}} = await stripe.confirmPayment({{elements, clientSecret: {secret}, confirmParams}});
  document.querySelector("#told").textContent = error ? error.code : paymentIntent.status;
}};
</script></html>"""


@contextmanager
def shop(shown: str) -> Iterator[str]:
    """A shop's server: the page, wherever one looks."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(shown.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_payer_types_a_card_is_declined_takes_another_and_proves_who_he_is(
    browser: Browser, tmp_path: Path
) -> None:
    simulators = Simulators(tmp_path).start()
    try:
        config = simulators.open_account("stripe")
        made = create(simulators, config)
        secret, key = json.dumps(made["client_secret"]), json.dumps(config["publishable_key"])
        with shop(PAGE.format(home=simulators.url, key=key, secret=secret)) as home:
            page = await browser.new_page()
            await page.goto(f"{home}/")
            for number, told in (("4000 0000 0000 9995", "card_declined"), ("4111", "incorrect_number")):
                await page.fill("#card input", number)
                await page.click("#pay")
                await page.wait_for_function("told => document.querySelector('#told').textContent === told", arg=told)
            await page.fill("#card input", "4000 0027 6000 3184")
            await page.click("#pay")
            await page.wait_for_url(f"{simulators.url}/phone**")
            await page.click("button.pay")
            await page.wait_for_url(f"{home}/back?payment_intent={made['id']}**")
            assert "redirect_status=succeeded" in page.url
            await page.close()
        [trade] = simulators.get(f"/sim/book?account={config['account_id']}")["trades"]
        assert trade["state"] == "paid"
    finally:
        simulators.stop()


def create(simulators: Simulators, config: dict[str, str]) -> dict[str, str]:
    """An intent, as a shop's server makes it."""
    request = urllib.request.Request(
        f"{simulators.url}/v1/payment_intents",
        b"amount=1250&currency=usd",
        {"Authorization": f"Bearer {config['secret_key']}"},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)
