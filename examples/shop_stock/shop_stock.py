"""Stock: one piece is set aside before a channel is asked, put back if the try ends without money, and shipped when it is paid.

The shop's stock service answers PUT, DELETE and POST of /pieces/<try>, each as often as it is sent, with the same result.
"""

import os

import aiohttp

from guilder.payments.hooks import Payment, Plugin, Question, Refusal, Step

URL = os.environ.get("SHOP_STOCK_URL", "http://127.0.0.1:9000")


async def region(payment: Payment) -> dict[str, str]:
    """Where the goods lie: rules may ask for hooks["shop_stock.region"]."""
    async with aiohttp.ClientSession() as http, http.get(f"{URL}/goods/{payment.metadata.get('sku', '')}") as answer:
        answer.raise_for_status()
        return {"region": (await answer.json())["region"]}


async def set_aside(payment: Payment) -> Refusal | None:
    sku = payment.metadata.get("sku", "")
    async with (
        aiohttp.ClientSession() as http,
        http.put(f"{URL}/pieces/{payment.attempt}", json={"sku": sku}) as answer,
    ):
        if answer.status == 409:
            return Refusal(f"{sku} is sold out.")
        answer.raise_for_status()
        return None


async def put_back(payment: Payment) -> None:
    async with aiohttp.ClientSession() as http, http.delete(f"{URL}/pieces/{payment.attempt}") as answer:
        answer.raise_for_status()


async def ship(payment: Payment) -> None:
    async with aiohttp.ClientSession() as http, http.post(f"{URL}/pieces/{payment.attempt}") as answer:
        answer.raise_for_status()


PLUGIN = Plugin(
    "shop_stock",
    before_routing=Question(region),
    before_asking=Step(set_aside, undo=put_back, must=True),
    on_success=Step(ship),
)
