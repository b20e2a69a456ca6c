"""Merchants and sessions for the tests of the cashier."""

from collections.abc import Callable
from typing import Any

import pytest
from stripe.checkout import Session

from stack import Shop, Stack

TEA = {
    "quantity": 2,
    "price_data": {
        "currency": "cny",
        "unit_amount": 12900,
        "product_data": {"name": "白瓷盖碗", "description": "景德镇手工"},
    },
}
MAKE = {
    "mode": "payment",
    "success_url": "https://shop.example/paid?session={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://shop.example/cart",
    "line_items": [TEA],
}


@pytest.fixture(scope="session")
async def shop(stack: Stack) -> Shop:
    return await stack.merchant("云上茶舍")


@pytest.fixture
def make(shop: Shop) -> Callable[..., Session]:
    """A new session, with parameters of the test's own."""

    def made(**params: Any) -> Session:
        return shop.client().v1.checkout.sessions.create(MAKE | params)

    return made
